"""make link."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest

from command_line import Cli, sentence
from stage import LINK_KEY, Stage
from tokenkeeper import clock
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


class TestWords:
    def test_unknown_command(self, cli: Cli) -> None:
        """A command that does not exist ends in a sentence."""
        assert "No such command 'lnk'" in sentence(cli("lnk"))

    def test_missing_name(self, cli: Cli) -> None:
        """A missing name ends in a sentence."""
        assert "Missing argument 'CONNECTION'" in sentence(cli("link"))

    @pytest.mark.parametrize("command", ["", "link", "disconnect"])
    def test_help(self, cli: Cli, command: str) -> None:
        """Every command explains itself, without anything set up."""
        words = [command] if command else []
        done = cli(*words, "--help", LINK_SIGNING_KEYS=None, TIKTOK_APP_ID=None, SECRET_MANAGER_EMULATOR_HOST=None)
        assert done.status == 0
        assert done.out.startswith("Usage: python -m tokenkeeper")
