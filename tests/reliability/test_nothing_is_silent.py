"""For each way in which a token can stop working: one event that alerts, and one that says that it is over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from local.serving import Fault
from local.tiktok.answers import refused
from reliability.quick import QuickStage
from stage import REFRESH, TOKEN

Act = Callable[[QuickStage], object]


@dataclass(frozen=True)
class Way:
    """A way in which a token stops working, or is about to.

    Attributes:
        sentence: What happens.
        kind: The grant's kind.
        begin: Brings it about, 13 hours after the connection was made.
        alert: The one alert in all the runs of two days.
        mend: Puts it right.
        over: What is logged when it is over.
    """

    sentence: str
    kind: str
    begin: Act
    alert: str
    mend: Act
    over: tuple[str, ...]


def connect_again(stage: QuickStage) -> None:
    stage.later(minutes=1)
    kind = "expiring" if REFRESH + "acme" in stage.secrets.secrets() else "long-lived"
    assert stage.approve("acme", kind, any_account=True).status_code == 303


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
    return lambda stage: stage.secrets.add_version(prefix + "acme", stage.secrets.payloads(prefix + "acme")[0])


def unreadable(prefix: str) -> Act:
    return lambda stage: stage.secrets.deny("secretmanager.versions.access", prefix)


def cannot_store(stage: QuickStage) -> None:
    stage.secrets.add_fault(Fault("AddSecretVersion", times=None))


AGAIN = ("connection.stored", "connection.recovered")
WAYS = [
    Way("the advertiser cancels a long-lived grant", "long-lived", cancelled,
        "reauthorization.required", connect_again, AGAIN),
    Way("the advertiser cancels an expiring grant", "expiring", cancelled,
        "reauthorization.required", connect_again, AGAIN),
    *(
        Way(f"TikTok says {number} of a long-lived grant", "long-lived", refused_with(number),
            "reauthorization.required", mended_and_connected, AGAIN)
        for number in (40105, 40106, 40102, 40103, 40107)
    ),
    *(
        Way(f"TikTok says {number} of an expiring grant", "expiring", refused_with(number),
            "reauthorization.required", mended_and_connected, AGAIN)
        for number in (40105, 40106, 40103, 40107)
    ),
    *(
        Way(f"the account behind a grant that is {kind} is gone", kind, refused_with(40001, "", "user_info"),
            "reauthorization.required", mended_and_connected, AGAIN)
        for kind in ("expiring", "long-lived")
    ),
    *(
        Way(f"a token that is {kind} turns out to be another app's", kind,
            refused_with(40000, "the app_id is inconsistent with the token's app information"),
            "reauthorization.required", mended_and_connected, AGAIN)
        for kind in ("expiring", "long-lived")
    ),
    Way("refreshing fails for long", "expiring", tiktok_away("refresh_token"), "connection.failing", quiet,
        ("token.refreshed", "connection.recovered")),
    Way("verifying fails for long", "long-lived", tiktok_away("advertiser_get"), "connection.failing", quiet,
        ("connection.recovered",)),
    Way("the token secret of a long-lived grant is broken", "long-lived", broken(TOKEN), "secret.unreadable",
        restored(TOKEN), ("connection.recovered",)),
    Way("the refresh secret is broken", "expiring", broken(REFRESH), "secret.unreadable", restored(REFRESH),
        ("token.refreshed", "connection.recovered")),
    Way("the refresh secret answers 403", "expiring", unreadable(REFRESH), "secret.unreadable", quiet,
        ("token.refreshed", "connection.recovered")),
    Way("the token secret answers 403", "long-lived", unreadable(TOKEN), "secret.unreadable", quiet,
        ("connection.recovered",)),
    Way("a new token cannot be stored", "expiring", cannot_store, "token.unsaved", quiet, ("token.saved",)),
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.sentence)
def test_one_alert_and_one_notice_that_it_is_over_when(quick: QuickStage, way: Way) -> None:
    """However often the run comes, one alert; and one notice once it is mended."""
    quick.plant("acme", way.kind)
    quick.later(hours=13)
    way.begin(quick)
    for _ in range(16):
        quick.run()
        quick.later(hours=3)
    assert quick.alerts() == [way.alert]
    entry = next(entry for entry in quick.entries() if entry["event"] == way.alert)
    assert entry["connection"] == "acme"
    quick.news()
    way.mend(quick)
    for _ in range(2):
        quick.run()
    told = quick.news()
    if way.alert == "token.unsaved":
        told = [event for event in told if event != "token.refreshed"]  # two days later it is due again
    assert tuple(told) == way.over
    assert quick.labels()["health"] == "ok"
    assert quick.tiktok.is_alive(quick.token()["access_token"])


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


def complains(stage: QuickStage) -> None:
    refused_with(40100)(stage)


def takes_no_lease(stage: QuickStage) -> None:
    stage.secrets.add_fault(Fault("UpdateSecret", resource=TOKEN, times=None))


def takes_no_token(stage: QuickStage) -> None:
    """The refresh secret has the new grant; the secret that is read does not."""
    stage.secrets.add_fault(Fault("AddSecretVersion", resource=TOKEN, times=None))


BEHIND = {
    "TikTok gets too many calls": complains,
    "Secret Manager lets nobody hold the connection": takes_no_lease,
    "Secret Manager does not take the token": takes_no_token,
}


@pytest.mark.parametrize("begin", BEHIND.values(), ids=list(BEHIND))
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
    quick.plant("acme", "expiring", age_hours=13)
    quick.plant("lasting")
    refused_with(40101)(quick)
    quick.run()
    assert quick.events("ERROR", "CRITICAL") == ["run.stopped"]
    quick.ears.lines.clear()
    quick.tiktok.clear_faults()
    quick.run()
    assert quick.events() == ["token.refreshed", "run.finished"]
    assert quick.entries()[-1]["severity"] == "INFO"


def test_a_confirmation_that_could_not_be_kept(quick: QuickStage) -> None:
    """The callback alerts once; the next connection says that it is over."""
    cannot_store(quick)
    assert quick.approve("acme").status_code == 503
    assert quick.alerts() == ["token.unsaved"]
    quiet(quick)
    quick.news()
    quick.later(minutes=1)
    quick.connected("acme")
    assert quick.news() == ["connection.stored"]


class TestEnds:
    def ends(self, stage: QuickStage) -> list[int]:
        """The warnings given since the last look, in days."""
        found = [entry["days"] for entry in stage.entries() if entry["event"] == "refresh_token.ending"]
        stage.ears.lines.clear()
        return found

    def test_a_refresh_token_is_warned_of_five_times(self, quick: QuickStage) -> None:
        """30, 14, 7, 3 and 1 days before, once each; then one alert that it has ended; then nothing."""
        quick.tiktok.accounts.refresh_seconds = 40 * 86_400
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
        quick.tiktok.accounts.access_seconds = 400 * 86_400
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

    def test_connecting_again_begins_anew(self, quick: QuickStage) -> None:
        """After a re-connection the warnings start over with the new end."""
        quick.tiktok.accounts.refresh_seconds = 10 * 86_400
        for _ in range(2):
            quick.later(hours=1)
            quick.connected("acme", "expiring")
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
