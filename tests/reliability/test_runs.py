"""What a run does with many: budgets that end, doubled triggers, throttling, slow services, the rhythm of four a day.

Reliability lines 7, 8, 9, 14 and 23; promise 7, and "never slower than that by choice".
"""

from collections import Counter
from collections.abc import Callable

import pytest

from emulators.serving import Fault
from reliability.direct import Moment
from reliability.quick import (
    AS_IT_IS,
    BRINGS,
    FALTERING,
    NEW,
    RECOVERED,
    REFRESHED,
    REQUIRED,
    STALE,
    STOPPED,
    UNREADABLE,
    Outcome,
    QuickStage,
    assert_well,
    code,
    each,
    edited,
)
from stage import KEEPER, REFRESH, TOKEN
from tokenkeeper import clock
from tokenkeeper.errors import SettingsError
from tokenkeeper.refresh.outcome import Why
from tokenkeeper.store.persist import STORE_SECONDS
from tokenkeeper.tiktok.api import CALL_SECONDS
from tokenkeeper.transitions import FAILING_BECOMES_ALERT


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

    def test_the_place_to_continue_from_stays_after_a_run_that_cannot_list(self, quick: QuickStage) -> None:
        """Nobody knows yet whether the connection is still there."""
        quick.plant("acme")
        quick.secrets.create(KEEPER, project=quick.project, labels={"managed-by": "tiktok-token-keeper"},
                             annotations={"resume-after": "kept"})  # fmt: skip
        quick.secrets.add_fault(Fault("ListSecrets", times=None))
        assert quick.run()[0] == 503
        assert quick.secrets.annotations(KEEPER)["resume-after"] == "kept"

    def test_a_run_without_credentials_stops(self, quick: QuickStage) -> None:
        """One alert says what is missing, and so does the answer."""

        def refuse() -> None:
            raise SettingsError("GOOGLE_CLOUD_PROJECT is missing.")

        quick.plant("acme")
        quick.wire.at(Moment("ListSecrets"), refuse)
        status, summary = quick.run()
        assert (status, summary["error"], quick.logged()) == (500, "GOOGLE_CLOUD_PROJECT is missing.", [STOPPED])


# What happens, and how many are tried: at least so many, and fewer than so many.
AWAY = {
    "Secret Manager is away":
        (lambda stage: stage.secrets.add_fault(Fault("UpdateSecret", TOKEN, times=None)), 20, 60, Why.STORE),
    "TikTok throttles": (lambda stage: code(40100)(stage, "refresh_token"), 5, 10, Why.THROTTLED),
}  # fmt: skip


@each("case", AWAY)
def test_what_all_would_meet_is_left_alone_soon(
    quick: QuickStage, case: tuple[Callable[[QuickStage], None], int, int, Why]
) -> None:
    """After some in a row nobody else is tried, at any rate; those whose tokens end soon are named, and why."""
    happens, least, most, why = case
    names = [f"c{number}" for number in range(60)]
    for name in names:
        quick.plant(name, "expiring", age_hours=20)
    quick.new_instances(TIKTOK_MAX_QPS="1")
    happens(quick)
    status, summary = quick.run()
    assert (status, summary["remaining"]) == (503, 60)
    tried = {call.resource for call in quick.secrets.calls if call.name == "UpdateSecret" and TOKEN in call.resource}
    assert least <= len(tried) < most
    [behind] = [entry for entry in quick.entries() if entry["event"] == "run.behind"]
    assert behind["count"] == 60
    assert f"could not refresh them: {why.value}." in behind["message"]
    quick.logged()
    quick.quiet()
    quick.new_instances(TIKTOK_MAX_QPS="500")
    assert quick.run()[0] == 200
    assert quick.logged() == [REFRESHED] * 60, "nothing was counted against anybody"


def test_two_forced_runs_at_once_redeem_two_tokens(quick: QuickStage) -> None:
    """What a forced run fails at is over in the next one; two redeem two different tokens, one after the other."""
    quick.plant("acme", "expiring")
    forced = {"force": True}
    code(50002)(quick, "refresh_token")
    assert quick.run(forced)[0] == 503
    quick.quiet()
    quick.assert_run(Outcome("old", "ok", 2, (FALTERING, RECOVERED)))
    with quick.clocks.passing_slowly(), quick.meanwhile(lambda: quick.run(forced), lambda: quick.run(forced)):
        pass
    assert quick.outcome() == Outcome("new", "ok", 2, NEW.logged * 2)
    assert quick.tiktok.reused == []


def test_a_run_that_comes_three_hundred_days_late_refreshes_once(quick: QuickStage) -> None:
    """The access token has ended by then, and the refresh token has not."""
    quick.due()
    quick.later(days=300)
    for outcome in (NEW, AS_IT_IS):
        quick.assert_run(outcome)


def test_a_run_that_comes_late_or_not_at_all_leaves_time(quick: QuickStage) -> None:
    """Every second run refreshes, however late each is; where one is left out, tokens have six hours left."""

    def hours_left() -> float:
        return (quick.time("acme", "expires-at") - clock.now()).total_seconds() / 3600

    quick.due()
    for late in (4.0, 2.0, 1.0, 3.0, 0.0, 2.0, 5.0):
        quick.later(seconds=late)
        assert quick.run()[0] == 200
        assert hours_left() > 17.5
        quick.later(hours=6, seconds=-late)
    quick.later(hours=12)
    assert 5.9 < hours_left() < 6.1
    assert quick.run()[0] == 200
    assert hours_left() > 23.9


class TestSlow:
    """Every call moves everybody's time on, so that whatever waits meanwhile grows impatient."""

    def test_a_store_whose_answers_come_too_late(self, quick: QuickStage) -> None:
        """Where every fifth answer comes after its caller has given up, nothing is used or stored twice."""
        quick.due()
        quick.wire.takes["secrets"] = (3.0, 11.7)
        for _ in range(3):
            quick.run()
        assert quick.clocks.monotonic() < 3 * (1500 + STORE_SECONDS)
        quick.quiet()
        assert quick.run()[0] == 200
        assert_well(quick)
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

    def test_a_store_that_is_too_slow_for_a_callback_uses_nothing_up(self, quick: QuickStage) -> None:
        """Where looking takes half of the budget the code is not exchanged, and reloading the page later does it."""
        browser, state, given = quick.begun(brings="expiring")
        quick.wire.takes["secrets"] = (9.9, 9.9)
        quick.secrets.add_fault(Fault("CreateSecret", times=2))
        assert browser.come_back(given, state).status_code == 503
        assert (quick.logged(), quick.tiktok.calls) == (["ERROR connection.refused"], [])
        quick.quiet()
        quick.later(minutes=1)
        assert browser.come_back(given, state).status_code == 303

    @each("kind", BRINGS)
    def test_a_callback_that_cannot_store_for_longer_than_a_lease(self, quick: QuickStage, kind: str) -> None:
        """It renews its lease: a run beside it redeems nothing, and what the callback brought is what is stored."""
        quick.new_instances(CALLBACK_BUDGET_SECONDS="150")
        quick.due()
        hasty = quick.instance("refresh", RUN_BUDGET_SECONDS="5")
        quick.secrets.add_fault(Fault("AddSecretVersion", times=None))
        statuses: list[int] = []
        storing = Moment("AddSecretVersion", (REFRESH if kind == "expiring" else TOKEN) + "acme")
        end = quick.clocks.monotonic() + STALE + 20

        def meanwhile() -> None:
            if quick.clocks.monotonic() < end:
                statuses.append(quick.run(function=hasty)[0])
                quick.wire.at(storing, meanwhile)
            else:
                quick.secrets.clear_faults()

        quick.wire.at(storing, meanwhile)
        assert quick.approve("acme", kind).status_code == 303
        assert set(statuses) == {503}
        assert quick.tiktok.spent == {}
        assert quick.run()[0] == 200
        assert quick.tiktok.spent == {}
        assert quick.token()["access_token"] == quick.tiktok.grants[-1].access_token
        assert quick.alerts() == []


@pytest.mark.parametrize("number", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_many_connections_with_trouble_among_them(quick: QuickStage, number: int) -> None:
    """Of many, 3 % are dead, 2 % failing and 2 % broken by hand: the others are done, and the counts are exact."""
    renewed, left = [], {}
    for index in range(number):
        kind = "expiring" if index % 2 else "long-lived"
        name = f"c{index:04}"
        given = quick.plant(name, kind, age_hours=13, family="account" if index % 4 == 1 else "advertiser")
        key = quick.whole_grant(name)["refresh_token"] if kind == "expiring" else given["access_token"]
        match index % 100:
            case 10 | 11 | 12:
                quick.tiktok.revoke(given["access_token"])
            case 20 | 21:
                quick.tiktok.fail_token(key, 50002)
            case 30 | 31:
                edited(quick, (REFRESH if kind == "expiring" else TOKEN) + name)
            case _ if kind == "expiring":
                renewed.append(name)
        left[name] = quick.secrets.payloads(TOKEN + name)
    parts = number // 100
    status, summary = quick.run()
    assert status == 503, "expiring ones that are due failed for a moment"
    assert {key: value for key, value in summary.items() if isinstance(value, int)} == {
        "connections": number,
        "refreshed": parts * 47,
        "verified": parts * 46,
        "failing": parts * 4,
        "reauthorize": parts * 3,
        "skipped": 0,
        "remaining": 0,
    }
    assert len(summary["attention"]) == parts * 5
    logged = Counter(quick.logged())
    assert logged == {REFRESHED: parts * 47, REQUIRED: parts * 3, UNREADABLE: parts * 2, FALTERING: parts * 2}
    assert quick.token_calls() == parts * (47 + 1 + 2)  # the dead one once, the failing one twice
    for name in renewed:
        assert quick.outcome(name) == Outcome("new", "ok", 0, ())
    assert all(quick.secrets.payloads(TOKEN + name) == left[name] for name in left.keys() - set(renewed))
    quick.later(seconds=FAILING_BECOMES_ALERT.total_seconds() / 48)
    quick.run()
    assert quick.logged() == []
    assert quick.secrets.count("UpdateSecret", TOKEN + "c0030") == 2, "what is marked is not marked again"


def test_what_ten_days_cost(quick: QuickStage) -> None:
    """Of 20 connections four expire: calls and versions of each day are as many on the last as on the first."""
    for number in range(16):
        given = quick.plant(f"lasting-{number}")
        quick.tiktok.set_advertisers(given["access_token"], given["advertiser_ids"][::-1])  # in whatever order
    for number, family in enumerate(("advertiser", "account") * 2):
        quick.due(f"expiring-{number}", family=family)
    runs, refreshes = 10 * 4, 10 * 2 * 4
    for _ in range(runs):
        assert quick.run()[0] == 200
        quick.later(hours=6)
    calls = Counter(call.name for call in quick.secrets.calls)
    assert calls["AccessSecretVersion"] == 16 * runs + 4 * refreshes
    assert calls["AddSecretVersion"] == 2 * refreshes
    assert calls["DestroySecretVersion"] == 2 * refreshes - 2 * 4  # the first of each destroys nothing
    assert calls["UpdateSecret"] == 2 * refreshes + runs - 1  # the lease and its end; the runs' records
    assert calls["GetSecret"] == runs
    assert calls["ListSecretVersions"] <= refreshes
    assert (calls["ListSecrets"], calls["TestIamPermissions"]) == (runs, runs // 2)
    assert len(quick.tiktok.calls) == 16 * runs + refreshes
    for states in quick.secrets.secrets().values():
        assert list(states.values()).count("ENABLED") <= 2
    assert set(quick.logged()) == {REFRESHED}


def test_a_defect_in_the_work_on_one_connection_stays_its_own(quick: QuickStage) -> None:
    """Whatever is raised there, the others are kept, and the log has where it was."""
    for name in ("acme", "beta"):
        quick.plant(name)
    quick.wire.at(Moment("AccessSecretVersion", f"{TOKEN}acme"), lambda: 1 // 0)
    status, summary = quick.run()
    assert (status, summary["failing"], summary["verified"], summary["attention"]) == (200, 1, 1, ["acme"])
    assert quick.logged() == ["ERROR defect"]
