"""Who may work on a connection: one at a time, by compare-and-set on an annotation, with an end of its own.

The annotation holds the holder's id and the lease's end. A lease lasts 45 s and may be taken over 30 s after its end:
the functions' clocks agree within 30 s. A holder that is slow but alive renews it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

from tokenkeeper import clock, log
from tokenkeeper.clock import Deadline
from tokenkeeper.connection import Connection
from tokenkeeper.errors import LeaseHeld, LeaseLost, SecretExists, SecretMissing, StoreError
from tokenkeeper.store.vault import Vault
from tokenkeeper.transitions import Change, Transition

CALLBACK = "connect"  # the role of a callback's holder
TERM = 45.0  # seconds; the longest single step under a lease, a call to TikTok, takes 25
READ_SECONDS = 15.0  # how long one step of reading or marking is tried
CLOCKS_DIFFER_BY = timedelta(seconds=30)
_FURTHEST_AHEAD = timedelta(minutes=5)  # no clock that agrees with ours writes an end further ahead
_BETWEEN_TRIES = 0.5  # seconds
_RELEASE_SECONDS = 5.0


@dataclass(eq=False, repr=False)
class Lease:
    """The right to work on a connection, from `hold`. What writes has `READ_SECONDS` unless a deadline is given."""

    vault: Vault
    connection: Connection  # its state when it was last written
    holder: str
    until: float  # on the clock that never jumps
    _last: Transition = Change  # what `finish` could not write

    def ensure(self, seconds: float, deadline: Deadline | None = None) -> None:
        """Make sure that the lease lasts for the next step, of so many seconds; renew it if need be.

        Raises `LeaseLost` where somebody else took it over or the connection was deleted, else a `StoreError`.
        """
        asked = clock.monotonic()
        if self.until - asked <= seconds:
            self._write(Change, deadline, lease=_text(self.holder))
            self.until = asked + TERM

    def apply(self, transition: Transition, deadline: Deadline | None = None) -> None:
        """Log what a transition says, then change the connection; raises as `ensure` does."""
        log.write(*transition(self.connection).entries)
        self._write(transition, deadline)

    def finish(self, transition: Transition, deadline: Deadline | None = None) -> None:
        """As `apply`, and give the lease back in the same write."""
        log.write(*transition(self.connection).entries)
        self._last = transition
        self._write(transition, deadline, lease="")
        self._last = Change

    def release(self, deadline: Deadline) -> None:
        """Give the lease back, if it is still held.

        A failure does no harm, since a lease ends by itself. What `finish` could not write is written now or not at
        all: without it the lease stays where it is, and tells the next run to read what is stored.
        """
        with suppress(LeaseLost, StoreError):
            self._write(self._last, deadline, lease="")

    def _write(self, transition: Transition, deadline: Deadline | None, lease: str | None = None) -> None:
        """Change the connection; `lease` is the annotation's new text, None: it stays."""

        def changed(before: Connection) -> Connection:
            if _holder(before.lease) != self.holder:
                raise LeaseLost(f"Somebody else holds {before.name} now.")
            after = transition(before).connection
            return after if lease is None else after.leased(lease)

        name = self.connection.name
        try:
            self.connection = self.vault.change(name, changed, deadline or Deadline(READ_SECONDS), self.connection)
        except SecretMissing:
            raise LeaseLost(f"The token secret of {name} was deleted.") from None


@contextmanager
def hold(
    vault: Vault,
    name: str,
    role: str,
    deadline: Deadline,
    *,
    wait: float = 0.0,
    create: Mapping[str, str] | None = None,
    check: Callable[[Connection], None] = lambda _: None,
    over: Deadline | None = None,
    known: Connection | None = None,
) -> Iterator[Lease]:
    """Hold a connection's lease while the block runs.

    The role is who takes it: `connect`, `refresh` or `cli`. Another holder is waited for, so many seconds. Where labels
    to `create` it with are given, a token secret that is missing is created. `check` gets the connection before the
    lease is written; what it raises is raised here. `over` is when everything has to be over, giving the lease back
    included. `known` is the connection as a list had it, to save reading it: one that is late is read after all.

    Raises:
        LeaseHeld: somebody else holds it.
        SecretMissing: there is no such connection.
        StoreError: it could not be taken.
    """
    holder, waiting = f"{role}-{secrets.token_hex(6)}", deadline.within(wait)

    def taken(connection: Connection) -> Connection:
        check(connection)
        if _holder(connection.lease) != holder and not is_free(connection):
            raise LeaseHeld(f"Somebody else holds {connection.name}.")
        return connection.leased(text)

    if known is not None and (known.lease or not known.etag):
        known = None  # its holder may be done by now; or the list left some of it out
    while True:
        asked, text = clock.monotonic(), _text(holder)
        try:
            found, known = known or vault.connection(name, deadline), None
            # Taken over at once or not at all: while Secret Manager accepts no writes, a live holder cannot renew.
            connection = vault.change(name, taken, deadline, found, retry=not found.lease)
            break
        except SecretMissing:
            if create is None:
                raise
            with suppress(SecretExists):
                connection = vault.create(name, text, deadline, create)
                break
        except LeaseHeld:
            if waiting.remaining < _BETWEEN_TRIES:
                raise
            clock.sleep(_BETWEEN_TRIES)
    lease = Lease(vault, connection, holder, asked + TERM)
    try:
        yield lease
    finally:
        lease.release(over.within(_RELEASE_SECONDS) if over else Deadline(_RELEASE_SECONDS))


def is_free(connection: Connection) -> bool:
    """Whether the connection has no lease, or one that may be taken over."""
    if not connection.lease:
        return True
    try:
        end, now = clock.parse(connection.lease.partition(" ")[2]), clock.now()
    except (ValueError, OverflowError):  # edited by hand
        return True
    return now > end + CLOCKS_DIFFER_BY or end > now + _FURTHEST_AHEAD


def left_by_callback(connection: Connection) -> bool:
    """Whether the lease that a connection carries is a callback's."""
    return connection.lease.startswith(f"{CALLBACK}-")


def _text(holder: str) -> str:
    return f"{holder} {clock.text(clock.now() + timedelta(seconds=TERM), precise=True)}"


def _holder(lease: str) -> str:
    return lease.partition(" ")[0]
