"""One call to TikTok over a real socket: bounded in time and size, no redirects, and whether it can have arrived."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import certificates
import faults
import proxies
from emulators.serving import Answer as Sent
from emulators.serving import Fault, LocalServer, Request
from tokenkeeper import settings
from tokenkeeper.errors import TikTokError, TikTokSilent, TikTokUnreachable
from tokenkeeper.tiktok.transport import Answer, Transport

TIKTOK = "tiktok.example"  # leads nowhere but through the proxies of these tests
BODY = {"app_id": "7001", "secret": "app-secret"}
LARGEST = 1_000_000


class Server(LocalServer):
    """Answers every request with an object, and keeps what it was sent."""

    def __init__(self) -> None:
        super().__init__(names=[TIKTOK])
        self.requests: list[Request] = []

    def perform(self, request: Request) -> Sent:
        self.requests.append(request)
        return Sent(200, {"code": 0})


@pytest.fixture(scope="module")
def _running() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture
def server(_running: Server) -> Server:
    """A server that does all that it is asked."""
    _running.clear_faults()
    _running.forget_calls()
    _running.requests.clear()
    return _running


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for the server's name that no public authority signed."""
    return certificates.make(tmp_path_factory.mktemp("certificates"), TIKTOK).file


def port_of(server: LocalServer) -> int:
    """The port that a server listens on."""
    return int(server.address.rpartition(":")[2])


def post(base_url: str, seconds: float = 10, *, fresh: bool = False, largest: int = LARGEST) -> Answer:
    """One call, with a transport of its own."""
    return Transport(base_url).post("/x/", BODY, seconds, largest, fresh=fresh)


class TestAnswers:
    def test_an_answer_is_its_status_and_its_object(self, server: Server) -> None:
        """A POST brings a JSON body."""
        assert post(server.url) == Answer(200, {"code": 0})
        (request,) = server.requests
        assert (request.method, request.path, request.headers["Content-Type"]) == ("POST", "/x/", "application/json")
        assert request.body == b'{"app_id": "7001", "secret": "app-secret"}'

    def test_a_get_brings_query_and_headers(self, server: Server) -> None:
        """What is asked for by GET goes into the address, the token into a header."""
        Transport(server.url).get("/x/", {"a": "b c"}, {"Access-Token": "t"}, 10, LARGEST)
        (request,) = server.requests
        assert (request.method, request.query, request.headers["Access-Token"]) == ("GET", "a=b+c", "t")

    @pytest.mark.parametrize(
        ("fault", "status"),
        [
            (faults.not_json(), 200),
            (faults.empty(), 200),
            (faults.empty(status=502), 502),
            (faults.html(), 502),
            (Fault(status=200, body=b"[1, 2]"), 200),
            (Fault(status=200, body=b"\xff\xfe{}"), 200),
            (Fault(status=200, body=b"[" * 100_000), 200),
        ],
        ids=["plain text", "nothing", "nothing with a 502", "HTML", "a list", "no UTF-8", "a tower of brackets"],
    )
    def test_what_is_no_object_is_none(self, server: Server, fault: Fault, status: int) -> None:
        """The status is kept, and there is no document."""
        server.add_fault(fault)
        assert post(server.url) == Answer(status, None)

    def test_no_repr_shows_what_came_back(self) -> None:
        """An answer may hold a token, so it is not shown."""
        assert "very-secret" not in repr(Answer(200, {"access_token": "very-secret"}))

    def test_a_redirect_is_not_followed(self, server: Server) -> None:
        """Whoever answers with another address does not get the app secret sent there."""
        server.add_fault(faults.redirect(f"{server.url}/elsewhere", status=307))
        assert post(server.url).status == 307
        assert len(server.calls) == 1

    @pytest.mark.parametrize("compressed", [False, True], ids=["as it is", "compressed"])
    def test_what_is_too_large_is_no_answer(self, server: Server, *, compressed: bool) -> None:
        """It is not read to its end, whatever it claims to be."""
        body = b'{"a": "' + b"x" * (3 * LARGEST) + b'"}'
        headers = {}
        if compressed:
            body, headers = gzip.compress(body), {"Content-Encoding": "gzip"}
        server.add_fault(Fault(status=200, body=body, headers=headers))
        with pytest.raises(TikTokSilent, match="larger than 1 MB"):
            post(server.url)

    def test_a_list_may_be_larger(self, server: Server) -> None:
        """The caller says how large."""
        server.add_fault(Fault(status=200, body={"a": "x" * (2 * LARGEST)}))
        assert post(server.url, largest=16 * LARGEST).document is not None


class TestTime:
    @pytest.mark.parametrize(
        "fault",
        [
            Fault(do="hold", hold="slow"),
            Fault(do="hold", hold="slow too", when="after"),
            faults.drip(seconds=30),
            faults.drip(seconds=1.2),
        ],
        ids=[
            "no answer",
            "no answer after it took effect",
            "an answer that comes byte by byte, with long gaps",
            "an answer that comes byte by byte, never late with the next",
        ],
    )
    def test_all_of_it_takes_no_longer_than_allowed(self, server: Server, fault: Fault) -> None:
        """However slowly an answer comes, the call is over in time, and nobody knows whether it took place."""
        server.add_fault(fault)
        with pytest.raises(TikTokSilent, match="not answer in time"):
            post(server.url, 0.3)

    def test_a_slow_answer_that_comes_in_time_is_one(self, server: Server) -> None:
        """Slowness alone is no failure."""
        server.add_fault(faults.drip(seconds=0.1))
        assert post(server.url).status == 200


class TestCertainlyNotSent:
    def test_where_nobody_listens(self) -> None:
        """A refused connection."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"http://127.0.0.1:{probe.getsockname()[1]}"
        with pytest.raises(TikTokUnreachable):
            post(address)

    def test_to_a_name_that_nobody_knows(self) -> None:
        """Without an address nothing is sent."""
        with pytest.raises(TikTokUnreachable):
            post("https://tiktok.invalid")

    def test_where_there_is_no_tls(self, server: Server) -> None:
        """A handshake comes before anything of ours."""
        with pytest.raises(TikTokUnreachable):
            post(server.url.replace("http:", "https:"))

    def test_to_a_certificate_that_nobody_vouches_for(self, server: Server, certificate: Path) -> None:
        """Whoever it is, it is not TikTok."""
        with proxies.Relay(port_of(server), certificate) as relay, pytest.raises(TikTokUnreachable):
            post(f"https://localhost:{relay.port}")
        assert server.calls == []


class TestPerhapsSent:
    @pytest.mark.parametrize(
        "fault",
        [Fault(do="drop"), Fault(do="drop", when="after"), faults.truncated()],
        ids=["closed without an answer", "closed after it took effect", "closed in the middle of the answer"],
    )
    @pytest.mark.parametrize("fresh", [False, True], ids=["a kept connection", "a new connection"])
    def test_a_broken_connection_leaves_it_unknown(self, server: Server, fault: Fault, *, fresh: bool) -> None:
        """What was sent may have taken place, so it is not sent again by itself."""
        transport = Transport(server.url)
        transport.post("/x/", BODY, 10, LARGEST, fresh=fresh)
        server.forget_calls()
        server.add_fault(fault)
        with pytest.raises(TikTokSilent):
            transport.post("/x/", BODY, 10, LARGEST, fresh=fresh)
        assert len(server.calls) == 1

    def test_one_that_listens_and_never_answers(self) -> None:
        """A connection that no program took may still have taken what was sent."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            with pytest.raises(TikTokSilent):
                post(f"http://127.0.0.1:{listener.getsockname()[1]}", 0.2)


class TestProxies:
    @pytest.mark.parametrize("ends_tls", [False, True], ids=["one that makes tunnels", "one that ends TLS by itself"])
    @pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
    def test_a_companys_proxy_is_used(
        self, server: Server, certificate: Path, monkeypatch: pytest.MonkeyPatch, variable: str, *, ends_tls: bool
    ) -> None:
        """`HTTPS_PROXY` names it; either variable names the certificates that it needs."""
        with (
            proxies.Relay(port_of(server), certificate) as tls,
            proxies.Proxy(
                {TIKTOK: port_of(server) if ends_tls else tls.port}, certificate if ends_tls else None
            ) as proxy,
        ):
            for name in ("REQUESTS_CA_BUNDLE", "NETRC"):
                monkeypatch.setenv(name, "")  # so that it is as before afterwards
                monkeypatch.delenv(name)
            for name, value in {**proxies.environment(proxy), variable: str(certificate)}.items():
                monkeypatch.setenv(name, value)
            settings.prepare_requests()
            assert post(f"https://{TIKTOK}") == Answer(200, {"code": 0})
            assert proxy.asked == [f"{TIKTOK}:443"]
        assert len(server.calls) == 1

    def test_one_with_a_certificate_of_its_own_has_to_be_trusted(
        self, server: Server, certificate: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without `REQUESTS_CA_BUNDLE` nothing is sent through it."""
        monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
        with proxies.Proxy({TIKTOK: port_of(server)}, certificate) as proxy:
            for name, value in proxies.environment(proxy).items():
                monkeypatch.setenv(name, value)
            with pytest.raises(TikTokUnreachable):
                post(f"https://{TIKTOK}")
        assert server.calls == []

    def test_one_that_refuses_has_sent_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """So the call may be made again."""
        with proxies.Proxy({}) as proxy:
            for name, value in proxies.environment(proxy).items():
                monkeypatch.setenv(name, value)
            with pytest.raises(TikTokUnreachable):
                post(f"https://{TIKTOK}")
        with pytest.raises(TikTokUnreachable):  # and so has one that is away
            post(f"https://{TIKTOK}")

    def test_no_proxy_names_hosts_that_are_reached_without(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The proxy is not asked."""
        with proxies.Proxy({TIKTOK: 1}) as proxy:
            for name, value in proxies.environment(proxy, NO_PROXY=TIKTOK, no_proxy=TIKTOK).items():
                monkeypatch.setenv(name, value)
            with pytest.raises(TikTokUnreachable):
                post(f"https://{TIKTOK}")
            assert proxy.asked == []

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
    def test_this_machine_is_never_reached_through_one(
        self, server: Server, monkeypatch: pytest.MonkeyPatch, host: str
    ) -> None:
        """The simulated TikTok is here, whatever the environment says."""
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        assert post(f"http://{host}:{port_of(server)}").status == 200

    def test_netrc_is_not_read(
        self, server: Server, certificate: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """A password in a home directory is none of TikTok's business."""
        netrc = tmp_path / "netrc"
        netrc.write_text(f"machine {TIKTOK} login me password mine\ndefault login me password mine\n")
        monkeypatch.setenv("NETRC", str(netrc))
        settings.prepare_requests()
        with proxies.Proxy({TIKTOK: port_of(server)}, certificate) as proxy:
            for name, value in proxies.environment(proxy, certificate).items():
                monkeypatch.setenv(name, value)
            post(f"https://{TIKTOK}")
        assert "Authorization" not in server.requests[0].headers


def test_no_error_tells_what_was_sent(server: Server) -> None:
    """Neither the text of an error nor what it came from holds address, secret or token."""
    server.add_fault(Fault(do="drop"))
    with pytest.raises(TikTokError) as error:
        Transport(server.url).get("/x/", BODY, {"Access-Token": "t-o-k-e-n"}, 5, LARGEST)
    told = repr(error.value) + str(error.value) + repr(error.value.__cause__)
    assert "app-secret" not in told
    assert "t-o-k-e-n" not in told


def test_many_threads_share_one_transport(server: Server) -> None:
    """Calls of several threads do not disturb one another."""
    transport = Transport(server.url)
    done: list[Answer] = []
    threads = [threading.Thread(target=lambda: done.append(transport.post("/x/", BODY, 10, LARGEST))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [Answer(200, {"code": 0})] * 8
