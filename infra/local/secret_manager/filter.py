"""The list filters that are embedded: conditions about names, labels and states that all have to hold.

``labels.env=prod AND labels.holds=token``, ``name:acme``, ``NOT labels.env:*``, ``-state:DESTROYED``. Google takes more
(OR, brackets, order); here that is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from local.secret_manager.errors import invalid

Condition = Callable[[Mapping[str, Any]], bool]

_TERM = re.compile(
    r"""(?P<no>NOT\s+|-)?(?P<field>name|state|labels(?:\.[^\s:=<>()!"']+)?)\s*(?P<sign>!?=|:)\s*"""
    r"""(?:"(?P<quoted>[^"\\]*)"|(?P<word>[^\s:=<>()!"']+))\s*(?:AND\s+)?"""
)


def parse_filter(text: str) -> Condition:
    """The condition that a filter states; an empty one holds always.

    Raises:
        ApiError: INVALID_ARGUMENT, where it is not understood.
    """
    conditions, position, text = [], 0, text.strip()
    while position < len(text):
        match = _TERM.match(text, position)
        if match is None:
            raise invalid(f"Invalid list filter: unexpected text at position {position}.")
        position = match.end()
        conditions.append(_condition(match))
    return lambda resource: all(condition(resource) for condition in conditions)


def _condition(match: re.Match[str]) -> Condition:
    field, _, label = match["field"].partition(".")
    wanted = match["quoted"] if match["word"] is None else match["word"]
    negated = bool(match["no"]) != (match["sign"] == "!=")
    has = match["sign"] == ":"

    def holds(resource: Mapping[str, Any]) -> bool:
        value = resource.get(field, "")
        if field == "labels" and not label:
            return wanted in value
        if label:
            value = dict(value or {}).get(label)
        if has and wanted == "*":
            return value is not None and value != ""
        if has and field == "name":
            return wanted.lower() in str(value).lower()
        pattern = ".*".join(re.escape(part) for part in wanted.split("*"))
        return value is not None and re.fullmatch(pattern, str(value), re.IGNORECASE if has else 0) is not None

    return lambda resource: holds(resource) != negated
