"""The wires of the readers' internet: a proxy, and behind it the sites, which answer by TLS under their real names."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from emulators.serving import Answer, Request

Hosts = dict[str, Callable[[Request], Answer]]


def certificate(folder: Path, hosts: Iterable[str]) -> tuple[Path, Path]:
    """Files of a certificate, for whoever trusts it, that it is these hosts, and of its key."""
    made, key = folder / "certificate.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=tests"
    names = f"subjectAltName={','.join(f'DNS:{host}' for host in hosts)}"
    usage = "keyUsage=critical,digitalSignature,keyCertSign"
    files = ["-keyout", str(key), "-out", str(made)]
    subprocess.run([*command.split(), "-addext", names, "-addext", usage, *files], check=True, capture_output=True)
    return made, key


class _Server(ThreadingHTTPServer):
    """A server on a free loopback port, with TLS where a context is given."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, handler: type[BaseHTTPRequestHandler], context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        if context is not None:  # the handshake is made by the connection's own thread, when it reads
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.port = int(self.server_address[1])
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections that tools break off are normal here and nothing to print."""


class Sites(_Server):
    """All hosts, by TLS and HTTP/1.1."""

    def __init__(self, certificate: Path, key: Path, hosts: Hosts) -> None:
        self.hosts = hosts
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        context.set_alpn_protocols(["http/1.1"])
        super().__init__(_Site, context)


class Proxy(_Server):
    """Leads to the sites, or, whoever speaks HTTP/2 only, to the gRPC server; every other host is refused.

    Attributes:
        refused: What was refused, as `host:port` or an address.
    """

    def __init__(self, sites: Sites, grpc_port: int, refused: list[str]) -> None:
        self.sites, self.grpc_port, self.refused = sites, grpc_port, refused
        super().__init__(_Tunnel)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def serve(self) -> None:
        raise NotImplementedError

    def do_GET(self) -> None:
        self.serve()

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing is printed."""


class _Site(_Handler):
    server: Sites

    def serve(self) -> None:
        path, _, query = self.path.partition("?")
        host = self.server.hosts[self.headers["Host"].partition(":")[0]]
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        given = host(Request(self.command, unquote(path), query, self.headers, body))
        self.send_response(given.status)
        self.send_header("Content-Type", given.content_type)
        self.send_header("Content-Length", str(len(given.payload)))
        self.end_headers()
        self.wfile.write(given.payload)


class _Tunnel(_Handler):
    server: Proxy

    def do_CONNECT(self) -> None:
        host, _, port = self.path.rpartition(":")
        if host not in self.server.sites.hosts or port != "443":
            self.serve()
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

    def serve(self) -> None:
        """Refuses what is no tunnel to a known host."""
        self.server.refused.append(self.path)
        self.send_error(403)


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
