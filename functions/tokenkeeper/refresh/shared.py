"""Whether a trouble is one connection's own, or everybody's; and what outlives a run."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime

from tokenkeeper.clock import Deadline
from tokenkeeper.connection import Connection
from tokenkeeper.errors import Cause, Kind, StoreForbidden, StoreRejected, TikTokRefused
from tokenkeeper.grant import RefreshableGrant
from tokenkeeper.refresh.outcome import RunStopped, TryAgain, Why
from tokenkeeper.settings import Settings
from tokenkeeper.store.lease import READ_SECONDS, Lease, hold
from tokenkeeper.store.vault import Vault
from tokenkeeper.store.versions import Version
from tokenkeeper.tiktok.families import TikTok

READING = "read"
ADDING = "add"
MANY = 20  # connections with the same trouble, after which nobody else is asked about
_OF_ALL = {Cause.API_DISABLED, Cause.QUOTA_PROJECT, Cause.BILLING, Cause.LOGIN, Cause.PERIMETER}


@dataclass
class SharedTroubles:
    """Counts the connections of a run that met a trouble, until one is found that did not."""

    connections: int = 0  # how many there are, those included that the run has nothing to do for
    fine: set[str] = field(default_factory=set)  # troubles that a connection is known not to have: others have it alone
    _met: dict[str, set[str]] = field(default_factory=dict)

    def met(self, trouble: str, name: str) -> int:
        """A connection met it; returns `count`."""
        self._met.setdefault(trouble, set()).add(name)
        return self.count(trouble)

    def has_met(self, trouble: str, name: str) -> bool:
        """Whether this connection met it."""
        return name in self._met.get(trouble, ())

    def count(self, trouble: str) -> int:
        """How many connections met it; 0 where one is known that did not."""
        return 0 if trouble in self.fine else len(self._met.get(trouble, ()))


@dataclass(frozen=True, slots=True)
class Pending:
    """A grant that TikTok issued and the store has not taken yet."""

    grant: RefreshableGrant
    based_on: datetime  # `obtained_at` of the grant that it follows


@dataclass(frozen=True)
class RunContext:
    """What the work on single connections in one run shares."""

    settings: Settings
    vault: Vault
    tiktok: TikTok
    pending: dict[str, Pending]  # by connection, what the store has not taken; it outlives the run
    due_by: datetime  # what becomes due before this time is refreshed now
    force: bool = False  # whether to refresh what is not due
    troubles: SharedTroubles = field(default_factory=SharedTroubles)  # troubles that may be everybody's
    other_app: set[str] = field(default_factory=set)  # names of connections that belong to another app
    not_stored: set[str] = field(default_factory=set)  # those that this run logged `token.unsaved` for
    unanswered: set[str] = field(default_factory=set)  # those whose refresh was sent once and brought no answer
    permission: threading.Lock = field(default_factory=threading.Lock)  # held while asking if versions may be added

    def hold(self, name: str, known: Connection | None = None) -> AbstractContextManager[Lease]:
        """Hold a connection's lease; see `lease.hold`."""
        return hold(self.vault, name, "refresh", Deadline(READ_SECONDS), known=known)

    def newest(self, secret_id: str, known: Version | None = None) -> Version:
        """The newest version of a secret for certain; see `Versions.newest`."""
        return self.vault.versions.newest(secret_id, Deadline(READ_SECONDS), known)

    def raise_if_shared(self, name: str, error: TikTokRefused) -> None:
        """Raise what is not, or not certainly, this connection's own failure; return where it is.

        That is `TryAgain` where TikTok gets too many calls, `RunStopped` where all connections would fail alike.
        """
        if error.kind is Kind.THROTTLED:
            raise TryAgain(Why.THROTTLED)
        second = error.kind is Kind.SUSPECT and self.troubles.met(str(error.code), name) > 1
        if error.kind is Kind.OPERATOR or second:
            raise RunStopped(
                "app_refused",
                f"{error}: TikTok refuses this app or its credentials, for all connections alike. Check TIKTOK_APP_ID, "
                "TIKTOK_APP_SECRET and the app's state in TikTok's portal.",
            )

    def forbidden(self, name: str, error: StoreForbidden | StoreRejected) -> None:
        """Raise `RunStopped` where Secret Manager's refusal is everybody's; return where it may be this secret's."""
        if error.reason.cause in _OF_ALL:
            raise RunStopped("store_refuses", str(error))
        if isinstance(error, StoreForbidden):
            self.troubles.met(READING, name)

    def stop_if_shared(self, trouble: str, text: str) -> None:
        """Raise `RunStopped` with this text where nobody is known who does not have this trouble."""
        enough = 1 if trouble == ADDING else max(2, min(MANY, self.troubles.connections))
        if self.troubles.count(trouble) >= enough:
            raise RunStopped(f"may_not_{trouble}", text)
