"""Requests: which ones get anywhere at all. [n]: line n of `tests/README.md`."""

from __future__ import annotations

import re
import socket
import urllib.parse

import pytest

from emulators.serving import Fault
from security.raw import Wire
from stage import Stage

FORM = "Content-Type: application/x-www-form-urlencoded"
ALLOWED = {"/": "GET, HEAD", "/?code=1": "GET", "/?state=1": "GET", "/start": "GET, HEAD, POST", "/done": "GET"}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "FOO")


class TestMethod:
    @pytest.mark.parametrize(("target", "allowed"), ALLOWED.items())
    def test_any_other_is_told_which_ones_there_are(self, stage: Stage, wire: Wire, target: str, allowed: str) -> None:
        """405 with `Allow` for every method that the address does not have [17]."""
        for method in METHODS:
            answer = wire.send(method, target)
            if method in allowed.split(", "):
                assert answer.status != 405, method
            else:
                assert (answer.status, answer.headers.get("Allow")) == (405, allowed), method
        assert stage.tiktok.calls == []

    def test_head_uses_nothing_up(self, stage: Stage) -> None:
        """HEAD to a good callback address is refused, and the code and state stay good [17]."""
        browser = stage.browser()
        state = browser.begin(stage.link())
        code = stage.code()
        assert browser.request("HEAD", f"/?auth_code={code}&state={state}").status_code == 405
        assert stage.tiktok.calls == []
        assert browser.come_back(code, state).status_code == 303

    def test_cannot_be_changed_by_a_header(self, wire: Wire) -> None:
        """Override headers of other frameworks mean nothing here [17]."""
        answer = wire.send("GET", "/done", "X-HTTP-Method-Override: POST", "X-Method-Override: DELETE")
        assert answer.status == 200


class TestPath:
    @pytest.mark.parametrize(
        "path",
        [
            "//",
            "//start",
            "//evil.example/",
            "//evil.example/%2e%2e",
            "/../",
            "/..",
            "/./",
            "/start/",
            "/start//",
            "/start/..",
            "/start/../start",
            "/%2e%2e/",
            "/%2e%2e%2f",
            "/start%2f",
            "/start%00",
            "/start%20",
            "/start;a=b",
            "/start.",
            "/Start",
            "/START",
            "/start\\",
            "/\\start",
            "/done/",
            "/done%0a",
            "/index.php",
            "/.env",
            "/.git/config",
            "/admin",
            "/metrics",
            "/robots.txt",
            "/favicon.ico",
            "/callback",
            "/%ff",
            "/%c0%ae%c0%ae/",
            "/start%3flink=a",
            "/refresh",
            "/main.py",
        ],
    )
    def test_an_unknown_one_is_not_found(self, stage: Stage, wire: Wire, path: str) -> None:
        """404 for what only resembles an address, with any method; nothing is normalised or redirected [18]."""
        for method in ("GET", "POST", "OPTIONS"):
            answer = wire.send(method, path)
            assert answer.status == 404
            assert "Location" not in answer.headers
        assert stage.tiktok.calls == []

    def test_with_a_public_path_both_ways_are_understood(self, stage: Stage) -> None:
        """An address with a path is known with and without it, and nothing else is [18]."""
        function = stage.start("connect", PUBLIC_URL="http://127.0.0.1/a/b")
        wire = Wire(function, stage.canaries)
        known = {path: wire.send("GET", path).status for path in ("/", "/a/b", "/a/b/", "/done", "/a/b/done")}
        assert set(known.values()) == {200}
        for path in ("/a", "/a/", "/a/bc", "/a/b//", "/a/b/a/b", "//a/b", "/a/b/../done", "/a/b%2fdone/"):
            assert wire.send("GET", path).status == 404, path


class TestQuery:
    @pytest.mark.parametrize(
        "query",
        [
            "state={state}&state={state}&auth_code={code}",
            "auth_code={code}&auth_code={code}&state={state}",
            "auth_code={code}&code={code}&code=x&state={state}",
            "auth_code={code}&state={state}&x=1&x=2",
            "auth_code={code}&state={state}&sta%74e=x",
            "error=a&error=b&state={state}",
            "auth_code={code}&state={state}&state",
            "auth_code={code}&state={state}&=1&=2",
        ],
    )
    def test_a_doubled_parameter_is_refused(self, stage: Stage, query: str) -> None:
        """Two readers could see two different requests in one that says something twice [19]."""
        browser = stage.browser()
        state = browser.begin(stage.link())
        answer = browser.get("/?" + query.format(state=state, code=stage.code()))
        assert answer.status_code == 400
        assert stage.tiktok.calls == []
        assert stage.writes() == []

    def test_a_doubled_link_is_refused(self, stage: Stage) -> None:
        """The same holds for links, in the address and in the form [19]."""
        link = stage.link().partition("=")[2]
        assert stage.browser().get(f"/start?link={link}&link={link}").status_code == 400
        twice = [("link", link), ("link", link)]
        assert stage.browser().post("/start", data=twice).status_code == 400

    def test_an_error_wins_over_a_code(self, stage: Stage) -> None:
        """With both, nothing is exchanged, and the page says that access was declined [20]."""
        browser = stage.browser()
        state = browser.begin(stage.link())
        answer = browser.get(f"/?auth_code={stage.code()}&state={state}&error=access_denied&error_description=No")
        assert answer.status_code == 200
        assert "Access was declined" in answer.text
        assert stage.tiktok.calls == []
        assert stage.writes() == []
        assert browser.get(f"/?auth_code={stage.code()}&state={state}&error=").status_code == 200
        assert stage.tiktok.calls == []

    @pytest.mark.parametrize("query", ["state={state}", "auth_code=&state={state}", "code=&auth_code=&state={state}"])
    def test_without_a_code_nothing_is_called(self, stage: Stage, query: str) -> None:
        """A callback without a code is refused, however good its state is [21]."""
        browser = stage.browser()
        state = browser.begin(stage.link())
        assert browser.get("/?" + query.format(state=state)).status_code == 400
        assert stage.tiktok.calls == []
        assert stage.writes() == []

    @pytest.mark.parametrize(
        ("code", "kind"),
        [
            ("a" * 1025, "printable ASCII"),
            ("a\nb", "control"),
            ("a\0b", "control"),
            ("a\x7f", "control"),
            ("é", "not ASCII"),
            ("٣", "not ASCII"),
            ("a\u202eb", "not ASCII"),
        ],
    )
    @pytest.mark.parametrize("key", ["auth_code", "code"])
    def test_an_odd_code_is_refused(self, stage: Stage, key: str, code: str, kind: str) -> None:
        """A code that is too long or no printable ASCII goes nowhere; the log has its length and kind, not it [22]."""
        browser = stage.browser()
        state = browser.begin(stage.link())
        good = {"auth_code": stage.code(), "code": stage.code()}
        assert browser.get("/", params={**good, key: code, "state": state}).status_code == 400
        assert stage.tiktok.calls == []
        assert stage.writes() == []
        (entry,) = (event for event in stage.connect.events if event["event"] == "connection.refused")
        assert (entry["reason"], entry["length"], entry["characters"]) == ("code_malformed", len(code), kind)

    @pytest.mark.parametrize("code", ["a", "a" * 1024, "a-b_c.d~e*!", "MTIz/abc+==", "<a b>'\"\\{%}|;,"])
    def test_an_unusual_code_is_for_tiktok_to_judge(self, stage: Stage, code: str) -> None:
        """Codes are opaque: what could be one is sent, and TikTok's no is shown [22]."""
        browser = stage.browser()
        state = browser.begin(stage.link())
        assert browser.get("/", params={"auth_code": code, "state": state}).status_code == 502
        assert [body["auth_code"] for body in stage.tiktok.requests_of("access_token")] == [code]

    @pytest.mark.parametrize("query", ["a" * 4097, "auth_code=" + "a" * 5000, "link=" + "a" * 100_000, "&" * 5000])
    @pytest.mark.parametrize("path", ["/", "/start", "/done"])
    def test_a_long_one_is_refused(self, wire: Wire, path: str, query: str) -> None:
        """414 for more than 4 KB, before anything looks into it [24]."""
        assert wire.send("GET", f"{path}?{query}").status == 414

    def test_one_of_many_parameters_is_refused(self, wire: Wire) -> None:
        """More than a hundred parameters are none of ours [24]."""
        assert wire.send("GET", "/?" + "&".join(f"a{number}=1" for number in range(101))).status == 400

    @pytest.mark.parametrize("query", ["%ff=1", "auth_code=%ff&state=a", "state=%c0%ae", "auth_code=%ed%a0%80"])
    def test_one_that_is_no_text_is_refused(self, wire: Wire, query: str) -> None:
        """Bytes that are no UTF-8 get 400, not a replacement character [13]."""
        assert wire.send("GET", f"/?{query}").status == 400

    @pytest.mark.parametrize("name", ["next", "redirect", "redirect_uri", "return_to", "url", "continue", "RelayState"])
    def test_nobody_is_sent_elsewhere(self, stage: Stage, name: str) -> None:
        """Parameters that other services redirect to are ignored; there are two places to be sent to, ever [26]."""
        evil = {name: "https://evil.example/", name.upper(): "//evil.example"}
        browser = stage.browser()
        assert browser.get("/", params=evil).status_code == 200
        assert browser.get("/done", params=evil).status_code == 200
        link = stage.link().partition("=")[2]
        assert browser.get("/start", params={**evil, "link": link}).status_code == 200
        sent = browser.post("/start?" + urllib.parse.urlencode(evil), data={**evil, "link": link})
        assert sent.status_code == 303
        assert sent.headers["Location"].startswith(stage.tiktok.authorize_url + "?")
        asked = urllib.parse.parse_qs(urllib.parse.urlsplit(sent.headers["Location"]).query)
        assert asked.keys() == {"app_id", "state", "redirect_uri"}
        assert asked["redirect_uri"] == [stage.connect.url]
        stage.canaries.keep("a state", asked["state"][0], belongs_in=".*POST.*303")
        back = browser.get("/", params={**evil, "auth_code": stage.code(), "state": asked["state"][0]})
        assert (back.status_code, back.headers["Location"]) == (303, f"{stage.connect.url}/done")


class TestBody:
    @pytest.mark.parametrize("target", ["/", "/?auth_code=a&state=b", "/start?link=a", "/done"])
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_where_none_belongs_is_refused(self, wire: Wire, method: str, target: str) -> None:
        """A request that only asks has nothing to send along [23]."""
        expected = {400, 405} if method == "HEAD" else {400}
        assert wire.send(method, target, body=b"link=a").status in expected
        assert wire.send(method, target, "Transfer-Encoding: chunked", body=b"1\r\na\r\n0\r\n\r\n").status in expected

    def test_too_large_a_form_is_refused(self, wire: Wire) -> None:
        """413 for a form of more than 8 KB, announced or not, and the answer arrives [24]."""
        assert wire.send("POST", "/start", FORM, body=b"link=" + b"a" * 8192).status == 413
        assert wire.send("POST", "/start", FORM, body=b"link=" + b"a" * 900_000).status == 413
        chunk = b"2710\r\n" + b"a" * 10_000 + b"\r\n"
        assert wire.send("POST", "/start", FORM, "Transfer-Encoding: chunked", body=chunk + b"0\r\n\r\n").status == 413

    @pytest.mark.parametrize(
        "kind", ["multipart/form-data; boundary=x", "application/json", "text/plain", "", "application/x-www-form"]
    )
    def test_of_another_kind_is_refused(self, stage: Stage, kind: str) -> None:
        """Only what an HTML form sends is a form [23]."""
        link = stage.link().partition("=")[2]
        answer = stage.browser().post("/start", data=f"link={link}", headers={"Content-Type": kind})
        assert answer.status_code == 400

    @pytest.mark.parametrize(
        "body", [b"", b"link", b"link=", b"link=%ff", b"\xff\xfe", b"link=a\0b", b"LINK=a", b"=", b"&" * 8000]
    )
    def test_without_a_link_is_refused(self, wire: Wire, body: bytes) -> None:
        """A form that holds no link gets a page, not a defect [22]."""
        assert wire.send("POST", "/start", FORM, f"Content-Length: {len(body)}", body=body).status == 400

    @pytest.mark.parametrize("body", [b"5\r\nlink=XX", b"zz\r\n", b"-5\r\nabc\r\n0\r\n\r\n", b"ffffffffffffffff\r\na"])
    def test_that_breaks_off_is_no_defect(self, stage: Stage, wire: Wire, body: bytes) -> None:
        """A body in broken pieces, cut off by the other side, ends in a refusal and no alert [23]."""
        head = f"POST /start HTTP/1.1\r\nHost: a\r\n{FORM}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        with socket.create_connection(("127.0.0.1", stage.connect.port), 20) as connection:
            connection.sendall(head.encode() + body)
            connection.shutdown(socket.SHUT_WR)
            first = connection.recv(65536)
        assert first.startswith(b"HTTP/1.1 400 ")
        assert stage.alerts() == []
        assert wire.send("GET", "/").status == 200

    def test_of_another_site_is_refused(self, stage: Stage) -> None:
        """A form on somebody else's page cannot begin a flow in a visitor's browser [26]."""
        link = stage.link().partition("=")[2]
        for site in ("cross-site", "same-site", "nonsense"):
            answer = stage.browser().post("/start", data={"link": link}, headers={"Sec-Fetch-Site": site})
            assert (answer.status_code, "Set-Cookie" in answer.headers) == (400, False)
        for site in ("same-origin", "none"):
            answer = stage.browser().post("/start", data={"link": link}, headers={"Sec-Fetch-Site": site})
            assert answer.status_code == 303
            stage.canaries.keep(
                "a state", re.sub(r".*state=([^&]*).*", r"\1", answer.headers["Location"]), belongs_in=".*"
            )


FORGED = (
    "X-Forwarded-Host: evil.example",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Port: 1234",
    "X-Forwarded-Prefix: /evil",
    "X-Forwarded-For: 6.6.6.6",
    "X-Forwarded-Server: evil.example",
    "X-Original-URL: /done",
    "X-Rewrite-URL: /done",
    "X-Real-IP: 6.6.6.6",
    "X-Host: evil.example",
    "Forwarded: host=evil.example;proto=https",
    "Origin: https://evil.example",
    "Referer: https://evil.example/",
)


class TestForgedHeaders:
    def test_change_no_address(self, stage: Stage, wire: Wire) -> None:
        """Every address that is produced comes from `PUBLIC_URL`, whatever the request says of its host [25]."""
        text = stage.link().partition("=")[2]
        page = wire.send("GET", f"/start?link={text}", *FORGED, host="evil.example")
        assert page.status == 200
        assert f'action="{stage.connect.url}/start"' in page.body
        sent = wire.send("POST", "/start", FORM, *FORGED, body=f"link={text}".encode(), host="evil.example")
        asked = urllib.parse.parse_qs(urllib.parse.urlsplit(sent.headers["Location"]).query)
        assert asked["redirect_uri"] == [stage.connect.url]
        cookie = sent.headers["Set-Cookie"].partition(";")[0]
        back = wire.send(
            "GET",
            f"/?auth_code={stage.code()}&state={asked['state'][0]}",
            f"Cookie: {cookie}",
            *FORGED,
            host="evil.example",
        )
        assert (back.status, back.headers["Location"]) == (303, f"{stage.connect.url}/done")
        for answer in (page, sent, back):
            everything = answer.body + "".join(f"{name}{value}" for name, value in answer.headers.items())
            assert "evil.example" not in everything
            assert "Domain=" not in answer.headers.get("Set-Cookie", "")
            assert "Strict-Transport-Security" not in answer.headers

    def test_of_a_trace_reach_the_log_only_in_their_form(self, stage: Stage, wire: Wire) -> None:
        """A trace header is used if it is one; anything else in it is dropped [38]."""
        good = "0af7651916cd43dd8448eb211c80319c"
        wire.send("GET", "/none", f"traceparent: 00-{good}-b7ad6b7169203331-01")
        assert stage.connect.wait_for_event("connection.refused")["logging.googleapis.com/trace"].endswith(good)
        stage.connect.forget()
        wire.send("GET", "/none", "traceparent: 00-evil-x-01", 'X-Cloud-Trace-Context: "},{"evil": 1')
        assert "evil" not in str(stage.connect.wait_for_event("connection.refused"))


class TestOutage:
    def test_of_the_store_at_the_start_is_said(self, stage: Stage) -> None:
        """Without Secret Manager a link is neither refused nor accepted: 503, again later."""
        stage.secrets.add_fault(Fault(status=403, body={"error": {"status": "PERMISSION_DENIED"}}, times=None))
        assert stage.browser().get(stage.link()).status_code == 503
