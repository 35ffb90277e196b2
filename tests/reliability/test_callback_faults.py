"""What Secret Manager can do during a callback, and what comes of it: nothing is spent that cannot be kept.

The calls are counted, not chosen. `connect` may read no version, so it cannot find one whose answer was lost: such a
write is made again, the same bytes on top of themselves.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import requests

from local.serving import Call, Fault
from reliability.quick import (
    AWAY,
    FORBIDDEN,
    LOST,
    OVER,
    THROTTLED,
    TROUBLES,
    QuickStage,
    clock_off_by,
    each,
    mostly_slow,
)
from stage import REFRESH, TOKEN

BUDGET = 50.0  # seconds; the default of CALLBACK_BUDGET_SECONDS
STORED, REFUSED = "NOTICE connection.stored", "ERROR connection.refused"
REFRESHED = "INFO token.refreshed"
INCOMPLETE, UNSAVED = "WARNING connection.incomplete", "CRITICAL token.unsaved"
ALWAYS: dict[str, dict[str, Any]] = {
    "it is forbidden": FORBIDDEN,
    "the answer is 503": AWAY,
    "the answer is 429": THROTTLED,
    "it is lost on its way": LOST,
}


@dataclass(frozen=True)
class Way:
    """What a callback brings, and what is stored before it."""

    brings: str
    over: str | None


WAYS = {
    "a first expiring grant": Way("expiring", None),
    "an expiring grant in place of its like": Way("expiring", "expiring"),
    "a first long-lived grant": Way("long-lived", None),
    "a long-lived grant in place of its like": Way("long-lived", "long-lived"),
    "a long-lived grant in place of an expiring one": Way("long-lived", "expiring"),
    "an expiring grant in place of a long-lived one": Way("expiring", "long-lived"),
}
# The first two ways have all kinds of calls; the other combinations are slow ones.
every_way = each("way", mostly_slow(WAYS, *list(WAYS)[:2]))
every_trouble = each("trouble", mostly_slow(ALWAYS, *list(ALWAYS)[:2]))


@dataclass(frozen=True)
class Point:
    """A call of a callback: its name, the beginning of its secret's name, and how many like it come before."""

    call: str
    secret: str
    before: int
    accepted: bool
    step: str

    def fault(self, connection: str, times: int | None, **trouble: Any) -> Fault:
        return Fault(self.call, f"/{self.secret}{connection}$", skip=self.before, times=times, **trouble)


class Approval:
    """Somebody who comes back from TikTok; what they bring is the newest grant there."""

    def __init__(self, stage: QuickStage, way: Way, connection: str = "acme") -> None:
        self.stage, self.way, self.connection = stage, way, connection
        if way.over:
            stage.plant(connection, way.over, age_hours=1)
        self.before = self.stored()
        self._browser = stage.browser()
        self.link = stage.link(connection)
        self._state = self._browser.begin(self.link)
        self.confirm()

    def confirm(self) -> None:
        """Confirm at TikTok, which gives a new code."""
        self._code = self.stage.code(self.way.brings)
        for server in (self.stage.secrets, self.stage.tiktok):
            server.forget_calls()
        self._began = self.stage.clocks.stopwatch()

    def come_back(self) -> requests.Response:
        answer = self._browser.come_back(self._code, self._state)
        assert self.stage.clocks.stopwatch() - self._began <= BUDGET
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
        token = self.stage.token(self.connection)
        assert token["access_token"] == self.given.access_token
        if self.way.brings == "expiring":
            assert self.stage.whole_grant(self.connection) == {
                **token,
                "refresh_token": self.given.refresh_token,
                "refresh_expires_at": self.stage.annotations(self.connection)["refresh-expires-at"],
            }
        annotations, labels = self.stage.annotations(self.connection), self.stage.labels(self.connection)
        assert (labels["kind"], labels["health"]) == (self.way.brings, "ok")
        assert annotations["obtained-at"] == token["obtained_at"]
        assert annotations["advertisers"] == ",".join(self.given.advertiser_ids)
        assert "connected-at" in annotations
        assert "lease" not in annotations

    def assert_completed(self) -> None:
        """After a run nothing is missing any more, and what a long-lived grant replaced is gone."""
        self.assert_kept()
        if self.way.brings == "long-lived":
            assert REFRESH + self.connection not in self.stage.secrets.secrets()
            names = json.loads(self.stage.annotations(self.connection).get("advertiser-names", "null"))
            assert names is None or names.keys() == set(self.given.advertiser_ids)


def points_of(stage: QuickStage, way: Way) -> list[Point]:
    """The calls to Secret Manager of a callback that is left alone, in the order in which they come."""
    approval = Approval(stage, way, "alone")
    assert approval.come_back().status_code == 303
    (exchanged,) = [call.at for call in stage.tiktok.calls if call.name == "access_token"]
    (stored,) = [call.at for call in stage.secrets.calls if _secret(call) == TOKEN and call.name == "AddSecretVersion"]
    seen: Counter[tuple[str, str]] = Counter()
    points = []
    for call in stage.secrets.calls:
        step = "preparing" if call.at < exchanged else "storing" if call.at <= stored else "afterwards"
        kind = (call.name, _secret(call))
        points.append(Point(*kind, seen[kind], call.status == 200, step))
        seen[kind] += 1
    assert stage.told() == [STORED]
    assert stage.token_calls() == 1
    return points


def _secret(call: Call) -> str:
    return call.resource.rpartition("/")[2].removesuffix("alone")


def cases(stage: QuickStage, way: Way, step: str) -> list[tuple[Point, Approval]]:
    """One connection for each call of a step, so that a single run shows what it makes of all of them."""
    points = [point for point in points_of(stage, way) if point.step == step]
    assert points
    return [(point, Approval(stage, way, f"acme-{number}")) for number, point in enumerate(points)]


@each("trouble", TROUBLES)
@each("times", mostly_slow({"once": 1, "three times": 3}, "three times"))
@every_way
def test_any_call_may_fail_in_passing(quick: QuickStage, way: Way, times: int, trouble: dict[str, Any]) -> None:
    """Whichever call fails once or three times, the code is exchanged once, the grant stored, and nobody alerted."""
    approvals = []
    for number, point in enumerate(points_of(quick, way)):
        approval = Approval(quick, way, f"acme-{number}")
        quick.secrets.add_fault(point.fault(approval.connection, times, **trouble))
        assert approval.come_back().status_code == 303, point
        quick.secrets.clear_faults()
        assert quick.token_calls() == 1, point
        assert quick.told() == [STORED], point
        approval.assert_kept()
        added = approval.added()
        once = dict.fromkeys([TOKEN, REFRESH] if way.brings == "expiring" else [TOKEN], 1)
        unheard_of = point.call == "AddSecretVersion" and point.accepted and trouble.get("when") == "after"
        again = {point.secret: 1 + times} if unheard_of else {}
        assert {kept: len(payloads) for kept, payloads in added.items()} == once | again, point
        assert all(len(set(payloads)) == 1 for payloads in added.values())
        approvals.append(approval)
    assert quick.run()[0] == 200
    assert (quick.told(), quick.token_calls()) == ([], 0)
    for approval in approvals:
        approval.assert_completed()


class TestAlways:
    @every_trouble
    @every_way
    def test_before_the_exchange(self, quick: QuickStage, way: Way, trouble: dict[str, Any]) -> None:
        """While it is not sure that it can be stored nothing is used up: reloading the page a minute later does it."""
        for point, approval in cases(quick, way, "preparing"):
            approval.confirm()
            quick.secrets.add_fault(point.fault(approval.connection, None, **trouble))
            page = approval.come_back()
            assert page.status_code == 503, point
            assert "Nothing was used up" in page.text
            assert (quick.tiktok.calls, quick.told()) == ([], [REFUSED]), point
            assert approval.stored() == approval.before
            if way.over:
                assert "lease" not in quick.annotations(approval.connection)
            quick.secrets.clear_faults()
            quick.later(minutes=1)
            approval._began = quick.clocks.stopwatch()
            assert approval.come_back().status_code == 303, point
            assert (quick.token_calls(), quick.told()) == (1, [STORED]), point
            approval.assert_kept()

    @every_trouble
    @every_way
    def test_storing(self, quick: QuickStage, way: Way, trouble: dict[str, Any]) -> None:
        """One alert, a page that says so, the old grant as it was; confirming anew makes the connection."""
        for point, approval in cases(quick, way, "storing"):
            if point.secret == TOKEN and way.brings == "expiring":
                continue  # see the next test
            approval.confirm()
            quick.secrets.add_fault(point.fault(approval.connection, None, **trouble))
            assert_not_kept(approval)
            assert approval.added() == {}, point
            quick.secrets.clear_faults()
            quick.later(minutes=5)
            assert quick.run()[0] == 200
            assert (quick.token_calls(), quick.told()) == (0, []), point
            assert approval.stored() == approval.before
            approval.confirm()
            assert approval.come_back().status_code == 303, point
            assert (quick.token_calls(), quick.told()) == (1, [STORED])
            approval.assert_kept()

    @every_trouble
    @each("over", OVER)
    def test_only_the_token_secret(self, quick: QuickStage, over: str | None, trouble: dict[str, Any]) -> None:
        """The page says that it was not kept, since readers have nothing of it; a run gives them what is kept.

        That is the next one; where an expiring grant was stored before, the one for which that is due.
        """
        approval = Approval(quick, Way("expiring", over))
        quick.secrets.add_fault(Fault("AddSecretVersion", f"/{TOKEN}", times=None, **trouble))
        assert_not_kept(approval)
        assert list(approval.added()) == [REFRESH]
        approval.given = quick.tiktok.grants[-1]
        quick.secrets.clear_faults()
        if over == "expiring":
            quick.later(minutes=5)
            quick.run()
            assert quick.token()["access_token"] == json.loads(approval.before[TOKEN][-1])["access_token"]
        quick.later(hours=11)
        assert quick.run()[0] == 200
        assert (quick.token_calls(), quick.told()) == (0, [])
        approval.assert_completed()

    @every_trouble
    @every_way
    def test_after_storing(self, quick: QuickStage, way: Way, trouble: dict[str, Any]) -> None:
        """The connection is made all the same, and the next run completes what could not be written down."""
        approvals: list[Approval] = []
        for point, approval in cases(quick, way, "afterwards"):
            quick.later(seconds=1)  # nobody confirms in the second in which the link was made
            approval.confirm()
            quick.secrets.add_fault(point.fault(approval.connection, None, **trouble))
            assert approval.come_back().status_code == 303, point
            quick.secrets.clear_faults()
            assert quick.token_calls() == 1
            assert quick.told() == ([STORED] if approvals else [INCOMPLETE, STORED])
            approvals.append(approval)
        assert len(approvals) == 2, "labels and annotations, then the advertisers' names"
        assert quick.run()[0] == 200
        assert (quick.token_calls(), quick.told()) == (0, [])
        for approval in approvals:
            approval.assert_completed()
            assert quick.browser().get(approval.link).status_code == 409, "its link works once"


def assert_not_kept(approval: Approval) -> None:
    """The whole budget was used; then one alert, a page that says so, and whatever readers had is untouched."""
    stage = approval.stage
    page = approval.come_back()
    assert page.status_code == 503
    assert "This confirmation could not be kept" in page.text
    assert stage.clocks.stopwatch() - approval._began > BUDGET - 1
    assert (stage.token_calls(), stage.told()) == (1, [UNSAVED])
    assert approval.stored().get(TOKEN) == approval.before.get(TOKEN)
    assert "lease" not in stage.annotations(approval.connection)


class TestClock:
    @each("minutes", {"behind": -10, "ahead": 10})
    @each("way", WAYS)
    def test_of_the_callback_is_off(self, quick: QuickStage, way: Way, minutes: int) -> None:
        """Ten minutes either way: what was stored last counts, and runs refresh it once in its time."""
        if way.over:
            quick.connected("acme", way.over)
            quick.later(minutes=5)
        link = quick.link("acme")
        with clock_off_by(minutes=minutes):
            browser = quick.browser()
            assert browser.come_back(quick.code(way.brings), browser.begin(link)).status_code == 303
        given = quick.tiktok.grants[-1].access_token
        for _ in range(2):
            assert quick.run()[0] == 200
            assert quick.token()["access_token"] == given
        assert (REFRESH + "acme" in quick.secrets.secrets()) == (way.brings == "expiring")
        assert quick.tiktok.count("refresh_token") == 0
        for days in (1, 2):
            quick.later(hours=13)
            for _ in range(2):
                assert quick.run()[0] == 200
            assert quick.tiktok.count("refresh_token") == (days if way.brings == "expiring" else 0)
        assert quick.tiktok.is_alive(quick.token()["access_token"])
        assert quick.tiktok.reused == []
        assert quick.told() == [STORED] * (2 if way.over else 1) + [REFRESHED] * 2 * (way.brings == "expiring")
        assert (quick.labels()["kind"], quick.labels()["health"]) == (way.brings, "ok")
