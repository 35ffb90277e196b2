"""`infra/readers/tiktok-account.md`, run as it stands: in plain Python, and with dlt into a real DuckDB."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from emulators.serving import Fault
from readers.internet import Internet
from readers.recipe import recipe, run, start
from readers.tools import duckdb
from stage import APP_ID, TOKEN

pytestmark = pytest.mark.readers

PAGE = recipe("tiktok-account")
NAME, LIST, VIDEOS = "acme-organic", "account_videos", 25


def connected(internet: Internet) -> str:
    """Store what the keeper would after one more approval of the same account; returns the access token."""
    given = internet.stage.tiktok.grant_account()
    assert given.expires_at is not None
    end = datetime.fromtimestamp(given.expires_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    payload = {"schema": 1, "connection": NAME, "app_id": APP_ID, "access_token": given.access_token, "expires_at": end}
    payload |= {"advertiser_ids": [], "scope": list(given.scope), "obtained_at": "2026-11-22T10:00:00Z"}
    internet.store(NAME, {**payload, "open_id": given.open_id, "username": given.username})
    return internet.stage.canaries.keep("an access token", given.access_token)


def test_all_videos_are_loaded(internet: Internet, tmp_path: Path) -> None:
    """By both programs, page by page, with the one role on the one secret; the token is in no file."""
    token = connected(internet)
    run(PAGE, internet, environment="dlt", folder=tmp_path, variables={"DLT_DATA_DIR": str(tmp_path / "dlt")})
    found = [json.loads(line) for line in (tmp_path / "videos.jsonl").read_text().splitlines()]
    assert len({row["item_id"] for row in found}) == len(found) == VIDEOS
    assert datetime.fromisoformat(found[0]["create_time"]).tzinfo is not None
    assert duckdb(tmp_path, "tiktok_organic.videos", "count(DISTINCT item_id)") == [(str(VIDEOS),)]
    assert {request["Access-Token"] for request in internet.stage.tiktok.requests_of(LIST)} == {token}
    assert (set(internet.secrets_calls()), internet.refused) == ({("AccessSecretVersion", TOKEN + NAME)}, [])
    assert internet.holding(tmp_path, NAME) == []


def test_a_token_that_is_replaced_between_two_pages(internet: Internet, tmp_path: Path) -> None:
    """The refused call is repeated with the new token, and nothing is missing."""
    old, tiktok = connected(internet), internet.stage.tiktok
    PAGE.write(tmp_path)
    tiktok.add_fault(Fault(LIST, skip=1, do="hold", hold="second page"))
    with start(PAGE.commands[0], internet, environment="dlt", folder=tmp_path) as process:
        tiktok.wait_held("second page", 60)
        new = connected(internet)
        tiktok.revoke(old)
        tiktok.release("second page")
        errors = process.communicate(timeout=60)[1]
    internet.record("what videos.py printed as errors", errors)
    assert process.returncode == 0, errors
    assert len((tmp_path / "videos.jsonl").read_text().splitlines()) == VIDEOS
    assert [request["Access-Token"] for request in tiktok.requests_of(LIST)] == [old, old, new]
