"""What TikTok makes of a refresh or a verification, one case of each kind of failure, in both families.

Reliability lines 10, 11, 12, 13, 18 and 19, promise 6. Which of TikTok's answers is of which kind is for the unit tests
of `tiktok`.
"""

import json
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from reliability.direct import Moment
from reliability.quick import (
    AS_IT_IS,
    FALTERING,
    NEW,
    RECOVERED,
    REFRESHED,
    REQUIRED,
    STOPPED,
    UNTOUCHED,
    Outcome,
    QuickStage,
    Trouble,
    code,
    each,
    fault,
    gateway,
    not_permitted,
    unreachable,
)
from stage import KEEPER, REFRESH, TOKEN
from tokenkeeper import clock

EMPTY = "ERROR connection.empty"
KINDS = {"a refresh": "expiring", "a verification": "long-lived"}


@dataclass(frozen=True)
class Result:
    """What comes of a run over one connection, and of the next one, when nothing is wrong any more."""

    calls: int  # how often TikTok was asked
    health: str
    logged: tuple[str, ...]
    status: int  # the run's
    verdict: str
    stored: str = "old"
    next_needs_a_person: bool = False
    reused: int = 0  # how often TikTok was sent a used refresh token, in both runs


THROTTLED = Result(5, "ok", (), 503, "remaining")
STOPS = Result(1, "ok", (STOPPED,), 500, "remaining")
PERSON = Result(1, "reauthorize", (REQUIRED,), 200, "reauthorize")
LATE = Result(2, "failing", (FALTERING,), 503, "failing")  # of a refresh, which is due: calling again can help
MISSED = replace(LATE, status=200)  # of a verification
VERIFIED = Result(1, "ok", (), 200, "verified")
AT_THE_SECOND_TRY = Result(2, "ok", (REFRESHED,), 200, "refreshed", "new")
BY, BY_ACCOUNT, OF, OF_ACCOUNT = "refresh_token", "account_refresh_token", "advertiser_get", "account_token_info"


def answering(**fields: Any) -> Trouble:
    """The next answers bring these fields instead."""
    return lambda stage, call: stage.tiktok.override_answer(call, fields, times=9)


def silent_then_failing(stage: QuickStage, call: str) -> None:
    fault(times=1, status=502)(stage, call)
    code(50002, times=1)(stage, call)


def failing_then_empty(stage: QuickStage, call: str) -> None:
    code(50002, times=1)(stage, call)
    answering(list=[])(stage, call)


def reaching_nobody(stage: QuickStage, call: str) -> None:
    answering(advertiser_ids=[])(stage, call)
    answering(list=[])(stage, OF)


TROUBLES: dict[str, tuple[str, Trouble, Result]] = {
    "a refresh is throttled": (BY, code(40100), THROTTLED),
    "a refresh fails for a moment": (BY, code(50002), LATE),
    "a refresh is refused to the app": (BY, code(40124), STOPS),
    "a refresh is refused to the app or this advertiser": (BY, code(40118), LATE),
    "the refresh token is invalid": (BY, code(40107), PERSON),
    "a refresh is told that the access token expired": (BY, code(40102), LATE),
    "a refresh is not permitted and the token lives": (BY, not_permitted(), LATE),
    "a refresh is not permitted and nobody knows": (BY, not_permitted(gateway), LATE),
    "a refresh is not permitted and the token is dead": (BY, not_permitted(code(40105)), PERSON),
    "a refresh cannot reach TikTok": (BY, unreachable, replace(LATE, calls=0)),
    "a refresh is answered by a gateway": (BY, gateway, LATE),
    "a refresh is answered by a gateway first": (BY, fault(times=1, status=502), AT_THE_SECOND_TRY),
    "a refresh has no third try after a silence": (BY, silent_then_failing, LATE),
    "a refresh takes effect and its answer is lost":
        (BY, fault(times=1, do="drop", when="after"), replace(PERSON, calls=2, reused=1)),
    "a refresh takes effect and two answers are lost":
        (BY, fault(do="drop", when="after"), replace(LATE, next_needs_a_person=True, reused=2)),
    "a refresh brings a token that reaches no advertiser":
        (BY, reaching_nobody, Result(1, "failing", (REFRESHED, EMPTY), 200, "failing", "new")),
    "an account's refresh token is invalid": (BY_ACCOUNT, code(40131), PERSON),
    "an account's refresh lacks a scope and the token lives": (BY_ACCOUNT, code(40130), LATE),
    "an account's refresh takes effect and its answer is lost":
        (BY_ACCOUNT, fault(times=1, do="drop", when="after"), replace(PERSON, calls=2, reused=1)),
    "an account's refresh brings another account's":
        (BY_ACCOUNT, answering(open_id="_000another"), replace(PERSON, calls=2, reused=1)),
    "a verification is throttled": (OF, code(40100), THROTTLED),
    "a verification is throttled once": (OF, code(40100, times=1), replace(VERIFIED, calls=2)),
    "a verification fails for a moment": (OF, code(50002), MISSED),
    "a verification fails once": (OF, code(50002, times=1), replace(VERIFIED, calls=2)),
    "a verification is refused to the app": (OF, code(40124), STOPS),
    "a verification is refused to the app or this advertiser": (OF, code(40118), MISSED),
    "the token is revoked": (OF, code(40105), PERSON),
    "the token has expired": (OF, code(40102), PERSON),
    "a verification cannot reach TikTok": (OF, unreachable, replace(MISSED, calls=0)),
    "a verification lists no advertiser": (OF, answering(list=[]), replace(MISSED, logged=(EMPTY,))),
    "a verification fails once and then lists no advertiser": (OF, failing_then_empty, replace(THROTTLED, calls=2)),
    "a verification is answered by a gateway": (OF, gateway, MISSED),
    "an account's token is invalid": (OF_ACCOUNT, code(40131), PERSON),
    "an account's token lacks a scope": (OF_ACCOUNT, code(40130), VERIFIED),
    "an account's verification tells of another account": (OF_ACCOUNT, answering(creator_id="_000another"), MISSED),
}  # fmt: skip


@each("case", TROUBLES)
def test_the_kind_of_failure_decides_when(quick: QuickStage, case: tuple[str, Trouble, Result]) -> None:
    """Stored bytes stay; only what is wrong is marked; and when it has passed, the next run says so."""
    call, trouble, result = case
    refreshing = "refresh" in call
    quick.plant(
        "acme", "expiring" if refreshing else "long-lived", age_hours=13,
        family="account" if "account" in call else "advertiser",
    )  # fmt: skip
    trouble(quick, call)
    status, summary = quick.run()
    assert (status, summary[result.verdict], summary["connections"]) == (result.status, 1, 1)
    assert quick.tiktok.count(call) == result.calls
    assert summary["attention"] == ["acme"] * bool({REQUIRED, EMPTY} & {*result.logged})
    if not refreshing:
        marks = [name for name in quick.writes() if name != "CreateSecret"]  # that is the run's record
        assert marks == ([] if result.health == "ok" else ["UpdateSecret", "UpdateSecret"])
    token_calls = result.calls if refreshing else 0
    assert quick.outcome() == Outcome(result.stored, result.health, token_calls, result.logged)
    quick.quiet()
    quick.assert_run(after(result, refreshing))
    assert len(quick.tiktok.reused) == result.reused


def after(result: Result, refreshing: bool) -> Outcome:
    """What comes of the run after it."""
    if result.health == "reauthorize":
        return Outcome("old", "reauthorize", 0, ())
    if result.next_needs_a_person:
        return Outcome("old", "reauthorize", 1, (REQUIRED,))
    expected = AS_IT_IS if result.stored == "new" else NEW if refreshing else UNTOUCHED
    return replace(expected, logged=(*expected.logged, *[RECOVERED] * (result.health == "failing")))


IDS = ("7000000000000000001", "7000000000000000002", "7000000000000000003")


class TestAdvertisers:
    """Fewer than before are believed when TikTok says so again."""

    def listing(self, stage: QuickStage, kind: str, listed: list[str], *, again: bool) -> None:
        """A run in which TikTok lists only these, and says so again when it is asked a second time."""
        stage.plant("acme", kind, age_hours=13)
        if kind == "expiring":
            stage.tiktok.override_answer(BY, {"advertiser_ids": listed})
        for _ in range((kind != "expiring") + again):
            stage.tiktok.override_answer(OF, {"list": [{"advertiser_id": one} for one in listed]})
        assert stage.run()[0] == 200
        assert stage.tiktok.count(OF) == (1 if kind == "expiring" else 2)

    @each("listed", {"all": [], "most": [IDS[0]]})
    @each("kind", KINDS)
    def test_are_gone_for_a_moment(self, quick: QuickStage, kind: str, listed: list[str]) -> None:
        """Asked again TikTok lists all of them: nothing has changed."""
        self.listing(quick, kind, listed, again=False)
        assert quick.outcome() == (NEW if kind == "expiring" else UNTOUCHED)
        assert quick.token()["advertiser_ids"] == list(IDS)
        assert len(quick.secrets.payloads(TOKEN + "acme")) == 1 + (kind == "expiring")

    @each("kind", KINDS)
    def test_are_gone_says_tiktok_twice(self, quick: QuickStage, kind: str) -> None:
        """Then it is stored, with an entry of severity ERROR; the guard rests on what was approved."""
        self.listing(quick, kind, [IDS[0]], again=True)
        assert "ERROR connection.changed" in quick.logged()
        assert quick.token()["advertiser_ids"] == [IDS[0]]
        quick.later(minutes=1)
        assert quick.approve("acme", "long-lived", [IDS[1]]).status_code == 303

    def test_of_a_refresh_stay_as_they_were_where_tiktok_does_not_say_again(self, quick: QuickStage) -> None:
        """The new token is stored with them."""
        quick.plant("acme", "expiring", age_hours=13)
        quick.tiktok.override_answer(BY, {"advertiser_ids": [IDS[0]]})
        quick.tiktok.fail_next(OF, 50000, times=None)
        quick.assert_run(NEW)
        assert quick.token()["advertiser_ids"] == list(IDS)


@each("lifetime", {"it is no time at all": 0, "it is a word": "soon", "it is longer than any calendar": 10**30})
@each("family", {"an advertiser's": "advertiser", "an account's": "account"})
def test_a_lifetime_of_any_kind_makes_no_loop(quick: QuickStage, family: str, lifetime: Any) -> None:
    """Whatever `expires_in` is, a refresh is followed by none for hours, and the next one works."""
    quick.due(family=family)
    answering(expires_in=lifetime, refresh_token_expires_in=lifetime)(
        quick, BY if family == "advertiser" else BY_ACCOUNT
    )
    for outcome in (NEW, AS_IT_IS, AS_IT_IS, AS_IT_IS):
        quick.assert_run(outcome)
        quick.later(minutes=20)
    quick.later(hours=13)
    quick.assert_run(NEW)


@each("rotation", {"each answer brings a new one": "new", "each brings the same": "same", "none brings one": "omitted"})
def test_refresh_tokens_are_followed_however_they_rotate(quick: QuickStage, rotation: Any) -> None:
    """Over many refreshes no used token is sent, one that stays is kept, and so is the end of its year."""
    quick.due()
    quick.due("holder", family="account")
    ends = {name: quick.whole_grant(name)["refresh_expires_at"] for name in ("acme", "holder")}
    quick.tiktok.options = replace(quick.tiktok.options, rotation=rotation)
    for _ in range(5):
        quick.assert_run(Outcome("new", "ok", 2, (REFRESHED, REFRESHED)))
        assert quick.outcome("holder") == AS_IT_IS
        quick.later(hours=13)
    assert quick.tiktok.reused == []
    for name, end in ends.items():
        now = quick.whole_grant(name)["refresh_expires_at"]
        assert quick.annotations(name)["refresh-expires-at"] == now
        assert abs(clock.parse(now) - clock.parse(end)) <= timedelta(hours=13), "as planted, and as TikTok has it"


def add_newer_grant(stage: QuickStage, secret: str) -> None:
    """Somebody stores a newer grant in one of the secrets."""
    whole = stage.whole_grant() | {"obtained_at": clock.text(clock.now()), "expires_at": "2026-11-23T10:00:00Z"}
    if secret == TOKEN:
        del whole["refresh_token"], whole["refresh_expires_at"]
    stage.secrets.add_version(secret + "acme", json.dumps(whole).encode())


INVALID = code(40107)
MEANWHILE = {
    "TikTok says that the token is invalid": (REFRESH, INVALID, 0),
    "TikTok says nothing": (REFRESH, fault(do="drop"), 1),
    "it is invalid, and readings are two versions late": (REFRESH, INVALID, 2),
    "it is invalid, and the newer one has no refresh token": (TOKEN, INVALID, 0),
}


@each("case", MEANWHILE)
def test_a_newer_version_that_was_stored_meanwhile_is_used(quick: QuickStage, case: tuple[str, Trouble, int]) -> None:
    """A refresh that failed is not believed, nobody is alerted, and both secrets are reconciled at once."""
    secret, trouble, lag = case
    quick.due()
    quick.secrets.set_lag(latest=lag, lists=lag)
    trouble(quick, BY)
    quick.wire.at(Moment(BY), lambda: add_newer_grant(quick, secret))
    assert quick.run()[0] == 200
    newer = json.loads(quick.secrets.payloads(secret + "acme")[-1])["obtained_at"]
    assert quick.token()["obtained_at"] == quick.annotations()["obtained-at"] == newer
    assert (REFRESH + "acme" in quick.secrets.secrets()) == (secret == REFRESH), "what was replaced is deleted"
    assert replace(quick.outcome(), stored="") == Outcome("", "ok", 1, ())


def everything(stage: QuickStage) -> list[object]:
    """Labels, annotations and payloads of every secret but the run's own."""
    of_connections = [secret_id for secret_id in stage.secrets.secrets() if secret_id != KEEPER]
    looks = (stage.secrets.labels, stage.secrets.annotations, stage.secrets.payloads)
    return [look(secret_id) for look in looks for secret_id in of_connections]


def test_a_wrong_app_secret_marks_nobody(quick: QuickStage) -> None:
    """With a wrong secret the run stops with one alert, and of no connection, of any kind, anything is changed."""
    for number in range(10):
        quick.due(f"expiring-{number}")
        quick.due(f"account-{number}", family="account")
        quick.plant(f"lasting-{number}")
    quick.new_instances(TIKTOK_APP_SECRET="canary-another-app-secret-0123456789abcdef")
    before = everything(quick)
    status, summary = quick.run()
    assert (status, summary["remaining"], summary["attention"]) == (500, 30, [])
    assert quick.logged() == [STOPPED]
    assert everything(quick) == before
    assert not quick.tiktok.spent
    quick.new_instances(TIKTOK_APP_SECRET=quick.tiktok.app_secret)
    quick.token_calls()
    assert quick.run()[0] == 200
    assert quick.entries()[-1]["message"].startswith("The run ended with 200: ")
    assert (quick.logged(), quick.token_calls()) == ([REFRESHED] * 20, 20)
