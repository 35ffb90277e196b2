"""The recipe for Airflow, run with Airflow and Google's provider: one run of the DAG each, without a scheduler."""

from __future__ import annotations

import configparser
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from command_line import Cli
from local.serving import Fault
from local.tiktok import ads
from readers.internet import Internet
from readers.recipe import programs, recipe, run, start

pytestmark = pytest.mark.readers

PAGE = recipe("airflow")
READ = ("AccessSecretVersion", "tiktok-ads-token-acme")
ACCOUNTS = ["7000000000000000001", "7000000000000000002", "7000000000000000003"]
ONCE_MORE = "export AIRFLOW_HOME=$PWD\nairflow dags test tiktok_campaigns"
PATIENCE = 300  # seconds: Airflow takes seconds to start where nothing else runs, and a minute where much does
QUIET = {"AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False"}
BACKEND = """
import json, sys
from airflow.providers.google.cloud.secrets.secret_manager import CloudSecretManagerBackend
backend = CloudSecretManagerBackend(**json.loads(sys.argv[1]))
print(backend.get_variable("beta"), backend.get_connection("acme"), backend.get_config("acme"))
"""


@dataclass(frozen=True)
class Published:
    """What the page's commands left behind, run in an empty folder."""

    folder: Path
    printed: str
    secrets_calls: list[tuple[str, str]]
    refused: list[str]
    holding: list[str]
    leaks: list[str]


@pytest.fixture(scope="module")
def published(whole_internet: Internet, tmp_path_factory: pytest.TempPathFactory) -> Published:
    """The page, run once for all of these tests, since Airflow takes its time."""
    folder = tmp_path_factory.mktemp("airflow")
    whole_internet.reset()
    whole_internet.connect()
    done = run(PAGE, whole_internet, environment="airflow", folder=folder, variables=QUIET)
    calls, refused = whole_internet.secrets_calls(), list(whole_internet.refused)
    found = Published(folder, done.stdout, calls, refused, whole_internet.holding(folder), whole_internet.leaks())
    whole_internet.reset()
    return found


@pytest.fixture
def home(published: Published, tmp_path: Path) -> Path:
    """Another Airflow, whose database is made already."""
    PAGE.write(tmp_path)
    shutil.copy(published.folder / "airflow.db", tmp_path)
    return tmp_path


def begin(internet: Internet, home: Path) -> subprocess.Popen[str]:
    """Start one more run of the DAG."""
    return start(ONCE_MORE, internet, environment="airflow", folder=home, variables=QUIET)


def end(internet: Internet, running: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for it; returns its status and all that it printed."""
    with running:
        printed, complained = running.communicate(timeout=PATIENCE)
    internet.record("what airflow printed", printed + complained)
    return running.returncode, printed + complained


def tokens_used(internet: Internet) -> list[str]:
    """The access tokens with which campaigns were asked for, each once, in their order."""
    used = [request["Access-Token"] for request in internet.stage.tiktok.requests_of("campaign_get")]
    return list(dict.fromkeys(used))


def test_the_task_lists_the_campaigns_of_every_account(published: Published) -> None:
    """The token is read once, from its one secret, and is in no log, no file and not in Airflow's database."""
    wanted = [f"{row['campaign_id']} {row['campaign_name']}" for one in ACCOUNTS for row in ads.campaigns(one)]
    assert [line for line in published.printed.splitlines() if line in wanted] == wanted
    assert published.secrets_calls == [READ]
    assert published.refused == []
    assert published.holding == []
    assert published.leaks == []


def test_a_token_that_is_replaced_during_a_task_is_read_again(internet: Internet, home: Path) -> None:
    """TikTok refuses the old one in the middle of the list, and the task ends well with the new one."""
    tiktok, old = internet.stage.tiktok, internet.token()["access_token"]
    tiktok.add_fault(Fault("campaign_get", do="hold", hold="first"))
    running = begin(internet, home)
    tiktok.wait_held("first", PATIENCE)
    new = internet.rotate()["access_token"]
    tiktok.release("first")
    status, printed = end(internet, running)
    assert status == 0, printed
    assert tokens_used(internet) == [old, new]
    assert internet.secrets_calls() == [READ, READ]
    assert printed.count("Always on\n") == len(ACCOUNTS)


def test_a_token_that_has_ended_fails_the_task_for_good(internet: Internet, home: Path) -> None:
    """The newest one is the one that was refused: no retry is left to be made, and the run has failed."""
    internet.stage.tiktok.revoke(internet.token()["access_token"])
    status, printed = end(internet, begin(internet, home))
    assert status != 0
    assert "The access of acme has ended" in printed
    assert "up_for_retry" not in printed
    assert len(internet.stage.tiktok.requests_of("campaign_get")) == 1
    assert internet.secrets_calls() == [READ, READ]


def test_secret_manager_is_asked_for_variables_only(internet: Internet, tmp_path: Path) -> None:
    """Another variable is refused, which Airflow takes for "not here"; connections and settings cost no call."""
    settings = configparser.ConfigParser(interpolation=None)
    settings.read_string(PAGE.files["airflow.cfg"])
    done = subprocess.run(
        [programs("airflow") / "python", "-c", BACKEND, settings["secrets"]["backend_kwargs"]],
        env=internet.environ(AIRFLOW_HOME=str(tmp_path), **QUIET),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    internet.record("what the backend printed", done.stdout + done.stderr)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "None None None"
    assert "secretmanager.versions.access" in done.stdout + done.stderr
    assert internet.secrets_calls() == [("AccessSecretVersion", "tiktok-ads-token-beta")]


def test_what_the_command_line_prints_is_the_same_variable(internet: Internet, home: Path) -> None:
    """`make config CONNECTION=acme FOR=airflow` is for an Airflow without the backend: it finds the same there."""
    token = internet.token()
    internet.stage.canaries.keep("the token", token["access_token"], belongs_in=r"what \('config',\) prints")
    given = Cli(internet.stage, home / "state")("config", "acme", "--for", "airflow")
    (home / "variables.json").write_text(given.out)
    (home / "airflow.cfg").unlink()
    script = "airflow variables import variables.json >&2\nairflow variables get acme"
    variables = {**QUIET, "AIRFLOW_HOME": str(home)}
    with start(script, internet, environment="airflow", folder=home, variables=variables) as running:
        found, complained = running.communicate(timeout=PATIENCE)
    internet.record("what airflow complained", complained)
    assert running.returncode == 0, complained
    assert json.loads(found[found.index("{") :]) == token
    assert internet.secrets_calls() == []
