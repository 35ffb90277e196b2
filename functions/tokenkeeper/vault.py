"""What the token keeper stores in Secret Manager: names, labels, stubborn writing, and reading past a late `latest`."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from tokenkeeper import clock
from tokenkeeper.clock import Deadline
from tokenkeeper.connection import MANAGED_BY, Connection, Transition
from tokenkeeper.errors import (
    SecretChanged,
    SecretExists,
    SecretMissing,
    SecretUnreadable,
    VaultError,
    VaultUnavailable,
)
from tokenkeeper.settings import CONNECTION, Settings

if TYPE_CHECKING:
    from tokenkeeper.secretmanager import Secret, SecretManager

ADD_VERSIONS = "secretmanager.versions.add"
_LAST_TRY = 0.5  # seconds before the end, when what failed is tried for the last time
_AT_ONCE = 3  # so many versions are destroyed one by one without asking first which of them still live


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest version there is.

    Attributes:
        number: Its number; 0: there is no version.
        payload: What it holds; None where it is disabled or destroyed, or there is none.
    """

    number: int
    payload: bytes | None

    def __repr__(self) -> str:
        return f"Newest({self.number}, …)"


@dataclass(slots=True)
class Inventory:
    """What the listing of all secrets brought.

    Attributes:
        connections: By name, as the list tells them, which may be late. Without their advertisers, to stay small,
            unless they were asked for.
        refreshable: Names of the connections that have a refresh secret.
        resume_after: The long-lived connection where the last run stopped, or empty.
        last_run: What the last run wrote down: see `note_run`.
    """

    connections: dict[str, Connection]
    refreshable: set[str]
    resume_after: str = ""
    last_run: Mapping[str, str] = field(default_factory=dict)


class Vault:
    """The secrets of one prefix in one project. One instance serves many threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._prefix = settings.secret_prefix

    @cached_property
    def secrets(self) -> SecretManager:
        """Secret Manager itself."""
        from tokenkeeper.secretmanager import SecretManager  # slow to import, and a start need not wait for it

        chosen = self._settings
        return SecretManager(chosen.project, chosen.emulator_host, chosen.secret_locations, chosen.secret_kms_key)

    def token_id(self, connection: str) -> str:
        """Name of the secret that pipelines read."""
        return f"{self._prefix}-token-{connection}"

    def refresh_id(self, connection: str) -> str:
        """Name of the secret with the whole grant."""
        return f"{self._prefix}-refresh-{connection}"

    @property
    def keeper_id(self) -> str:
        """Name of the secret without versions that tells about the last run."""
        return f"{self._prefix}-keeper"

    # --- connections ---

    def inventory(self, time: Deadline, *, advertisers: bool = False) -> Inventory:
        """All connections of this prefix, from one listing; with their advertisers, if those are asked for."""
        found = Inventory({}, set())
        for secret in self.secrets.secrets(dict([MANAGED_BY]), time):
            if secret.labels.get(MANAGED_BY[0]) != MANAGED_BY[1]:
                continue
            if secret.id == self.keeper_id:
                found.last_run = secret.annotations
                found.resume_after = secret.annotations.get("resume-after", "")
                continue
            name = secret.labels.get("connection", "")
            if not CONNECTION.fullmatch(name):
                continue
            if secret.id == self.token_id(name):
                kept = {key: value for key, value in secret.annotations.items() if advertisers or key != "advertisers"}
                found.connections[name] = Connection(name, secret.labels, kept)
            elif secret.id == self.refresh_id(name):
                found.refreshable.add(name)
        return found

    def connection(self, name: str, time: Deadline) -> Connection:
        """One connection as its secret tells it.

        Raises:
            SecretMissing: there is none of that name.
        """
        return _connection(name, self.secrets.get(self.token_id(name), time))

    def create(self, name: str, lease: str, time: Deadline) -> Connection:
        """Make the token secret of a connection to be, held by `lease`.

        Raises:
            SecretExists: it is there already.
        """
        annotations = {"lease": lease} if lease else {}
        labels = dict([MANAGED_BY, ("holds", "token"), ("connection", name)])
        topic = self._settings.secret_topic
        return _connection(name, self.secrets.create(self.token_id(name), labels, annotations, time, topic=topic))

    def change(
        self,
        name: str,
        transition: Transition,
        time: Deadline,
        known: Connection | None = None,
        *,
        again: bool = True,
    ) -> Connection:
        """Apply a transition to the connection as it is now; one that changes nothing writes nothing.

        Args:
            name: The connection.
            transition: Gets the connection's state, perhaps several times, since others may write in between.
                What it raises is raised here.
            time: The most that it may take.
            known: The state that was seen last, to save reading it.
            again: Whether to write again where that failed in passing.

        Returns:
            The new state.
        """
        while True:
            before = known or self.connection(name, time)
            after = transition(before)
            if after.same_state(before):
                return before
            try:
                return self._save(after, time, again=again)
            except SecretChanged:
                # Somebody else wrote; or this very call took place and its answer was lost; or what was read is late.
                known = None
                now = self.connection(name, time)
                if now.same_state(after):
                    return now
                if time.over:
                    raise VaultUnavailable(f"Others kept changing {self.token_id(name)}.") from None
                if now.etag == before.etag:
                    clock.sleep(0.5)  # late reading: the next one may be newer
                else:
                    known = now

    def _save(self, connection: Connection, time: Deadline, *, again: bool) -> Connection:
        secret_id = self.token_id(connection.name)
        saved = self.secrets.update(
            secret_id, connection.labels, connection.annotations, connection.etag, time, again=again
        )
        return _connection(connection.name, saved)

    # --- versions ---

    def latest(self, secret_id: str, time: Deadline) -> Newest:
        """What `latest` points at, in one call; it may be a version or two late."""
        try:
            version = self.secrets.access(secret_id, "latest", time)
        except SecretMissing:
            return Newest(0, None)
        except SecretUnreadable:
            return Newest(self.secrets.number(secret_id, "latest", time), None)
        return Newest(version.number, version.payload)

    def at(self, secret_id: str, number: int, time: Deadline) -> Newest:
        """The version of that number."""
        try:
            return Newest(number, self.secrets.access(secret_id, number, time).payload)
        except (SecretMissing, SecretUnreadable):
            return Newest(number, None)

    def newest(self, secret_id: str, time: Deadline, known: Newest | None = None) -> Newest:
        """The newest version, certainly: from `known` or `latest` on, each next number is asked for, up to the last.

        Reading a version by its number is the only thing that Secret Manager promises to be up to date.
        """
        newest = known or self.latest(secret_id, time)
        while True:
            try:
                version = self.secrets.access(secret_id, newest.number + 1, time)
                newest = Newest(version.number, version.payload)
            except SecretUnreadable:
                newest = Newest(newest.number + 1, None)
            except SecretMissing:
                return newest

    def store(
        self,
        secret_id: str,
        payload: bytes,
        time: Deadline,
        *,
        newest: int | None = None,
        create: bool = False,
        before_try: Callable[[], None] = lambda: None,
    ) -> int:
        """Add a version, stubbornly: every failure is tried again until the time is over, a refusal included.

        Args:
            secret_id: The secret.
            payload: What to store.
            time: The most that it may take.
            newest: The number of the secret's newest version, where the caller may read versions: then a version whose
                answer was lost is found instead of added again.
            create: Make the secret where it is missing.
            before_try: Called before each try. A `VaultError` that it raises counts as the try's failure; anything else
                ends the trying.

        Returns:
            The number under which the payload is stored.

        Raises:
            SecretMissing: the secret is missing and may not be made.
            VaultError: the last failure, when the time was over.
        """
        wait = 0.25
        while True:
            try:
                before_try()
                return self.secrets.add(secret_id, payload, time)
            except SecretMissing as error:
                if not create:
                    raise
                failure = self._try_to_create(secret_id, time) or error
            except VaultError as error:
                failure = error
            if newest is not None and isinstance(failure, VaultUnavailable):
                landed = self._landed(secret_id, payload, newest, time)
                if landed:
                    return landed
            pause = random.uniform(wait / 2, wait)  # noqa: S311 - spreads retries, guards nothing
            left = time.remaining - _LAST_TRY
            if left <= 0:
                raise failure
            clock.sleep(min(pause, left))
            wait = min(wait * 2, 5.0)

    def _landed(self, secret_id: str, payload: bytes, newest: int, time: Deadline) -> int:
        try:
            found = self.newest(secret_id, time.within(5), Newest(newest, None))
        except VaultError:
            return 0
        return found.number if found.payload == payload else 0

    def _try_to_create(self, secret_id: str, time: Deadline) -> VaultError | None:
        holds, name = ("token", secret_id.removeprefix(self.token_id("")))
        if secret_id.startswith(self.refresh_id("")):
            holds, name = ("refresh", secret_id.removeprefix(self.refresh_id("")))
        try:
            labels = dict([MANAGED_BY, ("holds", holds), ("connection", name)])
            topic = self._settings.secret_topic if holds == "token" else ""
            self.secrets.create(secret_id, labels, {}, time.within(10), topic=topic)
        except SecretExists:
            return None
        except VaultError as error:
            return error
        return None

    def may_add(self, secret_id: str, time: Deadline) -> bool:
        """Whether the caller may add versions to a secret."""
        return ADD_VERSIONS in self.secrets.permitted(secret_id, [ADD_VERSIONS], time)

    def clear(self, secret_id: str, newest: int, cleared_to: int, time: Deadline) -> int:
        """Destroy the versions that are too many, oldest first; never the newest nor those before it that are kept.

        Args:
            secret_id: The secret.
            newest: The number of its newest version.
            cleared_to: Versions up to this number are known to be destroyed.
            time: The most that it may take. What it is too short for, a later call does.

        Returns:
            The number up to which all are destroyed now.
        """
        last = newest - self._settings.keep_versions
        doomed = list(range(cleared_to + 1, last + 1))
        if len(doomed) > _AT_ONCE:
            known = self.secrets.versions(secret_id, time)
            late = max(known, default=0)  # what is newer than the list knows may live as well
            doomed = [number for number in doomed if number > late or known.get(number)]
        for number in doomed:
            if time.over:
                return number - 1
            try:
                self.secrets.destroy(secret_id, number, time)
            except VaultUnavailable:
                return number - 1
        return max(cleared_to, last)

    # --- the last run ---

    def note_run(self, facts: Mapping[str, str], time: Deadline) -> None:
        """Write down what there is to know about a run, in one write; what is empty is taken away.

        Where another run writes in the same moment, its note is as good and stays.

        Raises:
            VaultError: it could not be written.
        """
        try:
            self._note(facts, time)
        except (SecretExists, SecretChanged):
            # Another run wrote; or this very call took place and its answer was lost; or what was read was late.
            found = self.secrets.get(self.keeper_id, time).annotations
            if found.get("last-run-finished", "") < facts["last-run-finished"]:
                with suppress(SecretChanged):
                    self._note(facts, time)

    def _note(self, facts: Mapping[str, str], time: Deadline) -> None:
        try:
            secret = self.secrets.get(self.keeper_id, time)
        except SecretMissing:
            facts = {key: value for key, value in facts.items() if value}
            self.secrets.create(self.keeper_id, dict([MANAGED_BY, ("holds", "keeper")]), facts, time)
            return
        annotations = {key: value for key, value in {**secret.annotations, **facts}.items() if value}
        self.secrets.update(self.keeper_id, secret.labels, annotations, secret.etag, time)


def _connection(name: str, secret: Secret) -> Connection:
    return Connection(name, secret.labels, secret.annotations, secret.etag)
