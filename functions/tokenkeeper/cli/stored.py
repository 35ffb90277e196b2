"""What is stored of a connection, read for a command: a grant, a state, or a sentence that says why not."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tokenkeeper import payload
from tokenkeeper.cli.context import LIST_SECONDS, READ_SECONDS
from tokenkeeper.cli.show import first_of
from tokenkeeper.clock import Deadline
from tokenkeeper.errors import KeeperError, PayloadError, SettingsError, StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenkeeper.connection import Connection
    from tokenkeeper.grant import Grant
    from tokenkeeper.store.vault import Vault


def newest_grant(vault: Vault, name: str) -> Grant:
    """What the newest version of a connection's token secret holds.

    Raises:
        KeeperError: there is none, or it cannot be read; the text says what to do.
    """
    secret_id = vault.token_id(name)
    newest = vault.versions.newest(secret_id, Deadline(READ_SECONDS))
    if newest.number == 0:
        raise no_connection(vault, name)
    if newest.payload is None:
        raise SettingsError(
            f"The newest version of {secret_id} is disabled or destroyed: enable it again, or connect again: "
            f"make link CONNECTION={name}"
        )
    try:
        return payload.parse(newest.payload, name)
    except PayloadError as error:
        raise PayloadError(
            f"{secret_id}: {error}. Restore an earlier version, or connect again: make link CONNECTION={name}"
        ) from None


def state(vault: Vault, name: str) -> Connection | None:
    """A connection's state; None where it cannot be read: who may read tokens need not be allowed to read secrets."""
    try:
        return vault.connection(name, Deadline(READ_SECONDS))
    except StoreError:
        return None


def no_connection(vault: Vault, name: str) -> KeeperError:
    """There is none of that name: the error says which there are, as far as they may be listed."""
    try:
        found = vault.inventory(Deadline(READ_SECONDS)).connections.values()
        known = sorted(one.name for one in found if one.made and one.name != name)
    except StoreError:
        known = []
    there_are = f"There are: {first_of(known, 10)}." if known else f"Make a connect link: make link CONNECTION={name}"
    return SettingsError(f"There is no connection {name}. {there_are}")


def labelled(vault: Vault, labels: Mapping[str, str]) -> list[str]:
    """The names of the connections that have these labels.

    Raises:
        SettingsError: there are none.
        StoreError: the secrets could not be listed.
    """
    found = vault.inventory(Deadline(LIST_SECONDS)).connections.values()
    names = sorted(one.name for one in found if has_labels(labels)(one))
    if not names:
        shown = ",".join(f"{key}={value}" for key, value in labels.items())
        raise SettingsError(f"No connection has the label {shown}: make status lists all.")
    return names


def has_labels(labels: Mapping[str, str]) -> Callable[[Connection], bool]:
    """Whether a connection has all of these labels."""
    return lambda connection: labels.items() <= connection.labels.items()
