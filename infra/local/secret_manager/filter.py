"""The list filters that are embedded: names and labels, joined by AND.

``name:acme``, ``labels.managed-by=tiktok-token-keeper AND labels.health="reauthorize"``, ``labels.client:*``. Google
takes more (OR, NOT, brackets, states); here that is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from local.secret_manager.errors import invalid

Condition = Callable[[Mapping[str, Any]], bool]

_TERM = re.compile(
    r"""(?P<field>name|labels)(?:\.(?P<label>[^\s:=<>()!"']+))?\s*(?P<sign>=|:)\s*"""
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
        if match is None or (match["field"] == "labels") != bool(match["label"]):
            raise invalid(f"Invalid list filter: unexpected text at position {position}.")
        position = match.end()
        conditions.append(_condition(match))
    return lambda resource: all(condition(resource) for condition in conditions)


def _condition(match: re.Match[str]) -> Condition:
    label, has = match["label"], match["sign"] == ":"
    wanted = match["quoted"] if match["word"] is None else match["word"]

    def holds(resource: Mapping[str, Any]) -> bool:
        value = str(resource.get("labels", {}).get(label, "") if label else resource["name"])
        if has and wanted == "*":
            return value != ""
        if has and not label:
            return wanted.lower() in value.lower()
        return value.lower() == wanted.lower() if has else value == wanted

    return holds
