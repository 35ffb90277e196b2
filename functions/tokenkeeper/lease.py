"""Who may work on a connection: one at a time, by compare-and-set on its annotations, with an end of its own.

Times of several machines may differ by minutes, and a wrong belief that a holder died would spend its refresh token
twice. So somebody who is about to spend one only takes over a lease that stood unchanged for a whole term by its own
stopwatch, or whose end is longer past than clocks may differ.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from tokenkeeper import clock
from tokenkeeper.clock import Deadline
from tokenkeeper.connection import Connection, Transition
from tokenkeeper.errors import LeaseLost, VaultError
from tokenkeeper.vault import Vault

CALLBACK = "connect"  # the role of a callback's holder
TERM = 45.0  # seconds; the longest single step under a lease takes CALL_SECONDS of `tiktok`
CLOCKS_DIFFER_BY = timedelta(minutes=21)  # one of them ten minutes behind, another ten ahead
_FURTHEST_AHEAD = timedelta(minutes=5)


class Sightings:
    """When each lease that somebody else holds was first seen as it is, by this process's stopwatch."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, float]] = {}

    def seen(self, connection: Connection, at: float | None = None) -> None:
        """Take note of a lease, seen now or at a moment of `clock.monotonic`."""
        lease, _ = self._seen.get(connection.name, ("", 0.0))
        if connection.lease != lease:
            self._seen[connection.name] = (connection.lease, clock.monotonic() if at is None else at)

    def disturbed(self) -> None:
        """Secret Manager was away, so that nobody could renew anything: what was seen before proves nothing."""
        self._seen.clear()

    def stands_for(self, connection: Connection) -> float:
        """Seconds for which the lease has been seen unchanged."""
        self.seen(connection)
        return clock.monotonic() - self._seen[connection.name][1]

    def dead(self, connection: Connection) -> bool:
        """Whether the holder has certainly died, or there is none."""
        if not connection.lease:
            return True
        end = _end(connection.lease)
        long_past = end is not None and clock.now() > end + CLOCKS_DIFFER_BY
        return long_past or self.stands_for(connection) >= TERM


def expired(connection: Connection) -> bool:
    """Whether nobody holds the connection by this machine's clock: enough for one who spends no refresh token."""
    end = _end(connection.lease)
    return end is None or clock.now() >= end or end > clock.now() + _FURTHEST_AHEAD + CLOCKS_DIFFER_BY


@dataclass(slots=True)
class Lease:
    """The right to work on a connection.

    Attributes:
        vault: Where the connection is.
        connection: Its state when it was last written.
        holder: Who holds it.
    """

    vault: Vault
    connection: Connection
    holder: str
    _until: float
    _unfinished: Transition | None = None

    def ensure(self, seconds: float, time: Deadline) -> None:
        """Make sure that the lease lasts for the next step, which may take so many seconds; renew it if need be.

        Raises:
            LeaseLost: somebody else took it over, or the connection was deleted.
            VaultError: it could not be renewed.
        """
        if self._until - clock.monotonic() > seconds:
            return
        asked = clock.monotonic()
        text = _text(self.holder)
        self.change(lambda connection: connection.leased(text), time)
        self._until = asked + TERM

    def change(self, transition: Transition, time: Deadline) -> Connection:
        """Change the connection while holding it; raises as `ensure` does."""

        def checked(connection: Connection) -> Connection:
            if _holder(connection.lease) != self.holder:
                raise LeaseLost(f"Somebody else holds {connection.name} now.")
            return transition(connection)

        self.connection = self.vault.change(self.connection.name, checked, time, self.connection)
        return self.connection

    def finish(self, transition: Transition, time: Deadline) -> Connection:
        """Change the connection and give the lease back, in one write; raises as `ensure` does."""
        self._unfinished = transition
        connection = self.change(lambda connection: transition(connection).leased(""), time)
        self._unfinished = None
        return connection

    def give_back(self, time: Deadline) -> None:
        """Let go, if it is still held.

        A failure does no harm, since a lease ends by itself. What `finish` could not write is written now or not at
        all: without it the lease stays where it is, and tells the next one to look closely.
        """
        try:
            self.finish(self._unfinished or (lambda connection: connection), time)
        except (LeaseLost, VaultError):
            return


def take(vault: Vault, name: str, holder: str, free: Callable[[Connection], bool], time: Deadline) -> Lease | None:
    """Take the lease of a connection.

    Args:
        vault: Where the connection is.
        name: Its name.
        holder: Who takes it, from `new_holder`.
        free: Whether the lease that a connection bears counts no more.
        time: The most that it may take.

    Returns:
        None where somebody else holds it.

    Raises:
        VaultError: it could not be asked for; `SecretMissing` where there is no such connection.
    """
    asked = clock.monotonic()
    text = _text(holder)

    def taken(connection: Connection) -> Connection:
        if connection.lease and _holder(connection.lease) != holder and not free(connection):
            raise LeaseLost(f"Somebody else holds {connection.name}.")
        return connection.leased(text)

    found = vault.connection(name, time)
    try:
        # Taken over at once or not at all: while Secret Manager accepts no writes, a holder that lives cannot renew.
        connection = vault.change(name, taken, time, found, again=not found.lease)
        return Lease(vault, connection, holder, asked + TERM)
    except LeaseLost:
        return None


def create(vault: Vault, name: str, holder: str, time: Deadline) -> Lease:
    """Make the secret of a connection to be, and hold it; raises `SecretExists` where it is there already."""
    asked = clock.monotonic()
    return Lease(vault, vault.create(name, _text(holder), time), holder, asked + TERM)


def left_by_callback(connection: Connection) -> bool:
    """Whether the lease that a connection bears is a callback's."""
    return _holder(connection.lease).startswith(f"{CALLBACK}-")


def new_holder(role: str) -> str:
    """An id for somebody who is about to hold a connection."""
    return f"{role}-{secrets.token_hex(6)}"


def _text(holder: str) -> str:
    return f"{holder} {clock.text(clock.now() + timedelta(seconds=TERM), precise=True)}"


def _holder(lease: str) -> str:
    return lease.partition(" ")[0]


def _end(lease: str) -> datetime | None:
    try:
        return clock.parse(lease.partition(" ")[2])
    except (ValueError, OverflowError):
        return None
