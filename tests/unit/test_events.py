"""Every kind of log entry: its sentence, its severities, and what says that it is over.

That each alert has an end is in `reliability/test_nothing_is_silent`, that the guide names it in `readme/test_tables`.
"""

from __future__ import annotations

import re
import string
from itertools import pairwise

from tokenkeeper import events
from tokenkeeper.events import EVENTS, Event

ALERTS = {"ERROR", "CRITICAL"}


def fields(event: Event) -> dict[str, events.Value]:
    """A value for each field that the sentence names."""
    names = {name for _, name, _, _ in string.Formatter().parse(event.sentence) if name}
    return {name: f"<{name}>" for name in names}


def test_a_sentence_says_all_that_its_fields_say() -> None:
    """It begins with a capital, a name or a detail, and ends as a sentence."""
    for event in EVENTS.values():
        named = fields(event)
        entry = event.entry(None, **named)
        assert (entry.event, entry.severity, entry.fields) == (event.name, event.severities[0], named)
        assert event.entry("CRITICAL", **named).severity == "CRITICAL"
        assert all(str(text) in entry.message for text in named.values()), event.name
        assert re.fullmatch(r"[A-Z<].*[.>]", entry.message), event.name


def test_what_ends_an_event_is_no_alert_itself() -> None:
    """An alert is over when a calmer entry says so."""
    ends = {name for event in EVENTS.values() for name in event.ended_by}
    assert {name for name in ends if EVENTS[name].severities[0] in ALERTS} == set()
    assert {event.name for event in EVENTS.values() if event.endings and not event.ended_by} == set()


def test_what_says_make_names_a_command_that_there_is() -> None:
    """A remedy can be typed."""
    words = " ".join(f"{event.sentence} {event.remedy}" for event in EVENTS.values()).replace("`", " ").split()
    named = {after.strip(".,;:)") for word, after in pairwise(words) if word.strip("(") == "make"}
    assert named <= {"link", "refresh", "disconnect", "doctor", "status", "token", "config", "import"}
