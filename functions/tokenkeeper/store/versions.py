"""Versions of a secret: the newest one for certain, adding with retries until the deadline, and pruning."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tokenkeeper import clock
from tokenkeeper.clock import Deadline
from tokenkeeper.errors import SecretMissing, StoreError, StoreUnavailable, VersionUnreadable

if TYPE_CHECKING:
    from tokenkeeper.store.secretmanager import SecretManager

_LAST_TRY = 0.5  # seconds before the deadline, when the last try begins
_FEW = 3  # so many versions are destroyed one by one without listing first which of them are left


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a secret."""

    number: int  # its number; 0: there is no version
    payload: bytes | None = field(repr=False)  # what it holds; None where it is disabled or destroyed, or there is none


@dataclass(eq=False, repr=False)
class Versions:
    """The versions of the secrets of one project. One instance serves many threads."""

    secrets: SecretManager
    keep: int  # how many of the newest versions of a secret are never destroyed

    def latest(self, secret_id: str, deadline: Deadline) -> Version:
        """What `latest` points at, in one call; it may be a version or two late."""
        try:
            return self.secrets.access(secret_id, "latest", deadline)
        except SecretMissing:
            return Version(0, None)
        except VersionUnreadable:
            return Version(self.secrets.number(secret_id, "latest", deadline), None)

    def at(self, secret_id: str, number: int, deadline: Deadline) -> Version | None:
        """The version of that number; None: there is none."""
        try:
            return self.secrets.access(secret_id, number, deadline)
        except SecretMissing:
            return None
        except VersionUnreadable:
            return Version(number, None)

    def newest(self, secret_id: str, deadline: Deadline, known: Version | None = None) -> Version:
        """The newest version for certain: from `known` or `latest` on, each next number is read until there is none.

        Reading a version by its number is the only thing that Secret Manager promises to be up to date.
        """
        found = known or self.latest(secret_id, deadline)
        while following := self.at(secret_id, found.number + 1, deadline):
            found = following
        return found

    def add(
        self,
        secret_id: str,
        payload: bytes,
        deadline: Deadline,
        *,
        known: int | None = None,
        create: Callable[[str, Deadline], None] | None = None,
        precondition: Callable[[], None] = lambda: None,
    ) -> int:
        """Add a version, with retries until the deadline, and return its number; a refusal is retried as well.

        Where the caller may read versions, `known` is the number of the newest one: then a version whose answer was
        lost is found instead of added again. `create` makes the secret where it is missing; without, `SecretMissing`
        is raised at once. `precondition` is called before each try: a `StoreError` that it raises counts as the try's
        failure, anything else ends the trying. At the deadline the last failure is raised.
        """
        wait, created = 0.25, False
        while True:
            try:
                precondition()
                return self.secrets.add(secret_id, payload, deadline)
            except SecretMissing as error:
                if create is None:
                    raise
                failure: StoreError = error
                try:
                    create(secret_id, deadline)
                    if not created:
                        created = True
                        continue
                except StoreError as refused:
                    failure = refused
            except StoreError as error:
                failure = error
            if known is not None and isinstance(failure, StoreUnavailable):
                number = self._stored_after_all(secret_id, payload, known, deadline)
                if number:
                    return number
            left = deadline.remaining - _LAST_TRY
            if left <= 0:
                raise failure
            clock.sleep(min(random.uniform(wait / 2, wait), left))  # noqa: S311 - spreads retries, guards nothing
            wait = min(wait * 2, 5.0)

    def prune(self, secret_id: str, newest_number: int, destroyed_to: int, deadline: Deadline) -> int:
        """Destroy the versions that are too many, oldest first; never the newest nor those before it that are kept.

        Versions up to `destroyed_to` are known to be destroyed; returns the number up to which all are now. What the
        deadline is too short for, a later call does.
        """
        last = newest_number - self.keep
        surplus = list(range(destroyed_to + 1, last + 1))
        if len(surplus) > _FEW:
            listed = self.secrets.versions(secret_id, deadline)
            late = max(listed, default=0)  # the list may not have what is newer yet
            surplus = [number for number in surplus if number > late or listed.get(number)]
        for number in surplus:
            if deadline.over:
                return number - 1
            try:
                self.secrets.destroy(secret_id, number, deadline)
            except StoreUnavailable:
                return number - 1
        return max(destroyed_to, last)

    def _stored_after_all(self, secret_id: str, payload: bytes, known: int, deadline: Deadline) -> int:
        try:
            found = self.newest(secret_id, deadline.within(5), Version(known, None))
        except StoreError:
            return 0
        return found.number if found.payload == payload else 0
