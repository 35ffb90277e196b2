"""What stands between a program and the internet in a company: an HTTP proxy, which may end TLS by itself."""

import re
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self


class Relay:
    """Takes connections on a free `port` of this machine and passes them on, until the block ends."""

    def __init__(self, leads_to: int, certificate: Path | None = None, http2: int = 0) -> None:
        """Lead to a port, or to another where HTTP/2 is spoken; a certificate ends TLS, without one bytes are kept."""
        self.leads_to, self.http2 = leads_to, http2
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if certificate else None
        if self._context and certificate:
            self._context.load_cert_chain(certificate)
            self._context.set_alpn_protocols(["http/1.1", "h2"] if http2 else ["http/1.1"])
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = [self._listener]
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for one in self._sockets:
            one.close()

    def port_for(self, connection: socket.socket) -> int | None:  # noqa: ARG002
        """The port that a new connection is passed on to, or None; what comes first may be read and answered here."""
        return self.leads_to

    def _start(self, work: object, *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()
        return thread

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._sockets.append(connection)
                self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError):
            port = self.port_for(connection)
            if port is None:
                connection.shutdown(socket.SHUT_RDWR)
                return
            if self._context:
                connection = self._context.wrap_socket(connection, server_side=True)
                self._sockets.append(connection)
                port = self.http2 if connection.selected_alpn_protocol() == "h2" else port
            behind = socket.create_connection(("127.0.0.1", port))
            self._sockets.append(behind)
            back = self._start(_pass_on, connection, behind)
            _pass_on(behind, connection)
            back.join()
            connection.close()
            behind.close()


class Proxy(Relay):
    """An HTTP proxy that takes CONNECT."""

    def __init__(self, hosts: Mapping[str, int], certificate: Path | None = None, http2: int = 0) -> None:
        """Let each of these hosts be a port of this machine, and refuse every other; a certificate is a `Relay`'s."""
        super().__init__(0, certificate, http2)
        self._hosts = hosts
        self.asked: list[str] = []  # the hosts that it was asked for, as `host:port`
        self.passwords: list[str] = []  # the headers `Proxy-Authorization` that it was given

    @property
    def url(self) -> str:
        """For `HTTPS_PROXY`."""
        return f"http://127.0.0.1:{self.port}"

    def port_for(self, connection: socket.socket) -> int | None:
        head = b""
        while b"\r\n\r\n" not in head:
            more = connection.recv(1)
            if not more:
                return None
            head += more
        method, target = head.decode().split(" ")[:2]
        self.asked.append(target)
        self.passwords += re.findall(r"(?i)^proxy-authorization: (.*?)\r", head.decode(), re.MULTILINE)
        port = self._hosts.get(target.rpartition(":")[0]) if method == "CONNECT" else None
        connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n" if port is None else b"HTTP/1.1 200 OK\r\n\r\n")
        return port


def environment(proxy: Proxy, trusted: Path | None = None, **more: str) -> Mapping[str, str]:
    """The variables with which a company sends a program to its proxy, and has it trust the company's certificates."""
    found = {"HTTPS_PROXY": proxy.url, "https_proxy": proxy.url, "NO_PROXY": "", "no_proxy": "", **more}
    return found | ({"REQUESTS_CA_BUNDLE": str(trusted)} if trusted else {})


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError, ValueError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
