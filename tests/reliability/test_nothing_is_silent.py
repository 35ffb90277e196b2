"""For each way in which a token can stop working: one event that alerts, and one that says that it is over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from local.serving import Fault
from local.tiktok.answers import refused
from readme.page import quoted, table
from reliability.quick import QuickStage
from stage import REFRESH, TOKEN

Act = Callable[[QuickStage], object]


@dataclass(frozen=True)
class Way:
    """A way in which a token stops working, or is about to.

    Attributes:
        sentence: What happens.
        kind: The grant's kind.
        begin: Brings it about, 13 hours after the grant was stored.
        told: All that is told of it in the runs of two days, the one alert last; it may be announced by another one.
        mend: Puts it right.
        over: All that is told when it is over, the one thing that says so last.
    """

    sentence: str
    kind: str
    begin: Act
    told: tuple[str, ...]
    mend: Act
    over: tuple[str, ...]


def connect_again(stage: QuickStage) -> None:
    stage.later(minutes=1)
    assert stage.approve("acme", stage.tiktok.grants[-1].kind, any_account=True).status_code == 303


def cancelled(stage: QuickStage) -> None:
    stage.tiktok.revoke(stage.token()["access_token"])


def tiktok_away(*calls: str) -> Act:
    def act(stage: QuickStage) -> None:
        for call in calls:
            stage.tiktok.add_fault(Fault(call, times=None, status=503, body=b""))

    return act


def quiet(stage: QuickStage) -> None:
    stage.tiktok.clear_faults()
    stage.secrets.clear_faults()
    stage.secrets.allow_all()


def refused_with(number: int, message: str = "", *also: str) -> Act:
    def act(stage: QuickStage) -> None:
        for call in ("refresh_token", "advertiser_get", *also):
            stage.tiktok.add_fault(Fault(call, times=None, status=200, body=refused(number, message)))

    return act


def mended_and_connected(stage: QuickStage) -> None:
    quiet(stage)
    connect_again(stage)


def broken(prefix: str) -> Act:
    return lambda stage: stage.secrets.add_version(prefix + "acme", b"oops")


def restored(prefix: str) -> Act:
    return lambda stage: stage.secrets.add_version(prefix + "acme", stage.secrets.payloads(prefix + "acme")[-2])


def unreadable(prefix: str) -> Act:
    return lambda stage: stage.secrets.deny("secretmanager.versions.access", prefix)


def cannot_store(stage: QuickStage) -> None:
    stage.secrets.add_fault(Fault("AddSecretVersion", times=None))


def deleted(prefix: str) -> Act:
    return lambda stage: stage.secrets.delete(prefix + "acme")


def complains(stage: QuickStage) -> None:
    refused_with(40100)(stage)


def takes_no_lease(stage: QuickStage) -> None:
    stage.secrets.add_fault(Fault("UpdateSecret", resource=TOKEN, times=None))


def takes_no_token(stage: QuickStage) -> None:
    """The refresh secret has the new grant; the secret that is read does not."""
    stage.secrets.add_fault(Fault("AddSecretVersion", resource=TOKEN, times=None))


EXPIRING, LONG_LIVED = "expiring", "long-lived"
REFRESHED, STORED = "INFO token.refreshed", "NOTICE connection.stored"
RECOVERED, SAVED = "NOTICE connection.recovered", "NOTICE token.saved"
REQUIRED, UNREADABLE = ("ERROR reauthorization.required",), ("ERROR secret.unreadable",)
FAILING = ("WARNING connection.faltering", "ERROR connection.failing")
ENDING = "ERROR refresh_token.ending"
UNSAVED, BEHIND, DELETED = ("CRITICAL token.unsaved",), ("ERROR run.behind",), ("ERROR secret.deleted",)
AGAIN = (STORED, RECOVERED)
NO_APP = "the app_id is inconsistent with the token's app information"
WAYS = [
    Way("the advertiser cancels a long-lived grant", LONG_LIVED, cancelled, REQUIRED, connect_again, AGAIN),
    Way("the advertiser cancels an expiring grant", EXPIRING, cancelled, REQUIRED, connect_again, AGAIN),
    *(
        Way(f"TikTok says {number} of a long-lived grant", LONG_LIVED, refused_with(number), REQUIRED,
            mended_and_connected, AGAIN)
        for number in (40105, 40106, 40102, 40103, 40107)
    ),
    *(
        Way(f"TikTok says {number} of an expiring grant", EXPIRING, refused_with(number), REQUIRED,
            mended_and_connected, AGAIN)
        for number in (40105, 40106, 40103, 40107)
    ),
    *(
        Way(f"the account behind a grant that is {kind} is gone", kind, refused_with(40001, "", "user_info"), REQUIRED,
            mended_and_connected, AGAIN)
        for kind in (EXPIRING, LONG_LIVED)
    ),
    *(
        Way(f"a token that is {kind} turns out to be another app's", kind, refused_with(40000, NO_APP), REQUIRED,
            mended_and_connected, AGAIN)
        for kind in (EXPIRING, LONG_LIVED)
    ),
    Way("refreshing fails for long", EXPIRING, tiktok_away("refresh_token"), FAILING, quiet, (REFRESHED, RECOVERED)),
    Way("verifying fails for long", LONG_LIVED, tiktok_away("advertiser_get"), FAILING, quiet, (RECOVERED,)),
    Way("the token secret of a long-lived grant is broken", LONG_LIVED, broken(TOKEN), UNREADABLE, restored(TOKEN),
        (RECOVERED,)),
    Way("the refresh secret is broken", EXPIRING, broken(REFRESH), UNREADABLE, restored(REFRESH),
        (REFRESHED, RECOVERED)),
    Way("the refresh secret answers 403", EXPIRING, unreadable(REFRESH), UNREADABLE, quiet, (REFRESHED, RECOVERED)),
    Way("the token secret answers 403", LONG_LIVED, unreadable(TOKEN), UNREADABLE, quiet, (RECOVERED,)),
    Way("the token secret is deleted", EXPIRING, deleted(TOKEN), DELETED, connect_again, (STORED,)),
    Way("the refresh secret is deleted", EXPIRING, deleted(REFRESH), (ENDING, *REQUIRED), connect_again, AGAIN),
    Way("a new token cannot be stored", EXPIRING, cannot_store, UNSAVED, quiet, (SAVED,)),
    Way("TikTok gets too many calls", EXPIRING, complains, BEHIND, quiet, (REFRESHED,)),
    Way("Secret Manager lets nobody hold the connection", EXPIRING, takes_no_lease, BEHIND, quiet, (REFRESHED,)),
    Way("Secret Manager does not take the token", EXPIRING, takes_no_token, BEHIND, quiet, ()),
]  # fmt: skip


SHOWN_BELOW = {
    ("run.stopped", "run.finished"),
    ("connection.other_app", "connection.recovered"),
    ("token.unsaved", "connection.stored"),
    ("refresh_token.ending", "connection.stored"),
}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.sentence)
def test_each_time_one_alert_and_one_word_that_it_is_over_when(quick: QuickStage, way: Way) -> None:
    """However often the runs come one alert, and one notice once it is mended; and the same when it happens again."""
    quick.plant("acme", way.kind)
    for _ in range(2):
        quick.later(hours=13)
        quick.told()
        way.begin(quick)
        assert told_in_runs(quick, 9) == [*way.told]
        way.mend(quick)
        over = told_in_runs(quick, 2, hours=0, status=200)
        if way.told in {UNSAVED, BEHIND} and REFRESHED not in way.over:
            over.remove(REFRESHED)  # what is there is two days old, so it is due again
        assert over == [*way.over]
        assert quick.labels()["health"] == "ok"
        assert quick.tiktok.is_alive(quick.token()["access_token"])
        assert told_in_runs(quick, 3, status=200) == ([REFRESHED] if way.kind == EXPIRING else [])


def told_in_runs(stage: QuickStage, runs: int, hours: int = 6, status: int | None = None) -> list[str]:
    """What is told from now on, with severities; what alerts names the connection. All runs end with that status."""
    for _ in range(runs):
        assert stage.run()[0] == status or status is None
        stage.later(hours=hours)
    for entry in stage.entries():
        if entry["severity"] in {"ERROR", "CRITICAL"}:
            assert entry["connections"] == ["acme"] if "connections" in entry else entry["connection"] == "acme"
    return stage.told()


def test_each_alert_about_tokens_is_shown_here_with_what_says_that_it_is_over() -> None:
    """README.md names them all, and for each of them what these tests end with."""
    shown = {
        (_event(way.told[-1]), "run.finished" if way.told == BEHIND else _event(way.over[-1])) for way in WAYS
    } | SHOWN_BELOW
    named = {(alert, over) for alerts, overs in table("over") for alert in quoted(alerts) for over in quoted(overs)}
    assert named == shown
    alerting = {
        quoted(event)[0] for event, severity, *_ in table("events") if {"ERROR", "CRITICAL"} & {*severity.split(", ")}
    }
    assert {alert for alert, _ in shown} == alerting - {"connection.refused", "settings.invalid", "defect"}


def _event(told: str) -> str:
    return told.partition(" ")[2]


def test_an_expiring_token_that_cannot_be_refreshed_is_alerted_of_three_hours_before_its_end(quick: QuickStage) -> None:
    """First a warning; the alert when fewer than three hours are left; never another."""
    quick.plant("acme", "expiring")
    quick.later(hours=12, minutes=5)
    tiktok_away("refresh_token")(quick)
    quick.run()
    assert quick.news() == ["connection.faltering"]
    for _ in range(17):
        quick.later(minutes=30)
        quick.run()
        assert quick.news() == []
    quick.later(minutes=30)
    quick.run()
    assert quick.news() == ["connection.failing"]
    quick.later(hours=30)
    quick.run()
    assert quick.news() == []


LATE = {
    "TikTok gets too many calls": complains,
    "Secret Manager lets nobody hold the connection": takes_no_lease,
    "Secret Manager does not take the token": takes_no_token,
}


@pytest.mark.parametrize("begin", LATE.values(), ids=list(LATE))
def test_no_token_ends_unheard_of_because_of_what_its_connection_is_not_to_blame_for_as_when(
    quick: QuickStage, begin: Act
) -> None:
    """Of four runs a day, the last that comes before its end alerts, once; once a run goes through, that is all."""
    quick.plant("acme", "expiring")
    quick.later(hours=12)
    begin(quick)
    for minutes, events in ((0, []), (5, []), (355, ["run.behind"]), (5, [])):  # as Cloud Scheduler comes
        quick.later(minutes=minutes)
        assert quick.run()[0] == 503
        behind = [entry["connections"] for entry in quick.entries() if entry["event"] == "run.behind"]
        assert behind == [["acme"] for _ in events]
        assert quick.news() == events
        assert quick.labels()["health"] == "ok"
    quiet(quick)
    assert quick.run()[0] == 200
    assert set(quick.news()) <= {"token.refreshed"}
    assert quick.tiktok.is_alive(quick.token()["access_token"])
    assert quick.run()[0] == 200
    assert quick.news() == []


def test_what_a_run_has_no_time_for_is_alerted_of_before_it_ends(quick: QuickStage) -> None:
    """Tokens for which the budget was too short are named once; each run gets to some of them."""
    for number in range(9):
        quick.plant(f"acme-{number}", "expiring", age_hours=22)
    quick.new_instances(TIKTOK_MAX_QPS="0.5", RUN_BUDGET_SECONDS="3")
    named: list[str] = []
    while quick.run()[0] == 503:
        told = [entry for entry in quick.entries() if entry["event"] == "run.behind"]
        named += [name for entry in told for name in entry["connections"]]
        quick.ears.lines.clear()
    assert len(named) > 2
    assert len(set(named)) == len(named)


def test_a_token_of_unknown_lifetime_that_is_not_reached_is_alerted_of(quick: QuickStage) -> None:
    """Where TikTok named no lifetime, it is taken for a day, as for refreshing."""
    quick.plant("acme", "expiring", age_hours=13)
    quick.tiktok.override_answer("refresh_token", omit=["expires_in"], times=1)
    assert quick.run()[0] == 200
    complains(quick)
    quick.later(hours=17)
    assert quick.run()[0] == 503
    assert quick.news() == ["token.refreshed"]
    quick.later(hours=1)
    assert quick.run()[0] == 503
    assert quick.news() == ["run.behind"]


def test_who_was_alerted_of_is_not_said_to_be_behind(quick: QuickStage) -> None:
    """A connection that is failing, or needs a person, has had its alert."""
    quick.plant("acme", "expiring", age_hours=22)
    tiktok_away("refresh_token")(quick)
    quick.run()
    assert quick.news() == ["connection.failing"]
    quick.tiktok.clear_faults()
    complains(quick)
    assert quick.run()[0] == 503
    assert quick.news() == []


def test_a_run_beside_one_that_is_slow_does_not_speak_for_it(quick: QuickStage) -> None:
    """Who finds a connection held by somebody alive leaves it to them to say what comes of it."""
    quick.plant("acme", "expiring", age_hours=22)
    quick.secrets.add_fault(Fault("AddSecretVersion", times=18))
    quick.run_beside_another()
    assert quick.news() == ["token.refreshed"]


def test_an_app_that_is_refused_stops_the_run_and_the_next_that_goes_through_says_so(quick: QuickStage) -> None:
    """One alert a run for all connections together; afterwards the run's own entry says that it went through."""
    quick.plant("acme", "expiring")
    quick.plant("lasting")
    for _ in range(2):
        quick.later(hours=13)
        refused_with(40101)(quick)
        for _ in range(3):
            assert quick.run()[0] == 500
            assert quick.told() == ["CRITICAL run.stopped"]
        quick.tiktok.clear_faults()
        assert quick.run()[0] == 200
        assert [(entry["severity"], entry["event"]) for entry in quick.entries()] == [
            ("INFO", "token.refreshed"),
            ("INFO", "run.finished"),
        ]
        quick.told()


def test_connections_of_another_app_are_named_in_each_run_and_each_recovers_once(quick: QuickStage) -> None:
    """One alert a run for all of them together, and one notice for each when the app is set again."""
    quick.plant("acme")
    quick.plant("lasting")
    for _ in range(2):
        quick.new_instances(TIKTOK_APP_ID="7000000000000000999")
        for _ in range(3):
            assert quick.run()[0] == 200
            [alert] = [entry for entry in quick.entries() if entry["severity"] == "ERROR"]
            assert alert["connections"] == ["acme", "lasting"]
            assert quick.told() == ["ERROR connection.other_app"]
        quick.new_instances(TIKTOK_APP_ID=quick.tiktok.app_id)
        for events in ([RECOVERED] * 2, []):
            assert quick.run()[0] == 200
            assert quick.told() == events


def test_a_confirmation_that_could_not_be_kept(quick: QuickStage) -> None:
    """The callback alerts once; the next connection says that it is over."""
    for _ in range(2):
        quick.later(minutes=1)
        cannot_store(quick)
        assert quick.approve("acme").status_code == 503
        assert quick.told() == [*UNSAVED]
        quiet(quick)
        quick.later(minutes=1)
        quick.connected("acme")
        assert quick.told() == [STORED]


class TestEnds:
    def ends(self, stage: QuickStage) -> list[int]:
        """The warnings given since the last look, in days."""
        found = [entry["days"] for entry in stage.entries() if entry["event"] == "refresh_token.ending"]
        stage.ears.lines.clear()
        return found

    def test_a_refresh_token_is_warned_of_five_times(self, quick: QuickStage) -> None:
        """30, 14, 7, 3 and 1 days before, once each; then one alert that it has ended; then nothing."""
        quick.tiktok.options = replace(quick.tiktok.options, refresh_seconds=40 * 86_400)
        quick.connected("acme", "expiring")
        warned: list[tuple[int, int]] = []
        for half_day in range(2 * 40 + 1):
            quick.run()
            warned += [(days, 40 - half_day // 2) for days in self.ends(quick)]
            assert "reauthorization.required" not in quick.events()
            quick.later(hours=11, minutes=58)
        assert [days for days, _ in warned] == [30, 14, 7, 3, 1]
        assert all(left - 1 <= days <= left for days, left in warned)
        for _ in range(6):
            quick.later(hours=12)
            quick.run()
        assert quick.alerts() == ["reauthorization.required"]

    def test_runs_that_did_not_happen_are_not_made_up_for(self, quick: QuickStage) -> None:
        """After weeks without a run only the nearest warning is given."""
        quick.connected("acme", "expiring")
        quick.tiktok.options = replace(quick.tiktok.options, access_seconds=400 * 86_400)
        quick.later(hours=13)
        quick.run()
        quick.later(days=362)
        quick.run()
        quick.run()
        assert self.ends(quick) == [3]

    def test_a_token_with_a_lifetime_and_no_refresh_token(self, quick: QuickStage) -> None:
        """It is verified, warned of like a refresh token, and reported when it has ended."""
        quick.tiktok.override_answer("access_token", {"expires_in": 20 * 86_400})
        quick.connected("acme", "long-lived")
        assert quick.labels()["kind"] == "expiring"
        for _ in range(21):
            quick.later(hours=24)
            quick.run()
        assert self.ends(quick) == [30, 14, 7, 3, 1]
        quick.tiktok.fail_token(quick.token()["access_token"], 40102, times=None)
        for _ in range(3):
            quick.run()
        assert quick.alerts() == ["reauthorization.required"]

    def test_connecting_again_is_the_end_of_it(self, quick: QuickStage) -> None:
        """One notice says that the connection was made again; the warnings start over with the new end."""
        quick.tiktok.options = replace(quick.tiktok.options, refresh_seconds=10 * 86_400)
        for _ in range(2):
            quick.later(hours=1)
            quick.connected("acme", "expiring")
            assert quick.told() == [STORED]
            quick.run()
            quick.later(days=4)
            quick.run()
            assert self.ends(quick) == [14, 7]


def test_a_deleted_token_secret_is_alerted_of_and_named_in_attention(quick: QuickStage) -> None:
    """Its refresh secret is not touched; every run names it, and the first of an instance alerts of it."""
    quick.plant("acme", "expiring", age_hours=13)
    quick.secrets.delete(TOKEN + "acme")
    before = quick.secrets.payloads(REFRESH + "acme")
    for events in (["secret.deleted"], [], []):
        status, summary = quick.run()
        assert (status, summary["connections"], summary["attention"]) == (200, 0, ["acme"])
        assert quick.news() == events
    assert quick.secrets.payloads(REFRESH + "acme") == before
    assert quick.tiktok.calls == []
    connect_again(quick)
    assert quick.run()[1]["attention"] == []
    assert quick.news() == ["connection.stored"]


def test_a_token_secret_that_the_list_does_not_show_yet_is_not_taken_for_deleted(quick: QuickStage) -> None:
    """A late list may show a new connection's refresh secret before its token secret."""
    quick.plant("acme", "expiring", age_hours=13)
    quick.secrets.edit(REFRESH + "acme")
    quick.secrets.set_lag(lists=1, hide_first=True)
    status, summary = quick.run()
    assert (status, summary["refreshed"], summary["attention"]) == (200, 1, [])
    assert quick.news() == ["token.refreshed"]
