"""A re-connection while a run is at work on the connection, and a run while a re-connection is, at every point of each.

The clock of the one that comes in is ten minutes ahead, so that it takes the other's lease for ended, although its
holder lives: a callback at once; a run when the lease has stood unchanged for a term as well, since it spends what
nobody else may. With right clocks a callback waits, and there would be nothing to see.
"""

from __future__ import annotations

import json
from typing import Any

from local.tiktok import Grant
from reliability.quick import LATEST, Point, QuickStage, clock_off_by, each, mostly_slow
from stage import REFRESH, TOKEN


def newest(stage: QuickStage, secret_id: str) -> dict[str, Any]:
    return dict(json.loads(stage.secrets.payloads(secret_id)[-1]))


def assert_stored(stage: QuickStage, given: Grant, point: Point) -> None:
    """That grant is what both of the connection's secrets hold."""
    assert newest(stage, TOKEN + "acme")["access_token"] == given.access_token, point
    if given.refresh_token:
        assert newest(stage, REFRESH + "acme")["refresh_token"] == given.refresh_token, point


def assert_goes_on(stage: QuickStage, kind: str, point: Point) -> None:
    """From now on every run keeps the re-connection working, and nobody is alerted."""
    stage.later(minutes=20)
    assert stage.run()[0] == 200, point
    assert stage.labels("acme")["health"] == "ok", point
    assert stage.labels("acme")["kind"] == kind, point
    assert "lease" not in stage.annotations("acme"), point
    assert_stored(stage, stage.tiktok.grants[-1], point)
    assert (REFRESH + "acme" in stage.secrets.secrets()) == (kind == "expiring"), point
    stage.later(hours=13)
    assert stage.run()[0] == 200, point
    assert_stored(stage, stage.tiktok.grants[-1], point)
    assert stage.tiktok.is_alive(newest(stage, TOKEN + "acme")["access_token"]), point
    assert all(times == 1 for times in stage.tiktok.spent.values()), point


def due(stage: QuickStage) -> None:
    stage.reset()
    stage.connected("acme", "expiring")
    stage.later(hours=13)


def revoked(stage: QuickStage, lag: int) -> None:
    """A long-lived grant, stored twice, that its advertiser has taken back."""
    stage.reset()
    given = stage.plant("acme")
    stage.secrets.add_version(TOKEN + "acme", stage.secrets.payloads(TOKEN + "acme")[0])
    stage.tiktok.revoke(given["access_token"])
    stage.secrets.set_lag(latest=lag)


BRINGS = {"that brings an expiring grant": "expiring", "that brings a long-lived grant": "long-lived"}


@each("kind", mostly_slow(BRINGS, "that brings an expiring grant"))
def test_a_re_connection_in_the_middle_of_a_refresh_stays(quick: QuickStage, kind: str) -> None:
    """Wherever a refresh is when somebody re-connects, the re-connection is what is stored in the end."""
    due(quick)
    for point in quick.points(quick.run):
        due(quick)
        with quick.held_up(quick.run, point), clock_off_by(minutes=10):
            assert quick.approve("acme", kind).status_code == 303, point
        assert_stored(quick, quick.tiktok.grants[-1], point)
        assert_goes_on(quick, kind, point)
        assert quick.alerts() == [], point


@each(
    "minutes", mostly_slow({"with right clocks": 0, "with the run's clock ten minutes ahead": 10}, "with right clocks")
)
@each("kind", mostly_slow(BRINGS, "that brings a long-lived grant"))
def test_a_refresh_in_the_middle_of_a_re_connection_does_not_stay(quick: QuickStage, kind: str, minutes: int) -> None:
    """Wherever a re-connection is when a run comes that takes its lease over, it is what is stored in the end."""
    due(quick)
    for point in quick.points(lambda: quick.approve("acme", kind)):
        due(quick)
        quick.new_instances(CALLBACK_BUDGET_SECONDS="300")  # a run that waits for its turn moves everybody's time on
        with quick.held_up(lambda: quick.approve("acme", kind), point), clock_off_by(minutes=minutes):
            assert quick.run()[0] == 200, point
        assert_stored(quick, quick.tiktok.grants[-1], point)
        assert_goes_on(quick, kind, point)
        assert quick.alerts() == [], point


@each("lag", mostly_slow(LATEST, "latest is one version late"))
@each("kind", mostly_slow(BRINGS, "that brings an expiring grant"))
def test_a_re_connection_in_the_middle_of_a_verification_stays(quick: QuickStage, kind: str, lag: int) -> None:
    """Wherever a run is on its way to find the old grant dead, the re-connection ends up healthy and is kept working.

    What was stored before the run's last look at the secrets, it sees: then it does not alert, either.
    """
    revoked(quick, lag)
    points = quick.points(quick.run)
    looked_at = REFRESH if kind == "expiring" else TOKEN
    last_look = max(
        n for n, one in enumerate(points) if one.call == "AccessSecretVersion" and looked_at in one.resource
    )
    for index, point in enumerate(points):
        revoked(quick, lag)
        with quick.held_up(quick.run, point), clock_off_by(minutes=10):
            assert quick.approve("acme", kind).status_code == 303, point
        assert quick.labels("acme")["health"] == "ok", point
        assert_stored(quick, quick.tiktok.grants[-1], point)
        assert quick.alerts() == ([] if index <= last_look else ["reauthorization.required"]), point
        quick.ears.lines.clear()
        quick.later(minutes=20)
        summary = quick.run()[1]
        assert summary["verified" if kind == "long-lived" else "skipped"] == 1, point
        assert_goes_on(quick, kind, point)
        assert quick.alerts() == [], point
