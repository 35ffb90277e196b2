"""The wires of the readers' internet: a proxy, and behind it the sites, which answer by TLS under their real names."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from http.client import responses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from emulators.serving import Answer, Request

Hosts = dict[str, Callable[[Request], Answer]]


def certificate(folder: Path, hosts: Iterable[str]) -> tuple[Path, Path]:
    """Files of a certificate, for whoever trusts it, that it is these hosts, and of its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "The tests")])
    usage = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False)
    usage |= {"encipher_only": False, "decipher_only": False, "crl_sign": False}
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, key_cert_sign=True, **usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (folder / "certificate.pem").write_bytes(made.public_bytes(pem))
    (folder / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return folder / "certificate.pem", folder / "key.pem"


class Server(ThreadingHTTPServer):
    """A server on a free loopback port, with TLS where a context is given."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, handler: type[BaseHTTPRequestHandler], context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        if context is not None:  # the handshake is made by the connection's own thread, when it reads
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.port = int(self.server_address[1])
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections that tools break off are normal here and nothing to print."""


class Sites(Server):
    """All hosts, by TLS and HTTP/1.1."""

    def __init__(self, certificate: Path, key: Path, hosts: Hosts) -> None:
        self.hosts = hosts
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        context.set_alpn_protocols(["http/1.1"])
        super().__init__(_Site, context)


class Proxy(Server):
    """Leads to the sites, or, whoever speaks HTTP/2 only, to the gRPC server; every other host is refused.

    Attributes:
        refused: What was refused, as `host:port` or an address.
    """

    def __init__(self, sites: Sites, grpc_port: int, refused: list[str]) -> None:
        self.sites, self.grpc_port, self.refused = sites, grpc_port, refused
        super().__init__(_Tunnel)


class Handler(BaseHTTPRequestHandler):
    """Answers every method in `respond`."""

    protocol_version = "HTTP/1.1"

    def respond(self) -> None:
        raise NotImplementedError

    def _serve(self) -> None:
        self.respond()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def answer(self, status: int, payload: bytes = b"", **headers: str) -> None:
        """Send an answer; the names of its headers have _ for -."""
        self.send_response(status, responses.get(status, "Unknown"))
        for name, value in {**headers, "Content_Length": str(len(payload))}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing is printed."""


class _Site(Handler):
    server: Sites

    def respond(self) -> None:
        path, _, query = self.path.partition("?")
        host = self.server.hosts[self.headers["Host"].partition(":")[0]]
        given = host(Request(self.command, unquote(path), query, self.headers, self.body()))
        self.answer(given.status, given.payload, Content_Type=given.content_type)


class _Tunnel(Handler):
    server: Proxy

    def do_CONNECT(self) -> None:
        host, _, port = self.path.rpartition(":")
        if host not in self.server.sites.hosts or port != "443":
            self.respond()
            return
        self.close_connection = True
        self.send_response(200, "Connection established")
        self.end_headers()
        hello = _client_hello(self.connection)
        http2_only = b"\x02h2" in hello and b"\x08http/1.1" not in hello
        there = ("127.0.0.1", self.server.grpc_port if http2_only else self.server.sites.port)
        with socket.create_connection(there) as site:
            back = threading.Thread(target=_pump, args=(site, self.connection), daemon=True)
            back.start()
            _pump(self.connection, site)
            back.join()

    def respond(self) -> None:
        """Refuses what is no tunnel to a known host."""
        self.close_connection = True
        self.server.refused.append(self.path)
        self.answer(403)


def _client_hello(connection: socket.socket) -> bytes:
    """The first TLS record, which names the protocols that the client speaks; it stays to be read."""
    seen, length = b"", 5
    while len(seen) < length:
        more = connection.recv(length, socket.MSG_PEEK | socket.MSG_WAITALL)
        if len(more) == len(seen):
            break
        seen, length = more, 5 + int.from_bytes(more[3:5])
    return seen


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Carry bytes one way until there are no more."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
