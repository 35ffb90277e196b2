"""`infra/readers/python.md`, run as it stands."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from local.serving import Fault
from readers.internet import CONNECTION, Internet
from readers.recipe import recipe, run, start
from stage import ROOT, TOKEN

pytestmark = pytest.mark.readers

ADVERTISERS = ["7000000000000000001", "7000000000000000002", "7000000000000000003"]
READ = ("AccessSecretVersion", TOKEN + CONNECTION)
REPORT = "report"
PAGE = recipe("python")
SPEND, CAMPAIGNS = PAGE.commands


def spend(internet: Internet, folder: Path, *, check: bool = True) -> subprocess.CompletedProcess[str]:
    """The program that reads by itself."""
    return run(PAGE, internet, environment="python", folder=folder, commands=[SPEND], check=check)


def rows(folder: Path) -> list[dict[str, Any]]:
    """What the job wrote."""
    return [json.loads(line) for line in (folder / "spend.jsonl").read_text().splitlines()]


def used(internet: Internet, call: str = REPORT) -> list[str]:
    """The tokens that TikTok was asked with, in order."""
    return [str(request["Access-Token"]) for request in internet.stage.tiktok.requests_of(call)]


def planted(internet: Internet, age_hours: float) -> str:
    """Let `acme` be an expiring connection, made so many hours ago; returns its access token."""
    internet.stage.secrets.delete(TOKEN + CONNECTION)
    token = internet.stage.plant(CONNECTION, "expiring", age_hours=age_hours)["access_token"]
    internet.forget_calls()
    return str(token)


class Job:
    """A job, caught at a call to TikTok."""

    def __init__(self, internet: Internet, folder: Path, fault: Fault, command: str = SPEND) -> None:
        self._internet = internet
        internet.stage.tiktok.add_fault(fault)
        PAGE.write(folder)
        self._process = start(command, internet, environment="python", folder=folder)
        internet.stage.tiktok.wait_held(fault.hold, 300)

    def go_on(self, hold: str = "middle") -> tuple[int, str]:
        """Let it go on to its end; returns the status and what it complained of."""
        self._internet.stage.tiktok.release(hold)
        _, complained = self._process.communicate(timeout=300)
        self._internet.record("what the job complained", complained)
        return self._process.returncode, complained


class TestSpend:
    def test_every_account_is_reported(self, internet: Internet, tmp_path: Path) -> None:
        """A row for each account and day, after one read of the one secret."""
        spend(internet, tmp_path)
        found = rows(tmp_path)
        assert sorted({row["advertiser_id"] for row in found}) == ADVERTISERS
        assert len(found) == 7 * len(ADVERTISERS)
        assert {"advertiser_id", "stat_time_day", "spend"} == found[0].keys()
        assert (internet.secrets_calls(), internet.refused) == ([READ], [])
        assert internet.holding(tmp_path) == []

    def test_a_connection_that_is_made_again_meanwhile_is_no_trouble(self, internet: Internet, tmp_path: Path) -> None:
        """The refused call is repeated with the new token, and nothing is missing or doubled."""
        spend(internet, tmp_path)
        usual, old = rows(tmp_path), internet.token()["access_token"]
        internet.forget_calls()
        job = Job(internet, tmp_path, Fault(REPORT, skip=1, do="hold", hold="middle"))
        new = internet.rotate()["access_token"]
        assert job.go_on() == (0, "")
        assert rows(tmp_path) == usual
        assert used(internet) == [old, old, new, new]
        assert internet.secrets_calls() == [READ, READ]

    def test_a_refreshed_token_is_taken_before_the_old_one_ends(self, internet: Internet, tmp_path: Path) -> None:
        """With minutes left the job looks for a newer one, and no call is refused."""
        old = planted(internet, age_hours=23.9)
        job = Job(internet, tmp_path, Fault(REPORT, when="after", do="hold", hold="middle"))
        status, summary = internet.stage.run()
        assert (status, summary["refreshed"]) == (200, 1)
        new = internet.token()["access_token"]
        assert job.go_on() == (0, "")
        assert used(internet) == [old, new, new]

    def test_an_expiring_token_with_hours_left_is_read_once(self, internet: Internet, tmp_path: Path) -> None:
        """The job does not ask for it again with each call."""
        planted(internet, age_hours=13)
        spend(internet, tmp_path)
        assert internet.secrets_calls() == [READ]

    def test_a_revoked_token_ends_it_with_a_sentence(self, internet: Internet, tmp_path: Path) -> None:
        """Read again once, found to be the same: status 1, and what a person has to do."""
        internet.stage.tiktok.revoke(internet.token()["access_token"])
        done = spend(internet, tmp_path, check=False)
        said = "TikTok refuses the newest token: make link CONNECTION=acme\n"
        assert (done.returncode, done.stderr) == (1, said)
        assert (internet.secrets_calls(), len(used(internet))) == ([READ, READ], 1)

    def test_anything_else_ends_it_without_a_word_of_tiktok_s(self, internet: Internet, tmp_path: Path) -> None:
        """The code and the request's id, never a text that may repeat what was sent."""
        internet.stage.tiktok.fail_next(REPORT, 50000, "what was sent")
        done = spend(internet, tmp_path, check=False)
        assert done.returncode == 1
        assert done.stderr.startswith("TikTok answers code 50000 to /report/integrated/get/, request ")
        assert "what was sent" not in done.stderr


class TestCampaigns:
    @pytest.fixture(autouse=True)
    def _copied(self, tmp_path: Path) -> None:
        """The file that the page says is to be copied."""
        shutil.copy(ROOT / "functions" / "tokenkeeper" / "reader.py", tmp_path)

    def test_every_account_is_counted(self, internet: Internet, tmp_path: Path) -> None:
        """With the one role on the one secret."""
        run(PAGE, internet, environment="python", folder=tmp_path, commands=[CAMPAIGNS])
        counted = dict(line.split() for line in (tmp_path / "campaigns.txt").read_text().splitlines())
        assert sorted(counted) == ADVERTISERS
        assert (set(internet.secrets_calls()), internet.refused) == ({READ}, [])
        assert internet.holding(tmp_path) == []

    def test_a_connection_that_is_made_again_meanwhile_is_no_trouble(self, internet: Internet, tmp_path: Path) -> None:
        """The reader is told which token was refused, and has the new one."""
        old = internet.token()["access_token"]
        job = Job(internet, tmp_path, Fault("campaign_get", skip=1, do="hold", hold="middle"), CAMPAIGNS)
        new = internet.rotate()["access_token"]
        assert job.go_on() == (0, "")
        assert used(internet, "campaign_get") == [old, old, new, new]
        assert len((tmp_path / "campaigns.txt").read_text().splitlines()) == len(ADVERTISERS)

    def test_a_revoked_token_ends_it_with_what_to_do(self, internet: Internet, tmp_path: Path) -> None:
        """In the reader's words."""
        internet.stage.tiktok.revoke(internet.token()["access_token"])
        done = run(PAGE, internet, environment="python", folder=tmp_path, commands=[CAMPAIGNS], check=False)
        assert done.returncode == 1
        assert "make link CONNECTION=acme" in done.stderr
        assert used(internet, "campaign_get") == [internet.token()["access_token"]]
