"""One call to TikTok over a real socket: bounded in time and size, no redirects, and whether it can have arrived."""

import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import certificates
import proxies
from emulators.serving import Answer as Sent
from emulators.serving import Fault, LocalServer, Request
from tokenkeeper import settings
from tokenkeeper.errors import TikTokSilent, TikTokUnreachable
from tokenkeeper.tiktok.transport import Answer, Transport
from unit.parts import port_of

TIKTOK = "tiktok.example"  # leads nowhere but through the proxies of these tests
BODY = b'{"app_id": "7001", "secret": "app-secret"}'
LARGEST = 1_000_000


class Server(LocalServer):
    """Answers every request with an object."""

    def perform(self, request: Request) -> Sent:  # noqa: ARG002
        return Sent(200, {"code": 0})


@pytest.fixture(scope="module")
def _running() -> Iterator[Server]:
    with Server(names=[TIKTOK]) as running:
        yield running


@pytest.fixture
def server(_running: Server) -> Server:
    """A server that does all that it is asked."""
    _running.clear_faults()
    _running.forget_calls()
    return _running


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for the server's name that no public authority signed."""
    return certificates.make(tmp_path_factory.mktemp("certificates"), TIKTOK)


def through(monkeypatch: pytest.MonkeyPatch, proxy: proxies.Proxy, **more: str) -> None:
    """Let the environment name a company's proxy."""
    for name, value in proxies.environment(proxy, None, **more).items():
        monkeypatch.setenv(name, value)


def post(base_url: str, seconds: float = 10) -> Answer:
    """One call, with a transport of its own."""
    return send(Transport(base_url), seconds)


def send(transport: Transport, seconds: float = 10, *, fresh: bool = False) -> Answer:
    """One call."""
    return transport.send("POST", "/x/", {}, BODY, seconds, LARGEST, fresh=fresh)


NO_OBJECTS = {
    "plain text": Fault(status=200, body=b"upstream connect error"),
    "nothing with a 502": Fault(status=502, body=b""),
    "a list": Fault(status=200, body=b"[1, 2]"),
    "no UTF-8": Fault(status=200, body=b"\xff\xfe{}"),
    "a tower of brackets": Fault(status=200, body=b"[" * 100_000),
}
SLOW = {
    "no answer": Fault(do="hold", hold="slow"),
    "byte by byte, with long gaps": Fault(do="drip", when="after", status=200, seconds=30),
    "byte by byte, never late with the next": Fault(do="drip", when="after", status=200, seconds=1.2),
}


def test_what_is_no_object_is_none(server: Server) -> None:
    """The status is kept, and there is no document."""
    for name, fault in NO_OBJECTS.items():
        server.add_fault(fault)
        assert (name, post(server.url)) == (name, Answer(fault.status or 0, None))


@pytest.mark.parametrize("fault", SLOW.values(), ids=SLOW)
def test_all_of_it_takes_no_longer_than_allowed(server: Server, fault: Fault) -> None:
    """However slowly an answer comes, the call is over in time, and nobody knows whether it took place."""
    server.add_fault(fault)
    with pytest.raises(TikTokSilent, match="not answer in time"):
        post(server.url, 0.3)


@pytest.mark.parametrize(
    "fault", [Fault(do="drop"), Fault(do="truncate", when="after", status=200)], ids=["no answer", "half an answer"]
)
@pytest.mark.parametrize("fresh", [False, True], ids=["a kept connection", "a new connection"])
def test_what_may_have_arrived_is_not_sent_again(server: Server, fault: Fault, *, fresh: bool) -> None:
    """Where a connection broke, what was sent may have taken place."""
    transport = Transport(server.url)
    send(transport, fresh=fresh)
    server.forget_calls()
    server.add_fault(fault)
    with pytest.raises(TikTokSilent):
        send(transport, fresh=fresh)
    assert len(server.calls) == 1


@contextmanager
def raw_server(answer: bytes, seconds: float = 0, certificate: Path | None = None) -> Iterator[int]:
    """A server on this port that takes one request, and sends an answer byte by byte, past TLS if there is any."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def serve() -> None:
        with suppress(OSError), listener.accept()[0] as plain:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            if certificate:
                context.load_cert_chain(certificate)
            with context.wrap_socket(plain, server_side=True) if certificate else plain as connection:
                while not connection.recv(65536).endswith(b"}"):
                    pass
                for byte in answer:
                    os.write(connection.fileno(), bytes([byte]))
                    ended.wait(seconds)

    thread = threading.Thread(target=serve)
    thread.start()
    with listener:
        yield listener.getsockname()[1]
        ended.set()
        thread.join()


def test_the_headers_take_no_longer_than_allowed_either() -> None:
    """Each byte comes in time, and the end of them never."""
    answer = b"HTTP/1.1 200 OK\r\nA: " + b"a" * 60
    with raw_server(answer, 0.05) as port, pytest.raises(TikTokSilent, match="not answer in time"):
        post(f"http://127.0.0.1:{port}", 0.3)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 502 Bad Gateway\r\n\r\n"], ids=["no answer", "no TLS"])
def test_what_breaks_behind_a_proxy_may_have_arrived(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    """urllib3 blames the proxy, or OpenSSL the handshake, as where nothing was sent."""
    with (
        raw_server(answer, certificate=certificate) as port,
        proxies.Proxy({TIKTOK: port}) as proxy,
    ):
        through(monkeypatch, proxy, REQUESTS_CA_BUNDLE=str(certificate))
        with pytest.raises(TikTokSilent, match="broke"):
            post(f"https://{TIKTOK}")


# How a proxy is reached, whether it ends TLS by itself, and which variable names the certificates that it needs.
PROXIES = {
    "one that makes tunnels": ("http://", False, "REQUESTS_CA_BUNDLE"),
    "one that ends TLS by itself": ("http://", True, "SSL_CERT_FILE"),
    "one that is named without a scheme": ("", True, "REQUESTS_CA_BUNDLE"),
    "one that is reached over TLS": ("https://", True, "REQUESTS_CA_BUNDLE"),
    "one that wants a password": ("http://me:p%40ss@", True, "REQUESTS_CA_BUNDLE"),
}


class TestProxies:
    @pytest.mark.parametrize("way", PROXIES.values(), ids=PROXIES)
    def test_a_companys_proxy_is_used(
        self, server: Server, certificate: Path, monkeypatch: pytest.MonkeyPatch, way: tuple[str, bool, str]
    ) -> None:
        """`HTTPS_PROXY` names it, in whatever form; either variable names the certificates that it needs."""
        scheme, ends_tls, variable = way
        for name in ("REQUESTS_CA_BUNDLE", "NETRC"):
            monkeypatch.setenv(name, "")  # so that it is as before afterwards
            monkeypatch.delenv(name)
        with (
            proxies.Relay(port_of(server), certificate) as tls,
            proxies.Proxy(
                {TIKTOK: port_of(server) if ends_tls else tls.port}, certificate if ends_tls else None
            ) as proxy,
            proxies.Relay(proxy.port, certificate) as over_tls,
        ):
            address = f"{scheme}localhost:{over_tls.port if scheme == 'https://' else proxy.port}"
            through(monkeypatch, proxy, HTTPS_PROXY=address, https_proxy=address, **{variable: str(certificate)})
            settings.prepare_requests()
            assert post(f"https://{TIKTOK}") == Answer(200, {"code": 0})
            assert proxy.asked == [f"{TIKTOK}:443"]
            assert proxy.passwords == ["Basic bWU6cEBzcw=="] * ("@" in scheme)
        assert len(server.calls) == 1

    def test_one_that_is_not_trusted_or_refuses_has_sent_nothing(
        self, server: Server, certificate: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its own certificate needs `REQUESTS_CA_BUNDLE`; one that refuses, or is away, may be tried again.

        So may a host that speaks no TLS: a handshake comes before anything of ours.
        """
        monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
        for hosts in ({TIKTOK: port_of(server)}, {}):
            with proxies.Proxy(hosts, certificate) as proxy:
                through(monkeypatch, proxy)
                with pytest.raises(TikTokUnreachable):
                    post(f"https://{TIKTOK}")
        for url in (f"https://{TIKTOK}", f"https://127.0.0.1:{port_of(server)}"):
            with pytest.raises(TikTokUnreachable):
                post(url)
        for proxy_url in ("socks5://127.0.0.1:1", "http://[127.0.0.1"):
            monkeypatch.setenv("https_proxy", proxy_url)
            with pytest.raises(TikTokUnreachable, match="The proxy or the CAs cannot be used"):
                post(f"https://{TIKTOK}")
        assert server.calls == []

    def test_some_hosts_are_reached_without(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        """Those that `NO_PROXY` names, and this machine, where the simulated TikTok is."""
        with proxies.Proxy({TIKTOK: 1}) as proxy:
            through(monkeypatch, proxy, NO_PROXY=TIKTOK, no_proxy=TIKTOK)
            with pytest.raises(TikTokUnreachable):
                post(f"https://{TIKTOK}")
            assert proxy.asked == []
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        for host in ("127.0.0.1", "localhost"):
            assert post(f"http://{host}:{port_of(server)}").status == 200
