"""The record of a server's calls."""

from __future__ import annotations

import dataclasses
import fnmatch
import re
import threading
import time

from local.exchange import Call

CALLS_KEPT = 200_000
"""Calls recorded at most; the oldest are forgotten first, so that a server may run for weeks."""


class Calls:
    """The calls that arrived, for many threads."""

    def __init__(self) -> None:
        self._recorded: dict[int, Call] = {}
        self._numbered = 0
        self._recording = threading.Lock()

    @property
    def calls(self) -> list[Call]:
        """The calls recorded so far, in the order of arrival."""
        with self._recording:
            return list(self._recorded.values())

    def forget_calls(self) -> None:
        """Empties the record; numbering goes on."""
        with self._recording:
            self._recorded.clear()

    def count(self, name: str, resource: str = "") -> int:
        """How many recorded calls have this name (or shell pattern) and a resource that the expression is found in."""
        return sum(
            fnmatch.fnmatchcase(c.name, name) and re.search(resource, c.resource) is not None for c in self.calls
        )

    def _record(self, name: str, resource: str) -> Call:
        with self._recording:
            self._numbered += 1
            call = Call(number=self._numbered, name=name, resource=resource, status=0, at=time.monotonic())
            self._recorded[call.number] = call
            if len(self._recorded) > CALLS_KEPT:
                del self._recorded[next(iter(self._recorded))]
            return call

    def _answered(self, call: Call, status: int) -> None:
        with self._recording:
            if call.number in self._recorded:
                self._recorded[call.number] = dataclasses.replace(call, status=status)
