"""Writes the parts of the guide that the code decides; a test compares.

They are the events, what ends an alert, what approvers see, and the help of the command line:

    PYTHONPATH=functions:infra:tests .venv/bin/python -m readme.tables
"""

import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable

from readme.page import OPERATING, ROOT
from tokenkeeper.connect.notices import WORDS, Notice
from tokenkeeper.connect.refusal import ROWS
from tokenkeeper.events import EVENTS, Event

HELP = "$ python -m tokenkeeper --help\n"
_LIFE = f"{WORDS['advertiser']['life']} (from a TikTok account, {WORDS['account']['life']})"
_BY_CODE = "The page says it, with TikTok's code and request id; most often: open the link again."


def written(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def events() -> str:
    """Every log entry, by severity and what to do."""
    return written(
        ("event", "severity", "what happened", "what to do"),
        ((f"`{event.name}`", ", ".join(event.severities), event.what, event.remedy) for event in EVENTS.values()),
    )


def endings() -> str:
    """What ends which alerts."""
    alerts: defaultdict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in EVENTS.values():
        if event.ended_by:
            alerts[", ".join(f"`{name}`" for name in event.ended_by), event.endings].append(event)
    return written(
        ("alert", "over with"),
        (
            (", ".join(f"`{event.name}`" for event in ended), f"{over}: {how}" if how else over)
            for (over, how), ended in alerts.items()
        ),
    )


def pages() -> str:
    """The pages that say that there is no connection, with the reasons that the log has for them."""
    reasons: defaultdict[tuple[str, int, str], list[str]] = defaultdict(list)
    for reason, row in ROWS.items():
        for title in dict.fromkeys(row.notice.for_family(family).title for family in WORDS):
            reasons[title, row.status, _todo(row.notice)].append(f"`{reason}`")
    return written(
        ("page", "status", "`reason`", "what people are told to do"),
        ((title, str(status), ", ".join(names), todo) for (title, status, todo), names in reasons.items()),
    )


def _todo(notice: Notice) -> str:
    return notice.next.format(life=_LIFE) or _BY_CODE


def command_help() -> str:
    """What the program says of itself, with a width of 80 columns."""
    done = subprocess.run(
        [sys.executable, *HELP.split()[2:]],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "functions"), "COLUMNS": "80", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip() + "\n"


def documented() -> str:
    """The guide with these parts as they should be."""
    text = OPERATING.text
    for name, made in {"events": events, "over": endings, "pages": pages}.items():
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
        before, _, rest = text.partition(begin)
        text = before + begin + made() + end + rest.partition(end)[2]
    before, _, rest = text.partition(HELP)
    return f"{before}{HELP}{command_help()}```{rest.partition('```')[2]}"


if __name__ == "__main__":
    OPERATING.file.write_text(documented(), encoding="utf-8")
