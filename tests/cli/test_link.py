"""make link."""

from __future__ import annotations

import csv
import json
import re
from datetime import timedelta
from pathlib import Path

import pytest

from command_line import Cli, sentence
from emulators.serving import Fault
from stage import LINK_KEY, TOKEN, Stage
from tokenkeeper import clock
from tokenkeeper.cli.commands import commands
from tokenkeeper.connect.links import Link, Signer
from tokenkeeper.secret import Secret

ADDRESS = re.compile(r"http://localhost:8080/start\?link=([A-Za-z0-9._-]+)\n")


def read(out: str) -> Link:
    found = ADDRESS.fullmatch(out)
    assert found, out
    return Signer([Secret(LINK_KEY)]).read_link(found[1])


class TestLink:
    def test_prints_the_link_alone(self, cli: Cli) -> None:
        """Standard output holds the address and nothing else; what it is stands on standard error."""
        done = cli("link", "acme")
        assert done.status == 0
        link = read(done.out)
        assert link.connection == "acme"
        assert link.expires_at - link.issued_at == timedelta(hours=72)
        assert not link.any_account
        assert "acme" in done.err
        assert f"{link.expires_at:%Y-%m-%d %H:%M} UTC" in done.err

    def test_connects(self, cli: Cli, stage: Stage) -> None:
        """A printed link leads the whole way to a stored token."""
        done = cli("link", "acme", PUBLIC_URL=stage.connect.url)
        stage.canaries.keep("a connect link", done.out.strip().partition("link=")[2])
        browser = stage.browser()
        state = browser.begin(done.out.strip().removeprefix(stage.connect.url))
        assert browser.come_back(stage.code(), state).status_code == 303
        assert stage.token("acme")["access_token"]

    @pytest.mark.parametrize(
        ("text", "life"),
        [
            ("5m", timedelta(minutes=5)),
            ("90m", timedelta(minutes=90)),
            ("72h", timedelta(hours=72)),
            ("30d", timedelta(days=30)),
        ],
    )
    def test_lives_as_long_as_it_is_told(self, cli: Cli, text: str, life: timedelta) -> None:
        """--expires takes minutes, hours and days."""
        link = read(cli("link", "acme", "--expires", text).out)
        assert link.expires_at - link.issued_at == life

    @pytest.mark.parametrize("text", ["4m", "31d", "7", "1w", "9999999d"])
    def test_refuses_other_lives(self, cli: Cli, text: str) -> None:
        """Anything that is no time from 5 minutes to 30 days ends in a sentence that shows a right one."""
        assert "like 30m, 72h or 7d" in sentence(cli("link", "acme", "--expires", text))

    @pytest.mark.parametrize("name", ["Acme", "acme-", "", "a" * 64, "acme\n"])
    def test_refuses_names(self, cli: Cli, name: str) -> None:
        """A name that no connection can have ends in a sentence that says what a right one looks like."""
        assert "like acme-eu" in sentence(cli("link", "--", name))

    def test_any_account(self, cli: Cli) -> None:
        """--any-account is signed into the link, and said."""
        done = cli("link", "acme", "--any-account")
        assert read(done.out).any_account
        assert "entirely different" in done.err

    def test_json(self, cli: Cli) -> None:
        """--json prints one object with the link and its end."""
        done = cli("link", "acme", "--expires", "1h", "--json")
        document = json.loads(done.out)
        assert list(document) == ["connection", "link", "expires_at", "any_account", "family", "labels"]
        assert document["link"].startswith("http://localhost:8080/start?link=")
        assert clock.parse(document["expires_at"]) > clock.now()

    def test_needs_no_secret_manager(self, cli: Cli) -> None:
        """A link can be made while Secret Manager is away: its key and address are at hand."""
        assert cli("link", "acme", SECRET_MANAGER_EMULATOR_HOST="127.0.0.1:9").status == 0

    def test_nothing_set_up(self, cli: Cli) -> None:
        """Where nothing is set up, the sentence says how to begin."""
        said = sentence(cli("link", "acme", LINK_SIGNING_KEYS=None, PUBLIC_URL=None))
        assert "make run" in said
        assert "make deploy" in said

    def test_wrong_setting(self, cli: Cli) -> None:
        """A wrong setting is named, and a secret one not shown."""
        assert sentence(cli("link", "acme", LINK_SIGNING_KEYS="short-but-secret")).startswith("LINK_SIGNING_KEYS has")


class TestMany:
    def test_a_line_each(self, cli: Cli) -> None:
        """Several names give a line each: name, link, expiry."""
        rows = [line.split("\t") for line in cli("link", "acme", "beta", "acme").out.splitlines()]
        assert [row[0] for row in rows] == ["acme", "beta"]
        for name, address, expires_at in rows:
            link = read(address + "\n")
            assert (link.connection, clock.text(link.expires_at)) == (name, expires_at)

    def test_file(self, cli: Cli, tmp_path: Path) -> None:
        """Names come from a file as well, one a line; CSV has a head."""
        file = tmp_path / "names.txt"
        file.write_text("# all of them\nacme\n\n  beta  \nacme\n")
        rows = list(csv.DictReader(cli("link", "--file", str(file), "--csv").out.splitlines()))
        assert [row["connection"] for row in rows] == ["acme", "beta"]
        assert list(rows[0]) == ["connection", "link", "expires_at"]
        documents = json.loads(cli("link", "--file", str(file), "--json").out)
        assert [one["connection"] for one in documents] == ["acme", "beta"]

    def test_bad_line(self, cli: Cli, tmp_path: Path) -> None:
        """A name that is none is named with its line, and nothing is printed."""
        file = tmp_path / "names.txt"
        file.write_text("acme\nBeta\n")
        assert sentence(cli("link", "--file", str(file))).startswith("Line 2: 'Beta' is no connection's name")

    def test_label(self, cli: Cli, stage: Stage) -> None:
        """A link for each connection with a label."""
        stage.plant("acme")
        stage.plant("beta")
        stage.secrets.edit(TOKEN + "beta", labels={"client": "x"})
        assert cli("link", "--label", "client=x").out.startswith("beta\t")
        assert sentence(cli("link", "--label", "client=y")).startswith("No connection has the label client=y")


class TestLabels:
    def test_arrive(self, cli: Cli, stage: Stage) -> None:
        """Family and labels of a link are those of the connection that it makes."""
        words = ("link", "organic", "--family", "account", "--labels", "client=x,team=y")
        address = cli(*words, PUBLIC_URL=stage.connect.url).out.strip()
        stage.canaries.keep("a connect link", address.partition("link=")[2])
        browser = stage.browser()
        state = browser.begin(address.removeprefix(stage.connect.url))
        assert browser.come_back(stage.account_code(), state).status_code == 303
        assert {"family": "account", "client": "x", "team": "y"}.items() <= stage.labels("organic").items()

    def test_travel_in_the_link(self, cli: Cli) -> None:
        """Labels are signed into the link."""
        assert read(cli("link", "acme", "--labels", "client=x,team=y").out).labels == {"client": "x", "team": "y"}

    @pytest.mark.parametrize("text", ["client", "health=ok", "Client=x", "client=X!"])
    def test_refused(self, cli: Cli, text: str) -> None:
        """What is no label of the operator's own ends in a sentence."""
        assert "write them like client=acme,team=media" in sentence(cli("link", "acme", "--labels", text))


class TestAccount:
    def test_family_travels_in_the_link(self, cli: Cli) -> None:
        """With the consent page on this machine any address does."""
        done = cli("link", "organic", "--family", "account", "--any-account")
        assert read(done.out).family == "account"
        assert "the holder of the TikTok account" in done.err
        assert "the account by another one" in done.err

    @pytest.mark.parametrize(
        ("address", "reason"),
        [("http://localhost:8080", "begins with http:"), ("https://a.example:8443", "names a port")],
    )
    def test_address_that_tiktok_would_refuse(self, cli: Cli, address: str, reason: str) -> None:
        """An address that TikTok refuses for accounts ends in one sentence."""
        words = ("link", "organic", "--family", "account")
        said = sentence(cli(*words, PUBLIC_URL=address, TIKTOK_ACCOUNT_AUTHORIZE_URL=None))
        assert reason in said


class TestClock:
    @pytest.mark.parametrize("where", ["connect", "Secret Manager"])
    def test_off(self, cli: Cli, stage: Stage, where: str) -> None:
        """A clock that is off by the time of connect, or else of Secret Manager, makes no link."""
        server = stage.tiktok if where == "connect" else stage.secrets
        server.add_fault(Fault(status=404, headers={"Date": "Sun, 01 Nov 2020 10:00:00 GMT"}, times=None))
        here = {"PUBLIC_URL": stage.tiktok.url} if where == "connect" else {}
        assert "seconds fast, and connect links carry the time" in sentence(cli("link", "acme", **here))


class TestWords:
    def test_unknown_command(self, cli: Cli) -> None:
        """A command that does not exist ends in a sentence."""
        assert "No such command 'lnk'" in sentence(cli("lnk"))

    def test_missing_name(self, cli: Cli) -> None:
        """A missing name ends in a sentence."""
        assert "Missing argument 'CONNECTION'" in sentence(cli("link"))

    @pytest.mark.parametrize("command", ["", *commands.commands])
    def test_help(self, cli: Cli, command: str) -> None:
        """Every command explains itself, without anything set up."""
        words = [command] if command else []
        done = cli(*words, "--help", LINK_SIGNING_KEYS=None, TIKTOK_APP_ID=None, SECRET_MANAGER_EMULATOR_HOST=None)
        assert done.status == 0
        assert done.out.startswith("Usage: python -m tokenkeeper")
