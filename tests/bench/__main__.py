"""Measures what the product is designed for in speed and size. `make bench` runs all, `make bench ONLY=start` one.

Each benchmark runs alone in a process of its own. With all of them, a table and a plot are written beside this file.
"""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from bench import callbacks, report, runs, starting, storing

BENCHMARKS: Mapping[str, Callable[[], list[report.Row]]] = {
    "start": starting.first_answer,
    "cold": starting.cold_callback,
    "sequence": callbacks.one_after_the_other,
    "own": callbacks.own_time,
    "calls": storing.calls_per_connection,
    "versions": storing.versions,
    "memory": storing.memory,
    "run100": lambda: [*runs.over(100, 8), *runs.over(100, 8, busy=True)],
    "run1000": lambda: runs.over(1000, 40),
    "run10000": lambda: runs.over(10_000, 300),
}
_LONGEST = 240  # seconds; each takes less than two minutes where nobody else is at work
_PACKAGES = ("functions-framework", "flask", "google-auth", "urllib3")


def main(names: list[str]) -> int:
    """Run these benchmarks, or all."""
    if len(names) == 2 and names[0] == "--json":
        print(json.dumps([asdict(row) for row in BENCHMARKS[names[1]]()]))
        return 0
    unknown = set(names) - BENCHMARKS.keys()
    if unknown:
        print(f"No such benchmark: {', '.join(sorted(unknown))}. There are {', '.join(BENCHMARKS)}.", file=sys.stderr)
        return 2
    machine = _machine()
    print(machine)
    rows: list[report.Row] = []
    for name in names or BENCHMARKS:
        began = time.monotonic()
        words = [sys.executable, "-m", "bench", "--json", name]
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True, timeout=_LONGEST, check=True)
        for document in json.loads(done.stdout.splitlines()[-1]):
            row = report.Row(**document)
            rows.append(row)
            print(f"{row.what}: {row.figure} ({row.spread}); against {row.against}; to reach: {row.reach}", flush=True)
        print(f"  [{name}: {time.monotonic() - began:.0f} s]", flush=True)
    if not names:
        folder = Path(__file__).parent
        (folder / "results.md").write_text(report.table(machine, rows), encoding="utf-8")
        (folder / "results.svg").write_text(report.plot(rows), encoding="utf-8")
    return 0


def _machine() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, load {load}; "
        f"CPython {platform.python_version()}, {packages}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
