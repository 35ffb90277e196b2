"""Stands in for gcloud or terraform on PATH: records how it was called and answers as a file says.

The directory of the answers is in STUB_DIRECTORY: `calls.jsonl` is written, `answers.json` is read, a list of
`[program, regular expression over the arguments, exit status, output]`; the first that fits counts, and none is success
without output. `gcloud functions describe` is answered from `functions.json`, which the stub provider writes, and
`gcloud storage` by the real gcloud where REAL_GCLOUD names it.
"""

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
    given = sys.stdin.read() if "--data-file=-" in arguments and not sys.stdin.isatty() else ""
    call = {"called": called, "arguments": arguments, "given": given, "environment": dict(os.environ)}
    with (directory / "calls.jsonl").open("a") as stream:
        stream.write(json.dumps(call) + "\n")
    for owner, pattern, status, output in json.loads((directory / "answers.json").read_text()):
        if owner == program and re.search(pattern, called):
            print(output, file=sys.stderr if status else sys.stdout)
            return int(status)
    if os.environ.get("REAL_GCLOUD") and arguments[0] == "storage":
        return subprocess.call([os.environ["REAL_GCLOUD"], *arguments])
    if arguments[:2] == ["functions", "describe"]:
        there = directory / "functions.json"
        functions = json.loads(there.read_text()) if there.exists() else {}
        if arguments[2] not in functions:
            print("ERROR: status=[404], message=[Resource not found]", file=sys.stderr)
            return 1
        print(json.dumps(functions[arguments[2]]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
