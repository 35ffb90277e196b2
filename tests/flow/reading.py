"""What a test reads: a page as a person does, the log's one refusal, what is stored, and whether anything was used."""

import html
import json
import re
from datetime import timedelta
from typing import Any

import requests

from stage import APP_ID, REFRESH, TOKEN, Function, Stage
from tokenkeeper import clock


def text_of(response: requests.Response) -> str:
    """A page's text without its markup, on one line."""
    body = response.text.partition("</style>")[2]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def refused(function: Function) -> dict[str, Any]:
    """The one refusal in the log."""
    (entry,) = function.entries("connection.refused")
    return entry


def nothing_was_used_or_written(stage: Stage) -> bool:
    """Whether there was neither a call to TikTok nor one that writes to Secret Manager."""
    return not stage.tiktok.token_calls and not stage.writes()


def assert_stored(stage: Stage, refresh_ends: str = "", **more: object) -> None:
    """The newest version of each secret of `acme` holds TikTok's newest grant, byte for byte.

    The refresh token, if there is one, has that end; an account's payload has more keys.
    """
    given, obtained = stage.tiktok.grants[-1], stage.time("acme", "obtained-at")
    token = {
        "schema": 1,
        "connection": "acme",
        "app_id": APP_ID,
        "access_token": given.access_token,
        "expires_at": clock.text(obtained + timedelta(days=1)) if refresh_ends else None,
        "advertiser_ids": [*given.advertiser_ids],
        "scope": [*given.scope],
        "obtained_at": clock.text(obtained),
        **more,
    }
    assert stage.secrets.payloads(TOKEN + "acme")[-1] == json.dumps(token).encode()
    if refresh_ends:
        whole = {**token, "refresh_token": given.refresh_token, "refresh_expires_at": refresh_ends}
        assert stage.secrets.payloads(REFRESH + "acme")[-1] == json.dumps(whole).encode()
