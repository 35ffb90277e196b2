"""Storing a grant: refresh secret first, then token secret, retried until the deadline, never over a newer grant."""

from __future__ import annotations

from collections.abc import Callable
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

    Args:
        vault: Where it is stored.
        lease: The connection's lease, which is renewed as long as that is possible.
        grant: What is stored.
        deadline: When to stop trying.

    Raises:
        StoreError: it could not be stored until the deadline.
    """

    def renew() -> None:
        try:
            lease.ensure(_CALLBACK_STEP, deadline.within(5))
        except (LeaseLost, StoreError):
            return

    name = grant.connection
    contents = {vault.token_id(name): payload.of_token(grant)}
    if isinstance(grant, RefreshableGrant):
        contents = {vault.refresh_id(name): payload.of_refresh(grant), **contents}
    for secret_id, content in contents.items():
        vault.versions.add(secret_id, content, deadline, create=vault.create_missing, precondition=renew)


@dataclass(eq=False, repr=False)
class GrantWriter:
    """Stores what a refresh or a verification brought, unless a grant newer than the one it is based on is stored."""

    vault: Vault  # where to
    lease: Lease  # the connection's
    based_on: datetime  # `obtained_at` of the grant that was read
    numbers: Numbers  # the versions that it was read from; then those that were added

    def __post_init__(self) -> None:
        self._name = self.lease.connection.name

    def add_refresh(self, grant: RefreshableGrant) -> None:
        """Add a version to the refresh secret; raises as `add_token` does."""
        number = self._add(self.vault.refresh_id(self._name), payload.of_refresh(grant), self.numbers.refresh)
        self.numbers = self.numbers._replace(refresh=number)

    def add_token(self, grant: Grant) -> None:
        """Add a version to the token secret.

        Raises:
            Superseded: a newer grant is stored.
            StoreError: nothing could be stored.
        """
        number = self._add(self.vault.token_id(self._name), payload.of_token(grant), self.numbers.token)
        self.numbers = self.numbers._replace(token=number)

    def check_superseded(self) -> None:
        """Raise `Superseded` where somebody stored a newer grant meanwhile; what cannot be parsed is none."""
        deadline = Deadline(READ_SECONDS)
        for secret_id, number in (
            (self.vault.token_id(self._name), self.numbers.token),
            (self.vault.refresh_id(self._name), self.numbers.refresh),
        ):
            newest = self.vault.versions.newest(secret_id, deadline, Version(number, None))
            if newest.number > number and self._is_newer(newest):
                raise Superseded(f"Somebody else stored a newer grant of {self._name}.")

    def _add(self, secret_id: str, content: bytes, known: int) -> int:
        """Add a version; one of a newer grant that came in between is put on top again.

        Between the last look and the write nothing is read, to keep that moment short. So if the new version's number
        shows that somebody wrote in between after all, what they stored is added again.
        """
        versions = self.vault.versions
        create = self.vault.create_missing if secret_id == self.vault.refresh_id(self._name) else None
        number = versions.add(
            secret_id, content, Deadline(STORE_SECONDS), known=known, create=create, precondition=self._precondition()
        )
        for between in range(number - 1, known, -1):
            theirs = versions.at(secret_id, between, Deadline(READ_SECONDS))
            if theirs.payload and theirs.payload != content and self._is_newer(theirs):
                top = versions.newest(secret_id, Deadline(READ_SECONDS), Version(number, None))
                if top.number == number:
                    versions.add(secret_id, theirs.payload, Deadline(STORE_SECONDS), known=number)
                raise Superseded(f"Somebody else stored a newer grant of {self._name}.")
        return number

    def _precondition(self) -> Callable[[], None]:
        """Before each try: the lease is held, or at least nobody else stored a newer grant."""
        steps = iter([_FIRST_TRY])

        def precondition() -> None:
            try:
                self.lease.ensure(next(steps, _NEXT_TRY))
            except LeaseLost:
                self.check_superseded()
            except StoreError:
                return  # what cannot be renewed can perhaps be written all the same

        return precondition

    def _is_newer(self, newest: Version) -> bool:
        found = readable(newest, self._name)
        return found is not None and found.obtained_at > self.based_on


def readable(newest: Version, name: str) -> Grant | None:
    """The grant in a version; None where it cannot be read, or there is none."""
    try:
        return None if newest.payload is None else payload.parse(newest.payload, name)
    except PayloadError:
        return None
