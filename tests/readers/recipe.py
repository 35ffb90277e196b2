"""The pages of `infra/readers/` taken apart, and what they publish run as it stands."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from readers.internet import Internet, end
from stage import free_port

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "infra" / "readers"
ENVIRONMENTS = Path(__file__).with_name("environments")
INSTALLED = ROOT / ".venv-readers"


@dataclass(frozen=True)
class Block:
    """A fenced block: ```` ```LANGUAGE ABOUT ````."""

    language: str
    about: str
    text: str


@dataclass(frozen=True)
class Recipe:
    """One page.

    Attributes:
        name: The page's name without `.md`.
        text: All of it.
    """

    name: str
    text: str

    @property
    def fenced(self) -> list[Block]:
        """Every fenced block, in order."""
        found = re.findall(r"^```(\w+)(?: +(\S[^\n]*))?\n(.*?)^```$", self.text, re.DOTALL | re.MULTILINE)
        return [Block(language, about.strip(), text) for language, about, text in found]

    @property
    def files(self) -> dict[str, str]:
        """The files that the reader writes, by name."""
        return {
            block.about: block.text
            for block in self.fenced
            if block.about and (block.language, block.about) != ("sh", "install")
        }

    @property
    def commands(self) -> list[str]:
        """The blocks of commands that are run, in order."""
        return [block.text for block in self.fenced if (block.language, block.about) == ("sh", "")]

    @property
    def installation(self) -> str:
        """The commands that install the tool."""
        return "".join(block.text for block in self.fenced if (block.language, block.about) == ("sh", "install"))

    def blocks(self, language: str) -> list[str]:
        """The texts of the blocks in a language, with or without a file's name."""
        return [block.text for block in self.fenced if block.language == language]

    def write(self, folder: Path) -> Path:
        """Write the files into a folder, with `tiktok_token.py` where the page says so; returns it."""
        for name, text in self.files.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        if "](tiktok_token.py)" in self.text:
            shutil.copy(PAGES / "tiktok_token.py", folder)
        return folder


def recipe(name: str) -> Recipe:
    """The page of that name."""
    return Recipe(name, (PAGES / f"{name}.md").read_text(encoding="utf-8"))


def programs(environment: str) -> Path:
    """The folder of an environment's programs. That it is missing is a failure that says what to do."""
    folder = INSTALLED / environment / "bin"
    if not folder.is_dir():
        pytest.fail(f"{environment} is not installed for the tests of its recipe: run `make test-readers`.")
    return folder


def start(
    script: str, internet: Internet, *, environment: str | None, folder: Path, variables: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start commands in a folder, with the programs of an environment, if any, before all others.

    Nothing is heard of it by the canaries.
    """
    values = internet.environ(**(variables or {}))
    if environment is not None:
        values["PATH"] = f"{programs(environment)}:{values['PATH']}"
    process = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", script],
        env=values,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that it can be ended with all that it started
    )
    internet.started.append(process)
    return process


def run(
    page: Recipe,
    internet: Internet,
    *,
    environment: str | None,
    folder: Path,
    commands: Sequence[str] | None = None,
    variables: dict[str, str] | None = None,
    check: bool = True,
    seconds: float = 300,
) -> subprocess.CompletedProcess[str]:
    """Write a page's files into a folder and run its commands there, or other ones; a failure fails the test.

    Args:
        page: What is run, as it stands.
        internet: Where it is run.
        environment: The folder in `.venv-readers` whose programs are found first; None for a tool of the machine's.
        folder: Where the files are.
        commands: Some of the page's blocks of commands; None for all of them.
        variables: More environment variables.
        check: False where it may fail.
        seconds: How long it may take.
    """
    page.write(folder)
    script = "\n".join(page.commands if commands is None else commands)
    process = start(script, internet, environment=environment, folder=folder, variables=variables)
    with process:
        try:
            printed, errors = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            end(process)
            printed, errors = process.communicate()
            pytest.fail(f"{page.name} took longer than {seconds} seconds: {printed[-2000:]} {errors[-2000:]}")
    internet.record(f"what {page.name} printed", printed)
    internet.record(f"what {page.name} printed as errors", errors)
    if check and process.returncode:
        pytest.fail(f"{page.name} ended with {process.returncode}:\n{printed[-4000:]}\n{errors[-8000:]}")
    return subprocess.CompletedProcess(script, process.returncode, printed, errors)


@contextlib.contextmanager
def served(
    page: Recipe, internet: Internet, environment: str, folder: Path, *options: str, **variables: str
) -> Iterator[str]:
    """Serve a page's function with functions-framework; gives its address."""
    page.write(folder)
    port = free_port()
    command = f"exec functions-framework --host=127.0.0.1 --port={port} {' '.join(options)}"
    process = start(command, internet, environment=environment, folder=folder, variables=variables)
    try:
        while process.poll() is None:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            time.sleep(0.05)
        assert process.poll() is None, process.communicate()
        yield f"http://127.0.0.1:{port}/"
    finally:
        end(process)
        printed, errors = process.communicate()
        internet.record("what the function printed", printed + errors)
