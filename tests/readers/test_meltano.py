"""The recipe for Meltano and Singer, run with Meltano, singer-io's tap and a loader for CSV."""

from __future__ import annotations

import csv
import json
import os
import re
import stat
import subprocess
from pathlib import Path

import pytest

from command_line import Cli
from local.serving import Fault
from readers.internet import Internet
from readers.recipe import ENVIRONMENTS, programs, recipe, run, start

pytestmark = pytest.mark.readers

PAGE = recipe("meltano")
WITH_MELTANO, SINGER_ALONE = PAGE.commands
READ = ("AccessSecretVersion", "tiktok-ads-token-acme")
CAMPAIGNS = ["Always on", "App installs", "Spring launch"]
ACCOUNTS = ["7000000000000000001", "7000000000000000002", "7000000000000000003"]
PLUGINS = {"extractors/tap-tiktok-ads": "tap-tiktok-ads", "loaders/target-csv": "target-csv"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder in which the plugins are installed already, as `meltano install` would leave it.

    Each virtual environment is a folder of its own with links in it, so that Meltano could not clear the shared one.
    """
    for place, environment in PLUGINS.items():
        folder = tmp_path / ".meltano" / place / "venv"
        folder.mkdir(parents=True)
        for part in programs(environment).parent.iterdir():
            (folder / part.name).symlink_to(part)
    return tmp_path


def variables(**more: str) -> dict[str, str]:
    """Few days, nothing that Meltano asks of its own makers, and the tap's command for whom runs it alone."""
    return {
        "PATH": f"{programs('tap-tiktok-ads')}:{os.environ['PATH']}",
        "MELTANO_CLI_DISABLE_VERSION_CHECK": "true",
        "TAP_TIKTOK_ADS_END_DATE": "2026-01-04T00:00:00Z",
        **more,
    }


def do(commands: str, internet: Internet, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run some of the page's commands, whether they end well or not."""
    PAGE.write(folder)
    process = start(commands, internet, environment="meltano", folder=folder, variables=variables(**more))
    with process:
        printed, complained = process.communicate(timeout=120)
    internet.record("what meltano printed", printed)
    internet.record("what meltano complained", complained)
    return subprocess.CompletedProcess(commands, process.returncode, printed, complained)


def rows(file: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with file.open() as lines:
        return list(csv.DictReader(lines))


def tokens_used(internet: Internet) -> set[str]:
    """The access tokens with which TikTok was called."""
    tiktok = internet.stage.tiktok
    names = {call.name for call in tiktok.calls} - {"access_token", "advertiser_get"}
    return {request["Access-Token"] for name in names for request in tiktok.requests_of(name)}


def test_campaigns_and_reports_of_every_account_arrive(internet: Internet, project: Path) -> None:
    """With Meltano as CSV and with the tap alone as Singer's lines, and the token is left in no file."""
    run(PAGE, internet, environment="meltano", folder=project, variables=variables())
    campaigns = rows(project / "csv" / "campaigns.csv")
    assert sorted((row["advertiser_id"], row["campaign_name"]) for row in campaigns) == [
        (account, name) for account in ACCOUNTS for name in CAMPAIGNS
    ]
    insights = rows(project / "csv" / "ad_insights.csv")
    assert {row["advertiser_id"] for row in insights} == set(ACCOUNTS)
    assert {row["stat_time_day"][:10] for row in insights} == {f"2026-01-0{day}" for day in (1, 2, 3, 4)}
    assert all(float(row["spend"]) > 0 for row in insights)
    lines = [json.loads(line) for line in (project / "campaigns.jsonl").read_text().splitlines()]
    found = [line["record"] for line in lines if line["type"] == "RECORD"]
    assert sorted(record["campaign_name"] for record in found) == sorted(3 * CAMPAIGNS)
    assert tokens_used(internet) == {internet.token()["access_token"]}
    assert set(internet.secrets_calls()) == {READ}
    assert (internet.refused, internet.holding(project)) == ([], [])


def test_while_a_run_lasts_the_token_is_for_its_owner_only(internet: Internet, project: Path) -> None:
    """The file in which Meltano hands it to the tap can be read by nobody else, and is gone afterwards."""
    internet.stage.tiktok.add_fault(Fault("campaign_get", do="hold", hold="reading"))
    PAGE.write(project)
    process = start(WITH_MELTANO, internet, environment="meltano", folder=project, variables=variables())
    with process:
        internet.stage.tiktok.wait_held("reading", 60)
        held = {name: stat.S_IMODE((project / name).stat().st_mode) for name in internet.holding(project)}
        internet.stage.tiktok.release("reading")
        process.communicate(timeout=120)
    assert len(held) == 1, held
    assert set(held.values()) == {0o600}
    assert all(name.startswith(".meltano/run/tap-tiktok-ads/") for name in held)
    assert internet.holding(project) == []


def test_the_next_run_finds_the_new_token(internet: Internet, project: Path) -> None:
    """After a re-connection, which ended the old token, nothing has to be changed."""
    more = {"TAP_TIKTOK_ADS__SELECT": '["campaigns.*"]'}
    assert do(WITH_MELTANO, internet, project, **more).returncode == 0
    new = internet.rotate()
    internet.forget_calls()
    done = do(WITH_MELTANO, internet, project, **more)
    assert done.returncode == 0, done.stderr
    assert tokens_used(internet) == {new["access_token"]}
    assert internet.secrets_calls() == [READ]


@pytest.mark.parametrize("commands", [WITH_MELTANO, SINGER_ALONE], ids=["meltano", "singer"])
def test_a_token_that_has_ended_stops_the_run_at_once(internet: Internet, project: Path, commands: str) -> None:
    """TikTok is asked once, its sentence is shown, and the exit status tells the scheduler."""
    internet.stage.tiktok.revoke(internet.token()["access_token"])
    done = do(commands, internet, project)
    assert done.returncode == 1
    assert "Access token is incorrect or has been revoked" in done.stdout + done.stderr
    assert [call.name for call in internet.stage.tiktok.calls] == ["user_info"]
    assert not (project / "campaigns.jsonl").exists()
    assert not (project / "csv" / "campaigns.csv").exists()


def test_more_accounts_than_a_call_takes_are_given_in_parts(internet: Internet, tmp_path: Path) -> None:
    """The tap fails with 101 accounts at once, and reads some of them where they are named."""
    many = [str(7_100_000_000_000_000_000 + number) for number in range(101)]
    internet.connect("acme", advertisers=[*many, ACCOUNTS[0]])
    assert do(SINGER_ALONE, internet, tmp_path).returncode == 1
    internet.forget_calls()
    done = do(SINGER_ALONE, internet, tmp_path, TAP_TIKTOK_ADS_ACCOUNTS=",".join(many[:2]))
    assert done.returncode == 0, done.stderr
    asked = {request["advertiser_id"] for request in internet.stage.tiktok.requests_of("campaign_get")}
    assert asked == set(many[:2])


def printed(internet: Internet, tool: str, folder: Path) -> str:
    """What `python -m tokenkeeper config acme --for TOOL` prints. The token belongs there."""
    token = internet.token()["access_token"]
    internet.stage.canaries.keep("an access token", token, belongs_in=r"what \('config',\) prints")
    done = Cli(internet.stage, folder / "state")("config", "acme", "--for", tool, "--since", "2026-01-01")
    assert done.status == 0, done.err
    return done.out


class TestConfiguration:
    """What `config` prints is understood by the same tools, without the script."""

    def test_meltano_takes_it_as_its_env_file(self, internet: Internet, project: Path) -> None:
        """Every account's campaigns arrive."""
        (project / ".env").write_text(printed(internet, "meltano", project))
        more = {"TAP_TIKTOK_ADS__SELECT": '["campaigns.*"]'}
        done = do("mkdir csv\nmeltano run --no-install tap-tiktok-ads target-csv", internet, project, **more)
        assert done.returncode == 0, done.stderr
        campaigns = rows(project / "csv" / "campaigns.csv")
        assert sorted({row["advertiser_id"] for row in campaigns}) == ACCOUNTS
        assert (internet.secrets_calls(), internet.refused) == ([], [])

    def test_the_tap_takes_it_as_its_config(self, internet: Internet, tmp_path: Path) -> None:
        """TikTok accepts the token and the accounts: the catalogue holds every stream."""
        (tmp_path / "config.json").write_text(printed(internet, "tap-tiktok-ads", tmp_path))
        done = do("tap-tiktok-ads --config config.json --discover", internet, tmp_path)
        assert {"campaigns", "adgroups", "ads"} <= {stream["stream"] for stream in json.loads(done.stdout)["streams"]}
        (asked,) = {request["advertiser_ids"] for request in internet.stage.tiktok.requests_of("advertiser_info")[:1]}
        assert json.loads(asked) == ACCOUNTS


def test_what_is_run_here_is_what_the_page_installs() -> None:
    """The plugins' versions in meltano.yml are those of the tests' environments."""
    installed = {
        line.strip()
        for environment in PLUGINS.values()
        for line in (ENVIRONMENTS / f"{environment}.txt").read_text().splitlines()
    }
    assert set(re.findall(r"pip_url: (\S+)", PAGE.files["meltano.yml"])) <= installed
