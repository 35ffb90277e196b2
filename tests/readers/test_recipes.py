"""The recipes that read a token and load something with it: each is run as it is published, with the real tool.

Every one of them reads the newest token from its one secret and leaves it in no file; goes on, where the page says so,
with a token that was replaced in the middle of a run; and fails with a sentence where the token was revoked.
"""

from __future__ import annotations

import csv
import json
import sqlite3
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from emulators.serving import Fault
from readers.internet import CONNECTION, Internet
from readers.recipe import Recipe, recipe, run, start
from readers.tools import ACCOUNTS, ALL, CAMPAIGNS, Rows, airbyte, airflow_home, duckdb, meltano_project, trusting
from stage import TOKEN

pytestmark = pytest.mark.readers

READ = ("AccessSecretVersion", TOKEN + CONNECTION)


@dataclass(frozen=True)
class Case:
    """One recipe.

    Attributes:
        page: The page's name.
        environment: Where its tool is installed; None: on this machine.
        found: What it brought, from its folder and from what it printed.
        wanted: The same, as TikTok has it.
        refused: What it says when TikTok refuses the newest token.
        asks: The call of TikTok's that it makes for each advertiser.
        block: Which of the page's blocks of commands is run; None: all.
        again: Whether it reads again in the middle of a run.
        variables: What else it is run with.
    """

    page: str
    environment: str | None
    found: Callable[[Path, str], Rows]
    wanted: Rows
    refused: str = "make link CONNECTION=acme"
    asks: str = "campaign_get"
    block: int | None = None
    again: bool = True
    variables: Callable[[Path], dict[str, str]] = field(default=lambda _: {})

    @property
    def recipe(self) -> Recipe:
        return recipe(self.page)

    def script(self, folder: Path) -> str:
        """The commands; a database of Airflow's that is there already is not made again, since that takes long."""
        commands = self.recipe.commands
        text = "\n".join(commands if self.block is None else [commands[self.block]])
        return text.replace("airflow db migrate\n", "") if (folder / "airflow.db").exists() else text


def json_lines(file: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def spend(folder: Path, _: str) -> Rows:
    return sorted((row["advertiser_id"],) for row in json_lines(folder / "spend.jsonl") if row["stat_time_day"])


def table(folder: Path, _: str) -> Rows:
    lines = (folder / "campaigns.tsv").read_text().splitlines()
    return sorted((account, name) for account, _, name in (line.split("\t") for line in lines))


def printed_names(_: Path, printed: str) -> Rows:
    return sorted((name,) for line in printed.splitlines() for name in CAMPAIGNS if line.endswith(f" {name}"))


def sqlite(folder: Path, _: str) -> Rows:
    with sqlite3.connect(folder / "spend.db") as there:
        return there.execute("SELECT advertiser_id, campaign_name FROM spend ORDER BY 1, 2").fetchall()


def meltano_csv(folder: Path, _: str) -> Rows:
    with (folder / "csv" / "campaigns.csv").open() as lines:
        return sorted((row["advertiser_id"], row["campaign_name"]) for row in csv.DictReader(lines))


def singer(folder: Path, _: str) -> Rows:
    lines = [json.loads(line) for line in (folder / "campaigns.jsonl").read_text().splitlines()]
    records = [line["record"] for line in lines if line["type"] == "RECORD"]
    return sorted((str(row["advertiser_id"]), row["campaign_name"]) for row in records)


CASES = [
    Case("python", "python", spend, sorted(7 * [(account,) for account in ACCOUNTS]), asks="report"),
    Case("gcloud", None, table, ALL),
    Case(
        "dlt",
        "dlt",
        lambda folder, _: duckdb(folder, "tiktok_ads.campaigns", "advertiser_id, campaign_name"),
        ALL,
        variables=lambda folder: {"DLT_DATA_DIR": str(folder / "dlt")},
    ),
    Case("airflow", "airflow", printed_names, sorted(3 * [(name,) for name in CAMPAIGNS]), variables=airflow_home),
    Case("ingestr", "ingestr", sqlite, sorted(7 * ALL), asks="report"),
    Case(
        "meltano",
        "meltano",
        meltano_csv,
        ALL,
        refused="Access token is incorrect or has been revoked",
        block=0,
        again=False,
        variables=meltano_project,
    ),
    Case(
        "meltano",
        "meltano",
        singer,
        ALL,
        refused="Access token is incorrect or has been revoked",
        block=1,
        again=False,
        variables=meltano_project,
    ),
    Case(
        "airbyte",
        "airbyte",
        airbyte,
        sorted((ACCOUNTS[0], name) for name in CAMPAIGNS),
        refused="Access token is incorrect or has been revoked",
        block=1,
        again=False,
        variables=trusting,
    ),
]
each = pytest.mark.parametrize("case", CASES, ids=[f"{case.page}-{number}" for number, case in enumerate(CASES)])


def do(case: Case, internet: Internet, folder: Path, *, check: bool = True) -> subprocess.CompletedProcess[str]:
    variables, environment = case.variables(folder), case.environment
    commands = [case.script(folder)]
    return run(
        case.recipe,
        internet,
        environment=environment,
        folder=folder,
        commands=commands,
        variables=variables,
        check=check,
    )


@each
def test_it_loads_what_tiktok_has(case: Case, internet: Internet, tmp_path: Path) -> None:
    """With the newest of two tokens, read from the one secret; the token is in no file, and no other host is asked."""
    internet.rotate()
    internet.forget_calls()
    done = do(case, internet, tmp_path)
    assert case.found(tmp_path, done.stdout) == case.wanted
    assert (set(internet.secrets_calls()), internet.refused) == ({READ}, [])
    assert internet.holding(tmp_path) == []


@pytest.mark.parametrize("case", [case for case in CASES if case.again], ids=lambda case: str(case.page))
def test_a_token_that_is_replaced_meanwhile(case: Case, internet: Internet, tmp_path: Path) -> None:
    """The refused call is repeated with the new token, and nothing is missing. The token is on no command line."""
    tiktok, old = internet.stage.tiktok, internet.token()["access_token"]
    tiktok.add_fault(Fault(case.asks, do="hold", hold="middle"))
    case.recipe.write(tmp_path)
    variables = case.variables(tmp_path)
    script = case.script(tmp_path)
    with start(script, internet, environment=case.environment, folder=tmp_path, variables=variables) as process:
        tiktok.wait_held("middle", 300)
        assert old not in command_lines()
        new = internet.rotate()["access_token"]
        tiktok.release("middle")
        printed, errors = process.communicate(timeout=300)
    internet.record(f"what {case.page} printed", printed + errors)
    assert process.returncode == 0, printed + errors
    assert case.found(tmp_path, printed) == case.wanted
    used = [request["Access-Token"] for request in tiktok.requests_of(case.asks)]
    assert list(dict.fromkeys(used)) == [old, new]


def command_lines() -> str:
    """Those of all processes, as anybody on the machine can see them."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(file.read_text())
        except OSError:  # the process has ended meanwhile
            continue
    return "\n".join(found)


@each
def test_a_token_that_was_revoked(case: Case, internet: Internet, tmp_path: Path) -> None:
    """The run fails and says what to do, without asking TikTok again and again."""
    internet.stage.tiktok.revoke(internet.token()["access_token"])
    done = do(case, internet, tmp_path, check=False)
    said = done.stdout + done.stderr + "".join(file.read_text() for file in tmp_path.glob("records.jsonl"))
    assert (done.returncode != 0, case.refused in said) == (True, True), said
    assert len(internet.stage.tiktok.calls) <= 2
