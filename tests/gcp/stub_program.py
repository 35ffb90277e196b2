"""Stands in for gcloud or terraform on PATH: records how it was called and answers as a file says.

The directory of the answers is in STUB_DIRECTORY: `calls.jsonl` is written, `answers.json` is read, a list of
`[program, regular expression over the arguments, exit status, output]`; the first that fits counts, and none is success
without output. An answer with a fifth element counts so many times only. `gcloud functions describe` is answered from
`functions.json`, which the stub provider writes; the bucket of the state is not there.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path


def main() -> int:
    """Record, answer."""
    directory = Path(os.environ["STUB_DIRECTORY"])
    program, arguments = Path(sys.argv[0]).name, sys.argv[1:]
    called = f"{program} {' '.join(arguments)}"
    given = "" if sys.stdin is None or sys.stdin.isatty() or "--data-file=-" not in arguments else sys.stdin.read()
    calls = directory / "calls.jsonl"
    before = calls.read_text().splitlines() if calls.exists() else []
    with calls.open("a") as stream:
        stream.write(
            json.dumps({"called": called, "arguments": arguments, "given": given, "environment": dict(os.environ)})
            + "\n"
        )
    for owner, pattern, status, output, *times in json.loads((directory / "answers.json").read_text()):
        if owner != program or not re.search(pattern, called):
            continue
        if times and sum(bool(re.search(pattern, json.loads(line)["called"])) for line in before) >= times[0]:
            continue
        print(output, file=sys.stderr if status else sys.stdout)
        return int(status)
    if os.environ.get("REAL_GCLOUD") and arguments[0] == "storage":
        return subprocess.call([os.environ["REAL_GCLOUD"], *arguments])
    if arguments[:2] == ["functions", "describe"]:
        there = directory / "functions.json"
        functions = json.loads(there.read_text()) if there.exists() else {}
        if arguments[2] in functions:
            print(json.dumps(functions[arguments[2]]))
            return 0
    if arguments[:2] == ["functions", "describe"] or arguments[:3] == ["storage", "buckets", "describe"]:
        print("ERROR: status=[404], message=[Resource not found]", file=sys.stderr)
        return 1
    if arguments[:3] == ["run", "services", "describe"]:
        print(json.dumps({"metadata": {"annotations": {}}}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
