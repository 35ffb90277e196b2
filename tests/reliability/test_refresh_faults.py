"""What TikTok can answer to a refresh, and what comes of it: stored bytes, state, token calls, events."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest

from local.serving import Fault
from reliability.answers import (
    ANSWERS,
    ERROR_PAGE,
    TOKEN_ANSWERS,
    Trouble,
    answered,
    code,
    fault,
    not_permitted,
    over,
    with_fields,
)
from reliability.quick import AS_IT_IS, NEW, UNTOUCHED, Outcome, QuickStage, clock_off_by, each
from stage import KEEPER, REFRESH, TOKEN
from tokenkeeper import clock


@dataclass(frozen=True)
class Case:
    """One kind of trouble, and what comes of one run.

    Attributes:
        sentence: What happens.
        trouble: Brings it about.
        stored: Versions of each of the two secrets afterwards; 1 is the old one alone.
        health: The connection's.
        calls: Refreshes that were sent.
        events: What was logged, with severity.
        status: Of the run.
    """

    sentence: str
    trouble: Trouble
    calls: int
    health: str
    events: tuple[str, ...]
    status: int
    stored: int = 1


def passing(sentence: str, trouble: Trouble, calls: int = 2) -> Case:
    """The token stays, and the Scheduler is asked to call again."""
    return Case(sentence, trouble, calls, "failing", ("WARNING connection.faltering",), 503)


def person(sentence: str, trouble: Trouble, calls: int = 1) -> Case:
    """Only a new authorization helps."""
    return Case(sentence, trouble, calls, "reauthorize", ("ERROR reauthorization.required",), 200)


def ours(sentence: str, trouble: Trouble) -> Case:
    """Nobody is marked; the run stops."""
    return Case(sentence, trouble, 1, "ok", ("CRITICAL run.stopped",), 500)


def throttled(sentence: str, trouble: Trouble) -> Case:
    """Nothing is counted against the connection; it is tried again, slower, until there is no hope in it."""
    return Case(sentence, trouble, 5, "ok", (), 503)


def done(sentence: str, trouble: Trouble, calls: int = 1) -> Case:
    """A usable token came, and is stored."""
    return Case(sentence, trouble, calls, "ok", ("INFO token.refreshed",), 200, stored=2)


def wrong_secret(stage: QuickStage, call: str = "") -> None:
    stage.new_instances(TIKTOK_APP_SECRET="canary-another-app-secret-0123456789abcdef")


def rotates(rotation: Any) -> Trouble:
    def happens(stage: QuickStage, call: str) -> None:
        stage.tiktok.options = replace(stage.tiktok.options, rotation=rotation)

    return happens


BY_KIND: dict[str, Callable[[str, Trouble], Case]] = {
    "good": done,
    "unreachable": partial(passing, calls=0),
    "silent": passing,
    "lost": partial(person, calls=2),  # the second call presents a token that is spent, and TikTok says so
    "throttled": throttled,
    "passing": passing,
    "ours": ours,
    "person": person,
}
CASES = [
    *(BY_KIND[answer.kind](answer.sentence, answer.happens) for answer in (*ANSWERS, *TOKEN_ANSWERS)),
    passing("TikTok says to a refresh that the access token expired", code(40102)),
    passing("TikTok refuses permission, and the token turns out to live", not_permitted()),
    passing("TikTok refuses permission, and nobody can tell whether the token lives",
            not_permitted(answered(ERROR_PAGE, 502))),
    passing("TikTok refuses permission, and has a problem when asked for the user", not_permitted(code(50002))),
    person("TikTok refuses permission, and the token turns out to be dead", not_permitted(code(40105))),
    ours("the app secret is wrong", wrong_secret),
    done("the first try gets lost on its way", fault(do="drop", times=1), 2),
    done("the first try is answered by a gateway", fault(status=502, times=1), 2),
    done("TikTok answers with a new refresh token", with_fields()),
    done("TikTok answers with the same refresh token", rotates("same")),
    done("TikTok answers without a refresh token", rotates("omitted")),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sentence)
def test_one_run_when(quick: QuickStage, case: Case) -> None:
    """Whatever TikTok answers, the four things that matter are as the table of failures says."""
    old = quick.plant("acme", "expiring", age_hours=13)
    old_grant = quick.whole_grant()
    case.trouble(quick, "refresh_token")
    status, summary = quick.run()
    assert status == case.status
    assert quick.tiktok.count("refresh_token") == case.calls
    assert quick.told() == list(case.events)
    assert len(quick.secrets.payloads(TOKEN + "acme")) == len(quick.secrets.payloads(REFRESH + "acme")) == case.stored
    annotations = quick.annotations()
    assert quick.labels()["health"] == case.health
    assert "lease" not in annotations
    assert ("failing-since" in annotations) == ("last-error" in annotations) == (case.health != "ok")
    assert (summary["attention"] == ["acme"]) == (case.health == "reauthorize")
    assert summary["connections"] == 1
    if case.stored == 1:
        assert quick.token() == old
        assert quick.whole_grant() == old_grant
    else:
        given = quick.tiktok.grants[-1]
        assert quick.token()["access_token"] == quick.whole_grant()["access_token"] == given.access_token
        assert quick.whole_grant()["refresh_token"] == given.refresh_token
        assert quick.token()["advertiser_ids"] == old["advertiser_ids"]
        assert quick.token()["scope"] == old["scope"]
        assert annotations["obtained-at"] == quick.token()["obtained_at"]


@pytest.mark.parametrize("case", [c for c in CASES if c.health == "failing"], ids=lambda case: case.sentence)
def test_when_it_passes_the_token_is_refreshed_and_one_notice_says_so(quick: QuickStage, case: Case) -> None:
    """After any passing trouble the next run refreshes with the token that is stored, and says that it is over."""
    quick.plant("acme", "expiring", age_hours=13)
    case.trouble(quick, "refresh_token")
    quick.run()
    over(quick)
    quick.told()
    quick.token_calls()
    assert quick.run()[0] == 200
    assert quick.outcome() == replace(NEW, events=(*NEW.events, "NOTICE connection.recovered"))
    assert quick.tiktok.reused == []


def test_two_silences_after_it_took_effect_are_no_alert_yet(quick: QuickStage) -> None:
    """Only TikTok's own answer counts: it comes in the next run, which alerts, once."""
    quick.plant("acme", "expiring", age_hours=13)
    fault(do="drop", when="after")(quick, "refresh_token")
    assert quick.run()[0] == 503
    assert quick.outcome() == Outcome("old", "failing", 2, ("WARNING connection.faltering",))
    over(quick)
    assert quick.run()[0] == 200
    assert quick.outcome() == Outcome("old", "reauthorize", 1, ("ERROR reauthorization.required",))
    assert quick.run()[0] == 200
    assert quick.outcome() == Outcome("old", "reauthorize", 0, ())


LIFETIMES = {
    "it is no time at all": 0,
    "it is negative": -5,
    "it is negative, and a string": "-1",
    "it is a word": "soon",
    "it is empty": "",
    "it is null": None,
    "it is true": True,
    "it is a list": [],
    "it is ten thousand years": 315_360_000_000,
    "it is longer than any calendar": 10**30,
    "it is a huge floating point number": 1e300,
    "it is infinite": float("inf"),
}


@each("lifetime", LIFETIMES)
def test_a_lifetime_of_any_kind_makes_no_loop(quick: QuickStage, lifetime: Any) -> None:
    """Whatever `expires_in` is, a refresh is followed by none for hours, and the next one works."""
    quick.plant("acme", "expiring", age_hours=13)
    body = {"expires_in": lifetime, "refresh_token_expires_in": lifetime}
    quick.tiktok.override_answer("refresh_token", body, times=9)
    for outcome in (NEW, AS_IT_IS, AS_IT_IS, AS_IT_IS):
        assert quick.run()[0] == 200
        assert quick.outcome() == outcome
        quick.later(minutes=20)
    quick.later(hours=13)
    assert quick.run()[0] == 200
    assert quick.outcome() == NEW


def test_a_lifetime_that_is_missing_counts_as_twelve_hours_until_the_next_refresh(quick: QuickStage) -> None:
    """Without lifetimes nothing is refreshed after eleven hours, and everything after twelve."""
    quick.plant("acme", "expiring", age_hours=13)
    quick.tiktok.override_answer("refresh_token", omit=["expires_in", "refresh_token_expires_in"], times=9)
    for outcome, span in ((NEW, {"hours": 11, "minutes": 59}), (AS_IT_IS, {"minutes": 2}), (NEW, {})):
        assert quick.run()[0] == 200
        assert quick.outcome() == outcome
        quick.later(**span)


@each("minutes", {"the clock is behind": -10, "the clock is ahead": 10})
def test_a_clock_ten_minutes_off_makes_no_loop_and_loses_nothing(quick: QuickStage, minutes: int) -> None:
    """A clock that is wrong by ten minutes refreshes once, and so does one that is right, afterwards."""
    quick.plant("acme", "expiring", age_hours=13)
    with clock_off_by(minutes=minutes):
        for outcome in (NEW, AS_IT_IS, AS_IT_IS):
            assert quick.run()[0] == 200
            assert quick.outcome() == outcome
    for outcome in (AS_IT_IS, NEW, AS_IT_IS):
        assert quick.run()[0] == 200
        assert quick.outcome() == outcome
        if outcome is AS_IT_IS:
            quick.later(hours=13)


ROTATIONS = {"each answer brings a new one": "new", "each brings the same": "same", "none brings one": "omitted"}


@each("rotation", ROTATIONS)
def test_refresh_tokens_are_followed_however_they_rotate(quick: QuickStage, rotation: Any) -> None:
    """Over many refreshes no spent token is sent, and one that stays is kept."""
    quick.plant("acme", "expiring", age_hours=13)
    quick.tiktok.options = replace(quick.tiktok.options, rotation=rotation)
    for _ in range(5):
        assert quick.run()[0] == 200
        assert quick.outcome() == NEW
        quick.later(hours=13)
    assert quick.tiktok.reused == []


@each("lag", {"it is seen at once": 0, "readings are one version late": 1, "readings are two versions late": 2})
def test_an_invalid_refresh_token_is_not_believed_while_a_newer_version_is_stored(quick: QuickStage, lag: int) -> None:
    """When somebody stored a newer grant while TikTok was being asked, that one is used and nobody is alerted."""
    quick.plant("acme", "expiring", age_hours=13)
    quick.secrets.set_lag(latest=lag, lists=lag)
    quick.tiktok.add_fault(Fault("refresh_token", do="hold", hold="here"))
    quick.tiktok.fail_next("refresh_token", 40107)
    with quick.meanwhile(quick.run):
        quick.tiktok.wait_held("here")
        newer = quick.whole_grant() | {"obtained_at": clock.text(clock.now()), "expires_at": "2026-11-23T10:00:00Z"}
        quick.secrets.add_version(REFRESH + "acme", json.dumps(newer).encode())
        quick.tiktok.release("here")
    assert quick.outcome() == Outcome("half", "ok", 1, ())
    quick.secrets.set_lag()
    assert quick.run()[0] == 200
    assert quick.token()["obtained_at"] == newer["obtained_at"]
    assert quick.outcome() == AS_IT_IS


def test_a_version_added_by_hand_in_mid_refresh_does_not_cost_the_new_token(quick: QuickStage) -> None:
    """What somebody stores by hand meanwhile, if it is no newer grant, does not keep TikTok's answer from storing."""
    quick.plant("acme", "expiring", age_hours=13)
    quick.tiktok.add_fault(Fault("refresh_token", do="hold", hold="here"))
    with quick.meanwhile(quick.run):
        quick.tiktok.wait_held("here")
        quick.secrets.add_version(TOKEN + "acme", b"oops")
        quick.secrets.add_version(REFRESH + "acme", quick.secrets.payloads(REFRESH + "acme")[0])
        quick.tiktok.release("here")
    assert quick.outcome() == NEW


def all_that_is_stored(stage: QuickStage) -> dict[str, tuple[Any, ...]]:
    """Labels, annotations and payloads of every secret but the run's own."""
    return {
        secret_id: (kept.labels, kept.annotations, stage.secrets.payloads(secret_id))
        for secret_id, kept in stage.secrets.secrets().items()
        if secret_id != KEEPER
    }


def test_a_wrong_app_secret_marks_nobody(quick: QuickStage) -> None:
    """With a wrong secret the run stops with one alert, and of no connection, of either kind, anything is changed."""
    for number in range(20):
        quick.plant(f"expiring-{number}", "expiring", age_hours=13)
        quick.plant(f"lasting-{number}")
    wrong_secret(quick)
    before = all_that_is_stored(quick)
    status, summary = quick.run()
    assert status == 500
    assert summary["remaining"] == 40
    assert summary["attention"] == []
    assert quick.alerts() == ["run.stopped"]
    assert all_that_is_stored(quick) == before
    sent = [request["refresh_token"] for request in quick.tiktok.requests_of("refresh_token")]
    assert 1 <= len(sent) == len(set(sent))  # those under way when the first was refused, each once
    assert not quick.tiktok.spent
    quick.new_instances(TIKTOK_APP_SECRET=quick.tiktok.app_secret)
    quick.told()
    quick.token_calls()
    assert quick.run()[0] == 200
    assert (quick.told(), quick.token_calls()) == (["INFO token.refreshed"] * 20, 20)
    for number in range(20):
        assert quick.outcome(f"expiring-{number}") == AS_IT_IS
        assert quick.outcome(f"lasting-{number}") == UNTOUCHED


def test_a_connection_of_another_app_is_not_called_about(quick: QuickStage) -> None:
    """Connections of another app are named in one alert a run, and TikTok is not asked about them."""
    quick.plant("acme", "expiring", age_hours=13)
    quick.plant("lasting")
    quick.new_instances(TIKTOK_APP_ID="7000000000000000999")
    for _ in range(3):
        status, summary = quick.run()
        assert (status, summary["failing"], summary["attention"]) == (200, 2, ["acme", "lasting"])
        assert quick.tiktok.calls == []
        assert quick.outcome() == Outcome("old", "failing", 0, ("ERROR connection.other_app",))
        assert quick.outcome("lasting") == Outcome("old", "failing", 0, ())
    quick.new_instances(TIKTOK_APP_ID=quick.tiktok.app_id)
    assert quick.run()[0] == 200
    recovered = "NOTICE connection.recovered"
    assert sorted(quick.told()) == ["INFO token.refreshed", recovered, recovered]
    assert quick.outcome() == replace(NEW, events=())
    assert quick.outcome("lasting") == UNTOUCHED
