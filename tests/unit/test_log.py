"""One JSON object a line for Cloud Logging, readable lines on a terminal."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from tokenkeeper import log
from tokenkeeper.secrecy import Secret
from unit.parts import NOON, HandClock

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


@pytest.fixture
def stream() -> io.StringIO:
    """Where everything is written to."""
    stream = io.StringIO()
    log.write_to(stream)
    return stream


def entries(stream: io.StringIO) -> list[dict[str, Any]]:
    """What was written, one object for each line."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


class TestEvents:
    def test_an_entry_is_one_object_on_one_line(self, stream: io.StringIO) -> None:
        """Severity, message and event come first, then what else there is to say; None is left out."""
        log.event("NOTICE", "connection.stored", "acme was connected.", connection="acme", code=None, advertisers=3)
        assert stream.getvalue().endswith("\n")
        assert list(entries(stream)[0].items()) == [
            ("severity", "NOTICE"),
            ("message", "acme was connected."),
            ("event", "connection.stored"),
            ("connection", "acme"),
            ("advertisers", 3),
        ]

    def test_standard_output_is_where_it_goes(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Cloud Run reads standard output, so that is the default."""
        log.event("INFO", "run.finished", "Done.")
        assert json.loads(capsys.readouterr().out)["event"] == "run.finished"

    @pytest.mark.parametrize(
        "text", ["two\nlines", "a\r\nb", "nul\0", "next\x85line", "sep\u2028arator", "lone \ud800"]
    )
    def test_nothing_that_comes_in_makes_a_second_line(self, stream: io.StringIO, text: str) -> None:
        """Control characters, separators and broken characters become spaces."""
        log.event("INFO", "x", text, also=text, listed=[text])
        (entry,) = entries(stream)
        assert not set("\n\r\0\x85\u2028\ud800") & set(entry["message"] + entry["also"] + entry["listed"][0])

    def test_a_secret_is_masked_even_by_mistake(self, stream: io.StringIO) -> None:
        """A secret value given as a field is written as its mask."""
        log.event("INFO", "x", "m", token=Secret("a-token"))  # type: ignore[arg-type]
        assert entries(stream)[0]["token"] == "Secret(…)"

    def test_what_is_too_long_is_cut(self, stream: io.StringIO) -> None:
        """Long texts and lists are cut, and it shows."""
        log.event("INFO", "x", "m" * 5000, names=[str(number) for number in range(250)])
        (entry,) = entries(stream)
        assert len(entry["message"]) == 1001
        assert entry["message"].endswith("…")
        assert len(entry["names"]) == 101
        assert entry["names"][-1] == "… and 150 more"

    def test_lines_of_several_threads_do_not_mix(self, stream: io.StringIO) -> None:
        """Every entry is written at once."""

        def write() -> None:
            for _ in range(50):
                log.event("INFO", "x", "m" * 200)

        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(entries(stream)) == 200


class TestDefects:
    def test_the_place_is_kept_and_the_text_is_not(self, stream: io.StringIO) -> None:
        """An unexpected error is named by type and place; its text, which may hold a secret, is not."""
        try:
            raise RuntimeError("https://example.com/?secret=abc")
        except RuntimeError as error:
            log.defect(error, connection="acme")
        (entry,) = entries(stream)
        assert entry["severity"] == "ERROR"
        assert entry["event"] == "defect"
        assert entry["connection"] == "acme"
        assert "Unexpected RuntimeError at test_log.py:" in entry["message"]
        assert "secret=abc" not in stream.getvalue()


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
        self, stream: io.StringIO, headers: Mapping[str, str], fields: Mapping[str, str]
    ) -> None:
        """A trace header of either form is written as Cloud Logging wants it; anything else is not."""
        with log.context(headers.get, "p", reference="0123abcd"):
            log.event("INFO", "x", "m")
        (entry,) = entries(stream)
        assert entry["reference"] == "0123abcd"
        assert {key: value for key, value in entry.items() if key.startswith("logging.")} == fields

    def test_without_a_project_no_trace_is_written(self, stream: io.StringIO) -> None:
        """A trace without its project would lead nowhere."""
        with log.context({"traceparent": f"00-{TRACE}-{SPAN}-01"}.get, ""):
            log.event("INFO", "x", "m")
        assert "logging" not in stream.getvalue()

    def test_it_ends_with_the_request(self, stream: io.StringIO) -> None:
        """What one request added is not in the next one's entries, even if it failed."""
        with pytest.raises(KeyError), log.context(lambda _: None, "p", reference="0123abcd"):
            raise KeyError
        log.event("INFO", "x", "m")
        assert "reference" not in entries(stream)[0]


class TestOnATerminal:
    def test_entries_are_lines_for_people(self, hand_clock: HandClock) -> None:
        """Time, severity, event, message, and the rest in brackets; no trace."""
        terminal = Terminal()
        log.write_to(terminal)
        with log.context({"traceparent": f"00-{TRACE}-{SPAN}-01"}.get, "p", reference="0123abcd"):
            log.event("WARNING", "connection.refused", "The link was used.", status=409)
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
