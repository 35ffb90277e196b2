"""make token."""

from __future__ import annotations

import pytest

from command_line import Cli, sentence
from stage import TOKEN, Stage


class TestToken:
    def test_prints_the_token_alone(self, cli: Cli, stage: Stage) -> None:
        """Standard output holds the access token and a line's end; standard error nothing."""
        payload = stage.plant("acme")
        done = cli("token", "acme")
        assert (done.status, done.out, done.err) == (0, payload["access_token"] + "\n", "")

    def test_newest_although_latest_is_late(self, cli: Cli, stage: Stage) -> None:
        """The newest version counts, by number, while `latest` still points at an older one."""
        stage.plant("acme", "expiring", age_hours=13)
        assert stage.run()[0] == 200
        stage.secrets.set_lag(latest=1)
        assert cli("token", "acme").out == stage.token("acme")["access_token"] + "\n"

    def test_unknown_connection(self, cli: Cli, stage: Stage) -> None:
        """A connection that does not exist ends in a sentence that names those that do."""
        stage.plant("beta")
        stage.plant("alpha")
        assert sentence(cli("token", "acme")) == "There is no connection acme. There are: alpha, beta."

    def test_no_connection_at_all(self, cli: Cli) -> None:
        """Where there is none, the sentence says how to make it."""
        assert sentence(cli("token", "acme")).endswith("make link CONNECTION=acme")

    @pytest.mark.parametrize("state", ["DISABLED", "DESTROYED"])
    def test_disabled(self, cli: Cli, stage: Stage, state: str) -> None:
        """A newest version that is disabled or destroyed ends in a sentence, and no older one is printed."""
        stage.plant("acme")
        stage.secrets.set_state(TOKEN + "acme", stage.secrets.add_version(TOKEN + "acme", b"{}"), state)
        assert "disabled or destroyed" in sentence(cli("token", "acme"))

    @pytest.mark.parametrize("payload", [b"hello", b"[]", b"{}", b"\xff", b'{"schema": 1, "connection": "other"}'])
    def test_unreadable(self, cli: Cli, stage: Stage, payload: bytes) -> None:
        """A payload that cannot be read ends in a sentence that names the secret."""
        stage.plant("acme")
        stage.secrets.add_version(TOKEN + "acme", payload)
        assert sentence(cli("token", "acme")).startswith("tiktok-ads-token-acme: the stored payload ")

    def test_needs_person(self, cli: Cli, stage: Stage) -> None:
        """Of a connection that needs a new authorization the token is printed, with a warning and exit status 1."""
        payload = stage.plant("acme")
        stage.secrets.edit(TOKEN + "acme", labels={"health": "reauthorize"})
        done = cli("token", "acme")
        assert (done.status, done.out) == (1, payload["access_token"] + "\n")
        assert "make link CONNECTION=acme" in done.err

    def test_may_only_read_versions(self, cli: Cli, stage: Stage) -> None:
        """Who may read tokens and nothing else still gets the token."""
        payload = stage.plant("acme")
        stage.secrets.deny("secretmanager.secrets.get")
        stage.secrets.deny("secretmanager.secrets.list")
        assert cli("token", "acme").out == payload["access_token"] + "\n"

    def test_forbidden(self, cli: Cli, stage: Stage) -> None:
        """A lacking permission ends in a sentence that leads on."""
        stage.plant("acme")
        stage.secrets.deny("secretmanager.versions.access")
        assert "make doctor" in sentence(cli("token", "acme"))

    def test_store_away(self, cli: Cli) -> None:
        """A local Secret Manager that is not there ends in a sentence at once."""
        said = sentence(cli("token", "acme", SECRET_MANAGER_EMULATOR_HOST="127.0.0.1:9"))
        assert said.startswith("The local Secret Manager at 127.0.0.1:9 is not running")
