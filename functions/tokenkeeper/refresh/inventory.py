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
    deleted: set[str] = field(default_factory=set)  # names that only have a refresh secret
    unknown: set[str] = field(default_factory=set)  # the same, but nobody knows: the token secret could not be read


def list_connections(vault: Vault, request: RunRequest) -> Listed:
    """List the connections, all or those that are asked for; `BadRequestError` where one of these is no connection."""
    listed = Listed(vault.inventory(Deadline(_LIST_SECONDS)))
    connections, refreshable = listed.inventory.connections, listed.inventory.refreshable
    for name in sorted(refreshable) if request.connections is None else request.connections:
        if name in connections:
            continue
        try:
            found = vault.connection(name, Deadline(_LIST_SECONDS))  # the list may be late
        except SecretMissing:
            if name not in refreshable:
                raise BadRequestError(f"There is no connection {name!r}.") from None
            listed.deleted.add(name)
        except StoreError:
            if request.limited:
                raise
            listed.unknown.add(name)
        else:
            if found.ours:
                connections[name] = found
            elif request.limited:
                raise BadRequestError(
                    f"{name!r} is no connection of this keeper: its secret carries none of the keeper's labels."
                )
    listed.total = len(connections)
    if request.connections is not None:
        listed.inventory.connections = {name: connections[name] for name in request.connections if name in connections}
    return listed
