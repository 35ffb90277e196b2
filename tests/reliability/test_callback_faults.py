"""What TikTok and Secret Manager can do during a callback: nothing is used up that cannot be kept.

Reliability lines 2, 3, 10, 11, 15 and 21, and promise 2. The calls are counted, not chosen. `connect` may read no
version, so it cannot find one whose answer was lost: such a write is made again, the same bytes on top of themselves.
"""

import json
from dataclasses import replace
from itertools import chain
from typing import Any

import requests

from emulators.serving import Fault
from reliability.direct import Moment
from reliability.quick import (
    REFRESHED,
    STORED,
    UNSAVED,
    QuickStage,
    Trouble,
    assert_well,
    clock_off_by,
    code,
    each,
    fault,
    gateway,
    unreachable,
)
from stage import REFRESH, TOKEN
from tokenkeeper.store.lease import TERM

BUDGET = 50.0  # seconds; the default of CALLBACK_BUDGET_SECONDS
ERROR, WARNING = "ERROR connection.refused", "WARNING connection.refused"
INCOMPLETE = "WARNING connection.incomplete"
LOST: dict[str, Any] = {"do": "drop", "when": "after"}


# What a callback brings, and what is stored before it.
Way = tuple[str, str | None]
WAYS: dict[str, Way] = {
    "an expiring grant where nothing was stored": ("expiring", None),
    "an expiring grant in place of a long-lived one": ("expiring", "long-lived"),
    "a long-lived grant in place of an expiring one": ("long-lived", "expiring"),
    "an account's grant where nothing was stored": ("account", None),
}
every_way = each("way", WAYS)


class Approval:
    """Somebody who comes back from TikTok; what they bring is the newest grant there."""

    def __init__(self, stage: QuickStage, way: Way, connection: str = "acme") -> None:
        self.stage, self.connection = stage, connection
        self.brings, over = way
        if over:
            stage.plant(connection, over, age_hours=1)
        self.before = self.stored()
        self.browser = stage.browser()
        self.link = stage.link(connection, family="account" if self.brings == "account" else "advertiser")
        self._state = self.browser.begin(self.link)
        self.confirm()

    def confirm(self) -> None:
        """Confirm at TikTok, which gives a new code."""
        self._code = self.stage.account_code() if self.brings == "account" else self.stage.code(self.brings)
        for server in (self.stage.secrets, self.stage.tiktok):
            server.forget_calls()

    def come_back(self) -> requests.Response:
        began = self.stage.clocks.monotonic()
        answer = self.browser.come_back(self._code, self._state)
        self.took = self.stage.clocks.monotonic() - began
        assert self.took <= BUDGET
        return answer

    def stored(self) -> dict[str, list[bytes]]:
        """The payloads of the connection's secrets."""
        return {name: payloads for name, payloads in self.stage.payloads().items() if name.endswith(self.connection)}

    def assert_connects(self) -> None:
        """The callback stores what it brings, with one exchange and one entry."""
        self.stage.token_calls()
        assert self.come_back().status_code == 303
        assert (self.stage.token_calls(), self.stage.logged()) == (1, [STORED])
        self.assert_kept()

    def assert_kept(self) -> None:
        """What TikTok gave is what both secrets hold, and the connection is described accordingly."""
        assert_well(self.stage, self.connection)
        given, annotations = self.stage.tiktok.grants[-1], self.stage.annotations(self.connection)
        assert self.stage.token(self.connection)["access_token"] == given.access_token
        assert annotations.get("advertisers", "") == ",".join(given.advertiser_ids)
        assert annotations.get("open-id", "") == given.open_id
        assert "connected-at" in annotations

    def assert_a_run_completes_it(self) -> None:
        """A run asks TikTok for no token and says nothing; then nothing is missing, and what was replaced is gone."""
        assert self.stage.run()[0] == 200
        assert (self.stage.logged(), self.stage.token_calls()) == ([], 0)
        self.assert_kept()
        if self.brings == "long-lived":
            assert REFRESH + self.connection not in self.stage.secrets.secrets()
            names = json.loads(self.stage.annotations(self.connection).get("advertiser-names", "null"))
            assert names is None or names.keys() == set(self.stage.tiktok.grants[-1].advertiser_ids)


def moments_of(stage: QuickStage, way: Way) -> dict[str, list[Moment]]:
    """The calls to Secret Manager of a callback that is left alone, by step; their secrets without the name."""
    approval = Approval(stage, way, "alone")
    steps: dict[str, list[Moment]] = {"preparing": [], "storing": [], "afterwards": []}
    step = "preparing"
    for one in stage.moments(approval.assert_connects, "alone")[:-1]:
        if one.secret:
            steps[step].append(replace(one, secret=one.secret.removesuffix("alone")))
        if one.call in {"access_token", "account_token"}:
            step = "storing"
        elif (one.call, one.secret) == ("AddSecretVersion", TOKEN + "alone"):
            step = "afterwards"
    return steps


def fault_at(moment: Moment, connection: str, times: int | None, trouble: dict[str, Any]) -> Fault:
    return Fault(moment.call, f"/{moment.secret}{connection}$", skip=moment.skip, times=times, **trouble)


class TestSecretManager:
    @each("trouble", {"the answer is 503": {}, "the answer is 429": {"status": 429}, "the answer is lost": LOST})
    @every_way
    def test_any_call_may_fail_three_times(self, quick: QuickStage, way: Way, trouble: dict[str, Any]) -> None:
        """Whichever call it is, the code is exchanged once, the grant stored, and nobody alerted."""
        for number, moment in enumerate(chain(*moments_of(quick, way).values())):
            approval = Approval(quick, way, f"acme-{number}")
            quick.secrets.add_fault(fault_at(moment, approval.connection, 3, trouble))
            approval.assert_connects()
            quick.secrets.clear_faults()
            for name, payloads in approval.stored().items():
                assert len(set(payloads[len(approval.before.get(name, [])) :])) <= 1, moment
            approval.assert_a_run_completes_it()

    @each("trouble", {"it is forbidden": {"status": 403}, "the answer is 503": {}})
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
            approval.assert_connects()

    @each("denied", {"adding versions": ("versions.add", REFRESH), "creating it": ("secrets.create", "")})
    def test_an_account_needs_its_refresh_secret_before_the_exchange(
        self, quick: QuickStage, denied: tuple[str, str]
    ) -> None:
        """An account's grant always has a refresh token, so it needs both secrets; one that is missing is created."""
        quick.plant("acme", family="account", age_hours=1)
        approval = Approval(quick, ("account", None))
        quick.secrets.deny(f"secretmanager.{denied[0]}", denied[1])
        assert approval.come_back().status_code == 503
        assert (quick.tiktok.calls, quick.logged()) == ([], [ERROR])
        quick.secrets.allow_all()
        quick.later(minutes=2)
        approval.assert_connects()

    @every_way
    def test_that_never_stores(self, quick: QuickStage, way: Way) -> None:
        """One alert, a page that says so, the old grant as it was; confirming again makes the connection."""
        approval = Approval(quick, way)
        quick.secrets.add_fault(Fault("AddSecretVersion", times=None, status=403))
        assert_not_kept(approval)
        assert approval.stored() == approval.before
        quick.secrets.clear_faults()
        quick.later(minutes=5)
        assert quick.run()[0] == 200
        assert (quick.token_calls(), quick.logged(), approval.stored()) == (0, [], approval.before)
        approval.confirm()
        approval.assert_connects()

    @each("over", {"where nothing was stored": None, "in place of an expiring grant": "expiring"})
    def test_that_does_not_store_the_token_secret(self, quick: QuickStage, over: str | None) -> None:
        """The page says that it was not kept, since readers have nothing of it; a run gives them what is kept."""
        approval = Approval(quick, ("expiring", over))
        quick.secrets.add_fault(Fault("AddSecretVersion", f"/{TOKEN}", times=None))
        assert_not_kept(approval)
        assert quick.whole_grant()["access_token"] == quick.tiktok.grants[-1].access_token
        quick.secrets.clear_faults()
        quick.later(hours=11)
        approval.assert_a_run_completes_it()

    @every_way
    def test_that_takes_no_annotations(self, quick: QuickStage, way: Way) -> None:
        """The connection is made all the same, with one write less; the next run completes it, and its link is used."""
        (moment,) = moments_of(quick, way)["afterwards"]
        approval = Approval(quick, way)
        quick.later(seconds=1)  # nobody confirms in the second in which the link was made
        approval.confirm()
        quick.secrets.add_fault(fault_at(moment, "acme", None, {}))
        assert approval.come_back().status_code == 303
        quick.secrets.clear_faults()
        assert (quick.token_calls(), quick.logged()) == (1, [INCOMPLETE, STORED])
        approval.assert_a_run_completes_it()
        assert quick.browser().get(approval.link).status_code == 409


def assert_not_kept(approval: Approval) -> None:
    """The whole budget was used; then one alert, a page that says so, and whatever readers had is untouched."""
    page = approval.come_back()
    assert page.status_code == 503
    assert "This confirmation could not be kept" in page.text
    assert approval.took > BUDGET - 1
    assert (approval.stage.token_calls(), approval.stage.logged()) == (1, [UNSAVED])
    token_id = TOKEN + approval.connection
    assert approval.stored().get(token_id) == approval.before.get(token_id)
    assert "lease" not in approval.stage.annotations(approval.connection)


def granting(*advertisers: str) -> Trouble:
    """These are what was ticked at TikTok."""
    return lambda stage, call: stage.tiktok.override_answer(call, {"advertiser_ids": [*advertisers]})


# What goes wrong with the exchange, the page's status, and with which severity it is logged.
REFUSALS: dict[str, tuple[Trouble, int, str]] = {
    "the code was used": (code(40110), 502, WARNING),
    "TikTok cannot be reached": (unreachable, 502, ERROR),
    "a gateway answers": (gateway, 502, ERROR),
    "it takes effect and its answer is lost": (fault(**LOST), 502, ERROR),
    "no advertiser is ticked": (granting(), 422, WARNING),
    "others are ticked": (granting("7000000000000000099"), 403, ERROR),
    "somebody else works on it": (lambda stage, _: stage.held_by_another(seconds=TERM), 503, WARNING),
}
ASKED: dict[str, tuple[Trouble, str | None]] = {
    "throttles once": (code(40100, times=1), None),
    "is silent once": (fault(times=1, do="drop"), None),
    "throttles": (code(40100), WARNING),
    "refuses the app": (code(40124), ERROR),
    "is silent": (fault(do="drop"), ERROR),
}


class TestTikTok:
    @each("refusal", REFUSALS)
    def test_connecting_again_changes_nothing_when(self, quick: QuickStage, refusal: tuple[Trouble, int, str]) -> None:
        """The code is sent once, if at all; bytes and state stay; whoever confirms again within the hour connects."""
        trouble, status, logged = refusal
        quick.new_instances(CALLBACK_BUDGET_SECONDS="10")
        approval = Approval(quick, ("expiring", "expiring"))
        trouble(quick, "access_token")
        before = quick.labels(), quick.annotations()
        assert approval.come_back().status_code == status
        assert quick.tiktok.count("access_token") == (trouble is not unreachable and status != 503)
        assert quick.logged() == [logged]
        assert (approval.stored(), (quick.labels(), quick.annotations())) == (approval.before, before)
        quick.quiet()
        quick.later(minutes=45)
        assert (quick.run()[0], quick.logged()) == (200, [])
        assert quick.tiktok.is_alive(quick.token()["access_token"])
        approval.confirm()
        approval.assert_connects()

    @each("brings", {"an advertiser's": "long-lived", "an account's": "account"})
    def test_may_take_as_long_as_the_budget_allows(self, quick: QuickStage, brings: str) -> None:
        """Only storing has 20 seconds of its own; kept connections may be closed, so the code goes over a new one."""
        quick.new_instances(CALLBACK_BUDGET_SECONDS="300")
        Approval(quick, (brings, None)).assert_connects()
        seconds, fresh = quick.wire.posts[0]
        assert 250 < seconds <= 280
        assert fresh

    def test_what_was_not_sent_is_sent_again(self, quick: QuickStage) -> None:
        """While no connection to TikTok comes about, a second apart; then by reloading the very same page."""
        approval = Approval(quick, ("long-lived", None))
        unreachable(quick, "")
        assert "Nothing was used up" in approval.come_back().text
        assert quick.logged() == [ERROR]
        quick.wire.unreachable = 3
        approval.assert_connects()
        assert 3 <= approval.took < 4

    @each("case", ASKED)
    def test_that_does_not_say_for_which_ones_and(self, quick: QuickStage, case: tuple[Trouble, str | None]) -> None:
        """They are asked for, twice if need be; without them nothing is stored. Confirming again works."""
        trouble, logged = case
        approval = Approval(quick, ("long-lived", "long-lived"))
        quick.tiktok.override_answer("access_token", omit=["advertiser_ids"])
        trouble(quick, "advertiser_get")
        if logged:
            assert approval.come_back().status_code == 502
            assert (quick.logged(), approval.stored()) == ([logged], approval.before)
            quick.quiet()
            quick.later(minutes=45)
            approval.confirm()
        approval.assert_connects()


@each("minutes", {"behind": -10, "ahead": 10})
@each("way", {name: way for name, way in WAYS.items() if way[1]})
def test_the_clock_of_the_callback_is_off(quick: QuickStage, way: Way, minutes: int) -> None:
    """Ten minutes either way: what was stored last counts, and runs refresh it once in its time."""
    brings, over = way
    quick.plant("acme", str(over))
    quick.later(minutes=5)
    link = quick.link("acme")
    with clock_off_by(minutes=minutes):
        browser = quick.browser()
        assert browser.come_back(quick.code(brings), browser.begin(link)).status_code == 303
    given = quick.tiktok.grants[-1].access_token
    for refreshes in (0, 1, 2):
        for _ in range(2):
            assert quick.run()[0] == 200
        assert sum(quick.tiktok.spent.values()) == refreshes * (brings == "expiring")
        assert refreshes or quick.token()["access_token"] == given
        quick.later(hours=13)
    assert (REFRESH + "acme" in quick.secrets.secrets()) == (brings == "expiring")
    assert quick.tiktok.is_alive(quick.token()["access_token"])
    assert quick.logged() == [STORED, *[REFRESHED] * 2 * (brings == "expiring")]
