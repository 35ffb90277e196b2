"""Each thing that can happen to a connection: its new state, and the log entries that a person gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tokenkeeper import clock, payload, transitions
from tokenkeeper.connection import LARGEST_ADVERTISERS, Connection, Problem
from tokenkeeper.grant import Grant
from tokenkeeper.transitions import LARGEST_NAMES, Change
from unit.parts import (
    DAY,
    NOON,
    connected,
    expiring,
    long_lived,
    of_account,
    refreshable,
    response,
)

EMPTY = Connection("acme", {"connection": "acme"}, {})
LATER = NOON + timedelta(days=1)
MANY = tuple(str(7_000_000_000_000_000_000 + number) for number in range(5000))
PROBLEM = Problem("transient", 50000, "R1")


def said(change: Change) -> list[tuple[str, str]]:
    """The events and severities of a change's entries."""
    return [(entry.event, entry.severity) for entry in change.entries]


def failing(kind: str = "transient", *, alerted: bool = False, since: datetime = NOON) -> Connection:
    """A connection that has been failing since then."""
    text = str(Problem(kind, alerted=alerted))
    made = connected(expiring(), failing_since=clock.text(since), last_error=text)
    return made.with_(labels={"health": "failing"})


def ended() -> Connection:
    """A connection whose access has ended at TikTok."""
    made = connected(expiring(), failing_since=clock.text(NOON), last_error="reauthorize 40105 R1")
    return made.with_(labels={"health": "reauthorize"})


class TestConnected:
    def test_a_long_lived_grant(self) -> None:
        """Only what there is to say is said: no ends, no problem, no warning."""
        at = NOON + timedelta(milliseconds=123, microseconds=999)
        made, entries = transitions.connected(EMPTY, long_lived(), at, "link-1", {"client": "x"})
        assert entries == ()
        assert made.labels == {
            "managed-by": "tiktok-token-keeper",
            "holds": "token",
            "connection": "acme",
            "family": "advertiser",
            "kind": "long-lived",
            "health": "ok",
            "client": "x",
        }
        assert made.annotations == {
            "connected-at": "2026-11-22T12:00:00.123Z",
            "last-link": "link-1",
            "obtained-at": "2026-11-22T12:00:00Z",
            "advertisers": "7001,7002",
            "advertiser-names": "{}",
        }

    def test_an_expiring_grant(self) -> None:
        """Both ends are known."""
        made = connected(expiring())
        assert made.kind == "expiring"
        assert made.annotations["expires-at"] == "2026-11-23T12:00:00Z"
        assert made.annotations["refresh-expires-at"] == "2027-11-22T12:00:00Z"

    def test_an_account(self) -> None:
        """It has an open id instead of advertisers, and a user name once that is known."""
        made = connected(of_account())
        assert (made.family, made.labels["family"], made.open_id) == ("account", "account", "open-1")
        assert {"advertisers", "approved", "advertiser-names", "username"}.isdisjoint(made.annotations)
        assert connected(of_account().with_username("acme")).username == "acme"

    def test_a_reconnection_clears_what_was_wrong_and_says_so(self) -> None:
        """Problem, warning, the ends of the old grant and the old approval are gone; one notice."""
        before = ended().with_(annotations={"warned": "7", "approved": "7009"})
        change = transitions.connected(before, long_lived(), LATER, "link-2", {})
        assert change.connection.annotations.keys() == {
            "connected-at",
            "last-link",
            "obtained-at",
            "advertisers",
            "advertiser-names",
        }
        assert (change.connection.health, change.connection.last_link) == ("ok", "link-2")
        assert said(change) == [("connection.recovered", "NOTICE")]

    def test_the_portals_own_link_leaves_no_link_id(self) -> None:
        """A connection that no connect link made names none."""
        assert connected(long_lived(), link="").last_link == ""

    def test_a_reconnection_keeps_the_names_of_accounts_that_stay(self) -> None:
        """Those that went go, too."""
        before = transitions.named(connected(long_lived()), {"7001": "Shoes", "7009": "Gone"})
        assert transitions.connected(before, long_lived(), NOON, "l", {}).connection.names == {"7001": "Shoes"}

    def test_what_is_not_ours_stays(self) -> None:
        """Labels and annotations of others are kept by every change."""
        theirs = Connection("acme", {"team": "x"}, {"note": "y"})
        made = transitions.connected(theirs, expiring(), NOON, "l", {}).connection
        bad = transitions.failing(made, PROBLEM, "refreshed", NOON).connection
        well = transitions.recovered(bad).connection.leased("h 1").leased("")
        assert (well.labels["team"], well.annotations["note"]) == ("x", "y")


class TestRefreshed:
    def test_new_ends_are_written_and_the_refresh_is_logged(self) -> None:
        """The annotations follow the stored grant."""
        new = expiring(at=LATER)
        change = transitions.refreshed(connected(expiring()), new, 3)
        assert change.connection.obtained_at == LATER
        assert change.connection.expires_at == LATER + timedelta(days=1)
        assert change.connection.destroyed_to == 3
        assert said(change) == [("token.refreshed", "INFO")]

    def test_a_failing_connection_recovers(self) -> None:
        """That is said beside."""
        change = transitions.refreshed(failing(), expiring(at=LATER), 0)
        assert change.connection.health == "ok"
        assert change.connection.problem is None
        assert said(change) == [("token.refreshed", "INFO"), ("connection.recovered", "NOTICE")]

    @pytest.mark.parametrize(
        ("new_end", "warned"),
        [(NOON + timedelta(days=365), None), (NOON + timedelta(days=10, minutes=5), "14"), (None, None)],
        ids=["the end moved away", "the end stays, give or take minutes", "there is no end any more"],
    )
    def test_an_end_that_moves_away_is_warned_of_again(self, new_end: datetime | None, warned: str | None) -> None:
        """A refresh token whose year counts down is not warned of twice; one that starts a new year is."""
        before = connected(expiring(), refresh_expires_at=clock.text(NOON + timedelta(days=10)), warned="14")
        seconds = (new_end - NOON).total_seconds() if new_end else None
        new = refreshable(response("a", "r", expires_in=DAY, refresh_expires_in=seconds))
        assert transitions.refreshed(before, new, 0).connection.annotations.get("warned") == warned

    def test_one_that_reaches_no_advertiser_is_stored_and_failing(self) -> None:
        """The token is new all the same; the alert comes once, however often the runs find the same."""
        first = transitions.refreshed_but_empty(connected(expiring()), expiring(at=LATER), 0, LATER)
        assert (first.connection.health, first.connection.obtained_at) == ("failing", LATER)
        assert said(first) == [("token.refreshed", "INFO"), ("connection.empty", "ERROR")]
        second = transitions.refreshed_but_empty(first.connection, expiring(at=LATER + timedelta(days=1)), 0, LATER)
        assert said(second) == [("token.refreshed", "INFO")]
        assert second.connection.failing_since == LATER
        assert second.connection.failing_of("empty")


class TestVerified:
    def test_nothing_new_changes_nothing(self) -> None:
        """A verified token causes no write."""
        before = transitions.named(connected(long_lived()), {"7001": "Shoes"})
        change = transitions.verified(before, long_lived(), {"7001": "Shoes"}, 0)
        assert change.connection.same_state(before)
        assert change.entries == ()

    def test_what_was_wrong_is_over(self) -> None:
        """With one notice."""
        change = transitions.verified(failing("empty", alerted=True), expiring(), None, 0)
        assert (change.connection.health, change.connection.problem) == ("ok", None)
        assert said(change) == [("connection.recovered", "NOTICE")]

    def test_other_advertisers_leave_the_approved_ones(self) -> None:
        """The guard of re-connections rests on what was approved, not on the last list."""
        once = transitions.verified(connected(long_lived()), long_lived().with_advertisers(["7002", "7003"]), None, 0)
        assert once.connection.advertisers == ("7002", "7003")
        assert once.connection.approved == ("7001", "7002")
        twice = transitions.verified(once.connection, long_lived().with_advertisers(["7003"]), None, 0)
        assert (twice.connection.advertisers, twice.connection.approved) == (("7003",), ("7001", "7002"))

    def test_a_grant_without_ids_leaves_them(self) -> None:
        """Where a payload had no room for the ids, the annotation keeps those that it has."""
        unknown = long_lived().with_advertisers_of(long_lived())
        without = transitions.verified(connected(long_lived()), _without_ids(), None, 0)
        assert without.connection.advertisers == unknown.advertiser_ids

    def test_destroyed_versions_only_become_more(self) -> None:
        """What is destroyed stays destroyed."""
        before = connected(long_lived(), destroyed_to="5")
        assert transitions.verified(before, long_lived(), None, 3).connection.destroyed_to == 5
        assert transitions.verified(before, long_lived(), None, 8).connection.destroyed_to == 8


class TestCompleted:
    def test_everything_is_taken_from_the_payload(self) -> None:
        """What was cut off while connecting gets all that can be known from what was stored."""
        begun = EMPTY.leased("connect-1 2026-11-22T12:00:45.000Z")
        done = transitions.completed(begun, expiring()).connection
        assert (done.connected_at, done.obtained_at) == (NOON, NOON)
        assert (done.kind, done.health, done.advertisers) == ("expiring", "ok", ("7001", "7002"))

    def test_the_moment_of_connecting_does_not_move(self) -> None:
        """A connection that knows when it was made keeps that, also where its ends are completed."""
        done = transitions.completed(connected(expiring()), expiring(at=LATER)).connection
        assert (done.connected_at, done.obtained_at) == (NOON, LATER)

    def test_a_reconnection_that_was_cut_off_counts(self) -> None:
        """Its link is used then, and all links before it, and what it approved is what counts."""
        before = connected(expiring(), approved="7009")
        done = transitions.completed(before, long_lived(at=LATER), reconnected=True).connection
        assert done.connected_at == LATER
        assert done.approved == ("7001", "7002")


class TestAdvertisersChanged:
    @pytest.mark.parametrize(
        ("after", "severity", "counts"),
        [
            (["1", "2", "3", "4"], None, None),
            (["4", "3", "2", "1"], None, None),
            (["1", "2", "3", "4", "5"], "NOTICE", (1, 0)),
            (["1", "2"], "NOTICE", (0, 2)),
            (["1"], "ERROR", (0, 3)),
            (["5", "6", "7", "8"], "ERROR", (4, 4)),
        ],
        ids=["the same", "in another order", "one more", "half are gone", "more than half are gone", "all others"],
    )
    def test_one_entry_says_what_changed(
        self, after: list[str], severity: str | None, counts: tuple[int, int] | None
    ) -> None:
        """It is an ERROR where more than half of them are gone."""
        before = long_lived().with_advertisers(["1", "2", "3", "4"])
        entries = transitions.changed_entries(before, before.with_advertisers(after))
        found = [
            (entry.severity, (entry.fields["added_count"], entry.fields["removed_count"]), entry.event)
            for entry in entries
        ]
        assert found == ([(severity, counts, "connection.changed")] if severity else [])

    @pytest.mark.parametrize(
        ("after", "severity", "counts"),
        [(3000, None, None), (3001, "NOTICE", (1, 0)), (1500, "NOTICE", (0, 1500)), (1499, "ERROR", (0, 1501))],
        ids=["as many", "one more", "half are gone", "more than half are gone"],
    )
    def test_of_more_than_can_be_stored_the_numbers_are_compared(
        self, after: int, severity: str | None, counts: tuple[int, int] | None
    ) -> None:
        """A payload without ids has none to compare."""
        before = replace(_without_ids(), advertiser_count=3000)
        ids = [str(number) for number in range(after)]
        found = [
            (entry.severity, (entry.fields["added_count"], entry.fields["removed_count"]))
            for entry in transitions.changed_entries(before, before.with_advertisers(ids))
        ]
        assert found == ([(severity, counts)] if severity else [])
        assert before.lost_most(ids) == (severity == "ERROR")


class TestFailing:
    @pytest.mark.parametrize(
        ("before", "now", "expected"),
        [
            (connected(long_lived()), NOON, [("connection.faltering", "WARNING")]),
            (failing(), NOON + timedelta(hours=6), []),
            (failing(), NOON + timedelta(hours=10), []),
            (failing(), NOON + timedelta(hours=17, minutes=29), []),
            (failing(), NOON + timedelta(hours=17, minutes=31), [("connection.failing", "ERROR")]),
            (failing(alerted=True), NOON + timedelta(hours=30), []),
            (connected(expiring()), NOON + timedelta(hours=18), [("connection.failing", "ERROR")]),
            (ended(), NOON, [("connection.faltering", "WARNING")]),
        ],
        ids=[
            "for the first time",
            "a second time",
            "a third time, within the day",
            "its token has more than six and a half hours left",
            "its token has less than six and a half hours left",
            "an alert was logged before",
            "for the first time, and its token is nearly over",
            "after its access had ended",
        ],
    )
    def test_a_warning_first_and_one_alert_when_it_matters(
        self, before: Connection, now: datetime, expected: list[tuple[str, str]]
    ) -> None:
        """The alert comes after a day, or when the next run may come too late; each once."""
        change = transitions.failing(before, PROBLEM, "verified", now)
        assert said(change) == expected
        assert change.connection.health == "failing"

    def test_a_long_lived_token_becomes_an_alert_after_a_day(self) -> None:
        """Its problem and since when it lasts are in the sentence, and the alert is remembered."""
        first = transitions.failing(connected(long_lived()), PROBLEM, "verified", NOON).connection
        almost = transitions.failing(first, PROBLEM, "verified", LATER - timedelta(seconds=1))
        assert almost.entries == ()
        alert = transitions.failing(first, PROBLEM, "verified", LATER)
        assert said(alert) == [("connection.failing", "ERROR")]
        assert "failing since 2026-11-22T12:00:00Z (transient 50000 R1)" in alert.entries[0].message
        assert alert.connection.alerted
        assert alert.connection.failing_since == NOON
        assert transitions.failing(alert.connection, PROBLEM, "verified", LATER + timedelta(days=1)).entries == ()

    def test_a_second_failure_writes_nothing(self) -> None:
        """Between the first failure and the alert, a run that fails again costs no write."""
        change = transitions.failing(failing(), Problem("silent"), "verified", NOON + timedelta(hours=1))
        assert change.connection.same_state(failing())


class TestAlertsThatComeOnce:
    @pytest.mark.parametrize(
        ("transition", "before", "event", "problem"),
        [
            (lambda it: transitions.broken(it, "It cannot be read.", NOON), connected(expiring()), "secret.unreadable",
             "broken alerted"),
            (lambda it: transitions.broken(it, "It cannot be read.", NOON), failing(), "secret.unreadable",
             "broken alerted"),
            (lambda it: transitions.broken(it, "It cannot be read.", NOON), failing("broken", alerted=True), None,
             "broken alerted"),
            (lambda it: transitions.broken(it, "It cannot be read.", NOON), ended(), None, "reauthorize 40105 R1"),
            (lambda it: transitions.empty(it, NOON), connected(long_lived()), "connection.empty", "empty alerted"),
            (lambda it: transitions.empty(it, NOON), failing("empty", alerted=True), None, "empty alerted"),
            (lambda it: transitions.of_other_app(it, NOON), connected(long_lived()), None, "other_app alerted"),
            (lambda it: transitions.of_other_app(it, NOON), ended(), None, "reauthorize 40105 R1"),
            (transitions.ended(40105, "R1"), connected(expiring()), "reauthorization.required",
             "reauthorize 40105 R1"),
            (transitions.ended(40105, "R1"), failing(alerted=True), "reauthorization.required",
             "reauthorize 40105 R1"),
            (transitions.ended(40107, "R2"), ended(), None, "reauthorize 40105 R1"),
        ],
        ids=[
            "a secret cannot be read",
            "a secret cannot be read of one that was failing",
            "a secret still cannot be read",
            "a secret cannot be read of one that needs a person anyway",
            "no advertiser is listed",
            "still no advertiser is listed",
            "of another app: the run logs one alert for all of these",
            "of another app, and its access has ended",
            "its access has ended",
            "its access has ended after it had been failing",
            "its access has ended, and that is known",
        ],
    )  # fmt: skip
    @pytest.mark.usefixtures("hand_clock")
    def test_the_state_remembers(
        self,
        transition: Callable[[Connection], Change],
        before: Connection,
        event: str | None,
        problem: str,
    ) -> None:
        """Each alert comes with the change of state that keeps it from coming again."""
        change = transition(before)
        assert [entry.event for entry in change.entries] == ([event] if event else [])
        assert str(change.connection.problem) == problem
        assert change.connection.failing_since == NOON
        again = transition(change.connection)
        assert again.entries == ()
        assert again.connection.same_state(change.connection)


class TestRecovered:
    @pytest.mark.parametrize("before", [failing(), ended()], ids=["failing", "needs a person"])
    def test_nothing_is_left_of_the_problem(self, before: Connection) -> None:
        """One notice says that it is over."""
        change = transitions.recovered(before)
        assert change.connection.same_state(connected(expiring()))
        assert said(change) == [("connection.recovered", "NOTICE")]

    def test_labels_that_somebody_removed_are_put_back(self) -> None:
        """Without a word where nothing else was wrong."""
        whole = connected(of_account())
        bare = Connection("organic", {"team": "x"}, whole.annotations)
        assert transitions.recovered(bare) == Change(whole.with_(labels={"team": "x"}))
        assert transitions.relabelled(bare) == Change(whole.with_(labels={"team": "x"}))


class TestWarnings:
    @pytest.mark.parametrize(
        ("refreshable_too", "key", "words"),
        [
            (True, "refresh-expires-at", "refresh token"),
            (False, "expires-at", "token, which cannot be refreshed,"),
        ],
        ids=["of a refresh token", "of a token that cannot be refreshed"],
    )
    def test_one_entry_and_its_mark(self, *, refreshable_too: bool, key: str, words: str) -> None:
        """The end, the days and which token it is are in the sentence; the mark keeps it from coming twice."""
        end = NOON + timedelta(days=6)
        before = connected(expiring()).with_(annotations={key: clock.text(end)})
        change = transitions.warned_of_end(before, NOON, refreshable=refreshable_too)
        (entry,) = change.entries
        assert entry.event == "refresh_token.ending"
        assert entry.fields["days"] == 7
        assert words in entry.message
        assert clock.text(end) in entry.message
        assert transitions.warned_of_end(change.connection, NOON, refreshable=refreshable_too).entries == ()

    def test_none_where_none_is_due(self) -> None:
        """A year ahead nothing is said and nothing written."""
        before = connected(expiring())
        assert transitions.warned_of_end(before, NOON, refreshable=True) == Change(before)


class TestFitting:
    def test_as_many_ids_as_fit_into_12_kib(self) -> None:
        """Ids are never cut in the middle."""
        text = transitions.fitting(MANY)
        assert LARGEST_ADVERTISERS - 20 < len(text) <= LARGEST_ADVERTISERS
        assert tuple(text.split(",")) == MANY[: len(text.split(","))]

    def test_all_annotations_together_stay_within_google_s_limit(self) -> None:
        """Keys and values of a connection with thousands of accounts, all of them changed, fit into 16 KiB."""
        huge = connected(long_lived().with_advertisers(MANY))
        changed = transitions.verified(
            huge, long_lived().with_advertisers(MANY[::-1]), dict.fromkeys(MANY, "x" * 100), 10**8
        ).connection
        bad = transitions.failing(changed, Problem("transient", 50000, "R" * 64), "verified", LATER).connection
        held = bad.leased("refresh-0123456789ab 2026-11-22T12:00:45.000Z").with_(annotations={"warned": "30"})
        assert sum(len(key.encode()) + len(text.encode()) for key, text in held.annotations.items()) < 16 * 1024

    def test_names_are_written_by_id(self) -> None:
        """Whatever is in a name comes back as it was."""
        names = {"7001": 'Käthe\'s "Shoes"', "7002": "靴 👟"}
        assert transitions.named(connected(long_lived()), names).names == names

    def test_as_many_names_as_fit(self) -> None:
        """The annotation stays a whole object within its bounds, however many and however long the names are."""
        names = {str(number): "靴" * 100 for number in range(50)}
        made = transitions.named(connected(long_lived()), names)
        assert len(made.annotations["advertiser-names"].encode()) <= LARGEST_NAMES
        assert 1 < len(made.names) < 50
        assert made.names.items() <= names.items()
        assert not transitions.knows_other_names(made, names)

    def test_where_names_were_never_written_none_are_missed(self) -> None:
        """A connection from before there were names causes no write."""
        assert not transitions.knows_other_names(EMPTY, {"7001": "Shoes"})
        assert transitions.knows_other_names(connected(long_lived()), {"7001": "Shoes"})


def _without_ids() -> Grant:

    return payload.parse(payload.of_token(long_lived().with_advertisers(MANY)), "acme")
