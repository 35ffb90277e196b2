"""gcloud, the terminal, and the one error that ends the program."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]
ROOT = HERE.parents[1]
SAVED = ROOT / ".tokenkeeper"

# What gcloud says of what does not exist, and in a project whose API was never switched on.
NOTHING_THERE = re.compile(r"NOT_FOUND|not found|404|does not exist|has not been used in project|SERVICE_DISABLED")

# Set once by `identity`: what makes gcloud act as the identity that Terraform's provider takes from the environment.
for_gcloud: dict[str, str] = {}


class Stop(Exception):
    """Ends the program; the text says what is wrong and what to do."""


class GcloudFailed(Stop):
    """gcloud ended with an error; `said` is what it printed about it."""

    def __init__(self, command: str, said: str) -> None:
        super().__init__(f"gcloud {command} failed: {said}")
        self.said = said


def table(name: str) -> dict[str, Any]:
    """A table of this package, kept as TOML."""
    return tomllib.loads(Path(__file__).with_name(f"{name}.toml").read_text(encoding="utf-8"))


def environment() -> dict[str, str]:
    """The environment of other programs: everything but the app's secret, which none of them has to know."""
    return {key: value for key, value in os.environ.items() if key != "TIKTOK_APP_SECRET"}


def gcloud(*arguments: str, given: str | None = None) -> str:
    """Run gcloud, with `given` on its standard input; returns what it prints.

    Raises:
        GcloudFailed: it failed.
    """
    done = subprocess.run(
        ["gcloud", *arguments],
        input=given,
        stdin=subprocess.DEVNULL if given is None else None,
        text=True,
        capture_output=True,
        check=False,
        env={**environment(), "CLOUDSDK_CORE_DISABLE_PROMPTS": "1", **for_gcloud},
    )
    if done.returncode != 0:
        command = " ".join(word for word in arguments[:4] if not word.startswith("-"))
        raise GcloudFailed(command, done.stderr.strip())
    return done.stdout.strip()


def try_gcloud(*arguments: str) -> str | None:
    """What gcloud prints, or None where it fails."""
    try:
        return gcloud(*arguments)
    except GcloudFailed:
        return None


def found(*arguments: str) -> Any:
    """What gcloud describes, or None where that does not exist.

    Raises:
        GcloudFailed: it could not be looked up.
    """
    try:
        return json.loads(gcloud(*arguments, "--format=json"))
    except GcloudFailed as error:
        if NOTHING_THERE.search(error.said):
            return None
        raise


def say(text: str = "", *, end: str = "\n", error: bool = False) -> None:
    """Print, also where nobody is listening any more: a closed terminal must not end a deployment half-way."""
    stream = sys.stderr if error else sys.stdout
    try:
        print(text, end=end, flush=True, file=stream)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def confirm(question: str, right: str) -> None:
    """Ask, and stop unless the answer is the right one.

    Raises:
        Stop: it is another, or there is nobody to ask.
    """
    if not sys.stdin.isatty():
        raise Stop("No terminal to confirm on: pass --yes (YES=1).")
    if input(question).strip() != right:
        raise Stop("Nothing was changed.")


def write_private(file: Path, text: str) -> None:
    """Write a file that nobody else may read, whole or not at all."""
    file.parent.mkdir(mode=0o700, exist_ok=True)
    temporary = file.with_name(f"{file.name}.new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text)
    temporary.replace(file)
