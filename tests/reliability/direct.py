"""The local servers without sockets: Secret Manager and TikTok as the functions get them passed in.

A call goes from the product straight to what the servers on sockets answer with, faults, quotas and delays included.
Left out is HTTP, which takes far longer than all the rest and has tests of its own.
"""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from email.message import Message
from urllib.parse import urlencode

from urllib3.exceptions import ProtocolError

from emulators.serving import Answer, Fault, LocalServer, Request
from local.secret_manager.routes import target_of
from local.tiktok.api import API_PATH, ENDPOINTS
from tokenkeeper import clock
from tokenkeeper.errors import TikTokSilent, TikTokUnreachable
from tokenkeeper.store import transport as store
from tokenkeeper.tiktok import transport


class Died(BaseException):
    """The process is gone. Not an `Exception`, since no code of a dead process runs."""


@dataclass
class Process:
    """One process that the functions run in, and when it dies.

    Attributes:
        dies_at: The number of the call, from 1, at which it dies; 0 for never.
        of: Only calls whose name has this in it are counted.
        after: Whether that call takes place first; nobody sees its answer.
        calls: The calls so far.
        dead: Whether it has died: from then on no call leaves it.
    """

    dies_at: int = 0
    of: str = ""
    after: bool = False
    calls: int = 0
    dead: bool = False


@dataclass(frozen=True)
class Moment:
    """A moment in something that is under way.

    Attributes:
        call: The name of the call that is made.
        resource: The secret's name, or the path.
        skip: How many such calls came before.
        after: Whether the call has taken place and is not answered yet.
    """

    call: str
    resource: str
    skip: int
    after: bool = False

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} {self.call} {self.resource} ({self.skip + 1})"


@dataclass
class Wire:
    """All calls of all processes pass here: they take time, processes die at them, and other things happen meanwhile.

    Attributes:
        takes: By stand-in (`secrets`, `tiktok`), the shortest and the longest time that a call takes, in seconds.
        calls: Name and resource of each call.
        unreachable: To how many calls to TikTok no connection comes about.
    """

    takes: dict[str, tuple[float, float]] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    unreachable: float = 0
    _counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    _acts: dict[Moment, Callable[[], object]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _chance: random.Random = field(default_factory=lambda: random.Random(7))

    def at(self, moment: Moment, act: Callable[[], object]) -> None:
        """Have this happen at that moment, once, while the caller is held up."""
        self._acts[replace(moment, skip=self._counts[moment.call, moment.resource] + moment.skip)] = act

    def forget_moments(self) -> None:
        """Nothing happens at a moment that did not come."""
        self._acts.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.takes.clear()
        self.calls.clear()
        self._counts.clear()
        self._acts.clear()
        self.unreachable = 0

    def carry(
        self, process: Process, server: LocalServer, moment: Moment, request: Request, limit: float
    ) -> tuple[Fault | None, Answer]:
        """Make one call within `limit` seconds.

        Raises:
            TimeoutError: it was done, and the answer came too late.
        """
        with self._lock:
            if process.dead:
                raise Died
            counted = process.of in moment.call
            process.calls += counted
            dies = process.dead = counted and process.calls == process.dies_at
            key = (moment.call, moment.resource)
            moment = replace(moment, skip=self._counts[key])
            self._counts[key] += 1
            self.calls.append(key)
        if dies and not process.after:
            raise Died
        self._happen(moment)
        if process.dead and not dies:
            raise Died
        takes = self._chance.uniform(*self.takes.get("tiktok" if API_PATH in request.path else "secrets", (0.0, 0.0)))
        if takes:
            clock.sleep(min(takes, limit))
        found = server.respond(request)
        if dies:
            raise Died
        self._happen(replace(moment, after=True))
        if process.dead:
            raise Died
        if takes > limit:
            raise TimeoutError
        return found

    def _happen(self, moment: Moment) -> None:
        act = self._acts.pop(moment, None)
        if act is not None:
            act()


class DirectStore:
    """The embedded Secret Manager as `store.secretmanager.SecretManager` gets it passed in: see its `Transport`."""

    project = ""

    def __init__(self, wire: Wire, process: Process, server: LocalServer) -> None:
        self._wire, self._process, self._server = wire, process, server

    def send(
        self, method: str, path: str, query: Mapping[str, str], body: Mapping[str, object] | None, seconds: float
    ) -> store.Answer:
        content = b"" if body is None else json.dumps(body).encode()
        request = Request(method, f"/v1{path}", urlencode(query), Message(), content)
        target = target_of(request)
        assert target is not None
        moment = Moment(target.call, target.secret, 0)
        fault, answer = self._wire.carry(self._process, self._server, moment, request, seconds)
        if fault is not None and fault.do in {"drop", "truncate"}:
            raise ProtocolError
        return store.Answer(answer.status, answer.payload)


class DirectTransport:
    """The simulated TikTok as `tiktok.families.TikTok` gets it passed in: see `Transport`."""

    def __init__(self, wire: Wire, process: Process, server: LocalServer) -> None:
        self._wire, self._process, self._server = wire, process, server

    def get(
        self, path: str, query: Mapping[str, str], headers: Mapping[str, str], seconds: float, _largest: int
    ) -> transport.Answer:
        fields = Message()
        for name, value in headers.items():
            fields[name] = value
        return self._send(Request("GET", API_PATH + path, urlencode(query), fields, b""), seconds)

    def post(
        self, path: str, body: Mapping[str, object], seconds: float, _largest: int, **_how: object
    ) -> transport.Answer:
        return self._send(Request("POST", API_PATH + path, "", Message(), json.dumps(body).encode()), seconds)

    def _send(self, request: Request, seconds: float) -> transport.Answer:
        if self._wire.unreachable > 0:
            self._wire.unreachable -= 1
            raise TikTokUnreachable("TikTok could not be reached (ConnectionError)")
        moment = Moment(ENDPOINTS[request.path][1], "", 0)
        try:
            fault, answer = self._wire.carry(self._process, self._server, moment, request, seconds)
        except TimeoutError:
            raise TikTokSilent("TikTok did not answer in time") from None
        if fault is not None and fault.do in {"drop", "truncate"}:
            raise TikTokSilent("The connection to TikTok broke")
        try:
            document = json.loads(answer.payload)
        except ValueError:
            document = None
        return transport.Answer(answer.status, document if isinstance(document, dict) else None)
