"""The base of the stand-ins: recording, faults, holds, the clock, and what it refuses."""

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from local.serving import Answer, Call, CannotStart, Fault, LocalServer, Request


class Counter(LocalServer):
    """Counts the requests that took effect; the path's last word is the call's name."""

    effects = 0

    def __init__(self, *words: Any, **more: Any) -> None:
        super().__init__(*words, **more)
        self.standstill = threading.Lock()  # while a test holds it, no request takes effect

    def identify(self, request: Request) -> tuple[str, str]:
        return request.path.rpartition("/")[2], request.path

    def answer(self, request: Request, call: Call) -> Answer:
        if call.name == "broken":
            raise RuntimeError("a mistake")
        with self.standstill:
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
    def test_answers_over_one_kept_connection(self, server: Counter) -> None:
        """Many requests go over one connection."""
        connection = http.client.HTTPConnection(server.address)
        for number in range(1, 4):
            connection.request("POST", "/a", body=b"x")
            assert json.loads(connection.getresponse().read()) == {"effects": number, "body": "x"}
        connection.close()

    def test_threads_do_not_wait_for_each_other(self, server: Counter, get: Get) -> None:
        """A held call holds nobody else up."""
        server.add_fault(Fault(call="slow", do="hold", hold="h"))
        with ThreadPoolExecutor() as pool:
            slow = pool.submit(requests.get, server.url + "/slow", timeout=20)
            server.wait_held("h")
            assert get("/fast").status_code == 200
            assert not slow.done()
            server.release("h")
            assert slow.result().status_code == 200

    def test_head_has_no_body(self, server: Counter) -> None:
        """HEAD is answered with the length and no body, and the connection stays usable."""
        connection = http.client.HTTPConnection(server.address)
        connection.request("HEAD", "/a")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"")
        connection.request("GET", "/a")
        assert connection.getresponse().read()
        connection.close()

    def test_a_mistake_of_the_stand_in_is_seen(self, get: Get, capfd: pytest.CaptureFixture[str]) -> None:
        """A stand-in that raises answers 500 with the kind of error and prints where it was."""
        answer = get("/broken")
        assert (answer.status_code, answer.text) == (500, "The stand-in failed: RuntimeError\n")
        assert "a mistake" in capfd.readouterr().err

    def test_stops_with_connections_open(self) -> None:
        """Stopping ends open connections and held calls, and may be repeated."""
        server = Counter().start()
        server.add_fault(Fault(call="held", do="hold", hold="h"))
        idle = socket.create_connection(("127.0.0.1", int(server.address.rpartition(":")[2])))
        with ThreadPoolExecutor() as pool:
            held = pool.submit(requests.get, server.url + "/held", timeout=20)
            server.wait_held("h")
            server.stop()
            held.exception()
        assert idle.recv(1) == b""
        idle.close()
        server.stop()

    def test_starts_again_on_its_port(self) -> None:
        """A stopped server starts again at the same address."""
        server = Counter().start()
        address = server.address
        server.stop()
        with server:
            assert server.address == address
            assert requests.get(server.url + "/a", timeout=20).status_code == 200

    def test_serves_ipv6_loopback(self) -> None:
        """``::1`` is a loopback address like any other."""
        if not socket.has_ipv6:
            pytest.skip("this machine has no IPv6")
        try:
            server = Counter("::1").start()
        except CannotStart:
            pytest.skip("this machine has no IPv6 loopback")
        with server:
            assert server.address.startswith("[::1]:")
            assert requests.get(server.url + "/a", timeout=20).status_code == 200


class TestRefusals:
    @pytest.mark.parametrize("variable", ["K_SERVICE", "FUNCTION_TARGET"])
    def test_does_not_start_in_the_cloud(self, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where a cloud function runs, a stand-in does not start."""
        monkeypatch.setenv(variable, "connect")
        with pytest.raises(CannotStart, match=variable):
            Counter().start()

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
    def test_binds_loopback_only(self, host: str) -> None:
        """No address that other machines could reach is bound, unless the stand-in is for that."""
        with pytest.raises(CannotStart, match="loopback"):
            Counter(host).start()

    def test_other_names(self) -> None:
        """A server answers to the names that it was told beside those of this machine."""
        with Counter(names=["8090-shell.example"]) as named:
            for name, status in (("8090-shell.example", 200), ("other.example", 421)):
                headers = {"Host": name, "Origin": f"https://{name}"}
                assert requests.post(named.url + "/a", headers=headers, timeout=20).status_code == status

    def test_a_taken_port_is_one_sentence(self, server: Counter) -> None:
        """A port that is taken is named in a sentence that says what to do."""
        port = int(server.address.rpartition(":")[2])
        with pytest.raises(CannotStart, match=rf"^Port {port} on 127.0.0.1 cannot be used \(.*\): stop what uses it"):
            Counter(port=port).start()

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({"Host": "evil.example"}, 421),
            ({"Host": "localhost"}, 200),
            ({"Origin": "https://evil.example"}, 403),
            ({"Origin": "http://localhost:8080"}, 200),
            ({"Origin": "null"}, 200),
            ({"Sec-Fetch-Site": "cross-site"}, 403),
            ({"Sec-Fetch-Site": "same-site"}, 200),
            ({"Transfer-Encoding": "chunked"}, 411),
            ({"Content-Length": "many"}, 411),
            ({"Content-Length": "99999999999"}, 413),
        ],
    )
    def test_other_sites_pages_cannot_reach_it(self, server: Counter, headers: dict[str, str], status: int) -> None:
        """Requests that a foreign page or a rebound name could make, and unreadable ones, take no effect."""
        connection = http.client.HTTPConnection(server.address)
        connection.putrequest("POST", "/a", skip_host="Host" in headers)
        for name, value in {"Content-Length": "0", **headers}.items():
            connection.putheader(name, value)
        connection.endheaders()
        assert connection.getresponse().status == status
        assert server.effects == (status == 200)
        connection.close()


class TestCalls:
    def test_are_recorded_in_order(self, server: Counter, get: Get) -> None:
        """A call is recorded with number, name, resource and status by the time it is answered."""
        get("/x/one")
        get("/x/two")
        first, second = server.calls
        assert (first.number, first.name, first.resource, first.status) == (1, "one", "/x/one", 200)
        assert (second.number, second.name) == (2, "two")
        assert first.at <= second.at

    def test_are_counted_by_pattern(self, server: Counter, get: Get) -> None:
        """Counting takes a shell pattern for the name and an expression for the resource."""
        for path in ("/a/one", "/a/two", "/b/one"):
            get(path)
        assert (server.count("one"), server.count("*"), server.count("*", "^/a/"), server.count("o*", "/b/")) == (
            2,
            3,
            2,
            1,
        )

    def test_can_be_forgotten(self, server: Counter, get: Get) -> None:
        """Forgetting empties the record; numbers go on."""
        get("/a")
        server.forget_calls()
        get("/a")
        assert [call.number for call in server.calls] == [2]

    def test_are_logged_on_one_line_without_the_query(self) -> None:
        """A log line holds method, path and status, never the query, and no line break of the caller's."""
        lines: list[str] = []
        with Counter(log=lines.append) as server:
            requests.get(server.url + "/a%0Ab?secret=s", timeout=20)
        assert lines == ["GET /a\\nb 200"]


class TestFaults:
    def test_answer_before_keeps_the_call_from_taking_effect(self, server: Counter, get: Get) -> None:
        """By default a fault answers 503 once, and nothing happened."""
        server.add_fault(Fault())
        assert get("/a").status_code == 503
        assert server.effects == 0
        assert get("/a").json()["effects"] == 1

    def test_answer_after_takes_effect_first(self, server: Counter, get: Get) -> None:
        """An answer after the commit hides that the call took effect."""
        server.add_fault(Fault(when="after", status=500, body={"no": 1}, headers={"Retry-After": "3"}))
        answer = get("/a")
        assert (answer.status_code, answer.json(), answer.headers["Retry-After"]) == (500, {"no": 1}, "3")
        assert server.effects == 1

    @pytest.mark.parametrize(("when", "effects"), [("before", 0), ("after", 1)])
    def test_drop_sends_nothing(self, server: Counter, get: Get, when: Any, effects: int) -> None:
        """A dropped answer is a connection that ends without a byte, before or after the commit."""
        server.add_fault(Fault(do="drop", when=when))
        with pytest.raises(requests.ConnectionError):
            get("/a")
        assert server.effects == effects
        assert server.calls[0].status == 0
        assert get("/a").status_code == 200

    def test_truncate_sends_half(self, server: Counter, get: Get) -> None:
        """A truncated answer announces more than it sends."""
        server.add_fault(Fault(do="truncate", when="after"))
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            get("/a")
        assert server.effects == 1

    def test_drip_sends_all_of_it_slowly(self, server: Counter, get: Get) -> None:
        """A dripped answer arrives whole, in the time that was asked for."""
        server.add_fault(Fault(do="drip", status=200, body=b"0123456789", seconds=0.05))
        answer = get("/a")
        assert (answer.status_code, answer.content) == (200, b"0123456789")
        assert server.effects == 0

    def test_delay_lets_the_call_go_on(self, server: Counter, get: Get) -> None:
        """A delayed call takes effect and is answered after all."""
        server.add_fault(Fault(do="delay", seconds=0.05))
        assert get("/a").json()["effects"] == 1

    def test_delay_ends_when_the_server_stops(self, server: Counter) -> None:
        """Stopping does not wait for a delay to pass."""
        server.add_fault(Fault(do="delay", seconds=3600))
        server.add_fault(Fault(do="hold", hold="after the delay"))
        with ThreadPoolExecutor() as pool:
            pool.submit(requests.get, server.url + "/a", timeout=0.05).exception()
        server.stop()
        assert server.calls[0].name == "a"

    def test_skip_and_times_count_matching_calls(self, server: Counter, get: Get) -> None:
        """So many calls are let through, so many are acted on, by name pattern and resource."""
        server.add_fault(Fault(call="o*", resource="/x/", skip=1, times=2))
        statuses = [get(path).status_code for path in ("/x/one", "/y/one", "/x/one", "/x/two", "/x/one", "/x/one")]
        assert statuses == [200, 200, 503, 200, 503, 200]

    def test_for_ever_until_cleared(self, server: Counter, get: Get) -> None:
        """``times=None`` acts until the faults are cleared."""
        server.add_fault(Fault(times=None))
        assert [get("/a").status_code for _ in range(3)] == [503] * 3
        server.clear_faults()
        assert get("/a").status_code == 200

    def test_follow_each_other(self, server: Counter, get: Get) -> None:
        """Faults act in the order in which they were added; a delay or hold lets the next one act on the same call."""
        for fault in (Fault(do="delay"), Fault(status=500), Fault(status=429), Fault(status=501, when="after")):
            server.add_fault(fault)
        assert [get("/a").status_code for _ in range(4)] == [500, 429, 501, 200]
        assert server.effects == 2

    def test_hold_waits_for_release(self, server: Counter) -> None:
        """A held call goes on once released, and every later one of that name goes straight through."""
        server.add_fault(Fault(do="hold", hold="h", times=None, when="after"))
        with ThreadPoolExecutor() as pool:
            call = pool.submit(requests.get, server.url + "/a", timeout=20)
            server.wait_held("h")
            assert (server.held, server.effects, call.done()) == ({"h": 1}, 1, False)
            server.release("h")
            assert call.result().status_code == 200
        assert requests.get(server.url + "/a", timeout=20).status_code == 200
        assert server.held == {}

    def test_clearing_lets_held_calls_go(self, server: Counter) -> None:
        """Clearing the faults lets held calls go and makes the hold's name new."""
        server.release("h")
        server.clear_faults()
        server.add_fault(Fault(do="hold", hold="h", times=None))
        with ThreadPoolExecutor() as pool:
            call = pool.submit(requests.get, server.url + "/a", timeout=20)
            server.wait_held("h")
            server.clear_faults()
            assert call.result().status_code == 200

    def test_leave_alone_who_came_before_they_were_cleared(self, server: Counter, get: Get) -> None:
        """A call that was under way when the faults were cleared is spared by those that are added afterwards."""
        server.add_fault(Fault(do="hold", hold="h"))
        with ThreadPoolExecutor() as pool:
            call = pool.submit(requests.get, server.url + "/a", timeout=20)
            server.wait_held("h")
            with server.standstill:
                server.clear_faults()
                server.add_fault(Fault(when="after"))
            assert call.result().status_code == 200
        assert get("/a").status_code == 503

    def test_waiting_for_a_hold_ends(self, server: Counter) -> None:
        """Waiting for a call that never comes ends in TimeoutError."""
        with pytest.raises(TimeoutError, match="'h'"):
            server.wait_held("h", timeout=0.01)


class TestClock:
    def test_can_be_shifted_and_replaced(self) -> None:
        """The wall clock is a callable with an offset."""
        server = Counter()
        server.clock = lambda: 1000.0
        server.set_time_offset(-400)
        assert server.now() == 600.0
