"""Storing a grant: refresh secret first, then token secret, retried until the deadline, never over a newer grant."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from tokenkeeper import payload
from tokenkeeper.clock import Deadline
from tokenkeeper.errors import LeaseLost, PayloadError, StoreError, Superseded
from tokenkeeper.grant import Grant, RefreshableGrant
from tokenkeeper.store.lease import READ_SECONDS, Lease
from tokenkeeper.store.vault import Vault
from tokenkeeper.store.versions import Version

STORE_SECONDS = 120.0  # how long storing what TikTok issued is tried
_FIRST_TRY = 15.0  # seconds that the first try to add a version may take
_NEXT_TRY = 35.0  # one more, with finding out whether the last one was done after all
_CALLBACK_STEP = 15.0


class Numbers(NamedTuple):
    """The numbers of the newest versions of a connection's two secrets, as far as they are known."""

    token: int = 0
    refresh: int = 0


def store_authorization(vault: Vault, lease: Lease, grant: Grant, deadline: Deadline) -> None:
    """Store a new authorization, whoever holds the connection by now: it cannot be had a second time.

    The lease is renewed as long as that is possible. Raises a `StoreError` where it could not be stored in time.
    """

    def renew() -> None:
        with suppress(LeaseLost, StoreError):
            lease.ensure(_CALLBACK_STEP, deadline.within(5))

    name = grant.connection
    contents = {vault.token_id(name): payload.of_token(grant)}
    if isinstance(grant, RefreshableGrant):
        contents = {vault.refresh_id(name): payload.of_refresh(grant), **contents}
    for secret_id, content in contents.items():
        vault.versions.add(secret_id, content, deadline, create=vault.create_missing, precondition=renew)


@dataclass(eq=False, repr=False)
class GrantWriter:
    """Stores what a refresh or a verification brought, unless a grant newer than the one it is based on is stored."""

    lease: Lease  # the connection's
    based_on: datetime  # `obtained_at` of the grant that was read
    numbers: Numbers  # the versions that it was read from; then those that were added

    def add_refresh(self, grant: RefreshableGrant) -> None:
        """Add a version to the refresh secret; raises as `add_token` does."""
        secret_id = self.lease.vault.refresh_id(grant.connection)
        create = self.lease.vault.create_missing
        number = self._add(secret_id, payload.of_refresh(grant), self.numbers.refresh, create)
        self.numbers = self.numbers._replace(refresh=number)

    def add_token(self, grant: Grant) -> None:
        """Add a version to the token secret; raises `Superseded` where a newer grant is stored, or a `StoreError`."""
        secret_id = self.lease.vault.token_id(grant.connection)
        number = self._add(secret_id, payload.of_token(grant), self.numbers.token)
        self.numbers = self.numbers._replace(token=number)

    def check_superseded(self) -> None:
        """Raise `Superseded` where somebody stored a newer grant meanwhile; what cannot be parsed is none."""
        vault, name, deadline = self.lease.vault, self.lease.connection.name, Deadline(READ_SECONDS)
        for secret_id, number in zip((vault.token_id(name), vault.refresh_id(name)), self.numbers, strict=True):
            newest = vault.versions.newest(secret_id, deadline, Version(number, None))
            if newest.number > number and self._is_newer(newest):
                raise Superseded(f"Somebody else stored a newer grant of {name}.")

    def _add(
        self, secret_id: str, content: bytes, known: int, create: Callable[[str, Deadline], None] | None = None
    ) -> int:
        """Add a version; one of a newer grant that came in between is put on top again.

        Between the last look and the write nothing is read, to keep that moment short. So if the new version's number
        shows that somebody wrote in between after all, what they stored is added again.
        """
        steps = iter([_FIRST_TRY])

        def precondition() -> None:
            """Before each try: the lease is held, or at least nobody else stored a newer grant."""
            try:
                self.lease.ensure(next(steps, _NEXT_TRY))
            except LeaseLost:
                self.check_superseded()
            except StoreError:
                return  # what cannot be renewed can perhaps be written all the same

        versions, to_store = self.lease.vault.versions, Deadline(STORE_SECONDS)
        number = versions.add(secret_id, content, to_store, known=known, create=create, precondition=precondition)
        for between in range(number - 1, known, -1):
            theirs = versions.at(secret_id, between, Deadline(READ_SECONDS))
            if theirs and theirs.payload and theirs.payload != content and self._is_newer(theirs):
                top = versions.newest(secret_id, Deadline(READ_SECONDS), Version(number, None))
                if top.number == number:
                    versions.add(secret_id, theirs.payload, Deadline(STORE_SECONDS), known=number)
                raise Superseded(f"Somebody else stored a newer grant of {self.lease.connection.name}.")
        return number

    def _is_newer(self, newest: Version) -> bool:
        found = readable(newest, self.lease.connection.name)
        return found is not None and found.obtained_at > self.based_on


def readable(newest: Version, name: str) -> Grant | None:
    """The grant in a version; None where it cannot be read, or there is none."""
    try:
        return None if newest.payload is None else payload.parse(newest.payload, name)
    except PayloadError:
        return None
