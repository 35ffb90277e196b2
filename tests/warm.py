"""Processes of the product that begin with other people's libraries loaded: forked from one that has loaded them.

The product's own modules are imported in each of them, from the beginning, with its own settings, streams and session,
and it dies of a signal like any other. What a fork does not show: `sitecustomize`, variables that the interpreter
itself reads (`PYTHONWARNINGS` is the same for all), what runs at exit, and how long a start takes. The usual functions
of a session start cold, as in the cloud; so does whatever a test of these things asks for.
"""

import functools
import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any
from unittest import mock

_ROOT = Path(__file__).parents[1]
_OURS = [str(_ROOT / name) for name in ("functions", "infra", "tests")]
_LOADED = [
    "warm",
    "functions_framework._cli",
    "functions_framework._http.gunicorn",
    "gunicorn.arbiter",
    "google.auth.transport.requests",
    "google.cloud.secretmanager_v1",
    "google_crc32c",
]
_context = multiprocessing.get_context("forkserver")


class Process:
    """As much of `subprocess.Popen` as the tests ask for: a module with its arguments, environment and folder.

    The file descriptors of its standard input, output and error stay the caller's to close.
    """

    def __init__(
        self, words: Sequence[str], environment: Mapping[str, str], folder: Path, streams: tuple[int, int, int]
    ) -> None:
        self._words = words
        _load()
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
            self._process.kill()
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


@functools.cache
def _load() -> None:
    """Start the process that all others are forked from, if it does not run yet, with what functions have around."""
    _context.set_forkserver_preload(_LOADED)
    with mock.patch.dict(os.environ, {"PYTHONPATH": os.pathsep.join(_OURS), "PYTHONWARNINGS": "default"}):
        forkserver.ensure_running()


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
