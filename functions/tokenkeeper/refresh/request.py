"""What a run is asked to do: the body of a request. No I/O."""

from __future__ import annotations

import json
from dataclasses import dataclass

from tokenkeeper.checks import CONNECTION
from tokenkeeper.errors import KeeperError

LARGEST_BODY = 1_000_000  # bytes


class BadRequestError(KeeperError):
    """A body, or a name in it, that no run can follow; the text says what is wrong."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a run is asked to do."""

    connections: tuple[str, ...] | None = None  # the only ones to work on, or None: all
    force: bool = False  # whether to refresh what is not due

    @property
    def limited(self) -> bool:
        """Whether it is about some connections only."""
        return self.connections is not None


def read_request(body: bytes) -> RunRequest:
    """Read the body of a request; an empty one asks for the usual run. Raises `BadRequestError`."""
    if len(body) > LARGEST_BODY:
        raise BadRequestError("The body is too large.")
    if not body.strip():
        return RunRequest()
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequestError("The body is not JSON.") from None
    if not isinstance(document, dict):
        raise BadRequestError('The body is not a JSON object, like {"connections": ["acme"]}.')
    unknown = sorted(document.keys() - {"connections", "force"})
    if unknown:
        raise BadRequestError(f"The body has the unknown key {unknown[0][:60]!r}; known are connections and force.")
    force = document.get("force", False)
    if not isinstance(force, bool):
        raise BadRequestError("force is neither true nor false.")
    if "connections" not in document:
        return RunRequest(force=force)
    names = document["connections"]
    if not isinstance(names, list) or not names:
        raise BadRequestError('connections is not a list of at least one name, like ["acme"].')
    for name in names:
        if not isinstance(name, str) or not CONNECTION.fullmatch(name):
            raise BadRequestError(f"connections holds {str(name)[:80]!r}, which is no connection's name.")
    return RunRequest(tuple(dict.fromkeys(names)), force)
