"""What the pages say about single tools: pages, busy servers, many advertisers, files that hold the token meanwhile."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from emulators.serving import Fault
from local.tiktok import ads
from readers.internet import Internet
from readers.recipe import recipe, run, start
from readers.tools import ACCOUNTS, duckdb, meltano_project

pytestmark = pytest.mark.readers


def answer(code: int) -> dict[str, Any]:
    return {"code": code, "message": "what was sent", "request_id": "2026112300", "data": {}}


def dlt(internet: Internet, folder: Path, *, check: bool = True) -> subprocess.CompletedProcess[str]:
    variables = {"DLT_DATA_DIR": str(folder / "dlt")}
    return run(recipe("dlt"), internet, environment="dlt", folder=folder, variables=variables, check=check)


def test_dlt_loads_every_page_past_a_busy_tiktok(
    internet: Internet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1,001 campaigns are two pages; too many calls and a gateway's error are retried by dlt's own client."""
    monkeypatch.setattr(ads, "CAMPAIGNS", tuple((f"Campaign {number}", "TRAFFIC") for number in range(1001)))
    internet.stage.tiktok.add_fault(Fault("campaign_get", status=200, body=answer(40100)))
    internet.stage.tiktok.add_fault(Fault("campaign_get", skip=1, status=502, body=b"<html>", content_type="text/html"))
    dlt(internet, tmp_path)
    assert duckdb(tmp_path, "tiktok_ads.campaigns", "count(DISTINCT campaign_id)") == [(str(3 * 1001),)]
    assert len(internet.stage.tiktok.calls) == 6 + 2


def test_dlt_names_another_refusal(internet: Internet, tmp_path: Path) -> None:
    """The error has TikTok's code and request id, and the secret is not read again for it."""
    internet.stage.tiktok.add_fault(Fault("campaign_get", status=200, body=answer(40001)))
    done = dlt(internet, tmp_path, check=False)
    assert (done.returncode, "TikTok answers code 40001, request 2026112300" in done.stderr) == (1, True)
    assert "what was sent" not in done.stderr
    assert len(internet.secrets_calls()) == 2  # `latest` and the next number


def test_ingestr_divides_more_advertisers_than_a_report_takes(internet: Internet, tmp_path: Path) -> None:
    """Six advertisers are two reports."""
    internet.connect("acme", "long-lived", [f"700000000000000000{number}" for number in range(1, 7)])
    run(recipe("ingestr"), internet, environment="ingestr", folder=tmp_path)
    assert [call.name for call in internet.stage.tiktok.calls] == ["report", "report"]


def test_the_tap_takes_some_of_the_advertisers(internet: Internet, tmp_path: Path) -> None:
    """101 are too many for its first call; those that are named are read."""
    many = [str(7_100_000_000_000_000_000 + number) for number in range(101)]
    internet.connect("acme", advertisers=[*many, ACCOUNTS[0]])
    page, variables = recipe("meltano"), meltano_project(tmp_path)
    some = {**variables, "TAP_TIKTOK_ADS_ACCOUNTS": ",".join(many[:2])}
    alone = page.commands[1:2]
    done = run(page, internet, environment="meltano", folder=tmp_path, commands=alone, variables=variables, check=False)
    assert done.returncode == 1
    internet.forget_calls()
    run(page, internet, environment="meltano", folder=tmp_path, commands=alone, variables=some)
    asked = {request["advertiser_id"] for request in internet.stage.tiktok.requests_of("campaign_get")}
    assert asked == set(many[:2])


def test_meltano_keeps_the_token_from_others(internet: Internet, tmp_path: Path) -> None:
    """While a run lasts it is in one file, which only its owner can read; afterwards in none."""
    internet.stage.tiktok.add_fault(Fault("campaign_get", do="hold", hold="reading"))
    page, variables = recipe("meltano"), meltano_project(tmp_path)
    page.write(tmp_path)
    with start(page.commands[0], internet, environment="meltano", folder=tmp_path, variables=variables) as process:
        internet.stage.tiktok.wait_held("reading", 60)
        held = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in internet.holding(tmp_path)}
        internet.stage.tiktok.release("reading")
        process.communicate(timeout=120)
    assert (len(held), set(held.values())) == (1, {0o600})
    assert next(iter(held)).startswith(".meltano/run/tap-tiktok-ads/")
    assert internet.holding(tmp_path) == []
