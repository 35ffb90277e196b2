"""Every kind of log entry: its sentence, its severities, and what says that it is over."""

from __future__ import annotations

import string
from typing import get_args

import pytest

from tokenkeeper import events
from tokenkeeper.events import EVENTS, Event, Severity

every_event = pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS.keys())
ALERTS = {"ERROR", "CRITICAL"}


def fields(event: Event) -> dict[str, events.Value]:
    """A value for each field that the sentence names."""
    names = {name for _, name, _, _ in string.Formatter().parse(event.sentence) if name}
    return {name: f"<{name}>" for name in names}


@every_event
def test_a_sentence_says_all_that_its_fields_say(event: Event) -> None:
    """Each field shows up; the sentence begins with a capital, a name or a detail, and ends as one."""
    named = fields(event)
    entry = event.entry(None, **named)
    assert entry.event == event.name
    assert all(str(text) in entry.message for text in named.values())
    assert entry.message[0].isupper() or entry.message[0] == "<"
    assert entry.message[-1] in ".>"
    assert "  " not in entry.message


@every_event
def test_a_field_that_is_missing_is_noticed(event: Event) -> None:
    """Nobody logs half a sentence."""
    for name in fields(event):
        with pytest.raises(KeyError):
            event.entry(None, **{key: text for key, text in fields(event).items() if key != name})


@every_event
def test_severities_are_cloud_loggings(event: Event) -> None:
    """The first is the usual one; another may be asked for."""
    assert set(event.severities) <= set(get_args(Severity))
    assert event.severities
    for severity in event.severities:
        assert event.entry(severity, **fields(event)).severity == severity
    assert event.entry(None, **fields(event)).severity == event.severities[0]


@every_event
def test_tables_have_something_to_say(event: Event) -> None:
    """What happened and what to do, without a full stop, as cells of a table."""
    assert event.what
    assert event.remedy
    assert not event.what.endswith(".")
    assert not event.remedy.endswith(".")
    assert "\n" not in event.what + event.remedy + event.endings


@every_event
def test_what_ends_an_event_exists_and_is_no_alert_itself(event: Event) -> None:
    """An alert is over when a calmer entry says so."""
    for name in event.ended_by:
        assert name in EVENTS
        assert EVENTS[name].severities[0] not in ALERTS
    assert not event.endings or event.ended_by


def test_every_alert_about_a_lasting_state_has_an_end() -> None:
    """Those without one happen once, or are somebody's own fault to mend."""
    endless = {name for name, event in EVENTS.items() if event.severities[0] in ALERTS and not event.ended_by}
    assert endless == {"settings.invalid", "defect"}


@pytest.mark.parametrize(
    ("name", "severity"),
    [
        ("connection.stored", "NOTICE"),
        ("connection.changed", "NOTICE"),
        ("connection.faltering", "WARNING"),
        ("connection.failing", "ERROR"),
        ("connection.empty", "ERROR"),
        ("connection.other_app", "ERROR"),
        ("connection.recovered", "NOTICE"),
        ("reauthorization.required", "ERROR"),
        ("secret.unreadable", "ERROR"),
        ("secret.rebuilt", "NOTICE"),
        ("secret.deleted", "ERROR"),
        ("token.unsaved", "CRITICAL"),
        ("run.stopped", "CRITICAL"),
        ("run.behind", "ERROR"),
        ("run.finished", "INFO"),
    ],
)
def test_the_contract_names_them(name: str, severity: str) -> None:
    """Filters and alerts of operators rest on names and severities."""
    assert EVENTS[name].severities[0] == severity


def test_names_are_unique() -> None:
    """A name leads to one event, and each constant of the module is found under its own."""
    constants = [value for value in vars(events).values() if isinstance(value, Event)]
    assert len(constants) == len(EVENTS)
    assert {event.name: event for event in constants} == EVENTS


def test_what_says_make_names_a_command_that_there_is() -> None:
    """A remedy can be typed."""
    known = {"link", "refresh", "disconnect", "doctor", "status", "token", "config", "import"}
    for event in EVENTS.values():
        words = f"{event.sentence} {event.remedy}".replace("`", " ").split()
        named = {words[at + 1].strip(".,;:)") for at, word in enumerate(words[:-1]) if word.strip("(") == "make"}
        assert named <= known, event.name
