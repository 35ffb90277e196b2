"""A re-connection while a refresh is under way, and a refresh while a re-connection is, at every point of each.

The clock of the one that comes in is so wrong that it takes the other's lease for ended, although its holder lives:
with right clocks it waits, and there would be nothing to see.
"""

from __future__ import annotations

import contextvars
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from local.serving import Fault, LocalServer
from reliability.quick import QuickStage, clock_off_by
from stage import REFRESH, TOKEN

Act = Callable[[QuickStage], Any]


def refresh(stage: QuickStage) -> None:
    stage.run()


def reconnect(kind: str) -> Act:
    return lambda stage: stage.approve("acme", kind)


def points(stage: QuickStage, act: Act) -> list[tuple[LocalServer, int, str]]:
    """The calls that an action makes: the stand-in, how many it had had before, and the name."""
    for server in (stage.secrets, stage.tiktok):
        server.forget_calls()
    act(stage)
    return [
        (server, number, call.name)
        for server in (stage.secrets, stage.tiktok)
        for number, call in enumerate(server.calls)
    ]


@contextmanager
def held_up(stage: QuickStage, act: Act, server: LocalServer, skip: int, when: str) -> Iterator[None]:
    """The action is under way and held up at one of its calls, and goes on to its end afterwards."""
    server.add_fault(Fault(do="hold", hold="here", skip=skip, when=when))  # type: ignore[arg-type]
    thread = threading.Thread(target=contextvars.copy_context().run, args=(act, stage))
    thread.start()
    server.wait_held("here")
    try:
        yield
    finally:
        server.release("here")
        thread.join(60)
        server.clear_faults()


def newest(stage: QuickStage, secret_id: str) -> dict[str, Any]:
    return dict(json.loads(stage.secrets.payloads(secret_id)[-1]))


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", ["expiring", "long-lived"])
def test_a_re_connection_in_the_middle_of_a_refresh_stays(quick: QuickStage, kind: str, when: str) -> None:
    """Wherever a refresh is when somebody re-connects, the re-connection is what is stored in the end."""
    quick.connected("acme", "expiring")
    quick.later(hours=13)
    number = len(points(quick, refresh))
    for point in range(number):
        quick.reset()
        quick.connected("acme", "expiring")
        quick.later(hours=13)
        server, skip, name = points_of_refresh(quick)[point]
        with held_up(quick, refresh, server, skip, when), clock_off_by(minutes=10):
            answer = quick.approve("acme", kind)
        where = f"held up {when} {name}, call {point + 1}"
        assert answer.status_code == 303, where
        assert all(times == 1 for times in quick.tiktok.spent.values()), where
        assert quick.events("ERROR", "CRITICAL") == [], where
        new = quick.tiktok.grants[-1]
        assert newest(quick, TOKEN + "acme")["access_token"] == new.access_token, where
        if kind == "expiring":
            assert newest(quick, REFRESH + "acme")["refresh_token"] == new.refresh_token, where
        quick.later(minutes=20)
        assert quick.run()[0] == 200, where
        assert quick.labels("acme")["health"] == "ok"
        assert quick.labels("acme")["kind"] == kind
        assert "lease" not in quick.annotations("acme"), where
        assert newest(quick, TOKEN + "acme")["access_token"] == quick.tiktok.grants[-1].access_token, where
        assert (REFRESH + "acme" in quick.secrets.secrets()) == (kind == "expiring"), where
        quick.later(hours=13)
        assert quick.run()[0] == 200, where
        assert newest(quick, TOKEN + "acme")["access_token"] == quick.tiktok.grants[-1].access_token, where
        assert quick.tiktok.is_alive(newest(quick, TOKEN + "acme")["access_token"]), where
        assert quick.events("ERROR", "CRITICAL") == [], where


_REFRESH_POINTS: list[tuple[str, int, str]] = []


def points_of_refresh(stage: QuickStage) -> list[tuple[LocalServer, int, str]]:
    """The calls of the refresh that comes next, known from one that is thrown away."""
    if not _REFRESH_POINTS:
        found = points(stage, refresh)
        _REFRESH_POINTS.extend(
            ("secrets" if server is stage.secrets else "tiktok", skip, name) for server, skip, name in found
        )
        stage.reset()
        stage.connected("acme", "expiring")
        stage.later(hours=13)
    return [(getattr(stage, server), skip, name) for server, skip, name in _REFRESH_POINTS]
