"""The only place that writes logs: one JSON object a line for Cloud Logging, readable lines on a terminal.

Fields as in "Structured logging" of Google Cloud's documentation: `severity`, `message`, the trace; and ours: `event`,
`connection`, `reference` and what else an entry has.
"""

from __future__ import annotations

import contextvars
import json
import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import TextIO

from tokenkeeper import clock, events
from tokenkeeper.events import Entry, Value
from tokenkeeper.secret import Secret

_LONGEST_TEXT = 1000
_MOST_ITEMS = 100
_ONLY_IN_SENTENCE = {"detail", "needing"}
_IN_HEAD = {"severity", "message", "event"}
_CONTEXT: contextvars.ContextVar[Mapping[str, str]] = contextvars.ContextVar("context", default=MappingProxyType({}))
# The trace and the span, in the headers that W3C and Google Cloud define.
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}", re.ASCII)
_CLOUD_TRACE = re.compile(r"([0-9a-fA-F]{32})(?:/([0-9]{1,20}))?(?:;o=[0-9])?", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")

Line = Mapping[str, object]

_stream: TextIO | None = None
_form: Callable[[Line], str] | None = None


def write_to(stream: TextIO | None, form: Callable[[Line], str] | None = None) -> None:
    """Send everything to `stream` from now on; None, as without this call: to standard output.

    `form` makes the text of an entry; None: JSON, or on a terminal what a person can read.
    """
    global _stream, _form
    _stream, _form = stream, form


def write(*entries: Entry) -> None:
    """Write entries, each with one write, so that lines of several threads do not mix."""
    for entry in entries:
        _write(entry)


def _write(entry: Entry) -> None:
    line: dict[str, object] = {"severity": entry.severity, "message": _clean(entry.message), "event": entry.event}
    for key, value in entry.fields.items():
        if value is not None and key not in _ONLY_IN_SENTENCE:
            line[key] = _clean(value)
    line |= _CONTEXT.get()
    stream = _stream or sys.stdout
    if _form:
        text = _form(line)
    else:
        text = (readable(line, clock.now()) if stream.isatty() else json.dumps(line, ensure_ascii=False)) + "\n"
    stream.write(text)
    stream.flush()


def defect(error: BaseException, **fields: Value) -> None:
    """Write an error that nobody expected.

    Its type and where it came from are kept, its text is not: a library's exception may hold an address with a
    secret in it, or a piece of an answer.
    """
    frames = reversed(traceback.extract_tb(error.__traceback__)[-8:])
    places = " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
    known: dict[str, Value] = {"error": type(error).__name__, "places": places or "an unknown place", **fields}
    write(events.DEFECT.entry(None, **known))


def readable(entry: Line, at: datetime) -> str:
    """One entry as a person reads it on a terminal."""
    rest = [key for key in entry if key not in _IN_HEAD and not key.startswith("logging.")]
    tail = "  ".join(f"{key}={entry[key]}" for key in rest if not isinstance(entry[key], dict))
    head = f"{at.astimezone():%H:%M:%S} {entry.get('severity', 'INFO')!s:<8} {entry.get('event', '')!s:<26}"
    return f"{head} {entry.get('message', '')}" + (f"  [{tail}]" if tail else "")


@contextmanager
def context(header: Callable[[str], str | None], project: str, **fields: str) -> Iterator[None]:
    """Add the trace that the request names, and `fields`, to every entry written inside.

    `header` gives a header of the request; without a project, which the trace belongs to, no trace is written.
    """
    trace = span = ""
    if w3c := _TRACEPARENT.fullmatch(header("traceparent") or ""):
        trace, span = w3c.groups()
    elif google := _CLOUD_TRACE.fullmatch(header("X-Cloud-Trace-Context") or ""):
        trace, span = google[1].lower(), f"{int(google[2]) % 2**64:016x}" if google[2] else ""
    if project and trace:
        fields["logging.googleapis.com/trace"] = f"projects/{project}/traces/{trace}"
        fields |= {"logging.googleapis.com/spanId": span} if span else {}
    token = _CONTEXT.set({**_CONTEXT.get(), **fields})
    try:
        yield
    finally:
        _CONTEXT.reset(token)


def silence_libraries() -> None:
    """Keep the libraries' own debugging logs shut: they hold addresses with the app secret and payloads with tokens.

    Call it after importing them, since Google's reads an environment variable then that opens its log.
    """
    for name, logger in list(logging.Logger.manager.loggerDict.items()):
        of_library = name.split(".")[0] in {"google", "urllib3", "requests"}
        if of_library and isinstance(logger, logging.Logger) and logger.level != logging.CRITICAL:
            logger.setLevel(logging.CRITICAL)


def _clean(value: object) -> object:
    match value:
        case Secret():
            return repr(value)
        case str():
            text = _CONTROL.sub(" ", value)
            return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "…"
        case list():
            items = [_clean(item) for item in value[:_MOST_ITEMS]]
            return items if len(value) <= _MOST_ITEMS else [*items, f"… and {len(value) - _MOST_ITEMS} more"]
        case _:
            return value
