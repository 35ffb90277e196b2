"""Other programs, the terminal, and the one error that ends this one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from gcp.deploy.refusals import Refusal, explained

HERE = Path(__file__).resolve().parents[1]
ROOT = HERE.parents[1]
SAVED = ROOT / ".tokenkeeper"

# What gcloud says of what does not exist, and in a project whose API was never switched on.
NOTHING_THERE = re.compile(r"NOT_FOUND|not found|404|does not exist|has not been used in project|SERVICE_DISABLED")

# The environment of other programs: everything but the app's secret, which none of them has to know. The project and
# whose rights gcloud uses are added as soon as they are known.
environment = {key: value for key, value in os.environ.items() if key != "TIKTOK_APP_SECRET"}
environment |= {"CLOUDSDK_CORE_DISABLE_PROMPTS": "1", "TF_IN_AUTOMATION": "1"}

# Nobody else may read what is in it, and it is gone at the end of the program.
private_folder = tempfile.TemporaryDirectory()


class Stop(Exception):
    """Ends the program; the text says what is wrong and what to do."""


def capture(*command: str, given: str = "") -> str:
    """What a program prints, with `given` on its standard input; raises `Stop`, with what helps, where it fails."""
    done = subprocess.run(command, input=given, text=True, capture_output=True, check=False, env=environment)
    if done.returncode != 0:
        words = " ".join(word for word in command[:5] if word[0] != "-")
        raise Stop(f"{words} failed:\n{explained([Refusal(done.stderr.strip())])}")
    return done.stdout.strip()


def gcloud(*arguments: str, given: str = "") -> str:
    """What gcloud prints; raises `Stop` where it fails."""
    return capture("gcloud", *arguments, given=given)


def try_gcloud(*arguments: str) -> str | None:
    """What gcloud prints, or None where it fails."""
    try:
        return gcloud(*arguments)
    except Stop:
        return None


def described(*arguments: str) -> dict[str, Any] | None:
    """What gcloud describes, or None where that does not exist; raises `Stop` where it cannot be looked up."""
    try:
        return dict(json.loads(gcloud(*arguments, "--format=json")))
    except Stop as stop:
        if NOTHING_THERE.search(str(stop)):
            return None
        raise


def say(text: str = "", *, end: str = "\n", error: bool = False) -> None:
    """Print, also where nobody is listening any more: a closed terminal must not end a deployment half-way."""
    stream = sys.stderr if error else sys.stdout
    try:
        print(text, end=end, flush=True, file=stream)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def write_private(file: Path, text: str) -> None:
    """Write a file that nobody else may read, whole or not at all."""
    file.parent.mkdir(mode=0o700, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False, encoding="utf-8") as stream:
        stream.write(text)
    Path(stream.name).replace(file)
