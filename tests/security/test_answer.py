"""Answers: what every page, error page and redirect carries, and what none does. [n]: line n of `tests/README.md`."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from http.cookies import Morsel, SimpleCookie

import requests

from emulators.serving import Fault
from faults import google_error
from security.raw import EVERYWHERE, FORM, Answer, Wire, reference
from stage import Function, Stage
from tokenkeeper.connect import notices
from tokenkeeper.connect.cookies import Result
from tokenkeeper.connect.notices import Notice
from tokenkeeper.connect.pages import Pages
from tokenkeeper.connect.refusal import ROWS
from unit import parts

# As each is answered without anything having been set up.
PLAIN = """
    / /done /?error=access_denied /?error=invalid_scope /?state=a /?auth_code=%00 /?auth_code=%ff /?state=a&state=a
    /?auth_code=a&state=a /?auth_code=a /start /start?link=* /start?link=a /nothing /robots.txt
"""


def shown(stage: Stage, wire: Wire) -> Iterator[tuple[str, Answer]]:
    """Every answer there is, in turn: pages, refusals for nearly every reason, redirects."""
    for target in PLAIN.split():
        yield target, wire.send("GET", target)
    link = stage.link("begun").partition("=")[2]
    yield "about, HEAD", wire.send("HEAD", "/")
    yield "start", wire.send("GET", f"/start?link={link}")
    yield "start, HEAD", wire.send("HEAD", f"/start?link={link}")
    yield "wrong method", wire.send("PUT", "/")
    yield "wrong method, OPTIONS", wire.send("OPTIONS", "/start")
    yield "long query", wire.send("GET", "/?" + "a" * 5000)
    yield "body where none belongs", wire.send("GET", "/", body=b"a")
    yield "no form", wire.send("POST", "/start", body=b"link=a")
    yield "form of another site", wire.send("POST", "/start", FORM, "Sec-Fetch-Site: cross-site", body=b"link=a")
    yield "large form", wire.send("POST", "/start", FORM, body=b"a" * 9000)
    redirect = wire.send("POST", "/start", FORM, body=f"link={link}".encode())
    yield "redirect to TikTok", redirect
    cookie = "Cookie: " + redirect.headers["Set-Cookie"].partition(";")[0]
    yield "start again", wire.send("GET", f"/start?link={link}", cookie)
    (state,) = re.findall(r"state=([^&]*)", redirect.headers["Location"])
    yield "another browser", wire.send("GET", f"/?auth_code={stage.code()}&state={state}")
    stage.tiktok.fail_next("access_token", 50000)
    yield "TikTok's no", wire.send("GET", f"/?auth_code={stage.code()}&state={state}", cookie)
    yield "no ad account", wire.send("GET", f"/?auth_code={stage.code(advertisers=[])}&state={state}", cookie)
    stage.secrets.add_fault(google_error("PERMISSION_DENIED", "No.", call="GetSecret", times=2))
    yield "not ready", wire.send("GET", f"/?auth_code={stage.code()}&state={state}", cookie)
    yield "not ready to start", wire.send("GET", f"/start?link={link}")
    done = wire.send("GET", f"/?auth_code={stage.code()}&state={state}", cookie)
    yield "redirect to /done", done
    kept = "; ".join(line.partition(";")[0] for line in done.headers["Set-Cookie"].split("\n"))
    yield "done", wire.send("GET", "/done", f"Cookie: {kept}")
    yield "used link", wire.send("GET", f"/start?link={link}")
    expired = stage.link()
    stage.set_clock(functions=7200)
    yield "expired link", wire.send("GET", expired)
    stage.set_clock(functions=0)


class Page(HTMLParser):
    """What a page refers to and holds."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def carries_the_same_headers(_stage: Stage, answer: Answer) -> None:
    """No cache, no referrer, no frame, no sniffing, nobody else's window, no permissions [27] [28] [30] [31] [33].

    The content type has its charset, also where there is no content [34]; on http there is no HSTS [32].
    """
    kind = "text/plain" if answer.status == 303 else "text/html"
    expected = {**EVERYWHERE, "Content-Type": f"{kind}; charset=utf-8", "Strict-Transport-Security": None}
    assert {name: answer.headers.get(name) for name in expected} == expected


def has_a_policy_for_its_content(stage: Stage, answer: Answer) -> None:
    """Nothing by default; the page's own style by its hash; forms to the function and to TikTok [29]."""
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    assert policy.keys() == {"default-src", "style-src", "form-action", "frame-ancestors", "base-uri"}
    assert {policy[name] for name in ("default-src", "frame-ancestors", "base-uri")} == {"'none'"}
    assert set(policy["form-action"].split()) == {"'self'", stage.connect.url, stage.tiktok.url}
    for style in re.findall(r"<style>(.*?)</style>", answer.body, re.DOTALL):
        hashed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        assert policy["style-src"] == f"'sha256-{hashed}'"


def loads_nothing(stage: Stage, answer: Answer) -> None:
    """No script, image, frame, font or style from anywhere, no style or handler in a tag; links to TikTok only [35]."""
    page = Page(answer.body)
    assert not {tag for tag, _ in page.tags} & {"script", "img", "iframe", "link", "object", "embed", "base", "svg"}
    for tag, attributes in page.tags:
        assert not attributes.keys() & {"src", "style", "srcset"}
        if "href" in attributes:
            assert tag == "a"
            assert (attributes["href"] or "").startswith(f"{stage.tiktok.authorize_url}?")
        assert not any(name.startswith("on") for name in attributes)
    assert "url(" not in answer.body
    assert "@import" not in answer.body


def names_no_product(_stage: Stage, answer: Answer) -> None:
    """Neither version nor product of ours or of what we use is named, but for the web server's bare name [40]."""
    assert answer.headers.pop("Server", "gunicorn") == "gunicorn"
    said = (str(answer.headers) + answer.body).replace("127.0.0.1", "")
    assert not re.search(
        r"werkzeug|flask|python|functions.framework|token.?keeper|X-Powered-By|\d\.\d+\.\d", said, re.IGNORECASE
    )


def shows_a_reference_that_the_log_has(stage: Stage, answer: Answer) -> None:
    """Every refusal shows a short reference, and the log has the reason under the same [38]."""
    shown = reference(answer.body)
    if shown or (answer.status >= 400 and answer.body):
        assert [event for event in stage.connect.events if event.get("reference") == shown and event["reason"]]


CHECKS = (
    carries_the_same_headers,
    has_a_policy_for_its_content,
    loads_nothing,
    names_no_product,
    shows_a_reference_that_the_log_has,
)
# These need an outage, or a connection that exists, which other tests make.
ELSEWHERE = """
    advertisers_not_listed connection_busy link_not_checked no_account other_account other_advertisers other_family
    other_host store_failed store_unavailable tiktok_silent tiktok_unreachable
"""


class TestEveryAnswer:
    def test_is_as_harmless_as_can_be(self, stage: Stage, wire: Wire) -> None:
        """Pages, error pages and redirects alike [27] [28] [29] [30] [31] [32] [33] [34] [35] [38] [40]."""
        statuses = set()
        for name, answer in shown(stage, wire):
            statuses.add(answer.status)
            for check in CHECKS:
                if check is shows_a_reference_that_the_log_has and name == "/robots.txt":
                    continue  # the framework answers that by itself
                try:
                    check(stage, answer)
                except AssertionError as error:
                    error.add_note(f"in the answer: {name}")
                    raise
        assert statuses == {200, 303, 400, 403, 404, 405, 409, 410, 413, 414, 422, 502, 503}
        reasons = {entry["reason"] for entry in stage.connect.entries("connection.refused")}
        assert ROWS.keys() - reasons == set(ELSEWHERE.split())

    def test_has_hsts_where_the_address_is_https(self, stage: Stage, rotated: Function) -> None:
        """Browsers that came once by https come by nothing else for a year [32]."""
        wire = Wire(rotated, stage.canaries)
        for target in ("/", "/nothing", "/robots.txt", "/start", "/?code=1&state=1"):
            assert wire.send("GET", target).headers["Strict-Transport-Security"] == "max-age=31536000"

    def test_has_no_hsts_for_a_name_of_this_machine(self) -> None:
        """It would turn every http server of a developer's machine into https for a year [32]."""
        hosts = {"tokens.example": True}
        hosts |= dict.fromkeys(("localhost", "tokens.localhost", "127.0.0.1", "127.1.2.3", "[::1]"), False)
        made = {host: Pages(parts.read(PUBLIC_URL=f"https://{host}:18443")) for host in hosts}
        assert {host: "Strict-Transport-Security" in pages.headers for host, pages in made.items()} == hosts

    def test_that_is_a_notice_says_three_things(self) -> None:
        """What happened, whether anything was stored, what to do next: in words without jargon [38]."""
        jargon = r"\b(state|callback|OAuth|grant|HTTP|API|token|signature|Secret Manager)\b"
        found = [value for value in vars(notices).values() if isinstance(value, Notice)]
        texts = [text for one in found for text in (one.title, one.happened, one.stored, one.next)]
        odd = [text for text in texts if not text[0].isupper() or re.search(jargon, text, re.IGNORECASE)]
        odd += [text for one in found for text in (one.happened, one.stored, one.next) if not text.endswith(".")]
        assert not odd, odd


def test_the_redirect_after_success_leads_away_from_the_code(stage: Stage) -> None:
    """303 to an address without a code or a state, and no body that could hold one [36] [38]."""
    answer = stage.approve()
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{stage.connect.url}/done")
    assert answer.text == ""


def cookies_of(answer: requests.Response) -> dict[str, Morsel[str]]:
    """The cookies that an answer sets, by name."""
    lines = answer.raw.headers.getlist("Set-Cookie")
    return {name: morsel for line in lines for name, morsel in SimpleCookie(line).items()}


def limits_of(morsel: Morsel[str]) -> tuple[object, ...]:
    """For whom a cookie is meant."""
    return tuple(morsel[name] for name in ("secure", "httponly", "samesite", "path", "domain"))


class TestCookies:
    def test_on_https_are_as_strict_as_can_be(self, stage: Stage, rotated: Function) -> None:
        """`__Host-`, Secure, HttpOnly, SameSite=Lax, the whole host, an hour at most, cleared after use [37]."""
        browser = stage.browser(rotated)
        state = browser.begin(stage.link())
        (begun,) = browser.session.cookies.items()  # Secure, so that it has to be sent by hand
        back = browser.get(f"/?auth_code={stage.code()}&state={state}", headers={"Cookie": "=".join(begun)})
        assert back.status_code == 303
        (sent,) = cookies_of(browser.post("/start", data={"link": stage.link("other").partition("=")[2]})).values()
        cleared, result = cookies_of(back).values()
        assert cleared.key == begun[0]
        assert re.fullmatch(r"__Host-tk-[0-9a-f]{8}", sent.key)
        assert re.fullmatch(r"__Host-tk-result-[0-9a-f]{8}", result.key)
        assert [morsel["max-age"] for morsel in (sent, cleared, result)] == ["3600", "0", "3600"]
        assert cleared.value == ""
        assert {limits_of(morsel) for morsel in (sent, cleared, result)} == {(True, True, "Lax", "/", "")}

    def test_that_somebody_made_up_are_not_shown(self, wire: Wire) -> None:
        """A result that this function did not sign is no result [37] [38]."""
        forged = base64.urlsafe_b64encode(json.dumps(Result("evil", number=1)).encode()).decode().rstrip("=")
        answer = wire.send("GET", "/done", f"Cookie: tk-result-00000000={forged}.AAAA; tk-result-1=; tk-result-2=é")
        assert answer.status == 200
        assert "evil" not in answer.body
        assert "There is no result to show" in answer.body

    def test_do_not_pile_up(self, stage: Stage) -> None:
        """However often somebody begins and finishes, all cookies together stay small enough to be sent [37]."""
        browser = stage.browser()
        many = [str(7_000_000_000_000_000_000 + number) for number in range(3000)]
        for number in range(12):
            state = browser.begin(stage.link(f"c{number}"))
            if number % 3 == 0:
                assert browser.come_back(stage.code(advertisers=many), state).status_code == 303
        assert len("; ".join(f"{cookie.name}={cookie.value}" for cookie in browser.session.cookies)) < 7000
        assert re.search(r"<li>and 2\d\d\d more</li>", browser.get("/done").text)


class TestEcho:
    def test_there_is_none(self, wire: Wire) -> None:
        """What comes in a query, a path, a cookie or a header does not come out again [38]."""
        markers = ("evilmarker", "%3Cscript%3Eevilmarker", "%22evilmarker", "{{evilmarker}}")
        queries = ("auth_code={0}&state={0}", "code={0}", "error={0}&error_description={0}", "{0}={0}", "state=a&{0}")
        others = ("/{0}", "/start?link={0}", "/start?link=a&x={0}", "/done?{0}")
        addresses = (*(f"/?{query}" for query in queries), *others)
        more = ("Cookie: evilmarker=evilmarker", "User-Agent: evilmarker", "Accept: evilmarker")
        answers = {
            (target := address.replace("{0}", marker), method): wire.send(method, target, *more)
            for address in addresses
            for marker in markers
            for method in ("GET", "POST", "PUT")
        }
        said = [asked for asked, answer in answers.items() if "evilmarker" in answer.body + str(answer.headers)]
        assert not said, said

    def test_an_unknown_state_looks_like_an_expired_one(self, stage: Stage) -> None:
        """Page, headers and calls are the same, so that nobody learns which states were real [39]."""
        browser, stranger = stage.browser(), stage.browser()
        state = browser.begin(stage.link())
        kept = "; ".join(f"{cookie.name}={cookie.value}" for cookie in browser.session.cookies)
        answers = []
        for offset, asked in ((0, f"{state[:-8]}AAAAAAAA"), (3601, state), (0, state)):
            stage.set_clock(functions=offset)
            stage.secrets.forget_calls()
            headers = {"Cookie": kept} if offset else {}
            answers.append(stranger.get(f"/?auth_code={stage.code()}&state={asked}", headers=headers))
            assert (stage.secrets.calls, stage.tiktok.calls) == ([], [])
        looks = {
            (
                answer.status_code,
                answer.text.replace(reference(answer.text), ""),
                str({name: value for name, value in answer.headers.items() if name != "Date"}),
            )
            for answer in answers
        }
        assert len(looks) == 1
        reasons = [entry["reason"] for entry in stage.connect.entries("connection.refused")]
        assert reasons == ["state_invalid", "state_invalid", "state_of_another_browser"]

    def test_names_of_ad_accounts_are_text(self, stage: Stage) -> None:
        """Whoever names an ad account cannot change the page: names are escaped and kept apart [38]."""
        names = ["<script>alert(1)</script>", "</li><h1>evil", '" onload="x', "\u202egnp.exe", "{{7*7}}", "a\0\r\n"]
        names += ["a\ud800", "😀" * 30]
        ids = [f"700000000000000000{number}" for number in range(1, len(names) + 1)]
        listed = [{"advertiser_id": id_, "advertiser_name": name} for id_, name in zip(ids, names, strict=True)]
        answer = json.dumps({"code": 0, "data": {"list": listed}}).encode()
        stage.tiktok.add_fault(Fault(call="advertiser_get", status=200, body=answer))
        browser, state, _ = stage.begun()
        back = browser.come_back(stage.code(advertisers=ids), state)
        assert "\n" not in back.headers["Location"]
        page = browser.get("/done")
        assert page.status_code == 200
        assert "<script" not in page.text
        assert "<h1>evil" not in page.text
        assert "{{7*7}}" in page.text
        assert page.text.count("<bdi>") == len(names)
        assert not any("onload" in attributes for _, attributes in Page(page.text).tags)
