"""The base of the emulators: a server on a socket of this machine.

An emulator derives from :class:`LocalServer` and says what it answers (``perform``). Servers bind loopback addresses
only, unless an emulator says otherwise, and refuse to start where a cloud function runs.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import ClassVar, Self

from local.exchange import Answer, Request
from local.wire import LoopbackServer, is_loopback

CLOUD_VARIABLES = ("K_SERVICE", "FUNCTION_TARGET")
"""Environment variables that exist only where a cloud function runs."""


class CannotStart(Exception):
    """`make run`, or an emulator, cannot start; the text is one sentence that says what to do."""


class LocalServer:
    """A server on a socket of this machine.

    Use it as a context manager, or call :meth:`start` and :meth:`stop`. Thread-safe. Derived classes implement
    :meth:`perform`, and may extend :meth:`opened`, :meth:`closed`, :meth:`reply` and :meth:`now`.

    Args:
        host: A loopback address or ``localhost``.
        port: 0 takes a free one.
        names: Host names that it answers to beside those of this machine.
        log: Called with one line for each answered request: method, path without the query, status or note.
    """

    loopback_only: ClassVar[bool] = True

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        names: Sequence[str] = (),
        log: Callable[[str], None] | None = None,
    ) -> None:
        self._host, self._port, self._names, self._log = host, port, frozenset(names), log
        self._socket: LoopbackServer | None = None
        self._thread: threading.Thread | None = None

    # What derived servers say.

    def perform(self, request: Request) -> Answer:
        """Carries a request out and says what to send."""
        raise NotImplementedError

    def opened(self) -> None:
        """Called before the first request is taken."""

    def closed(self) -> None:
        """Called after the last request was answered."""

    def now(self) -> float:
        """This server's wall clock in seconds since the epoch."""
        return time.time()

    # Start and stop.

    def start(self) -> Self:
        """Binds the port and serves in threads of its own.

        Raises:
            CannotStart: The port is taken, the address is not loopback, or this is a cloud function.
        """
        refuse_in_the_cloud()
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        if self.loopback_only and not is_loopback(self._host):
            raise CannotStart(f"{self._host} is not a loopback address: use 127.0.0.1, ::1 or localhost.")
        self.opened()
        try:
            self._socket = LoopbackServer(self, (self._host, self._port), family)
        except OSError as error:
            self.closed()
            raise CannotStart(
                f"Port {self._port} on {self._host} cannot be used ({error.strerror}): "
                "stop what uses it or choose another port."
            ) from None
        self._port = self._socket.socket.getsockname()[1]
        self._thread = threading.Thread(
            target=self._socket.serve_forever, name=f"{type(self).__name__}:{self._port}", daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Closes every connection and the port. Stopping twice does nothing."""
        if self._socket is None or self._thread is None:
            return
        self._socket.shutdown()
        self._thread.join()
        self._socket.close_connections()
        self._socket.server_close()
        self._socket = self._thread = None
        self.closed()

    def __enter__(self) -> Self:
        return self if self._socket is not None else self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def address(self) -> str:
        """``host:port``, known once started (before that only where a port was given)."""
        return f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"

    @property
    def url(self) -> str:
        """``http://host:port``."""
        return f"http://{self.address}"

    # What the connections ask for.

    def answers_to(self, name: str) -> bool:
        """Whether a host name is one of this server's."""
        return is_loopback(name) or name in self._names

    def reply(self, request: Request) -> Answer:
        """The answer to send, which is logged; raises HangUp where there is none."""
        try:
            answer = self.perform(request)
        except Exception as error:  # noqa: BLE001 - an emulator's own mistake has to be seen, not to hang the caller
            traceback.print_exc()
            answer = Answer(500, f"The emulator failed: {type(error).__name__}\n".encode(), "text/plain")
        if self._log is not None:
            # A path may hold line breaks once decoded; a log line is one line.
            path = request.path.encode("unicode_escape").decode()
            self._log(f"{request.method} {path} {answer.note or answer.status}")
        return answer


def refuse_in_the_cloud() -> None:
    """Raises CannotStart where the environment says that this is a cloud function: an emulator keeps nothing safe."""
    for name in CLOUD_VARIABLES:
        if name in os.environ:
            raise CannotStart(f"This is for a developer's machine only, and {name} says that this is a cloud function.")


def options(name: str, description: str, port: int) -> argparse.ArgumentParser:
    """The options that every emulator has, as a program of its own."""
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=description)
    parser.add_argument("--host", default="127.0.0.1", help="address to serve on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=port, help="port to serve on, 0 for any (default: %(default)s)")
    parser.add_argument(
        "--log",
        action="store_const",
        const=lambda line: print(line, flush=True),
        help="print a line for each request",
    )
    return parser


def serve_until_signal(server: LocalServer, greeting: Callable[[LocalServer], str]) -> int:
    """Runs a server until SIGINT or SIGTERM; prints the greeting once it serves. Returns the exit status."""
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    try:
        with server:
            print(greeting(server), flush=True)
            over.wait()
    except CannotStart as error:
        print(error, flush=True)
        return 1
    return 0
