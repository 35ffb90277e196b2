"""The pages of `infra/readers/` taken apart, and what they publish run as it stands."""

import contextlib
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from readers.internet import Internet, end
from stage import ROOT, free_port

PAGES = ROOT / "infra" / "readers"
ENVIRONMENTS = Path(__file__).with_name("environments")


@dataclass(frozen=True)
class Recipe:
    """One page: its name without `.md`, and all of its text."""

    name: str
    text: str

    def fenced(self) -> list[tuple[str, str, str]]:
        """Every fenced block, in order: its language, what stands beside that, its text."""
        return re.findall(r"^```(\w+) *([^\n]*)\n(.*?)^```$", self.text, re.DOTALL | re.MULTILINE)

    @property
    def files(self) -> dict[str, str]:
        """The files that the reader writes, by name."""
        return {about: text for _, about, text in self.fenced() if about not in {"", "install"}}

    @property
    def commands(self) -> list[str]:
        """The blocks of commands that are run, in order."""
        return [text for language, about, text in self.fenced() if (language, about) == ("sh", "")]

    @property
    def installation(self) -> str:
        """The commands that install the tool."""
        return "".join(text for _, about, text in self.fenced() if about == "install")

    def write(self, folder: Path) -> Path:
        """Write the files into a folder, with `tiktok_token.py` where the page says so; returns it."""
        for name, text in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        if "](tiktok_token.py)" in self.text:
            shutil.copy(PAGES / "tiktok_token.py", folder)
        return folder


def recipe(name: str) -> Recipe:
    """The page of that name."""
    return Recipe(name, (PAGES / f"{name}.md").read_text(encoding="utf-8"))


def programs(environment: str) -> Path:
    """The folder of an environment's programs. That it is missing is a failure that says what to do."""
    folder = ROOT / ".venv-readers" / environment / "bin"
    if not folder.is_dir():
        pytest.fail(f"{environment} is not installed for the tests of its recipe: run `make test-readers`.")
    return folder


def start(
    script: str, internet: Internet, folder: Path, environment: str | None = None, **variables: str
) -> subprocess.Popen[str]:
    """Start commands in a folder; the programs of an environment, if any, are found before all others."""
    values = internet.environ(**variables)
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


def finish(
    process: subprocess.Popen[str], internet: Internet, name: str, *, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Wait for what was started, and let the canaries hear what it printed; a failure fails the test, if `check`."""
    printed, errors = process.communicate(timeout=300)  # `Internet.reset` ends what takes longer
    internet.stage.canaries.record(f"what {name} printed", printed)
    internet.stage.canaries.record(f"what {name} printed as errors", errors)
    if check and process.returncode:
        pytest.fail(f"{name} ended with {process.returncode}:\n{printed[-4000:]}\n{errors[-8000:]}")
    return subprocess.CompletedProcess(name, process.returncode, printed, errors)


def run(
    page: Recipe,
    internet: Internet,
    folder: Path,
    environment: str | None = None,
    *,
    script: str | None = None,
    variables: Mapping[str, str] | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Write a page's files into a folder and run its commands there, or another script; see `start` and `finish`."""
    page.write(folder)
    script = "\n".join(page.commands) if script is None else script
    return finish(start(script, internet, folder, environment, **variables or {}), internet, page.name, check=check)


@contextlib.contextmanager
def served(page: Recipe, internet: Internet, folder: Path, options: str, **variables: str) -> Iterator[str]:
    """Serve a page's function with functions-framework; gives its address."""
    page.write(folder)
    port = free_port()
    command = f"exec functions-framework --host=127.0.0.1 --port={port} {options}"
    process = start(command, internet, folder, page.name, **variables)
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
        finish(process, internet, page.name, check=False)
