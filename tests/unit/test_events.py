"""Every kind of log entry: its sentence and its severities.

What says that it is over is in `reliability/test_nothing_is_silent`, what to do about it in `readme/test_tables`.
"""

import re
import string

from tokenkeeper import events
from tokenkeeper.events import EVENTS, Event


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
