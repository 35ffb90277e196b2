"""Requests: which ones get anywhere at all. [n]: line n of `tests/README.md`."""

import re
import socket
import urllib.parse

import pytest

from security.raw import FORM, Wire
from stage import Stage

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "FOO")
ALLOWED = {"/": "GET, HEAD", "/?code=1": "GET", "/?state=1": "GET", "/start": "GET, HEAD, POST", "/done": "GET"}
UNKNOWN = r"""
    // //start //evil.example/ //evil.example/%2e%2e /../ /.. /./ /start/ /start// /start/.. /start/../start /%2e%2e/
    /%2e%2e%2f /start%2f /start%00 /start%20 /start;a=b /start. /START /start\ /\start /done/ /done%0a /start%3flink=a
    /.git/config /robots.txt /favicon.ico /callback /%ff /%c0%ae%c0%ae/ /refresh /main.py
"""


class TestMethod:
    def test_any_other_is_told_which_ones_there_are(self, stage: Stage, wire: Wire) -> None:
        """405 with `Allow` for every method that the address does not have [17]."""
        answers = {(target, method): wire.send(method, target) for target in ALLOWED for method in METHODS}
        refused = {asked: answer.headers.get("Allow") for asked, answer in answers.items() if answer.status == 405}
        assert refused == {
            (target, method): allowed
            for target, allowed in ALLOWED.items()
            for method in METHODS
            if method not in allowed.split(", ")
        }
        assert stage.tiktok.calls == []

    def test_head_uses_nothing_up(self, stage: Stage) -> None:
        """HEAD to a good callback address is refused, and the code and state stay good [17]."""
        browser, state, code = stage.begun()
        assert browser.request("HEAD", f"/?auth_code={code}&state={state}").status_code == 405
        assert stage.tiktok.calls == []
        assert browser.come_back(code, state).status_code == 303


def test_an_unknown_path_is_not_found(stage: Stage, wire: Wire) -> None:
    """404 for what only resembles an address, with any method; nothing is normalised or redirected [18]."""
    asked = [(path, method) for path in UNKNOWN.split() for method in ("GET", "POST", "OPTIONS")]
    answers = {(path, method): wire.send(method, path) for path, method in asked}
    found = [one for one, answer in answers.items() if answer.status != 404 or "Location" in answer.headers]
    assert not found, found
    assert stage.tiktok.calls == []


class TestQuery:
    def test_a_doubled_parameter_is_refused(self, stage: Stage) -> None:
        """Two readers could see two different requests in one that says something twice, also of a link [19]."""
        browser = stage.browser()
        link = stage.link().partition("=")[2]
        good = f"auth_code={stage.code()}&state={browser.begin(stage.link())}"
        more = (good, "code=x&code=x", "x=1&x=2", "sta%74e=x", "state", "error=a&error=b", "=1&=2")
        asked = [*(f"/?{good}&{doubled}" for doubled in more), f"/start?link={link}&link={link}"]
        statuses = {address: browser.get(address).status_code for address in asked}
        assert statuses == dict.fromkeys(asked, 400)
        assert browser.post("/start", data=[("link", link), ("link", link)]).status_code == 400
        assert stage.tiktok.calls == []
        assert stage.writes() == []

    def test_an_error_wins_over_a_code(self, stage: Stage) -> None:
        """With both, nothing is exchanged, and the page says that access was declined; going back helps [20]."""
        browser, state, _ = stage.begun()
        stage.secrets.forget_calls()
        for error in ("access_denied&error_description=No", ""):
            answer = browser.get(f"/?auth_code={stage.code()}&state={state}&error={error}")
            assert answer.status_code == 200
            assert "Access was declined" in answer.text
        assert (stage.secrets.calls, stage.tiktok.calls) == ([], [])
        assert browser.come_back(stage.code(), state).status_code == 303

    def test_without_a_code_nothing_is_called(self, stage: Stage) -> None:
        """A callback without a code is refused, however good its state is [21]."""
        browser, state, _ = stage.begun()
        codes = ("", "auth_code=&", "code=&auth_code=&")
        statuses = {code: browser.get(f"/?{code}state={state}").status_code for code in codes}
        assert statuses == dict.fromkeys(codes, 400)
        assert stage.tiktok.calls == []
        assert stage.writes() == []

    @pytest.mark.parametrize("key", ["auth_code", "code"])
    def test_an_odd_code_is_refused(self, stage: Stage, key: str) -> None:
        """A code that is too long or no printable ASCII goes nowhere; the log has its length and kind, not it [22]."""
        codes = {"a" * 1025: "printable ASCII", "a\nb": "control", "\0": "control", "a\x7f": "control"}
        codes |= {"é": "not ASCII", "٣": "not ASCII", "a\u202eb": "not ASCII"}
        browser = stage.browser()
        good = {"auth_code": stage.code(), "code": stage.code(), "state": browser.begin(stage.link())}
        statuses = {code: browser.get("/", params={**good, key: code}).status_code for code in codes}
        assert statuses == dict.fromkeys(codes, 400)
        assert stage.tiktok.calls == []
        assert stage.writes() == []
        logged = stage.connect.entries("connection.refused")
        assert [(entry["reason"], entry["length"], entry["characters"]) for entry in logged] == [
            ("code_malformed", len(code), kind) for code, kind in codes.items()
        ]

    def test_an_unusual_code_is_for_tiktok_to_judge(self, stage: Stage) -> None:
        """Codes are opaque: what could be one is sent, and TikTok's no is shown [22]."""
        codes = ["a", "a" * 1024, "a-b_c.d~e*!", "MTIz/abc+==", "<a b>'\"\\{%}|;,"]
        browser, state, _ = stage.begun()
        statuses = [browser.get("/", params={"auth_code": code, "state": state}).status_code for code in codes]
        assert statuses == [502] * len(codes)
        assert [body["auth_code"] for body in stage.tiktok.requests_of("access_token")] == codes

    def test_a_long_one_is_refused(self, wire: Wire) -> None:
        """414 for more than 4 KB, before anything looks into it; more than a hundred parameters get 400 [24]."""
        queries = ("a" * 4097, "auth_code=" + "a" * 5000, "link=" + "a" * 100_000, "&" * 5000)
        asked = [(path, query) for path in ("/", "/start", "/done") for query in queries]
        statuses = {(path, query[:9]): wire.send("GET", f"{path}?{query}").status for path, query in asked}
        assert statuses == dict.fromkeys(statuses, 414)
        assert wire.send("GET", "/?" + "a" * 4096).status == 200
        assert wire.send("GET", "/?" + "&".join(f"a{number}=1" for number in range(101))).status == 400

    def test_one_that_is_no_text_is_refused(self, wire: Wire) -> None:
        """Bytes that are no UTF-8 get 400, not a replacement character [13]."""
        queries = ("%ff=1", "auth_code=%ff&state=a", "state=%c0%ae", "auth_code=%ed%a0%80")
        assert {query: wire.send("GET", f"/?{query}").status for query in queries} == dict.fromkeys(queries, 400)


class TestBody:
    def test_where_none_belongs_is_refused(self, wire: Wire) -> None:
        """A request that only asks has nothing to send along, announced or in pieces [23]."""
        targets = ("/", "/?auth_code=a&state=b", "/start?link=a", "/done")
        bodies = {"": b"link=a", "Transfer-Encoding: chunked": b"1\r\na\r\n0\r\n\r\n"}
        statuses = {
            (method, target, header): wire.send(method, target, *filter(None, [header]), body=body).status
            for method in ("GET", "HEAD")
            for target in targets
            for header, body in bodies.items()
        }
        no_head = {"/?auth_code=a&state=b", "/done"}
        assert statuses == {asked: 405 if asked[0] == "HEAD" and asked[1] in no_head else 400 for asked in statuses}

    def test_too_large_a_form_is_refused(self, wire: Wire) -> None:
        """413 for a form of more than 8 KB, announced or not, and the answer arrives [24]."""
        sizes = {8192: 400, 8193: 413, 900_000: 413}
        sent = {size: wire.send("POST", "/start", FORM, body=b"link=".ljust(size, b"a")).status for size in sizes}
        assert sent == sizes
        chunk = b"2710\r\n" + b"a" * 10_000 + b"\r\n"
        assert wire.send("POST", "/start", FORM, "Transfer-Encoding: chunked", body=chunk + b"0\r\n\r\n").status == 413

    def test_that_is_no_form_with_a_link_is_refused(self, stage: Stage, wire: Wire) -> None:
        """Only what an HTML form sends is a form, and without a link it gets a page, not a defect [22] [23]."""
        good = stage.link().partition("?")[2].encode()
        kinds = ("multipart/form-data; boundary=x", "application/json", "text/plain", "", "application/x-www-form")
        bodies = (b"", b"link", b"link=", b"link=%ff", b"\xff\xfe", b"link=a\0b", b"LINK=a", b"=", b"&" * 8000)
        sent = [*((f"Content-Type: {kind}", good) for kind in kinds), *((FORM, body) for body in bodies)]
        for kind, body in sent:
            answer = wire.send("POST", "/start", kind, f"Content-Length: {len(body)}", body=body)
            assert (kind, body, answer.status) == (kind, body, 400)
        assert stage.secrets.calls == []

    def test_that_breaks_off_is_no_defect(self, stage: Stage, wire: Wire) -> None:
        """A body that is cut off, or of another length than it says, ends in a refusal and no alert [23]."""
        head = f"POST /start HTTP/1.1\r\nHost: a\r\n{FORM}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        for body in (b"5\r\nlink=XX", b"zz\r\n", b"-5\r\nabc\r\n0\r\n\r\n", b"ffffffffffffffff\r\na"):
            with socket.create_connection(("127.0.0.1", stage.connect.port), 60) as connection:
                connection.sendall(head.encode() + body)
                connection.shutdown(socket.SHUT_WR)
                first = connection.recv(65536)
            assert (body, first[:13]) == (body, b"HTTP/1.1 400 ")
        assert stage.alerts() == []
        assert wire.send("GET", "/").status == 200

    def test_of_another_site_is_refused(self, stage: Stage) -> None:
        """A form on somebody else's page cannot begin a flow in a visitor's browser [26]."""
        link = stage.link().partition("=")[2]
        sites = {"cross-site": 400, "same-site": 400, "nonsense": 400, "same-origin": 303, "none": 303}
        for site, status in sites.items():
            answer = stage.browser().post("/start", data={"link": link}, headers={"Sec-Fetch-Site": site})
            assert (site, answer.status_code, "Set-Cookie" in answer.headers) == (site, status, status == 303)
            if status == 303:
                (state,) = re.findall(r"state=([^&]*)", answer.headers["Location"])
                stage.canaries.keep("a state", state, belongs_in=".*")


FORGED = """
    X-Forwarded-Host: evil.example; X-Forwarded-Proto: https; X-Forwarded-Port: 1234; X-Forwarded-Prefix: /evil;
    X-Forwarded-For: 6.6.6.6; X-Forwarded-Server: evil.example; X-Real-IP: 6.6.6.6; X-Host: evil.example;
    X-Original-URL: /done; X-Rewrite-URL: /done; X-HTTP-Method-Override: DELETE; X-Method-Override: DELETE;
    Forwarded: host=evil.example,proto=https; Origin: https://evil.example; Referer: https://evil.example/
"""
REDIRECTING = ("next", "redirect", "redirect_uri", "return_to", "url", "continue", "RelayState", "NEXT", "REDIRECT")


def test_forged_headers_and_parameters_send_nobody_elsewhere(stage: Stage, wire: Wire) -> None:
    """Every address comes from `PUBLIC_URL`, whatever a request says of its host or where to go [25] [26]."""
    forged = [" ".join(header.split()) for header in FORGED.split(";")]
    evil = "&".join(f"{name}=https://evil.example/" for name in REDIRECTING)
    link = stage.link().partition("?")[2]
    about, page, done = (
        wire.send("GET", f"{target}{evil}", *forged, host="evil.example")
        for target in ("/?", f"/start?{link}&", "/done?")
    )
    assert (about.status, page.status, done.status) == (200, 200, 200)
    assert f'action="{stage.connect.url}/start"' in page.body
    sent = wire.send("POST", f"/start?{evil}", FORM, *forged, body=f"{link}&{evil}".encode(), host="evil.example")
    assert sent.headers["Location"].startswith(stage.tiktok.authorize_url + "?")
    asked = urllib.parse.parse_qs(urllib.parse.urlsplit(sent.headers["Location"]).query)
    assert asked.keys() == {"app_id", "state", "redirect_uri"}
    assert asked["redirect_uri"] == [stage.connect.url]
    cookie = "Cookie: " + sent.headers["Set-Cookie"].partition(";")[0]
    query = f"auth_code={stage.code()}&state={asked['state'][0]}&{evil}"
    back = wire.send("GET", f"/?{query}", cookie, *forged, host="evil.example")
    assert (sent.status, back.status, back.headers["Location"]) == (303, 303, f"{stage.connect.url}/done")
    for answer in (about, page, done, sent, back):
        everything = answer.body + "".join(f"{name}{value}" for name, value in answer.headers.items())
        assert "evil.example" not in everything
        assert "Domain=" not in answer.headers.get("Set-Cookie", "")
        assert "Strict-Transport-Security" not in answer.headers
