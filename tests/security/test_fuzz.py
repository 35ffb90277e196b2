"""Fuzzing: arbitrary requests, and arbitrary answers of TikTok's, against the real process.

The suite runs a quick, repeatable share of it. `FUZZ_SECONDS=600 pytest tests/security/test_fuzz.py -s` goes on with
new cases for so long, each of the tests for its part, and says how many there were.
"""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulators.serving import Fault
from security.raw import EVERYWHERE
from stage import APP_SECRET, LINK_KEY, Stage
from tokenkeeper.connect.links import Signer
from tokenkeeper.errors import LinkError
from tokenkeeper.secret import Secret

SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))
MARKER = "qzjx7"
SIGNER = Signer([Secret(LINK_KEY)])

quick = settings(
    max_examples=2000 if SECONDS else 150,
    derandomize=not SECONDS,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@dataclass
class Case:
    """One test's count and time, and its connection to the function."""

    stage: Stage
    name: str
    counts: Counter[Any] = field(default_factory=Counter)
    connection: http.client.HTTPConnection | None = None

    def begin(self) -> None:
        """Count one more case."""
        self.counts["cases"] += 1
        self.stage.tiktok.forget_calls()
        self.stage.secrets.forget_calls()
        if self.counts["cases"] % 200 == 0:
            self.stage.tiktok.clear_faults()
            for secret_id in list(self.stage.secrets.secrets()):
                self.stage.secrets.delete(secret_id)

    def send(self, method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> http.client.HTTPResponse:
        """One request on a connection that is kept."""
        kept = self.connection
        if kept is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.stage.connect.port, timeout=60)
        connection = self.connection
        assert connection is not None
        try:
            connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in headers:
                connection.putheader(name, value.encode("latin-1"))
            if body:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body or None)
            return connection.getresponse()
        except (ConnectionError, http.client.BadStatusLine):
            self.close()
            if kept is None:
                raise
        return self.send(method, target, headers, body)  # the server may close a connection between two requests

    def close(self) -> None:
        """Let go of the connection."""
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def check(self, answer: http.client.HTTPResponse, *, most: int) -> str:
        """What holds for every answer; `most` is the highest status that may come."""
        text = answer.read().decode()
        said = text + str(answer.headers)
        self.counts[answer.status] += 1
        assert answer.status <= most, (answer.status, text)
        assert EVERYWHERE.items() <= dict(answer.headers).items()
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; ")
        assert MARKER not in said
        assert APP_SECRET not in said
        assert LINK_KEY not in said
        if answer.status == 303:
            assert answer.headers["Location"].startswith(
                (self.stage.tiktok.authorize_url + "?", self.stage.connect.url + "/done")
            )
        if answer.will_close:
            self.close()
        return text


@pytest.fixture
def case(stage: Stage, request: pytest.FixtureRequest) -> Iterator[Case]:
    """Counts the cases of a test; in the end no defect may have been logged."""
    case = Case(stage, request.node.name)
    yield case
    case.close()
    print(f"\n{case.name}: {dict(case.counts)}")
    assert not [event for event in stage.connect.events if event["event"] == "defect"]


ODD = st.one_of(
    st.text(max_size=60),
    st.text(st.characters(codec="ascii"), max_size=60),
    st.sampled_from(
        ["", MARKER, "a" * 600, "a" * 5000, "null", "0", "-1", "true", "[]", "{}", "%", "%00", "\0", "\r\n"]
    ),
    st.text(max_size=20).map(lambda text: MARKER + text),
    st.sampled_from(["<script>", '"><b>', "{{7*7}}", "' OR 1=1", "../../etc/passwd", "\u202e", "\ufeff"]).map(
        lambda text: MARKER + text
    ),
)
KEYS = st.one_of(
    st.sampled_from(
        ["auth_code", "code", "state", "error", "error_description", "link", "next", "Auth_Code", "state[]"]
    ),
    ODD,
)
METHODS = st.one_of(
    st.sampled_from(["GET"] * 6 + ["POST"] * 3 + ["HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PROPFIND"]),
    st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=3, max_size=12).filter(lambda word: word != "CONNECT"),
)
KNOWN_PATHS = st.sampled_from(["/", "/", "/", "/start", "/start", "/done"])
ODD_PATHS = st.one_of(
    st.sampled_from(["//", "/start/", "/robots.txt", "/.."]), ODD.map(lambda text: "/" + urllib.parse.quote(text))
)
PATHS = st.integers(0, 9).flatmap(lambda number: KNOWN_PATHS if number < 8 else ODD_PATHS)
HEADER_NAMES = st.one_of(
    st.sampled_from(
        [
            "X-Forwarded-Host",
            "X-Forwarded-For",
            "X-Cloud-Trace-Context",
            "traceparent",
            "User-Agent",
            "Accept",
            "Accept-Language",
            "Accept-Encoding",
            "Origin",
            "Referer",
            "Range",
            "If-None-Match",
            "If-Modified-Since",
            "Authorization",
            "Content-Type",
            "Content-Encoding",
            "Sec-Fetch-Site",
            "X-HTTP-Method-Override",
            "X-CloudScheduler",
            "Forwarded",
        ]
    ),
    st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12).map(lambda text: f"X-{text}"),
)


def as_header(text: str) -> str:
    """What of a text may stand in a header's value."""
    return "".join(c for c in text if c == "\t" or "\x20" <= c < "\x7f" or "\xa0" <= c < "\u0100")


HEADER_VALUES = ODD.map(as_header)


@dataclass(frozen=True)
class Spoil:
    """A change to a text that is not known yet; perhaps none."""

    how: str
    where: float
    piece: str

    def __call__(self, text: str) -> str:
        at = int(self.where * len(text))
        return {
            "not": text,
            "replace": text[:at] + self.piece + text[at + 1 :],
            "insert": text[:at] + self.piece + text[at:],
            "cut the end off": text[:at],
            "cut the beginning off": text[at:],
            "double": text + text,
            "swap case": text.swapcase(),
            "reverse": text[::-1],
            "drop a dot": text.replace(".", "", 1),
            "add a dot": f"{text}.",
            "other signature": f"{text.rpartition('.')[0]}.{self.piece}",
        }[self.how]


WAYS = ("not", "replace", "insert", "cut the end off", "cut the beginning off", "double", "swap case", "reverse")
PIECES = st.one_of(st.sampled_from([".", "-", "_", "=", "A", "0", "%2e", " "]), st.text(max_size=3))
SPOILS = st.builds(
    Spoil, st.sampled_from([*WAYS, "drop a dot", "add a dot", "other signature"]), st.floats(0, 1), PIECES
)


@dataclass(frozen=True)
class Value:
    """A value to send: a text, or one of a flow's own, spoilt."""

    text: str = ""
    own: str = ""
    spoil: Spoil = Spoil("not", 0, "")

    def of(self, flow: dict[str, str]) -> str:
        """The text for a flow."""
        return self.spoil(flow[self.own]) if self.own else self.text


OWN = st.sampled_from(["state", "link", "code", "cookie"])
VALUES = st.one_of(st.builds(Value, ODD), st.builds(Value, own=OWN), st.builds(Value, own=OWN, spoil=SPOILS))


@dataclass(frozen=True)
class Style:
    """How somebody might write a query or a form."""

    name: str
    where: float
    piece: str

    def __call__(self, pairs: list[tuple[str, str]]) -> str:
        text = urllib.parse.urlencode(pairs, errors="surrogatepass")
        at = int(self.where * len(text))
        return {
            "usual": text,
            "raw": "&".join(f"{key}={value}" for key, value in pairs),
            "twice": f"{text}&{text}",
            "broken": text[:at] + self.piece + text[at:],
        }[self.name]


STYLES = st.builds(
    Style,
    st.sampled_from(["usual", "usual", "usual", "raw", "twice", "broken"]),
    st.floats(0, 1),
    st.sampled_from(["%", "%f", "%ff", "&&", "=", ";", "+", "%u0041"]),
)


def as_target(text: str) -> str:
    """A query as it can stand in a request's first line."""
    return urllib.parse.quote(text, safe="%&=;+/?:@!$'()*,-._~[]{}|^`<>\"\\", errors="surrogatepass")


@pytest.mark.filterwarnings("default::hypothesis.errors.HypothesisWarning")
class TestRequests:
    def test_arbitrary_ones_are_answered(self, case: Case) -> None:
        """No 5xx without an outage, no exchange without a valid state and its cookie, no echo, all headers."""

        @quick
        @given(st.data())
        def answered(data: st.DataObject) -> None:
            case.begin()
            draw = data.draw
            link, link_text = SIGNER.new_link(f"c{case.counts['cases'] % 50}")
            state_text, state, nonce = SIGNER.new_state(link)
            flow = {"state": state_text, "link": link_text.reveal(), "code": "a" * 40, "cookie": nonce.reveal()}
            drawn = draw(st.lists(st.tuples(KEYS, VALUES), max_size=5))
            if draw(st.booleans()):
                state_value = draw(st.builds(Value, own=st.just("state"), spoil=SPOILS))
                drawn += [("auth_code", Value(own="code")), ("state", state_value), ("link", Value(own="link"))]
                drawn = draw(st.permutations(drawn))
            pairs = [(key, value.of(flow)) for key, value in drawn]
            query, form = draw(STYLES)(pairs), draw(STYLES)(pairs)
            names = {"own": f"tk-{state.flow}", "result": "tk-result-0a0b0c0d", "other": "tk-00000000", "odd": MARKER}
            cookie = as_header(
                "; ".join(
                    f"{names[name]}={value.of(flow)}"
                    for name, value in draw(st.lists(st.tuples(st.sampled_from(list(names)), VALUES), max_size=4))
                )
            )[:7000]
            if draw(st.booleans()):
                cookie = f"{names['own']}={flow['cookie']}; {cookie}"
            headers = list(draw(st.dictionaries(HEADER_NAMES, HEADER_VALUES, max_size=4)).items())
            if cookie:
                headers.append(("Cookie", cookie))
            method = draw(METHODS)
            body = draw(st.sampled_from([form.encode(errors="surrogatepass"), b""])) if method == "POST" else b""
            if body:
                kind = draw(st.sampled_from(["application/x-www-form-urlencoded"] * 3 + ["text/plain", "a/b;c=d"]))
                headers = [pair for pair in headers if pair[0] != "Content-Type"] + [("Content-Type", kind)]
            target = draw(PATHS) + draw(st.sampled_from(["", "?" + as_target(query)]))
            answer = case.send(method, target, headers, body)
            bound = f"{names['own']}={flow['cookie']}" in cookie
            good = bound and state_text in urllib.parse.unquote(query) and method == "GET"
            case.check(answer, most=502 if good else 499)
            exchanges = stage.tiktok.count("access_token")
            case.counts["exchanges"] += exchanges
            assert exchanges <= int(good)
            if not good:
                assert stage.writes() == []

        stage = case.stage
        _until_enough(answered)

    def test_spoilt_states_never_count(self, case: Case) -> None:
        """With the right cookie and a good code, nothing but the very state makes an exchange."""

        @quick
        @given(SPOILS)
        def refused(spoil: Spoil) -> None:
            case.begin()
            text, state, nonce = SIGNER.new_state(SIGNER.new_link("acme")[0])
            asked = spoil(text)
            query = urllib.parse.urlencode({"auth_code": "a" * 40, "state": asked}, errors="surrogatepass")
            answer = case.send("GET", f"/?{query}", [("Cookie", f"tk-{state.flow}={nonce.reveal()}")], b"")
            case.check(answer, most=502 if asked == text else 499)
            assert case.stage.tiktok.count("access_token") == int(asked == text)

        _until_enough(refused)


class TestSigner:
    @settings(max_examples=20_000 if SECONDS else 500, derandomize=not SECONDS, database=None, deadline=None)
    @given(st.one_of(VALUES, st.builds(Value, st.text(max_size=300))))
    def test_refuses_in_one_way(self, value: Value) -> None:
        """Whatever a link, a state or a result should be read from, it is read or refused, and nothing else."""
        link, link_text = SIGNER.new_link("acme")
        text = value.of({"state": SIGNER.new_state(link)[0], "link": link_text.reveal(), "code": "", "cookie": ""})
        for read in (SIGNER.read_link, SIGNER.read_state):
            try:
                read(text)
            except LinkError:
                continue
        SIGNER.read_result(text)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=30),
    st.text(st.characters(), max_size=5),
    st.sampled_from(["7000000000000000001", "a" * 5000, "\ud800", "\0", "<b>", "1e400", "NaN", "-1", 10**400]),
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
IDS = st.lists(st.one_of(st.integers(1, 10**20), st.integers(1, 10**20).map(str), SCALARS), max_size=3)
DATA = st.fixed_dictionaries(
    {},
    optional={
        "access_token": st.one_of(st.sampled_from(["a" * 40, "b" * 40]), SCALARS),
        "refresh_token": st.one_of(st.just("c" * 40), SCALARS),
        "expires_in": SCALARS,
        "refresh_token_expires_in": SCALARS,
        "advertiser_ids": st.one_of(IDS, ANYTHING),
        "scope": st.one_of(st.lists(st.integers()), ANYTHING),
        "list": st.one_of(
            st.lists(
                st.fixed_dictionaries({"advertiser_id": st.integers(1, 99).map(str), "advertiser_name": SCALARS}),
                max_size=3,
            ),
            ANYTHING,
        ),
    },
)
SUCCESS = st.fixed_dictionaries(
    {"code": st.just(0), "data": DATA, "message": SCALARS, "request_id": st.one_of(st.just("2025"), SCALARS)}
)
TOKEN = {"access_token": "a" * 40}
GOOD = st.one_of(
    st.builds(lambda answer: {**answer, "data": {**TOKEN, **answer["data"]}}, SUCCESS),
    st.builds(lambda answer: {**answer, "data": {"advertiser_ids": ["1"], **answer["data"], **TOKEN}}, SUCCESS),
    st.builds(lambda answer: {**answer, "data": {"list": [], **answer["data"], **TOKEN}}, SUCCESS),
)
BAD = st.one_of(
    SUCCESS,
    st.fixed_dictionaries({"code": SCALARS, "data": ANYTHING, "message": SCALARS, "request_id": SCALARS}),
    ANYTHING,
)
DOCUMENT = st.integers(0, 9).flatmap(lambda number: GOOD if number < 7 else BAD)


class TestTikToksAnswers:
    def test_arbitrary_ones_end_in_a_page(self, case: Case) -> None:
        """Whatever TikTok answers, the callback stores a readable token or says that it did not; never a defect."""

        @settings(quick, max_examples=2000 if SECONDS else 30)
        @given(DOCUMENT, DOCUMENT)
        def answered(exchanged: object, listed: object) -> None:
            case.begin()
            stage = case.stage
            stage.tiktok.clear_faults()
            name = f"c{case.counts['cases']}"
            text, state, nonce = SIGNER.new_state(SIGNER.new_link(name)[0])
            for call, document in (("access_token", exchanged), ("advertiser_get", listed)):
                stage.tiktok.add_fault(Fault(call=call, status=200, body=json.dumps(document).encode(), times=None))
            cookie = f"tk-{state.flow}={nonce.reveal()}"
            answer = case.send("GET", f"/?auth_code={'a' * 40}&state={text}", [("Cookie", cookie)], b"")
            kept = [line.partition(";")[0] for line in answer.headers.get_all("Set-Cookie", [])]
            case.check(answer, most=502)
            assert answer.status in {303, 422, 502}
            stored = stage.secrets.payloads(f"tiktok-ads-token-{name}")
            assert len(stored) == (answer.status == 303)
            if stored:
                assert json.loads(stored[0])["access_token"]
                page = case.send("GET", "/done", [("Cookie", "; ".join(kept))], b"")
                assert "TikTok Ads is connected" in case.check(page, most=200)

        _until_enough(answered)


def _until_enough(test: Callable[[], None]) -> None:
    end = time.monotonic() + SECONDS
    test()
    while time.monotonic() < end:
        test()
