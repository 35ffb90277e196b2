"""The stage with both functions inside the test's own process, where time passes at will and a death can be played.

What is replaced are the product's own seams: the clock's functions, the log's stream, and the Secret Manager and TikTok
that are passed in (`direct`), over the same stand-ins as everywhere. Something goes wrong in one of two ways: a `Fault`
says what a service makes of a call, and `Wire.at` what somebody else does at that moment. What really dies, under
SIGKILL, is in `test_kills`.
"""

import contextvars
import io
import json
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TextIO, cast

import pytest
import requests
from flask import Request
from werkzeug.test import Client

from canaries import Canaries
from emulators.serving import Fault
from emulators.tiktok import Options, TikTokServer
from reliability.direct import Died, DirectStore, DirectTransport, Moment, Wire
from stage import APP_ID, APP_SECRET, REFRESH, TOKEN, Browser, Stage
from tokenkeeper import clock, log, settings
from tokenkeeper.connect.app import Connect
from tokenkeeper.refresh.app import Refresh
from tokenkeeper.refresh.rate import RateLimiter
from tokenkeeper.store.lease import CLOCKS_DIFFER_BY, TERM
from tokenkeeper.store.secretmanager import SecretManager
from tokenkeeper.store.transport import Transport as StoreTransport
from tokenkeeper.store.vault import Vault
from tokenkeeper.tiktok.families import TikTok
from tokenkeeper.tiktok.transport import Transport
from unit.parts import HandClock

STALE = TERM + CLOCKS_DIFFER_BY.total_seconds() + 1
"""Seconds after which a lease that was just taken may be taken over."""
BEGINNING = datetime(2026, 11, 22, 10, tzinfo=UTC)
_NO_PORT = 9  # nothing listens there, and nobody calls it
_USUAL = {"run.finished", "connection.begun"}
# What is logged, as `QuickStage.logged` tells it.
REFRESHED, STORED = "INFO token.refreshed", "NOTICE connection.stored"
FALTERING, RECOVERED = "WARNING connection.faltering", "NOTICE connection.recovered"
REQUIRED, STOPPED = "ERROR reauthorization.required", "CRITICAL run.stopped"
UNREADABLE, UNSAVED, SAVED = "ERROR secret.unreadable", "CRITICAL token.unsaved", "NOTICE token.saved"
_SKEW: contextvars.ContextVar[float] = contextvars.ContextVar("skew", default=0.0)


class Time(HandClock):
    """Everybody's time: it stands still but for what is waited for and what a test lets pass."""

    def __init__(self) -> None:
        super().__init__(BEGINNING)
        self._slow = False

    def sleep(self, seconds: float) -> None:
        if self._slow:
            threading.Event().wait(0.001)
        super().sleep(min(seconds, 0.01) if self._slow else seconds)

    @contextmanager
    def passing_slowly(self) -> Iterator[None]:
        """Whoever waits inside waits a moment: for what goes on at the same time, in threads."""
        self._slow = True
        try:
            yield
        finally:
            self._slow = False

    def shown(self) -> datetime:
        """What the clock of whoever asks shows."""
        return self.now() + timedelta(seconds=_SKEW.get())


@contextmanager
def clock_off_by(**span: float) -> Iterator[None]:
    """Whatever runs inside has a clock that is so far ahead (`seconds=30`), or behind."""
    token = _SKEW.set(timedelta(**span).total_seconds())
    try:
        yield
    finally:
        _SKEW.reset(token)


@dataclass(frozen=True)
class Outcome:
    """The four things that matter after any trouble."""

    # Which grant its secrets hold: `old`, the one that was there first; `new`, the one that TikTok holds for good;
    # `half` where the refresh secret has that and the token secret not yet; `broken` for anything else.
    stored: str
    health: str  # the connection's state
    token_calls: int  # how often TikTok was asked to make a token since this was asked last
    logged: tuple[str, ...]  # what was logged since then, with severities, without what every run says


NEW = Outcome("new", "ok", 1, (REFRESHED,))
"""After a run that refreshed."""
AS_IT_IS = replace(NEW, token_calls=0, logged=())
"""After one that found it so."""
UNTOUCHED = Outcome("old", "ok", 0, ())
"""After one that had nothing to do, or could do nothing."""

# What a callback may bring, under the sentences of `each`.
BRINGS = {"that brings an expiring grant": "expiring", "that brings a long-lived grant": "long-lived"}


def each(name: str, cases: Mapping[str, Any], *slow: str) -> pytest.MarkDecorator:
    """The test is made once for each of these values, under the sentence that is its key; `slow` are slow ones."""
    values = [pytest.param(value, marks=pytest.mark.slow) if key in slow else value for key, value in cases.items()]
    return pytest.mark.parametrize(name, values, ids=list(cases))


def assert_well(stage: Stage, connection: str = "acme") -> None:
    """What TikTok holds for good is in all of the connection's secrets; it is healthy, and nobody holds it."""
    token, labels, annotations = stage.token(connection), stage.labels(connection), stage.annotations(connection)
    given = next(one for one in stage.tiktok.grants[::-1] if one.access_token == token["access_token"])
    assert stage.tiktok.is_alive(given.access_token)
    assert (labels["kind"], labels["health"], labels["family"]) == (given.kind, "ok", given.family)
    assert annotations["obtained-at"] == token["obtained_at"]
    assert "lease" not in annotations
    if given.kind == "expiring":
        whole = stage.whole_grant(connection)
        assert (whole["access_token"], whole["refresh_token"]) == (given.access_token, given.refresh_token)


@contextmanager
def at_moment(moment: Moment) -> Iterator[None]:
    """Whatever fails inside says at which moment."""
    try:
        yield
    except Exception as error:
        error.add_note(f"It failed where something happened {moment}.")
        raise


class Recorder(io.TextIOBase):
    """Where the functions' log goes."""

    def __init__(self, canaries: Canaries) -> None:
        self.lines: list[str] = []
        self._canaries = canaries

    def write(self, text: str) -> int:
        self._canaries.record("the log", text)
        self.lines.append(text)
        return len(text)


class QuickBrowser(Browser):
    """A browser that calls a function inside this process."""

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
    """Both stand-ins, both functions, in one process."""

    clocks: Time = field(default_factory=Time)
    wire: Wire = field(default_factory=Wire)  # what all calls pass
    changes: dict[str, str | None] = field(default_factory=dict)  # settings that differ from the usual ones
    _functions: dict[str, Connect | Refresh] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.recorder = Recorder(self.canaries)
        self.secrets.clock = lambda: self.clocks.now().timestamp()
        self._forget_grants()

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Time and log as they are here, while this lasts."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(clock, "now", self.clocks.shown)
            patch.setattr(clock, "monotonic", self.clocks.monotonic)
            patch.setattr(clock, "sleep", self.clocks.sleep)
            log.write_to(cast("TextIO", self.recorder))
            try:
                yield
            finally:
                log.write_to(None)

    # --- the functions ---

    def new_instances(self, **changes: str | None) -> None:
        """Both functions start again and remember nothing; settings may be others from now on."""
        self.changes |= changes
        self._functions.clear()

    def instance(self, target: str, **changes: str) -> Connect | Refresh:
        """One more instance of a function, beside the usual one, with other settings."""
        usual = {"CALLBACK_BUDGET_SECONDS": "50", "RUN_BUDGET_SECONDS": "1500"}
        environment = self.environment(8080, **{**usual, **self.changes, **changes})
        needs = settings.CONNECT if target == "connect" else settings.REFRESH
        chosen = settings.read(needs, environment)
        store = cast("StoreTransport", DirectStore(self.wire, self.secrets))
        vault = Vault(chosen, SecretManager(self.project, transport=store))
        rate = RateLimiter(chosen.max_qps) if target == "refresh" else None
        tiktok = TikTok(chosen, rate, cast("Transport", DirectTransport(self.wire, self.tiktok)))
        return Refresh(chosen, vault, tiktok, rate) if target == "refresh" else Connect(chosen, vault, tiktok)

    def usual(self, target: str) -> Any:
        """The usual `connect` or `refresh`."""
        if target not in self._functions:
            self._functions[target] = self.instance(target)
        return self._functions[target]

    def run(self, body: Mapping[str, Any] | None = None, *, function: Any = None) -> tuple[int, dict[str, Any]]:
        client = Client(_served(lambda: function or self.usual("refresh")))
        answer = client.post("/", data=b"" if body is None else json.dumps(body))
        self.canaries.record("refresh's answer", answer.text)
        return answer.status_code, json.loads(answer.text)

    def browser(self, function: Any = None) -> Browser:
        """A browser without cookies; instances come and go while it is open."""
        return QuickBrowser(lambda: function or self.usual("connect"), self.canaries)

    # --- time and death ---

    def later(self, **span: float) -> None:
        self.clocks.pass_by(**span)

    def set_clock(self, *, functions: float | None = None, stand_ins: float | None = None) -> None:
        """Here every clock shows the same; see `later` and `clock_off_by`."""

    @contextmanager
    def dying(self, at: int, of: str = "", *, after: bool) -> Iterator[None]:
        """Whatever runs inside dies at that call (`of` these), and its instances with it."""
        wire, before = self.wire, self.wire.deaths
        wire.dies_in, wire.dies_of, wire.dies_after = at, of, after
        try:
            yield
        except Died:
            pass
        finally:
            wire.dies_in = 0
            if wire.deaths > before:
                self._functions.clear()

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

    # --- something happens in the middle ---

    def moments(self, act: Callable[[], Any], about: str = "") -> list[Moment]:
        """Before each call that an action makes about secrets whose name ends so, or to TikTok, and after the last."""
        first = len(self.wire.calls)
        act()
        found: list[Moment] = []
        for call, secret in self.wire.calls[first:]:
            found.append(Moment(call, secret, sum((one.call, one.secret) == (call, secret) for one in found)))
        found = [one for one in found if not one.secret or one.secret.endswith(about)]
        return [*found, replace(found[-1], after=True)]

    # --- looking ---

    def entries(self) -> list[dict[str, Any]]:
        """The log so far, as objects."""
        return [json.loads(line) for line in list(self.recorder.lines)]

    def events(self, *severities: str) -> list[str]:
        return [entry["event"] for entry in self.entries() if not severities or entry["severity"] in severities]

    def logged(self) -> list[str]:
        """What was logged since this was asked last, with severities, without what every run says."""
        found = [f"{entry['severity']} {entry['event']}" for entry in self.entries() if entry["event"] not in _USUAL]
        self.recorder.lines.clear()
        return found

    def payloads(self) -> dict[str, list[bytes]]:
        """All that is stored, by secret."""
        found = {secret_id: self.secrets.payloads(secret_id) for secret_id in self.secrets.secrets()}
        return {secret_id: payloads for secret_id, payloads in found.items() if payloads}

    def outcome(self, connection: str = "acme") -> Outcome:
        """What came of whatever happened; no lease may be left behind."""
        annotations = self.annotations(connection)
        assert "lease" not in annotations
        health = self.labels(connection)["health"]
        assert ("failing-since" in annotations) == ("last-error" in annotations) == (health != "ok")
        return Outcome(self._stored(connection), health, self.token_calls(), tuple(self.logged()))

    def _stored(self, connection: str) -> str:
        stored = self.payloads()
        tokens, grants = stored.get(TOKEN + connection, []), stored.get(REFRESH + connection, [])
        if not grants and self.labels(connection)["kind"] == "expiring":
            return "broken"
        if len({*tokens}) == 1 and len({*grants}) <= 1:
            return "old"
        try:
            token, whole = json.loads(tokens[-1]), json.loads((grants or tokens)[-1])
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

    def held_by_another(self, connection: str = "acme", **span: float) -> str:
        """Somebody else holds the connection, until so much later; returns the lease."""
        lease = f"refresh-1 {clock.text(clock.now() + timedelta(**span))}"
        self.secrets.edit(TOKEN + connection, annotations={"lease": lease})
        return lease

    def assert_run(self, expected: Outcome, status: int = 200) -> None:
        """A run ends with that status, and that is what comes of it for `acme`."""
        assert self.run()[0] == status
        assert self.outcome() == expected

    # --- between tests ---

    def quiet(self) -> None:
        """Nothing goes wrong any more."""
        self.secrets.clear_faults()
        self.tiktok.clear_faults()
        self.tiktok.clear_overrides()
        self.secrets.allow_all()
        self.secrets.set_lag()
        self.wire.takes.clear()
        self.wire.unreachable = 0

    def reset(self) -> None:
        super().reset()
        self.quiet()
        self.clocks.reset()
        self.wire.clear()
        self.changes.clear()
        self._functions.clear()
        self.recorder.lines.clear()
        self._forget_grants()

    def _forget_grants(self) -> None:
        """A TikTok that has given nothing yet: what it gave in other tests would be looked for in all logs."""
        self.tiktok.stop()
        self.tiktok = TikTokServer(
            app_id=APP_ID, app_secret=APP_SECRET, port=_NO_PORT, options=Options(punish_reuse=True)
        )
        self.tiktok.clock = lambda: self.clocks.now().timestamp()


# --- what TikTok can make of a call, one of each kind ---

Trouble = Callable[[QuickStage, str], object]
"""Brings something about, from now on, for the calls of that name."""


def code(number: int, times: int | None = None) -> Trouble:
    """Calls are refused with that code."""
    return lambda stage, call: stage.tiktok.fail_next(call, number, times=times)


def fault(times: int | None = None, **what: Any) -> Trouble:
    """Calls meet this fault."""
    return lambda stage, call: stage.tiktok.add_fault(Fault(call, times=times, **what))


gateway = fault(status=502, body=b"<html><body>502 Bad Gateway</body></html>")
"""Calls are answered by a gateway's error page."""


def not_permitted(about_the_user: Trouble | None = None) -> Trouble:
    """Permission is lacking; TikTok then says that of the user behind the token, or tells who that is."""

    def happens(stage: QuickStage, call: str) -> None:
        for name in {call, "advertiser_get"}:
            code(40001)(stage, name)
        if about_the_user:
            about_the_user(stage, "user_info")

    return happens


def unreachable(stage: QuickStage, call: str) -> None:
    """No connection comes about."""
    stage.wire.unreachable = math.inf


# --- what somebody can do to a secret, one of each kind ---


def edited(stage: QuickStage, secret_id: str) -> None:
    """Its newest version is no JSON."""
    stage.secrets.add_version(secret_id, b'{"access_token": ')


def disabled(stage: QuickStage, secret_id: str) -> None:
    """Its newest version cannot be read."""
    stage.secrets.set_state(secret_id, len(stage.secrets.payloads(secret_id)), "DISABLED")


def older_schema(stage: QuickStage, secret_id: str) -> None:
    """Its newest version is of a schema that is no longer read."""
    document = json.loads(stage.secrets.payloads(secret_id)[-1]) | {"schema": 0}
    stage.secrets.add_version(secret_id, json.dumps(document).encode())


BREAKING = {"it is edited by hand": edited, "it is disabled": disabled, "it is of an older schema": older_schema}
