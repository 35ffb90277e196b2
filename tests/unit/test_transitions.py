"""Each thing that can happen to a connection: its new state, and the log entries that a person gets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import pytest

from tokenkeeper import clock, transitions
from tokenkeeper.connection import LARGEST_ADVERTISERS, Connection, Problem
from tokenkeeper.grant import Grant
from tokenkeeper.transitions import LARGEST_NAMES, Change
from unit.parts import DAY, NOON, HandClock, connected, expiring, long_lived, refreshable, response

EMPTY = Connection("acme", {"connection": "acme"}, {})
LATER = NOON + timedelta(days=1)
MANY = tuple(str(7_000_000_000_000_000_000 + number) for number in range(5000))
PROBLEM = Problem("transient", 50000, "R1")

pytestmark = pytest.mark.usefixtures("hand_clock")


def said(change: Change) -> list[tuple[str, str]]:
    """The events and severities of a change's entries."""
    return [(entry.event, entry.severity) for entry in change.entries]


def failing(kind: str = "transient", *, alerted: bool = False) -> Connection:
    """A connection that has been failing since noon."""
    text = str(Problem(kind, alerted=alerted))
    return connected(expiring(), failing_since=clock.text(NOON), last_error=text).with_(labels={"health": "failing"})


def ended() -> Connection:
    """A connection whose access has ended at TikTok."""
    made = connected(expiring(), failing_since=clock.text(NOON), last_error="reauthorize 40105 R1")
    return made.with_(labels={"health": "reauthorize"})


class TestConnected:
    def test_a_long_lived_grant(self) -> None:
        """Only what there is to say is said: no ends, no problem, no warning. The labels are in `flow`."""
        at = NOON + timedelta(milliseconds=123, microseconds=999)
        made, entries = transitions.connected(EMPTY, long_lived(), at, "link-1", {})
        assert entries == ()
        assert made.annotations == {
            "connected-at": "2026-11-22T12:00:00.123Z",
            "last-link": "link-1",
            "obtained-at": "2026-11-22T12:00:00Z",
            "advertisers": "7001,7002",
            "advertiser-names": "{}",
        }

    def test_a_reconnection_clears_what_was_wrong_and_says_so(self) -> None:
        """Problem, warning, old ends and old approval are gone; names stay of accounts that stay; one notice."""
        before = transitions.named(ended(), {"7001": "Shoes", "7009": "Gone"})
        before = before.with_(annotations={"warned": "7", "approved": "7009"})
        change = transitions.connected(before, long_lived(), LATER, "", {})
        assert change.connection.annotations.keys() == {
            "connected-at",
            "obtained-at",
            "advertisers",
            "advertiser-names",
        }
        assert (change.connection.health, change.connection.names) == ("ok", {"7001": "Shoes"})
        assert said(change) == [("connection.recovered", "NOTICE")]


class TestRefreshed:
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


class TestVerified:
    def test_other_advertisers_leave_the_approved_ones(self) -> None:
        """The guard of re-connections rests on what was approved, not on the last list."""
        once = transitions.verified(connected(long_lived()), long_lived().with_advertisers(["7002", "7003"]), None, 0)
        assert once.connection.advertisers == ("7002", "7003")
        assert once.connection.approved == ("7001", "7002")
        twice = transitions.verified(once.connection, long_lived().with_advertisers(["7003"]), None, 0)
        assert (twice.connection.advertisers, twice.connection.approved) == (("7003",), ("7001", "7002"))


class TestCompleted:
    def test_a_reconnection_that_was_cut_off_counts(self) -> None:
        """Its link is used then, and all links before it, and what it approved is what counts."""
        before = connected(expiring(), approved="7009")
        done = transitions.reconciled(before, long_lived(at=LATER), reconnected=True).connection
        assert done.connected_at == LATER
        assert done.approved == ("7001", "7002")


FOUR = long_lived().with_advertisers(["1", "2", "3", "4"])
CHANGES: dict[str, tuple[Grant | int, Sequence[str], str | None, tuple[int, int]]] = {
    "in another order": (FOUR, ["4", "3", "2", "1"], None, (0, 0)),
    "one more": (FOUR, ["1", "2", "3", "4", "5"], "NOTICE", (1, 0)),
    "half are gone": (FOUR, ["1", "2"], "NOTICE", (0, 2)),
    "more than half are gone": (FOUR, ["1"], "ERROR", (0, 3)),
    "as many as before, of more than can be stored": (3000, MANY[:3000], None, (0, 0)),
    "half as many": (3000, MANY[:1500], "NOTICE", (0, 1500)),
    "fewer than half": (3000, MANY[:1499], "ERROR", (0, 1501)),
}


def test_one_entry_says_which_advertisers_changed() -> None:
    """An ERROR where more than half are gone; of more ids than can be stored the numbers are compared."""
    for case, (before, after, severity, counts) in CHANGES.items():
        known = without_ids(before) if isinstance(before, int) else before
        found = [
            (entry.severity, (entry.fields["added_count"], entry.fields["removed_count"]))
            for entry in transitions.changed_entries(known, known.with_advertisers(after))
        ]
        assert found == ([(severity, counts)] if severity else []), case
        assert known.lost_most(after) == (severity == "ERROR"), case


FALTERING, FAILING = ("connection.faltering", "WARNING"), ("connection.failing", "ERROR")
FAILURES: dict[str, tuple[Connection, float, list[tuple[str, str]]]] = {
    "for the first time": (connected(long_lived()), 0, [FALTERING]),
    "again, and its token has more than six and a half hours left": (failing(), 17.4, []),
    "its token has less than six and a half hours left": (failing(), 17.6, [FAILING]),
    "an alert was logged before": (failing(alerted=True), 30, []),
    "for the first time, and its token is nearly over": (connected(expiring()), 18, [FAILING]),
    "after its access had ended": (ended(), 0, [FALTERING]),
}


class TestFailing:
    @pytest.mark.parametrize(("before", "hours", "expected"), FAILURES.values(), ids=FAILURES)
    def test_a_warning_first_and_one_alert_when_it_matters(
        self, hand_clock: HandClock, before: Connection, hours: float, expected: list[tuple[str, str]]
    ) -> None:
        """The alert comes when the next run may come too late; where nothing is said, nothing is written."""
        hand_clock.pass_by(hours=hours)
        change = transitions.failing(before, PROBLEM, "verified")
        assert said(change) == expected
        assert change.connection.health == "failing"
        assert (change.connection == before) == (expected == [])

    def test_a_long_lived_token_becomes_an_alert_after_a_day(self, hand_clock: HandClock) -> None:
        """Its problem and since when it lasts are in the sentence, and the alert is remembered."""
        first = transitions.failing(connected(long_lived()), PROBLEM, "verified").connection
        hand_clock.pass_by(days=1, seconds=-1)
        assert transitions.failing(first, PROBLEM, "verified").entries == ()
        hand_clock.pass_by(seconds=1)
        alert = transitions.failing(first, PROBLEM, "verified")
        assert said(alert) == [("connection.failing", "ERROR")]
        assert "failing since 2026-11-22T12:00:00Z (transient 50000 R1)" in alert.entries[0].message
        assert (alert.connection.alerted, alert.connection.failing_since) == (True, NOON)


unreadable = partial(transitions.broken, detail="It cannot be read.")
dead = partial(transitions.ended, code=40105, request_id="R1")


ALERTS: dict[str, tuple[Callable[[Connection], Change], Connection, str | None, str]] = {
    "a secret cannot be read": (unreadable, failing(), "secret.unreadable", "broken alerted"),
    "a secret still cannot be read": (unreadable, failing("broken", alerted=True), None, "broken alerted"),
    "a secret of one that needs a person anyway": (unreadable, ended(), None, "reauthorize 40105 R1"),
    "no advertiser is listed": (transitions.empty, connected(long_lived()), "connection.empty", "empty alerted"),
    "still no advertiser is listed": (transitions.empty, failing("empty", alerted=True), None, "empty alerted"),
    "of another app": (transitions.of_other_app, connected(long_lived()), None, "other_app alerted"),
    "of another app, and over": (transitions.of_other_app, ended(), None, "reauthorize 40105 R1"),
    "its access has ended": (dead, failing(alerted=True), "reauthorization.required", "reauthorize 40105 R1"),
    "its access has ended, and that is known": (dead, ended(), None, "reauthorize 40105 R1"),
}


@pytest.mark.parametrize(("transition", "before", "event", "problem"), ALERTS.values(), ids=ALERTS)
def test_the_state_remembers_an_alert(
    transition: Callable[[Connection], Change], before: Connection, event: str | None, problem: str
) -> None:
    """Each comes with the change that keeps it from coming again; the run logs one for all of another app."""
    change = transition(before)
    assert [entry.event for entry in change.entries] == ([event] if event else [])
    assert str(change.connection.problem) == problem
    assert change.connection.failing_since == NOON
    assert transition(change.connection) == Change(change.connection)


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
        change = transitions.warned_of_end(before, refreshable=refreshable_too)
        (entry,) = change.entries
        assert (entry.event, entry.fields["days"]) == ("refresh_token.ending", 7)
        assert words in entry.message
        assert clock.text(end) in entry.message
        assert transitions.warned_of_end(change.connection, refreshable=refreshable_too) == Change(change.connection)


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
        bad = transitions.failing(changed, Problem("transient", 50000, "R" * 64), "verified").connection
        held = bad.leased("refresh-0123456789ab 2026-11-22T12:00:45.000Z").with_(annotations={"warned": "30"})
        assert sum(len(key.encode()) + len(text.encode()) for key, text in held.annotations.items()) < 16 * 1024

    def test_as_many_names_as_fit_come_back_as_they_were(self) -> None:
        """The annotation stays a whole object within its bounds, whatever is in the names and however many."""
        names = {"7001": 'Käthe\'s "Shoes"', **{str(number): "靴" * 100 for number in range(50)}}
        made = transitions.named(connected(long_lived()), names)
        assert len(made.annotations["advertiser-names"].encode()) <= LARGEST_NAMES
        assert 1 < len(made.names) < 50
        assert made.names.items() <= names.items()
        assert not transitions.knows_other_names(made, names)

    def test_where_names_were_never_written_none_are_missed(self) -> None:
        """A connection from before there were names causes no write."""
        assert not transitions.knows_other_names(EMPTY, {"7001": "Shoes"})
        assert transitions.knows_other_names(connected(long_lived()), {"7001": "Shoes"})


def without_ids(count: int) -> Grant:
    """A grant for so many ad accounts that its payload had no room for their ids."""
    return replace(long_lived(), advertiser_ids=None, advertiser_count=count)
