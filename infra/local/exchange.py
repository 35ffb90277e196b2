"""What passes through an emulator: requests, answers, recorded calls, and the faults that spoil them."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from typing import Any, Literal
from urllib.parse import parse_qs

When = Literal["before", "after"]
Deed = Literal["answer", "delay", "drop", "hold", "drip", "truncate"]


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
    """What is sent back. A mapping as ``body`` is sent as JSON."""

    status: int = 200
    body: bytes | Mapping[str, Any] = b""
    content_type: str = "application/json; charset=UTF-8"
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def payload(self) -> bytes:
        """The body's bytes."""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body, ensure_ascii=False).encode()


@dataclass(frozen=True)
class Call:
    """One recorded request.

    Attributes:
        number: Counts from 1 in the order of arrival.
        name: What was called, such as ``AddSecretVersion`` or ``refresh_token``.
        resource: What it was called on: a resource name or a path.
        status: HTTP status that was sent; 0 while unanswered and where the answer was dropped.
        at: ``time.monotonic()`` at arrival, in seconds.
    """

    number: int
    name: str
    resource: str
    status: int
    at: float


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong with calls that match.

    Faults act in the order in which they were added. ``delay`` and ``hold`` let the call go on to the next
    one; every other kind ends it.

    Attributes:
        call: The call's name, or a shell pattern such as ``*``.
        resource: Regular expression searched for in the call's resource; "" matches all.
        skip: Matching calls let through first.
        times: Matching calls acted on after that; None for all.
        when: ``before`` the call takes effect (``answer``, ``drop``, ``drip`` and ``truncate`` then keep it from
            taking effect), or ``after`` it was committed.
        do: ``answer`` sends ``status`` and ``body``. ``delay`` waits ``seconds``. ``drop`` closes the connection
            without a byte. ``hold`` waits until :meth:`LocalServer.release`. ``drip`` spreads the body over
            ``seconds``. ``truncate`` announces the whole body and sends half of it.
        status: HTTP status of ``answer``, and of ``drip`` and ``truncate`` where ``body`` is given or ``when`` is
            ``before``.
        body: Bytes, or an object sent as JSON; None means the server's usual body for that status, and, for ``drip``
            and ``truncate`` afterwards, the real answer.
        content_type: Of ``body``.
        headers: Sent as well.
        seconds: Length of ``delay``, total length of ``drip``.
        hold: Name of the hold.
    """

    call: str = "*"
    resource: str = ""
    skip: int = 0
    times: int | None = 1
    when: When = "before"
    do: Deed = "answer"
    status: int = 503
    body: bytes | Mapping[str, Any] | None = None
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    hold: str = ""

    def matches(self, call: Call) -> bool:
        """Whether the call is one that this fault is about."""
        return fnmatch.fnmatchcase(call.name, self.call) and re.search(self.resource, call.resource) is not None
