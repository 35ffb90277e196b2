"""What labels and annotations of a token secret say about a connection, also where somebody edited them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tokenkeeper import clock
from tokenkeeper.connection import Connection, Problem
from unit.parts import NOON, connected, dashed, expiring, long_lived, of_account

OURS = {"managed-by": "tiktok-token-keeper", "holds": "token", "connection": "acme"}
PROBLEMS = {
    "a kind alone": (Problem("silent"), "silent", "silent"),
    "with a code below zero": (Problem("transient", -1), "transient -1", "transient -1"),
    "with a request id": (Problem("unreachable", None, "2026ABC"), "unreachable 2026ABC", "unreachable 2026ABC"),
    "with all of it": (Problem("suspect", 40118, "R1", True), "suspect 40118 R1 alerted", "suspect 40118 R1"),
}


class TestProblem:
    @pytest.mark.parametrize(("problem", "text", "short"), PROBLEMS.values(), ids=PROBLEMS)
    def test_is_written_as_words_and_read_again(self, problem: Problem, text: str, short: str) -> None:
        """The annotation `last-error`; a person is not shown whether an alert was logged."""
        assert (str(problem), problem.short) == (text, short)
        assert Problem.parse(text) == problem

    def test_nothing_is_no_problem(self) -> None:
        """A connection without the annotation has none."""
        assert Problem.parse("  ") is None

    @pytest.mark.parametrize("text", ["odd ٣", "odd - x", "odd " + "9" * 50, "odd a b c d"])
    def test_what_was_edited_by_hand_is_still_a_problem(self, text: str) -> None:
        """Its first word is the kind; what is no code is none."""
        found = Problem.parse(text)
        assert found is not None
        assert (found.kind, found.code) == ("odd", None)


class TestLabels:
    @pytest.mark.parametrize("removed", ["managed-by", "holds", "connection", "kind", "health", "family"])
    def test_a_missing_label_is_noticed(self, removed: str) -> None:
        """Whichever label of ours somebody removes, the next run has to put it back; others do not matter."""
        whole = connected(of_account()).with_(labels={"team": "x"})
        labels = {key: text for key, text in whole.labels.items() if key != removed}
        assert not whole.labels_missing
        assert Connection("organic", labels, whole.annotations).labels_missing

    def test_a_missing_family_means_advertiser(self) -> None:
        """So connections from before there were accounts cause no write."""
        whole = connected(expiring())
        labels = {key: text for key, text in whole.labels.items() if key != "family"}
        assert Connection("acme", labels, whole.annotations).labels_missing is False

    @pytest.mark.parametrize(
        ("problem", "health"),
        [("", "ok"), ("transient 50000", "failing"), ("reauthorize 40105 R", "reauthorize")],
    )
    def test_without_any_health_follows_from_what_is_wrong(self, problem: str, health: str) -> None:
        """Whoever removes all labels hides nothing: the annotations say the same."""
        annotations = {**connected(expiring()).annotations, "last-error": problem}
        assert Connection("acme", {}, annotations).health == health

    @pytest.mark.parametrize(
        ("made", "kind", "family"),
        [
            (connected(long_lived()), "long-lived", "advertiser"),
            (connected(of_account()), "expiring", "account"),
            (Connection("acme", {}, {"lease": "connect-1 2026"}), "", "advertiser"),
        ],
        ids=["long-lived", "an account that expires", "not connected yet"],
    )
    def test_without_any_kind_and_family_follow_from_the_annotations(
        self, made: Connection, kind: str, family: str
    ) -> None:
        """They follow from the ends and the open id; what was cut off while connecting has no kind."""
        bare = Connection(made.name, {}, made.annotations)
        assert (bare.kind, bare.family, bare.health) == (kind, family, "ok" if kind else "")


@pytest.mark.parametrize(
    ("health", "problem", "alerted"),
    [
        ("ok", "", False),
        ("failing", "transient 50000", False),
        ("failing", "transient 50000 R alerted", True),
        ("failing", "", False),
        ("reauthorize", "reauthorize 40105", True),
    ],
    ids=["all is well", "failing", "failing for a day", "failing, and the reason is gone", "its access has ended"],
)
def test_whether_an_alert_was_logged_for_its_state(health: str, problem: str, alerted: bool) -> None:
    """So that no state is alerted of twice."""
    made = connected(expiring(), last_error=problem).with_(labels={"health": health})
    assert made.alerted is alerted


WARNINGS: dict[str, tuple[timedelta, str, int | None]] = {
    "more than 30 days": (timedelta(days=30, seconds=1), "", None),
    "30 days": (timedelta(days=30), "", 30),
    "between two warnings": (timedelta(days=20), "30", None),
    "14 days": (timedelta(days=14), "30", 14),
    "the last one was given": (timedelta(hours=1), "1", None),
    "several missed: only the most urgent": (timedelta(days=2), "", 3),
    "over, and most were missed": (timedelta(days=-1), "30", 1),
    "what was given is unreadable": (timedelta(days=2), "nonsense", 3),
}


class TestEndOfLife:
    @pytest.mark.parametrize(("left", "given", "due"), WARNINGS.values(), ids=WARNINGS)
    def test_warnings_come_at_30_14_7_3_and_1_days_once_each(
        self, left: timedelta, given: str, due: int | None
    ) -> None:
        """A warning is due when its day is reached, unless it or a more urgent one was given."""
        made = connected(expiring(), refresh_expires_at=clock.text(NOON + left), warned=given)
        assert made.warning_due(NOON, refreshable=True) == due

    def test_without_a_refresh_token_the_tokens_own_end_counts(self) -> None:
        """What cannot be refreshed ends with the access token; what has no end is not warned of."""
        made = connected(expiring(), expires_at=clock.text(NOON + timedelta(days=2)))
        assert made.warning_due(NOON, refreshable=False) == 3
        assert connected(long_lived()).warning_due(NOON + timedelta(days=9999), refreshable=False) is None


class TestEditedByHand:
    """What cannot be read is as good as missing."""

    @pytest.mark.parametrize("text", ["", "yesterday", "99999-01-01T00:00:00Z"])
    def test_a_time(self, text: str) -> None:
        """A time that cannot be read is no time."""
        assert connected(expiring()).with_(annotations=dashed({"obtained_at": text})).obtained_at is None

    @pytest.mark.parametrize(("text", "number"), [("7", 7), ("", 0), ("-1", 0), ("x", 0), ("9" * 20, 0), ("٣", 0)])
    def test_the_number_of_destroyed_versions(self, text: str, number: int) -> None:
        """A number that cannot be one counts as none destroyed."""
        assert connected(expiring(), destroyed_to=text).destroyed_to == number

    @pytest.mark.parametrize("text", ["", "[]", "[" * 100_000, '{"7001": 1}', '{"7001": "a\\nb"}'])
    def test_the_advertisers_names(self, text: str) -> None:
        """Nothing that no line can show is taken for a name."""
        assert connected(long_lived(), advertiser_names=text).names == {}

    def test_names_and_ids_of_one_line(self) -> None:
        """A user name of two lines is none, and an empty annotation names no advertiser."""
        assert connected(of_account(), username="a\nb").username == ""
        assert connected(long_lived(), advertisers="").advertisers == ()


def test_the_guard_compares_with_what_was_approved() -> None:
    """Where the last list differs from it, that is written down beside; else both are the same."""
    assert connected(long_lived()).approved == ("7001", "7002")
    assert connected(long_lived(), approved="7001", advertisers="7002,7003").approved == ("7001",)
