"""The local servers without sockets: Secret Manager and TikTok as the functions get them passed in.

A call goes from the product straight to what the servers on sockets answer with, faults, quotas and delays included.
Left out is HTTP, which takes far longer than all the rest and has tests of its own.
"""

import json
import random
import threading
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


@dataclass(frozen=True)
class Moment:
    """A moment in something that is under way."""

    call: str  # the name of the call that is made
    secret: str = ""  # the id of the secret that it is about; empty where it is about none
    skip: int = 0  # how many such calls come before
    after: bool = False  # whether the call has taken place and is not answered yet

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} {self.call} {self.secret} ({self.skip + 1})"


@dataclass
class Wire:
    """All calls pass here: they take time, the process dies at one of them, and other things happen meanwhile."""

    # By stand-in (`secrets`, `tiktok`), the shortest and the longest time that a call takes, in seconds.
    takes: dict[str, tuple[float, float]] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)  # name and secret of each call
    # Of each POST to TikTok, how long it may take, and whether it is sent over a connection of its own.
    posts: list[tuple[float, bool]] = field(default_factory=list)
    unreachable: float = 0  # to how many calls to TikTok no connection comes about
    dies_in: int = 0  # at which call from now the process dies; 0 for never
    dies_of: str = ""  # only calls whose name has this in it are counted
    dies_after: bool = False  # whether that call takes place first; nobody sees its answer
    deaths: int = 0  # how many processes have died: from then on no call leaves them
    _acts: dict[Moment, Callable[[], object]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _chance: random.Random = field(default_factory=lambda: random.Random(7))

    def at(self, moment: Moment, act: Callable[[], object]) -> None:
        """Have this happen at that moment of whatever comes next, once, while the caller is held up."""
        self._acts[moment] = act

    def forget_moments(self) -> None:
        """Nothing happens at a moment that did not come."""
        self._acts.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.takes.clear()
        self.calls.clear()
        self.posts.clear()
        self.forget_moments()
        self.unreachable = 0

    def carry(
        self, process: int, server: LocalServer, call: str, secret: str, request: Request, limit: float
    ) -> tuple[Fault | None, Answer]:
        """Make one call within `limit` seconds, for a process that began after so many deaths.

        Raises:
            Died: the process is dead, or dies here.
            TimeoutError: it was done, and the answer came too late.
        """
        with self._lock:
            if process != self.deaths:
                raise Died
            counted = self.dies_in > 0 and self.dies_of in call
            self.dies_in -= counted
            dies = counted and self.dies_in == 0
            self.deaths += dies
            self.calls.append((call, secret))
        if dies and not self.dies_after:
            raise Died
        self._happen(Moment(call, secret))
        if process + dies != self.deaths:
            raise Died
        takes = self._chance.uniform(*self.takes.get("secrets" if call[0].isupper() else "tiktok", (0.0, 0.0)))
        if takes:
            clock.sleep(min(takes, limit))
        found = server.respond(request)
        if not dies:
            self._happen(Moment(call, secret, after=True))
        if process != self.deaths:
            raise Died
        if takes > limit:
            raise TimeoutError
        return found

    def _happen(self, now: Moment) -> None:
        with self._lock:
            due = {moment: self._acts.pop(moment) for moment in [*self._acts] if replace(moment, skip=0) == now}
            self._acts |= {replace(one, skip=one.skip - 1): act for one, act in due.items() if one.skip}
        for moment, act in due.items():
            if not moment.skip:
                act()


class _Direct:
    """A server as it is called by the process that lives now."""

    def __init__(self, wire: Wire, server: LocalServer) -> None:
        self._wire, self._server, self._process = wire, server, wire.deaths


class DirectStore(_Direct):
    """The embedded Secret Manager as `store.secretmanager.SecretManager` gets it passed in: see its `Transport`."""

    project = ""

    def send(
        self, method: str, path: str, query: Mapping[str, str], body: Mapping[str, object] | None, seconds: float
    ) -> store.Answer:
        content = b"" if body is None else json.dumps(body).encode()
        request = Request(method, f"/v1{path}", urlencode(query), Message(), content)
        target = target_of(request)
        assert target is not None
        fault, answer = self._wire.carry(self._process, self._server, target.call, target.secret, request, seconds)
        if fault is not None and fault.do in {"drop", "truncate"}:
            raise ProtocolError
        return store.Answer(answer.status, answer.payload)


class DirectTransport(_Direct):
    """The simulated TikTok as `tiktok.families.TikTok` gets it passed in: see `Transport`."""

    def send(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        content: bytes | None,
        seconds: float,
        _largest: int,
        *,
        fresh: bool = False,
    ) -> transport.Answer:
        if method == "POST":
            self._wire.posts.append((seconds, fresh))
        fields = Message()
        for name, value in headers.items():
            fields[name] = value
        path, _, query = target.partition("?")
        request = Request(method, API_PATH + path, query, fields, content or b"")
        if self._wire.unreachable > 0:
            self._wire.unreachable -= 1
            raise TikTokUnreachable("TikTok could not be reached (ConnectionError)")
        try:
            fault, answer = self._wire.carry(
                self._process, self._server, ENDPOINTS[request.path][1], "", request, seconds
            )
        except TimeoutError:
            raise TikTokSilent("TikTok did not answer in time") from None
        if fault is not None and fault.do in {"drop", "truncate"}:
            raise TikTokSilent("The connection to TikTok broke")
        try:
            document = json.loads(answer.payload)
        except ValueError:
            document = None
        return transport.Answer(answer.status, document if isinstance(document, dict) else None)
