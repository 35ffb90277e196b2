"""What TikTok can make of a call, whichever call it is: one table for refreshes, verifications and exchanges.

What comes of each kind is for the tests of those calls to say.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from local.serving import Fault
from local.tiktok.answers import APP_MISMATCH, refused
from local.tiktok.api import ENDPOINTS
from reliability.quick import QuickStage

Trouble = Callable[[QuickStage, str], None]
"""Brings something about, from now on, for the calls of that name."""

ERROR_PAGE = b"<html><body>502 Bad Gateway</body></html>"
USABLE = {"access_token": "f" * 40, "advertiser_ids": ["7000000000000000001"], "list": []}
TEN_MEGABYTES = json.dumps({"code": 0, "message": "x" * 10_000_000, "data": USABLE}).encode()
PATIENCE = 0.5  # real seconds


@dataclass(frozen=True)
class Answer:
    """What TikTok makes of a call.

    Attributes:
        sentence: It, in words.
        kind: What it amounts to: `good`; `throttled`, `passing`, `ours` and `person` are the kinds of failure;
            `unreachable` if nothing was sent; `silent` if nothing took effect and no answer of TikTok's came; `lost` if
            the first call took effect and no answer of TikTok's came.
        happens: Brings it about.
    """

    sentence: str
    kind: str
    happens: Trouble


def fault(**what: Any) -> Trouble:
    """All calls meet this fault, unless `times` says how many. What would never end is waited for for half a second."""

    def happens(stage: QuickStage, call: str) -> None:
        if what.get("do") in {"hold", "drip"}:
            stage.patience = PATIENCE
        stage.tiktok.add_fault(Fault(call, **{"times": None, **what}))

    return happens


def answered(body: bytes | dict[str, Any], status: int = 200, **more: Any) -> Trouble:
    """All calls are answered so, and none takes effect."""
    return fault(status=status, body=body, **more)


def code(number: int, message: str = "", **more: Any) -> Trouble:
    return answered(refused(number, message), **more)


def says(data: Any) -> Trouble:
    return answered({"code": 0, "message": "OK", "request_id": "R1", "data": data})


def with_fields(**fields: Any) -> Trouble:
    """The next call is answered as usual but for these fields."""
    return lambda stage, call: stage.tiktok.override_answer(call, fields)


def without(*names: str) -> Trouble:
    """The next call is answered as usual but for these fields, which are missing."""
    return lambda stage, call: stage.tiktok.override_answer(call, omit=names)


def not_permitted(about_the_user: Trouble | None = None) -> Trouble:
    """Permission is lacking; TikTok then says that of the user behind the token, or tells who that is."""

    def happens(stage: QuickStage, call: str) -> None:
        code(40001)(stage, call)
        if about_the_user:
            about_the_user(stage, "user_info")

    return happens


def over(stage: QuickStage) -> None:
    """TikTok answers as usual again."""
    stage.tiktok.clear_faults()
    stage.patience = math.inf
    if stage.changes.pop("TIKTOK_API_URL", None):
        stage.new_instances()


def _sends_elsewhere(status: int) -> Trouble:
    """To the same endpoint under another host's name, so that whoever follows makes one more call."""

    def happens(stage: QuickStage, call: str) -> None:
        path = next(path for path, (_, name, _) in ENDPOINTS.items() if name == call)
        location = stage.tiktok.url.replace("127.0.0.1", "localhost") + path
        answered(b"", status, headers={"Location": location})(stage, call)

    return happens


def _unreachable(sentence: str, address: Callable[[QuickStage], str]) -> Answer:
    def happens(stage: QuickStage, call: str) -> None:
        stage.new_instances(TIKTOK_API_URL=address(stage))

    return Answer(sentence, "unreachable", happens)


def _silent(sentence: str, happens: Trouble) -> Answer:
    return Answer(sentence, "silent", happens)


def _lost(sentence: str, **what: Any) -> Answer:
    return Answer(f"the call takes effect, and {sentence}", "lost", fault(when="after", times=1, **what))


def _passing(sentence: str, number: int) -> Answer:
    return Answer(f"{sentence}, {number}", "passing", code(number))


ANSWERS = (
    Answer("TikTok answers with fields that nobody knows", "good", with_fields(new_field={"a": [1]}, token_type="x")),
    _unreachable("TikTok refuses the connection", lambda _: "http://127.0.0.1:9/open_api/v1.3"),
    _unreachable("TikTok's name is not found", lambda _: "https://no-such-host.invalid/open_api/v1.3"),
    _unreachable("TikTok's TLS is broken", lambda stage: stage.tiktok.api_url.replace("http:", "https:")),
    *(
        _silent(f"TikTok answers with HTTP {status}", answered(ERROR_PAGE, status, content_type="text/html"))
        for status in (500, 502, 503, 504)
    ),
    _silent("TikTok answers with HTTP 500 and a code", answered(refused(40107), 500)),
    _silent("TikTok closes the connection without an answer", fault(do="drop")),
    _silent("TikTok's answer is cut off", fault(do="truncate", status=200)),
    _silent("TikTok's answer drips", fault(do="drip", seconds=30.0)),
    _silent("TikTok answers with a page", answered(ERROR_PAGE, content_type="text/html")),
    _silent("TikTok answers with nothing", answered(b"")),
    _silent("TikTok answers with plain text and HTTP 404", answered(b"404 page not found", 404)),
    _silent("TikTok answers with a list", answered(b"[]")),
    _silent("TikTok answers with JSON without a code", answered({"message": "OK"})),
    _silent("TikTok answers with a code that is none", answered({"code": "many", "data": {}})),
    _silent("TikTok answers with ten megabytes", answered(TEN_MEGABYTES)),
    *(
        _silent(f"TikTok sends to another address with HTTP {status}", _sends_elsewhere(status))
        for status in (302, 307)
    ),
    _silent("TikTok says yes without data", answered({"code": 0})),
    _silent("TikTok says yes with data null", says(None)),
    _silent("TikTok says yes with a list as data", says([])),
    _silent("TikTok says yes with nothing in the data", says({})),
    _silent("TikTok says yes with wrong types", says({"access_token": 5, "advertiser_ids": "7", "list": "none"})),
    _lost("TikTok closes the connection", do="drop"),
    _lost("the answer is cut off", do="truncate"),
    _lost("the answer never comes", do="hold", hold="for ever"),
    _lost("the answer drips", do="drip", seconds=30.0),
    _lost("a gateway answers with HTTP 502", status=502, body=ERROR_PAGE),
    _lost("a page comes", status=200, body=ERROR_PAGE),
    _lost("nothing comes", status=200, body=b""),
    _lost("TikTok says yes with data null", status=200, body={"code": 0, "data": None}),
    Answer("TikTok answers with HTTP 429", "throttled", answered(b"", 429)),
    *(
        Answer(f"TikTok gets too many calls, {number}", "throttled", code(number))
        for number in (40100, 40016, 40132, 40133, 61000)
    ),
    *(_passing("TikTok has a passing problem", number) for number in (50000, 50002, 51010)),
    _passing("TikTok is being maintained", 60001),
    _passing("TikTok sees a conflict", 40202),
    _passing("TikTok answers with a code that nobody knows", 49999),
    _passing("TikTok objects to a parameter", 40002),
    _passing("TikTok objects to something else", 40000),
    _passing("TikTok misses an access token", 40104),
    _passing("TikTok says that a code was used", 40110),
    _passing("TikTok says that a code is of another kind", 40115),
    *(
        Answer(f"TikTok refuses the app, {number}", "ours", code(number))
        for number in (40101, 40113, 40108, 40118, 40119, 40124, 40125, -1, 41000)
    ),
    *(Answer(f"the token has ended, {number}", "person", code(number)) for number in (40103, 40107, 40105, 40106)),
    Answer("the token belongs to another app", "person", code(40000, APP_MISMATCH)),
)
"""What TikTok can make of any call."""

TOKEN_ANSWERS = (
    _silent("TikTok says yes without a token", says({"advertiser_ids": []})),
    _silent("TikTok says yes with an empty token", says({"access_token": ""})),
    Answer("TikTok answers without advertisers", "good", without("advertiser_ids")),
    Answer("TikTok answers with advertisers that are none", "good", with_fields(advertiser_ids=[{"id": 1}])),
    Answer("TikTok answers with a scope that is none", "good", with_fields(scope={"a": 1})),
)
"""What it can make of a call that asks for a token."""
