"""Every kind of log entry: its sentence, its severities, and what says that it is over."""

from __future__ import annotations

import string
from typing import get_args

import pytest

from tokenkeeper import events
from tokenkeeper.events import EVENTS, Event, Severity

ALERTS = {"ERROR", "CRITICAL"}


def fields(event: Event) -> dict[str, events.Value]:
    """A value for each field that the sentence names."""
    names = {name for _, name, _, _ in string.Formatter().parse(event.sentence) if name}
    return {name: f"<{name}>" for name in names}


def test_a_sentence_says_all_that_its_fields_say() -> None:
    """Each field shows up; the sentence begins with a capital, a name or a detail, and ends as one."""
    for event in EVENTS.values():
        named = fields(event)
        entry = event.entry(None, **named)
        assert entry.event == event.name, event.name
        assert all(str(text) in entry.message for text in named.values()), event.name
        assert entry.message[0].isupper() or entry.message[0] == "<", event.name
        assert entry.message[-1] in ".>", event.name
        assert "  " not in entry.message, event.name


def test_a_field_that_is_missing_is_noticed() -> None:
    """Nobody logs half a sentence."""
    for event in EVENTS.values():
        for name in fields(event):
            with pytest.raises(KeyError):
                event.entry(None, **{key: text for key, text in fields(event).items() if key != name})


def test_severities_are_cloud_loggings() -> None:
    """The first is the usual one; another may be asked for."""
    for event in EVENTS.values():
        assert set(event.severities) <= set(get_args(Severity)), event.name
        assert event.severities, event.name
        for severity in event.severities:
            assert event.entry(severity, **fields(event)).severity == severity, event.name
        assert event.entry(None, **fields(event)).severity == event.severities[0], event.name


def test_tables_have_something_to_say() -> None:
    """What happened and what to do, without a full stop, as cells of a table."""
    for event in EVENTS.values():
        assert event.what, event.name
        assert event.remedy, event.name
        assert not event.what.endswith("."), event.name
        assert not event.remedy.endswith("."), event.name
        assert "\n" not in event.what + event.remedy + event.endings, event.name


def test_what_ends_an_event_exists_and_is_no_alert_itself() -> None:
    """An alert is over when a calmer entry says so."""
    for event in EVENTS.values():
        for name in event.ended_by:
            assert name in EVENTS, event.name
            assert EVENTS[name].severities[0] not in ALERTS, event.name
        assert not event.endings or event.ended_by, event.name


def test_every_alert_about_a_lasting_state_has_an_end() -> None:
    """Those without one happen once, or are somebody's own fault to mend."""
    endless = {name for name, event in EVENTS.items() if event.severities[0] in ALERTS and not event.ended_by}
    assert endless == {"settings.invalid", "defect"}


def test_the_contract_names_them() -> None:
    """Filters and alerts of operators rest on names and severities."""
    expected = {
        "connection.stored": "NOTICE",
        "connection.changed": "NOTICE",
        "connection.faltering": "WARNING",
        "connection.failing": "ERROR",
        "connection.empty": "ERROR",
        "connection.other_app": "ERROR",
        "connection.recovered": "NOTICE",
        "reauthorization.required": "ERROR",
        "secret.unreadable": "ERROR",
        "secret.rebuilt": "NOTICE",
        "secret.deleted": "ERROR",
        "token.unsaved": "CRITICAL",
        "run.stopped": "CRITICAL",
        "run.behind": "ERROR",
        "run.finished": "INFO",
    }
    assert {name: EVENTS[name].severities[0] for name in expected} == expected


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
