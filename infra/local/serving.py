"""The base of the stand-ins: serves requests, records them, and goes wrong on demand.

A stand-in derives from :class:`LocalServer` and says what a request is called (``identify``) and what it answers
(``answer``). Recording, faults, holds, the clock and the ``/_control`` addresses come from here. Servers bind loopback
addresses only and refuse to start where a cloud function runs.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import os
import re
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from local.exchange import Answer, BadControl, Call, Deed, Fault, Request, When
from local.wire import LoopbackServer, is_loopback

__all__ = [
    "Answer",
    "BadControl",
    "Call",
    "CannotStart",
    "Deed",
    "Fault",
    "LocalServer",
    "Request",
    "When",
    "refuse_in_the_cloud",
    "serve_until_signal",
]

CALLS_KEPT = 200_000
"""Calls recorded at most; the oldest are forgotten first, so that a server may run for weeks."""

CLOUD_VARIABLES = ("K_SERVICE", "FUNCTION_TARGET")
"""Environment variables that exist only where a cloud function runs."""


class CannotStart(Exception):
    """A stand-in cannot start; the text is one sentence that says what to do."""


@dataclass
class _Armed:
    """A fault with what it has done so far."""

    fault: Fault
    seen: int = 0

    def takes(self, call: Call) -> bool:
        """Whether the fault acts on this call, which counts it."""
        if not self.fault.matches(call):
            return False
        self.seen += 1
        turn = self.seen - self.fault.skip
        return turn > 0 and (self.fault.times is None or turn <= self.fault.times)


class LocalServer:
    """A server on a loopback socket that records its calls and goes wrong on demand.

    Use it as a context manager, or call :meth:`start` and :meth:`stop`. Thread-safe. Derived classes implement
    :meth:`identify` and :meth:`answer`, and may extend :meth:`control`, :meth:`fault_body`, :meth:`opened` and
    :meth:`closed`.

    Args:
        host: A loopback address or ``localhost``.
        port: 0 takes a free one.
        log: Called with one line for each answered request: method, path without the query, status.

    Attributes:
        clock: The wall clock in seconds since the epoch; replace it to control time.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, *, log: Callable[[str], None] | None = None) -> None:
        self.clock: Callable[[], float] = time.time
        self._host, self._port, self._log = host, port, log
        self._offset = 0.0
        self._changed = threading.Condition()
        self._calls: dict[int, Call] = {}
        self._numbered = 0
        self._faults: list[_Armed] = []
        self._held: dict[str, int] = {}
        self._released: set[str] = set()
        self._fault_generation = 0
        self._stopping = threading.Event()
        self._socket: LoopbackServer | None = None
        self._thread: threading.Thread | None = None

    # What derived servers say.

    def identify(self, request: Request) -> tuple[str, str]:
        """The name and the resource under which a request is recorded."""
        return request.method, request.path

    def answer(self, request: Request, call: Call) -> Answer:
        """Carries a request out and says what to send."""
        raise NotImplementedError

    def control(self, request: Request, words: list[str]) -> Answer | None:  # noqa: ARG002
        """Answers a ``/_control/...`` request of this server's own; ``words`` is the rest of the path. None is a 404.

        Raises:
            BadControl: Answered as 400 with the error's text.
        """
        return None

    def fault_body(self, status: int) -> bytes | Mapping[str, Any]:  # noqa: ARG002
        """The body of a fault's answer that names none."""
        return b""

    def opened(self) -> None:
        """Called before the first request is taken."""

    def closed(self) -> None:
        """Called after the last request was answered."""

    # Start and stop.

    def start(self) -> Self:
        """Binds the port and serves in threads of its own.

        Raises:
            CannotStart: The port is taken, the address is not loopback, or this is a cloud function.
        """
        refuse_in_the_cloud()
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        if not is_loopback(self._host):
            raise CannotStart(f"{self._host} is not a loopback address: use 127.0.0.1, ::1 or localhost.")
        self._stopping.clear()
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
            target=self._socket.serve_forever, args=(0.05,), name=f"{type(self).__name__}:{self._port}", daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Lets held calls go, closes every connection and the port. Stopping twice does nothing."""
        if self._socket is None or self._thread is None:
            return
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
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

    # The clock.

    def now(self) -> float:
        """This server's wall clock in seconds since the epoch, offset included."""
        return self.clock() + self._offset

    def set_time_offset(self, seconds: float) -> None:
        """Shifts the wall clock by so many seconds from where it really is."""
        self._offset = seconds

    # Calls.

    @property
    def calls(self) -> list[Call]:
        """The calls recorded so far, in the order of arrival."""
        with self._changed:
            return list(self._calls.values())

    def forget_calls(self) -> None:
        """Empties the record; numbering goes on."""
        with self._changed:
            self._calls.clear()

    def count(self, name: str, resource: str = "") -> int:
        """How many recorded calls have this name (or shell pattern) and a resource that the expression is found in."""
        return sum(
            fnmatch.fnmatchcase(c.name, name) and re.search(resource, c.resource) is not None for c in self.calls
        )

    # Faults.

    def add_fault(self, fault: Fault) -> None:
        """From now on the fault acts on calls that match it."""
        with self._changed:
            self._faults.append(_Armed(fault))

    def clear_faults(self) -> None:
        """Forgets all faults and releases; held calls go on, and names of holds can be used again."""
        with self._changed:
            self._faults.clear()
            self._released.clear()
            self._fault_generation += 1
            self._changed.notify_all()

    def wait_held(self, hold: str, timeout: float = 20) -> None:
        """Waits until a call is held under that name.

        Raises:
            TimeoutError: None was within ``timeout`` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._held.get(hold, 0) > 0, timeout):
                raise TimeoutError(f"No call was held under {hold!r} within {timeout} seconds.")

    def release(self, hold: str) -> None:
        """Lets the calls held under that name go on, and every later one."""
        with self._changed:
            self._released.add(hold)
            self._changed.notify_all()

    @property
    def held(self) -> dict[str, int]:
        """How many calls are held at the moment, by the name of the hold."""
        with self._changed:
            return {name: number for name, number in self._held.items() if number}

    # What the connections ask for.

    def respond(self, request: Request) -> tuple[Fault | None, Answer]:
        """Records a request and carries it out: the answer, and the fault that spoils its sending, if any."""
        if request.path.startswith("/_control/"):
            return None, self._control(request)
        call, generation = self._record(request)
        fault, answer = self._carry_out(request, call, generation)
        dropped = fault is not None and fault.do == "drop"
        # Recorded before it is sent, so that whoever has the answer also finds it recorded.
        self._answered(request, call, 0 if dropped else answer.status)
        return fault, answer

    def pause(self, seconds: float) -> bool:
        """Waits; True at once where the server is being stopped."""
        return self._stopping.wait(seconds)

    def _record(self, request: Request) -> tuple[Call, int]:
        name, resource = self.identify(request)
        with self._changed:
            self._numbered += 1
            call = Call(
                number=self._numbered,
                name=name,
                resource=resource,
                identity=request.headers.get("X-Identity", ""),
                status=0,
                at=time.monotonic(),
            )
            self._calls[call.number] = call
            if len(self._calls) > CALLS_KEPT:
                del self._calls[next(iter(self._calls))]
            return call, self._fault_generation

    def _answered(self, request: Request, call: Call, status: int) -> None:
        with self._changed:
            if call.number in self._calls:
                self._calls[call.number] = dataclasses.replace(call, status=status)
        if self._log is not None:
            # A path may hold line breaks once decoded; a log line is one line.
            path = request.path.encode("unicode_escape").decode()
            self._log(f"{request.method} {path} {status or 'dropped'}")

    def _faulty(self, call: Call, when: When, generation: int) -> Fault | None:
        """Lets delays and holds pass; the first fault that ends the call, if any.

        Faults that were added after those of the call's arrival had been cleared are none of its business.
        """
        position = 0
        while True:
            with self._changed:
                if self._fault_generation != generation:
                    return None
                fault = None
                while position < len(self._faults) and fault is None:
                    armed = self._faults[position]
                    position += 1
                    if armed.fault.when == when and armed.takes(call):
                        fault = armed.fault
            if fault is None:
                return None
            if fault.do == "delay":
                self.pause(fault.seconds)
            elif fault.do == "hold":
                self._wait_for_release(fault.hold, generation)
            else:
                return fault

    def _wait_for_release(self, hold: str, generation: int) -> None:
        with self._changed:
            self._held[hold] = self._held.get(hold, 0) + 1
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: hold in self._released or self._fault_generation != generation or self._stopping.is_set()
            )
            self._held[hold] -= 1

    def _fault_answer(self, fault: Fault) -> Answer:
        body = self.fault_body(fault.status) if fault.body is None else fault.body
        return Answer(fault.status, body, fault.content_type, fault.headers)

    def _carry_out(self, request: Request, call: Call, generation: int) -> tuple[Fault | None, Answer]:
        """The fault that shapes the sending, if any, and the answer to send."""
        fault = self._faulty(call, "before", generation)
        if fault is not None:
            return fault, self._fault_answer(fault)
        try:
            answer = self.answer(request, call)
        except Exception as error:  # noqa: BLE001 - a stand-in's own mistake has to be seen, not to hang the caller
            traceback.print_exc()
            answer = Answer(500, f"The stand-in failed: {type(error).__name__}\n".encode(), "text/plain")
        fault = self._faulty(call, "after", generation)
        if fault is not None and (fault.do == "answer" or fault.body is not None):
            answer = self._fault_answer(fault)
        return fault, answer

    def _control(self, request: Request) -> Answer:
        words = [word for word in request.path.split("/") if word][1:]
        try:
            return (
                self._common_control(request, words)
                or self.control(request, words)
                or Answer(404, {"message": "No such control."})
            )
        except BadControl as error:
            return Answer(400, {"message": str(error)})

    def _common_control(self, request: Request, words: list[str]) -> Answer | None:
        match request.method, words:
            case "GET", ["calls"]:
                return Answer(body={"calls": [dataclasses.asdict(call) for call in self.calls]})
            case "DELETE", ["calls"]:
                self.forget_calls()
            case "POST", ["faults"]:
                self.add_fault(Fault.from_json(request.json()))
            case "DELETE", ["faults"]:
                self.clear_faults()
            case "GET", ["held"]:
                return Answer(body={"held": self.held})
            case "POST", ["release", hold]:
                self.release(hold)
            case "POST", ["clock"]:
                offset = request.json().get("offset_seconds")
                if not isinstance(offset, int | float) or isinstance(offset, bool):
                    raise BadControl("'offset_seconds' has to be a number.")
                self.set_time_offset(offset)
            case _:
                return None
        return Answer(body={})


def refuse_in_the_cloud() -> None:
    """Raises CannotStart where the environment says that this is a cloud function: a stand-in keeps nothing safe."""
    for name in CLOUD_VARIABLES:
        if name in os.environ:
            raise CannotStart(f"This is for a developer's machine only, and {name} says that this is a cloud function.")


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
