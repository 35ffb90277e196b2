"""What the token keeper stores in Secret Manager: names, the inventory, one connection's state, the run's record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from tokenkeeper import clock
from tokenkeeper.checks import CONNECTION
from tokenkeeper.clock import Deadline
from tokenkeeper.connection import MANAGED_BY, Connection, base_labels
from tokenkeeper.errors import SecretChanged, SecretExists, SecretMissing, StoreUnavailable
from tokenkeeper.settings import Settings
from tokenkeeper.store.versions import Versions

if TYPE_CHECKING:
    from tokenkeeper.store.documents import StoredSecret
    from tokenkeeper.store.secretmanager import SecretManager

ADD_VERSIONS = "secretmanager.versions.add"
_MANY = 512  # characters of ids and names, above which a list of thousands of connections leaves the ids out


@dataclass(eq=False, repr=False, slots=True)
class Inventory:
    """What the list of all secrets brought."""

    # by name, as the list has them, which may be late. One with many advertisers is without them, to stay small, unless
    # they were asked for, and without an etag, since it must not be written like that.
    connections: dict[str, Connection]
    refreshable: set[str]  # names of the connections that have a refresh secret
    last_run: Mapping[str, str] = field(default_factory=dict)  # what the last run recorded: see `Vault.record_run`
    # those of them whose refresh secret lacks our labels: somebody made it beforehand, or removed them
    unlabelled: set[str] = field(default_factory=set)


class Vault:
    """The secrets of one prefix in one project. One instance serves many threads."""

    def __init__(self, settings: Settings, secrets: SecretManager | None = None) -> None:
        """Set up; nothing is called yet. Secret Manager that is None is made as the settings say, when it is needed."""
        self._settings = settings
        self._prefix = settings.secret_prefix
        self._given = secrets

    @cached_property
    def _secrets(self) -> SecretManager:
        from tokenkeeper.store.secretmanager import SecretManager  # slow to import, and a start need not wait for it

        chosen = self._settings
        return self._given or SecretManager(
            chosen.project,
            chosen.emulator_host,
            chosen.secret_locations,
            chosen.secret_kms_key,
            metadata_host=chosen.metadata_host,
        )

    @cached_property
    def versions(self) -> Versions:
        """The versions of its secrets."""
        return Versions(self._secrets, self._settings.keep_versions)

    @property
    def project(self) -> str:
        """The project that holds the secrets; raises `SettingsError` where nothing names one."""
        return self._secrets.project

    @property
    def throttled(self) -> bool:
        """Whether Secret Manager refused calls as too many within the last seconds."""
        return self._secrets.throttled

    def token_id(self, connection: str) -> str:
        """Name of the secret that pipelines read."""
        return f"{self._prefix}-token-{connection}"

    def refresh_id(self, connection: str) -> str:
        """Name of the secret with the whole grant."""
        return f"{self._prefix}-refresh-{connection}"

    @property
    def keeper_id(self) -> str:
        """Name of the secret without versions that records the last run."""
        return f"{self._prefix}-keeper"

    # --- connections ---

    def inventory(self, deadline: Deadline, *, advertisers: bool = False) -> Inventory:
        """All connections of this prefix, from one list; with their advertisers, if those are asked for.

        A secret is a connection's if its name says so and it carries our label or one of our annotations.
        """
        token, refresh = self.token_id(""), self.refresh_id("")
        found = Inventory({}, set())
        without_labels: set[str] = set()
        for secret in self._secrets.list(f"{self._prefix}-", deadline):
            if secret.id == self.keeper_id:
                found.last_run = secret.annotations
            elif secret.id.startswith(token) and CONNECTION.fullmatch(name := secret.id.removeprefix(token)):
                connection = _connection(name, secret)
                if connection.ours:
                    found.connections[name] = connection if advertisers else _small(connection)
            elif secret.id.startswith(refresh):
                name = secret.id.removeprefix(refresh)
                if MANAGED_BY in secret.labels.items():
                    found.refreshable.add(name)
                if not base_labels("refresh", name).items() <= secret.labels.items():
                    without_labels.add(name)
        expiring = {name for name, connection in found.connections.items() if connection.kind == "expiring"}
        found.unlabelled = without_labels & expiring
        found.refreshable |= found.unlabelled
        return found

    def connection(self, name: str, deadline: Deadline) -> Connection:
        """One connection as its secret has it; raises `SecretMissing` where there is none."""
        return _connection(name, self._secrets.get(self.token_id(name), deadline))

    def create(self, name: str, lease: str, deadline: Deadline, labels: Mapping[str, str] | None = None) -> Connection:
        """Create the token secret of a connection to be, held by `lease`; raises `SecretExists` where there is one."""
        wanted = {**(labels or {}), **base_labels("token", name)}
        return _connection(name, self._secrets.create(self.token_id(name), wanted, {"lease": lease}, deadline))

    def change(
        self,
        name: str,
        transition: Callable[[Connection], Connection],
        deadline: Deadline,
        known: Connection | None = None,
        *,
        retry: bool = True,
    ) -> Connection:
        """Apply a transition to the connection as it is now, and return it; what changes nothing writes nothing.

        The transition may be called several times, since others may write in between; what it raises is raised here.
        The state that was read last, if it is `known`, saves reading it.
        """
        from tokenkeeper.store.documents import StoredSecret  # slow to import, too

        def changed(secret: StoredSecret) -> StoredSecret:
            after = transition(_connection(name, secret))
            return replace(secret, labels=after.labels, annotations=after.annotations)

        secret_id = self.token_id(name)
        read = StoredSecret(secret_id, known.labels, known.annotations, known.etag) if known else None
        return _connection(name, self._update(secret_id, changed, deadline, read, retry=retry))

    def permissions(self, secret_id: str, wanted: Sequence[str], deadline: Deadline) -> frozenset[str]:
        """Which of these permissions the caller has on a secret."""
        return self._secrets.permissions(secret_id, wanted, deadline)

    def may_add(self, secret_id: str, deadline: Deadline) -> bool:
        """Whether the caller may add versions to a secret."""
        return ADD_VERSIONS in self.permissions(secret_id, [ADD_VERSIONS], deadline)

    # --- secrets and their versions ---

    def etag(self, secret_id: str, deadline: Deadline) -> str:
        """A secret's etag; raises `SecretMissing` where there is no such secret."""
        return self._secrets.get(secret_id, deadline).etag

    def has_label(self, secret_id: str, deadline: Deadline) -> bool:
        """Whether a secret carries our label; raises `SecretMissing` where there is no such secret."""
        return MANAGED_BY in self._secrets.get(secret_id, deadline).labels.items()

    def delete(self, secret_id: str, etag: str, deadline: Deadline) -> None:
        """Delete a secret with all its versions; raises `SecretChanged` where the etag is stale (empty: any)."""
        self._secrets.delete(secret_id, etag, deadline)

    def create_missing(self, secret_id: str, deadline: Deadline) -> None:
        """Create a secret that was found missing while a version was to be added; one that exists by now is fine."""
        holds, _, name = secret_id.removeprefix(f"{self._prefix}-").partition("-")  # `token` or `refresh`
        with suppress(SecretExists):
            self._secrets.create(secret_id, base_labels(holds, name), {}, deadline.within(10))

    def label_refresh_secret(self, name: str, deadline: Deadline) -> None:
        """Put our labels on a connection's refresh secret."""
        ours = base_labels("refresh", name)
        self._update(self.refresh_id(name), lambda found: replace(found, labels={**found.labels, **ours}), deadline)

    def record_run(self, facts: Mapping[str, str], deadline: Deadline) -> None:
        """Record a run in the keeper secret's annotations, in one write; a fact that is empty is removed."""
        labels = base_labels("keeper")

        def recorded(secret: StoredSecret) -> StoredSecret:
            annotations = _without_empty({**secret.annotations, **facts})
            return replace(secret, labels={**secret.labels, **labels}, annotations=annotations)

        try:
            self._update(self.keeper_id, recorded, deadline)
        except SecretMissing:
            with suppress(SecretExists):  # another run was faster: its record is as good
                self._secrets.create(self.keeper_id, labels, _without_empty(facts), deadline)

    def _update(
        self,
        secret_id: str,
        changed: Callable[[StoredSecret], StoredSecret],
        deadline: Deadline,
        known: StoredSecret | None = None,
        *,
        retry: bool = True,
    ) -> StoredSecret:
        """Compare and set: see `change`."""
        while True:
            before = known or self._secrets.get(secret_id, deadline)
            after = changed(before)
            if after == before:
                return before
            try:
                return self._secrets.update(after, deadline, retry=retry)
            except SecretChanged:
                # Somebody else wrote; or this very call was done and its answer was lost; or what was read is late.
                known = self._secrets.get(secret_id, deadline)
                if known == after:
                    return known
                if deadline.over:
                    raise StoreUnavailable(f"Others kept changing secret {secret_id}.") from None
                if known.etag == before.etag:
                    known = None
                    clock.sleep(0.5)  # late reading: the next one may be newer


def _connection(name: str, secret: StoredSecret) -> Connection:
    return Connection(name, secret.labels, secret.annotations, secret.etag)


def _without_empty(facts: Mapping[str, str]) -> dict[str, str]:
    return {key: text for key, text in facts.items() if text}


def _small(connection: Connection) -> Connection:
    large = ("advertisers", "approved", "advertiser-names")
    if sum(len(connection.annotations.get(key, "")) for key in large) <= _MANY:
        return connection
    kept = {key: value for key, value in connection.annotations.items() if key not in large[:2]}
    return Connection(connection.name, connection.labels, kept)
