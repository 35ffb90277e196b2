"""Other programs, and the terminal."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from gcp.deploy.refusals import Refusal, Refused

HERE = Path(__file__).resolve().parents[1]
ROOT = HERE.parents[1]
SAVED = ROOT / ".tokenkeeper"
LIVE = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"

# The environment of other programs: everything but the app's secret, which none of them has to know. The project and
# whose rights gcloud uses are added as soon as they are known.
environment = {key: value for key, value in os.environ.items() if key != "TIKTOK_APP_SECRET"}
environment |= {"CLOUDSDK_CORE_DISABLE_PROMPTS": "1", "TF_IN_AUTOMATION": "1"}

# Nobody else may read what is in it, and it is gone at the end of the program.
private_folder = tempfile.TemporaryDirectory()


def capture(*command: str, given: str = "") -> str:
    """What a program prints, with `given` on its standard input; raises `Refused` where it fails."""
    done = subprocess.run(command, input=given, text=True, capture_output=True, check=False, env=environment)
    if done.returncode != 0:
        words = " ".join(word for word in command[:5] if word[0] != "-")
        raise Refused(f"{words} failed:", [Refusal(done.stderr.strip())])
    return done.stdout.strip()


gcloud = partial(capture, "gcloud")


def try_gcloud(*arguments: str) -> str | None:
    """What gcloud prints, or None where it fails."""
    try:
        return gcloud(*arguments)
    except Refused:
        return None


def say(text: str, *, passing: bool = False, error: bool = False) -> None:
    """Print, also where nobody is listening any more: a closed terminal must not end a deployment half-way.

    At a terminal, what is `passing` gives way to what is said next.
    """
    stream = sys.stderr if error else sys.stdout
    if LIVE and not error:
        text = "\r\x1b[K" + (text[: shutil.get_terminal_size().columns - 1] if passing else text)
    try:
        print(text, end="" if LIVE and passing else "\n", flush=True, file=stream)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def write_private(file: Path, text: str) -> None:
    """Write a file that nobody else may read, whole or not at all."""
    file.parent.mkdir(mode=0o700, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False, encoding="utf-8") as stream:
        stream.write(text)
    Path(stream.name).replace(file)
