"""A connection as the labels and annotations of its token secret tell it, and the changes that can happen to it.

Labels and annotations that are not ours are kept as they are. No I/O.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from tokenkeeper import clock
from tokenkeeper.grant import Grant

MANAGED_BY = ("managed-by", "tiktok-token-keeper")
LARGEST_ADVERTISERS = 12 * 1024  # characters; keys and values of all annotations share Secret Manager's 16 KiB
LARGEST_NAMES = 2 * 1024  # bytes
ALERTED = " alerted"  # at the end of `last-error`, where an alert told of it
WARNING_DAYS = (30, 14, 7, 3, 1)
_SAME_END = timedelta(hours=1)  # a lifetime that counts down comes back a little off

Transition = Callable[["Connection"], "Connection"]


@dataclass(frozen=True, slots=True)
class Connection:
    """The state of one connection.

    Attributes:
        name: The connection's name.
        labels: All labels of the token secret.
        annotations: All its annotations.
        etag: What Secret Manager wants to see again with the next change.
    """

    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    etag: str = field(default="", compare=False)

    # --- what is known ---

    @property
    def made(self) -> bool:
        """Whether a connection has come about; else it was cut off while connecting."""
        return self.connected_at is not None

    @property
    def kind(self) -> str:
        """`long-lived`, `expiring`, or empty before there is a grant."""
        return self.labels.get("kind", "")

    @property
    def health(self) -> str:
        """`ok`, `failing` or `reauthorize`; empty before there is a grant."""
        return self.labels.get("health", "")

    @property
    def connected_at(self) -> datetime | None:
        """When it was last connected, to the millisecond."""
        return self._time("connected-at")

    @property
    def obtained_at(self) -> datetime | None:
        """When the stored token was handed out."""
        return self._time("obtained-at")

    @property
    def expires_at(self) -> datetime | None:
        """End of the stored access token."""
        return self._time("expires-at")

    @property
    def refresh_expires_at(self) -> datetime | None:
        """End of the stored refresh token."""
        return self._time("refresh-expires-at")

    @property
    def failing_since(self) -> datetime | None:
        """Since when it has been `failing` or `reauthorize`."""
        return self._time("failing-since")

    @property
    def alerted(self) -> bool:
        """Whether an alert told of the state that it is in."""
        return self.health == "reauthorize" or (self.health == "failing" and self.last_error.endswith(ALERTED))

    @property
    def last_error(self) -> str:
        """Kind, code and request id of what is wrong."""
        return self.annotations.get("last-error", "")

    @property
    def last_link(self) -> str:
        """Id of the link that made the connection."""
        return self.annotations.get("last-link", "")

    @property
    def lease(self) -> str:
        """Who holds the connection and until when, or empty."""
        return self.annotations.get("lease", "")

    @property
    def destroyed_to(self) -> int:
        """Versions of the token secret up to this number are destroyed."""
        text = self.annotations.get("destroyed-to", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0

    @property
    def advertisers(self) -> tuple[str, ...]:
        """The advertisers, as many as the annotation holds."""
        return tuple(filter(None, self.annotations.get("advertisers", "").split(",")))

    @property
    def names(self) -> Mapping[str, str]:
        """The advertisers' names by id, as many as the annotation holds, for people to read."""
        try:
            names = json.loads(self.annotations.get("advertiser-names", "{}"))
        except (ValueError, RecursionError):  # edited by hand: as good as missing
            return {}
        found = names.items() if isinstance(names, dict) else ()
        return {id_: name for id_, name in found if isinstance(name, str) and name.isprintable()}

    def ends_at(self, *, refreshable: bool) -> datetime | None:
        """When only a new authorization will help, as far as it is known: the end of what renews it, or its own."""
        return self.refresh_expires_at if refreshable else self.expires_at

    def warning_due(self, now: datetime, *, refreshable: bool) -> int | None:
        """For how many days ahead (30, 14, 7, 3, 1) an end-of-life warning is due that was not given yet, or None."""
        end = self.ends_at(refreshable=refreshable)
        reached = [days for days in WARNING_DAYS if end is not None and end - now <= timedelta(days=days)]
        given = self.annotations.get("warned", "")
        already = int(given) if given in map(str, WARNING_DAYS) else WARNING_DAYS[0] + 1
        return min(reached) if reached and min(reached) < already else None

    # --- what can happen to it ---

    def stored(self, grant: Grant) -> Connection:
        """A grant of this connection was stored: all is well."""
        old_end = self.refresh_expires_at or self.expires_at
        new_end = grant.ends_at
        moved = old_end is None or new_end is None or new_end - old_end > _SAME_END
        ids = grant.advertiser_ids
        return self._with(
            labels={"kind": grant.kind, "health": "ok"},
            annotations={
                "obtained-at": clock.text(grant.obtained_at),
                "expires-at": clock.text(grant.expires_at) if grant.expires_at else None,
                "refresh-expires-at": clock.text(grant.refresh_expires_at) if grant.refresh_expires_at else None,
                "failing-since": None,
                "last-error": None,
                "warned": None if moved else self.annotations.get("warned"),
                "advertisers": self.annotations.get("advertisers") if ids is None else fitting(ids),
            },
        )

    def connected(self, grant: Grant, at: datetime, link: str) -> Connection:
        """A new authorization was stored, made with the link of that id (empty: the portal's own)."""
        made = {"connected-at": clock.text(at, precise=True), "last-link": link or None, "warned": None}
        known = self.names
        names = {id_: known[id_] for id_ in grant.advertiser_ids or () if id_ in known}
        return self._with(annotations=made).stored(grant).named(names)

    def completed(self, grant: Grant, *, reconnected: bool = False) -> Connection:
        """What was cut off is finished from the payload that had been stored.

        Args:
            grant: The grant in it.
            reconnected: Whether it was a re-connection that was cut off: its link is used then, as all before it.
        """
        if self.made and not reconnected:
            return self.stored(grant)
        connected = self._with(annotations={"connected-at": clock.text(grant.obtained_at, precise=True)}).stored(grant)
        return connected if self.made else connected.named(self.names)

    def named(self, names: Mapping[str, str]) -> Connection:
        """These are the advertisers' names by id; an empty one says that they are not known yet."""
        return self._with(annotations={"advertiser-names": fitting_names(names)})

    def knows_other_names(self, names: Mapping[str, str]) -> bool:
        """Whether others are written down. Where none ever were, nothing is missed."""
        known = self.annotations.get("advertiser-names")
        return known is not None and known != fitting_names(names)

    def failed(self, error: str, at: datetime) -> Connection:
        """It is `failing`, since the first time that this was found."""
        return self._bad("failing", error, at)

    def needs_person(self, error: str, at: datetime) -> Connection:
        """Only a new authorization helps."""
        return self._bad("reauthorize", error, at)

    def recovered(self) -> Connection:
        """All is well again."""
        return self._with(labels={"health": "ok"}, annotations={"failing-since": None, "last-error": None})

    def warned_of_end(self, days: int) -> Connection:
        """The warning for so many days ahead was given."""
        return self._with(annotations={"warned": str(days)})

    def cleared_to(self, version: int) -> Connection:
        """Versions of the token secret up to this number are destroyed."""
        return self._with(annotations={"destroyed-to": str(version)}) if version > self.destroyed_to else self

    def leased(self, lease: str) -> Connection:
        """Somebody holds it; empty: nobody."""
        return self._with(annotations={"lease": lease or None})

    def same_state(self, other: Connection) -> bool:
        """Whether nothing differs but the etag."""
        return dict(self.labels) == dict(other.labels) and dict(self.annotations) == dict(other.annotations)

    def _bad(self, health: str, error: str, at: datetime) -> Connection:
        since = self.failing_since or at
        return self._with(
            labels={"health": health}, annotations={"failing-since": clock.text(since), "last-error": error}
        )

    def _time(self, key: str) -> datetime | None:
        try:
            return clock.parse(self.annotations.get(key, ""))
        except (ValueError, OverflowError):  # edited by hand: as good as missing
            return None

    def _with(
        self, *, labels: Mapping[str, str] | None = None, annotations: Mapping[str, str | None] | None = None
    ) -> Connection:
        merged = {**self.annotations, **(annotations or {})}
        return replace(
            self,
            labels={**self.labels, **(labels or {})},
            annotations={key: value for key, value in merged.items() if value is not None},
        )


def fitting(ids: Iterable[str]) -> str:
    """The ids with commas between, as many as fit into the annotation."""
    text = ",".join(ids)
    return text if len(text) <= LARGEST_ADVERTISERS else text[: LARGEST_ADVERTISERS + 1].rpartition(",")[0]


def fitting_names(names: Mapping[str, str]) -> str:
    """The names by id as a JSON object, as many as fit into the annotation."""
    text = "{"
    for id_, name in names.items():
        entry = f"{', ' if len(text) > 1 else ''}{json.dumps(id_)}: {json.dumps(name, ensure_ascii=False)}"
        if len((text + entry).encode()) >= LARGEST_NAMES:
            break
        text += entry
    return text + "}"
