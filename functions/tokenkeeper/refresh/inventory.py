"""The connections that a run is about, from one list of the secrets."""

from __future__ import annotations

from dataclasses import dataclass, field

from tokenkeeper.clock import Deadline
from tokenkeeper.errors import SecretMissing, StoreError
from tokenkeeper.refresh.request import BadRequestError, RunRequest
from tokenkeeper.store.vault import Inventory, Vault

_LIST_SECONDS = 20.0


@dataclass(slots=True)
class Listed:
    """What a run works on."""

    inventory: Inventory  # the connections
    total: int = 0  # how many there are, those included that a limited run leaves out
    # names of those whose token secret is gone, and the refresh secret is not
    deleted: set[str] = field(default_factory=set)
    # names of those whose token secret could not be read although their refresh secret is listed
    unknown: set[str] = field(default_factory=set)


def list_connections(vault: Vault, request: RunRequest) -> Listed:
    """List the connections, all or those that are asked for.

    Raises:
        BadRequestError: one that is asked for is no connection of this keeper.
        StoreError: they cannot be listed.
    """
    listed = Listed(vault.inventory(Deadline(_LIST_SECONDS)))
    inventory = listed.inventory
    for name in sorted(inventory.refreshable) if request.connections is None else request.connections:
        if name not in inventory.connections:
            _look_up(vault, request, listed, name)
    listed.total = len(inventory.connections)
    if request.connections is not None:
        known = inventory.connections
        inventory.connections = {name: known[name] for name in request.connections if name in known}
    return listed


def _look_up(vault: Vault, request: RunRequest, listed: Listed, name: str) -> None:
    """Read a connection that the list does not have, since the list may be late."""
    try:
        connection = vault.connection(name, Deadline(_LIST_SECONDS))
    except SecretMissing:
        if name not in listed.inventory.refreshable:
            raise BadRequestError(f"There is no connection {name!r}.") from None
        listed.deleted.add(name)
        return
    except StoreError:
        if request.limited:
            raise
        listed.unknown.add(name)
        return
    if connection.ours:
        listed.inventory.connections[name] = connection
    elif request.limited:
        raise BadRequestError(
            f"{name!r} is no connection of this keeper: its secret carries none of the keeper's labels."
        )
