"""What TikTok and Secret Manager can do during a callback: nothing is used up that cannot be kept.

Reliability lines 2, 3, 10, 11, 15 and 21, and promise 2. The calls are counted, not chosen. `connect` may read no
version, so it cannot find one whose answer was lost: such a write is made again, the same bytes on top of themselves.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from typing import Any

import pytest
import requests

from emulators.serving import Fault
from reliability.direct import Moment
from reliability.quick import (
    ANSWER_LOST,
    AWAY,
    ERROR_PAGE,
    FORBIDDEN,
    NOT_SENT,
    OVER,
    THROTTLED,
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
from stage import REFRESH, TOKEN
from tokenkeeper import clock
from tokenkeeper.store.lease import TERM

BUDGET = 50.0  # seconds; the default of CALLBACK_BUDGET_SECONDS
STORED, REFRESHED = "NOTICE connection.stored", "INFO token.refreshed"
ERROR, WARNING = "ERROR connection.refused", "WARNING connection.refused"
INCOMPLETE, UNSAVED = "WARNING connection.incomplete", "CRITICAL token.unsaved"


@dataclass(frozen=True)
class Way:
    """What a callback brings, and what is stored before it."""

    brings: str
    over: str | None


WAYS = {
    f"{'an' if brings == 'expiring' else 'a'} {brings} grant {sentence}": Way(brings, over)
    for brings in ("expiring", "long-lived", "account")
    for sentence, over in (OVER.items() if brings != "account" else [("where nothing was stored", None)])
}
every_way = each("way", WAYS)


class Approval:
    """Somebody who comes back from TikTok; what they bring is the newest grant there."""

    def __init__(self, stage: QuickStage, way: Way, connection: str = "acme") -> None:
        self.stage, self.way, self.connection = stage, way, connection
        if way.over:
            stage.plant(connection, way.over, age_hours=1)
        self.before = self.stored()
        self.browser = stage.browser()
        self.link = stage.link(connection, family="account" if way.brings == "account" else "advertiser")
        self._state = self.browser.begin(self.link)
        self.confirm()

    def confirm(self) -> None:
        """Confirm at TikTok, which gives a new code."""
        self._code = self.stage.account_code() if self.way.brings == "account" else self.stage.code(self.way.brings)
        for server in (self.stage.secrets, self.stage.tiktok):
            server.forget_calls()
        self.began = self.stage.clocks.stopwatch()

    def come_back(self) -> requests.Response:
        answer = self.browser.come_back(self._code, self._state)
        assert self.stage.clocks.stopwatch() - self.began <= BUDGET
        if answer.status_code == 303:
            self.given = self.stage.tiktok.grants[-1]
        return answer

    def stored(self) -> dict[str, list[bytes]]:
        """The payloads of both secrets, as far as these have any."""
        there = self.stage.secrets.secrets()
        found = {kept: self.stage.secrets.payloads(kept + self.connection) if kept + self.connection in there else []
                 for kept in (TOKEN, REFRESH)}  # fmt: skip
        return {kept: payloads for kept, payloads in found.items() if payloads}

    def added(self) -> dict[str, list[bytes]]:
        """The payloads that are new."""
        new = {kept: payloads[len(self.before.get(kept, [])) :] for kept, payloads in self.stored().items()}
        return {kept: payloads for kept, payloads in new.items() if payloads}

    def assert_kept(self) -> None:
        """What TikTok gave is what both secrets hold, and the connection is described accordingly."""
        token, labels = self.stage.token(self.connection), self.stage.labels(self.connection)
        annotations = self.stage.annotations(self.connection)
        assert token["access_token"] == self.given.access_token
        if self.given.kind == "expiring":
            whole = self.stage.whole_grant(self.connection)
            assert whole["refresh_token"] == self.given.refresh_token
            assert {key: whole[key] for key in token if key != "username"} == {
                key: value for key, value in token.items() if key != "username"
            }
        assert (labels["kind"], labels["health"], labels["family"]) == (self.given.kind, "ok", self.given.family)
        assert annotations["obtained-at"] == token["obtained_at"]
        assert annotations.get("advertisers", "") == ",".join(self.given.advertiser_ids)
        assert annotations.get("open-id", "") == self.given.open_id
        assert "connected-at" in annotations
        assert "lease" not in annotations

    def assert_completed(self) -> None:
        """After a run nothing is missing any more, and what a long-lived grant replaced is gone."""
        self.assert_kept()
        if self.way.brings == "long-lived":
            assert REFRESH + self.connection not in self.stage.secrets.secrets()
            names = json.loads(self.stage.annotations(self.connection).get("advertiser-names", "null"))
            assert names is None or names.keys() == set(self.given.advertiser_ids)


def moments_of(stage: QuickStage, way: Way) -> dict[str, list[Moment]]:
    """The calls to Secret Manager of a callback that is left alone, by step; their secrets without the name."""
    approval = Approval(stage, way, "alone")
    found = [
        Moment(one.call, one.resource.removesuffix("alone"), one.skip)
        for one in stage.moments(lambda: approval.come_back(), "alone")[:-1]
    ]
    assert stage.logged() == [STORED]
    assert stage.token_calls() == 1
    exchanged = next(n for n, one in enumerate(found) if one.call in {"access_token", "account_token"})
    stored = max(n for n, one in enumerate(found) if one.call == "AddSecretVersion" and one.resource == TOKEN)
    of_store = [(n, one) for n, one in enumerate(found) if one.resource]
    return {
        "preparing": [one for n, one in of_store if n < exchanged],
        "storing": [one for n, one in of_store if exchanged < n <= stored],
        "afterwards": [one for n, one in of_store if n > stored],
    }


def fault_at(moment: Moment, connection: str, times: int | None, trouble: dict[str, Any]) -> Fault:
    return Fault(moment.call, f"/{moment.resource}{connection}$", skip=moment.skip, times=times, **trouble)


class TestSecretManager:
    @each("trouble", {"the answer is 503": AWAY, "the answer is 429": THROTTLED, "the answer is lost": ANSWER_LOST})
    @every_way
    def test_any_call_may_fail_three_times(self, quick: QuickStage, way: Way, trouble: dict[str, Any]) -> None:
        """Whichever call it is, the code is exchanged once, the grant stored, and nobody alerted."""
        approvals = []
        for number, moment in enumerate(chain(*moments_of(quick, way).values())):
            approval = Approval(quick, way, f"acme-{number}")
            quick.secrets.add_fault(fault_at(moment, approval.connection, 3, trouble))
            assert approval.come_back().status_code == 303, moment
            quick.secrets.clear_faults()
            assert (quick.token_calls(), quick.logged()) == (1, [STORED]), moment
            approval.assert_kept()
            assert all(len(set(payloads)) == 1 for payloads in approval.added().values()), moment
            approvals.append(approval)
        assert quick.run()[0] == 200
        assert (quick.logged(), quick.token_calls()) == ([], 0)
        for approval in approvals:
            approval.assert_completed()

    @each("trouble", {"it is forbidden": FORBIDDEN, "the answer is 503": AWAY})
    @every_way
    def test_that_fails_always_before_the_exchange(self, quick: QuickStage, way: Way, trouble: dict[str, Any]) -> None:
        """While it is not sure that it can be stored nothing is used up: reloading the page a minute later does it."""
        for number, moment in enumerate(moments_of(quick, way)["preparing"]):
            approval = Approval(quick, way, f"acme-{number}")
            quick.secrets.add_fault(fault_at(moment, approval.connection, None, trouble))
            page = approval.come_back()
            assert page.status_code == 503, moment
            assert "Nothing was used up" in page.text
            assert (quick.tiktok.calls, quick.logged()) == ([], [ERROR]), moment
            assert approval.stored() == approval.before
            quick.secrets.clear_faults()
            quick.later(minutes=2)
            approval.began = quick.clocks.stopwatch()
            assert approval.come_back().status_code == 303, moment
            assert (quick.token_calls(), quick.logged()) == (1, [STORED]), moment
            approval.assert_kept()

    @each("trouble", {"it is forbidden": FORBIDDEN, "it is lost on its way": NOT_SENT})
    @every_way
    def test_that_never_stores(self, quick: QuickStage, way: Way, trouble: dict[str, Any]) -> None:
        """One alert, a page that says so, the old grant as it was; confirming again makes the connection."""
        approval = Approval(quick, way)
        quick.secrets.add_fault(Fault("AddSecretVersion", times=None, **trouble))
        assert_not_kept(approval)
        assert approval.added() == {}
        quick.secrets.clear_faults()
        quick.later(minutes=5)
        assert quick.run()[0] == 200
        assert (quick.token_calls(), quick.logged(), approval.stored()) == (0, [], approval.before)
        approval.confirm()
        assert approval.come_back().status_code == 303
        assert (quick.token_calls(), quick.logged()) == (1, [STORED])
        approval.assert_kept()

    @each("over", OVER)
    def test_that_does_not_store_the_token_secret(self, quick: QuickStage, over: str | None) -> None:
        """The page says that it was not kept, since readers have nothing of it; a run gives them what is kept."""
        approval = Approval(quick, Way("expiring", over))
        quick.secrets.add_fault(Fault("AddSecretVersion", f"/{TOKEN}", times=None))
        assert_not_kept(approval)
        assert list(approval.added()) == [REFRESH]
        approval.given = quick.tiktok.grants[-1]
        quick.secrets.clear_faults()
        quick.later(hours=11)
        assert quick.run()[0] == 200
        assert (quick.token_calls(), quick.logged()) == (0, [])
        approval.assert_completed()

    @each("trouble", {"it is forbidden": FORBIDDEN, "the answer is 503": AWAY})
    @every_way
    def test_that_takes_no_annotations(self, quick: QuickStage, way: Way, trouble: dict[str, Any]) -> None:
        """The connection is made all the same, with one write less; the next run completes it, and its link is used."""
        (moment,) = moments_of(quick, way)["afterwards"]
        approval = Approval(quick, way)
        quick.later(seconds=1)  # nobody confirms in the second in which the link was made
        approval.confirm()
        quick.secrets.add_fault(fault_at(moment, "acme", None, trouble))
        assert approval.come_back().status_code == 303
        quick.secrets.clear_faults()
        assert (quick.token_calls(), quick.logged()) == (1, [INCOMPLETE, STORED])
        assert quick.run()[0] == 200
        assert (quick.token_calls(), quick.logged()) == (0, [])
        approval.assert_completed()
        assert quick.browser().get(approval.link).status_code == 409


def assert_not_kept(approval: Approval) -> None:
    """The whole budget was used; then one alert, a page that says so, and whatever readers had is untouched."""
    stage = approval.stage
    page = approval.come_back()
    assert page.status_code == 503
    assert "This confirmation could not be kept" in page.text
    assert stage.clocks.stopwatch() - approval.began > BUDGET - 1
    assert (stage.token_calls(), stage.logged()) == (1, [UNSAVED])
    assert approval.stored().get(TOKEN) == approval.before.get(TOKEN)
    assert "lease" not in stage.annotations(approval.connection)


# One of each kind: what TikTok makes of the exchange, and with which severity that is logged.
REFUSALS: dict[str, tuple[Trouble, str]] = {
    "TikTok throttles": (code(40100), WARNING),
    "TikTok fails for a moment": (code(50002), WARNING),
    "TikTok refuses the app": (code(40124), ERROR),
    "TikTok refuses the app or this advertiser": (code(40118), ERROR),
    "TikTok says that a token is dead": (code(40105), ERROR),
    "permission is lacking": (not_permitted(), ERROR),
    "the code was used": (code(40110), WARNING),
    "TikTok cannot be reached": (unreachable, ERROR),
    "a gateway answers": (fault(status=502, body=ERROR_PAGE), ERROR),
    "TikTok says yes without a token": (fault(status=200, body={"code": 0, "data": {}}), ERROR),
    "it takes effect and its answer is lost": (fault(do="drop", when="after"), ERROR),
}
FIRST = {"expiring": Way("expiring", "expiring"), "long-lived": Way("long-lived", "long-lived"),
         "account": Way("account", None)}  # fmt: skip


class TestTikTok:
    @each("refusal", REFUSALS)
    @each("way", FIRST)
    def test_no_connection_is_made_when(self, quick: QuickStage, way: Way, refusal: tuple[Trouble, str]) -> None:
        """The code is sent once, if at all; what was stored stays; whoever confirms again within the hour connects."""
        trouble, logged = refusal
        quick.new_instances(CALLBACK_BUDGET_SECONDS="10")
        approval, call = Approval(quick, way), "account_token" if way.brings == "account" else "access_token"
        trouble(quick, call)
        assert approval.come_back().status_code == 502
        assert quick.tiktok.count(call) == (trouble is not unreachable)
        assert quick.logged() == [logged]
        assert approval.stored() == approval.before
        quick.quiet()
        quick.later(minutes=45)
        approval.confirm()
        assert approval.come_back().status_code == 303
        assert quick.logged() == [STORED]
        approval.assert_kept()

    def test_the_same_code_after_nothing_was_sent(self, quick: QuickStage) -> None:
        """The very same page may be reloaded, as it says."""
        approval = Approval(quick, Way("long-lived", None))
        unreachable(quick, "")
        assert "Nothing was used up" in approval.come_back().text
        quick.quiet()
        approval.began = quick.clocks.stopwatch()
        assert approval.come_back().status_code == 303
        approval.assert_kept()

    def test_the_same_code_after_it_took_effect(self, quick: QuickStage) -> None:
        """A code is worthless once it was exchanged: a reloaded page says so, and nothing is stored."""
        approval = Approval(quick, Way("long-lived", None))
        fault(times=1, do="drop", when="after")(quick, "access_token")
        approval.come_back()
        quick.logged()
        page = approval.come_back()
        assert page.status_code == 502
        assert "This confirmation was used already" in page.text
        assert (quick.logged(), approval.stored()) == ([WARNING], {})

    @each("case", {name: case for name, case in REFUSALS.items() if case[0] is not unreachable})
    def test_that_does_not_say_for_which_advertisers(self, quick: QuickStage, case: tuple[Trouble, str]) -> None:
        """Where the answer names none they are asked for; without them nothing is stored. Confirming again works."""
        trouble, logged = case
        approval = Approval(quick, Way("long-lived", "long-lived"))
        omitting("advertiser_ids")(quick, "access_token")
        trouble(quick, "advertiser_get")
        assert approval.come_back().status_code == 502
        assert (quick.logged(), approval.stored()) == ([logged], approval.before)
        quick.quiet()
        quick.later(minutes=45)
        approval.confirm()
        assert approval.come_back().status_code == 303
        approval.assert_kept()

    @each("trouble", {"throttles once": code(40100, times=1), "is silent once": fault(times=1, do="drop")})
    def test_that(self, quick: QuickStage, trouble: Trouble) -> None:
        """Asking for the advertisers is safe to repeat, so one failure costs nobody an approval."""
        approval = Approval(quick, Way("long-lived", None))
        omitting("advertiser_ids")(quick, "access_token")
        trouble(quick, "advertiser_get")
        assert approval.come_back().status_code == 303
        approval.assert_kept()

    @each("case", {name: case for name, case in REFUSALS.items() if case[0] is not unreachable})
    @each("brings", {"an advertiser's": "long-lived", "an account's": "account"})
    def test_without_a_name(self, quick: QuickStage, brings: str, case: tuple[Trouble, str]) -> None:
        """Whatever becomes of the names, they are asked for once, and the token is stored."""
        approval = Approval(quick, Way(brings, None))
        call = "advertiser_get" if brings == "long-lived" else "account_profile"
        case[0](quick, call)
        assert approval.come_back().status_code == 303
        assert (quick.tiktok.count(call), quick.logged()) == (1, [STORED])
        approval.assert_kept()


class TestClock:
    @each("minutes", {"behind": -10, "ahead": 10})
    @every_way
    def test_of_the_callback_is_off(self, quick: QuickStage, way: Way, minutes: int) -> None:
        """Ten minutes either way: what was stored last counts, and runs refresh it once in its time."""
        if way.over:
            quick.plant("acme", way.over)
            quick.later(minutes=5)
        family: Any = "account" if way.brings == "account" else "advertiser"
        link = quick.link("acme", family=family)
        with clock_off_by(minutes=minutes):
            browser = quick.browser()
            given_code = quick.account_code() if family == "account" else quick.code(way.brings)
            assert browser.come_back(given_code, browser.begin(link)).status_code == 303
        given = quick.tiktok.grants[-1].access_token
        for _ in range(2):
            assert quick.run()[0] == 200
            assert quick.token()["access_token"] == given
        expiring = way.brings != "long-lived"
        assert (REFRESH + "acme" in quick.secrets.secrets()) == expiring
        assert sum(quick.tiktok.spent.values()) == 0
        for days in (1, 2):
            quick.later(hours=13)
            for _ in range(2):
                assert quick.run()[0] == 200
            assert sum(quick.tiktok.spent.values()) == (days if expiring else 0)
        assert quick.tiktok.is_alive(quick.token()["access_token"])
        assert quick.tiktok.reused == []
        assert quick.logged() == [STORED, *[REFRESHED] * 2 * expiring]


@dataclass(frozen=True)
class Failure:
    """How connecting again may fail: the page's status, what is logged, and what makes it fail."""

    status: int
    logged: str
    trouble: Trouble = lambda _stage, _call: None
    advertisers: tuple[str, ...] | None = None
    declined: bool = False


def held_by_somebody(stage: QuickStage, _call: str) -> None:
    lease = f"refresh-1 {clock.text(clock.now() + timedelta(seconds=TERM))}"
    stage.secrets.edit(TOKEN + "acme", annotations={"lease": lease})


API_DISABLED = {
    "error": {
        "code": 403,
        "status": "PERMISSION_DENIED",
        "message": "Secret Manager API has not been used in project test-project before or it is disabled.",
    }
}
FAILURES = {
    "declined": Failure(200, "INFO connection.refused", declined=True),
    "no advertiser is ticked": Failure(422, WARNING, advertisers=()),
    "others are ticked": Failure(403, ERROR, advertisers=("7000000000000000099",)),
    "somebody else works on it": Failure(503, WARNING, held_by_somebody),
    "the store is away": Failure(
        503, UNSAVED, lambda stage, _: stage.secrets.add_fault(Fault("AddSecretVersion", times=None))
    ),
    "it may not store": Failure(503, ERROR, lambda stage, _: stage.secrets.deny("secretmanager.versions.add")),
    "the API is disabled": Failure(
        503, ERROR, lambda stage, _: stage.secrets.add_fault(Fault(times=None, status=403, body=API_DISABLED))
    ),
}


@each("kind", {"over an expiring grant": "expiring", "over a long-lived grant": "long-lived"})
@each("failure", FAILURES)
@pytest.mark.parametrize("brings", ["expiring", "long-lived"])
def test_a_re_authorization_that_fails_leaves_what_is_stored(
    quick: QuickStage, failure: Failure, kind: str, brings: str
) -> None:
    """However connecting again fails, bytes and state stay as they were, and the old token is kept working."""
    quick.connected("acme", kind)
    quick.later(hours=1)
    browser = quick.browser()
    state, given_code = browser.begin(quick.link("acme")), quick.code(brings, failure.advertisers)
    failure.trouble(quick, "")
    before = {name: quick.secrets.payloads(name) for name in quick.secrets.secrets()}
    labels, annotations = quick.labels(), quick.annotations()
    quick.logged()
    query = f"/?error=access_denied&state={state}"
    page = browser.get(query) if failure.declined else browser.come_back(given_code, state)
    assert (page.status_code, quick.logged()) == (failure.status, [failure.logged])
    assert {name: quick.secrets.payloads(name) for name in quick.secrets.secrets()} == before
    assert (quick.labels(), quick.annotations()) == (labels, annotations)
    quick.quiet()
    quick.token_calls()
    quick.later(hours=12)
    assert quick.run()[0] == 200
    assert quick.logged() == ([REFRESHED] if kind == "expiring" else [])
    assert quick.token_calls() == (kind == "expiring")
    assert quick.tiktok.is_alive(quick.token()["access_token"])
