"""`infra/readers/dlt.md`, run as it stands with the real dlt, into a real DuckDB."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from command_line import Cli
from local.serving import Fault
from local.tiktok import ads
from readers.internet import Internet
from readers.recipe import programs, recipe, run, start

pytestmark = pytest.mark.readers

READ = ("AccessSecretVersion", "tiktok-ads-token-acme")
LOOK = """\
import json, duckdb
columns = "advertiser_id, campaign_id, campaign_name"
with duckdb.connect("tiktok.duckdb", read_only=True) as there:
    print(json.dumps(there.sql(f"SELECT {columns} FROM tiktok_ads.campaigns ORDER BY ALL").fetchall()))
"""
TIKTOK_ADS = """\
import dlt
from dlt.sources.helpers.rest_client import RESTClient
from dlt.sources.helpers.rest_client.auth import APIKeyAuth

@dlt.source
def tiktok_ads(access_token: str = dlt.secrets.value, advertiser_ids: list[str] = dlt.secrets.value):
    auth = APIKeyAuth(name="Access-Token", api_key=access_token)
    client = RESTClient("https://business-api.tiktok.com/open_api/v1.3", auth=auth)

    @dlt.resource
    def campaigns():
        for one in advertiser_ids:
            yield client.get("/campaign/get/", params={"advertiser_id": one}).json()["data"]["list"]

    return campaigns
"""
MAIN = """\
import dlt
from tiktok_ads import tiktok_ads
dlt.pipeline("tiktok", destination="duckdb", dataset_name="tiktok_ads").run(tiktok_ads())
"""


def piped(internet: Internet, folder: Path, *, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the recipe, with dlt's own files in the folder too."""
    return run(recipe("dlt"), internet, environment="dlt", folder=folder, variables=state(folder), check=check)


def state(folder: Path) -> dict[str, str]:
    """Where dlt keeps its state, which for root is outside of the home: here it is each test's own."""
    return {"DLT_DATA_DIR": str(folder / "dlt")}


def loaded(folder: Path) -> list[list[str]]:
    """What is in the database."""
    command = [str(programs("dlt") / "python"), "-c", LOOK]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    found: list[list[str]] = json.loads(done.stdout)
    return found


def campaigns(internet: Internet) -> list[list[str]]:
    """What TikTok holds for the connection."""
    return sorted(
        [row["advertiser_id"], row["campaign_id"], row["campaign_name"]]
        for one in internet.token()["advertiser_ids"]
        for row in ads.campaigns(one)
    )


def test_the_campaigns_of_every_account_are_loaded(internet: Internet, tmp_path: Path) -> None:
    """All that TikTok holds is in the database, the token was read once, and it stands in no file."""
    piped(internet, tmp_path)
    assert loaded(tmp_path) == campaigns(internet)
    assert len(loaded(tmp_path)) == 9
    assert (internet.secrets_calls(), internet.refused) == ([READ], [])
    assert internet.holding(tmp_path) == []


def test_a_later_run_takes_the_token_that_is_the_newest_by_then(internet: Internet, tmp_path: Path) -> None:
    """A second run works with a new token, and brings the campaigns up to date instead of doubling them."""
    piped(internet, tmp_path)
    internet.rotate()
    piped(internet, tmp_path)
    assert loaded(tmp_path) == campaigns(internet)


def test_every_page_is_loaded(internet: Internet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ad account with more campaigns than go on one page has them all in the database."""
    monkeypatch.setattr(ads, "CAMPAIGNS", tuple((f"Campaign {number}", "TRAFFIC") for number in range(1001)))
    piped(internet, tmp_path)
    assert len(internet.stage.tiktok.calls) == 6
    assert loaded(tmp_path) == campaigns(internet)


def test_a_token_that_is_replaced_in_the_middle_is_read_again(internet: Internet, tmp_path: Path) -> None:
    """The call that is refused is repeated with the new token, and nothing is missing."""
    page, tiktok = recipe("dlt"), internet.stage.tiktok
    page.write(tmp_path)
    tiktok.add_fault(Fault("campaign_get", skip=1, do="hold", hold="second account"))
    script = "\n".join(page.commands)
    with start(script, internet, environment="dlt", folder=tmp_path, variables=state(tmp_path)) as pipeline:
        tiktok.wait_held("second account")
        internet.rotate()
        tiktok.release("second account")
        printed, complained = pipeline.communicate(timeout=300)
    internet.record("what dlt printed", printed + complained)
    assert pipeline.returncode == 0, complained
    assert loaded(tmp_path) == campaigns(internet)
    assert internet.secrets_calls() == [READ, READ]


def test_a_token_that_was_revoked_fails_the_run(internet: Internet, tmp_path: Path) -> None:
    """The secret is read once more, and then the run fails with what a person has to do."""
    internet.stage.tiktok.revoke(internet.token()["access_token"])
    done = piped(internet, tmp_path, check=False)
    assert done.returncode == 1
    assert "TikTok refuses the newest token (code 40105): make link CONNECTION=acme" in done.stderr
    assert internet.secrets_calls() == [READ, READ]
    assert [call.name for call in internet.stage.tiktok.calls] == ["campaign_get"]
    with pytest.raises(subprocess.CalledProcessError):  # there is no such table
        loaded(tmp_path)


def test_any_other_refusal_fails_the_run(internet: Internet, tmp_path: Path) -> None:
    """The error names TikTok's code and the request, and the secret is not read again for it."""
    refusal = {"code": 40001, "message": "No permission to operate.", "request_id": "2026112300", "data": {}}
    internet.stage.tiktok.add_fault(Fault("campaign_get", status=200, body=refusal))
    done = piped(internet, tmp_path, check=False)
    assert done.returncode == 1
    assert "TikTok answers code 40001, request 2026112300" in done.stderr
    assert internet.secrets_calls() == [READ]


def test_what_passes_is_waited_for(internet: Internet, tmp_path: Path) -> None:
    """A TikTok that is busy, or fails for a moment, is asked again by dlt's own client."""
    busy = {"code": 40100, "message": "App reaches the QPS limit.", "request_id": "2026112300", "data": {}}
    internet.stage.tiktok.add_fault(Fault("campaign_get", status=200, body=busy))
    internet.stage.tiktok.add_fault(Fault("campaign_get", skip=1, status=502, body=b"<html>", content_type="text/html"))
    piped(internet, tmp_path)
    assert loaded(tmp_path) == campaigns(internet)
    assert len(internet.stage.tiktok.calls) == 5


def test_what_the_command_line_prints_is_a_source_s_secrets(internet: Internet, tmp_path: Path) -> None:
    """A source `tiktok_ads` finds token and ad accounts in what `make config CONNECTION=acme FOR=dlt` prints."""
    token = internet.token()["access_token"]
    internet.stage.canaries.keep("the token", token, belongs_in=r"what \('config',\) prints")
    (tmp_path / ".dlt").mkdir()
    printed = Cli(internet.stage, tmp_path / "state")("config", "acme", "--for", "dlt").out
    (tmp_path / ".dlt" / "secrets.toml").write_text(printed)
    (tmp_path / "tiktok_ads.py").write_text(TIKTOK_ADS)
    variables = {**state(tmp_path), "RUNTIME__DLTHUB_TELEMETRY": "false"}
    with start(
        f"python - <<'EOF'\n{MAIN}EOF", internet, environment="dlt", folder=tmp_path, variables=variables
    ) as done:
        said, complained = done.communicate(timeout=300)
    internet.record("what dlt printed", said + complained)
    assert done.returncode == 0, complained
    assert loaded(tmp_path) == campaigns(internet)
