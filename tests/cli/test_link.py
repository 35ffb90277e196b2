"""make link."""

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
        """Standard output holds the address and nothing else, and no Secret Manager is needed; the rest is said.

        With --json it is one object with the link and what it says.
        """
        done = cli("link", "acme", SECRET_MANAGER_EMULATOR_HOST="127.0.0.1:9")
        assert done.status == 0
        link = read(done.out)
        assert (link.connection, link.any_account, link.family, dict(link.labels)) == ("acme", False, "advertiser", {})
        assert link.expires_at - link.issued_at == timedelta(hours=72)
        assert f"This link connects acme. It works once, until {link.expires_at:%Y-%m-%d %H:%M} UTC. Send" in done.err
        document = json.loads(cli("link", "acme", "--labels", "client=x", "--json").out)
        expires_at = clock.text(read(document["link"] + "\n").expires_at)
        said = {"expires_at": expires_at, "any_account": False, "family": "advertiser", "labels": {"client": "x"}}
        assert document == {"connection": "acme", "link": document["link"], **said}

    def test_connects(self, cli: Cli, stage: Stage) -> None:
        """A printed link leads the whole way to a stored token; family and labels are those of the connection."""
        words = ("link", "organic", "--family", "account", "--labels", "client=x,team=y")
        address = cli(*words, PUBLIC_URL=stage.connect.url).out.strip()
        stage.canaries.keep("a connect link", address.partition("link=")[2])
        browser = stage.browser()
        state = browser.begin(address.removeprefix(stage.connect.url))
        assert browser.come_back(stage.account_code(), state).status_code == 303
        assert {"family": "account", "client": "x", "team": "y"}.items() <= stage.labels("organic").items()

    def test_fits_the_connection(self, cli: Cli, stage: Stage) -> None:
        """Without --family it is for what the connection is for, alone and among others: alerts need not name it."""
        stage.plant("acme")
        stage.plant("organic", family="account")
        assert read(cli("link", "organic").out).family == "account"
        families = [one["family"] for one in json.loads(cli("link", "acme", "organic", "new", "--json").out)]
        assert families == ["advertiser", "account", "advertiser"]
        stage.secrets.edit(TOKEN + "organic", labels={"client": "x"})
        assert [one["family"] for one in json.loads(cli("link", "--label", "client=x", "--json").out)] == ["account"]
        assert read(cli("link", "organic", "--family", "advertiser").out).family == "advertiser"

    def test_says_what_it_is_told(self, cli: Cli) -> None:
        """--expires takes minutes, hours and days; --any-account is signed into the link, and said."""
        for text, minutes in (("90m", 90), ("30d", 30 * 24 * 60)):
            link = read(cli("link", "acme", "--expires", text).out)
            assert link.expires_at - link.issued_at == timedelta(minutes=minutes)
        done = cli("link", "acme", "--any-account")
        assert read(done.out).any_account
        assert "It may replace the advertisers by entirely different ones." in done.err
        done = cli("link", "organic", "--family", "account", "--any-account")
        assert read(done.out).family == "account"
        assert "It may replace the account by another one. Send it to the holder of the TikTok account." in done.err

    @pytest.mark.parametrize("where", ["connect", "Secret Manager"])
    def test_clock_is_off(self, cli: Cli, stage: Stage, where: str) -> None:
        """A clock that is off by the time of connect, or else of Secret Manager, makes no link."""
        server = stage.tiktok if where == "connect" else stage.secrets
        server.add_fault(Fault(status=404, headers={"Date": "Sun, 01 Nov 2020 10:00:00 GMT"}, times=None))
        here = {"PUBLIC_URL": stage.tiktok.url} if where == "connect" else {}
        assert "seconds fast, and connect links carry the time" in sentence(cli("link", "acme", **here))


class TestMany:
    def test_a_line_each(self, cli: Cli, stage: Stage) -> None:
        """Several names, or those with a label, give a line each: name, link, expiry."""
        lines = cli("link", "acme", "beta", "acme").out.splitlines()
        rows = [line.split("\t") for line in lines]
        assert [row[0] for row in rows] == ["acme", "beta"]
        link = read(rows[1][1] + "\n")
        assert (link.connection, clock.text(link.expires_at)) == ("beta", rows[1][2])
        stage.plant("beta")
        stage.secrets.edit(TOKEN + "beta", labels={"client": "x"})
        assert cli("link", "--label", "client=x").out.startswith("beta\t")
        assert sentence(cli("link", "--label", "client=y")).startswith("No connection has the label client=y")

    def test_file(self, cli: Cli, tmp_path: Path) -> None:
        """Names come from a file as well, one a line; CSV has a head, and a line that is no name is named."""
        file = tmp_path / "names.txt"
        file.write_text("# all of them\nacme\n\n  beta  \nacme\n")
        head, *rows = cli("link", "--file", str(file), "--csv").out.splitlines()
        assert head == "connection,link,expires_at"
        assert [row.split(",")[0] for row in rows] == ["acme", "beta"]
        documents = json.loads(cli("link", "--file", str(file), "--json").out)
        assert [one["connection"] for one in documents] == ["acme", "beta"]
        file.write_text("acme\nBeta\n")
        assert sentence(cli("link", "--file", str(file))).startswith("Line 2 is 'Beta', not a connection's name")
        file.write_bytes("acme\n".encode("utf-16"))
        assert "is not text in UTF-8: save it as that." in sentence(cli("link", "--file", str(file)))
        file.unlink()
        assert "cannot be read: No such file or directory." in sentence(cli("import", "--file", str(file)))


class TestWords:
    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ("lnk", "No such command 'lnk'"),
            ("link", "Missing argument 'CONNECTION'"),
            ("link Acme", "it is 'Acme', not a connection's name (1 to 63 of a-z, 0-9 and -, no - at either"),
            ("link acme\n", "not a connection's name"),
            ("link acme --expires 4m", "is not between 5 minutes and 30 days, like 30m, 72h or 7d"),
            ("link acme --expires 31d", "is not between 5 minutes and 30 days"),
            ("link acme --expires 7", "is not between 5 minutes and 30 days"),
            ("link acme --labels health=ok", "it sets the label health"),
            ("link acme --family account", "begins with http:, and TikTok takes only https"),
            ("import", "Name a CONNECTION, or give a --file, not both."),
            ("config acme --for airbyte --since yesterday", "'yesterday'"),
        ],
    )
    def test_wrong(self, cli: Cli, words: str, said: str) -> None:
        """What is no command, or none that can be followed, ends in a sentence."""
        assert said in sentence(cli(*words.split(" "), TIKTOK_ACCOUNT_AUTHORIZE_URL=None))

    def test_help(self, cli: Cli) -> None:
        """Every command explains itself, without anything set up."""
        nothing = dict.fromkeys(("LINK_SIGNING_KEYS", "TIKTOK_APP_ID", "SECRET_MANAGER_EMULATOR_HOST"))
        helped = [cli(*words, "--help", **nothing) for words in ([], *([name] for name in commands.commands))]
        begin = "Usage: python -m tokenkeeper "
        assert [done.out.removeprefix(begin).split()[0] for done in helped] == ["[OPTIONS]", *commands.commands]
