"""The list filters that Secret Manager understands: a subset of AIP-160, read off the JSON form of a resource.

``labels.env=prod``, ``name:acme``, ``state:(ENABLED OR DISABLED)``, ``NOT rotation:*``, ``-labels.env:dev``,
``create_time>2026-01-01T00:00:00Z``; blanks mean AND, and OR binds closer than AND.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from local.secret_manager.errors import ApiError, invalid
from local.secret_manager.fields import camel, micros_of, seconds_of

Resource = Mapping[str, Any]
Condition = Callable[[Resource], bool]

SECRET_FIELDS = frozenset(
    (
        "name",
        "createTime",
        "labels",
        "topics",
        "expireTime",
        "replication",
        "rotation",
        "versionAliases",
        "versionDestroyTtl",
        "etag",
    )
)
VERSION_FIELDS = frozenset(("name", "createTime", "destroyTime", "state", "replicationStatus", "etag"))

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<sign><=|>=|!=|[:=<>()-])|(?P<word>[^\s:=<>()!"']+))"""
)
_COMPARISONS = (":", "=", "!=", "<", ">", "<=", ">=")


def parse_filter(text: str, fields: frozenset[str]) -> Condition:
    """The condition that a filter states; an empty one holds always.

    Args:
        text: The request's ``filter``.
        fields: The fields that a condition may be about.

    Raises:
        ApiError: INVALID_ARGUMENT, where it is not understood.
    """
    if not text.strip():
        return lambda _: True
    return _Parser(list(_tokens(text)), fields).whole()


def _bad(why: str) -> ApiError:
    return invalid(f"Invalid list filter: {why}", "filter")


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            raise _bad(f"unexpected character at position {position}.")
        position = match.end()
        if match["text"]:
            yield "value", re.sub(r"\\(.)", r"\1", match["text"][1:-1])
        elif match["sign"]:
            yield "sign", match["sign"]
        else:
            yield "word", match["word"]


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]], fields: frozenset[str]) -> None:
        self._tokens, self._fields, self._at = tokens, fields, 0

    def whole(self) -> Condition:
        condition = self._conjunction()
        if self._at < len(self._tokens):
            raise _bad(f"unexpected {self._tokens[self._at][1]!r}.")
        return condition

    def _next_is(self, *texts: str) -> bool:
        return self._at < len(self._tokens) and self._tokens[self._at] in [("sign", t) for t in texts] + [
            ("word", t) for t in texts
        ]

    def _take(self, *texts: str) -> bool:
        found = self._next_is(*texts)
        self._at += found
        return found

    def _conjunction(self) -> Condition:
        parts = [self._disjunction()]
        while self._at < len(self._tokens) and not self._next_is(")"):
            self._take("AND")
            parts.append(self._disjunction())
        return lambda resource: all(part(resource) for part in parts)

    def _disjunction(self) -> Condition:
        parts = [self._term()]
        while self._take("OR"):
            parts.append(self._term())
        return lambda resource: any(part(resource) for part in parts)

    def _term(self) -> Condition:
        if self._take("NOT", "-"):
            inner = self._term()
            return lambda resource: not inner(resource)
        if self._take("("):
            inner = self._conjunction()
            self._expect(")")
            return inner
        return self._restriction()

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            raise _bad(f"{sign!r} is missing.")

    def _word(self) -> str:
        if self._at >= len(self._tokens) or self._tokens[self._at][0] == "sign":
            raise _bad("a name or value is missing.")
        self._at += 1
        return self._tokens[self._at - 1][1]

    def _restriction(self) -> Condition:
        path = _path(self._word(), self._fields)
        if not self._next_is(*_COMPARISONS):
            raise _bad("a comparison is missing.")
        sign = self._tokens[self._at][1]
        self._at += 1
        if self._take("("):
            return self._group(path, sign)
        return self._comparison(path, sign)

    def _group(self, path: list[str], sign: str) -> Condition:
        every, parts = False, [self._comparison(path, sign)]
        while not self._take(")"):
            every = not self._take("OR") and (self._take("AND") or True)
            parts.append(self._comparison(path, sign))
        together = all if every else any
        return lambda resource: together(part(resource) for part in parts)

    def _comparison(self, path: list[str], sign: str) -> Condition:
        minus = self._take("-")
        wanted = ("-" if minus else "") + self._word()
        # A time's own colons are signs to the tokenizer: put it together again.
        while self._next_is(":", "-") and path[-1].endswith("Time"):
            self._at += 1
            wanted += self._tokens[self._at - 1][1] + self._word()
        return lambda resource: _holds(path, list(_values(resource, path)), sign, wanted)


def _path(name: str, fields: frozenset[str]) -> list[str]:
    first, *rest = name.split(".")
    if camel(first) not in fields:
        raise _bad(f"field {name!r} is not supported.")
    inner = rest if camel(first) in ("labels", "versionAliases") else [camel(word) for word in rest]
    return [camel(first), *([".".join(inner)] if camel(first) == "labels" and inner else inner)]


def _values(value: Any, path: list[str]) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _values(item, path)
    elif not path:
        yield value
    elif isinstance(value, Mapping) and path[0] in value:
        yield from _values(value[path[0]], path[1:])


def _holds(path: list[str], values: list[Any], sign: str, wanted: str) -> bool:
    if sign == ":" and wanted == "*":
        return any(value not in ("", [], None) for value in values)
    if sign == "!=":
        return not any(_equal(value, wanted) for value in values)
    return any(_compares(path, value, sign, wanted) for value in values)


def _compares(path: list[str], value: Any, sign: str, wanted: str) -> bool:
    if isinstance(value, Mapping):
        return sign == ":" and any(_equal(key, wanted) for key in value)
    if sign == ":":
        return wanted.lower() in str(value).lower() if path == ["name"] else _equal(str(value).lower(), wanted.lower())
    if sign == "=":
        return _equal(value, wanted)
    left, right = _ordered(path, str(value)), _ordered(path, wanted)
    return {"<": left < right, ">": left > right, "<=": left <= right, ">=": left >= right}[sign]


def _equal(value: Any, wanted: str) -> bool:
    """Equality, with ``*`` for any text."""
    pattern = ".*".join(re.escape(part) for part in wanted.split("*"))
    return re.fullmatch(pattern, str(value), re.DOTALL) is not None


def _ordered(path: list[str], text: str) -> float:
    try:
        if path[-1].endswith("Time"):
            return micros_of(text)
        return seconds_of(text)
    except ValueError:
        raise _bad(f"{text!r} has no order.") from None
