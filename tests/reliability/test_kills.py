"""Real processes, really killed: before and after every single call, then the next run as Cloud Scheduler sends it.

Reliability line 1, promise 2, for both functions, both kinds of grant and both families. The calls are counted, not
chosen. What has to hold at each point: the reader's token lives and the store has what TikTok holds for good; only
where the kill fell between TikTok's answer to a refresh and the first write is the grant lost, and then exactly one
alert says so.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import requests

from emulators.serving import Fault, LocalServer
from reliability.quick import QuickStage, assert_well
from stage import REFRESH, TOKEN, Browser, Function, Stage
from tokenkeeper.grant import Family

NEVER_ARRIVED = 599  # a status that nobody is there to see
ISSUED_BY = {"refresh_token", "account_refresh_token"}  # the calls whose answer is lost with the process
Flow = tuple[Browser, str, str]
Prepare = Callable[[Stage], Flow | None]
"""Sets the stage; returns the flow that somebody comes back with, or None where a run comes."""


@dataclass(frozen=True)
class Point:
    """A call of the victim: the stand-in, how many it had had before, its name."""

    server: str
    skip: int
    name: str


def send(function: Function, flow: Flow | None) -> None:
    """What the victim dies of: a callback, or a run."""
    with suppress(requests.exceptions.RequestException):  # there it died
        if flow is None:
            requests.post(function.url, timeout=120)
        else:
            browser, state, code = flow
            browser.base = function.url
            browser.come_back(code, state)


def due(stage: Stage, family: Family = "advertiser") -> None:
    """An expiring connection past half its life, with versions that are too many."""
    stage.due(versions=3, family=family)


def changed(stage: Stage) -> None:
    """A long-lived connection with other advertisers than stored, and versions that are too many."""
    given = stage.plant("acme")
    for _ in range(2):
        stage.secrets.add_version(TOKEN + "acme", stage.secrets.payloads(TOKEN + "acme")[-1])
    ids = ["7000000000000000001", "7000000000000000002", "7000000000000000009"]
    stage.tiktok.set_advertisers(given["access_token"], ids)


def ended(stage: Stage, family: Family = "advertiser") -> None:
    """A connection without a refresh token that who approved it has revoked."""
    stage.tiktok.revoke(stage.plant("acme", family=family)["access_token"])


def replaced(stage: Stage) -> None:
    """A long-lived grant that has taken an expiring one's place, whose refresh secret is still there."""
    stage.plant("acme", "expiring", age_hours=5)
    stage.connected("acme", "long-lived")


def flow_of(kind: str, over: str | None = None) -> Prepare:
    """Somebody comes back from TikTok."""
    family: Family = "account" if kind == "account" else "advertiser"

    def prepare(stage: Stage) -> Flow:
        if over:
            stage.plant("acme", over, age_hours=5, family=family)
        return stage.begun(brings=kind)

    return prepare


DEEDS: dict[str, Prepare] = {
    "refresh: an expiring grant that is due": due,
    "refresh: a long-lived grant whose advertisers changed": changed,
    "refresh: a long-lived grant that has ended": ended,
    "refresh: a refresh secret that a long-lived grant replaced": replaced,
    "refresh: a TikTok account's grant that is due": partial(due, family="account"),
    "refresh: a TikTok account's grant that has ended": partial(ended, family="account"),
    "connect: a new long-lived grant": flow_of("long-lived"),
    "connect: a new expiring grant": flow_of("expiring"),
    "connect: long-lived again": flow_of("long-lived", "long-lived"),
    "connect: expiring again": flow_of("expiring", "expiring"),
    "connect: long-lived in place of expiring": flow_of("long-lived", "expiring"),
    "connect: expiring in place of long-lived": flow_of("expiring", "long-lived"),
    "connect: a new TikTok account": flow_of("account"),
    "connect: a TikTok account again": flow_of("account", "expiring"),
}


def points_of(stage: Stage, prepare: Prepare) -> list[Point]:
    """The calls of a victim that is left alive, in the order in which they came."""
    stage.reset()
    flow = prepare(stage)
    for server in (stage.secrets, stage.tiktok):
        server.forget_calls()
    send(stage.connect if flow else stage.refresh, flow)
    calls = [
        (call.at, Point(name, skip, call.name))
        for name, server in (("secrets", stage.secrets), ("tiktok", stage.tiktok))
        for skip, call in enumerate(server.calls)
    ]
    return [point for _, point in sorted(calls, key=lambda one: one[0])]


def kill_at(stage: Stage, prepare: Prepare, point: Point, when: str) -> str:
    """Kill a victim there, let the next run come, and see what is left; returns the table's entry."""
    stage.reset()
    flow = prepare(stage)
    before = stage.token() if TOKEN + "acme" in stage.secrets.secrets() else None
    server: LocalServer = getattr(stage, point.server)
    server.forget_calls()
    stage.tiktok.spent.clear()
    server.add_fault(Fault(do="hold", hold="here", skip=point.skip, when=when))  # type: ignore[arg-type]
    if when == "before":
        server.add_fault(Fault(do="answer", status=NEVER_ARRIVED, skip=point.skip))
    others = {server: server.connections for server in (stage.secrets, stage.tiktok)}
    victim = stage.start("connect" if flow else "refresh")
    thread = threading.Thread(target=send, args=(victim, flow))
    thread.start()
    server.wait_held("here")
    victim.kill()
    server.release("here")
    thread.join(30)
    while when == "before" and NEVER_ARRIVED not in {call.status for call in server.calls}:
        time.sleep(0.001)
    server.clear_faults()
    for one, open_before in others.items():  # until it has carried out what other threads of the victim's had sent
        requests.get(f"{one.url}/accepted", timeout=30)  # by now each connection of the victim's is accepted, too
        while one.connections > open_before:
            time.sleep(0.001)
    issued = stage.tiktok.grants[-1].access_token
    kept = any(issued.encode() in payload for id_ in stage.secrets.secrets() for payload in stage.secrets.payloads(id_))
    stage.later(hours=1)
    status, summary = stage.run()
    if TOKEN + "acme" not in stage.secrets.secrets() or not stage.secrets.payloads(TOKEN + "acme"):
        assert flow
        assert (before, kept, stage.alerts(), summary["connections"]) == (None, False, [], 0)
        return "not connected yet"
    return _judge(stage, before, status, kept=kept)


def _judge(stage: Stage, before: dict[str, Any] | None, status: int, *, kept: bool) -> str:
    assert all(times == 1 for times in stage.tiktok.spent.values()) or stage.alerts(), "a refresh token was used twice"
    assert "lease" not in stage.annotations(), "a dead holder's lease is still there"
    token = stage.token()
    if not stage.tiktok.is_alive(token["access_token"]):  # who approved has revoked it
        assert stage.labels()["health"] == "reauthorize"
        assert set(stage.alerts()) == {"reauthorization.required"}
        return "alerted once" if len(stage.alerts()) == 1 else f"alerted {len(stage.alerts())} times"
    assert not kept or token["access_token"] == stage.tiktok.grants[-1].access_token
    if stage.labels()["health"] == "reauthorize":  # TikTok refuses what is stored, and exactly one alert says so
        assert stage.annotations()["obtained-at"] == token["obtained_at"]
        stage.later(hours=1)
        assert (stage.run()[0], stage.alerts()) == (200, ["reauthorization.required"])
        return "lost"
    assert (status, stage.alerts()) == (200, [])
    assert_well(stage)
    assert (REFRESH + "acme" in stage.secrets.secrets()) == (stage.labels()["kind"] == "expiring")
    for secret_id in stage.secrets.secrets():
        assert "ENABLED" in list(stage.secrets.states(secret_id).values())[-1:] or secret_id.endswith("keeper")
    return "alive" if before and token["access_token"] == before["access_token"] else "alive, the new one"


@pytest.mark.slow
@pytest.mark.parametrize("name", DEEDS)
def test_wherever_the_process_is_killed_the_next_run_makes_it_good(
    stage: Stage, name: str, record_property: Callable[[str, object], None]
) -> None:
    """Killed before or after any call, a connection is as good after the next run as if nothing had happened.

    What came of each kill is printed after the tests.
    """
    points = points_of(stage, DEEDS[name])
    assert len(points) >= 4
    lines = [f"{name}: killed before and after each of {len(points)} calls"]
    mark = max((number for number, point in enumerate(points, 1) if point.name == "UpdateSecret"), default=0)
    for number, point in enumerate(points, 1):
        outcomes = []
        for when in ("before", "after"):
            outcome = kill_at(stage, DEEDS[name], point, when)
            last = point if when == "after" else points[number - 2]
            allowed = last.name in ISSUED_BY and number > (when == "before")
            assert (outcome == "lost") == allowed, f"{outcome} where it was killed {when} call {number}, {point.name}"
            ended = name.endswith("has ended")
            assert outcome.startswith("alerted") == ended, f"{outcome}, {when} {point}"
            if ended:  # an alert is logged before the connection is marked: in between it may be doubled
                between = number == mark and when == "before"
                assert outcome == "alerted once" or (between and outcome == "alerted 2 times"), f"{when} {point}"
            outcomes.append(f"{outcome:<26}")
        lines.append(f"   {f'{number:2} {point.name}':<26}{''.join(outcomes)}".rstrip())
    record_property("table", "\n".join(lines))


def test_killed_around_the_two_writes_of_a_refresh(stage: Stage) -> None:
    """Killed after TikTok's answer the grant is lost and alerted of; after the first write it is kept."""
    points = [point for point in points_of(stage, due) if point.name in {"refresh_token", "AddSecretVersion"}]
    assert [point.name for point in points] == ["refresh_token", "AddSecretVersion", "AddSecretVersion"]
    outcomes = [kill_at(stage, due, point, "after") for point in points[:2]]
    assert outcomes == ["lost", "alive, the new one"]


def test_that_most_advertisers_are_gone_is_logged_before_it_is_stored(quick: QuickStage) -> None:
    """Once it is stored, no later run would see that anything changed."""
    given = quick.plant("acme")
    quick.tiktok.set_advertisers(given["access_token"], given["advertiser_ids"][:1])
    with quick.dying(1, "AddSecretVersion", after=True):
        quick.run()
    assert quick.token()["advertiser_ids"] == given["advertiser_ids"][:1]
    assert quick.alerts() == ["connection.changed"]


def test_that_a_refresh_brings_other_advertisers_is_logged_before_it_is_stored(quick: QuickStage) -> None:
    """What the next run finds in one secret it writes into the other, and sees no change."""
    given = quick.plant("acme", "expiring", age_hours=13)
    quick.tiktok.set_advertisers(given["access_token"], given["advertiser_ids"][:2])
    with quick.dying(1, "AddSecretVersion", after=True):
        quick.run()
    quick.later(hours=1)
    quick.run()
    assert quick.token()["advertiser_ids"] == given["advertiser_ids"][:2]
    assert quick.events().count("connection.changed") == 1
