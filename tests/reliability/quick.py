"""The stage with both functions inside the test's own process, where time passes at will and a death can be played.

The stand-ins are the same servers on sockets. What is replaced is time (a wait is over at once, and everybody's clock
has moved on by it), and, where a test asks for that, the moment of dying: from then on no call leaves the functions
and nothing that they would still do happens. What really dies, under SIGKILL, is in `test_kills`.
"""

from __future__ import annotations

import contextvars
import json
import math
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast

import pytest
import requests
from flask import Request
from requests.adapters import HTTPAdapter
from werkzeug.test import Client

from canaries import Canaries
from local.serving import Fault, LocalServer
from local.tiktok import Options
from stage import REFRESH, TOKEN, Browser, Stage
from tokenkeeper import clock, log, settings, transport
from tokenkeeper.connect import Connect
from tokenkeeper.refresh import Refresh

BEGINNING = datetime(2026, 11, 22, 10, tzinfo=UTC)
_USUAL = {"run.finished", "connection.begun"}
# What can become of a call to Secret Manager, as the words of a fault.
AWAY: dict[str, Any] = {"status": 503}
FORBIDDEN: dict[str, Any] = {"status": 403}
THROTTLED: dict[str, Any] = {"status": 429}
LOST: dict[str, Any] = {"do": "drop"}
TROUBLES: dict[str, dict[str, Any]] = {
    "the answer is 503": AWAY,
    "the answer is 500": {"status": 500},
    "the answer is 429": THROTTLED,
    "the call is lost on its way": LOST,
    "the answer is lost": {"do": "drop", "when": "after"},
    "the answer is cut off": {"do": "truncate", "when": "after"},
    "a gateway answers with a page": {"status": 502, "body": b"<html>", "content_type": "text/html"},
}
_SKEW: contextvars.ContextVar[float] = contextvars.ContextVar("skew", default=0.0)


class Died(BaseException):
    """The process is gone. Not an `Exception`, since no code of a dead process runs."""


class Time:
    """Everybody's time: it stands still but for what is waited for and what a test lets pass."""

    def __init__(self) -> None:
        self._passed = 0.0
        self._standing = False
        self._lock = threading.Lock()

    def sleep(self, seconds: float) -> None:
        """Wait: over at once, and all clocks have moved on; where time stands, over soon, and none has."""
        if self._standing:
            threading.Event().wait(min(seconds, 0.001))
        else:
            self.let_pass(seconds)

    @contextmanager
    def standing(self) -> Iterator[None]:
        """Nobody's waiting makes time pass inside: all that happens, happens at the same moment."""
        self._standing = True
        try:
            yield
        finally:
            self._standing = False

    def let_pass(self, seconds: float) -> None:
        """Move every clock and every stopwatch on."""
        with self._lock:
            self._passed += seconds

    def true(self) -> datetime:
        """What a clock that is right shows."""
        return BEGINNING + timedelta(seconds=self._passed)

    def shown(self) -> datetime:
        """What the clock of whoever asks shows."""
        return self.true() + timedelta(seconds=_SKEW.get())

    def stopwatch(self) -> float:
        return self._passed


@contextmanager
def clock_off_by(**span: float) -> Iterator[None]:
    """Whatever runs inside has a clock that is so far ahead (`minutes=10`), or behind."""
    token = _SKEW.set(timedelta(**span).total_seconds())
    try:
        yield
    finally:
        _SKEW.reset(token)


@dataclass
class Fate:
    """When the process dies: at which call to a stand-in, and whether that call still takes place.

    Attributes:
        at: The number of the call, from 1; 0 for never.
        of: Only calls are counted whose address has this in it.
        after: Whether the call takes place first; its answer is not seen by anybody.
        calls: The calls so far.
        dead: Whether it has died.
    """

    at: int = 0
    of: str = ""
    after: bool = False
    calls: int = 0
    dead: bool = False


@dataclass(frozen=True)
class Outcome:
    """The four things that matter after any trouble.

    Attributes:
        stored: Which grant its secrets hold: `old`, the one that was there first; `new`, the one that TikTok holds for
            good; `half` where the refresh secret has that and the token secret not yet; `broken` for anything else.
        health: The connection's state.
        token_calls: How often TikTok was asked to make a token since this was asked last.
        events: What was logged since then, with severities, without what every run says.
    """

    stored: str
    health: str
    token_calls: int
    events: tuple[str, ...]


NEW = Outcome("new", "ok", 1, ("INFO token.refreshed",))
"""After a run that refreshed."""
AS_IT_IS = replace(NEW, token_calls=0, events=())
"""After one that found it so."""
UNTOUCHED = Outcome("old", "ok", 0, ())
"""After one that had nothing to do, or could do nothing."""


# What a callback may find, and how late readings of `latest` may be, under the sentences of `each`.
OVER = {
    "where nothing was stored": None,
    "in place of a long-lived grant": "long-lived",
    "in place of an expiring grant": "expiring",
}
LATEST = {"latest is right": 0, "latest is one version late": 1, "latest is two versions late": 2}


def each(name: str, cases: Mapping[str, Any]) -> pytest.MarkDecorator:
    """The test is made once for each of these values, under the sentence that is its key."""
    return pytest.mark.parametrize(name, cases.values(), ids=cases.keys())


def mostly_slow(cases: Mapping[str, Any], *quickly: str) -> dict[str, Any]:
    """The same cases, all slow ones but those named."""
    return {
        name: value if name in quickly else pytest.param(value, marks=pytest.mark.slow) for name, value in cases.items()
    }


@dataclass(frozen=True)
class Point:
    """A moment in something that is under way.

    Attributes:
        server: The stand-in that is called.
        call: The call's name.
        resource: What it is about.
        skip: How many such calls came before.
        when: Whether it is about to take place, or has taken place and is not answered yet.
    """

    server: Literal["secrets", "tiktok"]
    call: str
    resource: str
    skip: int
    when: Literal["before", "after"] = "before"

    def __str__(self) -> str:
        return f"{self.when} {self.call} {self.resource.rpartition('/secrets/')[2]} ({self.skip + 1})"


class Ears:
    """Where the functions' log goes."""

    def __init__(self, canaries: Canaries) -> None:
        self.lines: list[str] = []
        self._canaries = canaries

    def write(self, text: str) -> int:
        self._canaries.hear("the log", text)
        self.lines.append(text)
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False


class QuickBrowser(Browser):
    """A browser that knocks at a function inside this process."""

    def __init__(self, function: Callable[[], Connect], canaries: Canaries) -> None:
        super().__init__("", canaries)
        self._client = Client(_served(function))

    def request(self, method: str, path: str, **what: Any) -> requests.Response:
        response = self._client.open(path, method=method, **what)
        return cast("requests.Response", response)  # status_code, text and headers are the same there


def _served(function: Callable[[], Connect | Refresh]) -> Callable[..., Any]:
    def application(environ: Any, start: Any) -> Any:
        return function().answer(Request(environ))(environ, start)

    return application


@dataclass
class QuickStage(Stage):
    """Both stand-ins on sockets, both functions here.

    Attributes:
        patience: The most real seconds that a call to TikTok may take, which is otherwise what the call allows.
    """

    patience: float = math.inf
    clocks: Time = field(default_factory=Time)
    fate: Fate = field(default_factory=Fate)
    call_takes: float = 0.0  # seconds, of everybody's time
    changes: dict[str, str | None] = field(default_factory=dict)
    _functions: dict[str, Connect | Refresh] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ears = Ears(self.canaries)
        for server in (self.secrets, self.tiktok):
            server.clock = lambda: self.clocks.true().timestamp()

    # --- the functions ---

    def new_instances(self, **changes: str | None) -> None:
        """Both functions start anew and remember nothing; settings may be others from now on."""
        self.changes |= changes
        self._functions.clear()

    def instance(self, target: str) -> Connect | Refresh:
        """One more instance of a function, beside the usual one."""
        usual = {"CALLBACK_BUDGET_SECONDS": "50", "RUN_BUDGET_SECONDS": "1500"}
        environment = self.environment(8080, **{**usual, **self.changes})
        if target == "connect":
            return Connect(settings.read(settings.CONNECT, environment))
        return Refresh(settings.read(settings.REFRESH, environment))

    @property
    def keeper(self) -> Refresh:
        """The usual `refresh`."""
        if "refresh" not in self._functions:
            self._functions["refresh"] = self.instance("refresh")
        return cast("Refresh", self._functions["refresh"])

    def run(self, body: Mapping[str, Any] | None = None, *, function: Any = None) -> tuple[int, dict[str, Any]]:
        client = Client(_served(lambda: function or self.keeper))
        answer = client.post("/", data=b"" if body is None else json.dumps(body))
        self.canaries.hear("refresh's answer", answer.text)
        return answer.status_code, json.loads(answer.text)

    @property
    def page(self) -> Connect:
        """The usual `connect`."""
        if "connect" not in self._functions:
            self._functions["connect"] = self.instance("connect")
        return cast("Connect", self._functions["connect"])

    def browser(self, function: Any = None) -> Browser:
        """A browser without cookies; instances come and go while it is open."""
        return QuickBrowser(lambda: function or self.page, self.canaries)

    # --- time and death ---

    def later(self, **span: float) -> None:
        self.clocks.let_pass(timedelta(**span).total_seconds())

    def set_clock(self, *, functions: float | None = None, stand_ins: float | None = None) -> None:
        """Here every clock shows the same; see `later` and `clock_off_by`."""

    @contextmanager
    def dying(self, at: int, of: str = "", *, after: bool) -> Iterator[Fate]:
        """Whatever runs inside dies at that call (`of` these), and its instances with it."""
        self.fate = Fate(at, of, after)
        try:
            yield self.fate
        except Died:
            pass
        finally:
            if self.fate.dead:
                self._functions.clear()
            self.fate = Fate()

    @contextmanager
    def meanwhile(self, *acts: Callable[[], Any]) -> Iterator[None]:
        """These go on at the same time as what is inside; all of them are over afterwards."""
        threads = [threading.Thread(target=contextvars.copy_context().run, args=(act,)) for act in acts]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            for thread in threads:
                thread.join(60)
        assert not any(thread.is_alive() for thread in threads)

    # --- holding up ---

    def points(self, act: Callable[[], Any], about: str = "") -> list[Point]:
        """Before each call that an action makes when it is left alone, and after the last one.

        Only the calls that `about` is found in. What makes one call after the other is in the same place after a call
        as before the next one.
        """
        self.secrets.forget_calls()
        self.tiktok.forget_calls()
        act()
        servers: list[tuple[Literal["secrets", "tiktok"], LocalServer]]
        servers = [("secrets", self.secrets), ("tiktok", self.tiktok)]
        calls = [(call.at, name, call) for name, server in servers for call in server.calls]
        seen: Counter[tuple[str, str]] = Counter()
        found = []
        for _, name, call in sorted(calls, key=lambda item: item[0]):
            if re.search(about, f"{call.name} {call.resource}"):
                found.append(Point(name, call.name, call.resource, seen[call.name, call.resource]))
            seen[call.name, call.resource] += 1
        return [*found, replace(found[-1], when="after")]

    @contextmanager
    def held_up(self, act: Callable[[], Any], point: Point) -> Iterator[None]:
        """The action is under way and held up at that point, and goes on to its end afterwards."""
        server: LocalServer = getattr(self, point.server)
        resource = f"{re.escape(point.resource)}$"
        server.add_fault(Fault(point.call, resource, point.skip, when=point.when, do="hold", hold="here"))
        with self.meanwhile(act):
            try:
                server.wait_held("here")
                yield
            finally:
                server.release("here")
        server.clear_faults()

    def run_beside_another(self) -> None:
        """Two instances' runs at once: the other one comes when TikTok has answered the first one's refresh."""
        self.tiktok.add_fault(Fault("refresh_token", do="hold", hold="here", when="after"))
        other = self.instance("refresh")
        with self.meanwhile(self.run):
            self.tiktok.wait_held("here")
            with self.meanwhile(lambda: self.run(function=other)):
                self.tiktok.release("here")

    # --- looking ---

    def entries(self) -> list[dict[str, Any]]:
        """The log so far, as objects."""
        return [json.loads(line) for line in list(self.ears.lines)]

    def events(self, *severities: str) -> list[str]:
        return [entry["event"] for entry in self.entries() if not severities or entry["severity"] in severities]

    def news(self) -> list[str]:
        """The names of what was logged since this was asked last, without what every run says."""
        return [said.partition(" ")[2] for said in self.told()]

    def told(self) -> list[str]:
        """The same with severities."""
        found = [f"{entry['severity']} {entry['event']}" for entry in self.entries() if entry["event"] not in _USUAL]
        self.ears.lines.clear()
        return found

    def outcome(self, connection: str = "acme") -> Outcome:
        """What came of whatever happened; no lease may be left behind."""
        annotations = self.annotations(connection)
        assert "lease" not in annotations
        health = self.labels(connection)["health"]
        assert ("failing-since" in annotations) == ("last-error" in annotations) == (health != "ok")
        return Outcome(self._stored(connection), health, self.token_calls(), tuple(self.told()))

    def _stored(self, connection: str) -> str:
        tokens, grants = (
            self.secrets.payloads(kept + connection) if kept + connection in self.secrets.secrets() else []
            for kept in (TOKEN, REFRESH)
        )
        if not grants and self.labels(connection)["kind"] == "expiring":
            return "broken"
        if len({*tokens}) == 1 and len({*grants}) <= 1:
            return "old"
        try:
            token = json.loads(tokens[-1])
            whole = json.loads(grants[-1]) if grants else token
        except ValueError:
            return "broken"
        given = (whole["access_token"], whole.get("refresh_token"))
        if given not in {(one.access_token, one.refresh_token) for one in self.tiktok.grants if not one.revoked}:
            return "broken"
        if {key: whole[key] for key in token} != token or token["connection"] != connection:
            return "half" if tokens[-1] == tokens[0] else "broken"
        assert self.annotations(connection)["obtained-at"] == token["obtained_at"]
        return "new"

    def token_calls(self) -> int:
        """How often TikTok was asked to make a token since this was asked last."""
        number = len(self.tiktok.token_calls)
        self.tiktok.forget_calls()
        return number

    def reset(self) -> None:
        super().reset()
        self.clocks._passed = 0.0
        self.patience = math.inf
        self.fate = Fate()
        self.call_takes = 0.0
        self.changes.clear()
        self._functions.clear()
        self.ears.lines.clear()
        self.tiktok.options = Options(punish_reuse=True)
        self.tiktok.clear_overrides()
        self.tiktok.spent.clear()
        self.tiktok.reused.clear()

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Time and death as they are here, and the log, while this lasts."""
        real_send = HTTPAdapter.send
        stand_ins = (self.secrets.url, self.tiktok.url)

        def send(adapter: HTTPAdapter, request: requests.PreparedRequest, *args: Any, **more: Any) -> requests.Response:
            fate, url = self.fate, request.url or ""
            if not url.startswith(stand_ins):
                return real_send(adapter, request, *args, **more)
            if fate.dead:
                raise Died
            self.clocks.let_pass(self.call_takes)
            if fate.of in url:
                fate.calls += 1
                if fate.calls == fate.at:
                    fate.dead = True
                    if fate.after:
                        real_send(adapter, request, *args, **more).close()
                    raise Died
            return real_send(adapter, request, *args, **more)

        def send_within(session: Any, method: str, url: str, seconds: float, **what: Any) -> transport.Answer:
            return real_send_within(session, method, url, min(seconds, self.patience), **what)

        def event(severity: str, name: str, message: str, **fields: log.Field) -> None:
            if not self.fate.dead:
                real_event(severity, name, message, **fields)

        real_send_within, real_event = transport.Transport._send, log.event
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(HTTPAdapter, "send", send)
            patch.setattr(transport.Transport, "_send", staticmethod(send_within))
            patch.setattr(log, "event", event)
            patch.setattr(log, "_stream", self.ears)
            patch.setattr(clock, "now", self.clocks.shown)
            patch.setattr(clock, "monotonic", self.clocks.stopwatch)
            patch.setattr(clock, "sleep", self.clocks.sleep)
            yield
