"""A re-connection while a run is at work on the connection, and a run while a re-connection is, at every call of each.

Reliability line 6, promises 1 and 3. Whoever is at work is held up for so long that the lease may be taken over; with
less, the other one waits or gives way, and there would be nothing to see.
"""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from reliability.direct import Moment
from reliability.quick import BRINGS, STALE, QuickStage, assert_well, at_moment, clock_off_by, each
from stage import REFRESH, TOKEN
from tokenkeeper.store.lease import CLOCKS_DIFFER_BY, TERM

BRINGS_ANY = {**BRINGS, "of a TikTok account": "account"}


def approve(stage: QuickStage, kind: str) -> int:
    """Connect; a page that says that nothing was used up is reloaded."""
    browser, state, code = stage.begun(brings=kind)
    answer = browser.come_back(code, state)
    if answer.status_code == 503 and "Nothing was used up" in answer.text:
        stage.later(minutes=2)
        answer = browser.come_back(code, state)
    return answer.status_code


def approve_late(stage: QuickStage, kind: str) -> int:
    """Connect when the lease of whoever is at work is stale."""
    stage.later(seconds=STALE)
    return approve(stage, kind)


def assert_stored(stage: QuickStage) -> None:
    """The newest grant of TikTok's is what both of the connection's secrets hold."""
    given = stage.tiktok.grants[-1]
    assert stage.token()["access_token"] == given.access_token
    if given.refresh_token:
        assert stage.whole_grant()["refresh_token"] == given.refresh_token


def assert_goes_on(stage: QuickStage) -> None:
    """From now on every run keeps the re-connection working."""
    for span in ({"minutes": 20}, {"hours": 13}):
        stage.later(**span)
        assert stage.run()[0] == 200
        assert_stored(stage)
        assert_well(stage)
        assert (REFRESH + "acme" in stage.secrets.secrets()) == (stage.labels()["kind"] == "expiring")
    assert all(times == 1 for times in stage.tiktok.spent.values())


def due(stage: QuickStage, kind: str) -> None:
    stage.reset()
    assert approve(stage, "account" if kind == "account" else "expiring") == 303
    stage.later(hours=13)


def interrupted(stage: QuickStage, what: Callable[[], Any], moment: Moment, act: Callable[[], Any]) -> tuple[Any, Any]:
    """Do something, and something else at a moment of it; returns what came of both."""
    found: Future[Any] = Future()
    stage.wire.at(moment, lambda: found.set_result(act()))
    done = what()
    return done, found.result(30)  # a callback asks in another thread whether it may store


@each("kind", BRINGS_ANY)
def test_a_re_connection_in_the_middle_of_a_refresh_stays(quick: QuickStage, kind: str) -> None:
    """Wherever a refresh is when somebody re-connects, the re-connection is what is stored in the end."""
    due(quick, kind)
    statuses = set()
    for moment in quick.moments(quick.run, "acme"):
        with at_moment(moment):
            due(quick, kind)
            (status, _), connected = interrupted(quick, quick.run, moment, lambda: approve_late(quick, kind))
            statuses.add(status)
            assert connected == 303
            assert_stored(quick)
            assert_goes_on(quick)
            assert quick.alerts() == []
    assert statuses == {200, 503}, "who was in the middle of a refresh that was due is called again"


CLOCKS = {
    "with right clocks": (STALE, 0.0),
    "with the run's clock half a minute ahead": (TERM + 1, CLOCKS_DIFFER_BY.total_seconds()),
}


@each("clocks", CLOCKS)
@each("kind", BRINGS_ANY)
def test_a_refresh_in_the_middle_of_a_re_connection_does_not_stay(
    quick: QuickStage, kind: str, clocks: tuple[float, float]
) -> None:
    """Wherever a re-connection is when a run comes that takes its lease over, it is what is stored in the end."""
    passed, ahead = clocks

    def run() -> int:
        quick.later(seconds=passed)
        with clock_off_by(seconds=ahead):
            return quick.run()[0]

    due(quick, kind)
    moments = quick.moments(lambda: approve(quick, kind), "acme")
    exchange = next(n for n, moment in enumerate(moments) if moment.call in {"access_token", "account_token"})
    for index, moment in enumerate(moments):
        with at_moment(moment):
            due(quick, kind)
            quick.new_instances(CALLBACK_BUDGET_SECONDS="300")
            connected, status = interrupted(quick, lambda: approve(quick, kind), moment, run)
            assert (connected, status) == (303, 200)
            assert_stored(quick)
            assert_goes_on(quick)
            refused = ["connection.refused"] if index < exchange else []  # and reloaded, with nothing used up
            assert quick.alerts() in ([], refused)


@each("lag", {"readings are exact": 0, "latest is two versions late": 2})
@each("kind", BRINGS)
def test_a_re_connection_in_the_middle_of_a_verification_stays(quick: QuickStage, kind: str, lag: int) -> None:
    """Wherever a run is that finds the old grant dead, the re-connection stays healthy; what it can see, it heeds."""

    def revoked() -> None:
        """A long-lived grant, stored twice, that its advertiser has taken back."""
        quick.reset()
        given = quick.plant("acme")
        quick.secrets.add_version(TOKEN + "acme", quick.secrets.payloads(TOKEN + "acme")[0])
        quick.tiktok.revoke(given["access_token"])
        quick.secrets.set_lag(latest=lag)

    revoked()
    moments = quick.moments(quick.run, "acme")
    looked_at = REFRESH if kind == "expiring" else TOKEN
    looks = [n for n, one in enumerate(moments) if one.call == "AccessSecretVersion" and looked_at in one.secret]
    for index, moment in enumerate(moments):
        with at_moment(moment):
            revoked()
            _, connected = interrupted(quick, quick.run, moment, lambda: approve_late(quick, kind))
            assert (connected, quick.labels()["health"]) == (303, "ok")
            assert_stored(quick)
            assert quick.alerts() == ([] if index <= max(looks) else ["reauthorization.required"])
            quick.logged()
            quick.later(minutes=20)
            assert quick.run()[1]["verified" if kind == "long-lived" else "skipped"] == 1
            assert_goes_on(quick)
            assert quick.alerts() == []
