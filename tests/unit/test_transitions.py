"""Each thing that can happen to a connection: its new state, and the log entries that a person gets."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import pytest

from tokenkeeper import clock, transitions
from tokenkeeper.connection import LARGEST_ADVERTISERS, Connection, Problem
from tokenkeeper.grant import Grant
from tokenkeeper.transitions import LARGEST_NAMES, Change
from unit.parts import DAY, NOON, connected, expiring, long_lived, of_account, refreshable, response

EMPTY = Connection("acme", {"connection": "acme"}, {})
LATER = NOON + timedelta(days=1)
MANY = tuple(str(7_000_000_000_000_000_000 + number) for number in range(5000))
PROBLEM = Problem("transient", 50000, "R1")

pytestmark = pytest.mark.usefixtures("hand_clock")


def said(change: Change) -> list[tuple[str, str]]:
    """The events and severities of a change's entries."""
    return [(entry.event, entry.severity) for entry in change.entries]


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


@pytest.mark.parametrize(
    ("new_end", "warned"),
    [(NOON + timedelta(days=365), None), (NOON + timedelta(days=10, minutes=5), "14"), (None, None)],
    ids=["the end moved away", "the end stays, give or take minutes", "there is no end any more"],
)
def test_an_end_that_moves_away_is_warned_of_again(new_end: datetime | None, warned: str | None) -> None:
    """A refresh token whose year counts down is not warned of twice; one that starts a new year is."""
    before = connected(expiring(), refresh_expires_at=clock.text(NOON + timedelta(days=10)), warned="14")
    seconds = (new_end - NOON).total_seconds() if new_end else None
    new = refreshable(response("a", "r", expires_in=DAY, refresh_expires_in=seconds))
    assert transitions.refreshed(before, new, 0).connection.annotations.get("warned") == warned


def test_other_advertisers_leave_the_approved_ones() -> None:
    """The guard of re-connections rests on what was approved, not on the last list."""
    once = transitions.verified(connected(long_lived()), long_lived().with_advertisers(["7002", "7003"]), None, 0)
    assert once.connection.advertisers == ("7002", "7003")
    assert once.connection.approved == ("7001", "7002")
    twice = transitions.verified(once.connection, long_lived().with_advertisers(["7003"]), None, 0)
    assert (twice.connection.advertisers, twice.connection.approved) == (("7003",), ("7001", "7002"))
    too_many = transitions.verified(once.connection, without_ids(5000), None, 0)
    assert too_many.connection.advertisers == ("7002", "7003")


def test_a_reconnection_that_was_cut_off_counts() -> None:
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
    "as many others": (FOUR, ["1", "6", "7", "8"], "ERROR", (3, 3)),
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


def test_a_failure_after_the_access_had_ended_begins_anew() -> None:
    """It is no lasting one, so that it is a warning first."""
    change = transitions.failing(ended(), PROBLEM, "verified")
    assert said(change) == [("connection.faltering", "WARNING")]
    assert change.connection.health == "failing"


LASTING = {
    ("ok", 99, 6.5): "connection.faltering",  # what was wrong before is over
    ("ok", 99, 6.4): "connection.failing",
    ("failing", 23.9, 6.5): None,
    ("failing", 24, 6.5): "connection.failing",
}


def test_a_failure_is_alerted_of_when_it_has_lasted_a_day_or_the_token_is_nearly_over() -> None:
    """With 6.5 hours left the next of four runs a day comes in time; until then it is a warning, once."""
    for (health, hours, left), event in LASTING.items():
        since, end = NOON - timedelta(hours=hours), NOON + timedelta(hours=left)
        marks = {"failing-since": clock.text(since), "expires-at": clock.text(end), "last-error": str(PROBLEM)}
        before = connected(expiring()).with_(labels={"health": health}, annotations=marks)
        found = transitions.failing(before, PROBLEM, "refreshed").entries
        assert [entry.event for entry in found] == ([event] if event else []), (health, hours, left)


ALERTS = {
    "a secret cannot be read": partial(transitions.broken, detail="It cannot be read."),
    "it is of another app": transitions.of_other_app,
    "its access has ended": partial(transitions.ended, code=40105, request_id="R1"),
}


@pytest.mark.parametrize("transition", ALERTS.values(), ids=ALERTS)
def test_what_needs_a_person_anyway_is_not_alerted_of_again(transition: Callable[[Connection], Change]) -> None:
    """What helps is the same. That one alert is enough for each is in `reliability/test_nothing_is_silent`."""
    assert transition(ended()) == Change(ended())


def test_an_end_is_marked_where_somebody_edited_the_label() -> None:
    """Else TikTok would be asked about a dead token in each run."""
    change = transitions.ended(ended().with_(labels={"health": "failing"}), 40105, "R2")
    assert (change.connection.health, len(change.entries)) == ("reauthorize", 1)


@pytest.mark.parametrize(
    ("refreshable", "key", "words"),
    [(True, "refresh-expires-at", "refresh token"), (False, "expires-at", "token, which cannot be refreshed,")],
)
def test_a_warning_says_what_ends_and_when(*, refreshable: bool, key: str, words: str) -> None:
    """The end, the days and which token it is are in the sentence."""
    end = NOON + timedelta(days=6)
    before = connected(expiring()).with_(annotations={key: clock.text(end)})
    (entry,) = transitions.warned_of_end(before, refreshable=refreshable).entries
    assert (entry.event, entry.fields["days"]) == ("refresh_token.ending", 7)
    assert words in entry.message
    assert clock.text(end) in entry.message


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

    def test_what_was_approved_has_the_room_that_advertisers_leave(self) -> None:
        """All of a few hundred are known when the connection is made again, and fewer when thousands are listed."""
        approved, more = MANY[:300], MANY[300:301]
        changed = transitions.verified(
            connected(long_lived().with_advertisers(approved)), long_lived().with_advertisers(approved + more), {}, 0
        ).connection
        assert changed.annotations["approved"].split(",") == list(approved)
        grown = transitions.verified(changed, long_lived().with_advertisers(MANY), {}, 0).connection
        assert len(grown.annotations["approved"] + grown.annotations["advertisers"]) <= LARGEST_ADVERTISERS + 768
        assert grown.annotations["approved"].startswith(approved[0])

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


def test_another_accounts_name_does_not_stay() -> None:
    """Where TikTok did not tell the new account's name in time, there is none until it does."""
    before = connected(of_account().with_username("acme.shoes"))
    other = replace(of_account(), open_id="open-2")
    made = transitions.connected(before, other, LATER, "link-2", {}).connection
    assert (made.open_id, made.username) == ("open-2", "")
