"""Services that are merely slow, or hang: in a whole run, with all its calls under way at once.

Most of it takes place in simulated time (`year_clock`), where a call may take half a minute; what hangs and drips on a
real socket, and waits of real processes for each other, are at the end.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from local.serving import Fault
from reliability.answers import PATIENCE, over
from reliability.quick import OVER, QuickStage, each
from reliability.test_store_faults import assert_new
from reliability.year_clock import Pool
from reliability.year_near import NearSecretManager
from reliability.year_world import YearStage
from stage import REFRESH, TOKEN
from tokenkeeper.clock import Deadline
from tokenkeeper.disconnect import disconnect
from tokenkeeper.errors import SecretMissing, VaultUnavailable
from tokenkeeper.lease import TERM
from tokenkeeper.renewal import STORE_SECONDS
from tokenkeeper.tiktok import CALL_SECONDS

BRINGS = {"an expiring grant": "expiring", "a long-lived grant": "long-lived"}
BUDGET = 1500.0
CALLBACK_BUDGET = 50.0


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[YearStage]:
    """Everything in simulated time; how slow the services are, a test decides."""
    stage = YearStage.without_sockets(tmp_path)
    with stage.in_place():
        yield stage


def planted(stage: YearStage, expiring: int, long_lived: int = 0) -> None:
    """So many connections that are due, and so many to verify."""
    for number in range(expiring):
        stage.planted(f"due{number}", "expiring", 13)
    for number in range(long_lived):
        stage.planted(f"old{number}", "long-lived", 13)


def assert_renewed(stage: YearStage, expiring: int) -> None:
    """Each was refreshed, no refresh token was presented twice, and nobody holds anything."""
    assert sorted(stage.tiktok.spent.values()) == [1] * expiring
    assert stage.tiktok.reused == []
    for number in range(expiring):
        assert_new(stage, f"due{number}")
    assert stage.events("ERROR", "CRITICAL") == []


class TestSlowStore:
    def test_is_waited_for(self, slow: YearStage) -> None:
        """A Secret Manager that takes seconds for each call makes a run longer and costs nothing else."""
        planted(slow, 3, 3)
        slow.road.google_takes = (1.0, 2.5)
        status, summary = slow.run()
        assert status == 200
        assert (summary["refreshed"], summary["verified"]) == (3, 3)
        assert_renewed(slow, 3)
        assert slow.events("WARNING") == []

    def test_whose_answers_come_too_late(self, slow: YearStage) -> None:
        """Where every fifth answer comes after its caller has given up, nothing is spent or stored twice."""
        planted(slow, 4, 4)
        slow.road.google_takes = (3.0, 11.7)
        for _ in range(3):
            if slow.run()[0] == 200:
                break
        slow.road.google_takes = (0.1, 0.1)
        assert slow.run()[0] == 200
        assert_renewed(slow, 4)
        assert slow.clocks.stopwatch() < 4 * (BUDGET + STORE_SECONDS)
        assert all(slow.secrets.states(f"{TOKEN}due{number}") == {1: "ENABLED", 2: "ENABLED"} for number in range(4))

    def test_two_runs_at_once(self, slow: YearStage) -> None:
        """Two runs of which neither sees the other's writes for seconds spend each refresh token once."""
        planted(slow, 4)
        slow.road.google_takes = (1.0, 2.5)
        assert [status for status, _ in slow.run_twice()] == [200, 200]
        assert_renewed(slow, 4)


class TestSlowStoreOfACallback:
    @each("seconds", {f"when calls take {seconds} seconds": seconds for seconds in (1.0, 2.5, 4.0)})
    @each("brings", BRINGS)
    @each("over", OVER)
    def test_is_waited_for(self, slow: YearStage, over: str | None, brings: str, seconds: float) -> None:
        """Within its budget a callback stores what it exchanged, and all that is told of it with it."""
        come_back = coming_back(slow, brings, over)
        slow.road.google_takes = (seconds, seconds)
        before = slow.clocks.stopwatch()
        assert come_back().status_code == 303
        assert slow.clocks.stopwatch() - before <= CALLBACK_BUDGET
        assert slow.told() == ["NOTICE connection.stored"]
        assert_holds_the_newest(slow, brings)
        slow.road.google_takes = (0.1, 0.1)
        assert slow.run()[0] == 200
        assert slow.told() == []
        assert_holds_the_newest(slow, brings)

    @each("over", OVER)
    def test_that_is_too_slow_uses_nothing_up(self, slow: YearStage, over: str | None) -> None:
        """Where looking takes half of the budget the code is not exchanged, and reloading the page later does it."""
        come_back = coming_back(slow, "expiring", over)
        grants = len(slow.tiktok.grants)
        slow.road.google_takes = (9.0, 9.0)
        assert come_back().status_code == 503
        assert slow.told() == ["ERROR connection.refused"]
        assert len(slow.tiktok.grants) == grants
        slow.road.google_takes = (0.1, 0.1)
        slow.later(minutes=1)
        assert come_back().status_code == 303
        assert_holds_the_newest(slow, "expiring")

    def test_whose_answers_come_too_late(self, slow: YearStage) -> None:
        """Where answers come after their caller has given up, what was exchanged is stored, or an alert says so."""
        for number in range(40):
            come_back = coming_back(slow, "expiring", None, f"acme-{number}")
            grants = len(slow.tiktok.grants)
            slow.road.google_takes = (0.5, 11.7)
            answer = come_back()
            slow.road.google_takes = (0.1, 0.1)
            told = slow.told()
            exchanged = len(slow.tiktok.grants) - grants
            if answer.status_code == 303:
                assert told[-1] == "NOTICE connection.stored"
                assert exchanged == 1
            else:
                assert told == (["CRITICAL token.unsaved"] if exchanged else ["ERROR connection.refused"])
            slow.later(minutes=1)
            assert slow.run()[0] == 200
            if answer.status_code == 303:
                assert_holds_the_newest(slow, "expiring", f"acme-{number}")
            assert slow.told() == []


def coming_back(
    stage: YearStage, brings: str, over: str | None, connection: str = "acme"
) -> Callable[[], requests.Response]:
    """Somebody who has confirmed at TikTok and is on the way back."""
    if over:
        stage.planted(connection, over, 1)
    browser = stage.browser()
    state, code = browser.begin(stage.link(connection)), stage.code(brings)
    stage.told()
    return lambda: browser.come_back(code, state)


def assert_holds_the_newest(stage: YearStage, kind: str, connection: str = "acme") -> None:
    """What TikTok gave last is stored, and the connection says so."""
    given = stage.tiktok.grants[-1]
    assert stage.token(connection)["access_token"] == given.access_token
    if kind == "expiring":
        assert stage.whole_grant(connection)["refresh_token"] == given.refresh_token
    assert stage.labels(connection) | {"kind": kind, "health": "ok"} == stage.labels(connection)
    assert stage.annotations(connection)["obtained-at"] == stage.token(connection)["obtained_at"]
    assert "lease" not in stage.annotations(connection)


class TestSlowTikTok:
    def test_costs_no_turns(self, slow: YearStage) -> None:
        """However long TikTok takes to answer, a run makes its calls as fast as it may."""
        planted(slow, 0, 200)
        slow.road.tiktok_takes = (20.0, 20.0)
        status, summary = slow.run()
        assert (status, summary["verified"]) == (200, 200)
        assert summary["seconds"] < 200 / 8 * 1.1 + 20

    def test_that_hangs_ends_the_run_in_time(self, slow: YearStage) -> None:
        """Where no call is answered, a run of long-lived tokens marks them and ends; the next one finds all well."""
        planted(slow, 0, 40)
        slow.road.tiktok_takes = (CALL_SECONDS + 1, CALL_SECONDS + 1)
        status, summary = slow.run()
        assert (status, summary["failing"]) == (200, 40)
        assert summary["seconds"] < 2 * (CALL_SECONDS + 40 / 8 * 1.1) + 20
        assert slow.events("ERROR", "CRITICAL") == []
        slow.road.tiktok_takes = (0.1, 0.1)
        assert slow.run()[1]["verified"] == 40
        assert slow.events().count("connection.recovered") == 40

    def test_that_hangs_over_the_budget(self, slow: YearStage) -> None:
        """No connection is started after the budget, and what was started ends within two minutes."""
        planted(slow, 40, 40)
        slow.new_instances(RUN_BUDGET_SECONDS="60", TIKTOK_MAX_QPS="1")
        slow.road.tiktok_takes = (CALL_SECONDS + 1, CALL_SECONDS + 1)
        status, summary = slow.run()
        assert status == 503
        assert summary["remaining"] > 0
        assert summary["seconds"] < 60 + STORE_SECONDS


def disconnecting(stage: YearStage, after: float) -> Callable[[], str]:
    keeper = stage.instance("refresh")

    def act() -> str:
        stage.clocks.sleep(after)
        return disconnect(keeper._vault, keeper._tiktok, keeper._settings.app_id, "due0", force=False)

    return act


class TestSlowHolder:
    """Somebody whose step takes longer than a lease lasts, beside a run that would do without them."""

    @each("seconds", {f"until {seconds:.0f} seconds": seconds for seconds in (TERM + 1, TERM + 30, 2 * TERM + 20)})
    @each("after", {f"a run comes after {seconds} seconds": seconds for seconds in (0.5, 5.0, 20.0)})
    @each("brings", BRINGS)
    def test_a_callback_that_cannot_store(
        self, slow: YearStage, monkeypatch: pytest.MonkeyPatch, brings: str, after: float, seconds: float
    ) -> None:
        """A run spends nothing of the connection, and what the callback brought is what is stored."""
        slow.new_instances(CALLBACK_BUDGET_SECONDS="120")
        slow.planted("acme", "expiring", 13)
        browser = slow.browser()
        state, code = browser.begin(slow.link()), slow.code(brings)
        add = NearSecretManager.add

        def add_later(secrets: NearSecretManager, secret_id: str, payload: bytes, time: Deadline) -> int:
            if slow.clocks.stopwatch() < seconds:
                slow.clocks.sleep(0.1)
                raise VaultUnavailable("away")
            return add(secrets, secret_id, payload, time)

        monkeypatch.setattr(NearSecretManager, "add", add_later)

        with Pool(slow.clocks) as pool:
            callback = pool.submit(browser.come_back, code, state)
            run = pool.submit(run_after(slow, after))
        assert callback.result().status_code == 303
        assert run.result()[0] in {200, 503}
        assert slow.tiktok.spent == {}
        assert slow.clocks.stopwatch() >= seconds
        assert_holds_the_newest(slow, brings)
        assert slow.run()[0] == 200
        assert slow.tiktok.spent == {}
        assert_holds_the_newest(slow, brings)
        assert slow.events("ERROR", "CRITICAL") == []

    @each("after", {f"a run comes after {seconds} seconds": seconds for seconds in (0.5, 2.0, 5.0, 15.0, 30.0, 50.0)})
    def test_a_disconnection_that_takes_long(self, slow: YearStage, after: float) -> None:
        """A run spends nothing of what is being revoked and deleted, and finds it gone."""
        planted(slow, 1)
        slow.road.tiktok_takes, slow.road.google_takes = (24.9, 24.9), (3.3, 3.3)
        with Pool(slow.clocks) as pool:
            done = pool.submit(disconnecting(slow, 0.0))
            run = pool.submit(run_after(slow, after))
        assert done.result() == "It was revoked at TikTok."
        assert run.result()[0] == 200
        assert slow.clocks.stopwatch() > TERM
        assert slow.tiktok.spent == {}
        assert not {TOKEN + "due0", REFRESH + "due0"} & set(slow.secrets.secrets())
        assert slow.told() == []


def run_after(stage: YearStage, seconds: float) -> Callable[[], tuple[int, dict[str, Any]]]:
    """A run that begins so much later."""

    def act() -> tuple[int, dict[str, Any]]:
        stage.clocks.sleep(seconds)
        return stage.run()

    return act


class TestCommandLine:
    """`make disconnect` beside a run; both know of the lease."""

    @each("after", {f"after {seconds} seconds": seconds for seconds in (0.0, 0.5, 1.0, 2.0, 5.0, 15.0)})
    def test_disconnecting_during_a_run(self, slow: YearStage, after: float) -> None:
        """Whoever comes first, in the end the grant is revoked and nothing of the connection is left."""
        planted(slow, 1)
        slow.road.tiktok_takes = (8.0, 8.0)
        slow.road.google_takes = (0.3, 0.3)
        with Pool(slow.clocks) as pool:
            run = pool.submit(slow.run)
            done = pool.submit(disconnecting(slow, after))
        assert done.result() == "It was revoked at TikTok."
        assert run.result()[0] == 200
        assert all(grant.revoked for grant in slow.tiktok.grants)
        assert not {TOKEN + "due0", REFRESH + "due0"} & set(slow.secrets.secrets())
        assert slow.tiktok.reused == []
        assert slow.events("ERROR", "CRITICAL") == []

    def test_nothing_to_disconnect(self, slow: YearStage) -> None:
        """A second one finds nothing more to do."""
        planted(slow, 1)
        disconnecting(slow, 0)()
        with pytest.raises(SecretMissing):
            disconnecting(slow, 0)()


class TestOnASocket:
    """A call to TikTok may take half a second, which is what its time is cut down to."""

    @each("fault", {"they hang": {"do": "hold", "hold": "for ever"}, "they drip": {"do": "drip", "seconds": 30.0}})
    def test_verifications_that_never_end_hold_up_nobody(self, quick: QuickStage, fault: dict[str, Any]) -> None:
        """Two verifications of five hang, or drip; they are tried again, and all is well."""
        for number in range(5):
            quick.plant(f"acme-{number}")
        quick.patience = PATIENCE
        quick.tiktok.add_fault(Fault("advertiser_get", times=2, **fault))
        status, summary = quick.run()
        assert (status, summary["verified"]) == (200, 5)
        assert quick.tiktok.count("advertiser_get") == 7
        assert quick.news() == []

    def test_a_refresh_that_hangs(self, quick: QuickStage) -> None:
        """Where TikTok takes the call and never says a word, the token stays, and a later run makes it."""
        before = quick.plant("acme", "expiring", age_hours=13)
        quick.patience = PATIENCE
        with socket.create_server(("127.0.0.1", 0)) as silent:
            quick.new_instances(TIKTOK_API_URL=f"http://127.0.0.1:{silent.getsockname()[1]}/open_api/v1.3")
            assert quick.run()[0] == 503
        assert quick.token() == before
        assert quick.news() == ["connection.faltering"]
        over(quick)
        assert quick.run()[0] == 200
        assert quick.token_calls() == 1
        assert_new(quick)
        assert quick.news() == ["token.refreshed", "connection.recovered"]
