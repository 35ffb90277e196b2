"""HTTP/1.1 for the emulators: connections, keep-alive, and what is refused unread."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from local.exchange import Answer, HangUp, Request

BODY_LIMIT = 10 * 1024 * 1024
"""Bytes of a request's body taken at most."""


class Responder(Protocol):
    """Whoever says what is answered to a request."""

    def reply(self, request: Request) -> Answer:
        """The answer; raises HangUp where there is none."""

    def answers_to(self, name: str) -> bool:
        """Whether a host name is one of this server's."""


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only mean this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class LoopbackServer(ThreadingHTTPServer):
    """A threading server that knows its open connections, so that it can end them.

    Attributes:
        open: The thread of each open connection.
    """

    allow_reuse_address = True
    request_queue_size = 256

    def __init__(self, responder: Responder, address: tuple[str, int], family: socket.AddressFamily) -> None:
        self.responder = responder
        self.address_family = family
        self.open: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Binds without looking up this machine's name, which the standard class does and which can take seconds."""
        socket.socket.setsockopt(self.socket, socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Gives a new connection a thread, both known to the server while it is open."""
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        with self._lock:
            self.open[request] = thread
        thread.start()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serves one connection until it ends."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self.open.pop(request, None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections that callers break off are normal here and nothing to print."""

    def shutdown(self) -> None:
        """Ends serving at once: a connection of its own wakes the loop, which would otherwise sleep until its poll."""
        ending = threading.Thread(target=super().shutdown)
        ending.start()
        while ending.is_alive():
            with contextlib.suppress(OSError):
                socket.create_connection(self.socket.getsockname()[:2], 1).close()
            ending.join(0.005)

    def close_connections(self) -> None:
        """Ends every open connection and waits a little for its thread."""
        with self._lock:
            connections = list(self.open.items())
        for connection, _ in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for _, thread in connections:
            thread.join(5)


def _refused(status: int, message: str) -> Answer:
    return Answer(status, {"message": message})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: LoopbackServer

    def serve(self) -> None:
        refusal = self._refusal()
        if refusal is not None:
            self.close_connection = True
            self._send(refusal)
            return
        length = int(self.headers.get("Content-Length", "0"))
        body = self.rfile.read(length)
        if len(body) < length:  # the caller died while it sent this: it has not arrived
            self._hang_up()
            return
        path, _, query = self.path.partition("?")
        request = Request(
            method=self.command,
            path=unquote(path),
            query=query,
            headers=self.headers,
            body=body,
        )
        try:
            self._send(self.server.responder.reply(request))
        except HangUp:
            self._hang_up()

    # The names that the standard class looks for.
    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = serve  # noqa: N815

    def _refusal(self) -> Answer | None:
        """Why a request is refused unread: pages of other sites must not reach a server that asks for no password."""
        answers_to = self.server.responder.answers_to
        if not answers_to(urlsplit("//" + self.headers.get("Host", "localhost")).hostname or ""):
            return _refused(
                421, "This server answers only to host names of this machine and to those given with --name."
            )
        origin = self.headers.get("Origin", "null")
        foreign = self.headers.get("Sec-Fetch-Site") == "cross-site" or (
            origin != "null" and not answers_to(urlsplit(origin).hostname or "")
        )
        if foreign and self.command not in ("GET", "HEAD"):
            return _refused(403, "This server takes no requests from other sites' pages.")
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdecimal():
            return _refused(411, "A Content-Length is needed.")
        if int(length) > BODY_LIMIT:
            return _refused(413, f"A body may have {BODY_LIMIT} bytes.")
        return None

    def _hang_up(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _head(self, answer: Answer, length: int) -> bytes:
        try:
            phrase = HTTPStatus(answer.status).phrase
        except ValueError:
            phrase = "Unknown"
        lines = [f"HTTP/1.1 {answer.status} {phrase}"]
        if not any(name.lower() == "content-type" for name in answer.headers):
            lines.append(f"Content-Type: {answer.content_type}")
        lines.append(f"Content-Length: {length}")
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        if self.close_connection:
            lines.append("Connection: close")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def _send(self, answer: Answer) -> None:
        rest = self._head(answer, len(answer.payload))
        for piece in (b"",) if self.command == "HEAD" else answer.pieces():
            self.wfile.write(rest + piece)
            rest = b""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """The standard class prints every address, and codes are in addresses."""
