"""How all connections are, from one listing of the secrets: what is wrong, and what to do about it. No I/O."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from tokenkeeper import clock
from tokenkeeper.cli.show import number_of
from tokenkeeper.connection import LARGEST_ADVERTISERS, Connection
from tokenkeeper.store.vault import Inventory

ENDS_SOON = timedelta(days=30)
ENDS_VERY_SOON = timedelta(days=7)
RUN_IS_LATE = timedelta(hours=24)
HEALTHS = ("ok", "failing", "reauthorize", "unfinished", "orphaned")
_NEED_PERSON = {  # by the kind of problem, what to do instead of connecting again
    "broken": "its secret cannot be read: restore a version of it",
    "other_app": "belongs to another app than TIKTOK_APP_ID: set that one",
    "empty": "TikTok lists no ad account for its token: ask the advertiser to give access again",
}
_LONGEST_ID = 33  # an id and its comma: with less room left in the annotation, not all ids may be in it


@dataclass(frozen=True, slots=True)
class Line:
    """One connection, judged. Its advertisers are taken apart only when they are asked for: there may be many."""

    connection: Connection  # its state; of one that is orphaned, nothing but its name
    # `ok`, `failing`, `reauthorize`; `unfinished`: nothing was stored yet; `orphaned`: only its refresh secret is left
    health: str
    ends_at: datetime | None  # when only a new authorization helps
    todo: str  # what to do; empty: nothing
    needs_person: bool  # whether that needs a person now

    @property
    def name(self) -> str:
        """The connection's name."""
        return self.connection.name

    @property
    def more_advertisers(self) -> bool:
        """Whether there may be more advertisers than the annotation holds."""
        return len(self.connection.annotations.get("advertisers", "")) > LARGEST_ADVERTISERS - _LONGEST_ID

    def document(self) -> dict[str, Any]:
        """The JSON object for scripts."""
        found = self.connection
        ids, names = found.advertisers, found.names
        return {
            "connection": found.name,
            "health": self.health,
            "family": found.family,
            "kind": found.kind or None,
            "advertiser_ids": list(ids),
            "advertiser_names": {id_: names[id_] for id_ in ids if id_ in names},
            "more_advertisers": self.more_advertisers,
            "open_id": found.open_id or None,
            "username": found.username or None,
            "connected_at": _stamp(found.connected_at),
            "expires_at": _stamp(found.expires_at),
            "ends_at": _stamp(self.ends_at),
            "failing_since": _stamp(found.failing_since),
            "last_error": found.problem.short if found.problem else None,
            "needs_person": self.needs_person,
            "todo": self.todo or None,
        }


class LastRun(NamedTuple):
    """The last run, as it recorded itself."""

    started: datetime
    finished: datetime
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Overview:
    """How everything is."""

    lines: tuple[Line, ...]  # the connections by name
    last_run: LastRun | None  # None: there was none yet, or it recorded nothing
    run_is_late: bool  # whether there should have been a run since

    @property
    def well(self) -> bool:
        """Whether nobody is needed."""
        return not self.run_is_late and not any(line.needs_person for line in self.lines)

    @property
    def counts(self) -> dict[str, int]:
        """How many connections are how; healths that none has are left out."""
        found = Counter(line.health for line in self.lines)
        return {health: found[health] for health in HEALTHS if found[health]}

    def json(self) -> Iterator[str]:
        """The JSON object for scripts, piece by piece: of thousands the whole takes hundreds of megabytes."""
        run = self.last_run
        document = {
            "counts": self.counts,
            "connections": self.lines,
            "attention": [line.name for line in self.lines if line.needs_person],
            "last_run": run and run._asdict() | {"started": _stamp(run.started), "finished": _stamp(run.finished)},
            "run_is_late": self.run_is_late,
        }
        yield from json.JSONEncoder(indent=2, default=Line.document).iterencode(document)
        yield "\n"


def overview(inventory: Inventory, now: datetime, *, scheduled: bool) -> Overview:
    """Judge what the listing of all secrets, advertisers included, says at a time.

    `scheduled` tells whether runs come by themselves, so that a missing one is a sign of trouble.
    """
    lines = []
    for name, connection in inventory.connections.items():
        refreshable = name in inventory.refreshable
        health = connection.health if connection.made and connection.health else "unfinished"
        todo, needs_person = _todo(connection, now, refreshable=refreshable)
        lines.append(Line(connection, health, connection.ends_at(refreshable=refreshable), todo, needs_person))
    for name in inventory.refreshable - inventory.connections.keys():
        todo = f"its token secret was deleted: make link CONNECTION={name}, or make disconnect CONNECTION={name}"
        lines.append(Line(Connection(name, {}, {}), "orphaned", None, todo, needs_person=True))
    run = last_run(inventory.last_run)
    since = [run.finished] if run else [at for line in lines if (at := line.connection.connected_at)]
    late = scheduled and any(now - moment > RUN_IS_LATE for moment in since)
    return Overview(tuple(sorted(lines, key=lambda line: line.name)), run, late)


def last_run(annotations: Mapping[str, str]) -> LastRun | None:
    """The last run from the annotations that it wrote, or None where they name none."""
    try:
        started = clock.parse(annotations.get("last-run-started", ""))
        finished = clock.parse(annotations.get("last-run-finished", ""))
        counts = json.loads(annotations.get("last-run-counts", "{}"))
    except (ValueError, OverflowError, RecursionError):
        return None
    numbers = counts.items() if isinstance(counts, dict) else ()
    return LastRun(started, finished, {str(key): value for key, value in numbers if isinstance(value, int)})


def ago(moment: datetime, now: datetime) -> str:
    """How long ago that was, roughly."""
    minutes = int((now - moment).total_seconds() // 60)
    for size, unit in ((1440, "day"), (60, "hour")):
        if minutes >= 2 * size:
            return f"{minutes // size} {unit}s ago"
    return f"{number_of(minutes, 'minute')} ago" if minutes >= 1 else "just now"


def _todo(connection: Connection, now: datetime, *, refreshable: bool) -> tuple[str, bool]:
    """What to do about a connection, and whether that needs a person now."""
    link = f"make link CONNECTION={connection.name}" + (" FAMILY=account" if connection.family == "account" else "")
    if not connection.made or not connection.health:
        return f"was never finished: open its link again, or make disconnect CONNECTION={connection.name}", False
    failing = connection.health == "failing"
    problem = connection.problem
    code = f"code {problem.code}" if problem and problem.code is not None else ""
    if connection.health == "reauthorize":
        return f"access has ended at TikTok{f' ({code})' if code else ''}: {link}", True
    if failing and problem and problem.kind in _NEED_PERSON:
        return f"{_NEED_PERSON[problem.kind]}, or {link}", True
    end, token_end = connection.ends_at(refreshable=refreshable), connection.expires_at
    if end and end <= now:
        return f"ended {ago(end, now)}: {link}", True
    if token_end and token_end <= now:
        return f"its token ended {ago(token_end, now)} and was not refreshed: make refresh, then make doctor", True
    if end and end - now <= ENDS_SOON:
        return f"before it ends: {link}", end - now <= ENDS_VERY_SOON
    if failing:
        since = f" since {connection.failing_since:%Y-%m-%d %H:%M} UTC" if connection.failing_since else ""
        cause = code or (problem.kind if problem else "") or "unknown"
        if connection.alerted:
            return f"failing{since} ({cause}): see TikTok's status page and the log of refresh", True
        return f"nothing yet, every run tries again: failing{since} ({cause})", False
    return "", False


def _stamp(moment: datetime | None) -> str | None:
    return clock.text(moment) if moment else None
