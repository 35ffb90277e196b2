"""Each thing that can happen to a connection: its new state, together with the log entries that a person gets. No I/O.

Whoever applies a transition logs the entries first and marks the connection then (`Lease.apply`): a crash between the
two can repeat an alert, but never lose one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from tokenkeeper import clock, events
from tokenkeeper.connection import LARGEST_ADVERTISERS, Connection, Problem
from tokenkeeper.events import Entry
from tokenkeeper.grant import Grant, RefreshableGrant

LARGEST_NAMES = 2 * 1024  # bytes
FAILING_BECOMES_ALERT = timedelta(days=1)
TOKEN_NEARLY_OVER = timedelta(hours=6, minutes=30)  # of four runs a day the next one may come too late
_LARGEST_APPROVED = 768  # characters, and what `advertisers` leaves of its own
_SAME_END = timedelta(hours=1)  # a lifetime that counts down comes back a little off


class Change(NamedTuple):
    """A connection's new state, and what is logged about it."""

    connection: Connection
    entries: tuple[Entry, ...] = ()


Transition = Callable[[Connection], Change]


# --- a grant was stored ---


def connected(
    before: Connection,
    grant: Grant,
    at: datetime,
    link: str,
    labels: Mapping[str, str],
    names: Mapping[str, str] | None = None,
) -> Change:
    """A new authorization was stored at that time.

    `link` is the id of the link that it was made with, empty for the portal's own; `labels` are the operator's own;
    `names` are the advertisers' by id, None where they are not known, so that those that were known stay.
    """
    if names is None:
        known = before.names
        names = {id_: known[id_] for id_ in grant.advertiser_ids or () if id_ in known}
    made = before.with_(
        labels=labels,
        annotations={
            "connected-at": clock.text(at, precise=True),
            "last-link": link or None,
            "warned": None,
            "approved": None,
            "advertisers": None,
            "advertiser-names": fitting_names(names) if grant.family == "advertiser" else None,
        },
    )
    return Change(_stored(made, grant), _recovered_entries(before))


def refreshed(
    before: Connection, grant: RefreshableGrant, destroyed_to: int, *, reaches_nobody: bool = False
) -> Change:
    """A refreshed grant was stored in both secrets; where TikTok lists no advertiser for it, see `empty`."""
    stored = _pruned(_stored(before, grant), destroyed_to)
    entry = events.TOKEN_REFRESHED.entry(connection=before.name, expires_at=stored.annotations.get("expires-at"))
    if not reaches_nobody:
        return Change(stored, (entry, *_recovered_entries(before)))
    bad, alerts = empty(before)
    kept = {key: bad.annotations.get(key) for key in ("failing-since", "last-error")}
    return Change(stored.with_(labels={"health": "failing"}, annotations=kept), (entry, *alerts))


def verified(before: Connection, grant: Grant, names: Mapping[str, str] | None, destroyed_to: int) -> Change:
    """TikTok confirmed the stored token; `names` are the advertisers', None where they are not known."""
    kept = _pruned(_reconciled(before, grant, reconnected=False), destroyed_to)
    return Change(kept if names is None else named(kept, names), _recovered_entries(before))


def reconciled(before: Connection, grant: Grant, *, reconnected: bool = False) -> Change:
    """Labels and annotations are reconciled with the stored grant.

    With `reconnected`, a re-connection was cut off: its link is used then, and all links before it.
    """
    return Change(_reconciled(before, grant, reconnected=reconnected), _recovered_entries(before))


def changed_entries(before: Grant, after: Grant) -> tuple[Entry, ...]:
    """What is logged where a token reaches other ad accounts than before."""
    known, found = before.advertiser_ids, after.advertiser_ids
    if known is None or found is None:  # too many to be stored: only their number is known
        added, removed = [], []
        more = after.advertiser_count - before.advertiser_count
        counts = max(0, more), max(0, -more)
    else:
        added, removed = sorted(set(found) - set(known)), sorted(set(known) - set(found))
        counts = len(added), len(removed)
    if counts == (0, 0):
        return ()
    entry = events.CONNECTION_CHANGED.entry(
        "ERROR" if 2 * counts[1] > before.advertiser_count else "NOTICE",
        connection=before.connection,
        added_count=counts[0],
        removed_count=counts[1],
        added=added,
        removed=removed,
    )
    return (entry,)


# --- something is wrong, or no longer ---


def failing(before: Connection, problem: Problem, action: str) -> Change:
    """A transient failure outlasted the run; an alert once it has lasted, or the token is nearly over.

    `action` is what could not be done: `refreshed` or `verified`.
    """
    now, ends = clock.now(), before.expires_at
    since = before.failing_since if before.health == "failing" else None
    lasting = since is not None and now - since >= FAILING_BECOMES_ALERT
    nearly_over = ends is not None and ends - now < TOKEN_NEARLY_OVER
    if not before.alerted and (lasting or nearly_over):
        started = clock.text(since or now)
        entry = events.CONNECTION_FAILING.entry(connection=before.name, since=started, problem=problem.short)
        return Change(_bad(before, problem._replace(alerted=True)), (entry,))
    if before.health == "failing":
        return Change(before)
    entry = events.CONNECTION_FALTERING.entry(connection=before.name, problem=problem.short, action=action)
    return Change(_bad(before, problem), (entry,))


def ended(before: Connection, code: int, request_id: str) -> Change:
    """TikTok says, with this code, that the access has ended: only a new authorization helps."""
    entry = events.REAUTHORIZATION_REQUIRED.entry(connection=before.name, code=code, request_id=request_id or None)
    return _alerted(before, Problem("reauthorize", code, request_id), entry)


def broken(before: Connection, detail: str) -> Change:
    """A secret of it cannot be read or written; `detail` is the sentence that says so."""
    entry = events.SECRET_UNREADABLE.entry(connection=before.name, detail=detail)
    return _alerted(before, Problem("broken", alerted=True), entry)


def empty(before: Connection) -> Change:
    """TikTok lists no advertiser for a token that works, and said so twice."""
    return _alerted(before, Problem("empty", alerted=True), events.CONNECTION_EMPTY.entry(connection=before.name))


def of_other_app(before: Connection) -> Change:
    """It belongs to another app than the configured one; the run logs one alert for all of these."""
    return _alerted(before, Problem("other_app", alerted=True))


def recovered(before: Connection) -> Change:
    """All is well again; labels that were missing are put back."""
    labels = {**before.own_labels, "health": "ok"}
    well = before.with_(labels=labels, annotations={"failing-since": None, "last-error": None})
    return Change(well, _recovered_entries(before))


def relabelled(before: Connection) -> Change:
    """Labels that somebody removed are put back."""
    return Change(before.with_(labels=before.own_labels))


def warned_of_end(before: Connection, *, refreshable: bool) -> Change:
    """The end of what cannot be renewed comes near: warned of it, once for each of 30, 14, 7, 3 and 1 days."""
    days = before.warning_due(clock.now(), refreshable=refreshable)
    end = before.ends_at(refreshable=refreshable)
    if days is None or end is None:
        return Change(before)
    entry = events.REFRESH_TOKEN_ENDING.entry(
        connection=before.name,
        token="refresh token" if refreshable else "token, which cannot be refreshed,",
        ends_at=clock.text(end),
        days=days,
    )
    return Change(before.with_(annotations={"warned": str(days)}), (entry,))


# --- what goes into annotations ---


def named(before: Connection, names: Mapping[str, str]) -> Connection:
    """These are the advertisers' names by id; none: they are not known yet."""
    return before.with_(annotations={"advertiser-names": fitting_names(names)})


def knows_other_names(connection: Connection, names: Mapping[str, str]) -> bool:
    """Whether others are written down. Where none ever were, nothing is missing."""
    known = connection.annotations.get("advertiser-names")
    return known is not None and known != fitting_names(names)


def fitting(ids: Iterable[str], largest: int = LARGEST_ADVERTISERS) -> str:
    """The ids with commas between, as many as fit into so many characters."""
    text = ",".join(ids)
    return text if len(text) <= largest else text[: largest + 1].rpartition(",")[0]


def fitting_names(names: Mapping[str, str]) -> str:
    """The names by id as a JSON object, as many as fit into the annotation."""
    text = "{"
    for id_, name in names.items():
        entry = f"{', ' if len(text) > 1 else ''}{json.dumps(id_)}: {json.dumps(name, ensure_ascii=False)}"
        if len((text + entry).encode()) >= LARGEST_NAMES:
            break
        text += entry
    return text + "}"


def _stored(before: Connection, grant: Grant) -> Connection:
    refresh_end = grant.refresh_expires_at if isinstance(grant, RefreshableGrant) else None
    old_end = before.refresh_expires_at or before.expires_at
    moved = old_end is None or grant.ends_at is None or grant.ends_at - old_end > _SAME_END
    stored = before.with_(
        annotations={
            "obtained-at": clock.text(grant.obtained_at),
            "expires-at": clock.text(grant.expires_at) if grant.expires_at else None,
            "refresh-expires-at": clock.text(refresh_end) if refresh_end else None,
            "failing-since": None,
            "last-error": None,
            "warned": None if moved else before.annotations.get("warned"),
            "open-id": grant.open_id or None,
            "username": grant.username or before.username_of(grant) or None,
            **_advertisers(before, grant),
        },
    )
    return stored.with_(labels={**stored.own_labels, "family": grant.family, "kind": grant.kind, "health": "ok"})


def _advertisers(before: Connection, grant: Grant) -> dict[str, str | None]:
    if grant.family != "advertiser":
        return {"advertisers": None, "approved": None}
    if grant.advertiser_ids is None:
        return {}
    now = fitting(grant.advertiser_ids)
    differs = before.annotations.get("approved") or before.annotations.get("advertisers") != now
    room = LARGEST_ADVERTISERS + _LARGEST_APPROVED - len(now)
    return {"advertisers": now, "approved": (fitting(before.approved, room) or None) if differs else None}


def _reconciled(before: Connection, grant: Grant, *, reconnected: bool) -> Connection:
    if before.made and not reconnected:
        return _stored(before, grant)
    made = {"connected-at": clock.text(grant.obtained_at, precise=True), "approved": None, "advertisers": None}
    stored = _stored(before.with_(annotations=made), grant)
    return stored if before.made or grant.family != "advertiser" else named(stored, before.names)


def _pruned(before: Connection, destroyed_to: int) -> Connection:
    more = destroyed_to > before.destroyed_to
    return before.with_(annotations={"destroyed-to": str(destroyed_to)}) if more else before


def _alerted(before: Connection, problem: Problem, *entries: Entry) -> Change:
    """It has this problem; nothing is new where it had it before, or its access has ended: what helps is the same."""
    if before.health == "reauthorize" or (problem.kind != "reauthorize" and before.failing_of(problem.kind)):
        return Change(before)
    return Change(_bad(before, problem), entries)


def _bad(before: Connection, problem: Problem) -> Connection:
    since = before.failing_since or clock.now()
    health = "reauthorize" if problem.kind == "reauthorize" else "failing"
    return before.with_(
        labels={**before.own_labels, "health": health},
        annotations={"failing-since": clock.text(since), "last-error": str(problem)},
    )


def _recovered_entries(before: Connection) -> tuple[Entry, ...]:
    return (events.CONNECTION_RECOVERED.entry(connection=before.name),) if before.bad else ()
