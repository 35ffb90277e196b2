"""The base of the emulators: what it serves and refuses. The faults that tests add are proved by the tests that do."""

import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from emulators.serving import Answer, Fault, LocalServer, Request
from local.serving import CannotStart


class Counter(LocalServer):
    """Counts the requests that took effect; the path's last word is the call's name."""

    effects = 0

    def identify(self, request: Request) -> tuple[str, str]:
        return request.path.rpartition("/")[2], request.path

    def perform(self, request: Request) -> Answer:
        if request.path == "/broken":
            raise RuntimeError("a mistake")
        self.effects += 1
        return Answer(body={"effects": self.effects, "body": request.body.decode()})


@pytest.fixture
def server() -> Iterator[Counter]:
    with Counter() as running:
        yield running


Get = Callable[..., requests.Response]


@pytest.fixture
def get(server: Counter) -> Iterator[Get]:
    with requests.Session() as session:
        yield lambda path, **more: session.get(server.url + path, timeout=20, **more)


class TestServing:
    def test_one_kept_connection(self, server: Counter) -> None:
        """Many requests go over one connection, HEAD among them, which brings no body."""
        connection = http.client.HTTPConnection(server.address)
        for number in range(1, 3):
            connection.request("POST", "/a", body=b"x")
            assert json.loads(connection.getresponse().read()) == {"effects": number, "body": "x"}
        connection.request("HEAD", "/a")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"")
        connection.request("GET", "/a")
        assert connection.getresponse().read()
        connection.close()

    def test_a_request_that_is_cut_off_has_not_arrived(self, server: Counter) -> None:
        """Its caller died while it sent it: nothing is carried out, and nobody gets an answer."""
        host, _, port = server.address.partition(":")
        with socket.create_connection((host, int(port)), 20) as caller:
            caller.sendall(b"POST /write HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
            caller.shutdown(socket.SHUT_WR)
            assert caller.recv(100) == b""
        assert (server.effects, server.calls) == (0, [])

    def test_a_mistake_of_the_emulator(self, get: Get, capfd: pytest.CaptureFixture[str]) -> None:
        """An emulator that raises answers 500 with the kind of error and prints where it was."""
        answer = get("/broken")
        assert (answer.status_code, answer.text) == (500, "The emulator failed: RuntimeError\n")
        assert "a mistake" in capfd.readouterr().err

    def test_stop(self) -> None:
        """Stopping ends open connections, held calls and delays, may be repeated, and leaves the port free again."""
        server = Counter().start()
        address = server.address
        for fault in (Fault(call="held", do="hold", hold="h"), Fault(call="late", do="delay", seconds=3600)):
            server.add_fault(fault)
        with ThreadPoolExecutor() as pool:
            calls = [pool.submit(requests.get, server.url + path, timeout=20) for path in ("/held", "/late")]
            server.wait_held("h")
            while server.connections < 2:  # the other one may be on its way still
                assert not calls[1].done()
                time.sleep(0.01)
            server.stop()
            for call in calls:
                call.exception()
        server.stop()
        with server:
            assert server.address == address
            assert requests.get(server.url + "/a", timeout=20).status_code == 200

    def test_log(self) -> None:
        """A log line holds method, path and status, never the query, and no line break of the caller's."""
        lines: list[str] = []
        with Counter(log=lines.append) as server:
            requests.get(server.url + "/a%0Ab?secret=s", timeout=20)
        assert lines == ["GET /a\\nb 200"]


class TestRefusals:
    def test_cloud_and_other_addresses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An emulator starts neither on an address that others could reach, nor where a cloud function runs."""
        with pytest.raises(CannotStart, match="loopback"):
            Counter("0.0.0.0").start()
        monkeypatch.setenv("K_SERVICE", "connect")
        with pytest.raises(CannotStart, match="K_SERVICE"):
            Counter().start()

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({"Host": "evil.example"}, 421),
            ({"Host": "8090-shell.example", "Origin": "https://8090-shell.example"}, 200),
            ({"Origin": "https://evil.example"}, 403),
            ({"Origin": "null"}, 200),
            ({"Sec-Fetch-Site": "cross-site"}, 403),
            ({"Transfer-Encoding": "chunked"}, 411),
            ({"Content-Length": "99999999999"}, 413),
        ],
    )
    def test_other_sites_pages(self, headers: dict[str, str], status: int) -> None:
        """Requests that a foreign page or a rebound name could make, and unreadable ones, take no effect."""
        with Counter(names=["8090-shell.example"]) as server:
            connection = http.client.HTTPConnection(server.address)
            connection.putrequest("POST", "/a", skip_host="Host" in headers)
            for name, value in {"Content-Length": "0", **headers}.items():
                connection.putheader(name, value)
            connection.endheaders()
            assert connection.getresponse().status == status
            assert server.effects == (status == 200)
            connection.close()
