"""What TikTok makes of a refresh or a verification, one case of each kind of failure, in both families.

Reliability lines 11, 12, 13, 18 and 19, promise 6. Which of TikTok's answers is of which kind is for the unit tests
of `tiktok`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from reliability.direct import Moment
from reliability.quick import (
    APP_MISMATCH,
    AS_IT_IS,
    ERROR_PAGE,
    NEW,
    UNTOUCHED,
    Outcome,
    QuickStage,
    Trouble,
    clock_off_by,
    code,
    each,
    fault,
    not_permitted,
    omitting,
    unreachable,
)
from stage import KEEPER, REFRESH, TOKEN
from tokenkeeper import clock

FALTERING, RECOVERED = "WARNING connection.faltering", "NOTICE connection.recovered"
REQUIRED, STOPPED = "ERROR reauthorization.required", "CRITICAL run.stopped"
EMPTY = "ERROR connection.empty"


@dataclass(frozen=True)
class Result:
    """What comes of a run over one connection.

    Attributes:
        calls: How often TikTok was asked.
        health: The connection's state.
        logged: Warnings and alerts.
        status: The run's.
        verdict: How the connection is counted.
    """

    calls: int
    health: str
    logged: tuple[str, ...]
    status: int
    verdict: str


THROTTLED = Result(5, "ok", (), 503, "remaining")
STOPS = Result(1, "ok", (STOPPED,), 500, "remaining")
PERSON = Result(1, "reauthorize", (REQUIRED,), 200, "reauthorize")
LATE = Result(2, "failing", (FALTERING,), 503, "failing")  # of a refresh, which is due: calling again can help
MISSED = replace(LATE, status=200)  # of a verification
VERIFIED = Result(1, "ok", (), 200, "verified")
OF_A_REFRESH: dict[str, tuple[Trouble, Result]] = {
    "TikTok throttles": (code(40100), THROTTLED),
    "TikTok fails for a moment": (code(50002), LATE),
    "TikTok refuses the app": (code(40124), STOPS),
    "TikTok refuses the app or this advertiser": (code(40118), LATE),
    "the refresh token is invalid": (code(40107), PERSON),
    "TikTok says that the access token expired": (code(40102), LATE),
    "the token belongs to another app, 40113": (code(40113, APP_MISMATCH), PERSON),
    "the app is blocked, 40113": (code(40113), STOPS),
    "permission is lacking and the token lives": (not_permitted(), LATE),
    "permission is lacking and nobody knows": (not_permitted(fault(status=502, body=ERROR_PAGE)), LATE),
    "permission is lacking and the token is dead": (not_permitted(code(40105)), PERSON),
    "TikTok cannot be reached": (unreachable, replace(LATE, calls=0)),
    "a gateway answers": (fault(status=502, body=ERROR_PAGE), LATE),
    "TikTok says yes without a token": (fault(status=200, body={"code": 0, "data": {"scope": []}}), LATE),
    "it takes effect and its answer is lost": (fault(times=1, do="drop", when="after"), replace(PERSON, calls=2)),
}
OF_A_VERIFICATION: dict[str, tuple[Trouble, Result]] = {
    "TikTok throttles": (code(40100), THROTTLED),
    "TikTok throttles once": (code(40100, times=1), replace(VERIFIED, calls=2)),
    "TikTok fails for a moment": (code(50002), MISSED),
    "TikTok fails once": (code(50002, times=1), replace(VERIFIED, calls=2)),
    "TikTok refuses the app": (code(40124), STOPS),
    "TikTok refuses the app or this advertiser": (code(40118), MISSED),
    "the token is revoked": (code(40105), PERSON),
    "the token has expired": (code(40102), PERSON),
    "the token belongs to another app, 40113": (code(40113, APP_MISMATCH), PERSON),
    "permission is lacking and the token lives": (not_permitted(), VERIFIED),
    "permission is lacking and nobody knows": (not_permitted(fault(status=502, body=ERROR_PAGE)), MISSED),
    "permission is lacking and the token is dead": (not_permitted(code(40105)), PERSON),
    "TikTok cannot be reached": (unreachable, replace(MISSED, calls=0)),
    "a gateway answers": (fault(status=502, body=ERROR_PAGE), MISSED),
    "TikTok's list is none": (fault(status=200, body={"code": 0, "data": {"list": 5}}), MISSED),
    "TikTok lists nothing": (
        fault(status=200, body={"code": 0, "data": {"list": []}}), replace(MISSED, logged=(EMPTY,))
    ),
}  # fmt: skip


@each("case", OF_A_REFRESH)
def test_a_refresh_when(quick: QuickStage, case: tuple[Trouble, Result]) -> None:
    """Stored bytes stay, and the kind decides the rest; when it passes, the next run refreshes and says so."""
    trouble, result = case
    quick.due()
    trouble(quick, "refresh_token")
    status, summary = quick.run()
    assert (status, summary[result.verdict], summary["connections"]) == (result.status, 1, 1)
    assert quick.tiktok.count("refresh_token") == result.calls
    assert (summary["attention"] == ["acme"]) == (result.health == "reauthorize")
    assert replace(quick.outcome(), token_calls=0) == Outcome("old", result.health, 0, result.logged)
    quick.quiet()
    assert quick.run()[0] == 200
    if result.health == "reauthorize":
        assert quick.outcome() == Outcome("old", "reauthorize", 0, ())
    else:
        assert quick.outcome() == replace(NEW, logged=(*NEW.logged, *[RECOVERED] * (result.health == "failing")))
    assert len(quick.tiktok.reused) == (case is OF_A_REFRESH["it takes effect and its answer is lost"])


@each("case", OF_A_VERIFICATION)
def test_a_verification_when(quick: QuickStage, case: tuple[Trouble, Result]) -> None:
    """Nothing is refreshed and nothing stored; the connection is marked only if something is wrong, and it passes."""
    trouble, result = case
    quick.plant("acme")
    trouble(quick, "advertiser_get")
    status, summary = quick.run()
    assert (status, summary[result.verdict], summary["connections"]) == (result.status, 1, 1)
    assert quick.tiktok.count("advertiser_get") == result.calls
    marks = [name for name in quick.writes() if name != "CreateSecret"]  # that is the run's record
    assert marks == ([] if result.health == "ok" else ["UpdateSecret", "UpdateSecret"])
    assert quick.outcome() == Outcome("old", result.health, 0, result.logged)
    quick.quiet()
    assert quick.run()[0] == 200
    recovered = (RECOVERED,) * (result.health == "failing")
    health = "reauthorize" if result.health == "reauthorize" else "ok"
    assert quick.outcome() == Outcome("old", health, 0, recovered)


def test_two_silences_after_it_took_effect_are_no_alert_yet(quick: QuickStage) -> None:
    """Only TikTok's own answer counts: it comes in the next run, which alerts, once."""
    quick.due()
    fault(do="drop", when="after")(quick, "refresh_token")
    assert quick.run()[0] == 503
    assert quick.outcome() == Outcome("old", "failing", 2, (FALTERING,))
    quick.quiet()
    assert quick.run()[0] == 200
    assert quick.outcome() == Outcome("old", "reauthorize", 1, (REQUIRED,))
    assert quick.run()[0] == 200
    assert quick.outcome() == Outcome("old", "reauthorize", 0, ())


@each("silence", {"the first try is lost on its way": {"do": "drop"}, "a gateway answers first": {"status": 502}})
def test_one_more_try_after_a_silence(quick: QuickStage, silence: dict[str, Any]) -> None:
    """A refresh that brought no answer is sent once more."""
    quick.due()
    fault(times=1, **silence)(quick, "refresh_token")
    assert quick.run()[0] == 200
    assert quick.outcome() == replace(NEW, token_calls=2)


def test_no_third_try_after_a_silence(quick: QuickStage) -> None:
    """What TikTok answers to the second does not make room for another: the first may have used the token up."""
    quick.due()
    fault(times=1, status=502)(quick, "refresh_token")
    code(50002, times=1)(quick, "refresh_token")
    assert quick.run()[0] == 503
    assert quick.outcome() == Outcome("old", "failing", 2, (FALTERING,))


class TestSuspect:
    """40118, 40119, 40125: the app's trouble, or one advertiser's."""

    @each("number", {str(number): number for number in (40118, 40119, 40125)})
    @each("kind", {"expiring": "expiring", "long-lived": "long-lived"})
    def test_of_a_second_connection_stops_the_run(self, quick: QuickStage, kind: str, number: int) -> None:
        """With two it is the app's: one alert, and nobody is marked."""
        for name in ("acme", "beta", "gamma"):
            quick.plant(name, kind, age_hours=13)
        for call in ("refresh_token", "advertiser_get"):
            code(number)(quick, call)
        assert quick.run()[0] == 500
        assert quick.logged() == [STOPPED]
        assert {quick.labels(name)["health"] for name in ("acme", "beta", "gamma")} == {"ok"}

    def test_of_one_is_its_own(self, quick: QuickStage) -> None:
        """Tried twice it is still one connection: that one is failing, and the others are verified."""
        given = quick.plant("acme")
        for name in ("beta", "gamma"):
            quick.plant(name)
        quick.tiktok.fail_token(given["access_token"], 40119, times=None)
        status, summary = quick.run()
        assert (status, summary["failing"], summary["verified"]) == (200, 1, 2)
        assert quick.logged() == [FALTERING]
        assert quick.annotations()["last-error"].split()[:2] == ["suspect", "40119"]


IDS = ("7000000000000000001", "7000000000000000002", "7000000000000000003")


class TestAdvertisers:
    """Fewer than before are believed when TikTok says so again, and none at all is an alert."""

    @each("kind", {"a refresh": "expiring", "a verification": "long-lived"})
    def test_most_are_gone_for_a_moment(self, quick: QuickStage, kind: str) -> None:
        """Asked again TikTok lists all of them: nothing has changed."""
        quick.plant("acme", kind, age_hours=13)
        if kind == "expiring":
            quick.tiktok.override_answer("refresh_token", {"advertiser_ids": [IDS[0]]})
        else:
            quick.tiktok.override_answer("advertiser_get", {"list": [{"advertiser_id": IDS[0]}]})
        assert quick.run()[0] == 200
        assert quick.outcome() == (NEW if kind == "expiring" else UNTOUCHED)
        assert quick.token()["advertiser_ids"] == list(IDS)
        assert quick.tiktok.calls == []

    @each("kind", {"a refresh": "expiring", "a verification": "long-lived"})
    def test_most_are_gone(self, quick: QuickStage, kind: str) -> None:
        """Said twice it is stored, with an entry of severity ERROR; the guard rests on what was approved."""
        given = quick.plant("acme", kind, age_hours=13)
        quick.tiktok.set_advertisers(given["access_token"], [IDS[0]])
        assert quick.run()[0] == 200
        assert quick.tiktok.count("advertiser_get") == (1 if kind == "expiring" else 2)
        changed = "ERROR connection.changed"
        assert sorted(quick.logged()) == [changed, *NEW.logged] if kind == "expiring" else [changed]
        assert quick.token()["advertiser_ids"] == [IDS[0]]
        quick.later(minutes=1)
        assert quick.approve("acme", kind, [IDS[1]]).status_code == 303

    @each("kind", {"a refresh": "expiring", "a verification": "long-lived"})
    def test_none_is_left(self, quick: QuickStage, kind: str) -> None:
        """One alert; the stored ids stay as they are, in every run, until a list comes back."""
        given = quick.plant("acme", kind, age_hours=13)
        quick.tiktok.set_advertisers(given["access_token"], [])
        for number in range(3):
            status, summary = quick.run()
            assert (status, summary["failing"], summary["attention"]) == (200, 1, ["acme"])
            logged = [*NEW.logged, EMPTY] if kind == "expiring" else [EMPTY]
            assert quick.logged() == (logged if number == 0 else [])
            assert quick.token()["advertiser_ids"] == list(IDS)
            assert quick.annotations()["advertisers"] == ",".join(IDS)
        quick.tiktok.set_advertisers(given["access_token"], IDS)
        assert quick.run()[0] == 200
        assert quick.logged() == [RECOVERED]
        assert quick.labels()["health"] == "ok"

    @each("kind", {"a refresh": "expiring", "a verification": "long-lived"})
    def test_none_for_a_moment(self, quick: QuickStage, kind: str) -> None:
        """Asked again TikTok lists them: nothing has happened."""
        quick.plant("acme", kind, age_hours=13)
        call, fields = ("refresh_token", "advertiser_ids") if kind == "expiring" else ("advertiser_get", "list")
        quick.tiktok.override_answer(call, {fields: []})
        assert quick.run()[0] == 200
        assert quick.outcome() == (NEW if kind == "expiring" else UNTOUCHED)
        assert quick.token()["advertiser_ids"] == list(IDS)


LIFETIMES = {
    "it is no time at all": 0,
    "it is negative, and a string": "-1",
    "it is a word": "soon",
    "it is null": None,
    "it is a list": [],
    "it is longer than any calendar": 10**30,
    "it is infinite": float("inf"),
}


@each("lifetime", LIFETIMES)
@each("family", {"advertiser": "advertiser", "account": "account"})
def test_a_lifetime_of_any_kind_makes_no_loop(quick: QuickStage, family: str, lifetime: Any) -> None:
    """Whatever `expires_in` is, a refresh is followed by none for hours, and the next one works."""
    quick.due(family=family)
    call = "refresh_token" if family == "advertiser" else "account_refresh_token"
    quick.tiktok.override_answer(call, {"expires_in": lifetime, "refresh_token_expires_in": lifetime}, times=9)
    for outcome in (NEW, AS_IT_IS, AS_IT_IS, AS_IT_IS):
        assert quick.run()[0] == 200
        assert quick.outcome() == outcome
        quick.later(minutes=20)
    quick.later(hours=13)
    assert quick.run()[0] == 200
    assert quick.outcome() == NEW


def test_a_lifetime_that_is_missing_counts_as_twelve_hours_until_the_next_refresh(quick: QuickStage) -> None:
    """Without lifetimes nothing is refreshed after eleven hours, and everything that is twelve by the run's end."""
    quick.due()
    quick.tiktok.override_answer("refresh_token", omit=["expires_in", "refresh_token_expires_in"], times=9)
    for outcome, span in ((NEW, {"hours": 11, "minutes": 30}), (AS_IT_IS, {"minutes": 6}), (NEW, {})):
        assert quick.run()[0] == 200
        assert quick.outcome() == outcome
        quick.later(**span)


@each("minutes", {"the clock is behind": -10, "the clock is ahead": 10})
def test_a_clock_ten_minutes_off_makes_no_loop_and_loses_nothing(quick: QuickStage, minutes: int) -> None:
    """A clock that is wrong by ten minutes refreshes once, and so does one that is right, afterwards."""
    quick.due()
    with clock_off_by(minutes=minutes):
        for outcome in (NEW, AS_IT_IS, AS_IT_IS):
            assert quick.run()[0] == 200
            assert quick.outcome() == outcome
    for outcome in (AS_IT_IS, NEW, AS_IT_IS):
        assert quick.run()[0] == 200
        assert quick.outcome() == outcome
        quick.later(hours=13 if outcome is AS_IT_IS else 0)


@each("rotation", {"each answer brings a new one": "new", "each brings the same": "same", "none brings one": "omitted"})
@each("family", {"advertiser": "advertiser", "account": "account"})
def test_refresh_tokens_are_followed_however_they_rotate(quick: QuickStage, family: str, rotation: Any) -> None:
    """Over many refreshes no used token is sent, and one that stays is kept."""
    quick.due(family=family)
    quick.tiktok.options = replace(quick.tiktok.options, rotation=rotation)
    for _ in range(5):
        assert quick.run()[0] == 200
        assert quick.outcome() == NEW
        quick.later(hours=13)
    assert quick.tiktok.reused == []


def newer_grant(stage: QuickStage, secret_id: str) -> Callable[[], None]:
    """Somebody stores a newer grant in one of the secrets."""

    def act() -> None:
        whole = stage.whole_grant() | {"obtained_at": clock.text(clock.now()), "expires_at": "2026-11-23T10:00:00Z"}
        if secret_id == TOKEN:
            del whole["refresh_token"], whole["refresh_expires_at"]
        stage.secrets.add_version(secret_id + "acme", json.dumps(whole).encode())

    return act


@each("lag", {"it is seen at once": 0, "readings are one version late": 1, "readings are two versions late": 2})
@each("answer", {"TikTok says that the token is invalid": {}, "TikTok says nothing": {"do": "drop"}})
def test_a_newer_version_that_was_stored_meanwhile_is_used(quick: QuickStage, answer: dict[str, Any], lag: int) -> None:
    """A refresh that failed is not believed, nobody is alerted, and both secrets are brought in line at once."""
    quick.due()
    quick.secrets.set_lag(latest=lag, lists=lag)
    if answer:
        fault(**answer)(quick, "refresh_token")
    else:
        code(40107)(quick, "refresh_token")
    quick.at(Moment("refresh_token", "", 0, after=True), newer_grant(quick, REFRESH))
    assert quick.run()[0] == 200
    assert quick.token()["obtained_at"] == quick.whole_grant()["obtained_at"]
    assert quick.annotations()["obtained-at"] == quick.token()["obtained_at"]
    assert replace(quick.outcome(), stored="") == Outcome("", "ok", 1, ())


def test_a_re_connection_without_a_refresh_token_that_came_meanwhile_is_used(quick: QuickStage) -> None:
    """The token secret has the newer grant: the refresh secret that it replaced is deleted at once."""
    quick.due()
    code(40107)(quick, "refresh_token")
    quick.at(Moment("refresh_token", "", 0, after=True), newer_grant(quick, TOKEN))
    assert quick.run()[0] == 200
    assert REFRESH + "acme" not in quick.secrets.secrets()
    assert quick.logged() == []


def test_a_version_added_by_hand_in_mid_refresh_does_not_cost_the_new_token(quick: QuickStage) -> None:
    """What somebody stores by hand meanwhile, if it is no newer grant, does not keep TikTok's answer from storing."""
    quick.due()

    def add() -> None:
        quick.secrets.add_version(TOKEN + "acme", b"oops")
        quick.secrets.add_version(REFRESH + "acme", quick.secrets.payloads(REFRESH + "acme")[0])

    quick.at(Moment("refresh_token", "", 0), add)
    assert quick.run()[0] == 200
    assert quick.outcome() == NEW


def all_that_is_stored(stage: QuickStage) -> dict[str, tuple[Any, ...]]:
    """Labels, annotations and payloads of every secret but the run's own."""
    return {
        secret_id: (kept.labels, kept.annotations, stage.secrets.payloads(secret_id))
        for secret_id, kept in stage.secrets.secrets().items()
        if secret_id != KEEPER
    }


def test_a_wrong_app_secret_marks_nobody(quick: QuickStage) -> None:
    """With a wrong secret the run stops with one alert, and of no connection, of any kind, anything is changed."""
    for number in range(10):
        quick.due(f"expiring-{number}")
        quick.due(f"account-{number}", family="account")
        quick.plant(f"lasting-{number}")
    quick.new_instances(TIKTOK_APP_SECRET="canary-another-app-secret-0123456789abcdef")
    before = all_that_is_stored(quick)
    status, summary = quick.run()
    assert (status, summary["remaining"], summary["attention"]) == (500, 30, [])
    assert quick.logged() == [STOPPED]
    assert all_that_is_stored(quick) == before
    assert not quick.tiktok.spent
    quick.new_instances(TIKTOK_APP_SECRET=quick.tiktok.app_secret)
    quick.token_calls()
    assert quick.run()[0] == 200
    assert (quick.logged(), quick.token_calls()) == (["INFO token.refreshed"] * 20, 20)


def test_a_connection_of_another_app_is_not_called_about(quick: QuickStage) -> None:
    """Connections of another app are named in one alert a run, and TikTok is not asked about them."""
    quick.due()
    quick.plant("lasting")
    quick.new_instances(TIKTOK_APP_ID="7000000000000000999")
    for _ in range(3):
        status, summary = quick.run()
        assert (status, summary["failing"], summary["attention"]) == (200, 2, ["acme", "lasting"])
        assert quick.tiktok.calls == []
        assert quick.outcome() == Outcome("old", "failing", 0, ("ERROR connection.other_app",))
    quick.new_instances(TIKTOK_APP_ID=quick.tiktok.app_id)
    assert quick.run()[0] == 200
    assert sorted(quick.logged()) == ["INFO token.refreshed", RECOVERED, RECOVERED]
    quick.assert_new()


@pytest.mark.parametrize("kind", ["expiring", "long-lived"])
def test_an_answer_without_ad_accounts_or_scopes_keeps_those_that_are_known(quick: QuickStage, kind: str) -> None:
    """Fields that TikTok leaves out of an answer stay as they were."""
    old = quick.plant("acme", kind, age_hours=13)
    omitting("advertiser_ids", "scope")(quick, "refresh_token")
    assert quick.run()[0] == 200
    assert (quick.token()["advertiser_ids"], quick.token()["scope"]) == (old["advertiser_ids"], old["scope"])
    assert quick.labels()["health"] == "ok"
