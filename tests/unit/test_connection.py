"""What labels and annotations of a token secret say about a connection, also where somebody edited them.

And which grants may take the place of its own.
"""

from dataclasses import replace
from datetime import timedelta

from tokenkeeper import clock
from tokenkeeper.connection import Connection, Problem
from tokenkeeper.grant import Grant
from unit.parts import DAY, NOON, connected, expiring, granted, long_lived, of_account, response


class TestProblem:
    def test_is_written_as_words_and_read_again(self) -> None:
        """The annotation `last-error`; a person is not shown whether an alert was logged."""
        written = {
            "silent": Problem("silent"),
            "transient -1": Problem("transient", -1),
            "unreachable 2026ABC": Problem("unreachable", None, "2026ABC"),
            "suspect 40118 R1 alerted": Problem("suspect", 40118, "R1", alerted=True),
        }
        assert {str(problem): problem for problem in written.values()} == written
        assert {text: Problem.parse(text) for text in written} == written
        assert written["suspect 40118 R1 alerted"].short == "suspect 40118 R1"

    def test_what_was_edited_by_hand_is_still_a_problem(self) -> None:
        """Its first word is the kind; what is no code is none; nothing is no problem."""
        found = [Problem.parse(text) for text in ("odd ٣", "odd - x", "odd " + "9" * 50, "odd a b c d")]
        assert [(problem.kind, problem.code) for problem in found if problem] == [("odd", None)] * 4
        assert Problem.parse("  ") is None


class TestLabels:
    def test_a_missing_one_is_noticed(self) -> None:
        """Whichever label of ours somebody removes, the next run has to put it back; others do not matter."""
        whole = connected(of_account()).with_(labels={"team": "x"})

        def without(removed: str) -> Connection:
            labels = {key: text for key, text in whole.labels.items() if key != removed}
            return Connection("organic", labels, whole.annotations)

        missed = {label for label in whole.labels if without(label).labels_missing}
        assert missed == {"managed-by", "holds", "connection", "kind", "health", "family"}
        assert not whole.labels_missing
        of_old = connected(expiring())  # from before there were accounts: a missing family means advertisers
        labels = {key: text for key, text in of_old.labels.items() if key != "family"}
        assert not Connection("acme", labels, of_old.annotations).labels_missing

    def test_without_any_the_annotations_say_the_same(self) -> None:
        """Health follows from what is wrong, kind and family from the ends and the open id."""
        made = {
            "ok": connected(long_lived()),
            "failing": connected(of_account(), last_error="transient 50000"),
            "over": connected(expiring(), last_error="reauthorize 40105 R"),
            "ending": connected(granted(response(expires_in=DAY))),
            "cut off while connecting": Connection("acme", {}, {"lease": "connect-1 2026"}),
        }
        bare = {name: Connection(one.name, {}, one.annotations) for name, one in made.items()}
        assert all(one.ours for one in bare.values())
        assert {name: (one.health, one.kind, one.family) for name, one in bare.items()} == {
            "ok": ("ok", "long-lived", "advertiser"),
            "failing": ("failing", "expiring", "account"),
            "over": ("reauthorize", "expiring", "advertiser"),
            "ending": ("ok", "expiring", "advertiser"),
            "cut off while connecting": ("", "", "advertiser"),
        }

    def test_whether_an_alert_was_logged_for_its_state(self) -> None:
        """So that no state is alerted of twice."""
        states = {
            ("ok", ""): False,
            ("failing", "transient 50000"): False,
            ("failing", "transient 50000 R alerted"): True,
            ("failing", ""): False,  # edited by hand
            ("reauthorize", "reauthorize 40105"): True,
        }
        assert {
            (health, problem): connected(expiring(), last_error=problem).with_(labels={"health": health}).alerted
            for health, problem in states
        } == states
        assert not connected(expiring()).with_(labels={"health": "failing"}).failing_of("empty")


class TestEditedByHand:
    """What cannot be read is as good as missing."""

    def test_a_time_or_a_number(self) -> None:
        """A time that cannot be read is no time, and what is no number of days or versions counts as none."""
        times = {text: connected(expiring(), obtained_at=text).obtained_at for text in ("", "soon", "99999-01-01")}
        assert set(times.values()) == {None}
        numbers = {"7": 7, "": 0, "-1": 0, "x": 0, "9" * 20: 0, "٣": 0}
        assert {text: connected(expiring(), destroyed_to=text).destroyed_to for text in numbers} == numbers
        ending = connected(expiring(), refresh_expires_at=clock.text(NOON + timedelta(days=2)), warned="nonsense")
        assert ending.warning_due(NOON, refreshable=True) == 3

    def test_names_and_ids(self) -> None:
        """Nothing that no line can show is taken for a name, and an empty annotation names no advertiser."""
        odd = ["", "[]", "[" * 100_000, '{"7001": 1}', '{"7001": "a\\nb"}']
        assert [connected(long_lived(), advertiser_names=text).names for text in odd] == [{}] * 5
        assert connected(of_account(), username="a\nb").username == ""
        assert connected(long_lived(), advertisers="").advertisers == ()


ADS = connected(long_lived())
ORGANIC = replace(of_account(), connection="acme")
RECONNECTIONS: dict[str, tuple[Connection, Grant, str | None]] = {
    "nothing was connected": (Connection("acme", {}, {}), long_lived(), None),
    "nothing was connected, an account": (Connection("acme", {}, {}), ORGANIC, None),
    "another kind of grant": (ADS, expiring(), None),
    "one of those that were approved": (ADS, long_lived().with_advertisers(["7002", "7004"]), None),
    "none of them": (ADS, long_lived().with_advertisers(["7003"]), "other_advertisers"),
    "those of the last list only": (connected(long_lived(), approved="7009"), long_lived(), "other_advertisers"),
    "not in the last list": (connected(long_lived(), advertisers="7003", approved="7001"), long_lived(), None),
    "the same account": (connected(ORGANIC), ORGANIC, None),
    "another account": (connected(ORGANIC), replace(ORGANIC, open_id="open-2"), "other_account"),
    "advertisers become an account": (ADS, ORGANIC, "other_family"),
}


def test_a_re_connection_is_of_the_same_family_and_for_some_of_the_same_accounts() -> None:
    """What was approved counts, not the list of the last run."""
    assert {case: connection.conflict(grant) for case, (connection, grant, _) in RECONNECTIONS.items()} == {
        case: found for case, (_, _, found) in RECONNECTIONS.items()
    }
