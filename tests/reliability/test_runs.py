"""What a run does with many: verifying long-lived grants, budgets that end, doubled triggers, complaints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from local.serving import Fault
from local.tiktok.answers import refused
from reliability.quick import QuickStage
from stage import KEEPER, REFRESH, TOKEN
from tokenkeeper import clock
from tokenkeeper.lease import TERM

Act = Callable[[QuickStage], object]
ERROR_PAGE = b"<html><body>502 Bad Gateway</body></html>"


def answers(body: Any, status: int = 200, times: int | None = None) -> Act:
    return lambda stage: stage.tiktok.add_fault(Fault("advertiser_get", times=times, status=status, body=body))


def code(number: int, times: int | None = None) -> Act:
    return answers(refused(number), times=times)


def drops(stage: QuickStage) -> None:
    stage.tiktok.add_fault(Fault("advertiser_get", times=None, do="drop"))


def without_permission(stage: QuickStage) -> None:
    """The token may not list advertisers, and lives."""
    code(40001)(stage)


def without_permission_and_dead(stage: QuickStage) -> None:
    code(40001)(stage)
    stage.tiktok.fail_next("user_info", 40105)


def without_permission_and_unclear(stage: QuickStage) -> None:
    code(40001)(stage)
    stage.tiktok.add_fault(Fault("user_info", times=None, status=502, body=ERROR_PAGE))


@dataclass(frozen=True)
class Case:
    """What TikTok says to a verification, and what comes of one run."""

    sentence: str
    trouble: Act
    calls: int
    health: str
    events: tuple[str, ...]
    status: int
    verdict: str


FALTERING = ("WARNING connection.faltering",)
REQUIRED = ("ERROR reauthorization.required",)
CASES = [
    Case("all is well", lambda _: None, 1, "ok", (), 200, "verified"),
    *(
        Case(f"TikTok answers with HTTP {status}", answers(ERROR_PAGE, status), 2, "failing", FALTERING, 200, "failing")
        for status in (500, 502, 503, 504)
    ),
    Case("TikTok does not answer", drops, 2, "failing", FALTERING, 200, "failing"),
    Case("TikTok answers with nothing", answers(b""), 2, "failing", FALTERING, 200, "failing"),
    Case("TikTok answers with a page", answers(ERROR_PAGE), 2, "failing", FALTERING, 200, "failing"),
    Case("TikTok answers without data", answers({"code": 0}), 2, "failing", FALTERING, 200, "failing"),
    Case("TikTok's list is none", answers({"code": 0, "data": {"list": 5}}), 2, "failing", FALTERING, 200, "failing"),
    *(
        Case(f"TikTok has a passing problem, {number}", code(number), 2, "failing", FALTERING, 200, "failing")
        for number in (50000, 50002, 51010, 60001, 40202, 49999, 40002, 40104)
    ),
    Case("TikTok has a problem once", code(50000, 1), 2, "ok", (), 200, "verified"),
    *(
        Case(f"TikTok gets too many calls, {number}", code(number), 5, "ok", (), 503, "remaining")
        for number in (40100, 40016, 40132, 40133, 61000)
    ),
    Case("TikTok gets too many calls once", code(40100, 1), 2, "ok", (), 200, "verified"),
    *(
        Case(f"TikTok refuses the app, {number}", code(number), 1, "ok", ("CRITICAL run.stopped",), 500, "remaining")
        for number in (40101, 40113, 40108, 40118, 40119, 40124, 40125, -1, 41000)
    ),
    *(
        Case(f"the token has ended, {number}", code(number), 1, "reauthorize", REQUIRED, 200, "reauthorize")
        for number in (40102, 40103, 40105, 40106, 40107)
    ),
    Case("permission is lacking and the token lives", without_permission, 1, "ok", (), 200, "verified"),
    Case("permission is lacking and the token is dead", without_permission_and_dead, 1, "reauthorize", REQUIRED, 200,
         "reauthorize"),
    Case("permission is lacking and nobody knows", without_permission_and_unclear, 2, "failing", FALTERING, 200,
         "failing"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sentence)
def test_verifying_a_long_lived_grant_when(quick: QuickStage, case: Case) -> None:
    """Whatever TikTok answers, nothing is refreshed, the token stays, and the table of failures decides the rest."""
    quick.plant("acme")
    before = quick.secrets.payloads(TOKEN + "acme")
    case.trouble(quick)
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
    assert quick.tiktok.token_calls == []
    assert quick.writes() == ["CreateSecret", "UpdateSecret"]  # the runs' own notes
    assert quick.secrets.count("CreateSecret", KEEPER) == quick.secrets.count("UpdateSecret", KEEPER) == 1
    assert quick.told() == []


def test_nobody_calls_about_a_connection_that_needs_a_person(quick: QuickStage) -> None:
    """Once alerted of, it costs no call and no word until it is connected again; forcing changes nothing about that."""
    quick.plant("acme", "expiring", age_hours=13)
    quick.plant("lasting")
    for name in ("acme", "lasting"):
        quick.tiktok.revoke(quick.token(name)["access_token"])
    quick.run()
    assert sorted(quick.news()) == ["reauthorization.required"] * 2
    quick.tiktok.forget_calls()
    for body in (None, {"force": True}, {"connections": ["acme"], "force": True}):
        quick.later(hours=6)
        status, summary = quick.run(body)
        assert status == 200
        assert summary["attention"] == (["acme"] if body and "connections" in body else ["acme", "lasting"])
    assert quick.tiktok.calls == []
    assert quick.news() == []


def test_other_advertisers_are_stored_with_one_notice(quick: QuickStage) -> None:
    """When a grant reaches other accounts than stored, there is a new version and a notice, once."""
    given = quick.plant("acme")
    quick.tiktok.set_advertisers(given["access_token"], ["7000000000000000001", "7000000000000000077"])
    for _ in range(2):
        assert quick.run()[0] == 200
    assert quick.news() == ["connection.changed"]
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
    quick.later(hours=1)
    assert quick.run()[0] == 200
    assert quick.labels()["health"] == "ok"
    assert quick.annotations()["obtained-at"] == quick.token()["obtained_at"]
    assert quick.news().count("connection.recovered") <= 2
    assert quick.tiktok.is_alive(quick.token()["access_token"])


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

    def test_a_limited_run_neither_follows_nor_moves_the_place(self, quick: QuickStage) -> None:
        """The place to go on from belongs to the runs over everything."""
        quick.plant("acme")
        quick.secrets.create(KEEPER, project="test-project", labels={"managed-by": "tiktok-token-keeper"},
                             annotations={"resume-after": "kept"})  # fmt: skip
        quick.run({"connections": ["acme"]})
        assert quick.secrets.annotations(KEEPER)["resume-after"] == "kept"

    def test_a_run_that_cannot_list_does_not_forget_the_place(self, quick: QuickStage) -> None:
        """When even the list fails, the place to go on from stays."""
        quick.plant("acme")
        quick.secrets.create(KEEPER, project="test-project", labels={"managed-by": "tiktok-token-keeper"},
                             annotations={"resume-after": "kept"})  # fmt: skip
        quick.secrets.add_fault(Fault("ListSecrets", times=None))
        assert quick.run()[0] == 503
        assert quick.secrets.annotations(KEEPER)["resume-after"] == "kept"


class TestThrottling:
    @pytest.mark.parametrize("qps", ["0.5", "8", "500"])
    def test_a_tiktok_that_always_complains_is_left_alone_soon(self, quick: QuickStage, qps: str) -> None:
        """At any pace a run gives up after a few complaints; nothing is counted against anybody."""
        for number in range(6):
            quick.plant(f"c{number}")
        code(40100)(quick)
        quick.new_instances(TIKTOK_MAX_QPS=qps)
        status, summary = quick.run()
        assert (status, summary["remaining"]) == (503, 6)
        assert quick.tiktok.count("advertiser_get") <= 5 * 6
        assert {quick.labels(f"c{number}")["health"] for number in range(6)} == {"ok"}
        assert quick.alerts() == []


class TestTriggers:
    def test_doubled_late_and_by_hand(self, quick: QuickStage) -> None:
        """Two at once, one more, one for a single connection, one a day late: one refresh for each half life."""
        quick.plant("acme", "expiring", age_hours=13)
        with quick.meanwhile(quick.run, quick.run):
            pass
        quick.run()
        quick.run({"connections": ["acme"]})
        assert quick.tiktok.count("refresh_token") == 1
        quick.later(hours=36)
        with quick.meanwhile(quick.run, lambda: quick.run({"connections": ["acme"]})):
            pass
        assert quick.tiktok.count("refresh_token") == 2
        assert quick.tiktok.reused == []
        assert quick.alerts() == []

    def test_forced_twice_at_once(self, quick: QuickStage) -> None:
        """Two forced runs spend two different tokens, one after the other."""
        quick.plant("acme", "expiring")
        with quick.meanwhile(lambda: quick.run({"force": True}), lambda: quick.run({"force": True})):
            pass
        assert quick.tiktok.count("refresh_token") == 2
        assert quick.tiktok.reused == []
        assert quick.token()["access_token"] == quick.whole_grant()["access_token"]


@dataclass(frozen=True)
class Failure:
    """How connecting again may fail: the page's status, what is logged, and what makes it fail."""

    sentence: str
    status: int
    event: str
    trouble: Act = lambda _: None
    advertisers: tuple[str, ...] | None = None
    declined: bool = False


def exchange_fails(**how: Any) -> Act:
    return lambda stage: stage.tiktok.add_fault(Fault("access_token", **how))


def held_by_somebody(stage: QuickStage) -> None:
    lease = f"refresh-1 {clock.text(clock.now() + timedelta(seconds=TERM))}"
    stage.secrets.edit(TOKEN + "acme", annotations={"lease": lease})


NOT_KEPT, REFUSED, NOT_NOW = "CRITICAL token.unsaved", "ERROR connection.refused", "WARNING connection.refused"
FAILURES = [
    Failure("declined", 200, "INFO connection.refused", declined=True),
    Failure("the code was used", 502, NOT_NOW, lambda stage: stage.tiktok.fail_next("access_token", 40110)),
    Failure("the secret is wrong", 502, REFUSED, lambda stage: stage.tiktok.fail_next("access_token", 40101)),
    Failure("the answer is lost", 502, REFUSED, exchange_fails(do="drop", when="after")),
    Failure("a gateway answers", 502, REFUSED, exchange_fails(status=502, body=ERROR_PAGE)),
    Failure("no advertiser is ticked", 422, NOT_NOW, advertisers=()),
    Failure("others are ticked", 403, REFUSED, advertisers=("7000000000000000099",)),
    Failure("it is busy", 503, NOT_NOW, held_by_somebody),
    Failure("the store is away", 503, NOT_KEPT, lambda stage: stage.secrets.add_fault(
        Fault("AddSecretVersion", times=None))),
    Failure("it may not store", 503, REFUSED, lambda stage: stage.secrets.deny("secretmanager.versions.add")),
]  # fmt: skip


@pytest.mark.parametrize("brings", ["expiring", "long-lived"])
@pytest.mark.parametrize("kind", ["expiring", "long-lived"])
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
