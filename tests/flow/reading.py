"""What a test reads: a page as a person does, the one refusal in the log, and whether anything was used up."""

from __future__ import annotations

import html
import re
from typing import Any

import requests

from stage import Function, Stage


def text_of(response: requests.Response) -> str:
    """A page's text without its markup, on one line."""
    body = response.text.partition("</style>")[2]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def reference_on(response: requests.Response) -> str:
    """The reference that a page asks to be quoted."""
    found = re.search(r"<code>([0-9a-f]{8})</code>", response.text)
    assert found, response.text
    return found[1]


def refused(function: Function) -> dict[str, Any]:
    """The one refusal in the log."""
    (entry,) = [event for event in function.events if event["event"] == "connection.refused"]
    return entry


def nothing_was_used_or_written(stage: Stage) -> bool:
    """Whether there was neither a call to TikTok nor one that writes to Secret Manager."""
    return not stage.tiktok.token_calls and not stage.writes()
