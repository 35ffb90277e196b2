"""Tells the whole year and writes down its numbers and its picture: `python -m reliability.year`."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reliability.year_chart import draw, table
from reliability.year_story import Story
from reliability.year_world import YearStage

FOLDER = Path(__file__).parent
CONNECTIONS, DAYS, EXPIRING_ONE_IN = 10_000, 365, 100


def main(words: Sequence[str] | None = None) -> int:
    """Tell it; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m reliability.year", description=__doc__)
    parser.add_argument("--connections", type=int, default=CONNECTIONS, help="(default: %(default)s)")
    parser.add_argument("--days", type=int, default=DAYS, help="(default: %(default)s)")
    parser.add_argument("--expiring-one-in", type=int, default=EXPIRING_ONE_IN, help="(default: %(default)s)")
    parser.add_argument("--into", type=Path, default=FOLDER, help="folder for year.json and year.svg")
    parser.add_argument("--again", action="store_true", help="only draw anew what is in year.json")
    given = parser.parse_args(words)
    given.into.mkdir(parents=True, exist_ok=True)
    if not given.again:
        year = told(given.connections, given.days, given.expiring_one_in)
        (given.into / "year.json").write_text(written(year))
    year = json.loads((given.into / "year.json").read_text())
    (given.into / "year.svg").write_text(draw(year))
    print(table(year))
    return 0


def told(connections: int, days: int, expiring_one_in: int) -> dict[str, Any]:
    """The numbers of a year in the world without sockets."""

    def progress(day: float) -> None:
        print(f"\rday {day:.0f} of {days}", end="", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as folder:
        stage = YearStage.without_sockets(Path(folder))
        with stage.in_place():
            year = Story(stage, connections, days, expiring_one_in).tell(progress)
    print(file=sys.stderr)
    return year.document()


def written(year: Mapping[str, Any]) -> str:
    """The numbers as JSON, a line each, so that a change shows where it is."""
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in year.items() if key != "days"]
    days = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in year["days"].items()]
    return "{\n " + ",\n ".join(lines) + ',\n "days": {\n' + ",\n".join(days) + "\n }\n}\n"


if __name__ == "__main__":
    raise SystemExit(main())
