"""A connection's labels and annotations, and what each thing that can happen changes in them."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from tokenkeeper import clock, grant
from tokenkeeper.connection import LARGEST_ADVERTISERS, LARGEST_NAMES, Connection, fitting
from unit.parts import NOON, expiring, handout, long_lived

EMPTY = Connection("acme", {"connection": "acme"}, {})


def made(**annotations: str) -> Connection:
    """A connection that exists, with these annotations."""
    return EMPTY.connected(expiring(), NOON, "link-1")._with(annotations=annotations)


class TestConnected:
    def test_annotations_of_a_long_lived_grant(self) -> None:
        """Only what there is to say is said: no ends, no trouble, no warning."""
        connection = EMPTY.connected(long_lived(), NOON + timedelta(milliseconds=123, microseconds=999), "link-1")
        assert connection.labels == {"connection": "acme", "kind": "long-lived", "health": "ok"}
        assert connection.annotations == {
            "connected-at": "2026-11-22T12:00:00.123Z",
            "last-link": "link-1",
            "obtained-at": "2026-11-22T12:00:00Z",
            "advertisers": "7001,7002",
            "advertiser-names": "{}",
        }

    def test_annotations_of_an_expiring_grant(self) -> None:
        """Both ends are known."""
        connection = EMPTY.connected(expiring(), NOON, "link-1")
        assert connection.kind == "expiring"
        assert connection.annotations["expires-at"] == "2026-11-23T12:00:00Z"
        assert connection.annotations["refresh-expires-at"] == "2027-11-22T12:00:00Z"

    def test_a_reconnection_clears_what_was_wrong(self) -> None:
        """Trouble, warning and the ends of the old grant are gone."""
        before = made(warned="7").needs_person("person 40105 X", NOON)
        after = before.connected(long_lived(), NOON + timedelta(days=1), "link-2")
        assert after.health == "ok"
        assert set(after.annotations) == {
            "connected-at",
            "last-link",
            "obtained-at",
            "advertisers",
            "advertiser-names",
        }
        assert after.last_link == "link-2"

    def test_the_portals_own_link_leaves_no_link_id(self) -> None:
        """A connection that no connect link made names none."""
        assert "last-link" not in made().connected(long_lived(), NOON, "").annotations

    def test_what_is_not_ours_stays(self) -> None:
        """Labels and annotations of others are kept by every change."""
        theirs = Connection("acme", {"team": "x"}, {"note": "y"})
        after = theirs.connected(long_lived(), NOON, "l").failed("e", NOON).recovered().leased("h 1").leased("")
        assert after.labels["team"] == "x"
        assert after.annotations["note"] == "y"


class TestTrouble:
    def test_failing_counts_from_the_first_time(self) -> None:
        """`failing-since` stays where it was while the trouble lasts; what is wrong is the latest."""
        once = made().failed("passing 50000 A", NOON)
        twice = once.failed("passing 50002 B", NOON + timedelta(hours=6))
        assert (twice.health, twice.failing_since, twice.last_error) == ("failing", NOON, "passing 50002 B")

    def test_reauthorize_is_a_health_of_its_own(self) -> None:
        """A dead grant is marked so that a filter on the label finds it."""
        assert made().needs_person("person 40105 X", NOON).labels["health"] == "reauthorize"

    def test_recovery_leaves_no_trace(self) -> None:
        """Once all is well again, nothing is left of the trouble."""
        assert made().failed("silent", NOON).recovered().same_state(made())

    def test_a_completed_connection_takes_everything_from_the_payload(self) -> None:
        """What was cut off while connecting gets all that can be known from what was stored."""
        done = EMPTY.leased("connect-1 2026-11-22T12:00:45.000Z").completed(expiring())
        assert done.made
        assert done.connected_at == NOON
        assert (done.kind, done.health, done.obtained_at) == ("expiring", "ok", NOON)

    def test_completing_does_not_move_the_moment_of_connecting(self) -> None:
        """A connection that knows when it was made keeps that."""
        later = expiring(at=NOON + timedelta(days=1))
        assert made().completed(later).connected_at == NOON


class TestNames:
    def test_names_are_written_down_by_id(self) -> None:
        """Whatever is in a name comes back as it was."""
        names = {"7001": 'Käthe\'s "Shoes"', "7002": "靴 👟"}
        assert made().named(names).names == names

    def test_as_many_as_fit(self) -> None:
        """The annotation stays a whole object within its bounds, however many and however long the names are."""
        names = {str(number): "靴" * 100 for number in range(50)}
        connection = made().named(names)
        assert len(connection.annotations["advertiser-names"].encode()) <= LARGEST_NAMES
        assert 1 < len(connection.names) < 50
        assert connection.names.items() <= names.items()
        assert not connection.knows_other_names(names)

    @pytest.mark.parametrize("text", ["", "nonsense", "[]", "[" * 100_000, '{"7001": 1}', '{"7001": "a\\nb"}'])
    def test_what_was_edited_by_hand_is_as_good_as_missing(self, text: str) -> None:
        """Nothing that no line can show is taken for a name."""
        assert made(**{"advertiser-names": text}).names == {}

    def test_where_names_were_never_written_none_are_missed(self) -> None:
        """A connection from before there were names causes no write."""
        assert not EMPTY.knows_other_names({"7001": "Shoes"})
        assert EMPTY.completed(long_lived()).knows_other_names({"7001": "Shoes"})
        assert made().knows_other_names({"7001": "Shoes"})

    def test_a_reconnection_keeps_the_names_of_accounts_that_stay(self) -> None:
        """Those that went go, too."""
        before = made().named({"7001": "Shoes", "7009": "Gone"})
        assert before.connected(long_lived(), NOON, "link-2").names == {"7001": "Shoes"}


class TestEndOfLife:
    @pytest.mark.parametrize(
        ("left", "given", "due"),
        [
            (timedelta(days=31), "", None),
            (timedelta(days=30), "", 30),
            (timedelta(days=20), "30", None),
            (timedelta(days=14), "30", 14),
            (timedelta(days=7), "14", 7),
            (timedelta(days=3), "7", 3),
            (timedelta(days=1), "3", 1),
            (timedelta(hours=1), "1", None),
            (timedelta(days=-5), "1", None),
            (timedelta(days=2), "", 3),
            (timedelta(days=-1), "30", 1),
            (timedelta(days=2), "nonsense", 3),
        ],
        ids=[
            "more than 30 days",
            "30 days",
            "between two warnings",
            "14 days",
            "7 days",
            "3 days",
            "1 day",
            "the last one was given",
            "over, and all were given",
            "several missed: only the most urgent",
            "over, and most were missed",
            "what was given is unreadable",
        ],
    )
    def test_warnings_come_at_30_14_7_3_and_1_days_once_each(
        self, left: timedelta, given: str, due: int | None
    ) -> None:
        """A warning is due when its day is reached, unless it or a more urgent one was given."""
        connection = made(**{"refresh-expires-at": clock.text(NOON + left), "warned": given})
        assert connection.warning_due(NOON, refreshable=True) == due

    def test_without_a_refresh_token_the_tokens_own_end_counts(self) -> None:
        """What cannot be refreshed ends with the access token."""
        connection = made(**{"expires-at": clock.text(NOON + timedelta(days=2))})
        assert connection.ends_at(refreshable=False) == NOON + timedelta(days=2)
        assert connection.warning_due(NOON, refreshable=False) == 3

    def test_a_long_lived_token_ends_never(self) -> None:
        """Without an end there is nothing to warn of."""
        connection = EMPTY.connected(long_lived(), NOON, "l")
        assert connection.warning_due(NOON + timedelta(days=9999), refreshable=False) is None

    @pytest.mark.parametrize(
        ("new_end", "warned"),
        [(NOON + timedelta(days=365), None), (NOON + timedelta(days=10, minutes=5), "14"), (None, None)],
        ids=["the end moved away", "the end stays, give or take minutes", "there is no end any more"],
    )
    def test_a_refresh_that_moves_the_end_starts_the_warnings_anew(
        self, new_end: datetime | None, warned: str | None
    ) -> None:
        """A refresh token whose year counts down is not warned of twice; one that lives anew is."""
        connection = made(**{"refresh-expires-at": clock.text(NOON + timedelta(days=10)), "warned": "14"})
        seconds = (new_end - NOON).total_seconds() if new_end else None
        new = expiring().refreshed(handout("a", "r", refresh_expires_in=seconds), NOON)
        assert connection.stored(new).annotations.get("warned") == warned


class TestWhatIsRead:
    @pytest.mark.parametrize("key", ["connected-at", "obtained-at", "expires-at", "refresh-expires-at"])
    @pytest.mark.parametrize("text", ["", "yesterday", "99999-01-01T00:00:00Z"])
    def test_an_annotation_broken_by_hand_is_as_good_as_missing(self, key: str, text: str) -> None:
        """A time that cannot be read is no time."""
        assert getattr(made(**{key: text}), key.replace("-", "_")) is None

    @pytest.mark.parametrize(("text", "number"), [("7", 7), ("", 0), ("-1", 0), ("x", 0), ("9" * 20, 0), ("٣", 0)])
    def test_versions_known_to_be_destroyed(self, text: str, number: int) -> None:
        """A number that cannot be one counts as none destroyed."""
        assert made(**{"destroyed-to": text}).destroyed_to == number

    def test_clearing_up_only_moves_forward(self) -> None:
        """What is destroyed stays destroyed."""
        connection = made().cleared_to(5)
        assert connection.cleared_to(3) is connection
        assert connection.cleared_to(8).destroyed_to == 8

    def test_a_lease_given_back_leaves_nothing(self) -> None:
        """A connection that nobody holds has no lease."""
        assert made().leased("refresh-1 2026").leased("").same_state(made())

    def test_the_etag_is_no_part_of_the_state(self) -> None:
        """Two readings of the same labels and annotations are the same state."""
        assert Connection("a", {}, {}, "1").same_state(Connection("a", {}, {}, "2"))


class TestAdvertisers:
    def test_as_many_ids_as_fit_into_12_kib(self) -> None:
        """Ids are never cut in the middle."""
        ids = [str(7_000_000_000_000_000_000 + number) for number in range(5000)]
        text = fitting(ids)
        assert LARGEST_ADVERTISERS - 20 < len(text) <= LARGEST_ADVERTISERS
        assert text.split(",") == ids[: len(text.split(","))]

    def test_no_ids_are_no_advertisers(self) -> None:
        """An empty annotation names nobody."""
        assert made(advertisers="").advertisers == ()

    def test_a_grant_that_does_not_say_leaves_them(self) -> None:
        """Where a payload had no room for the ids, the annotation keeps those that it has."""
        ids = tuple(str(number) for number in range(20_000))
        unknown = grant.parse(long_lived().with_advertisers(ids).token_payload(), "acme")
        assert made().stored(unknown).advertisers == ("7001", "7002")
