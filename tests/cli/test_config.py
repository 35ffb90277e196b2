"""make config."""

import json

import pytest

from command_line import Cli, imported, sentence
from stage import APP_ID, APP_SECRET, TOKEN, Stage
from tokenkeeper.cli.tools import TOOLS

NAMES = {"7000000000000000001": "Acme Shoes", "7000000000000000002": "Acme \x1b[31mOutlet"}
PRINTED = r"what \('config',\) prints"


@pytest.fixture
def token(stage: Stage) -> str:
    """The access token of `acme`, which is stored with names; it and the app's secret may be printed."""
    payload = stage.plant("acme")
    stage.secrets.edit(TOKEN + "acme", annotations={"advertiser-names": json.dumps(NAMES)})
    stage.canaries.keep("the app secret", APP_SECRET, belongs_in=PRINTED)
    return stage.canaries.keep("the token", payload["access_token"], belongs_in=PRINTED)


class TestConfig:
    @pytest.mark.parametrize("tool", ["airbyte", "airbyte-terraform", "env"])
    def test_prints_the_configuration_alone(self, cli: Cli, stage: Stage, token: str, tool: str) -> None:
        """Standard output holds the configuration, and standard error what to do with it; TikTok is not asked."""
        done = cli("config", "acme", "--for", tool)
        assert done.status == 0
        assert (token in done.out) == TOOLS[tool].holds_token
        assert (APP_SECRET in done.out) == TOOLS[tool].needs_app_secret
        assert token not in done.err
        assert APP_SECRET not in done.err
        assert TOOLS[tool].use.format(connection="acme") in done.err
        assert "7000000000000000001 Acme Shoes" in (done.out if TOOLS[tool].comments else done.err)
        assert "\x1b" not in done.out + done.err
        assert stage.tiktok.calls == []

    @pytest.mark.parametrize("words", [[], ["--for", "excel"]])
    def test_lists_the_tools(self, cli: Cli, words: list[str]) -> None:
        """Without a tool, or with one that is unknown, every tool is listed with what is printed for it."""
        done = cli("config", "acme", *words)
        assert (done.status, done.out) == (2, "")
        assert all(f"{name} " in done.err and tool.is_for in done.err for name, tool in TOOLS.items())
        assert ("'excel' is none of the tools." in done.err) == bool(words)

    @pytest.mark.usefixtures("token")
    def test_since_and_only(self, cli: Cli) -> None:
        """The first day is the chosen one, else the first of this year; a selection of ad accounts is passed on.

        Unknown ids are an error that lists the known ones by name.
        """
        env, airbyte = ("config", "acme", "--for", "env"), ("config", "acme", "--for", "airbyte")
        assert json.loads(cli(*airbyte, "--since", "2025-03-04").out)["start_date"] == "2025-03-04"
        assert json.loads(cli(*airbyte).out)["start_date"].endswith("-01-01")
        assert "TIKTOK_ADVERTISER_IDS=7000000000000000002\n" in cli(*env, "--only", "7000000000000000002").out
        said = sentence(cli(*env, "--only", "7000000000000000001,7009,7010"))
        assert said.startswith("acme does not reach 7009, 7010. It reaches: 7000000000000000001 Acme Shoes; ")
        assert "'--only': it is 'x', not a list of ids" in sentence(cli(*env, "--only", "x"))
        one = json.loads(cli(*airbyte, "--only", "7000000000000000002").out)
        assert one["credentials"]["advertiser_id"] == "7000000000000000002"
        two = cli(*airbyte, "--only", "7000000000000000001,7000000000000000002")
        assert "airbyte takes one ad account or all of them" in sentence(two)

    def test_account(self, cli: Cli, stage: Stage) -> None:
        """A TikTok account's token goes to the tools that take one; the others refuse it."""
        grant = stage.tiktok.grant_account(scope=["user.info.basic", "video.list"])
        imported(cli, "organic", grant)
        stage.canaries.keep("the token", grant.access_token, belongs_in=PRINTED)
        done = cli("config", "organic", "--for", "env")
        assert done.status == 0, done
        assert grant.access_token in done.out
        assert grant.open_id in done.out
        assert "Not covered: profile (/business/get/), since the scope user.info.profile and user.info" in done.err
        assert "no ad accounts to choose from" in sentence(cli("config", "organic", "--for", "env", "--only", "7001"))
        assert f'business_id = "{grant.open_id}"' in cli("config", "organic", "--for", "dlt").out
        refused = sentence(cli("config", "organic", "--for", "tap-tiktok-ads"))
        assert "takes tokens of ad accounts, and organic is for a TikTok account" in refused

    def test_state(self, cli: Cli, stage: Stage, token: str) -> None:
        """Who may not read states does without names; that a new authorization is needed is said as by make token."""
        stage.secrets.edit(TOKEN + "acme", labels={"health": "reauthorize"})
        assert cli("config", "acme", "--for", "env").status == 1
        stage.secrets.deny("secretmanager.secrets.get")
        done = cli("config", "acme", "--for", "env")
        assert (done.status, token in done.out, "Acme Shoes" in done.out) == (0, True, False)

    @pytest.mark.usefixtures("token")
    def test_app_secret(self, cli: Cli) -> None:
        """It is asked for only where it is needed, and never put beside a token that belongs to another app."""
        assert cli("config", "acme", "--for", "env", TIKTOK_APP_SECRET=None).status == 0
        owox = ("config", "acme", "--for", "owox")
        assert "TIKTOK_APP_SECRET" in sentence(cli(*owox, TIKTOK_APP_SECRET=None))
        said = sentence(cli(*owox, TIKTOK_APP_ID="7000000000000000009"))
        assert said.startswith(f"TIKTOK_APP_ID is 7000000000000000009, and acme belongs to the app {APP_ID}")
