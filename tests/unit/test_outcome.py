"""What comes of a run: counts that add up, and the answer's JSON."""

from __future__ import annotations

import json

import pytest

from tokenkeeper.refresh.outcome import Outcome, Summary, Verdict


def test_the_counts_add_up() -> None:
    """What was deleted meanwhile is not counted."""
    summary = Summary()
    for number, verdict in enumerate(Verdict):
        for _ in range(number + 1):
            summary.count("acme", Outcome(verdict))
    counted = summary.counted
    assert counted == {
        "connections": 21,
        "refreshed": 1,
        "verified": 2,
        "failing": 3,
        "reauthorize": 4,
        "skipped": 5,
        "remaining": 6,
    }
    assert counted.pop("connections") == sum(counted.values())


@pytest.mark.parametrize("overdue", [False, True])
def test_one_refresh_that_was_not_done_makes_the_run_overdue(*, overdue: bool) -> None:
    """However many others were."""
    summary = Summary()
    summary.count("a", Outcome(Verdict.FAILING, overdue=overdue))
    summary.count("b", Outcome(Verdict.REFRESHED))
    assert summary.overdue is overdue


def test_the_answer_is_one_object() -> None:
    """Counts, seconds and the names of those that need a person, each once; why it stopped only where it did."""
    summary = Summary(seconds=1.23456)
    for name in ("b", "a", "b"):
        summary.count(name, Outcome(Verdict.REAUTHORIZE, attention=True))
    document = summary.document()
    assert json.loads(json.dumps(document)) == document
    assert document["seconds"] == 1.235
    assert document["attention"] == ["a", "b"]
    assert "error" not in document
    summary.error = "It stopped."
    assert summary.document()["error"] == "It stopped."
