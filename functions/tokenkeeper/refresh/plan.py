"""What there is to do in a run, in order, from one list of the secrets. No I/O."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from tokenkeeper import grant
from tokenkeeper.connection import Connection
from tokenkeeper.store.vault import Inventory


@dataclass(frozen=True, slots=True)
class Task:
    """One connection in a run."""

    connection: Connection  # its state as the list has it
    refreshable: bool  # whether it has a refresh secret
    inspect: bool  # whether to read and compare both secrets although nothing is due
    due: bool  # whether its refresh is due
    unlabelled: bool = False  # whether its refresh secret lacks our labels
    asked_again: bool = False  # whether TikTok's answer was surprising and is asked for a second time

    @property
    def name(self) -> str:
        """The connection's name."""
        return self.connection.name


@dataclass(slots=True)
class Plan:
    """What a run does."""

    expiring: list[Task] = field(default_factory=list)  # grants that end, nearest end first
    long_lived: list[Task] = field(default_factory=list)  # the others, by name, after where the last run stopped
    skipped: list[str] = field(default_factory=list)  # names of those that nothing is due for
    reauthorize: list[str] = field(default_factory=list)  # names of those that wait for a new authorization
    next_end: int | None = None  # seconds until the next token or refresh token ends for good; None: none does


def make_plan(
    inventory: Inventory,
    now: datetime,
    due_by: datetime,
    *,
    pending: Collection[str] = (),
    force: bool = False,
    resume_after: str = "",
) -> Plan:
    """Decide what to do for each connection.

    What becomes due by `due_by` is due now; with `force`, so is all that can be refreshed. `pending` are connections
    with a grant that the store has not taken yet; `resume_after` is the one where the last run stopped.
    """
    plan = Plan()
    for name, connection in inventory.connections.items():
        refreshable = name in inventory.refreshable
        unfinished = _is_unfinished(connection) or name in pending
        if connection.health == "reauthorize" and not unfinished:
            plan.reauthorize.append(name)
            continue
        unlabelled, obtained_at = name in inventory.unlabelled, connection.obtained_at
        inspect = unfinished or unlabelled or (refreshable and _is_odd(connection))
        due = refreshable and (force or obtained_at is None or grant.due(obtained_at, connection.expires_at, due_by))
        task = Task(connection, refreshable, inspect, due, unlabelled)
        if not refreshable and connection.kind != "expiring":
            plan.long_lived.append(task)
        elif due or inspect or not refreshable or connection.warning_due(now, refreshable=True) is not None:
            plan.expiring.append(task)
        else:
            plan.skipped.append(name)
    plan.expiring.sort(key=_nearest_end)
    plan.long_lived.sort(key=lambda task: (task.name <= resume_after, task.name))
    plan.next_end = _next_end(inventory, now)
    return plan


def _nearest_end(task: Task) -> tuple[float, str]:
    end = task.connection.expires_at
    return end.timestamp() if end else math.inf, task.name


def _is_unfinished(connection: Connection) -> bool:
    """Whether somebody was cut off, or still works on it, or labels are missing from what cannot be verified."""
    return bool(connection.lease) or not connection.made or (connection.labels_missing and connection.bad)


def _is_odd(connection: Connection) -> bool:
    """Whether a connection with a refresh secret does not look like one that is well."""
    return (
        connection.kind != "expiring"
        or connection.health != "ok"
        or connection.obtained_at is None
        or connection.labels_missing
    )


def _next_end(inventory: Inventory, now: datetime) -> int | None:
    ends = [
        end
        for name, connection in inventory.connections.items()
        if connection.health != "reauthorize"
        and (end := connection.ends_at(refreshable=name in inventory.refreshable)) is not None
    ]
    return max(0, int((min(ends) - now).total_seconds())) if ends else None
