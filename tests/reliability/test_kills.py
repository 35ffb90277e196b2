"""Real processes, really killed: before and after every single call, then the next run as Cloud Scheduler sends it.

Reliability line 1, promise 2, for both functions, both kinds of grant and both families. The calls are counted, not
chosen. What has to hold at each point: the reader's token lives and the store has what TikTok holds for good; only
where the kill fell between TikTok's answer to a refresh and the first write is the grant lost, and then exactly one
alert says so.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import requests

from emulators.serving import Fault, LocalServer
from stage import REFRESH, TOKEN, Browser, Function, Stage
from tokenkeeper.grant import Family

NEVER_ARRIVED = 599  # a status that nobody is there to see
ISSUED_BY = {"refresh_token", "account_refresh_token"}  # the calls whose answer is lost with the process


@dataclass(frozen=True)
class Deed:
    """What a victim is killed at.

    Attributes:
        name: What it is called in the table.
        target: The function.
        prepare: Sets the stage; what it returns, `begin` gets.
        begin: Sends the request to the victim.
        ends: What the tokens are like in the end: `alive`, or `ended` where TikTok took it away.
    """

    name: str
    target: str
    prepare: Callable[[Stage], Any]
    begin: Callable[[Function, Any], None]
    ends: str = "alive"

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Point:
    """A call of the victim: the stand-in, how many it had had before, its name."""

    server: str
    skip: int
    name: str


def send_run(function: Function, _: Any) -> None:
    requests.post(function.url, timeout=120)


def send_back(function: Function, flow: tuple[Browser, str, str]) -> None:
    browser, state, code = flow
    browser.base = function.url
    browser.come_back(code, state)


def due(stage: Stage, family: Family = "advertiser") -> None:
    """An expiring connection past half its life, with versions that are too many."""
    stage.plant("acme", "expiring", age_hours=13, family=family)
    for secret_id in (TOKEN + "acme", REFRESH + "acme"):
        for _ in range(2):
            stage.secrets.add_version(secret_id, stage.secrets.payloads(secret_id)[-1])


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


def new_flow(kind: str, over: str | None) -> Callable[[Stage], tuple[Browser, str, str]]:
    family: Family = "account" if kind == "account" else "advertiser"

    def prepare(stage: Stage) -> tuple[Browser, str, str]:
        if over:
            stage.plant("acme", over, age_hours=5, family=family)
        browser = stage.browser()
        state = browser.begin(stage.link("acme", family=family))
        return browser, state, stage.account_code() if family == "account" else stage.code(kind)

    return prepare


DEEDS = [
    Deed("refresh: an expiring grant that is due", "refresh", due, send_run),
    Deed("refresh: a long-lived grant whose advertisers changed", "refresh", changed, send_run),
    Deed("refresh: a long-lived grant that has ended", "refresh", ended, send_run, "ended"),
    Deed("refresh: a refresh secret that a long-lived grant replaced", "refresh", replaced, send_run),
    Deed("refresh: a TikTok account's grant that is due", "refresh", partial(due, family="account"), send_run),
    Deed(
        "refresh: a TikTok account's grant that has ended",
        "refresh",
        partial(ended, family="account"),
        send_run,
        "ended",
    ),
    Deed("connect: a new long-lived grant", "connect", new_flow("long-lived", None), send_back),
    Deed("connect: a new expiring grant", "connect", new_flow("expiring", None), send_back),
    Deed("connect: long-lived again", "connect", new_flow("long-lived", "long-lived"), send_back),
    Deed("connect: expiring again", "connect", new_flow("expiring", "expiring"), send_back),
    Deed("connect: long-lived in place of expiring", "connect", new_flow("long-lived", "expiring"), send_back),
    Deed("connect: expiring in place of long-lived", "connect", new_flow("expiring", "long-lived"), send_back),
    Deed("connect: a new TikTok account", "connect", new_flow("account", None), send_back),
    Deed("connect: a TikTok account again", "connect", new_flow("account", "expiring"), send_back),
]


def points_of(stage: Stage, deed: Deed) -> list[Point]:
    """The calls of a victim that is left alive, in the order in which they came."""
    stage.reset()
    prepared = deed.prepare(stage)
    for server in (stage.secrets, stage.tiktok):
        server.forget_calls()
    deed.begin(stage.connect if deed.target == "connect" else stage.refresh, prepared)
    calls = [
        (call.at, Point(name, skip, call.name))
        for name, server in (("secrets", stage.secrets), ("tiktok", stage.tiktok))
        for skip, call in enumerate(server.calls)
    ]
    return [point for _, point in sorted(calls, key=lambda one: one[0])]


def kill_at(stage: Stage, deed: Deed, point: Point, when: str) -> str:
    """Kill a victim there, let the next runs come, and see what is left; returns the table's entry."""
    stage.reset()
    prepared = deed.prepare(stage)
    before = stage.token() if TOKEN + "acme" in stage.secrets.secrets() else None
    server: LocalServer = getattr(stage, point.server)
    server.forget_calls()
    stage.tiktok.spent.clear()
    server.add_fault(Fault(do="hold", hold="here", skip=point.skip, when=when))  # type: ignore[arg-type]
    if when == "before":
        server.add_fault(Fault(do="answer", status=NEVER_ARRIVED, skip=point.skip))
    others = {server: server.connections for server in (stage.secrets, stage.tiktok)}
    victim = stage.start(deed.target)
    thread = threading.Thread(target=_until_it_breaks, args=(deed.begin, victim, prepared))
    thread.start()
    server.wait_held("here")
    victim.kill()
    server.release("here")
    thread.join(30)
    while when == "before" and NEVER_ARRIVED not in {call.status for call in server.calls}:
        time.sleep(0.001)
    server.clear_faults()
    for one, open_before in others.items():
        _wait_for_what_was_sent(one, open_before)
    issued = stage.tiktok.grants[-1].access_token
    kept = any(issued.encode() in payload for id_ in stage.secrets.secrets() for payload in stage.secrets.payloads(id_))
    stage.later(hours=1)
    status, summary = stage.run()
    outcome = _judge(stage, deed, before, status, summary)
    assert not kept or outcome != "not connected yet", f"{deed}, {when} {point}"
    assert not kept or deed.ends == "ended" or stage.token()["access_token"] == stage.tiktok.grants[-1].access_token
    return outcome


def _wait_for_what_was_sent(server: LocalServer, open_before: int) -> None:
    """Wait until the server has carried out what the victim's other threads had sent when it died."""
    requests.get(f"{server.url}/accepted", timeout=30)  # by now each connection of the victim's is accepted, too
    while server.connections > open_before:
        time.sleep(0.001)


def _until_it_breaks(begin: Callable[[Function, Any], None], victim: Function, prepared: Any) -> None:
    try:
        begin(victim, prepared)
    except requests.exceptions.RequestException:
        return


def _judge(stage: Stage, deed: Deed, before: dict[str, Any] | None, status: int, summary: dict[str, Any]) -> str:
    assert all(times == 1 for times in stage.tiktok.spent.values()) or stage.alerts(), "a refresh token was used twice"
    if TOKEN + "acme" not in stage.secrets.secrets() or not stage.secrets.payloads(TOKEN + "acme"):
        assert before is None
        assert deed.target == "connect"
        assert stage.alerts() == []
        assert summary["connections"] == 0
        return "not connected yet"
    assert "lease" not in stage.annotations(), "a dead holder's lease is still there"
    token = stage.token()
    if deed.ends == "ended":
        assert stage.labels()["health"] == "reauthorize"
        assert set(stage.alerts()) == {"reauthorization.required"}
        return "alerted once" if len(stage.alerts()) == 1 else f"alerted {len(stage.alerts())} times"
    assert stage.tiktok.is_alive(token["access_token"])
    assert stage.annotations()["obtained-at"] == token["obtained_at"]
    if stage.labels()["health"] == "reauthorize":
        return "lost"
    assert status == 200
    given = next(one for one in stage.tiktok.grants[::-1] if one.access_token == token["access_token"])
    assert stage.alerts() == []
    assert stage.labels()["health"] == "ok"
    assert stage.labels()["kind"] == given.kind
    if given.kind == "expiring":
        whole = stage.whole_grant()
        assert whole["access_token"] == token["access_token"]
        assert whole["refresh_token"] == given.refresh_token, "the stored refresh token was used"
    else:
        assert REFRESH + "acme" not in stage.secrets.secrets()
    for secret_id in stage.secrets.secrets():
        assert "ENABLED" in list(stage.secrets.states(secret_id).values())[-1:] or secret_id.endswith("keeper")
    return "alive, the new one" if before is None or token["access_token"] != before["access_token"] else "alive"


def lost(stage: Stage) -> None:
    """The grant went with the process: TikTok refuses what is stored, and exactly one alert says so."""
    assert stage.alerts() == ["reauthorization.required"]
    stage.later(hours=1)
    assert stage.run()[0] == 200
    assert stage.alerts() == ["reauthorization.required"]


def table(
    stage: Stage, deed: Deed, points: list[Point], whens: list[str], record: Callable[[str, object], None]
) -> None:
    """Kill at every point, and record what came of it; all tables are printed after the tests."""
    rows = []
    mark = max((number for number, point in enumerate(points, 1) if point.name == "UpdateSecret"), default=0)
    for number, point in enumerate(points, 1):
        row = [f"{number:2} {point.name}"]
        for when in whens:
            outcome = kill_at(stage, deed, point, when)
            last = point if when == "after" else points[number - 2]
            allowed = last.name in ISSUED_BY and deed.ends == "alive" and number > (when == "before")
            assert (outcome == "lost") == allowed, f"{outcome} where it was killed {when} call {number}, {point.name}"
            if allowed:
                lost(stage)
            if deed.ends == "ended":  # an alert is logged before the connection is marked: in between it may be doubled
                between = number == mark and when == "before"
                assert outcome == "alerted once" or (between and outcome == "alerted 2 times"), f"{when} {point}"
            row.append(outcome)
        rows.append(row)
    lines = [f"{deed.name}: killed {' and '.join(whens)} each of {len(points)} calls"]
    lines += ["   " + "".join(f"{cell:<26}" for cell in row).rstrip() for row in rows]
    record("table", "\n".join(lines))


@pytest.mark.slow
@pytest.mark.parametrize("deed", DEEDS, ids=str)
def test_wherever_the_process_is_killed_the_next_run_makes_it_good(
    stage: Stage, deed: Deed, record_property: Callable[[str, object], None]
) -> None:
    """Killed before or after any call, a connection is as good after the next run as if nothing had happened."""
    points = points_of(stage, deed)
    assert len(points) >= 4
    table(stage, deed, points, ["before", "after"], record_property)


def test_killed_around_the_two_writes_of_a_refresh(
    stage: Stage, record_property: Callable[[str, object], None]
) -> None:
    """Killed after TikTok's answer the grant is lost and alerted of; after the first write it is kept."""
    deed = DEEDS[0]
    points = points_of(stage, deed)
    chosen = [point for point in points if point.name in {"refresh_token", "AddSecretVersion"}]
    assert [point.name for point in chosen] == ["refresh_token", "AddSecretVersion", "AddSecretVersion"]
    table(stage, deed, chosen[:2], ["after"], record_property)


def test_that_most_advertisers_are_gone_is_logged_before_it_is_stored(stage: Stage) -> None:
    """Once it is stored, no later run would see that anything changed."""
    given = stage.plant("acme")
    stage.tiktok.set_advertisers(given["access_token"], given["advertiser_ids"][:1])
    stage.secrets.add_fault(Fault("AddSecretVersion", do="hold", hold="here", when="after"))
    victim = stage.start("refresh")
    thread = threading.Thread(target=_until_it_breaks, args=(send_run, victim, None))
    thread.start()
    stage.secrets.wait_held("here")
    victim.kill()
    stage.secrets.release("here")
    thread.join(30)
    assert stage.token()["advertiser_ids"] == given["advertiser_ids"][:1]
    assert stage.alerts() == ["connection.changed"]
