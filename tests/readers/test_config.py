"""What `make config CONNECTION=acme FOR=TOOL` prints is understood by the tool, and is all that it needs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from readers.internet import Internet
from readers.recipe import recipe, start
from readers.tools import ACCOUNTS, ALL, airbyte, airflow_home, configured, duckdb, meltano_project, trusting

pytestmark = pytest.mark.readers

DLT_SOURCE = """\
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

if __name__ == "__main__":
    dlt.pipeline("tiktok", destination="duckdb", dataset_name="tiktok_ads").run(tiktok_ads())
"""
CURL = """\
. ./env.sh
curl --silent --fail --get --header @<(printf 'Access-Token: %s' "$TIKTOK_ACCESS_TOKEN") \\
  --data-urlencode "advertiser_id=${TIKTOK_ADVERTISER_IDS%%,*}" https://business-api.tiktok.com/open_api/v1.3/campaign/get/
"""
LAST_WEEK = (
    f"--interval-start={datetime.now(UTC).date() - timedelta(days=7)} --interval-end={datetime.now(UTC).date()} "
    "--source-table=custom:campaign_id,stat_time_day:spend --dest-uri=sqlite:///spend.db --dest-table=spend"
)


@dataclass(frozen=True)
class Case:
    """A tool, the file that takes what is printed, what is run with it, and whether that went well."""

    tool: str
    environment: str | None
    file: str
    script: str
    good: Callable[[Path, str, Internet], bool]
    variables: Callable[[Path], dict[str, str]] = lambda _: {}


CASES = [
    Case(
        "airbyte",
        "airbyte",
        "config.json",
        "source-tiktok-marketing read --config config.json --catalog catalog.json > records.jsonl",
        lambda folder, *_: airbyte(folder, "") == ALL,
        trusting,
    ),
    Case(
        "airflow",
        "airflow",
        "variables.json",
        "export AIRFLOW_HOME=$PWD\n[ -f airflow.db ] || airflow db migrate >&2\n"
        "airflow variables import variables.json >&2\nairflow variables get acme",
        lambda _, printed, internet: json.loads(printed[printed.index("{") :]) == internet.token(),
        airflow_home,
    ),
    Case(
        "dlt",
        "dlt",
        ".dlt/secrets.toml",
        "python tiktok_ads.py",
        lambda folder, *_: duckdb(folder, "tiktok_ads.campaigns", "advertiser_id, campaign_name") == ALL,
        lambda folder: {"DLT_DATA_DIR": str(folder / "dlt"), "RUNTIME__DLTHUB_TELEMETRY": "false"},
    ),
    Case("env", None, "env.sh", CURL, lambda _, printed, __: json.loads(printed)["code"] == 0),
    Case(
        "ingestr",
        "ingestr",
        "uri",
        f"SOURCE_URI=$(cat uri) INGESTR_DISABLE_TELEMETRY=true ingestr ingest --yes {LAST_WEEK}",
        lambda folder, *_: (folder / "spend.db").exists(),
    ),
    Case(
        "meltano",
        "meltano",
        ".env",
        "mkdir csv\nTAP_TIKTOK_ADS__SELECT='[\"campaigns.*\"]' meltano run --no-install tap-tiktok-ads target-csv",
        lambda folder, *_: all(one in (folder / "csv" / "campaigns.csv").read_text() for one in ACCOUNTS),
        meltano_project,
    ),
    Case(
        "tap-tiktok-ads",
        "tap-tiktok-ads",
        "config.json",
        "tap-tiktok-ads --config config.json --discover",
        lambda _, printed, __: "campaigns" in [stream["stream"] for stream in json.loads(printed)["streams"]],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.tool))
def test_the_tool_takes_it(case: Case, internet: Internet, tmp_path: Path) -> None:
    """Secret Manager is not asked: the token is in what was printed."""
    if case.tool in {"airbyte", "meltano"}:
        recipe(case.tool).write(tmp_path)
    (tmp_path / "tiktok_ads.py").write_text(DLT_SOURCE)
    (tmp_path / case.file).parent.mkdir(exist_ok=True)
    (tmp_path / case.file).write_text(configured(internet, case.tool, tmp_path))
    variables = case.variables(tmp_path)
    with start(case.script, internet, environment=case.environment, folder=tmp_path, variables=variables) as process:
        printed, errors = process.communicate(timeout=300)
    assert process.returncode == 0, printed + errors
    assert case.good(tmp_path, printed, internet)
    assert (internet.secrets_calls(), internet.refused) == ([], [])
