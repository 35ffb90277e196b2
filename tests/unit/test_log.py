"""One JSON object a line for Cloud Logging, readable lines on a terminal."""

import io

import pytest

from tokenkeeper import log
from tokenkeeper.events import Entry, Value
from unit.conftest import Logged
from unit.parts import HandClock

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
HEADERS: dict[str, tuple[dict[str, str], str | None]] = {
    "W3C": ({"traceparent": f"00-{TRACE}-{SPAN}-01"}, SPAN),
    "Google": ({"X-Cloud-Trace-Context": f"{TRACE.upper()}/255;o=1"}, "00000000000000ff"),
    "Google without a span": ({"X-Cloud-Trace-Context": TRACE}, None),
}


def entry(message: str = "acme was connected.", **fields: Value) -> Entry:
    """An entry of some event."""
    return Entry("connection.stored", "NOTICE", message, fields)


class TestEntries:
    def test_an_entry_is_one_object_on_one_line(self, logged: Logged) -> None:
        """Severity, message and event come first, then what else there is; neither None nor the sentence's detail."""
        log.write(entry(connection="acme", code=None, advertisers=3, detail="no."))
        assert logged.getvalue().endswith("}\n")
        assert list(logged.entries[0].items()) == [
            ("severity", "NOTICE"),
            ("message", "acme was connected."),
            ("event", "connection.stored"),
            ("connection", "acme"),
            ("advertisers", 3),
        ]

    def test_whatever_comes_in_an_entry_is_one_line_of_bounded_length(self, logged: Logged) -> None:
        """Control characters, separators and broken characters become spaces; long texts and lists are cut, visibly."""
        text = "a\r\nb\0c\x85d\u2028e\ud800f"
        log.write(entry(text, also=text, listed=[text]))
        log.write(entry("m" * 5000, names=[str(number) for number in range(250)]))
        odd, long = logged.entries
        assert [odd["message"], odd["also"], *odd["listed"]] == ["a b c d e f"] * 3
        assert long["message"] == "m" * 1000 + "…"
        assert long["names"][99:] == ["99", "… and 150 more"]


def test_the_place_of_a_defect_is_kept(logged: Logged) -> None:
    """An unexpected error is named by type and place; that its text is not logged is in `security`."""
    try:
        raise RuntimeError
    except RuntimeError as error:
        log.defect(error, connection="acme")
    log.defect(KeyError())
    raised, never_raised = logged.entries
    assert (raised["severity"], raised["event"], raised["connection"]) == ("ERROR", "defect", "acme")
    assert "Unexpected RuntimeError at test_log.py:" in raised["message"]
    assert "Unexpected KeyError at an unknown place" in never_raised["message"]


class TestContext:
    @pytest.mark.parametrize("form", HEADERS)
    def test_the_requests_trace_is_in_every_entry(self, logged: Logged, form: str) -> None:
        """A trace header of either form is written as Cloud Logging wants it; without a project it is not."""
        headers, span = HEADERS[form]
        for project in ("p", ""):
            with log.context(headers.get, project, reference="0123abcd"):
                log.write(entry())
        with_project, without = logged.entries
        assert with_project["reference"] == "0123abcd"
        assert with_project["logging.googleapis.com/trace"] == f"projects/p/traces/{TRACE}"
        assert with_project.get("logging.googleapis.com/spanId") == span
        assert "logging" not in str(without)

    def test_what_is_no_trace_is_dropped_and_all_ends_with_the_request(self, logged: Logged) -> None:
        """A header of another form is in no entry, and what one request added not in the next one's."""
        for header in (f"00-{TRACE}-{SPAN}-01\n", "nonsense", ""):
            with log.context({"traceparent": header, "X-Cloud-Trace-Context": header}.get, "p"):
                log.write(entry())
        with pytest.raises(KeyError), log.context(lambda _: None, "p", reference="0123abcd"):
            raise KeyError
        log.write(entry())
        assert "logging" not in logged.getvalue()
        assert "reference" not in logged.getvalue()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_entries_are_lines_for_people(hand_clock: HandClock) -> None:
    """Time, severity, event, message, and the rest in brackets; no trace."""
    terminal = Terminal()
    log.write_to(terminal)
    with log.context({"traceparent": f"00-{TRACE}-{SPAN}-01"}.get, "p", reference="0123abcd"):
        log.write(Entry("connection.refused", "WARNING", "The link was used.", {"status": 409, "counts": {"a": 1}}))
    line = terminal.getvalue()
    assert line == (
        f"{hand_clock.now().astimezone():%H:%M:%S} WARNING  connection.refused         The link was used.  "
        "[status=409  reference=0123abcd]\n"
    )
