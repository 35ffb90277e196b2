"""What labels and annotations of a token secret say about a connection, also where somebody edited them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tokenkeeper import clock
from tokenkeeper.connection import Connection, Problem
from unit.parts import NOON, connected, dashed, expiring, long_lived, of_account

OURS = {"managed-by": "tiktok-token-keeper", "holds": "token", "connection": "acme"}


class TestProblem:
    @pytest.mark.parametrize(
        ("problem", "text", "short"),
        [
            (Problem("silent"), "silent", "silent"),
            (Problem("transient", 50000, "2026ABC"), "transient 50000 2026ABC", "transient 50000 2026ABC"),
            (Problem("transient", -1), "transient -1", "transient -1"),
            (Problem("unreachable", None, "2026ABC"), "unreachable 2026ABC", "unreachable 2026ABC"),
            (Problem("empty", alerted=True), "empty alerted", "empty"),
            (Problem("suspect", 40118, "R1", alerted=True), "suspect 40118 R1 alerted", "suspect 40118 R1"),
        ],
        ids=[
            "a kind alone",
            "with TikTok's code and request id",
            "with a code below zero",
            "with a request id and no code",
            "with an alert",
            "with all of it",
        ],
    )
    def test_is_written_as_words_and_read_again(self, problem: Problem, text: str, short: str) -> None:
        """The annotation `last-error`; a person is not shown whether an alert was logged."""
        assert (str(problem), problem.short) == (text, short)
        assert Problem.parse(text) == problem

    def test_nothing_is_no_problem(self) -> None:
        """A connection without the annotation, or with an empty one, has none."""
        for text in ["", "  "]:
            assert Problem.parse(text) is None

    def test_what_was_edited_by_hand_is_still_a_problem(self) -> None:
        """Its first word is the kind; what is no code is none."""
        for text in ["odd ٣", "odd - x", "odd " + "9" * 50, "odd a b c d"]:
            found = Problem.parse(text)
            assert found is not None
            assert (found.kind, found.code) == ("odd", None)


class TestWhoseItIs:
    @pytest.mark.parametrize(
        ("labels", "annotations", "ours"),
        [
            (OURS, {}, True),
            ({"managed-by": "tiktok-token-keeper"}, {}, True),
            ({}, {"lease": "connect-1 2026"}, True),
            ({}, {"obtained-at": "2026-11-22T12:00:00Z"}, True),
            ({}, {}, False),
            ({"managed-by": "terraform", "connection": "acme"}, {"note": "x"}, False),
        ],
        ids=[
            "our labels",
            "one label of ours",
            "somebody removed the labels while it is being connected",
            "somebody removed the labels afterwards",
            "created beforehand and never connected",
            "somebody else's",
        ],
    )
    def test_a_label_or_an_annotation_makes_it_ours(
        self, labels: dict[str, str], annotations: dict[str, str], ours: bool
    ) -> None:
        """The name of a secret alone does not."""
        assert Connection("acme", labels, annotations).ours is ours

    def test_a_missing_family_means_advertiser(self) -> None:
        """Which is no reason to write; of an account the label is missed."""
        whole = connected(expiring())
        labels = {key: text for key, text in whole.labels.items() if key != "family"}
        assert not Connection("acme", labels, whole.annotations).labels_missing
        assert Connection("acme", labels, {**whole.annotations, "open-id": "o-1"}).labels_missing

    @pytest.mark.parametrize(
        "removed", ["managed-by", "holds", "connection", "kind", "health"], ids="without {}".format
    )
    def test_a_missing_label_is_noticed(self, removed: str) -> None:
        """Whichever label of ours somebody removes, the next run has to put it back."""
        whole = connected(of_account())
        labels = {key: text for key, text in whole.labels.items() if key != removed}
        assert not whole.labels_missing
        assert Connection("organic", labels, whole.annotations).labels_missing
        assert Connection("organic", {**whole.labels, "team": "x"}, whole.annotations).labels_missing is False

    def test_no_family_is_that_of_advertisers(self) -> None:
        """So connections from before there were accounts cause no write."""
        whole = connected(expiring())
        labels = {key: text for key, text in whole.labels.items() if key != "family"}
        assert Connection("acme", labels, whole.annotations).labels_missing is False


class TestStateWithoutLabels:
    """Whoever removes all labels hides nothing: the annotations say the same."""

    @pytest.mark.parametrize(
        ("problem", "health"),
        [("", "ok"), ("transient 50000", "failing"), ("reauthorize 40105 R", "reauthorize")],
    )
    def test_health(self, problem: str, health: str) -> None:
        """It follows from what is wrong."""
        annotations = {**connected(expiring()).annotations, "last-error": problem}
        assert Connection("acme", {}, annotations).health == health

    @pytest.mark.parametrize(
        ("made", "kind", "family"),
        [
            (connected(long_lived()), "long-lived", "advertiser"),
            (connected(expiring()), "expiring", "advertiser"),
            (connected(of_account()), "expiring", "account"),
        ],
        ids=["long-lived", "expiring", "an account"],
    )
    def test_kind_and_family(self, made: Connection, kind: str, family: str) -> None:
        """They follow from the ends and the open id."""
        bare = Connection(made.name, {}, made.annotations)
        assert (bare.kind, bare.family) == (kind, family)

    def test_what_is_not_connected_yet_has_neither(self) -> None:
        """A secret that was cut off while connecting has no kind and no health."""
        begun = Connection("acme", OURS, {"lease": "connect-1 2026"})
        assert (begun.made, begun.kind, begun.health, begun.labels_missing) == (False, "", "", False)


class TestAlerted:
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
    def test_whether_an_alert_was_logged_for_its_state(self, health: str, problem: str, alerted: bool) -> None:
        """So that no state is alerted of twice."""
        made = connected(expiring(), last_error=problem).with_(labels={"health": health})
        assert made.alerted is alerted


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
        made = connected(expiring(), refresh_expires_at=clock.text(NOON + left), warned=given)
        assert made.warning_due(NOON, refreshable=True) == due

    def test_without_a_refresh_token_the_tokens_own_end_counts(self) -> None:
        """What cannot be refreshed ends with the access token."""
        made = connected(expiring(), expires_at=clock.text(NOON + timedelta(days=2)))
        assert made.ends_at(refreshable=False) == NOON + timedelta(days=2)
        assert made.warning_due(NOON, refreshable=False) == 3

    def test_a_long_lived_token_ends_never(self) -> None:
        """Without an end there is nothing to warn of."""
        assert connected(long_lived()).warning_due(NOON + timedelta(days=9999), refreshable=False) is None


class TestEditedByHand:
    """What cannot be read is as good as missing."""

    @pytest.mark.parametrize("text", ["", "yesterday", "99999-01-01T00:00:00Z"])
    def test_a_time(self, text: str) -> None:
        """A time that cannot be read is no time."""
        for key in ("connected_at", "obtained_at", "expires_at", "refresh_expires_at", "failing_since"):
            edited = connected(expiring()).with_(annotations=dashed({key: text}))
            assert getattr(edited, key) is None, key

    def test_the_number_of_destroyed_versions(self) -> None:
        """A number that cannot be one counts as none destroyed."""
        for text, number in [("7", 7), ("", 0), ("-1", 0), ("x", 0), ("9" * 20, 0), ("٣", 0)]:
            assert connected(expiring(), destroyed_to=text).destroyed_to == number

    def test_the_advertisers_names(self) -> None:
        """Nothing that no line can show is taken for a name."""
        for text in ["", "nonsense", "[]", "[" * 100_000, '{"7001": 1}', '{"7001": "a\\nb"}']:
            assert connected(long_lived(), advertiser_names=text).names == {}

    def test_the_accounts_name(self) -> None:
        """A name of two lines is none."""
        assert connected(of_account(), username="a\nb").username == ""

    def test_no_ids(self) -> None:
        """An empty annotation names no advertiser."""
        assert connected(long_lived(), advertisers="").advertisers == ()


class TestComparing:
    def test_the_etag_is_no_part_of_the_state(self) -> None:
        """Two readings of the same labels and annotations are the same state."""
        assert Connection("a", {}, {}, "1").same_state(Connection("a", {}, {}, "2"))
        assert not Connection("a", {}, {}).same_state(Connection("a", {}, {"lease": "x"}))

    def test_a_lease_given_back_leaves_nothing(self) -> None:
        """A connection that nobody holds has no lease."""
        assert connected(expiring()).leased("refresh-1 2026").leased("").same_state(connected(expiring()))

    def test_the_guard_compares_with_what_was_approved(self) -> None:
        """Where the last list differs from it, that is written down beside; else both are the same."""
        assert connected(long_lived()).approved == ("7001", "7002")
        assert connected(long_lived(), approved="7001", advertisers="7002,7003").approved == ("7001",)
