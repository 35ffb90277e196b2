"""What a run does with many: verifying long-lived grants, budgets that end, doubled triggers, complaints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from local.serving import Fault
from reliability.answers import (
    ANSWERS,
    ERROR_PAGE,
    Trouble,
    answered,
    code,
    fault,
    not_permitted,
    over,
    says,
    without,
)
from reliability.quick import AS_IT_IS, NEW, UNTOUCHED, Outcome, QuickStage, each
from stage import KEEPER, REFRESH, TOKEN
from tokenkeeper import clock
from tokenkeeper.lease import TERM

Act = Callable[[QuickStage], object]


@dataclass(frozen=True)
class Case:
    """What TikTok says to a verification, and what comes of one run."""

    sentence: str
    trouble: Trouble
    calls: int
    health: str
    events: tuple[str, ...]
    status: int
    verdict: str


def verified(sentence: str, trouble: Trouble, calls: int = 1) -> Case:
    """The token lives, and nothing is new."""
    return Case(sentence, trouble, calls, "ok", (), 200, "verified")


def failing(sentence: str, trouble: Trouble, calls: int = 2) -> Case:
    """The token stays; it was tried twice."""
    return Case(sentence, trouble, calls, "failing", ("WARNING connection.faltering",), 200, "failing")


def throttled(sentence: str, trouble: Trouble) -> Case:
    """Nothing is counted against the connection; it is tried again, slower, until there is no hope in it."""
    return Case(sentence, trouble, 5, "ok", (), 503, "remaining")


def ours(sentence: str, trouble: Trouble) -> Case:
    """Nobody is marked; the run stops."""
    return Case(sentence, trouble, 1, "ok", ("CRITICAL run.stopped",), 500, "remaining")


def person(sentence: str, trouble: Trouble) -> Case:
    """Only a new authorization helps."""
    return Case(sentence, trouble, 1, "reauthorize", ("ERROR reauthorization.required",), 200, "reauthorize")


BY_KIND: dict[str, Callable[[str, Trouble], Case]] = {
    "good": verified,
    "unreachable": partial(failing, calls=0),
    "silent": failing,
    "lost": partial(verified, calls=2),  # asking again harms nobody
    "throttled": throttled,
    "passing": failing,
    "ours": ours,
    "person": person,
}
CASES = [
    verified("all is well", without()),
    *(BY_KIND[answer.kind](answer.sentence, answer.happens) for answer in ANSWERS),
    failing("TikTok does not answer", fault(when="after", do="hold", hold="for ever")),
    failing("TikTok's list is none", says({"list": 5})),
    failing("TikTok's list holds something that is no advertiser", says({"list": [{"advertiser_id": {}}]})),
    verified("TikTok has a problem once", code(50000, times=1), calls=2),
    verified("TikTok gets too many calls once", code(40100, times=1), calls=2),
    person("the token has expired", code(40102)),
    verified("permission is lacking and the token lives", not_permitted()),
    person("permission is lacking and the token is dead", not_permitted(code(40105))),
    failing("permission is lacking and nobody knows", not_permitted(answered(ERROR_PAGE, 502))),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sentence)
def test_verifying_a_long_lived_grant_when(quick: QuickStage, case: Case) -> None:
    """Whatever TikTok answers, nothing is refreshed, the token stays, and the table of failures decides the rest."""
    quick.plant("acme")
    before = quick.secrets.payloads(TOKEN + "acme")
    case.trouble(quick, "advertiser_get")
    status, summary = quick.run()
    assert (status, summary[case.verdict], summary["connections"]) == (case.status, 1, 1)
    assert quick.tiktok.count("advertiser_get") == case.calls
    assert quick.tiktok.token_calls == []
    assert quick.secrets.payloads(TOKEN + "acme") == before
    assert quick.labels()["health"] == case.health
    assert "lease" not in quick.annotations()
    assert tuple(quick.told()) == case.events
    writes = [name for name in quick.writes() if name != "CreateSecret"]
    assert writes == ([] if case.health == "ok" else ["UpdateSecret", "UpdateSecret"])


def test_forcing_a_run_over_healthy_long_lived_grants_changes_nothing(quick: QuickStage) -> None:
    """They are verified as always: no refresh is sent, and nothing about them is written."""
    names = ["acme", "beta", "gamma"]
    for name in names:
        quick.plant(name)
    bodies: list[dict[str, Any]] = [{"force": True}, {"connections": names, "force": True}]
    for body in bodies:
        status, summary = quick.run(body)
        assert (status, summary["verified"], summary["connections"]) == (200, 3, 3)
    assert quick.writes() == ["CreateSecret", "UpdateSecret"]  # the runs' own notes
    assert quick.secrets.count("CreateSecret", KEEPER) == quick.secrets.count("UpdateSecret", KEEPER) == 1
    for name in names:
        assert quick.outcome(name) == UNTOUCHED


@pytest.mark.parametrize("case", [c for c in CASES if c.health == "failing"], ids=lambda case: case.sentence)
def test_when_it_passes_the_token_is_verified_and_one_notice_says_so(quick: QuickStage, case: Case) -> None:
    """After any passing trouble the next run finds the token alive, and says that it is over."""
    quick.plant("acme")
    case.trouble(quick, "advertiser_get")
    quick.run()
    over(quick)
    quick.told()
    quick.tiktok.forget_calls()
    status, summary = quick.run()
    assert (status, summary["verified"]) == (200, 1)
    assert [call.name for call in quick.tiktok.calls] == ["advertiser_get"]
    assert quick.outcome() == replace(UNTOUCHED, events=("NOTICE connection.recovered",))


def test_nobody_calls_about_a_connection_that_needs_a_person(quick: QuickStage) -> None:
    """Once alerted of, it costs no call and no word until it is connected again; forcing changes nothing about that."""
    quick.plant("acme", "expiring", age_hours=13)
    quick.plant("lasting")
    for name in ("acme", "lasting"):
        quick.tiktok.revoke(quick.token(name)["access_token"])
    quick.run()
    assert sorted(quick.news()) == ["reauthorization.required"] * 2
    assert quick.token_calls() == 1
    for body in (None, {"force": True}, {"connections": ["acme"], "force": True}):
        quick.later(hours=6)
        status, summary = quick.run(body)
        assert status == 200
        assert summary["attention"] == (["acme"] if body and "connections" in body else ["acme", "lasting"])
        assert quick.tiktok.calls == []
        for name in ("acme", "lasting"):
            assert quick.outcome(name) == Outcome("old", "reauthorize", 0, ())


def test_other_advertisers_are_stored_with_one_notice(quick: QuickStage) -> None:
    """When a grant reaches other accounts than stored, there is a new version and a notice, once."""
    given = quick.plant("acme")
    quick.tiktok.set_advertisers(given["access_token"], ["7000000000000000001", "7000000000000000077"])
    for events in (("NOTICE connection.changed",), ()):
        assert quick.run()[0] == 200
        assert quick.outcome() == Outcome("new", "ok", 0, events)
    assert quick.token()["advertiser_ids"] == ["7000000000000000001", "7000000000000000077"]
    assert len(quick.secrets.payloads(TOKEN + "acme")) == 2
    assert quick.annotations()["advertisers"] == "7000000000000000001,7000000000000000077"


def test_annotations_that_a_callback_could_not_write_are_made_good(quick: QuickStage) -> None:
    """A re-connection whose token was stored and whose annotations were not is completed by the next run."""
    quick.plant("acme")
    quick.tiktok.revoke(quick.token()["access_token"])
    quick.run()
    assert quick.labels()["health"] == "reauthorize"
    quick.later(minutes=1)
    browser = quick.browser()
    state = browser.begin(quick.link("acme"))
    code_ = quick.code("long-lived")
    quick.secrets.add_fault(Fault("UpdateSecret", skip=1, times=None))
    assert browser.come_back(code_, state).status_code == 303
    quick.secrets.clear_faults()
    quick.told()
    quick.token_calls()
    quick.later(hours=1)
    assert quick.run()[0] == 200
    assert quick.outcome() == Outcome("new", "ok", 0, ("NOTICE connection.recovered",))


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
            # Those of one run are under way together, so their calls may overtake each other.
            assert sorted(asked) == sorted((names + names)[begun : begun + len(asked)])
            assert asked
            begun += len(asked)
        assert begun < 24
        for name in names:
            assert quick.outcome(name) == UNTOUCHED

    def test_expiring_ones_are_refreshed_by_the_next_run(self, quick: QuickStage) -> None:
        """What a run has no time for is left as it is, and the next one goes on with it; none is refreshed twice."""
        names = [f"c{number:02}" for number in range(12)]
        for name in names:
            quick.plant(name, "expiring", age_hours=13)
        quick.new_instances(TIKTOK_MAX_QPS="1", RUN_BUDGET_SECONDS="2")
        done, statuses = 0, []
        while done < len(names):
            status, summary = quick.run()
            statuses.append(status)
            assert 0 < summary["refreshed"] == quick.token_calls()
            assert quick.told() == ["INFO token.refreshed"] * summary["refreshed"]
            done += summary["refreshed"]
            found = [quick.outcome(name) for name in names]
            assert (found.count(AS_IT_IS), found.count(UNTOUCHED)) == (done, len(names) - done)
        assert statuses == [503] * (len(statuses) - 1) + [200]
        assert len(statuses) > 1

    def test_a_limited_run_neither_follows_nor_moves_the_place(self, quick: QuickStage) -> None:
        """The place to go on from belongs to the runs over everything."""
        quick.plant("acme")
        quick.secrets.create(KEEPER, project="test-project", labels={"managed-by": "tiktok-token-keeper"},
                             annotations={"resume-after": "kept"})  # fmt: skip
        assert quick.run({"connections": ["acme"]})[0] == 200
        assert quick.secrets.annotations(KEEPER)["resume-after"] == "kept"
        assert quick.outcome() == UNTOUCHED

    def test_a_run_that_cannot_list_does_not_forget_the_place(self, quick: QuickStage) -> None:
        """When even the list fails, the place to go on from stays."""
        quick.plant("acme")
        quick.secrets.create(KEEPER, project="test-project", labels={"managed-by": "tiktok-token-keeper"},
                             annotations={"resume-after": "kept"})  # fmt: skip
        quick.secrets.add_fault(Fault("ListSecrets", times=None))
        assert quick.run()[0] == 503
        assert quick.secrets.annotations(KEEPER)["resume-after"] == "kept"
        assert quick.outcome() == UNTOUCHED


PACES = {"one call in two seconds": "0.5", "eight calls a second": "8", "five hundred calls a second": "500"}


class TestThrottling:
    @each("qps", PACES)
    @each("kind", {"long-lived grants": "long-lived", "expiring grants": "expiring"})
    def test_a_tiktok_that_always_complains_is_left_alone_soon(self, quick: QuickStage, kind: str, qps: str) -> None:
        """At any pace a run gives up after a few complaints; nothing is counted against anybody, and nothing spent."""
        names = [f"c{number}" for number in range(6)]
        for name in names:
            quick.plant(name, kind, age_hours=13)
        for call in ("advertiser_get", "refresh_token"):
            code(40100)(quick, call)
        quick.new_instances(TIKTOK_MAX_QPS=qps)
        status, summary = quick.run()
        assert (status, summary["remaining"]) == (503, 6)
        assert len(quick.tiktok.calls) <= 5 * 6
        quick.token_calls()  # how many are under way when the first complaint comes, threads decide
        for name in names:
            assert quick.outcome(name) == UNTOUCHED
        over(quick)
        assert quick.run()[0] == 200
        expiring = kind == "expiring"
        assert (quick.told(), quick.token_calls()) == (["INFO token.refreshed"] * 6 * expiring, 6 * expiring)
        for name in names:
            assert quick.outcome(name) == (AS_IT_IS if expiring else UNTOUCHED)


class TestTriggers:
    """Line by line what Cloud Scheduler and people may do: one refresh for each half of a token's life."""

    def test_doubled(self, quick: QuickStage) -> None:
        """Two runs at once refresh once, and one more run does nothing."""
        quick.plant("acme", "expiring", age_hours=13)
        with quick.meanwhile(quick.run, quick.run):
            pass
        assert quick.outcome() == NEW
        assert quick.run()[0] == 200
        assert quick.outcome() == AS_IT_IS

    def test_by_hand(self, quick: QuickStage) -> None:
        """A run of this connection alone beside the usual one, and after it, refreshes no second time."""
        quick.plant("acme", "expiring", age_hours=13)
        with quick.meanwhile(quick.run, lambda: quick.run({"connections": ["acme"]})):
            pass
        assert quick.outcome() == NEW
        assert quick.run({"connections": ["acme"]})[0] == 200
        assert quick.outcome() == AS_IT_IS

    @each("hours", {"six hours": 6, "a day": 24, "a week": 168, "three hundred days": 7200})
    def test_late(self, quick: QuickStage, hours: int) -> None:
        """A run that comes so much later than it should refreshes once, though the access token has ended."""
        quick.plant("acme", "expiring", age_hours=13)
        quick.later(hours=hours)
        assert quick.run()[0] == 200
        assert quick.outcome() == NEW
        assert quick.run()[0] == 200
        assert quick.outcome() == AS_IT_IS

    def test_forced_twice_at_once(self, quick: QuickStage) -> None:
        """Two forced runs spend two different tokens, one after the other."""
        quick.plant("acme", "expiring")
        with quick.meanwhile(lambda: quick.run({"force": True}), lambda: quick.run({"force": True})):
            pass
        assert quick.outcome() == Outcome("new", "ok", 2, NEW.events * 2)
        assert quick.tiktok.reused == []


@dataclass(frozen=True)
class Failure:
    """How connecting again may fail: the page's status, what is logged, and what makes it fail."""

    sentence: str
    status: int
    event: str
    trouble: Act = lambda _: None
    advertisers: tuple[str, ...] | None = None
    declined: bool = False


def held_by_somebody(stage: QuickStage) -> None:
    lease = f"refresh-1 {clock.text(clock.now() + timedelta(seconds=TERM))}"
    stage.secrets.edit(TOKEN + "acme", annotations={"lease": lease})


NOT_KEPT, REFUSED, NOT_NOW = "CRITICAL token.unsaved", "ERROR connection.refused", "WARNING connection.refused"
FAILURES = [
    Failure("declined", 200, "INFO connection.refused", declined=True),
    Failure("no advertiser is ticked", 422, NOT_NOW, advertisers=()),
    Failure("others are ticked", 403, REFUSED, advertisers=("7000000000000000099",)),
    Failure("it is busy", 503, NOT_NOW, held_by_somebody),
    Failure("the store is away", 503, NOT_KEPT, lambda stage: stage.secrets.add_fault(
        Fault("AddSecretVersion", times=None))),
    Failure("it may not store", 503, REFUSED, lambda stage: stage.secrets.deny("secretmanager.versions.add")),
]  # fmt: skip


@each("brings", {"and would bring an expiring grant": "expiring", "and would bring a long-lived grant": "long-lived"})
@each("kind", {"over an expiring grant": "expiring", "over a long-lived grant": "long-lived"})
@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.sentence)
def test_a_re_authorization_that_fails_leaves_what_is_stored(
    quick: QuickStage, failure: Failure, kind: str, brings: str
) -> None:
    """However connecting again fails, bytes and state stay as they were, and the old token is kept working."""
    quick.connected("acme", kind)
    quick.later(hours=1)
    browser = quick.browser()
    state, code_ = browser.begin(quick.link("acme")), quick.code(brings, failure.advertisers)
    failure.trouble(quick)
    before = {name: quick.secrets.payloads(name) for name in quick.secrets.secrets()}
    labels, annotations = quick.labels(), quick.annotations()
    quick.told()
    query = f"/?error=access_denied&state={state}"
    page = browser.get(query) if failure.declined else browser.come_back(code_, state)
    assert (page.status_code, quick.told()) == (failure.status, [failure.event])
    assert {name: quick.secrets.payloads(name) for name in quick.secrets.secrets()} == before
    assert (quick.labels(), quick.annotations()) == (labels, annotations)
    quick.secrets.clear_faults()
    quick.secrets.allow_all()
    quick.tiktok.clear_faults()
    quick.tiktok.forget_calls()
    quick.later(hours=12)
    assert quick.run()[0] == 200
    assert quick.told() == (["INFO token.refreshed"] if kind == "expiring" else [])
    assert quick.token_calls() == (kind == "expiring")
    assert quick.tiktok.is_alive(quick.token()["access_token"])
    assert (REFRESH + "acme" in quick.secrets.secrets()) == (kind == "expiring")
