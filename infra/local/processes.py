"""Several processes that start, write and end together."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import TextIO

_BETWEEN_PROBES = 0.02  # seconds
_TO_START = 60.0  # seconds
_TO_END = 4.0  # for the processes that end first, and the same again for the others


@dataclass(frozen=True)
class Line:
    """A process wrote a line."""

    name: str
    text: str


@dataclass(frozen=True)
class Ready:
    """A process answers."""

    name: str


@dataclass(frozen=True)
class Ended:
    """A process has ended, with everything that it wrote before in the queue."""

    name: str
    status: int


@dataclass(frozen=True)
class Stop:
    """The end was asked for: Ctrl-C, or a signal."""


Event = Line | Ready | Ended | Stop


@dataclass(frozen=True)
class Program:
    """What is started.

    Attributes:
        name: What it is called in the log.
        command: The program and its arguments.
        environment: All of its environment.
        port: Where it serves on this machine.
        path: What is asked for to see whether it answers; None: a connection is proof enough.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    port: int
    path: str | None = None


class Processes:
    """Runs programs, each in a process group of its own, so that a terminal's Ctrl-C reaches only this one."""

    def __init__(self, directory: Path) -> None:
        self.events: SimpleQueue[Event] = SimpleQueue()
        self._directory = directory
        self._running: dict[str, subprocess.Popen[str]] = {}
        self._stopping = threading.Event()

    def listen_to_signals(self) -> None:
        """Turn Ctrl-C, SIGTERM and the terminal's end into a `Stop`."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: self.events.put(Stop()))

    def start(self, program: Program) -> None:
        """Start one; from now on its lines and its end are among the events."""
        process = subprocess.Popen(
            program.command,
            cwd=self._directory,
            env=dict(program.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._running[program.name] = process
        assert process.stdout
        reader = self._thread(self._read, program.name, process.stdout)
        self._thread(self._wait, program.name, process, reader)
        self._thread(self._probe, program, process)

    def stop(self, first: Sequence[str]) -> None:
        """End all: those named first, then the others; whoever takes too long is killed."""
        self._stopping.set()
        for names in (list(first), list(self._running)):
            ending = [self._running.pop(name) for name in names if name in self._running]
            for process in ending:
                _send(process, signal.SIGTERM)
            deadline = time.monotonic() + _TO_END
            for process in ending:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.0, deadline - time.monotonic()))
                _send(process, signal.SIGKILL)  # the whole group, whoever is left of it
                process.wait()

    @staticmethod
    def _thread(target: object, *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        thread.start()
        return thread

    def _read(self, name: str, stream: TextIO) -> None:
        with stream:
            for line in stream:
                self.events.put(Line(name, line.rstrip("\n")))

    def _wait(self, name: str, process: subprocess.Popen[str], reader: threading.Thread) -> None:
        status = process.wait()
        reader.join(1.0)  # a process of its own may still hold the pipe
        self.events.put(Ended(name, status))

    def _probe(self, program: Program, process: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + _TO_START
        while process.poll() is None and not self._stopping.is_set():
            if _answers(program, deadline - time.monotonic()):
                self.events.put(Ready(program.name))
                return
            if time.monotonic() > deadline:
                self.events.put(Line(program.name, f"It does not answer on port {program.port}."))
                _send(process, signal.SIGKILL)
                return
            time.sleep(_BETWEEN_PROBES)


def taken(port: int) -> bool:
    """Whether somebody uses a port of this machine, under any of the addresses that `localhost` can mean."""
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_STREAM) as caller:
            caller.settimeout(1.0)
            if caller.connect_ex((host, port)) == 0:
                return True
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def _answers(program: Program, seconds: float) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", program.port, timeout=max(0.1, seconds))
    try:
        connection.connect()
        if program.path is not None:
            connection.request("GET", program.path)
            connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def _send(process: subprocess.Popen[str], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
