"""Abuse: what somebody can do who has a program and time. [n]: line n of `tests/README.md`."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
import time
from pathlib import Path

import pytest
from itsdangerous import URLSafeSerializer

from emulators.serving import Fault
from emulators.tiktok import Options
from security.raw import Wire, parsed
from stage import LINK_KEY, Function, Stage
from tokenkeeper import clock
from tokenkeeper.connect.links import Signer
from tokenkeeper.secret import Secret

TROUBLE = {
    "dropped before": Fault(do="drop"),
    "dropped after": Fault(do="drop", when="after"),
    "HTTP 500": Fault(status=500),
    "HTTP 500 after": Fault(status=500, when="after"),
    "HTTP 429": Fault(status=429),
    "HTML": Fault(status=200, body=b"<html>", content_type="text/html"),
    "cut in two": Fault(do="truncate", when="after"),
    "nothing": Fault(status=200, body=b""),
    "a redirect": Fault(status=307, body=b"", headers={"Location": "/open_api/v1.3/oauth2/access_token/"}),
    "system error": Fault(status=200, body={"code": 50000, "message": "x", "data": {}}),
    "throttled": Fault(status=200, body={"code": 40100, "message": "x", "data": {}}),
    "code used": Fault(status=200, body={"code": 40110, "message": "x", "data": {}}),
    "success without a token": Fault(status=200, body={"code": 0, "message": "OK", "data": {}}),
    "success with a number": Fault(status=200, body={"code": 0, "message": "OK", "data": {"access_token": 5}}),
}


class TestOneCallback:
    @pytest.mark.parametrize("trouble", TROUBLE.values(), ids=TROUBLE)
    def test_makes_at_most_one_exchange(self, stage: Stage, trouble: Fault) -> None:
        """Whatever TikTok answers, a code that may have arrived is not sent again [46]."""
        browser = stage.browser()
        state = browser.begin(stage.link())
        stage.tiktok.add_fault(trouble)
        answer = browser.come_back(stage.code(), state)
        assert answer.status_code == 502
        assert stage.tiktok.count("access_token") == 1
        assert stage.secrets.payloads("tiktok-ads-token-acme") == []

    def test_makes_one_when_all_goes_well(self, stage: Stage) -> None:
        """A good callback exchanges once and asks for names once [46]."""
        stage.connected()
        assert [call.name for call in stage.tiktok.calls] == ["access_token", "advertiser_get"]

    def test_twice_at_the_same_time_stores_one(self, stage: Stage) -> None:
        """Of two callbacks of one link at once, one stores and the other is told that the link was used [46]."""
        link = stage.link()
        browsers = [stage.browser(), stage.browser()]
        states = [browser.begin(link) for browser in browsers]
        stage.tiktok.add_fault(Fault(call="access_token", do="hold", hold="first"))
        statuses: list[int] = []
        codes = [stage.code(), stage.code()]

        def come_back(number: int) -> None:
            statuses.append(browsers[number].come_back(codes[number], states[number]).status_code)

        threads = [threading.Thread(target=come_back, args=(number,)) for number in (0, 1)]
        threads[0].start()
        stage.tiktok.wait_held("first")
        threads[1].start()
        stage.tiktok.release("first")
        for thread in threads:
            thread.join(30)
        assert sorted(statuses) == [303, 409]
        assert stage.tiktok.count("access_token") == 1
        assert len(stage.secrets.payloads("tiktok-ads-token-acme")) == 1


class TestStore:
    @pytest.mark.parametrize(
        "target",
        [
            "/",
            "/?auth_code=a",
            "/?auth_code=a&state=",
            "/?auth_code=a&state=your_custom_params",
            "/?auth_code=a&state=a",
            "/?error=a",
            "/?error=a&state=a&auth_code=a",
            "/start?link=a",
            "/done",
            "/nothing",
        ],
    )
    def test_is_not_written_without_a_valid_state(self, stage: Stage, wire: Wire, target: str) -> None:
        """Without one, Secret Manager is not even read, by any method [47]."""
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE"):
            wire.send(method, target)
        assert stage.secrets.calls == []
        assert stage.tiktok.calls == []

    @pytest.mark.parametrize(
        "name",
        [
            "../x",
            "a/b",
            "a/versions/1",
            "Acme",
            "a" * 64,
            "-a",
            "a-",
            "",
            "a b",
            "acme\n",
            "acmé",
            "a_b",
            "a.b",
            "*",
            7,
            None,
        ],
    )
    def test_gets_names_of_the_pattern_only(self, stage: Stage, name: object) -> None:
        """Even a link that our own key signed names nothing but a connection [48]."""
        now = clock.milliseconds(clock.now())
        signer = URLSafeSerializer(
            LINK_KEY,
            salt="tokenkeeper.link",
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )
        good = str(signer.dumps(["acme", "id", now, now + 300_000, 0]))
        assert Signer([Secret(LINK_KEY)]).read_link(good).connection == "acme"
        text = signer.dumps([name, "id", now, now + 300_000, 0])
        assert stage.browser().get("/start", params={"link": text}).status_code == 400
        assert stage.secrets.calls == []

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
        """A re-connection to entirely different ad accounts is refused; what is stored stays, byte for byte [49]."""
        stage.connected("acme", advertisers=["7000000000000000001"])
        before = stage.secrets.payloads("tiktok-ads-token-acme")
        assert stage.approve("acme", advertisers=["7000000000000000003"]).status_code == 403
        assert stage.secrets.payloads("tiktok-ads-token-acme") == before
        assert stage.annotations()["advertisers"] == "7000000000000000001"
        stage.connect.wait_for_event("connection.refused")
        assert stage.alerts() == ["connection.refused"]

    def test_replace_it_when_the_link_says_so(self, stage: Stage) -> None:
        """The operator can allow it, in the link that is signed [49]."""
        stage.connected("acme", advertisers=["7000000000000000001"])
        assert stage.approve("acme", advertisers=["7000000000000000003"], any_account=True).status_code == 303
        assert stage.token()["advertiser_ids"] == ["7000000000000000003"]

    def test_come_by_the_portals_link_only_if_listed(self, stage: Stage) -> None:
        """The portal's own link, which anybody may build, plants nobody's account but the listed ones [49]."""
        function = stage.start("connect", PORTAL_CONNECTION="main", PORTAL_ADVERTISER_IDS="7000000000000000001")
        browser = stage.browser(function)
        for listed in (["7000000000000000003"], ["7000000000000000001", "7000000000000000003"]):
            code = stage.code(advertisers=listed)
            assert browser.get(f"/?auth_code={code}&state=your_custom_params").status_code == 403
            assert stage.secrets.payloads("tiktok-ads-token-main") == []
        assert browser.get(f"/?auth_code={stage.code(advertisers=['7000000000000000001'])}").status_code == 303
        assert browser.get(f"/?auth_code={stage.code()}&state=your_custom_param").status_code == 400


def resident(function: Function) -> int:
    """Kilobytes that the server and its workers hold in memory."""
    group = str(function.process.pid)
    pages = 0
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if fields[2] == group:
                pages += int((folder / "statm").read_text().split()[1])
        except OSError:
            continue
    return pages * 4


def flood(function: Function, seconds: float, connections: int) -> dict[int, int]:
    """Bad states, long queries, forged links and stray forms at full speed; how often each status came back."""
    form = b"link=" + b"A" * 3000
    requests = [
        b"GET /?auth_code=a&state=" + b"A" * 500 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /?auth_code=a&state=WyJhIl0.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /?" + b"a" * 60_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /start?link=" + b"A" * 900 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /" + b"x" * 3000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /start HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        b"Content-Length: %d\r\n\r\n" % len(form) + form,
    ]
    end = time.monotonic() + seconds
    statuses: dict[int, int] = {}
    lock = threading.Lock()

    def attack(number: int) -> None:
        while time.monotonic() < end:
            try:
                with socket.create_connection(("127.0.0.1", function.port), 30) as connection:
                    while time.monotonic() < end:
                        number += 1
                        connection.sendall(requests[number % len(requests)])
                        status = _status(connection)
                        with lock:
                            statuses[status] = statuses.get(status, 0) + 1
            except OSError:
                continue  # closed between two requests, as servers may

    threads = [threading.Thread(target=attack, args=(number,)) for number in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + 60)
    return statuses


def _status(connection: socket.socket) -> int:
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = connection.recv(65536)
        if not chunk:
            raise ConnectionResetError
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    left = int(parsed(head).headers["Content-Length"]) - len(body)
    while left > 0:
        left -= len(connection.recv(65536)) or left
    return parsed(head).status


class TestFlood:
    @pytest.mark.parametrize(
        ("seconds", "connections"), [(2, 16), pytest.param(15, 64, marks=pytest.mark.slow)], ids=["short", "long"]
    )
    def test_leaves_a_good_callback_working(self, stage: Stage, seconds: float, connections: int) -> None:
        """Bad states and long queries at full speed cost neither memory nor the next good callback [51]."""
        function = stage.start("connect")
        browser = stage.browser(function)
        assert browser.come_back(stage.code(), browser.begin(stage.link("before"))).status_code == 303
        state = browser.begin(stage.link("after"))
        stage.secrets.forget_calls()
        stage.tiktok.forget_calls()
        flood(function, 0.5, connections)  # brings threads and buffers to their usual size
        before = resident(function)
        statuses = flood(function, seconds, connections)
        after = resident(function)
        assert statuses.keys() == {400, 404, 414}
        assert (stage.secrets.calls, stage.tiktok.calls) == ([], [])
        assert browser.come_back(stage.code(), state).status_code == 303
        assert after < before * 1.15, (before, after, statuses)
        assert "defect" not in stage.events()

    @pytest.mark.slow
    def test_of_bodies_that_never_end_is_over_soon(self, stage: Stage) -> None:
        """Forms that are begun and never finished hold no thread for longer than a body may take [51]."""
        function = stage.start("connect", THREADS="4")
        head = (
            b"POST /start HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            b"Content-Length: 5000\r\n\r\nlink="
        )
        stalled = [socket.create_connection(("127.0.0.1", function.port), 60) for _ in range(4)]
        for connection in stalled:
            connection.sendall(head)
        drip = threading.Event()

        def feed() -> None:
            while not drip.wait(0.5):
                for connection in stalled:
                    try:
                        connection.sendall(b"a")
                    except OSError:
                        continue

        feeder = threading.Thread(target=feed)
        feeder.start()
        try:
            assert stage.browser(function).get("/").status_code == 200
            for connection in stalled:
                assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
        finally:
            drip.set()
            feeder.join()
            for connection in stalled:
                connection.close()
        assert "defect" not in stage.events()
