"""One JSON object a line for Cloud Logging, readable lines on a terminal."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Mapping

import pytest

from tokenkeeper import log
from tokenkeeper.events import Entry, Value
from tokenkeeper.secret import Secret
from unit.conftest import Logged
from unit.parts import NOON, HandClock

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


def entry(message: str = "acme was connected.", **fields: Value) -> Entry:
    """An entry of some event."""
    return Entry("connection.stored", "NOTICE", message, fields)


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


class TestEntries:
    def test_an_entry_is_one_object_on_one_line(self, logged: Logged) -> None:
        """Severity, message and event come first, then what else there is to say; None is left out."""
        log.write(entry(connection="acme", code=None, advertisers=3))
        assert logged.getvalue().endswith("}\n")
        assert list(logged.entries[0].items()) == [
            ("severity", "NOTICE"),
            ("message", "acme was connected."),
            ("event", "connection.stored"),
            ("connection", "acme"),
            ("advertisers", 3),
        ]

    def test_a_detail_is_in_the_sentence_only(self, logged: Logged) -> None:
        """What a sentence ends with is not written a second time."""
        log.write(entry("It failed: no.", detail="no."))
        assert "detail" not in logged.entries[0]

    @pytest.mark.parametrize(
        "text", ["two\nlines", "a\r\nb", "nul\0", "next\x85line", "sep\u2028arator", "lone \ud800"]
    )
    def test_nothing_that_comes_in_makes_a_second_line(self, logged: Logged, text: str) -> None:
        """Control characters, separators and broken characters become spaces."""
        log.write(entry(text, also=text, listed=[text]))
        (written,) = logged.entries
        assert not set("\n\r\0\x85\u2028\ud800") & set(written["message"] + written["also"] + written["listed"][0])

    def test_a_secret_is_masked_even_by_mistake(self, logged: Logged) -> None:
        """A secret value given as a field is written as its mask."""
        log.write(entry(token=Secret("a-token")))  # type: ignore[arg-type]
        assert logged.entries[0]["token"] == "Secret(…)"

    def test_what_is_too_long_is_cut(self, logged: Logged) -> None:
        """Long texts and lists are cut, and it shows."""
        log.write(entry("m" * 5000, names=[str(number) for number in range(250)]))
        (written,) = logged.entries
        assert len(written["message"]) == 1001
        assert written["message"].endswith("…")
        assert len(written["names"]) == 101
        assert written["names"][-1] == "… and 150 more"

    def test_lines_of_several_threads_do_not_mix(self, logged: Logged) -> None:
        """Every entry is written at once."""

        def write() -> None:
            for _ in range(50):
                log.write(entry("m" * 200))

        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(logged.entries) == 200


class TestDefects:
    def test_the_place_is_kept_and_the_text_is_not(self, logged: Logged) -> None:
        """An unexpected error is named by type and place; its text, which may hold a secret, is not."""
        try:
            raise RuntimeError("https://example.com/?secret=abc")
        except RuntimeError as error:
            log.defect(error, connection="acme")
        (written,) = logged.entries
        assert (written["severity"], written["event"], written["connection"]) == ("ERROR", "defect", "acme")
        assert "Unexpected RuntimeError at test_log.py:" in written["message"]
        assert "secret=abc" not in logged.getvalue()

    def test_one_without_a_place_is_written_too(self, logged: Logged) -> None:
        """An error that was never raised has no traceback."""
        log.defect(RuntimeError())
        assert "an unknown place" in logged.entries[0]["message"]


class TestContext:
    @pytest.mark.parametrize(
        ("headers", "fields"),
        [
            (
                {"traceparent": f"00-{TRACE}-{SPAN}-01"},
                {
                    "logging.googleapis.com/trace": f"projects/p/traces/{TRACE}",
                    "logging.googleapis.com/spanId": SPAN,
                },
            ),
            (
                {"X-Cloud-Trace-Context": f"{TRACE.upper()}/255;o=1"},
                {
                    "logging.googleapis.com/trace": f"projects/p/traces/{TRACE}",
                    "logging.googleapis.com/spanId": "00000000000000ff",
                },
            ),
            ({"X-Cloud-Trace-Context": TRACE}, {"logging.googleapis.com/trace": f"projects/p/traces/{TRACE}"}),
            ({"traceparent": f"00-{TRACE}-{SPAN}-01\n"}, {}),
            ({"traceparent": "nonsense", "X-Cloud-Trace-Context": "../../etc"}, {}),
            ({}, {}),
        ],
        ids=["W3C", "Google", "Google without a span", "a line break behind it", "nonsense", "none"],
    )
    def test_the_requests_trace_is_in_every_entry(
        self, logged: Logged, headers: Mapping[str, str], fields: Mapping[str, str]
    ) -> None:
        """A trace header of either form is written as Cloud Logging wants it; anything else is not."""
        with log.context(headers.get, "p", reference="0123abcd"):
            log.write(entry())
        (written,) = logged.entries
        assert written["reference"] == "0123abcd"
        assert {key: value for key, value in written.items() if key.startswith("logging.")} == fields

    def test_without_a_project_no_trace_is_written(self, logged: Logged) -> None:
        """A trace without its project would lead nowhere."""
        with log.context({"traceparent": f"00-{TRACE}-{SPAN}-01"}.get, ""):
            log.write(entry())
        assert "logging" not in logged.getvalue()

    def test_it_ends_with_the_request(self, logged: Logged) -> None:
        """What one request added is not in the next one's entries, even if it failed."""
        with pytest.raises(KeyError), log.context(lambda _: None, "p", reference="0123abcd"):
            raise KeyError
        log.write(entry())
        assert "reference" not in logged.entries[0]


class TestOnATerminal:
    def test_entries_are_lines_for_people(self, hand_clock: HandClock) -> None:
        """Time, severity, event, message, and the rest in brackets; no trace."""
        terminal = Terminal()
        log.write_to(terminal)
        with log.context({"traceparent": f"00-{TRACE}-{SPAN}-01"}.get, "p", reference="0123abcd"):
            log.write(Entry("connection.refused", "WARNING", "The link was used.", {"status": 409}))
        line = terminal.getvalue()
        assert line == (
            f"{hand_clock.now().astimezone():%H:%M:%S} WARNING  connection.refused         The link was used.  "
            "[status=409  reference=0123abcd]\n"
        )

    def test_an_entry_of_another_process_is_readable_too(self) -> None:
        """What was written as an object can be made a line for people."""
        line = log.readable({"severity": "ERROR", "message": "Broken.", "event": "defect", "counts": {"a": 1}}, NOON)
        assert line.endswith("ERROR    defect                     Broken.")


def test_libraries_do_not_write_logs_of_their_own() -> None:
    """Debugging logs of the HTTP and Google libraries hold addresses and payloads, so they stay shut."""
    loggers = [logging.getLogger(name) for name in ("urllib3.connectionpool", "google.auth", "requests")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.DEBUG)
        log.silence_libraries()
        assert not any(logger.isEnabledFor(logging.ERROR) for logger in loggers)
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
