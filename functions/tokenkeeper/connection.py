"""One connection's state, as the labels and annotations of its token secret hold it. No I/O.

What can happen to it is in `transitions`. Labels and annotations that are not ours are kept as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Generic, Literal, NamedTuple, TypeVar

from tokenkeeper import clock
from tokenkeeper.checks import is_line
from tokenkeeper.grant import Family, Grant

T = TypeVar("T")
Conflict = Literal["other_family", "other_account", "other_advertisers"]

MANAGED_BY = ("managed-by", "tiktok-token-keeper")
LARGEST_ADVERTISERS = 12 * 1024  # characters; keys and values of all annotations share Secret Manager's 16 KiB
WARNING_DAYS = (30, 14, 7, 3, 1)
_HEALTHS = ("ok", "failing", "reauthorize")
_ALERTED = "alerted"
_CODE = re.compile(r"-?[0-9]{1,18}", re.ASCII)


class Problem(NamedTuple):
    """What is wrong with a connection: the annotation `last-error`."""

    kind: str  # `reauthorize`, `transient`, `silent`, `unreachable`, `suspect`, `empty`, `broken` or `other_app`
    code: int | None = None  # TikTok's code, where there is one
    request_id: str = ""  # TikTok's id of the call, or empty
    alerted: bool = False  # whether an alert was logged for the state that the connection is in

    def __str__(self) -> str:
        """The annotation's text, which `parse` reads."""
        words = [self.kind, "" if self.code is None else str(self.code), self.request_id]
        return " ".join(filter(None, [*words, _ALERTED if self.alerted else ""]))

    @property
    def short(self) -> str:
        """The same for a person, without what only concerns us."""
        return str(self._replace(alerted=False))

    @classmethod
    def parse(cls, text: str) -> Problem | None:
        """Read the annotation; None where there is none."""
        kind, *rest = text.split() or [""]
        if not kind:
            return None
        alerted = _ALERTED in rest
        rest = [word for word in rest if word != _ALERTED]
        code = int(rest.pop(0)) if rest and _CODE.fullmatch(rest[0]) else None
        return cls(kind, code, rest[0] if rest else "", alerted)


# What was edited by hand, so that it cannot be read, is as good as missing.


def _time(text: str) -> datetime | None:
    try:
        return clock.parse(text)
    except (ValueError, OverflowError):
        return None


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _ids(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(",")))


def _names(text: str) -> Mapping[str, str]:
    try:
        names = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    found = names.items() if isinstance(names, dict) else ()
    return {id_: name for id_, name in found if isinstance(name, str) and is_line(name)}


def _line(text: str) -> str:
    return text if is_line(text) else ""


class _Annotation(Generic[T]):
    """An annotation as `read` understands it, which gets an empty text where there is none."""

    def __init__(self, key: str, read: Callable[[str], T]) -> None:
        self.key, self._read = key, read

    def __get__(self, connection: Connection, _: type[Connection]) -> T:
        return self._read(connection.annotations.get(self.key, ""))


@dataclass(frozen=True, slots=True)
class Connection:
    """The state of one connection."""

    name: str
    labels: Mapping[str, str]  # all labels of the token secret
    annotations: Mapping[str, str]  # all its annotations
    # what Secret Manager wants to see again with the next change; of two states that differ in nothing else, one is as
    # good as the other
    etag: str = field(default="", compare=False)

    connected_at = _Annotation("connected-at", _time)  # when it was last connected, to the millisecond
    obtained_at = _Annotation("obtained-at", _time)  # when the stored token was issued
    expires_at = _Annotation("expires-at", _time)  # end of the stored access token
    refresh_expires_at = _Annotation("refresh-expires-at", _time)  # end of the stored refresh token
    failing_since = _Annotation("failing-since", _time)  # since when it has been `failing` or `reauthorize`
    problem = _Annotation("last-error", Problem.parse)  # what is wrong with it; None: nothing
    last_link = _Annotation("last-link", str)  # id of the link that made the connection
    lease = _Annotation("lease", str)  # who holds the connection and until when, or empty
    destroyed_to = _Annotation("destroyed-to", _number)  # versions of the token secret up to this number are destroyed
    advertisers = _Annotation("advertisers", _ids)  # those that the token reaches, as many as the annotation holds
    names = _Annotation("advertiser-names", _names)  # the advertisers' names by id, as many as the annotation holds
    open_id = _Annotation("open-id", str)  # the TikTok account, for the family `account`; else empty
    username = _Annotation("username", _line)  # the TikTok account's name, where it is known
    warned = _Annotation("warned", _number)  # for how many days ahead the last end-of-life warning was; 0: none was
    _approved = _Annotation("approved", _ids)  # as `advertisers`, once they differ

    @property
    def ours(self) -> bool:
        """Whether the secret carries our label or one of our annotations; its name alone does not make it ours."""
        return MANAGED_BY in self.labels.items() or not _ANNOTATIONS.isdisjoint(self.annotations)

    @property
    def made(self) -> bool:
        """Whether a connection has come about; else it was cut off while connecting."""
        return self.connected_at is not None

    @property
    def family(self) -> Family:
        """What was authorized."""
        return "account" if self.labels.get("family") == "account" or self.open_id else "advertiser"

    @property
    def kind(self) -> str:
        """`long-lived`, `expiring`, or empty before there is a grant."""
        known = self.labels.get("kind", "")
        if known in {"long-lived", "expiring"} or not self.obtained_at:
            return known
        return "expiring" if self.expires_at or self.refresh_expires_at else "long-lived"

    @property
    def health(self) -> str:
        """`ok`, `failing` or `reauthorize`; empty before there is a grant."""
        known = self.labels.get("health", "")
        if known in _HEALTHS or not self.made:
            return known if known in _HEALTHS else ""
        if self.problem is None:
            return "ok"
        return "reauthorize" if self.problem.kind == "reauthorize" else "failing"

    @property
    def labels_missing(self) -> bool:
        """Whether labels of ours are missing or wrong, so that the next run has to put them back."""
        wanted = self.own_labels
        if "family" not in self.labels and self.family == "advertiser":  # which a missing one means
            wanted.pop("family", None)
        return self.made and {**self.labels, **wanted} != dict(self.labels)

    @property
    def own_labels(self) -> dict[str, str]:
        """The labels that it should carry, as far as they are known."""
        known = {"kind": self.kind, "health": self.health, "family": self.family if self.made else ""}
        return base_labels("token", self.name) | {key: value for key, value in known.items() if value}

    @property
    def bad(self) -> bool:
        """Whether it is `failing` or `reauthorize`."""
        return self.health in {"failing", "reauthorize"}

    @property
    def alerted(self) -> bool:
        """Whether an alert was logged for the state that it is in."""
        problem = self.problem
        return self.health == "reauthorize" or (self.health == "failing" and problem is not None and problem.alerted)

    def failing_of(self, kind: str) -> bool:
        """Whether it is `failing` with a problem of this kind."""
        return self.health == "failing" and self.problem is not None and self.problem.kind == kind

    @property
    def approved(self) -> tuple[str, ...]:
        """The advertisers that were approved, which a re-connection is compared with."""
        return self._approved or self.advertisers

    def username_of(self, grant: Grant) -> str:
        """The name that is known of a grant's account; empty where it is for another account, or there is none."""
        return self.username if self.open_id == grant.open_id else ""

    def ends_at(self, *, refreshable: bool) -> datetime | None:
        """When only a new authorization will help, as far as it is known: the refresh token's end, or the token's."""
        return self.refresh_expires_at if refreshable else self.expires_at

    def warning_due(self, now: datetime, *, refreshable: bool) -> int | None:
        """For how many days ahead (30, 14, 7, 3, 1) an end-of-life warning is due that was not given yet, or None."""
        end = self.ends_at(refreshable=refreshable)
        reached = [days for days in WARNING_DAYS if end is not None and end - now <= timedelta(days=days)]
        already = self.warned if self.warned in WARNING_DAYS else WARNING_DAYS[0] + 1
        return min(reached) if reached and min(reached) < already else None

    def conflict(self, grant: Grant) -> Conflict | None:
        """Why a grant may not take the place of this connection's, unless any account is allowed; None: it may.

        So nobody's reports change over to somebody else's account by mistake.
        """
        if self.made and self.family != grant.family:
            return "other_family"
        if self.open_id and self.open_id != grant.open_id:
            return "other_account"
        if self.approved and set(self.approved).isdisjoint(grant.advertiser_ids or ()):
            return "other_advertisers"
        return None

    def leased(self, lease: str) -> Connection:
        """Somebody holds it; empty: nobody."""
        return self.with_(annotations={"lease": lease or None})

    def with_(
        self, *, labels: Mapping[str, str] | None = None, annotations: Mapping[str, str | None] | None = None
    ) -> Connection:
        """The same connection with other labels and annotations; an annotation that is None is removed."""
        merged = {**self.annotations, **(annotations or {})}
        return replace(
            self,
            labels={**self.labels, **(labels or {})},
            annotations={key: value for key, value in merged.items() if value is not None},
        )


_ANNOTATIONS = frozenset(one.key for one in vars(Connection).values() if isinstance(one, _Annotation))


def base_labels(holds: str, connection: str = "") -> dict[str, str]:
    """The labels that every secret of ours carries, whatever its state."""
    return dict([MANAGED_BY, ("holds", holds)]) | ({"connection": connection} if connection else {})
