"""What a run does with many: budgets that end, doubled triggers, throttling, slow services, the rhythm of four a day.

Reliability lines 7, 9, 14 and 23; promise 7, and "never slower than that by choice".
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from emulators.serving import Fault
from reliability.direct import Moment
from reliability.quick import AS_IT_IS, BRINGS, NEW, UNTOUCHED, Outcome, QuickStage, code, each
from stage import KEEPER, REFRESH, TOKEN
from tokenkeeper import clock
from tokenkeeper.store.lease import CLOCKS_DIFFER_BY, TERM
from tokenkeeper.store.persist import STORE_SECONDS
from tokenkeeper.tiktok.families import CALL_SECONDS

REFRESHED, STORED = "INFO token.refreshed", "NOTICE connection.stored"
KINDS = {"long-lived grants": "long-lived", "expiring grants": "expiring"}
FAMILIES = {"an advertiser's": "advertiser", "an account's": "account"}


def test_forcing_a_run_over_healthy_long_lived_grants_changes_nothing(quick: QuickStage) -> None:
    """They are verified as always: no refresh is sent, and nothing about them is written."""
    quick.plant("acme")
    quick.plant("beta", family="account")
    bodies: list[dict[str, Any]] = [{"force": True}, {"connections": ["acme", "beta"], "force": True}]
    for body in bodies:
        status, summary = quick.run(body)
        assert (status, summary["verified"], summary["connections"]) == (200, 2, 2)
    assert quick.writes() == ["CreateSecret"]  # the whole run's record
    for name in ("acme", "beta"):
        assert quick.outcome(name) == UNTOUCHED


def test_nobody_calls_about_a_connection_that_needs_a_person(quick: QuickStage) -> None:
    """Once alerted of, it costs no call and no entry until it is connected again; forcing changes nothing about it."""
    quick.due()
    quick.plant("lasting")
    for name in ("acme", "lasting"):
        quick.tiktok.revoke(quick.token(name)["access_token"])
    quick.run()
    assert quick.logged() == ["ERROR reauthorization.required"] * 2
    quick.token_calls()
    for body in (None, {"force": True}, {"connections": ["acme"], "force": True}):
        quick.later(hours=6)
        status, summary = quick.run(body)
        assert status == 200
        assert summary["attention"] == (["acme"] if body and "connections" in body else ["acme", "lasting"])
        assert quick.tiktok.calls == []
        for name in ("acme", "lasting"):
            assert quick.outcome(name) == Outcome("old", "reauthorize", 0, ())


class TestBudget:
    def test_the_next_run_goes_on_where_it_ended(self, quick: QuickStage) -> None:
        """Over some runs every long-lived connection has its turn, in order, however short the budget is."""
        names = [f"c{number:02}" for number in range(12)]
        tokens = {quick.plant(name)["access_token"]: name for name in names}
        quick.new_instances(TIKTOK_MAX_QPS="1", RUN_BUDGET_SECONDS="4")
        begun = 0
        while begun < len(names):
            status, summary = quick.run()
            assert summary["verified"] + summary["remaining"] == 12
            assert status == (503 if summary["remaining"] else 200)
            asked = [tokens[sent["Access-Token"]] for sent in quick.tiktok.requests_of("advertiser_get")]
            quick.tiktok.forget_calls()
            assert sorted(asked) == sorted((names + names)[begun : begun + len(asked)])
            assert asked
            begun += len(asked)
        assert begun < 24

    def test_expiring_ones_are_refreshed_by_the_next_run_nearest_end_first(self, quick: QuickStage) -> None:
        """What a run has no time for is left as it is, and the next one goes on with it; none is refreshed twice."""
        names = [f"c{number:02}" for number in range(12)]
        for number, name in enumerate(names):
            quick.plant(name, "expiring", age_hours=13 + number / 2)
        quick.new_instances(TIKTOK_MAX_QPS="1", RUN_BUDGET_SECONDS="2")
        done, statuses = 0, []
        while done < len(names):
            status, summary = quick.run()
            statuses.append(status)
            assert 0 < summary["refreshed"] == quick.token_calls()
            done += summary["refreshed"]
            found = [quick.secrets.states(TOKEN + name) == {1: "ENABLED"} for name in names]
            assert found == [True] * (len(names) - done) + [False] * done
        assert statuses == [503] * (len(statuses) - 1) + [200]
        assert len(statuses) > 1

    @each("body", {"a limited run": {"connections": ["acme"]}, "a run that cannot list": None})
    def test_the_place_to_continue_from_stays_after(self, quick: QuickStage, body: dict[str, Any] | None) -> None:
        """It belongs to the runs over everything."""
        quick.plant("acme")
        quick.secrets.create(KEEPER, project=quick.project, labels={"managed-by": "tiktok-token-keeper"},
                             annotations={"resume-after": "kept"})  # fmt: skip
        if body is None:
            quick.secrets.add_fault(Fault("ListSecrets", times=None))
        assert quick.run(body)[0] == (503 if body is None else 200)
        assert quick.secrets.annotations(KEEPER)["resume-after"] == "kept"


@each("qps", {"one call in two seconds": "0.5", "eight calls a second": "8", "five hundred calls a second": "500"})
@each("kind", KINDS)
def test_a_tiktok_that_always_throttles_is_left_alone_soon(quick: QuickStage, kind: str, qps: str) -> None:
    """At any rate a run gives up after a few; nothing is counted against anybody, and nothing redeemed."""
    names = [f"c{number}" for number in range(6)]
    for name in names:
        quick.plant(name, kind, age_hours=13)
    for call in ("advertiser_get", "refresh_token"):
        code(40100)(quick, call)
    quick.new_instances(TIKTOK_MAX_QPS=qps)
    status, summary = quick.run()
    assert (status, summary["remaining"]) == (503, 6)
    assert len(quick.tiktok.calls) <= 5 * 6  # how many are under way when the first comes, threads decide
    quick.token_calls()
    for name in names:
        assert quick.outcome(name) == UNTOUCHED
    quick.quiet()
    assert quick.run()[0] == 200
    expiring = kind == "expiring"
    assert (quick.logged(), quick.token_calls()) == ([REFRESHED] * 6 * expiring, 6 * expiring)


@each("family", FAMILIES)
class TestTriggers:
    """What Cloud Scheduler and people may do: one refresh for each half of a token's life."""

    @each("body", {"twice": None, "by hand beside it": {"connections": ["acme"]}})
    def test_at_once(self, quick: QuickStage, family: str, body: dict[str, Any] | None) -> None:
        """Two runs at once refresh once, and one more does nothing."""
        quick.due(family=family)
        with quick.clocks.passing_slowly(), quick.meanwhile(quick.run, lambda: quick.run(body)):
            pass
        assert quick.outcome() == NEW
        assert quick.run(body)[0] == 200
        assert quick.outcome() == AS_IT_IS

    @each("hours", {"six hours": 6, "a week": 168, "three hundred days": 7200})
    def test_late(self, quick: QuickStage, family: str, hours: int) -> None:
        """A run that comes so much later than it should refreshes once, though the access token has ended."""
        quick.due(family=family)
        quick.later(hours=hours)
        for outcome in (NEW, AS_IT_IS):
            assert quick.run()[0] == 200
            assert quick.outcome() == outcome

    def test_forced_twice_at_once(self, quick: QuickStage, family: str) -> None:
        """Two forced runs redeem two different tokens, one after the other."""
        quick.plant("acme", "expiring", family=family)  # type: ignore[arg-type]
        forced = {"force": True}
        with quick.clocks.passing_slowly(), quick.meanwhile(lambda: quick.run(forced), lambda: quick.run(forced)):
            pass
        assert quick.outcome() == Outcome("new", "ok", 2, NEW.logged * 2)
        assert quick.tiktok.reused == []


class TestRhythm:
    """Four runs a day, and tokens that live a day."""

    def hours_left(self, stage: QuickStage) -> float:
        return (stage.time("c0", "expires-at") - clock.now()).total_seconds() / 3600

    def test_every_second_run_refreshes_however_late_each_is(self, quick: QuickStage) -> None:
        """A run that comes a few seconds early does not put a token off for six hours: due by its end is due."""
        quick.plant("c0", "expiring", age_hours=13)
        for late in (4.0, 2.0, 1.0, 3.0, 0.0, 2.0, 5.0):
            quick.later(seconds=late)
            assert quick.run()[0] == 200
            assert self.hours_left(quick) > 17.5
            quick.later(hours=6, seconds=-late)

    def test_a_run_that_does_not_happen_leaves_time(self, quick: QuickStage) -> None:
        """Where a run is left out, tokens have six hours left at least before the next one."""
        quick.plant("c0", "expiring", age_hours=13)
        for hours in (6, 12):
            assert quick.run()[0] == 200
            quick.later(hours=hours)
        assert self.hours_left(quick) > 5.9
        assert quick.run()[0] == 200
        assert self.hours_left(quick) > 23.9

    def test_one_before_half_of_its_life_is_left_alone(self, quick: QuickStage) -> None:
        """What is not due by the end of the run costs nothing but its place in the list."""
        quick.plant("c0", "expiring", age_hours=11.5)
        assert quick.run()[1]["skipped"] == 1
        assert {call.name for call in quick.secrets.calls} == {"ListSecrets", "GetSecret", "CreateSecret"}

    def test_due_by_the_end_of_the_run_is_due(self, quick: QuickStage) -> None:
        """The budget is 25 minutes: half of a day's life that is over in 20 is over now."""
        quick.plant("c0", "expiring", age_hours=11 + 40 / 60)
        assert quick.run()[1]["refreshed"] == 1


class TestSlow:
    """Every call moves everybody's time on, so that whatever waits meanwhile grows impatient."""

    @each("family", FAMILIES)
    def test_a_store_is_waited_for(self, quick: QuickStage, family: str) -> None:
        """A Secret Manager that takes seconds for each call makes a run longer and costs nothing else."""
        for name in ("acme", "beta", "gamma"):
            quick.due(name, family=family)
        quick.wire.takes["secrets"] = (1.0, 2.5)
        status, summary = quick.run()
        assert (status, summary["refreshed"]) == (200, 3)
        assert (quick.logged(), quick.token_calls()) == ([REFRESHED] * 3, 3)
        for name in ("acme", "beta", "gamma"):
            assert quick.outcome(name) == AS_IT_IS

    def test_a_store_whose_answers_come_too_late(self, quick: QuickStage) -> None:
        """Where every fifth answer comes after its caller has given up, nothing is used or stored twice."""
        quick.due()
        quick.wire.takes["secrets"] = (3.0, 11.7)
        for _ in range(3):
            quick.run()
        assert quick.clocks.stopwatch() < 3 * (1500 + STORE_SECONDS)
        quick.quiet()
        assert quick.run()[0] == 200
        quick.assert_new()
        assert quick.secrets.states(TOKEN + "acme") == {1: "ENABLED", 2: "ENABLED"}
        assert [*quick.tiktok.spent.values()] == [1]

    def test_a_tiktok_that_hangs_ends_the_run_in_time(self, quick: QuickStage) -> None:
        """No connection is started after the budget, what was started ends, and the next run finds all well."""
        for number in range(10):
            quick.plant(f"c{number}")
        quick.new_instances(RUN_BUDGET_SECONDS="60", TIKTOK_MAX_QPS="1")
        quick.wire.takes["tiktok"] = (CALL_SECONDS + 1, CALL_SECONDS + 1)
        status, summary = quick.run()
        assert status == 503
        assert summary["remaining"] > 0
        assert quick.alerts() == []
        quick.quiet()
        quick.new_instances(RUN_BUDGET_SECONDS="1500", TIKTOK_MAX_QPS="8")
        assert quick.run()[0] == 200
        assert {quick.labels(f"c{number}")["health"] for number in range(10)} == {"ok"}

    @pytest.mark.parametrize("seconds", [1.0, 2.5, 4.0])
    @each("kind", BRINGS)
    def test_a_store_of_a_callback_is_waited_for(self, quick: QuickStage, kind: str, seconds: float) -> None:
        """Within its budget a callback stores what it exchanged, and all that belongs to it."""
        quick.plant("acme", kind, age_hours=1)
        browser = quick.browser()
        state, given = browser.begin(quick.link()), quick.code(kind)
        quick.wire.takes["secrets"] = (seconds, seconds)
        before = quick.clocks.stopwatch()
        assert browser.come_back(given, state).status_code == 303
        assert quick.clocks.stopwatch() - before <= 50
        assert (quick.logged(), quick.labels()["kind"]) == ([STORED], kind)
        quick.quiet()
        assert quick.run()[0] == 200
        assert (quick.logged(), quick.token()["access_token"]) == ([], quick.tiktok.grants[-1].access_token)

    def test_a_store_that_is_too_slow_for_a_callback_uses_nothing_up(self, quick: QuickStage) -> None:
        """Where looking takes half of the budget the code is not exchanged, and reloading the page later does it."""
        browser = quick.browser()
        state, given = browser.begin(quick.link()), quick.code("expiring")
        quick.wire.takes["secrets"] = (9.9, 9.9)
        quick.secrets.add_fault(Fault("CreateSecret", times=2))
        assert browser.come_back(given, state).status_code == 503
        assert (quick.logged(), quick.tiktok.calls) == (["ERROR connection.refused"], [])
        quick.quiet()
        quick.later(minutes=1)
        assert browser.come_back(given, state).status_code == 303

    @each("kind", BRINGS)
    @pytest.mark.parametrize("seconds", [TERM + 1, TERM + CLOCKS_DIFFER_BY.total_seconds() + 20])
    def test_a_callback_that_cannot_store_for_longer_than_a_lease(
        self, quick: QuickStage, kind: str, seconds: float
    ) -> None:
        """It renews its lease: a run beside it redeems nothing, and what the callback brought is what is stored."""
        quick.new_instances(CALLBACK_BUDGET_SECONDS="150")
        quick.due()
        hasty = quick.instance("refresh", RUN_BUDGET_SECONDS="5")
        quick.secrets.add_fault(Fault("AddSecretVersion", times=None))
        statuses: list[int] = []
        first = quick.clocks.stopwatch()

        def meanwhile(skip: int) -> None:
            if quick.clocks.stopwatch() - first < seconds:
                statuses.append(quick.run(function=hasty)[0])
                quick.at(Moment("AddSecretVersion", secret_id, skip), lambda: meanwhile(skip))
            else:
                quick.secrets.clear_faults()

        secret_id = (REFRESH if kind == "expiring" else TOKEN) + "acme"
        quick.at(Moment("AddSecretVersion", secret_id, 0), lambda: meanwhile(0))
        assert quick.approve("acme", kind).status_code == 303
        assert set(statuses) == {503}
        assert quick.tiktok.spent == {}
        assert quick.run()[0] == 200
        assert quick.tiktok.spent == {}
        assert quick.token()["access_token"] == quick.tiktok.grants[-1].access_token
        assert quick.alerts() == []


@pytest.mark.slow
def test_what_sixty_days_cost(quick: QuickStage) -> None:
    """Of 20 connections four expire: calls and versions of each day are as many on the last as on the first."""
    for number in range(16):
        quick.plant(f"lasting-{number}")
    for number, family in enumerate(("advertiser", "account") * 2):
        quick.due(f"expiring-{number}", family=family)
    runs, refreshes = 60 * 4, 60 * 2 * 4
    for _ in range(runs):
        assert quick.run()[0] == 200
        quick.later(hours=6)
    calls = Counter(call.name for call in quick.secrets.calls)
    assert calls["AccessSecretVersion"] == 16 * runs + 4 * refreshes
    assert calls["AddSecretVersion"] == 2 * refreshes
    assert calls["DestroySecretVersion"] <= 2 * refreshes + 4
    assert calls["UpdateSecret"] == 2 * refreshes + runs - 1  # the lease and its end; the runs' records
    assert calls["GetSecret"] == runs
    assert calls["ListSecretVersions"] <= refreshes
    assert (calls["ListSecrets"], calls["TestIamPermissions"]) == (runs, runs // 2)
    assert len(quick.tiktok.calls) == 16 * runs + refreshes
    for kept in quick.secrets.secrets().values():
        assert list(kept.states.values()).count("ENABLED") <= 2
    assert set(quick.logged()) == {REFRESHED}
