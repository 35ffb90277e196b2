"""For each way in which a token can stop working: one event that alerts, and one that says that it is over.

Reliability line 14, promise 9. What is shown here is all that `tokenkeeper.events` says of alerts and of their ends.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from emulators.serving import Fault
from reliability.direct import Moment
from reliability.quick import (
    FALTERING,
    RECOVERED,
    REFRESHED,
    SAVED,
    STORED,
    QuickStage,
    assert_well,
    code,
    each,
    fault,
    not_permitted,
)
from stage import REFRESH, TOKEN
from tokenkeeper import clock
from tokenkeeper.events import EVENTS

Act = Callable[[QuickStage], object]
EXPIRING, LONG_LIVED, ACCOUNT, FOREVER_ACCOUNT = "expiring", "long-lived", "account", "account-long-lived"
REFRESHING = ("refresh_token", "account_refresh_token")
VERIFYING = ("advertiser_get", "account_token_info")
RUNS = 9  # in two days, every six hours


@dataclass(frozen=True)
class Way:
    """A way in which a token stops working, or is about to."""

    kind: str  # of the grant
    begin: Act  # brings it about, 13 hours after the grant was stored
    logged: tuple[str, ...]  # all that is logged of it in the runs of two days, the alert last
    fix: Act  # puts it right
    over: tuple[str, ...]  # all that is logged when it is over, with the one entry that says so
    times: int = 1  # in how many of these runs it is said: more than one, where no secret can be marked with it

    @property
    def alert(self) -> str:
        return self.logged[-1].partition(" ")[2]

    @property
    def end(self) -> str:
        if self.logged == BEHIND:
            return "run.finished"
        return (RECOVERED if RECOVERED in self.over else self.over[-1]).partition(" ")[2]


def plant(stage: QuickStage, kind: str) -> None:
    family, kind = ("account", EXPIRING if kind == ACCOUNT else LONG_LIVED) if ACCOUNT in kind else ("advertiser", kind)
    stage.plant("acme", kind, family=family)  # type: ignore[arg-type]


def connect_again(stage: QuickStage) -> None:
    stage.quiet()
    stage.later(minutes=1)
    given = stage.tiktok.grants[-1]
    if given.family == "advertiser":
        assert stage.approve("acme", given.kind, any_account=True).status_code == 303
        return
    if stage.labels()["kind"] == LONG_LIVED:
        stage.tiktok.override_answer("account_token", omit=["refresh_token", "expires_in", "refresh_token_expires_in"])
    assert stage.approve("acme", any_account=True, family="account").status_code == 303


def revoked(stage: QuickStage) -> None:
    stage.tiktok.revoke(stage.token()["access_token"])


def refused(number: int) -> Act:
    return lambda stage: [code(number)(stage, call) for call in (*REFRESHING, *VERIFYING)]


def away(*calls: str) -> Act:
    return lambda stage: [fault(status=503, body=b"")(stage, call) for call in calls]


def no_permission_and_dead(stage: QuickStage) -> None:
    not_permitted(code(40105))(stage, "refresh_token")


def emptied(stage: QuickStage) -> None:
    stage.tiktok.set_advertisers(stage.token()["access_token"], [])


def listed_again(stage: QuickStage) -> None:
    stage.tiktok.set_advertisers(stage.token()["access_token"], stage.token()["advertiser_ids"])


def broken(prefix: str) -> Act:
    return lambda stage: stage.secrets.add_version(prefix + "acme", b"oops")


def restored(prefix: str) -> Act:
    return lambda stage: stage.secrets.add_version(prefix + "acme", stage.secrets.payloads(prefix + "acme")[-2])


def unreadable(prefix: str) -> Act:
    return lambda stage: stage.secrets.deny("secretmanager.versions.access", prefix)


def deleted(prefix: str) -> Act:
    return lambda stage: stage.secrets.delete(prefix + "acme")


def refuses(call: str, resource: str = "") -> Act:
    return lambda stage: stage.secrets.add_fault(Fault(call, resource, times=None))


REQUIRED, UNREADABLE, FAILS = (
    ("ERROR reauthorization.required",),
    ("ERROR secret.unreadable",),
    "ERROR connection.failing",
)
FAILING, EMPTY, ENDING = (FALTERING, FAILS), "ERROR connection.empty", "ERROR refresh_token.ending"
UNSAVED, BEHIND, DELETED = ("CRITICAL token.unsaved",), ("ERROR run.behind",), ("ERROR secret.deleted",)
AGAIN = (RECOVERED, STORED)
quiet = QuickStage.quiet
WAYS = {
    "the advertiser revokes a long-lived grant": Way(LONG_LIVED, revoked, REQUIRED, connect_again, AGAIN),
    "the advertiser revokes an expiring grant": Way(EXPIRING, revoked, REQUIRED, connect_again, AGAIN),
    "the holder of a TikTok account revokes": Way(ACCOUNT, revoked, REQUIRED, connect_again, AGAIN),
    "the holder of a TikTok account revokes a grant without a refresh token":
        Way(FOREVER_ACCOUNT, revoked, REQUIRED, connect_again, AGAIN),
    "a long-lived token expires": Way(LONG_LIVED, refused(40102), REQUIRED, connect_again, AGAIN),
    "the user behind a long-lived grant is gone":
        Way(LONG_LIVED, no_permission_and_dead, REQUIRED, connect_again, AGAIN),
    "the user behind an expiring grant is gone": Way(EXPIRING, no_permission_and_dead, REQUIRED, connect_again, AGAIN),
    "refreshing fails for long": Way(EXPIRING, away(*REFRESHING), FAILING, quiet, (RECOVERED,)),
    "refreshing a TikTok account's fails for long":
        Way(ACCOUNT, away(*REFRESHING), FAILING, quiet, (RECOVERED,)),
    "verifying fails for long": Way(LONG_LIVED, away(*VERIFYING), FAILING, quiet, (RECOVERED,)),
    "TikTok refuses the app or this advertiser for long":
        Way(LONG_LIVED, refused(40119), FAILING, quiet, (RECOVERED,)),
    "a long-lived token reaches no advertiser": Way(LONG_LIVED, emptied, (EMPTY,), listed_again, (RECOVERED,)),
    "an expiring token reaches no advertiser": Way(EXPIRING, emptied, (EMPTY,), listed_again, (RECOVERED,)),
    "the token secret of a long-lived grant is broken":
        Way(LONG_LIVED, broken(TOKEN), UNREADABLE, restored(TOKEN), (RECOVERED,)),
    "the refresh secret is broken":
        Way(EXPIRING, broken(REFRESH), UNREADABLE, restored(REFRESH), (RECOVERED,)),
    "the refresh secret answers 403": Way(EXPIRING, unreadable(REFRESH), UNREADABLE, quiet, (RECOVERED,)),
    "the token secret answers 403": Way(LONG_LIVED, unreadable(TOKEN), UNREADABLE, quiet, (RECOVERED,)),
    "the token secret is deleted": Way(EXPIRING, deleted(TOKEN), DELETED, connect_again, (STORED,), RUNS),
    "the refresh secret is deleted": Way(EXPIRING, deleted(REFRESH), (ENDING, *REQUIRED), connect_again, AGAIN),
    "a new token cannot be stored": Way(EXPIRING, refuses("AddSecretVersion"), UNSAVED, quiet, (SAVED,), RUNS),
    "TikTok gets too many calls": Way(EXPIRING, refused(40100), BEHIND, quiet, (), RUNS - 1),
    "Secret Manager lets nobody hold the connection":
        Way(EXPIRING, refuses("UpdateSecret", TOKEN), BEHIND, quiet, (), RUNS - 1),
    "Secret Manager does not take the token":
        Way(EXPIRING, refuses("AddSecretVersion", TOKEN), BEHIND, quiet, (), RUNS - 1),
}  # fmt: skip
SHOWN_ELSEWHERE = {
    ("run.stopped", "run.finished"),  # in `test_refresh_faults`, by a wrong app secret
    ("token.unsaved", "connection.stored"),  # in `test_callback_faults`, by a store that takes nothing
    ("connection.other_app", "connection.recovered"),  # below
    ("refresh_token.ending", "connection.stored"),  # below
}


@each("way", WAYS, "a new token cannot be stored", "Secret Manager does not take the token")
def test_each_time_one_alert_and_one_entry_that_it_is_over_when(quick: QuickStage, way: Way) -> None:
    """However often the runs come one alert, and one notice once it is fixed; and the same when it happens again."""
    plant(quick, way.kind)
    for hours in (13, 7):  # the last runs below refreshed it six hours ago
        quick.later(hours=hours)
        quick.logged()
        way.begin(quick)
        assert logged_in_runs(quick, RUNS) == [*way.logged[:-1], *[way.logged[-1]] * way.times]
        way.fix(quick)
        assert logged_in_runs(quick, 2, hours=0, status=200) == [*way.over]
        assert quick.labels()["health"] == "ok"
        assert quick.tiktok.is_alive(quick.token()["access_token"])
        refreshes = sum(quick.tiktok.spent.values())
        assert logged_in_runs(quick, 3, status=200) == []
        assert sum(quick.tiktok.spent.values()) - refreshes == (way.kind in {EXPIRING, ACCOUNT})


def logged_in_runs(stage: QuickStage, runs: int, hours: int = 6, status: int | None = None) -> list[str]:
    """What is logged from now on, refreshes left out; what alerts names the connection. All end with that status."""
    for _ in range(runs):
        assert stage.run()[0] == status or status is None
        stage.later(hours=hours)
    for entry in stage.entries():
        if entry["severity"] in {"ERROR", "CRITICAL"}:
            assert entry["connections"] == ["acme"] if "connections" in entry else entry["connection"] == "acme"
    return [entry for entry in stage.logged() if entry != REFRESHED]


def test_each_alert_about_tokens_is_shown_here_with_what_says_that_it_is_over() -> None:
    """`EVENTS` names them all, and for each of them what these tests end with."""
    shown = {(way.alert, way.end) for way in WAYS.values()} | SHOWN_ELSEWHERE
    assert shown == {(event.name, end) for event in EVENTS.values() for end in event.ended_by}
    alerting = {event.name for event in EVENTS.values() if {"ERROR", "CRITICAL"} & {*event.severities}}
    others = {"connection.refused", "connection.changed", "settings.invalid", "defect"}  # of one moment
    assert {alert for alert, _ in shown} == alerting - others
    assert {end for _, end in shown} <= EVENTS.keys()


def test_connections_of_another_app_are_named_in_each_run_and_each_recovers_once(quick: QuickStage) -> None:
    """One alert a run for all of them together, no call about them, and one notice for each when it is over."""
    quick.plant("acme", "expiring")
    quick.plant("lasting")
    for _ in range(2):
        quick.later(hours=13)
        quick.new_instances(TIKTOK_APP_ID="7000000000000000999")
        for _ in range(3):
            status, summary = quick.run()
            assert (status, summary["failing"], summary["attention"]) == (200, 2, ["acme", "lasting"])
            [alert] = [entry for entry in quick.entries() if entry["severity"] == "ERROR"]
            assert alert["connections"] == ["acme", "lasting"]
            assert quick.logged() == ["ERROR connection.other_app"]
            assert quick.tiktok.calls == []
        quick.new_instances(TIKTOK_APP_ID=quick.tiktok.app_id)
        for logged in ([REFRESHED, RECOVERED, RECOVERED], []):
            assert quick.run()[0] == 200
            assert sorted(quick.logged()) == logged
        assert_well(quick)
        quick.tiktok.forget_calls()
    assert quick.secrets.count("UpdateSecret", TOKEN + "lasting") == 2 * 4, "when it begins, and when it is over"


def test_a_connection_that_fails_already_is_told_to_belong_to_another_app(quick: QuickStage) -> None:
    """`make status` then says what helps, and not that every run tries again."""
    quick.plant("acme")
    quick.tiktok.add_fault(Fault("advertiser_get", do="drop", times=None))
    quick.run()
    assert quick.labels()["health"] == "failing"
    quick.new_instances(TIKTOK_APP_ID="7000000000000000999")
    quick.run()
    assert quick.annotations()["last-error"].startswith("other_app")


# What is approved, and whether TikTok tells the token's end when it comes: it is no refresh that shows it.
ENDING_GRANTS: dict[str, tuple[Act, bool]] = {
    "an advertiser's refresh token": (lambda stage: stage.approve("acme", "expiring"), False),
    "an account's refresh token": (lambda stage: stage.approve("acme", family="account"), False),
    "a token without a refresh token": (lambda stage: stage.approve("acme", "long-lived"), True),
}


class TestEnds:
    def ends(self, stage: QuickStage) -> list[int]:
        """The warnings given since the last look, in days."""
        found = [entry["days"] for entry in stage.entries() if entry["event"] == "refresh_token.ending"]
        stage.logged()
        return found

    def test_is_warned_of_while_it_fails(self, quick: QuickStage) -> None:
        """That a refresh fails says nothing of the end; the warning is given once, and it stays failing."""
        quick.tiktok.options = replace(quick.tiktok.options, refresh_seconds=10 * 86_400)
        quick.approve("acme", "expiring")
        quick.later(hours=13)
        quick.tiktok.fail_next("refresh_token", 50000, times=None)
        for warned in ([14], []):
            quick.run()
            assert (self.ends(quick), quick.labels()["health"]) == (warned, "failing")

    @each("grant", ENDING_GRANTS)
    def test_is_warned_of_five_times(self, quick: QuickStage, grant: tuple[Act, bool]) -> None:
        """30, 14, 7, 3 and 1 days before, once each; then one alert that it has ended; then nothing."""
        approve, of_its_own = grant
        quick.tiktok.options = replace(quick.tiktok.options, refresh_seconds=40 * 86_400)
        if of_its_own:
            quick.tiktok.override_answer("access_token", {"expires_in": 40 * 86_400})
        approve(quick)
        assert quick.labels()["kind"] == "expiring"
        warned: list[tuple[int, int]] = []
        for half_day in range(2 * 40 + 1):
            quick.run()
            assert "reauthorization.required" not in quick.events()
            warned += [(days, 40 - half_day // 2) for days in self.ends(quick)]
            quick.later(hours=11, minutes=58)
        assert [days for days, _ in warned] == [30, 14, 7, 3, 1]
        assert all(left - 1 <= days <= left for days, left in warned)
        if of_its_own:
            quick.tiktok.fail_token(quick.token()["access_token"], 40102)
        for _ in range(6):
            quick.later(hours=12)
            quick.run()
        assert quick.alerts() == ["reauthorization.required"]

    def test_connecting_again_is_the_end_of_it(self, quick: QuickStage) -> None:
        """One notice says that the connection was made again; the warnings start over with the new end."""
        quick.tiktok.options = replace(quick.tiktok.options, refresh_seconds=10 * 86_400)
        for _ in range(2):
            quick.later(hours=1)
            quick.connected("acme", "expiring")
            assert quick.logged() == [STORED]
            quick.run()
            quick.later(days=4)
            quick.run()
            assert self.ends(quick) == [14, 7]

    def test_is_not_warned_of_where_somebody_connects_again_meanwhile(self, quick: QuickStage) -> None:
        """What renews itself by now ends in a day as well, and nobody need do anything about it."""
        quick.plant("acme")
        end = clock.text(clock.now() + timedelta(days=6))
        quick.secrets.edit(TOKEN + "acme", labels={"holds": None}, annotations={"expires-at": end})
        quick.wire.at(Moment("advertiser_get", after=True), lambda: quick.connected("acme", "expiring"))
        quick.later(minutes=1)
        assert quick.run()[1]["verified"] == 1
        assert (quick.labels()["kind"], self.ends(quick)) == ("expiring", [])
        assert_well(quick)
