"""What tests add to the emulators of `infra/local`: calls are recorded, faults spoil them, and the clock moves.

`LocalServer` is also the base of the servers that only tests need. Everything is thread-safe.
"""

import dataclasses
import fnmatch
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from local import serving
from local.exchange import Answer, HangUp, Request

__all__ = ["Answer", "Call", "Fault", "LocalServer", "Request"]

When = Literal["before", "after"]
Deed = Literal["answer", "delay", "drop", "hold", "drip", "truncate"]


@dataclass(frozen=True)
class Call:
    """One recorded request."""

    number: int  # counts from 1 in the order of arrival
    name: str  # what was called, such as `AddSecretVersion` or `refresh_token`
    resource: str  # what it was called on: a resource name or a path
    status: int  # HTTP status that was sent; 0 while unanswered and where the answer was dropped
    at: float  # `time.monotonic()` at arrival, in seconds


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong with calls that match.

    Faults act in the order in which they were added. `delay` and `hold` let the call go on to the next one; every other
    kind ends it.
    """

    call: str = "*"  # the call's name, or a shell pattern
    resource: str = ""  # regular expression searched for in the call's resource; "" matches all
    skip: int = 0  # matching calls let through first
    times: int | None = 1  # matching calls acted on after that; None for all
    when: When = "before"  # the call takes effect (which all but `delay` and `hold` keep it from), or after it has
    # `answer` sends `status` and `body`, `delay` waits, `drop` closes the connection without a byte, `hold` waits for
    # `release`, `drip` spreads the body over `seconds`, `truncate` announces the whole body and sends half of it.
    do: Deed = "answer"
    status: int = 503
    # bytes, or an object sent as JSON; None: the server's usual one, or the real answer after the call took effect
    body: bytes | Mapping[str, Any] | None = None
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)  # sent as well
    seconds: float = 0.0  # of `delay` and `drip`
    hold: str = ""  # names the hold


@dataclass
class _Armed:
    """A fault with the number of calls that matched it so far."""

    fault: Fault
    matched: int = 0

    def acts_on(self, call: Call) -> bool:
        """Whether the fault acts on this call, which counts it."""
        fault = self.fault
        if not fnmatch.fnmatchcase(call.name, fault.call) or re.search(fault.resource, call.resource) is None:
            return False
        self.matched += 1
        acted = self.matched - fault.skip
        return acted > 0 and (fault.times is None or acted <= fault.times)


@dataclass(frozen=True)
class _Spoiled(Answer):
    """An answer whose sending a fault spoils; `wait` waits so many seconds, and is True where the server is stopped."""

    fault: Fault = Fault()
    wait: Callable[[float], bool] = lambda _: False

    def pieces(self) -> Iterator[bytes]:
        body = self.payload
        if self.fault.do == "truncate":
            yield body[: len(body) // 2]
            raise HangUp
        count = max(1, min(len(body), 20))
        step = max(1, -(-len(body) // count))
        yield b""
        for start in range(0, len(body), step):
            if self.wait(self.fault.seconds / count):
                raise HangUp
            yield body[start : start + step]


class LocalServer(serving.LocalServer):
    """A server whose calls are recorded and go wrong on demand.

    Derived classes implement :meth:`perform`, or derive from an emulator as well, and may extend :meth:`identify` and
    :meth:`fault_body`. `clock` is the wall clock in seconds since the epoch; replace it to control time.
    """

    def __init__(self, *words: Any, **more: Any) -> None:
        super().__init__(*words, **more)
        self.clock: Callable[[], float] = time.time
        self._offset = 0.0
        self._recorded: dict[int, Call] = {}
        self._numbered = 0
        self._recording = threading.Lock()
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._armed: list[_Armed] = []
        self._held: dict[str, int] = {}
        self._released: set[str] = set()
        self._generation = 0

    # What derived servers say.

    def identify(self, request: Request) -> tuple[str, str]:
        """The name and the resource under which a request is recorded."""
        return request.method, request.path

    def fault_body(self, status: int) -> bytes | Mapping[str, Any]:  # noqa: ARG002
        """The body of a fault's answer that names none."""
        return b""

    # The clock.

    def now(self) -> float:
        return self.clock() + self._offset

    def set_time_offset(self, seconds: float) -> None:
        """Shifts the wall clock by so many seconds from where it really is."""
        self._offset = seconds

    # The record.

    @property
    def calls(self) -> list[Call]:
        """The calls recorded so far, in the order of arrival."""
        with self._recording:
            return list(self._recorded.values())

    def forget_calls(self) -> None:
        """Empties the record; numbering goes on."""
        with self._recording:
            self._recorded.clear()

    def count(self, name: str, resource: str = "") -> int:
        """How many recorded calls have this name (or shell pattern) and a resource that the expression is found in."""
        return sum(
            fnmatch.fnmatchcase(c.name, name) and re.search(resource, c.resource) is not None for c in self.calls
        )

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._socket.open) if self._socket else 0

    # Going wrong.

    def add_fault(self, fault: Fault) -> None:
        """From now on the fault acts on calls that match it."""
        with self._changed:
            self._armed.append(_Armed(fault))

    def clear_faults(self) -> None:
        """Forgets all faults and releases; held calls go on, and names of holds can be used again."""
        with self._changed:
            self._armed.clear()
            self._released.clear()
            self._generation += 1
            self._changed.notify_all()

    def wait_held(self, hold: str, timeout: float = 20) -> None:
        """Waits until a call is held under that name; TimeoutError where none was within ``timeout`` seconds."""
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

    # Serving.

    def start(self) -> Self:
        self._stopping.clear()
        return super().start()

    def stop(self) -> None:
        """Lets held calls go, then stops."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        super().stop()

    def reply(self, request: Request) -> Answer:
        fault, answer = self.respond(request)
        if fault is None or fault.do == "answer":
            return answer
        if fault.do == "drop":
            raise HangUp
        parts = {name.name: getattr(answer, name.name) for name in dataclasses.fields(Answer)}
        return _Spoiled(**parts, fault=fault, wait=self._stopping.wait)

    def respond(self, request: Request) -> tuple[Fault | None, Answer]:
        """Records a request and carries it out: the answer, and the fault that spoils its sending, if any."""
        generation = self._generation
        call = self._record(*self.identify(request))
        fault = self._fault_of(call, "before", generation)
        if fault is not None:
            answer = self._fault_answer(fault)
        else:
            answer = super().reply(request)
            fault = self._fault_of(call, "after", generation)
            if fault is not None and (fault.do == "answer" or fault.body is not None):
                answer = self._fault_answer(fault)
        # Recorded before it is sent, so that whoever has the answer also finds it recorded.
        with self._recording:
            if call.number in self._recorded:
                status = 0 if fault is not None and fault.do == "drop" else answer.status
                self._recorded[call.number] = dataclasses.replace(call, status=status)
        return fault, answer

    def _record(self, name: str, resource: str) -> Call:
        with self._recording:
            self._numbered += 1
            call = Call(number=self._numbered, name=name, resource=resource, status=0, at=time.monotonic())
            self._recorded[call.number] = call
            return call

    def _fault_answer(self, fault: Fault) -> Answer:
        body = self.fault_body(fault.status) if fault.body is None else fault.body
        return Answer(fault.status, body, fault.content_type, fault.headers)

    def _fault_of(self, call: Call, when: When, generation: int) -> Fault | None:
        """Lets delays and holds pass; the first fault that ends the call, if any.

        Faults that were added after those of the call's arrival had been cleared do not concern it.
        """
        position = 0
        while True:
            with self._changed:
                if self._generation != generation or position == len(self._armed):
                    return None
                armed = self._armed[position]
                position += 1
                acts = armed.fault.when == when and armed.acts_on(call)
            fault = armed.fault
            if not acts:
                continue
            if fault.do == "delay":
                self._stopping.wait(fault.seconds)
            elif fault.do == "hold":
                self._wait_for_release(fault.hold, generation)
            else:
                return fault

    def _wait_for_release(self, hold: str, generation: int) -> None:
        with self._changed:
            self._held[hold] = self._held.get(hold, 0) + 1
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: hold in self._released or self._generation != generation or self._stopping.is_set()
            )
            self._held[hold] -= 1
