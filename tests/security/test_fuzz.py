"""Fuzzing: arbitrary requests, and arbitrary answers of TikTok's, against the real process.

The suite runs a quick, repeatable share of it. `FUZZ_SECONDS=600 pytest tests/security/test_fuzz.py -s` goes on with
new cases for so long, each of the tests for its part, and says how many there were.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.parse import quote, unquote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulators.serving import Fault
from security.raw import EVERYWHERE
from stage import APP_SECRET, LINK_KEY, TOKEN, Stage
from tokenkeeper.connect.links import Signer
from tokenkeeper.secret import Secret

SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))
MARKER = "qzjx7"
SIGNER = Signer([Secret(LINK_KEY)])


def quick(examples: int) -> settings:
    """So many cases in the suite, the same ones each time."""
    return settings(
        max_examples=2000 if SECONDS else examples,
        derandomize=not SECONDS,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


class Case:
    """One test's counts, and its connection to the function."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.counts: Counter[Any] = Counter()
        self.connection = HTTPConnection("127.0.0.1", stage.connect.port, timeout=60)

    def begin(self) -> str:
        """Count one more case; returns the name of a connection for it."""
        self.counts["cases"] += 1
        self.stage.tiktok.clear_faults()
        self.stage.tiktok.forget_calls()
        self.stage.secrets.forget_calls()
        for secret_id in list(self.stage.secrets.secrets()):
            self.stage.secrets.delete(secret_id)
        return f"c{self.counts['cases']}"

    def send(self, method: str, target: str, headers: list[tuple[str, str]], body: bytes = b"") -> HTTPResponse:
        """One request on a connection that is kept; the server may close it between two requests."""
        try:
            return self._send(method, target, headers, body)
        except (ConnectionError, HTTPException):
            self.connection.close()
            return self._send(method, target, headers, body)

    def _send(self, method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> HTTPResponse:
        self.connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers:
            self.connection.putheader(name, value.encode("latin-1"))
        if body:
            self.connection.putheader("Content-Length", str(len(body)))
        self.connection.endheaders(body or None)
        return self.connection.getresponse()

    def check(self, answer: HTTPResponse, *, most: int) -> str:
        """What holds for every answer; `most` is the highest status that may come."""
        text = answer.read().decode()
        said = text + str(answer.headers)
        self.counts[answer.status] += 1
        assert answer.status <= most, (answer.status, text)
        assert EVERYWHERE.items() <= dict(answer.headers).items()
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; ")
        assert not [secret for secret in (MARKER, APP_SECRET, LINK_KEY) if secret in said]
        if answer.status == 303:
            ours = (self.stage.tiktok.authorize_url + "?", self.stage.connect.url + "/done")
            assert answer.headers["Location"].startswith(ours)
        return text

    def until_enough(self, test: Callable[[], None]) -> None:
        """Go on with new cases for as long as somebody wants."""
        end = time.monotonic() + SECONDS
        test()
        while time.monotonic() < end:
            test()


@pytest.fixture
def case(stage: Stage, request: pytest.FixtureRequest) -> Iterator[Case]:
    """Counts the cases of a test; in the end no defect may have been logged."""
    case = Case(stage)
    yield case
    case.connection.close()
    print(f"\n{request.node.name}: {dict(case.counts)}")
    assert not [event for event in stage.connect.events if event["event"] == "defect"]


# --- requests ---


def mostly(usual: st.SearchStrategy[Any], otherwise: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Three times in four the usual; `one_of` takes each of its branches as often as any other."""
    return st.integers(0, 3).flatmap(lambda number: usual if number else otherwise)


INJECTED = ["<script>", '"><b>', "{{7*7}}", "' OR 1=1", "../../etc/passwd", "\u202e", "\ufeff"]
WORDS = ["", MARKER, "a" * 600, "a" * 5000, "null", "0", "-1", "true", "[]", "{}", "%", "%00", "\0", "\r\n"]
TEXTS = st.text(max_size=60) | st.text(st.characters(codec="ascii"), max_size=60)
ODD = st.one_of(TEXTS, st.sampled_from(WORDS), st.sampled_from([MARKER + text for text in INJECTED]))
KEYS = ODD | st.sampled_from(["auth_code", "code", "state", "error", "error_description", "link", "next", "state[]"])
METHODS = mostly(
    st.sampled_from(["GET", "GET", "POST"]), st.sampled_from(["HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "GETGET"])
)
ODD_PATHS = st.sampled_from(["//", "/start/", "/robots.txt", "/.."]) | ODD.map(lambda text: "/" + quote(text))
PATHS = mostly(st.sampled_from(["/", "/", "/start", "/done"]), ODD_PATHS)
HEADERS = """
    X-Forwarded-Host X-Forwarded-For X-Cloud-Trace-Context traceparent User-Agent Accept Accept-Language Accept-Encoding
    Origin Referer Range If-None-Match If-Modified-Since Authorization Content-Type Content-Encoding Sec-Fetch-Site
    X-HTTP-Method-Override X-CloudScheduler Forwarded X-Whatever
"""
WAYS: dict[str, Callable[[str, int, str], str]] = {
    "replace": lambda text, at, piece: text[:at] + piece + text[at + 1 :],
    "insert": lambda text, at, piece: text[:at] + piece + text[at:],
    "cut the end off": lambda text, at, _: text[:at],
    "cut the beginning off": lambda text, at, _: text[at:],
    "double": lambda text, _, piece: text + piece + text,
    "swap case": lambda text, *_: text.swapcase(),
    "reverse": lambda text, *_: text[::-1],
    "drop a dot": lambda text, *_: text.replace(".", "", 1),
    "other signature": lambda text, _, piece: f"{text.rpartition('.')[0]}.{piece}",
}
PIECES = st.text(max_size=3) | st.sampled_from(
    ["", ".", "-", "=", "A", "%2e", " ", "%", "%ff", "&", "&&", ";", "%u0041"]
)
Spoil = Callable[[str], str]


def _spoil(way: str, where: float, piece: str) -> Spoil:
    return lambda text: WAYS[way](text, int(where * len(text)), piece)


AS_IT_IS: st.SearchStrategy[Spoil] = st.just(str)
PERHAPS = AS_IT_IS | st.builds(_spoil, st.sampled_from(list(WAYS)), st.floats(0, 1), PIECES)
OWN = ("state", "link", "code", "cookie")


def as_header(text: str) -> str:
    """What of a text may stand in a header's value."""
    return "".join(c for c in text if c == "\t" or "\x20" <= c < "\x7f" or "\xa0" <= c < "\u0100")


def as_query(pairs: list[tuple[str, str]], spoil: Spoil, *, raw: bool) -> str:
    """A query or a form, as somebody might write it."""
    if raw:
        return spoil("&".join(f"{key}={value}" for key, value in pairs))
    return spoil(urlencode(pairs, errors="surrogatepass"))


@pytest.mark.filterwarnings("default::hypothesis.errors.HypothesisWarning")
class TestRequests:
    def test_arbitrary_ones_are_answered(self, case: Case) -> None:
        """No 5xx without an outage, no exchange without a valid state and its cookie, no echo, all headers."""

        @quick(80)
        @given(st.data())
        def answered(data: st.DataObject) -> None:
            draw = data.draw
            link, link_text = SIGNER.new_link(case.begin())
            state_text, state, nonce = SIGNER.new_state(link)
            own = dict(zip(OWN, (state_text, link_text.reveal(), "a" * 40, nonce.reveal()), strict=True))
            values = ODD | st.builds(lambda name, spoil: spoil(own[name]), st.sampled_from(OWN), PERHAPS)
            near = draw(st.booleans())  # a callback as it should be, but for something
            pairs = draw(st.lists(st.tuples(KEYS, values), max_size=1 if near else 5))
            if near:
                pairs += [("auth_code", own["code"]), ("state", draw(PERHAPS)(state_text))]
            query, form = (as_query(pairs, draw(PERHAPS), raw=draw(st.booleans())) for _ in range(2))
            names = [f"tk-{state.flow}", "tk-result-0a0b0c0d", "tk-00000000", MARKER]
            cookies = draw(st.lists(st.tuples(st.sampled_from(names), values), max_size=4))
            if near:
                cookies.insert(0, (names[0], own["cookie"]))
            cookie = as_header("; ".join(f"{name}={value}" for name, value in cookies))[:7000]
            method = draw(st.just("GET") if near else METHODS)
            headers = draw(st.dictionaries(st.sampled_from(HEADERS.split()), ODD.map(as_header), max_size=4))
            headers |= {"Cookie": cookie} if cookie else {}
            body = form.encode(errors="surrogatepass") if method == "POST" and draw(st.booleans()) else b""
            if body and draw(st.booleans()):
                headers["Content-Type"] = "application/x-www-form-urlencoded"
            asked = "?" + quote(query, _LEFT, errors="ignore")
            target = f"/{asked}" if near else draw(PATHS) + draw(st.sampled_from(["", asked]))
            answer = case.send(method, target, list(headers.items()), body)
            bound = f"{names[0]}={own['cookie']}" in cookie
            good = bound and state_text in unquote(query) and method == "GET"
            case.check(answer, most=502 if good else 499)
            exchanges = case.stage.tiktok.count("access_token")
            case.counts["exchanges"] += exchanges
            assert exchanges <= int(good)
            if not good:
                assert case.stage.writes() == []

        case.until_enough(answered)


_LEFT = "%&=;+/?:@!$'()*,-._~[]{}|^`<>\"\\"  # of a query, not quoted by whoever writes odd ones


# --- TikTok's answers ---

STRANGE = ["7000000000000000001", "a" * 5000, "\ud800", "\0", "<b>", "1e400", "NaN", "-1", 10**400]
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=30), st.sampled_from(STRANGE)
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
IDS = st.lists(st.integers(1, 10**20) | st.integers(1, 10**20).map(str) | SCALARS, max_size=3)
NAMED = st.fixed_dictionaries({"advertiser_id": st.integers(1, 99).map(str), "advertiser_name": SCALARS})
FIELDS: dict[Any, st.SearchStrategy[Any]] = {
    "access_token": SCALARS,
    "refresh_token": st.just("c" * 40) | SCALARS,
    "expires_in": SCALARS,
    "refresh_token_expires_in": SCALARS,
    "advertiser_ids": IDS | ANYTHING,
    "scope": st.lists(st.integers()) | ANYTHING,
    "list": st.lists(NAMED, max_size=3) | ANYTHING,
}
DATA = st.fixed_dictionaries({}, optional=FIELDS)
USUAL = st.sampled_from([{"advertiser_ids": ["1"]}, {"list": [{"advertiser_id": "1"}]}, {}])
GOOD = st.builds(lambda usual, data: {**data, "access_token": "a" * 40, **usual}, USUAL, DATA)
ENVELOPE = {"code": st.just(0), "message": SCALARS, "request_id": st.just("2025") | SCALARS}
BAD = st.one_of(
    st.fixed_dictionaries({**ENVELOPE, "data": DATA}),
    st.fixed_dictionaries({**ENVELOPE, "code": SCALARS, "data": ANYTHING}),
    ANYTHING,
)
DOCUMENT = mostly(st.fixed_dictionaries({**ENVELOPE, "data": GOOD}), BAD)


class TestTikToksAnswers:
    def test_arbitrary_ones_end_in_a_page(self, case: Case) -> None:
        """Whatever TikTok answers, the callback stores a readable token or says that it did not; never a defect."""

        @quick(30)
        @given(DOCUMENT, DOCUMENT)
        def answered(exchanged: object, listed: object) -> None:
            name = case.begin()
            text, state, nonce = SIGNER.new_state(SIGNER.new_link(name)[0])
            for call, document in (("access_token", exchanged), ("advertiser_get", listed)):
                fault = Fault(call=call, status=200, body=json.dumps(document).encode(), times=None)
                case.stage.tiktok.add_fault(fault)
            cookie = ("Cookie", f"tk-{state.flow}={nonce.reveal()}")
            answer = case.send("GET", f"/?auth_code={'a' * 40}&state={text}", [cookie])
            kept = [line.partition(";")[0] for line in answer.headers.get_all("Set-Cookie", [])]
            case.check(answer, most=502)
            assert answer.status in {303, 422, 502}
            stored = case.stage.secrets.payloads(TOKEN + name) if answer.status == 303 else []
            assert (TOKEN + name in case.stage.secrets.secrets()) or answer.status != 303
            if stored:
                assert json.loads(stored[0])["access_token"]
                page = case.send("GET", "/done", [("Cookie", "; ".join(kept))])
                assert "TikTok Ads is connected" in case.check(page, most=200)

        case.until_enough(answered)
