"""An internet on this machine, in which the real names lead to the stand-ins.

Tools are started with `Internet.environ`: a proxy, an authority to trust, a key of a service account. Under
`business-api.tiktok.com` they then find the simulated TikTok, and under Google's names the embedded Secret Manager,
which demands credentials and the reader's role. Every other host is refused and written down.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import ssl
import subprocess
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

from local.exchange import Answer, Request
from readers.google import ACCESS, LOCATIONS, SECRET_MANAGER, TOKENS, Google, GrpcFront, ServiceAccount
from stage import TOKEN, Stage

PROJECT = "my-project-123"
CONNECTION = "acme"
TIKTOK = "business-api.tiktok.com"
RUN = "run.googleapis.com"
_LINE = 65536


class Internet:
    """Everything that a pipeline finds outside of its own machine.

    Attributes:
        stage: The product and the stand-ins, in the project `my-project-123`.
        google: Who may do what, and what was called.
        refused: Hosts that somebody wanted to reach and that do not exist here, as `host:port`.
        started: Tools that were started in it; those that still run at the end of a test are ended then.
        pages: What a test answers in the place of Cloud Run's API, by path.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._homes = 0
        (folder / "stage").mkdir()
        self.stage = Stage(folder / "stage", project=PROJECT)
        self._certificate = folder / "certificate.pem"
        self.account = ServiceAccount(folder, PROJECT)
        self.google = Google(PROJECT, self.stage.secrets)
        self.refused: list[str] = []
        self.started: list[subprocess.Popen[str]] = []
        self._grpc = GrpcFront(self.google)
        self.pages: dict[str, Callable[[Request], Answer]] = {}
        hosts: dict[str, Callable[[Request], Answer]] = {
            TIKTOK: lambda request: self.stage.tiktok.respond(request)[1],
            RUN: self._page,
            SECRET_MANAGER: self.google.secrets,
            TOKENS: self.google.token,
            LOCATIONS: self.google.locations,
        }
        self._proxy = _Proxy(_context(self._certificate, hosts), hosts, self._grpc.port, self.refused)

    def _page(self, request: Request) -> Answer:
        page = self.pages.get(request.path)
        return page(request) if page else Answer(404, {"error": {"code": 404, "status": "NOT_FOUND"}})

    # What a test does.

    def environ(self, **more: str) -> dict[str, str]:
        """The whole environment of a tool: nothing of this machine's but its PATH, and a home of its own."""
        self._homes += 1
        home = self._folder / f"home-{self._homes}"
        home.mkdir()
        proxy, authority, key = self._proxy.url, str(self._certificate), str(self.account.file)
        here = "127.0.0.1,localhost"
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(home),
            **dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"), proxy),
            **dict.fromkeys(("NO_PROXY", "no_proxy"), here),
            "NODE_USE_ENV_PROXY": "1",
            **dict.fromkeys(
                (
                    "SSL_CERT_FILE",
                    "REQUESTS_CA_BUNDLE",
                    "CURL_CA_BUNDLE",
                    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
                    "NODE_EXTRA_CA_CERTS",
                    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
                ),
                authority,
            ),
            "GOOGLE_APPLICATION_CREDENTIALS": key,
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE": key,
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
            "CLOUDSDK_CORE_CHECK_GCE_METADATA": "0",
            "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
            **more,
        }

    def connect(
        self, name: str = CONNECTION, kind: str = "long-lived", advertisers: list[str] | None = None
    ) -> dict[str, Any]:
        """Connect through the real function; returns the payload. The calls that it took are forgotten."""
        payload = self.stage.connected(name, kind, advertisers)
        self.forget_calls()
        return payload

    def store(self, name: str, payload: dict[str, Any]) -> None:
        """Store a payload as it is, and let the reader read it."""
        if TOKEN + name not in self.stage.secrets.secrets():
            self.stage.secrets.create(TOKEN + name, project=PROJECT)
        self.stage.secrets.add_version(TOKEN + name, json.dumps(payload).encode())
        self.allow(ACCESS, name)

    def rotate(self, name: str = CONNECTION) -> dict[str, Any]:
        """Connect again, and let the old token end; returns the new payload."""
        old = self.token(name)
        kind = "expiring" if old["expires_at"] else "long-lived"
        new = self.stage.connected(name, kind, old["advertiser_ids"])
        self.stage.tiktok.revoke(old["access_token"])
        assert new["access_token"] != old["access_token"]
        return new

    def token(self, name: str = CONNECTION) -> dict[str, Any]:
        """The newest payload of a connection."""
        return self.stage.token(name)

    def allow(self, permission: str, name: str = CONNECTION) -> None:
        """Let the reader do more with a connection's token secret than it could."""
        self.google.granted.add((permission, TOKEN + name))

    def secrets_calls(self) -> list[tuple[str, str]]:
        """What tools called at Secret Manager, each with the id of the secret. Calls of the product are not in it."""
        return list(self.google.calls)

    def forget_calls(self) -> None:
        """Forget what was called and refused so far."""
        self.stage.secrets.forget_calls()
        self.stage.tiktok.forget_calls()
        self.google.calls.clear()
        self.refused.clear()

    def hear(self, where: str, text: str) -> None:
        """Something was printed: no secret may be in it. See `Canaries.keep` for what belongs somewhere."""
        self.stage.canaries.hear(where, text)

    def holding(self, folder: Path, name: str = CONNECTION) -> list[str]:
        """The files below a folder in which the access token of a connection stands."""
        token = self.token(name)["access_token"].encode()
        return sorted(
            str(file.relative_to(folder))
            for file in folder.rglob("*")
            if file.is_file() and not file.is_symlink() and token in file.read_bytes()
        )

    # Between tests.

    def reset(self) -> None:
        """Make everything as it was at the beginning: nothing is connected, the reader may read `acme`."""
        for process in self.started:
            if process.poll() is None:
                end(process)
                print(process.args, *process.communicate())  # for whoever wonders why it was still running
        self.started.clear()
        self.pages.clear()
        self.stage.reset()
        self.google.issued.clear()
        self.google.granted.clear()
        self.allow(ACCESS)
        self.forget_calls()

    def betrayals(self) -> list[str]:
        """Where a secret showed up that must not."""
        keep = self.stage.canaries.keep
        keep("the reader's private key", "".join(self.account.private_key.splitlines()[1:-1]))
        for token in self.google.issued:
            keep("an access token of Google's", token)
        return self.stage.betrayals()

    def close(self) -> None:
        """Stop everything."""
        self._proxy.close()
        self._grpc.stop()
        self.stage.close()


def end(process: subprocess.Popen[str]) -> None:
    """End a tool, and whatever it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _context(file: Path, hosts: Iterable[str]) -> ssl.SSLContext:
    """What a server needs to be taken for these hosts by whoever trusts the certificate in `file`, which is written."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "The tests")])
    usage = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False)
    usage |= {"encipher_only": False, "decipher_only": False, "crl_sign": False}
    certificate = (
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
    file.write_bytes(certificate.public_bytes(pem))
    private = file.with_suffix(".key")
    private.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, private)
    context.set_alpn_protocols(["http/1.1", "h2"])  # HTTP/2 only with who speaks nothing else
    return context


class _Proxy(ThreadingHTTPServer):
    """A proxy that ends TLS itself, and answers for the sites that it knows."""

    daemon_threads = True
    block_on_close = False

    def __init__(
        self, context: ssl.SSLContext, hosts: dict[str, Callable[[Request], Answer]], grpc: int, refused: list[str]
    ) -> None:
        self.context, self.hosts, self.grpc, self.refused = context, hosts, grpc, refused
        super().__init__(("127.0.0.1", 0), _Tunnel)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def close(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections that tools break off are normal here and nothing to print."""


class _Tunnel(BaseHTTPRequestHandler):
    """What a proxy is asked for: a tunnel to a host."""

    protocol_version = "HTTP/1.1"
    server: _Proxy

    def do_CONNECT(self) -> None:
        self.close_connection = True
        host, _, port = self.path.rpartition(":")
        if host not in self.server.hosts or port != "443":
            self._refuse(self.path)
            return
        self.send_response(200, "Connection established")
        self.end_headers()
        with self.server.context.wrap_socket(self.connection, server_side=True) as connection:
            if connection.selected_alpn_protocol() == "h2":  # gRPC
                with socket.create_connection(("127.0.0.1", self.server.grpc)) as there:
                    _pass_on(connection, there)
            else:
                _Site(connection, self.client_address, self.server.hosts[host])

    def _plain(self) -> None:
        self._refuse(self.path)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _plain  # noqa: N815

    def _refuse(self, what: str) -> None:
        self.close_connection = True
        self.server.refused.append(what)
        self.send_response(403, "No such host in this test")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing is printed."""


def _pass_on(one: ssl.SSLSocket, other: socket.socket) -> None:
    """Carry bytes both ways until one side has no more."""
    one.setblocking(False)
    while True:
        if not one.pending():
            select.select([one, other], [], [])
        try:
            coming = one.recv(_LINE)
        except ssl.SSLWantReadError:
            coming = None
        if coming == b"":
            return
        if coming:
            other.sendall(coming)
        if select.select([other], [], [], 0)[0]:
            going = other.recv(_LINE)
            if not going:
                return
            one.setblocking(True)
            one.sendall(going)
            one.setblocking(False)


class _Site(BaseHTTPRequestHandler):
    """A site's HTTP/1.1 inside of a tunnel."""

    protocol_version = "HTTP/1.1"

    def __init__(self, connection: ssl.SSLSocket, client_address: Any, answer: Callable[[Request], Answer]) -> None:
        self._answer = answer
        super().__init__(connection, client_address, None)  # type: ignore[arg-type]

    def _serve(self) -> None:
        path, _, query = self.path.partition("?")
        body = b""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline().partition(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        answer = self._answer(Request(self.command, unquote(path), query, self.headers, body))
        self.send_response(answer.status, responses.get(answer.status, "Unknown"))
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.payload)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.payload)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _serve  # noqa: N815

    def finish(self) -> None:
        """The tool may have gone already."""
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing is printed."""
