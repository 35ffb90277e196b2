"""make config."""

from __future__ import annotations

import json

import pytest

from command_line import Cli, imported, sentence
from emulators.serving import Fault
from stage import APP_ID, APP_SECRET, TOKEN, Stage
from tokenkeeper.cli.tools import TOOLS

NAMES = {"7000000000000000001": "Acme Shoes", "7000000000000000002": "Acme \x1b[31mOutlet"}


PRINTED = r"what \('config',\) prints"


def plant(stage: Stage) -> str:
    """Put `acme` into the store, with names; returns its access token, which may be printed."""
    payload = stage.plant("acme")
    stage.secrets.edit(TOKEN + "acme", annotations={"advertiser-names": json.dumps(NAMES)})
    return stage.canaries.keep("the token", payload["access_token"], belongs_in=PRINTED)


def may_print_app_secret(stage: Stage) -> None:
    """Let the app's secret be printed."""
    stage.canaries.keep("the app secret", APP_SECRET, belongs_in=PRINTED)


class TestConfig:
    @pytest.mark.parametrize("tool", TOOLS)
    def test_prints_the_configuration_alone(self, cli: Cli, stage: Stage, tool: str) -> None:
        """Standard output holds the configuration, and standard error what to do with it: nothing secret."""
        token = plant(stage)
        if TOOLS[tool].needs_app_secret:
            may_print_app_secret(stage)
        done = cli("config", "acme", "--for", tool)
        assert done.status == 0
        assert (token in done.out) == TOOLS[tool].holds_token
        assert (APP_SECRET in done.out) == TOOLS[tool].needs_app_secret
        assert TOOLS[tool].use.format(connection="acme") in done.err
        assert "7000000000000000001 Acme Shoes" in (done.out if TOOLS[tool].comments else done.err)
        assert "\x1b" not in done.out + done.err

    @pytest.mark.parametrize("words", [[], ["--for", "excel"]])
    def test_lists_the_tools(self, cli: Cli, words: list[str]) -> None:
        """Without a tool, or with one that is unknown, every tool is listed with what is printed for it."""
        done = cli("config", "acme", *words)
        assert (done.status, done.out) == (2, "")
        assert all(f"{name} " in done.err and tool.is_for in done.err for name, tool in TOOLS.items())
        assert ("'excel' is none of the tools." in done.err) == bool(words)

    def test_since(self, cli: Cli, stage: Stage) -> None:
        """The first day is the chosen one, else the first of this year."""
        plant(stage)
        may_print_app_secret(stage)
        chosen = json.loads(cli("config", "acme", "--for", "airbyte", "--since", "2025-03-04").out)
        usual = json.loads(cli("config", "acme", "--for", "airbyte").out)
        assert chosen["start_date"] == "2025-03-04"
        assert usual["start_date"].endswith("-01-01")

    def test_only(self, cli: Cli, stage: Stage) -> None:
        """A selection of ad accounts is passed on; unknown ids are an error that lists the known ones by name."""
        plant(stage)
        may_print_app_secret(stage)
        chosen = json.loads(cli("config", "acme", "--for", "json", "--only", "7000000000000000002").out)
        assert chosen["advertiser_ids"] == ["7000000000000000002"]
        said = sentence(cli("config", "acme", "--for", "json", "--only", "7000000000000000001,7009,7010"))
        assert said.startswith("acme does not reach 7009, 7010. It reaches: 7000000000000000001 Acme Shoes; ")
        assert "ONLY (--only) is 'x', not a list of ids" in sentence(
            cli("config", "acme", "--for", "env", "--only", "x")
        )
        one = json.loads(cli("config", "acme", "--for", "airbyte", "--only", "7000000000000000002").out)
        assert one["credentials"]["advertiser_id"] == "7000000000000000002"
        two = cli("config", "acme", "--for", "airbyte", "--only", "7000000000000000001,7000000000000000002")
        assert "airbyte takes one ad account or all of them" in sentence(two)

    @pytest.mark.parametrize("tool", TOOLS)
    def test_account(self, cli: Cli, stage: Stage, tool: str) -> None:
        """A TikTok account's token goes to the tools that take one; the others refuse it."""
        grant = stage.tiktok.grant_account(scope=["user.info.basic", "video.list"])
        imported(cli, "organic", grant)
        stage.canaries.keep("the token", grant.access_token, belongs_in=PRINTED)
        done = cli("config", "organic", "--for", tool)
        if "account" not in TOOLS[tool].families:
            assert "takes tokens of ad accounts, and organic is for a TikTok account" in sentence(done)
            return
        assert done.status == 0, done
        assert grant.access_token in done.out
        assert grant.open_id in done.out
        assert "Not covered: profile (/business/get/), since the scope user.info.profile and user.info" in done.err
        assert "no ad accounts to choose from" in sentence(cli("config", "organic", "--for", tool, "--only", "7001"))

    def test_no_day(self, cli: Cli) -> None:
        """What is no day ends in a sentence."""
        assert "'yesterday'" in sentence(cli("config", "acme", "--for", "airbyte", "--since", "yesterday"))

    def test_newest_although_latest_is_late(self, cli: Cli, stage: Stage) -> None:
        """The newest version counts, and of an expiring token it is said when it ends."""
        stage.plant("acme", "expiring", age_hours=13)
        assert stage.run()[0] == 200
        stage.secrets.set_lag(latest=1)
        done = cli("config", "acme", "--for", "json")
        payload = stage.token("acme")
        stage.canaries.keep("the token", payload["access_token"], belongs_in=PRINTED)
        assert json.loads(done.out) == {**payload, "advertiser_names": {}}
        assert f"ends at {payload['expires_at']}" in done.err

    def test_unknown_connection(self, cli: Cli, stage: Stage) -> None:
        """A connection that does not exist ends in a sentence that names those that do."""
        stage.plant("beta")
        assert sentence(cli("config", "acme", "--for", "env")) == "There is no connection acme. There are: beta."

    def test_needs_person(self, cli: Cli, stage: Stage) -> None:
        """Of a connection that needs a new authorization it is printed, with a warning and exit status 1."""
        token = plant(stage)
        stage.secrets.edit(TOKEN + "acme", labels={"health": "reauthorize"})
        done = cli("config", "acme", "--for", "env")
        assert done.status == 1
        assert token in done.out
        assert "make link CONNECTION=acme" in done.err

    def test_may_only_read_versions(self, cli: Cli, stage: Stage) -> None:
        """Who may read tokens and nothing else gets a configuration, without names."""
        token = plant(stage)
        for permission in ("secretmanager.secrets.get", "secretmanager.secrets.list"):
            stage.secrets.deny(permission)
        done = cli("config", "acme", "--for", "env")
        assert (done.status, token in done.out, "Acme Shoes" in done.out) == (0, True, False)

    @pytest.mark.parametrize("tool", ["env", "owox"])
    def test_app_secret_only_where_it_is_needed(self, cli: Cli, stage: Stage, tool: str) -> None:
        """Tools that need no app's secret are served without one; for the others the sentence names the variable."""
        plant(stage)
        done = cli("config", "acme", "--for", tool, TIKTOK_APP_SECRET=None)
        if TOOLS[tool].needs_app_secret:
            assert "TIKTOK_APP_SECRET" in sentence(done)
        else:
            assert done.status == 0

    def test_secret_of_another_app(self, cli: Cli, stage: Stage) -> None:
        """The app's secret is never put beside a token that belongs to another app."""
        plant(stage)
        said = sentence(cli("config", "acme", "--for", "owox", TIKTOK_APP_ID="7000000000000000009"))
        assert said.startswith(f"TIKTOK_APP_ID is 7000000000000000009, and acme belongs to the app {APP_ID}")

    def test_tiktok_is_not_asked(self, cli: Cli, stage: Stage) -> None:
        """All that is needed is stored: TikTok may be away."""
        plant(stage)
        may_print_app_secret(stage)
        stage.tiktok.add_fault(Fault(status=503, times=None))
        assert cli("config", "acme", "--for", "airbyte").status == 0
        assert stage.tiktok.calls == []
