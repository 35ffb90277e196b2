"""The recipes that read a token and load something with it: each is run as it is published, with the real tool.

Every one of them reads the newest token from its one secret; goes on, where the page says so, with a token that was
replaced in the middle of a run; and fails with a sentence where the token was revoked.
"""

import csv
import json
import re
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from emulators.serving import Fault
from readers.internet import CONNECTION, Internet
from readers.recipe import finish, recipe, run, start
from readers.tools import (
    ACCOUNTS,
    ALL,
    CAMPAIGNS,
    Rows,
    airbyte,
    dlt_home,
    duckdb,
    meltano_project,
    trusting,
)
from stage import TOKEN

pytestmark = pytest.mark.readers

READ = ("AccessSecretVersion", TOKEN + CONNECTION)


@dataclass(frozen=True)
class Case:
    """One recipe."""

    page: str  # the page's name
    found: Callable[[Path, str], Rows]  # what it brought, from its folder and from what it printed
    wanted: Rows  # the same, as TikTok has it
    environment: str | None = None  # where its tool is installed; None: on this machine
    refused: str = "make link CONNECTION=acme"  # what it says when TikTok refuses the newest token
    asks: str = "campaign_get"  # the call of TikTok's that it makes for each advertiser
    block: int | None = None  # which of the page's blocks of commands is run; None: all
    again: bool = True  # whether it reads again in the middle of a run
    holds: str = ""  # pattern of the file that holds the token while it runs; empty: none does
    variables: Callable[[Path], dict[str, str]] = lambda _: {}  # what else it is run with

    def script(self, folder: Path) -> str:
        """The commands; a database of Airflow's that is there already is not made again, since that takes long."""
        commands = recipe(self.page).commands
        text = "\n".join(commands if self.block is None else [commands[self.block]])
        return text.replace("airflow db migrate\n", "") if (folder / "airflow.db").exists() else text


def spend(folder: Path, _: str) -> Rows:
    rows = [json.loads(line) for line in (folder / "spend.jsonl").read_text().splitlines()]
    return sorted((row["advertiser_id"],) for row in rows if row["stat_time_day"])


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


def loaded(folder: Path, _: str) -> Rows:
    return duckdb(folder, "tiktok_ads.campaigns", "advertiser_id, campaign_name")


QUIET = {"AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False"}
REVOKED = "Access token is incorrect or has been revoked"  # TikTok's own sentence
MELTANO = partial(Case, "meltano", environment="meltano", refused=REVOKED, again=False, variables=meltano_project)
CASES = [
    Case("python", spend, sorted(7 * [(account,) for account in ACCOUNTS]), "python", asks="report"),
    Case("gcloud", table, ALL),
    Case("dlt", loaded, ALL, "dlt", variables=dlt_home),
    Case("airflow", printed_names, sorted(3 * [(name,) for name in CAMPAIGNS]), "airflow", variables=lambda _: QUIET),
    Case("ingestr", sqlite, sorted(7 * ALL), "ingestr", asks="report"),
    MELTANO(found=meltano_csv, wanted=ALL, block=0, holds=r"\.meltano/run/tap-tiktok-ads/.*"),
    MELTANO(found=singer, wanted=ALL, block=1),
    Case(
        "airbyte",
        airbyte,
        sorted((ACCOUNTS[0], name) for name in CAMPAIGNS),
        "airbyte",
        refused=REVOKED,
        block=1,
        again=False,
        holds=r"config\.json",
        variables=trusting,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[f"{case.page}-{number}" for number, case in enumerate(CASES)])
def test_it_loads_what_tiktok_has(case: Case, internet: Internet, tmp_path: Path) -> None:
    """All of it, also where the token is replaced meanwhile: the refused call is repeated with the new one.

    The token is read from the one secret, is on no command line, and in no file but those that the page names, which
    only their owner can read. No other host is asked. Where it was revoked, the next run fails and says what to do,
    without asking TikTok again and again.
    """
    tiktok, old = internet.stage.tiktok, internet.stage.token()["access_token"]
    tiktok.add_fault(Fault(case.asks, do="hold", hold="middle"))
    recipe(case.page).write(tmp_path)
    variables = case.variables(tmp_path)
    process = start(case.script(tmp_path), internet, tmp_path, case.environment, **variables)
    tiktok.wait_held("middle", 300)
    assert old not in command_lines()
    holding = internet.holding(tmp_path)
    assert all(re.fullmatch(case.holds, name) for name in holding), holding
    assert list(holding.values()) == ([0o600] if case.holds else [])
    tokens = [old, internet.rotate()["access_token"]] if case.again else [old]
    tiktok.release("middle")
    done = finish(process, internet, case.page)
    assert case.found(tmp_path, done.stdout) == case.wanted
    assert list(dict.fromkeys(request["Access-Token"] for request in tiktok.requests_of(case.asks))) == tokens
    assert (set(internet.calls), internet.refused) == ({READ}, [])
    assert internet.holding(tmp_path) == {}

    tiktok.revoke(tokens[-1])
    internet.forget_calls()
    page, script = recipe(case.page), case.script(tmp_path)
    done = run(page, internet, tmp_path, case.environment, script=script, check=False, variables=variables)
    said = done.stdout + done.stderr + "".join(file.read_text() for file in tmp_path.glob("records.jsonl"))
    assert (done.returncode != 0, case.refused in said) == (True, True), said
    assert len(tiktok.calls) <= 2


def command_lines() -> str:
    """Those of all processes, as anybody on the machine can see them."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(file.read_text())
        except OSError:  # the process has ended meanwhile
            continue
    return "\n".join(found)
