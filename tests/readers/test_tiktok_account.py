"""`infra/readers/tiktok-account.md`, run as it stands: in plain Python, and with dlt into a real DuckDB."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from local.exchange import Answer, Request
from readers.internet import Internet
from readers.recipe import recipe, run, start
from readers.tools import duckdb
from stage import TOKEN

pytestmark = pytest.mark.readers

PAGE = recipe("tiktok-account")
NAME, LIST = "acme-organic", "/open_api/v1.3/business/video/list/"
FIELDS = ["item_id", "create_time", "caption", "share_url", "video_views", "likes"]


def payload(access_token: str) -> dict[str, object]:
    """What the keeper stores for an account."""
    end = (datetime.now(UTC) + timedelta(hours=24)).strftime("%Y-%m-%dT%H:%M:%SZ")
    document = {"schema": 1, "connection": NAME, "app_id": "7000", "access_token": access_token, "expires_at": end}
    document |= {"advertiser_ids": [], "scope": ["video.list"], "obtained_at": "2026-11-22T10:00:00Z"}
    return {**document, "open_id": "open-1", "username": "acme"}


class Videos:
    """TikTok's list of an account's 23 videos, in pages of at most 20.

    Attributes:
        good: The access token that is accepted.
        used: The access tokens of all calls.
        hold: Keeps the second page waiting until it is set; `waiting` says that it does.
    """

    def __init__(self) -> None:
        self.good, self.hold, self.waiting = "act.canary-first", threading.Event(), threading.Event()
        self.hold.set()
        self.used: list[str] = []

    def __call__(self, request: Request) -> Answer:
        asked = {key: values[0] for key, values in parse_qs(request.query).items()}
        first = int(asked.get("cursor", "0"))
        if first:
            self.waiting.set()
            self.hold.wait(60)
        self.used.append(request.headers["Access-Token"])
        if self.used[-1] != self.good:
            return Answer(body={"code": 40105, "message": "Access token is incorrect.", "request_id": "1", "data": {}})
        assert (asked["business_id"], json.loads(asked["fields"]), asked["max_count"]) == ("open-1", FIELDS, "20")
        last = min(first + 20, 23)
        rows = [
            dict.fromkeys(FIELDS, "x") | {"item_id": str(n), "create_time": "1790000000"} for n in range(first, last)
        ]
        data = {"videos": rows, "cursor": last, "has_more": last < 23}
        return Answer(body={"code": 0, "message": "OK", "request_id": "1", "data": data})


@pytest.fixture
def videos(internet: Internet) -> Videos:
    """An account that is connected, and its videos."""
    internet.store(NAME, payload(internet.stage.canaries.keep("an access token", "act.canary-first")))
    shown = internet.pages[LIST] = Videos()
    return shown


def variables(folder: Path) -> dict[str, str]:
    return {"DLT_DATA_DIR": str(folder / "dlt")}


def test_all_videos_are_loaded(internet: Internet, videos: Videos, tmp_path: Path) -> None:
    """By both programs, page by page, with the one role on the one secret; the token is in no file."""
    run(PAGE, internet, environment="dlt", folder=tmp_path, variables=variables(tmp_path))
    found = [json.loads(line) for line in (tmp_path / "videos.jsonl").read_text().splitlines()]
    assert {row["item_id"] for row in found} == {str(number) for number in range(23)}
    assert found[0]["create_time"] == "2026-09-21T14:13:20+00:00"
    assert duckdb(tmp_path, "tiktok_organic.videos", "count(item_id)") == [("23",)]
    assert set(videos.used) == {videos.good}
    assert (set(internet.secrets_calls()), internet.refused) == ({("AccessSecretVersion", TOKEN + NAME)}, [])
    assert internet.holding(tmp_path, NAME) == []


def test_a_token_that_is_replaced_between_two_pages(internet: Internet, videos: Videos, tmp_path: Path) -> None:
    """The refused call is repeated with the new token, and nothing is missing."""
    PAGE.write(tmp_path)
    videos.hold.clear()
    with start(PAGE.commands[0], internet, environment="dlt", folder=tmp_path) as process:
        assert videos.waiting.wait(60)
        videos.good = internet.stage.canaries.keep("an access token", "act.canary-second")
        internet.stage.secrets.add_version(TOKEN + NAME, json.dumps(payload(videos.good)).encode())
        videos.hold.set()
        complained = process.communicate(timeout=60)[1]
    internet.hear("what videos.py complained", complained)
    assert process.returncode == 0, complained
    assert len((tmp_path / "videos.jsonl").read_text().splitlines()) == 23
    assert videos.used == ["act.canary-first", "act.canary-first", "act.canary-second"]
