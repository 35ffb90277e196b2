"""Processes of the product that begin with their libraries loaded: forked from one that has loaded them.

They differ from those that `python -m` starts in nothing but that: each has its own memory, settings, streams and
session, runs the module from its beginning, and dies of a signal like any other. A test of how the product starts
starts it cold.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any

import pytest

_FOLDER = Path(__file__).parent
_OURS = [str(_FOLDER.parent / name) for name in ("functions", "infra", "tests")]
_LOADED = [
    "functions_framework._cli",
    "functions_framework._http.gunicorn",
    "gunicorn.arbiter",
    "tokenkeeper.cli",
    "tokenkeeper.connect",
    "tokenkeeper.refresh",
    "tokenkeeper.secretmanager",
    "tokenkeeper.transport",
    "warm",
]
_context = multiprocessing.get_context("forkserver")


class Process:
    """As much of `subprocess.Popen` as the tests ask for.

    Args:
        words: A module, and what it is given.
        environment: All of its environment.
        folder: Where it runs.
        streams: File descriptors of its standard input, output and error; they stay the caller's to close.
    """

    def __init__(
        self, words: Sequence[str], environment: Mapping[str, str], folder: Path, streams: tuple[int, int, int]
    ) -> None:
        self._words = words
        with _loaded_once():
            self._process = _context.Process(
                target=_become, args=(list(words), dict(environment), str(folder), _Streams(streams)), daemon=True
            )
            self._process.start()
        assert self._process.pid
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        self._process.join(timeout)
        status = self._process.exitcode
        if status is None:
            raise subprocess.TimeoutExpired(list(self._words), timeout)
        return status


class _Streams:
    """File descriptors on their way to another process."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self.numbers = numbers

    def __getstate__(self) -> list[Any]:
        return [DupFd(number) for number in self.numbers]

    def __setstate__(self, sent: list[Any]) -> None:
        self.numbers = [one.detach() for one in sent]


@contextmanager
def _loaded_once() -> Iterator[None]:
    """The process that all others are forked from has been started, with the environment that functions have."""
    _context.set_forkserver_preload(_LOADED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(_OURS))
        patch.setenv("PYTHONWARNINGS", "default")
        forkserver.ensure_running()
    yield


def _become(words: list[str], environment: dict[str, str], folder: str, streams: _Streams) -> None:
    """What the forked process does: what `python -m` would."""
    os.setsid()
    for number, theirs in enumerate(streams.numbers):
        os.dup2(theirs, number)
        os.close(theirs)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - multiprocessing has put an empty one in its place
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    given = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [folder, *filter(None, given), *(place for place in sys.path if place not in _OURS)]
    sys.argv = words
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)
