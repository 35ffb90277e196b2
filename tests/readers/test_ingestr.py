"""`infra/readers/ingestr.md`, run as it stands with the real ingestr, into a real SQLite."""

from __future__ import annotations

import sqlite3
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from command_line import Cli
from local.serving import Fault
from local.tiktok import report
from readers.internet import Internet
from readers.recipe import recipe, run, start

pytestmark = pytest.mark.readers

READ = ("AccessSecretVersion", "tiktok-ads-token-acme")
REFUSED = "Access token is incorrect or has been revoked."


def loaded(folder: Path) -> list[tuple[str, ...]]:
    """What is in the database."""
    with sqlite3.connect(folder / "spend.db") as there:
        columns = "advertiser_id, campaign_id, campaign_name, date(stat_time_day), printf('%.2f', spend), clicks"
        return [tuple(map(str, row)) for row in there.execute(f"SELECT {columns} FROM spend ORDER BY 1, 2, 4")]


def spent(internet: Internet) -> list[tuple[str, ...]]:
    """What TikTok says of the seven days that it was asked for last."""
    asked = internet.stage.tiktok.requests_of("report")[-1]
    first, last = date.fromisoformat(str(asked["start_date"])), date.fromisoformat(str(asked["end_date"]))
    assert last - first == timedelta(days=6)
    about = ("campaign_id", "stat_time_day"), ("campaign_name", "spend", "clicks")
    wanted = report.Wanted("BASIC", "AUCTION_CAMPAIGN", *about, first, last)
    return sorted(
        (
            account,
            row["dimensions"]["campaign_id"],
            row["metrics"]["campaign_name"],
            row["dimensions"]["stat_time_day"][:10],
            row["metrics"]["spend"],
            row["metrics"]["clicks"],
        )
        for account in internet.token()["advertiser_ids"]
        for row in report.rows(account, wanted)
    )


def test_the_report_of_every_account_is_loaded(internet: Internet, tmp_path: Path) -> None:
    """All that TikTok says is in the database, the token was read once, and it stands in no file."""
    run(recipe("ingestr"), internet, environment="ingestr", folder=tmp_path)
    assert loaded(tmp_path) == spent(internet)
    assert len(loaded(tmp_path)) == 3 * 3 * 7
    assert (internet.secrets_calls(), internet.refused) == ([READ], [])
    assert internet.holding(tmp_path) == []


def test_a_later_run_takes_the_token_that_is_the_newest_by_then(internet: Internet, tmp_path: Path) -> None:
    """A second run works with a new token, and doubles nothing."""
    run(recipe("ingestr"), internet, environment="ingestr", folder=tmp_path)
    internet.rotate()
    run(recipe("ingestr"), internet, environment="ingestr", folder=tmp_path)
    found = loaded(tmp_path)
    assert set(spent(internet)) <= set(found)  # midnight may have passed between the two
    assert len({(campaign, day) for _, campaign, _, day, _, _ in found}) == len(found)


def test_more_accounts_than_a_report_takes_are_asked_for_in_turns(internet: Internet, tmp_path: Path) -> None:
    """Six ad accounts are two reports, and all six are in the database."""
    internet.connect("acme", "long-lived", [f"700000000000000000{number}" for number in range(1, 7)])
    run(recipe("ingestr"), internet, environment="ingestr", folder=tmp_path)
    assert [call.name for call in internet.stage.tiktok.calls] == ["report", "report"]
    assert loaded(tmp_path) == spent(internet)


def test_a_token_that_is_replaced_in_the_middle_is_read_again(internet: Internet, tmp_path: Path) -> None:
    """A refused ingestr is started again with the new token, which was on no command line."""
    page, tiktok = recipe("ingestr"), internet.stage.tiktok
    page.write(tmp_path)
    tiktok.add_fault(Fault("report", do="hold", hold="report"))
    with start("\n".join(page.commands), internet, environment="ingestr", folder=tmp_path) as process:
        tiktok.wait_held("report")
        running = command_lines()
        old = internet.token()["access_token"]
        internet.rotate()
        tiktok.release("report")
        printed, complained = process.communicate(timeout=300)
    internet.record("what ingestr printed", printed + complained)
    assert process.returncode == 0, complained
    assert any("--dest-table=spend" in line for line in running)
    assert not any(old in line for line in running)
    assert REFUSED in printed + complained
    assert loaded(tmp_path) == spent(internet)
    assert internet.secrets_calls() == [READ, READ]


def command_lines() -> list[str]:
    """Those of all processes, as anybody on the machine can see them."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(file.read_text().replace("\0", " "))
        except OSError:  # it has ended meanwhile
            continue
    return found


def test_a_token_that_was_revoked_fails_the_run(internet: Internet, tmp_path: Path) -> None:
    """The secret is read once more, and then the run ends with what TikTok says and where to look."""
    internet.stage.tiktok.revoke(internet.token()["access_token"])
    done = run(recipe("ingestr"), internet, environment="ingestr", folder=tmp_path, check=False)
    assert done.returncode == 1
    assert REFUSED in done.stdout + done.stderr
    assert "`make status` says what to do" in done.stderr
    assert internet.secrets_calls() == [READ, READ]
    assert [call.name for call in internet.stage.tiktok.calls] == ["report"]


def test_what_the_command_line_prints_is_a_source(internet: Internet, tmp_path: Path) -> None:
    """`make config CONNECTION=acme FOR=ingestr` prints the address that ingestr takes from the environment."""
    token = internet.token()["access_token"]
    internet.stage.canaries.keep("the token", token, belongs_in=r"what \('config',\) prints")
    printed = Cli(internet.stage, tmp_path / "state")("config", "acme", "--for", "ingestr").out
    variables = {"SOURCE_URI": printed.strip(), "INGESTR_DISABLE_TELEMETRY": "true"}
    table = "custom:campaign_id,stat_time_day:campaign_name,spend,clicks"
    today = datetime.now(UTC).date()
    days = f"--interval-start={today - timedelta(days=7)} --interval-end={today - timedelta(days=1)}"
    script = f"ingestr ingest --yes --source-table={table} {days} --dest-uri=sqlite:///spend.db --dest-table=spend"
    with start(script, internet, environment="ingestr", folder=tmp_path, variables=variables) as process:
        said, complained = process.communicate(timeout=300)
    internet.record("what ingestr printed", said + complained)
    assert process.returncode == 0, complained
    assert loaded(tmp_path) == spent(internet)
