"""What the pages say about single tools: what they ask for and send, pages, busy servers, many advertisers.

What `make config` prints for other tools is proved in `cli/test_toolconfigs.py`.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from emulators.serving import Answer, Fault, Request
from local.tiktok import ads
from readers.internet import CONNECTION, Internet
from readers.recipe import finish, recipe, run, start
from readers.tools import ACCOUNTS, ALL, airbyte, configured, dlt_home, duckdb, meltano_project, trusting
from stage import APP_ID, APP_SECRET, TOKEN

pytestmark = pytest.mark.readers

AIRFLOW = """\
import configparser, json
from airflow.providers.google.cloud.secrets.secret_manager import CloudSecretManagerBackend
settings = configparser.ConfigParser(interpolation=None)
settings.read("airflow.cfg")
backend = CloudSecretManagerBackend(**json.loads(settings["secrets"]["backend_kwargs"]))
print(backend.get_variable("beta"), backend.get_connection("acme"), backend.get_config("acme"))
"""
SOURCE, WORKSPACE = "0c31738c-0b2d-4887-b506-e2cd1c39cc35", "744cc0ed-7f05-4949-9e60-2a814f90c035"
SYNCED = "9924bcd0-99be-453d-ba47-c2c9766f7da5"
# It cannot read the answers (its union of all sources fails on another one), so the recipe does without it.
AIRBYTE = """\
import contextlib, json, sys
from airbyte_api import AirbyteAPI, api, errors, models
settings = models.SourceTiktokMarketing.model_validate(json.loads(sys.argv[1]))
airbyte = AirbyteAPI(security=models.Security(bearer_auth="a bearer"))
source = models.SourceCreateRequest(name="TikTok acme", workspace_id=sys.argv[2], configuration=settings)
update = models.SourcePatchRequest(configuration=settings)
change = api.PatchSourceRequest(source_id=sys.argv[3], source_patch_request=update)
job = models.JobCreateRequest(connection_id=sys.argv[4], job_type=models.JobTypeEnum.SYNC)
calls = (airbyte.sources.create_source, source), (airbyte.sources.patch_source, change), (airbyte.jobs.create_job, job)
for call, request in calls:
    with contextlib.suppress(errors.ResponseValidationError):
        call(request=request)
"""
VIDEOS, ORGANIC = 25, "acme-organic"


def answer(code: int) -> dict[str, Any]:
    return {"code": code, "message": "what was sent", "request_id": "2026112300", "data": {}}


def test_dlt_loads_every_page_past_a_busy_tiktok(
    internet: Internet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1,001 campaigns are two pages; too many calls and a gateway's error are retried by dlt's own client.

    Another refusal is an error with TikTok's code and request id, and the secret is not read again for it.
    """
    monkeypatch.setattr(ads, "CAMPAIGNS", tuple((f"Campaign {number}", "TRAFFIC") for number in range(1001)))
    gateway = Fault("campaign_get", skip=1, status=502, body=b"<html>", content_type="text/html")
    internet.stage.tiktok.add_fault(Fault("campaign_get", status=200, body=answer(40100)))
    internet.stage.tiktok.add_fault(gateway)
    run(recipe("dlt"), internet, tmp_path, "dlt", variables=dlt_home(tmp_path))
    assert duckdb(tmp_path, "tiktok_ads.campaigns", "count(DISTINCT campaign_id)") == [(str(3 * 1001),)]
    assert len(internet.stage.tiktok.calls) == 6 + 2
    internet.forget_calls()
    internet.stage.tiktok.add_fault(Fault("campaign_get", status=200, body=answer(40001)))
    done = run(recipe("dlt"), internet, tmp_path, "dlt", check=False, variables=dlt_home(tmp_path))
    assert (done.returncode, "TikTok answers code 40001, request 2026112300" in done.stderr) == (1, True)
    assert "what was sent" not in done.stderr
    assert len(internet.calls) == 2  # `latest` and the next number


def test_ingestr_divides_more_advertisers_than_a_report_takes(internet: Internet, tmp_path: Path) -> None:
    """Six advertisers are two reports."""
    internet.connect(CONNECTION, "long-lived", [f"700000000000000000{number}" for number in range(1, 7)])
    run(recipe("ingestr"), internet, tmp_path, "ingestr")
    assert [call.name for call in internet.stage.tiktok.calls] == ["report", "report"]


def test_the_tap_takes_some_of_the_advertisers(internet: Internet, tmp_path: Path) -> None:
    """101 are too many for its first call; those that are named are read."""
    many = [str(7_100_000_000_000_000_000 + number) for number in range(101)]
    internet.connect(CONNECTION, advertisers=[*many, ACCOUNTS[0]])
    page, variables = recipe("meltano"), meltano_project(tmp_path)
    some = {**variables, "TAP_TIKTOK_ADS_ACCOUNTS": ",".join(many[:2])}
    alone = page.commands[1]
    assert run(page, internet, tmp_path, "meltano", script=alone, check=False, variables=variables).returncode == 1
    internet.forget_calls()
    run(page, internet, tmp_path, "meltano", script=alone, variables=some)
    asked = {request["advertiser_id"] for request in internet.stage.tiktok.requests_of("campaign_get")}
    assert asked == set(many[:2])


def test_airflows_backend_is_asked_for_variables_only(internet: Internet, tmp_path: Path) -> None:
    """Another variable is refused, which Airflow takes for "not here"; connections and settings cost no call."""
    (tmp_path / "ask.py").write_text(AIRFLOW)
    quiet = {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False"}
    done = run(recipe("airflow"), internet, tmp_path, "airflow", script="python ask.py", variables=quiet)
    assert done.stdout.splitlines()[-1] == "None None None", done.stderr
    assert internet.calls == [("AccessSecretVersion", "tiktok-ads-token-beta")]


def test_airbyte_is_sent_what_its_own_client_sends(internet: Internet, tmp_path: Path) -> None:
    """A source is made, updated and synced with the newest token and the chosen advertiser."""
    sent: list[tuple[str, str, str, Any]] = []

    def api(request: Request) -> Answer:
        login = request.headers.get("Authorization", "")
        sent.append((request.method, request.path, login, json.loads(request.body)))
        return Answer(body={"access_token": "a bearer", "sourceId": SOURCE, "jobId": 1})

    for path in ("applications/token", "sources", f"sources/{SOURCE}", "jobs"):
        internet.sites.pages[f"api.airbyte.com/v1/{path}"] = api
    page, new = recipe("airbyte"), internet.rotate()["access_token"]
    first = {"AIRBYTE_CLIENT_ID": "the client", "AIRBYTE_CLIENT_SECRET": "the client's secret"}
    first |= {"TIKTOK_ADVERTISER_ID": ACCOUNTS[1], "AIRBYTE_WORKSPACE_ID": WORKSPACE}
    done = run(page, internet, tmp_path, "airbyte", script=page.commands[0], variables=first)
    assert done.stdout == f"AIRBYTE_SOURCE_ID: {SOURCE}\n"
    later = first | {"AIRBYTE_SOURCE_ID": SOURCE, "AIRBYTE_CONNECTION_ID": SYNCED}
    run(page, internet, tmp_path, "airbyte", script=page.commands[0], variables=later)
    login, create, _, change, job = sent
    application = {"client_id": "the client", "client_secret": "the client's secret"}
    assert login == ("POST", "/v1/applications/token", "", {**application, "grant-type": "client_credentials"})
    settings = create[3]["configuration"]
    assert (settings["credentials"]["access_token"], settings["credentials"]["advertiser_id"]) == (new, ACCOUNTS[1])
    sent.clear()
    (tmp_path / "client.py").write_text(AIRBYTE)
    words = f"'{json.dumps(settings)}' {WORKSPACE} {SOURCE} {SYNCED}"
    finish(start(f"python client.py {words}", internet, tmp_path, "airbyte-api"), internet, "airbyte's client")
    for call in (create, change):
        call[3]["configuration"] |= {"attribution_window": 3, "include_deleted": False}  # the client's defaults
    assert sent == [create, change, job]


@pytest.mark.parametrize("kind", ["long-lived", "expiring"])
def test_owox_gets_the_fields_of_its_form(internet: Internet, tmp_path: Path, kind: str) -> None:
    """The required ones are printed under their labels, and when to paste again; `config` adds the app's secret."""
    internet.connect(CONNECTION, kind)
    entry = json.loads(configured(internet, "owox", tmp_path))
    internet.forget_calls()
    lines = run(recipe("owox"), internet, tmp_path).stdout.splitlines()
    token = internet.stage.token()
    assert {label: value.strip() for label, _, value in (line.partition("  ") for line in lines)} == {
        "Access Token": token["access_token"],
        "App ID": APP_ID,
        "Advertiser IDs": ",".join(token["advertiser_ids"]),
        "Works until": token["expires_at"] or "it is revoked",
    }
    assert entry["AuthType"]["oauth2"].pop("AppSecret") == APP_SECRET
    assert entry == json.loads((tmp_path / "configuration.json").read_text())
    assert internet.holding(tmp_path) == {"configuration.json": 0o600}
    assert (set(internet.calls), internet.refused) == ({("AccessSecretVersion", TOKEN + CONNECTION)}, [])


def test_airbyte_takes_what_config_prints(internet: Internet, tmp_path: Path) -> None:
    """With the app's secret, all advertisers are in one source; the page makes the same."""
    page, text = recipe("airbyte"), configured(internet, "airbyte", tmp_path)
    (tmp_path / "config.json").write_text(text)
    read = "source-tiktok-marketing read --config config.json --catalog catalog.json > records.jsonl"
    run(page, internet, tmp_path, "airbyte", script=read, variables=trusting(tmp_path))
    assert airbyte(tmp_path) == ALL
    assert internet.calls == []
    script, secret = "python configuration.py > ours.json", {"TIKTOK_APP_SECRET": APP_SECRET}
    run(page, internet, tmp_path, "airbyte", script=script, variables=secret)
    assert json.loads((tmp_path / "ours.json").read_text()) == json.loads(text)


def connected_account(internet: Internet) -> str:
    """Approve the same account once more; returns the access token."""
    assert internet.stage.approve(ORGANIC, family="account").status_code == 303
    return str(internet.stage.token(ORGANIC)["access_token"])


def test_all_videos_of_a_tiktok_account_are_loaded(internet: Internet, tmp_path: Path) -> None:
    """By plain Python and by dlt, page by page, also where the token is replaced between two pages."""
    internet.sites.readable = {TOKEN + ORGANIC}
    page, tiktok, old = recipe("tiktok-account"), internet.stage.tiktok, connected_account(internet)
    tiktok.add_fault(Fault("account_videos", skip=1, do="hold", hold="second page"))
    page.write(tmp_path)
    process = start("\n".join(page.commands), internet, tmp_path, "dlt", **dlt_home(tmp_path))
    tiktok.wait_held("second page", 300)
    new = connected_account(internet)
    tiktok.revoke(old)
    tiktok.release("second page")
    finish(process, internet, page.name)
    found = [json.loads(line) for line in (tmp_path / "videos.jsonl").read_text().splitlines()]
    assert len({row["item_id"] for row in found}) == len(found) == VIDEOS
    assert datetime.fromisoformat(found[0]["create_time"]).tzinfo is not None
    assert duckdb(tmp_path, "tiktok_organic.videos", "count(DISTINCT item_id)") == [(str(VIDEOS),)]
    used = [request["Access-Token"] for request in tiktok.requests_of("account_videos")]
    assert used == [old, old, new, new, new]
    assert (set(internet.calls), internet.refused) == ({("AccessSecretVersion", TOKEN + ORGANIC)}, [])
    assert internet.holding(tmp_path, ORGANIC) == {}
