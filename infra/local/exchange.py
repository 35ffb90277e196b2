"""What passes through an emulator: requests and answers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from typing import Any
from urllib.parse import parse_qs


class HangUp(Exception):
    """Raised while a request is answered: the connection is closed, with nothing more sent."""


@dataclass(frozen=True)
class Request:
    """One request as it arrived. ``path`` is decoded and without the query, ``query`` is raw."""

    method: str
    path: str
    query: str
    headers: Message
    body: bytes

    @property
    def parameters(self) -> dict[str, list[str]]:
        """The query's parameters, blank ones included."""
        return parse_qs(self.query, keep_blank_values=True)

    def parameter(self, name: str, default: str = "") -> str:
        """The last value of a query parameter, or ``default`` without one."""
        return self.parameters.get(name, [default])[-1]

    def form(self) -> dict[str, list[str]]:
        """The fields of a body that a browser's form sent, blank ones included."""
        return parse_qs(self.body.decode(errors="replace"), keep_blank_values=True)


@dataclass(frozen=True)
class Answer:
    """What is sent back.

    Attributes:
        status: HTTP status.
        body: A mapping is sent as JSON.
        content_type: Of the body.
        headers: Sent as well.
        note: What the log says of it; "" for the status.
    """

    status: int = 200
    body: bytes | Mapping[str, Any] = b""
    content_type: str = "application/json; charset=UTF-8"
    headers: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    @property
    def payload(self) -> bytes:
        """The body's bytes."""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body, ensure_ascii=False).encode()

    def pieces(self) -> Iterable[bytes]:
        """The payload in the pieces in which it is written; may raise HangUp between two of them."""
        return (self.payload,)
