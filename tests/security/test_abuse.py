"""Abuse: what somebody can do who has a program and time. [n]: line n of `tests/README.md`."""

import hashlib
import re
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from http.client import HTTPConnection, HTTPException
from itertools import chain
from pathlib import Path

import pytest
from itsdangerous import URLSafeSerializer

from emulators.serving import Fault
from emulators.tiktok import Options
from security.raw import Wire
from stage import LINK_KEY, Function, Stage
from tokenkeeper import clock

TROUBLE = {
    "dropped before": Fault(do="drop"),
    "dropped after": Fault(do="drop", when="after"),
    "HTTP 500 after": Fault(status=500, when="after"),
    "HTTP 429": Fault(status=429),
    "HTML": Fault(status=200, body=b"<html>", content_type="text/html"),
    "cut in two": Fault(do="truncate", when="after"),
    "a redirect": Fault(status=307, body=b"", headers={"Location": "/open_api/v1.3/oauth2/access_token/"}),
    "system error": Fault(status=200, body={"code": 50000, "message": "x", "data": {}}),
    "throttled": Fault(status=200, body={"code": 40100, "message": "x", "data": {}}),
    "code used": Fault(status=200, body={"code": 40110, "message": "x", "data": {}}),
    "success without a token": Fault(status=200, body={"code": 0, "message": "OK", "data": {}}),
}
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
FLOOD: tuple[tuple[str, str, bytes | None, dict[str, str]], ...] = (
    ("GET", "/?auth_code=a&state=" + "A" * 500, None, {}),
    ("GET", "/?auth_code=a&state=WyJhIl0.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", None, {}),
    ("GET", "/?" + "a" * 60_000, None, {}),
    ("GET", "/start?link=" + "A" * 900, None, {}),
    ("GET", "/" + "x" * 3000, None, {}),
    ("POST", "/start", b"link=" + b"A" * 3000, _FORM),
)


class TestOneCallback:
    def test_makes_at_most_one_exchange(self, stage: Stage) -> None:
        """Whatever TikTok answers, a code that may have arrived is not sent again, and nor is a good one [46]."""
        browser, state, _ = stage.begun()
        became = {}
        for name, trouble in TROUBLE.items():
            stage.tiktok.forget_calls()
            stage.tiktok.add_fault(trouble)
            status = browser.come_back(stage.code(), state).status_code
            became[name] = status, [call.name for call in stage.tiktok.calls]
        assert became == dict.fromkeys(TROUBLE, (502, ["access_token"]))
        assert stage.secrets.payloads("tiktok-ads-token-acme") == []
        stage.tiktok.forget_calls()
        assert browser.come_back(stage.code(), state).status_code == 303
        assert [call.name for call in stage.tiktok.calls] == ["access_token", "advertiser_get"]

    def test_twice_at_the_same_time_stores_one(self, stage: Stage) -> None:
        """Of two callbacks of one link at once, one stores and the other is told that the link was used [46]."""
        link = stage.link()
        browsers = [stage.browser(), stage.browser()]
        states = [browser.begin(link) for browser in browsers]
        stage.tiktok.add_fault(Fault(call="access_token", do="hold", hold="first"))
        with ThreadPoolExecutor() as pool:
            first = pool.submit(browsers[0].come_back, stage.code(), states[0])
            stage.tiktok.wait_held("first", 60)
            second = pool.submit(browsers[1].come_back, stage.code(), states[1])
            stage.tiktok.release("first")
        assert (first.result().status_code, second.result().status_code) == (303, 409)
        assert stage.tiktok.count("access_token") == 1
        assert len(stage.secrets.payloads("tiktok-ads-token-acme")) == 1


class TestStore:
    def test_is_not_written_without_a_valid_state(self, stage: Stage, wire: Wire) -> None:
        """Without one, Secret Manager is not even read, by any method [47]."""
        queries = ["", "auth_code=a", "auth_code=a&state=", "auth_code=a&state=your_custom_params"]
        queries += ["state=a&auth_code=a", "error=a", "error=a&state=a&auth_code=a"]
        targets = [f"/?{query}" for query in queries]
        for target in (*targets, "/start?link=a", "/done", "/nothing"):
            for method in ("GET", "HEAD", "POST", "PUT", "DELETE"):
                wire.send(method, target)
                assert (target, method, stage.secrets.calls, stage.tiktok.calls) == (target, method, [], [])

    def test_gets_names_of_the_pattern_only(self, stage: Stage) -> None:
        """Even a link that our own key signed names nothing but a connection [48]."""
        now = clock.milliseconds(clock.now())
        how = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
        signer = URLSafeSerializer(LINK_KEY, salt="tokenkeeper.link", signer_kwargs=how)

        def status(name: object) -> int:
            link = signer.dumps([name, "id", now, now + 300_000, 0])
            return stage.browser().get("/start", params={"link": link}).status_code

        odd = ["../x", "a/versions/1", "Acme", "-a", "a-", "a_b", "a.b", "acmé"]
        names = [*odd, "", "a b", "acme\n", "a" * 64, 7, None]
        assert {name: status(name) for name in names} == dict.fromkeys(names, 400)
        assert stage.secrets.calls == []
        assert status("acme") == 200

    def test_is_only_touched_under_the_connections_name(self, stage: Stage) -> None:
        """A whole flow calls nothing but the project's list of secrets and its own connection's two [48]."""
        stage.tiktok.options = Options(kind="expiring")
        stage.connected("acme-eu")
        for call in stage.secrets.calls:
            assert re.fullmatch(
                r"projects/test-project(/secrets/tiktok-ads-(token|refresh)-acme-eu(/versions/\w+)?)?", call.resource
            ), call


class TestOtherAdvertisers:
    def test_do_not_replace_a_connection_silently(self, stage: Stage) -> None:
        """A re-connection to entirely different ad accounts is refused, unless the signed link allows it [49]."""
        stage.connected("acme", advertisers=["7000000000000000001"])
        before = stage.secrets.payloads("tiktok-ads-token-acme")
        assert stage.approve("acme", advertisers=["7000000000000000003"]).status_code == 403
        assert stage.secrets.payloads("tiktok-ads-token-acme") == before
        assert stage.annotations()["advertisers"] == "7000000000000000001"
        assert stage.alerts() == ["connection.refused"]
        assert stage.approve("acme", advertisers=["7000000000000000003"], any_account=True).status_code == 303
        assert stage.token()["advertiser_ids"] == ["7000000000000000003"]

    def test_come_by_the_portals_link_only_if_listed(self, stage: Stage, rotated: Function) -> None:
        """The portal's own link, which anybody may build, plants nobody's account but the listed ones [49]."""
        one, two, three = (f"700000000000000000{number}" for number in (1, 2, 3))
        browser = stage.browser(rotated)

        def status(*ids: str, state: str = "&state=your_custom_params") -> int:
            return browser.get(f"/?code={stage.code(advertisers=ids)}{state}").status_code

        assert (status(three), status(one, three)) == (403, 403)
        for nearly in ("your_custom_param", "your_custom_params2", "YOUR_CUSTOM_PARAMS"):
            assert status(one, state=f"&state={nearly}") == 400
        assert stage.secrets.payloads("tiktok-ads-token-main") == []
        assert (status(one, state=""), status(two), status(two, one)) == (303, 403, 303)  # nor another in its place
        assert stage.token("main")["advertiser_ids"] == [two, one]
        assert "last-link" not in stage.annotations("main")


def resident(function: Function) -> int:
    """Kilobytes that the server and its workers hold in memory."""
    pages = 0
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            group = file.read_text().rpartition(")")[2].split()[2]
            if group == str(function.process.pid):
                pages += int((file.parent / "statm").read_text().split()[1])
    return pages * 4


def flood(function: Function, connections: int, requests: int) -> Counter[int]:
    """So many requests on each of so many connections, at full speed; how often each status came back."""
    end = time.monotonic() + 300

    def attack(number: int) -> list[int]:
        connection = HTTPConnection("127.0.0.1", function.port, timeout=60)
        statuses: list[int] = []
        while len(statuses) < requests and time.monotonic() < end:
            try:
                connection.request(*FLOOD[(number + len(statuses)) % len(FLOOD)])
                answer = connection.getresponse()
                answer.read()
                statuses.append(answer.status)
            except (OSError, HTTPException):
                connection.close()  # by the server, between two requests; the next one goes over a new one
        connection.close()
        return statuses

    with ThreadPoolExecutor(connections) as pool:
        return Counter(chain.from_iterable(pool.map(attack, range(connections))))


class TestFlood:
    @pytest.mark.parametrize(
        ("connections", "requests"), [(16, 40), pytest.param(64, 60, marks=pytest.mark.slow)], ids=["short", "long"]
    )
    def test_leaves_a_good_callback_working(self, stage: Stage, connections: int, requests: int) -> None:
        """Bad states and long queries at full speed cost neither memory nor the next good callback [51]."""
        function = stage.start("connect")
        browser = stage.browser(function)
        assert browser.come_back(stage.code(), browser.begin(stage.link("before"))).status_code == 303
        state = browser.begin(stage.link("after"))
        stage.secrets.forget_calls()
        stage.tiktok.forget_calls()
        flood(function, connections, requests // 2)  # brings threads and buffers to their usual size
        before = resident(function)
        statuses = flood(function, connections, requests)
        after = resident(function)
        assert ({*statuses}, statuses.total()) == ({400, 404, 414}, connections * requests)
        assert (stage.secrets.calls, stage.tiktok.calls) == ([], [])
        assert browser.come_back(stage.code(), state).status_code == 303
        assert after < before * 1.05, (before, after, statuses)
        assert "defect" not in stage.events()

    @pytest.mark.slow
    def test_of_bodies_that_never_end_is_over_soon(self, stage: Stage) -> None:
        """Forms that are begun and never finished hold no thread for longer than a body may take [51]."""
        function = stage.start("connect", THREADS="4")
        head = (
            b"POST /start HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            b"Content-Length: 5000\r\n\r\nlink="
        )
        with ExitStack() as stack, ThreadPoolExecutor() as pool:
            address = ("127.0.0.1", function.port)
            stalled = [stack.enter_context(socket.create_connection(address, 60)) for _ in range(4)]
            for connection in stalled:
                connection.sendall(head)
            page = pool.submit(stage.browser(function).get, "/")
            while not wait([page], 0.5).done:
                for connection in stalled:
                    with suppress(OSError):
                        connection.sendall(b"a")
            assert page.result().status_code == 200
            for connection in stalled:
                assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
        assert "defect" not in stage.events()
