"""Fuzzing: arbitrary requests, and arbitrary answers of TikTok's, against the real process.

The suite runs a quick, repeatable share of it; with `FUZZ_EXAMPLES=20000` each test tries so many new cases.
"""

import json
import os
from urllib.parse import quote, unquote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulators.serving import Fault
from security.raw import EVERYWHERE, Wire
from stage import APP_SECRET, LINK_KEY, TOKEN, Stage
from tokenkeeper.connect.links import Signer
from tokenkeeper.secret import Secret

pytestmark = pytest.mark.filterwarnings("default::hypothesis.errors.HypothesisWarning")

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))
MARKER = "qzjx7"
SIGNER = Signer([Secret(LINK_KEY)])
INJECTED = ["<script>", '"><b>', "{{7*7}}", "' OR 1=1", "../../etc/passwd", "\u202e", "\ufeff"]
WORDS = ["", MARKER, "a" * 600, "a" * 5000, "null", "0", "-1", "true", "[]", "{}", "%", "%00", "\0", "\r\n"]
ODD = st.text(max_size=60) | st.sampled_from([*WORDS, *(MARKER + text for text in INJECTED)])
KEYS = ODD | st.sampled_from(["auth_code", "code", "state", "error", "error_description", "link", "next", "state[]"])
METHODS = st.sampled_from(["GET", "GET", "GET", "POST", "POST", "HEAD", "PUT", "OPTIONS", "TRACE", "GETGET"])
PATHS = st.sampled_from(["/", "/", "/start", "/start", "/done", "//", "/start/", "/..", f"/{MARKER}", "/%ff", "/%00"])
HEADERS = """
    X-Forwarded-Host X-Forwarded-For X-Cloud-Trace-Context traceparent User-Agent Accept Accept-Language Accept-Encoding
    Origin Referer Range If-None-Match If-Modified-Since Authorization Content-Type Content-Encoding Sec-Fetch-Site
    X-HTTP-Method-Override X-CloudScheduler Forwarded X-Whatever
"""
PIECES = st.text(max_size=3) | st.sampled_from(["", ".", "-", "=", "A", "%2e", " ", "%", "%ff", "&", "&&", ";"])
NOT_QUOTED = "%&=;+/?:@!$'()*,-._~[]{}|^`<>\"\\"  # of a query, by whoever writes odd ones


def cases(number: int) -> settings:
    """So many in the suite, the same ones each time."""
    return settings(
        max_examples=EXAMPLES or number,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@st.composite
def spoilt(draw: st.DrawFn, text: str) -> str:
    """A text as it is, or with something put in, replaced, cut off or doubled."""
    at, piece = int(draw(st.floats(0, 1)) * len(text)), draw(PIECES)  # ours are now longer, now shorter
    changed = [text[:at] + piece + text[at:], text[:at] + piece + text[at + 1 :], text[:at], text[at:], text + text]
    return draw(st.sampled_from([text, text, text, *changed, text.swapcase()]))


def as_header(text: str) -> str:
    """What of a text may stand in a header's value."""
    return "".join(c for c in text if "\x20" <= c < "\x7f" or "\xa0" <= c < "\u0100")


def test_arbitrary_requests_are_answered(stage: Stage, wire: Wire) -> None:
    """No 5xx without an outage, no exchange without a valid state and its cookie, no echo, all headers."""
    statuses = set()

    @cases(80)
    @given(st.data())
    def answered(data: st.DataObject) -> None:
        stage.tiktok.forget_calls()
        stage.secrets.reset()
        draw = data.draw
        link, link_text = SIGNER.new_link("acme")
        state_text, state, nonce = SIGNER.new_state(link)
        own = {"state": state_text, "link": link_text.reveal(), "auth_code": "a" * 40, "cookie": nonce.reveal()}
        values = ODD | st.sampled_from(list(own.values())).flatmap(spoilt)
        near = draw(st.booleans())  # a callback as it should be, but for something
        pairs = draw(st.lists(st.tuples(KEYS, values), max_size=1 if near else 5))
        names = [f"tk-{state.flow}", "tk-result-0a0b0c0d", "tk-00000000", MARKER]
        cookies = draw(st.lists(st.tuples(st.sampled_from(names), values), max_size=4))
        if near:
            pairs += [("auth_code", own["auth_code"]), ("state", draw(spoilt(state_text)))]
            cookies.insert(0, (names[0], own["cookie"]))
        plain = "&".join(f"{key}={value}" for key, value in pairs)
        written = st.sampled_from([urlencode(pairs, errors="surrogatepass"), plain]).flatmap(spoilt)
        query = quote(draw(written), NOT_QUOTED, errors="ignore")
        cookie = as_header("; ".join(f"{name}={value}" for name, value in cookies))[:7000]
        method, path = ("GET", "/") if near else (draw(METHODS), draw(PATHS))
        headers = draw(st.dictionaries(st.sampled_from(HEADERS.split()), ODD.map(as_header), max_size=4))
        body = draw(written).encode(errors="surrogatepass") if method == "POST" else b""
        if body and draw(st.booleans()):
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        lines = [f"{name}: {value}" for name, value in {**headers, "Cookie": cookie}.items()]
        answer = wire.send(method, f"{path}?{query}", *lines, body=body)
        good = f"{names[0]}={own['cookie']}" in cookie and state_text in unquote(query) and method == "GET"
        statuses.add(answer.status)
        assert answer.status <= (502 if good else 499), answer
        assert EVERYWHERE.items() <= answer.headers.items()
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; ")
        said = answer.body + str(answer.headers)
        assert not [secret for secret in (MARKER, APP_SECRET, LINK_KEY) if secret in said]
        if answer.status == 303:
            assert answer.headers["Location"].startswith(
                (f"{stage.tiktok.authorize_url}?", f"{stage.connect.url}/done")
            )
        assert stage.tiktok.count("access_token") <= int(good)
        assert good or stage.writes() == []

    answered()
    assert statuses >= {200, 400, 502}, "none got as far as TikTok"
    assert "defect" not in stage.events()


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | ODD | st.just(10**400)
ANYTHING = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ODD, inner, max_size=3))
IDS = st.lists(st.integers(1, 10**20) | st.integers(1, 10**20).map(str) | SCALARS, max_size=3)
NAMED = st.fixed_dictionaries({"advertiser_id": st.integers(1, 9).map(str), "advertiser_name": SCALARS})
FIELDS = {
    **dict.fromkeys(("access_token", "refresh_token", "expires_in", "refresh_token_expires_in"), SCALARS),
    "advertiser_ids": IDS | ANYTHING,
    "scope": st.lists(st.integers()) | ANYTHING,
    "list": st.lists(NAMED, max_size=3) | ANYTHING,
}
DATA = st.fixed_dictionaries({}, optional=FIELDS)
LISTED = st.sampled_from([{"advertiser_ids": ["1"]}, {"advertiser_ids": []}, {"list": [{"advertiser_id": "1"}]}])
USUAL = st.builds(lambda data, listed: {**data, "access_token": "a" * 40, **listed}, DATA, LISTED)
GOOD = st.fixed_dictionaries({"code": st.just(0), "message": SCALARS, "data": USUAL})
BAD = st.fixed_dictionaries({"code": SCALARS, "message": SCALARS, "request_id": SCALARS, "data": DATA | ANYTHING})
DOCUMENT = st.integers(0, 3).flatmap(lambda number: GOOD if number else BAD | ANYTHING)


def test_arbitrary_answers_of_tiktok_end_in_a_page(stage: Stage, wire: Wire) -> None:
    """The callback stores a token that can be read, or says that it did not; it never ends in a defect."""
    statuses = set()

    @cases(40)
    @given(DOCUMENT, DOCUMENT)
    def answered(exchanged: object, listed: object) -> None:
        stage.tiktok.clear_faults()
        stage.secrets.reset()
        for call, document in (("access_token", exchanged), ("advertiser_get", listed)):
            stage.tiktok.add_fault(Fault(call, status=200, body=json.dumps(document).encode(), times=None))
        text, state, nonce = SIGNER.new_state(SIGNER.new_link("acme")[0])
        cookie = f"Cookie: tk-{state.flow}={nonce.reveal()}"
        answer = wire.send("GET", f"/?auth_code={'a' * 40}&state={text}", cookie)
        statuses.add(answer.status)
        assert answer.status in {303, 422, 502}, answer
        stored = stage.secrets.payloads(TOKEN + "acme")
        assert bool(stored) == (answer.status == 303)
        assert not stored or json.loads(stored[0])["access_token"]

    answered()
    assert statuses == {303, 422, 502}
    assert "defect" not in stage.events()
