"""TikTok accounts: where their tokens differ from advertisers', every promise holds for them as well.

What both families share is tested for both where it stands; here is what only this one has.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reliability.direct import Moment
from reliability.quick import AS_IT_IS, NEW, UNTOUCHED, Outcome, QuickStage, Trouble, code, each, fault, unreachable
from stage import REFRESH
from tokenkeeper import clock

FALTERING, RECOVERED = "WARNING connection.faltering", "NOTICE connection.recovered"
REQUIRED, STOPPED = "ERROR reauthorization.required", "CRITICAL run.stopped"
STORED = "NOTICE connection.stored"
LATE = (503, Outcome("old", "failing", 2, (FALTERING,)))
PERSON = (200, Outcome("old", "reauthorize", 1, (REQUIRED,)))
MISSED = (200, Outcome("old", "failing", 0, (FALTERING,)))
FINE = (200, UNTOUCHED)
OF_A_REFRESH: dict[str, tuple[Trouble, tuple[int, Outcome]]] = {
    "the refresh token is invalid, 40131": (code(40131), PERSON),
    "a scope is missing, 40130, and the token lives": (code(40130), LATE),
    "TikTok fails for a moment": (code(51000), LATE),
    "TikTok throttles": (code(40100), (503, Outcome("old", "ok", 5, ()))),
    "TikTok refuses the app": (code(40113), (500, Outcome("old", "ok", 1, (STOPPED,)))),
    "a gateway answers": (fault(status=502, body=b"<html>"), LATE),
    "it takes effect and its answer is lost": (
        fault(times=1, do="drop", when="after"), (200, replace(PERSON[1], token_calls=2))
    ),
    "TikTok cannot be reached": (unreachable, (503, replace(LATE[1], token_calls=0))),
}  # fmt: skip
OF_A_VERIFICATION: dict[str, tuple[Trouble, tuple[int, Outcome]]] = {
    "the token is invalid, 40131": (code(40131), (200, replace(PERSON[1], token_calls=0))),
    "the token is revoked, 40105": (code(40105), (200, replace(PERSON[1], token_calls=0))),
    "a scope is missing, 40130": (code(40130), FINE),
    "TikTok fails for a moment": (code(51000), MISSED),
    "TikTok throttles": (code(40133), (503, UNTOUCHED)),
    "TikTok refuses the app": (code(40113), (500, replace(UNTOUCHED, logged=(STOPPED,)))),
    "a gateway answers": (fault(status=502, body=b"<html>"), MISSED),
}


@each("case", OF_A_REFRESH)
def test_a_refresh_when(quick: QuickStage, case: tuple[Trouble, tuple[int, Outcome]]) -> None:
    """The kinds of failure are those of advertisers, with the codes of this family."""
    trouble, (status, outcome) = case
    quick.due(family="account")
    trouble(quick, "account_refresh_token")
    assert quick.run()[0] == status
    assert quick.outcome() == outcome
    quick.quiet()
    assert quick.run()[0] == 200
    assert quick.labels()["health"] == ("reauthorize" if outcome.health == "reauthorize" else "ok")


@each("case", OF_A_VERIFICATION)
def test_a_verification_when(quick: QuickStage, case: tuple[Trouble, tuple[int, Outcome]]) -> None:
    """One without a refresh token is verified by asking for its account; nothing is refreshed or stored."""
    trouble, (status, outcome) = case
    quick.plant("acme", family="account")
    trouble(quick, "account_token_info")
    assert quick.run()[0] == status
    assert quick.outcome() == outcome
    quick.quiet()
    assert quick.run()[0] == 200
    assert quick.labels()["health"] == ("reauthorize" if outcome.health == "reauthorize" else "ok")


class TestAnotherAccount:
    def test_in_the_answer_to_a_refresh_is_never_stored(self, quick: QuickStage) -> None:
        """It counts as silence: tried once more, then failing; what was stored stays, and TikTok's word decides."""
        quick.due(family="account")
        quick.tiktok.override_answer("account_refresh_token", {"open_id": "_000another"}, times=9)
        assert quick.run()[0] == 200
        # The first answer took effect, so the second call presents a used token.
        assert quick.outcome() == Outcome("old", "reauthorize", 2, (REQUIRED,))

    def test_in_the_answer_to_a_verification_marks_it_failing(self, quick: QuickStage) -> None:
        """Nobody knows what became of the token: it stays, and the next run asks again."""
        quick.plant("acme", family="account")
        quick.tiktok.override_answer("account_token_info", {"creator_id": "_000another"}, times=2)
        assert (quick.run()[0], quick.outcome()) == MISSED
        assert quick.run()[0] == 200
        assert quick.outcome() == replace(UNTOUCHED, logged=(RECOVERED,))

    @each("any_account", {"without leave": False, "with leave": True})
    def test_that_connects_again(self, quick: QuickStage, any_account: bool) -> None:
        """Only with a link that says so may a connection become another account's."""
        assert quick.approve_account("acme").status_code == 303
        before = quick.token()
        quick.later(minutes=1)
        answer = quick.approve_account("acme", "acme.outlet", any_account=any_account)
        assert answer.status_code == (303 if any_account else 403)
        assert (quick.token() == before) != any_account
        assert quick.annotations()["open-id"] == quick.token()["open_id"]


def test_a_refresh_does_not_start_the_year_again(quick: QuickStage) -> None:
    """The refresh token's end stays a year after the authorization, whatever number of seconds is left."""
    assert quick.approve_account("acme").status_code == 303
    end = quick.time("acme", "refresh-expires-at")
    for _ in range(20):
        quick.later(hours=13)
        assert quick.run()[0] == 200
        assert abs((quick.time("acme", "refresh-expires-at") - end).total_seconds()) < 3600
        assert quick.whole_grant()["refresh_expires_at"] == quick.annotations()["refresh-expires-at"]
    assert (quick.time("acme", "refresh-expires-at") - clock.now()).days < 356


@pytest.mark.parametrize("keeps", [False, True])
def test_the_old_access_token_may_die_with_the_refresh(quick: QuickStage, keeps: bool) -> None:
    """Whether it does or not, both secrets hold the new grant right after it, and a reader's next read is good."""
    quick.tiktok.options = replace(quick.tiktok.options, keep_old_access_token=keeps)
    old = quick.plant("acme", "expiring", age_hours=13, family="account")["access_token"]
    alive: list[bool] = []
    secret_id = "tiktok-ads-token-acme"
    quick.at(Moment("AddSecretVersion", secret_id, 0, after=True), lambda: alive.append(quick.tiktok.is_alive(old)))
    assert quick.run()[0] == 200
    assert alive == [keeps]
    for outcome in (NEW, AS_IT_IS):
        assert quick.outcome() == outcome
        assert quick.run()[0] == 200


def test_the_user_name_comes_later(quick: QuickStage) -> None:
    """Where TikTok did not tell it while connecting, everything else is stored."""
    fault(status=502)(quick, "account_profile")
    assert quick.approve_account("acme").status_code == 303
    token: dict[str, Any] = quick.token()
    assert (token["username"], "username" in quick.annotations(), quick.logged()) == (None, False, [STORED])
    assert token["open_id"] == quick.annotations()["open-id"]
    assert REFRESH + "acme" in quick.secrets.secrets()
