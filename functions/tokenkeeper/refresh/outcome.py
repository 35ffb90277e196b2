"""What comes of one connection in a run, and of the run. No I/O."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from tokenkeeper.errors import KeeperError
from tokenkeeper.refresh.plan import Task
from tokenkeeper.transitions import Transition


class Verdict(Enum):
    """How a connection counts in the summary of a run."""

    REFRESHED = "refreshed"
    VERIFIED = "verified"
    FAILING = "failing"
    REAUTHORIZE = "reauthorize"
    SKIPPED = "skipped"
    REMAINING = "remaining"
    NO_CONNECTION = ""
    """Not counted: deleted meanwhile, or cut off before anything was stored."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a task."""

    verdict: Verdict  # how it counts
    overdue: bool = False  # whether a refresh is due and was not done
    attention: bool = False  # whether a person is needed


FAILING = Outcome(Verdict.FAILING, attention=True)
REAUTHORIZE = Outcome(Verdict.REAUTHORIZE, attention=True)
OVERDUE = Outcome(Verdict.FAILING, overdue=True)


class Why(Enum):
    """Why a task is to be tried again later in the run."""

    HELD = "somebody else holds the connection"
    THROTTLED = "TikTok gets too many calls"
    TRANSIENT = "a transient failure"
    STORE = "Secret Manager is unavailable"


class Failure(NamedTuple):
    """What becomes of a connection that failed to the end."""

    mark: Transition  # what it is marked with
    outcome: Outcome  # how it counts
    shared: str = ""  # a trouble that all connections may share, see `SharedTroubles`; empty: none


@dataclass(eq=False)
class TryAgain(Exception):
    """A task is to be tried again later in the run; the run decides whether it is."""

    why: Why
    failure: Failure | None = None  # what it comes to if it is not; None: the run did not get to it
    task: Task | None = None  # the task to try; None: the same


class RunStopped(KeeperError):
    """A failure that all connections would share: none is marked, and the run stops; `reason` is a word for filters."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(slots=True)
class Summary:
    """What came of a run."""

    status: int = 200  # the HTTP status that tells Cloud Scheduler whether to call again
    counts: Counter[Verdict] = field(default_factory=Counter)  # how many connections ended up how
    attention: set[str] = field(default_factory=set)  # the connections that need a person
    overdue: bool = False  # whether a refresh that is due was not done
    seconds: float = 0.0  # how long the run took
    error: str = ""  # why it stopped, where it did

    def count(self, name: str, outcome: Outcome) -> None:
        """Add what came of a connection."""
        self.counts[outcome.verdict] += 1
        self.overdue |= outcome.overdue
        if outcome.attention:
            self.attention.add(name)

    @property
    def counted(self) -> dict[str, int]:
        """The counts that add up to `connections`."""
        numbers = {verdict.value: self.counts[verdict] for verdict in Verdict if verdict.value}
        return {"connections": sum(numbers.values()), **numbers}

    def document(self) -> dict[str, Any]:
        """The answer's JSON object."""
        document = {**self.counted, "seconds": round(self.seconds, 3), "attention": sorted(self.attention)}
        return document | ({"error": self.error} if self.error else {})
