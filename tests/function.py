"""A function as a real process; everything that it says is heard by the canaries."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import requests

from canaries import Canaries
from warm import Process

_ROOT = Path(__file__).parents[1]
_SETTLING = "5e771ed0"  # begins the trace of a request that only waits for the log


class Function:
    """One of the two functions under the real functions-framework, in a process of its own."""

    def __init__(
        self,
        target: str,
        environment: Mapping[str, str],
        canaries: Canaries,
        clock_file: Path | None,
        *,
        cold: bool = True,
    ) -> None:
        self.target = target
        self.port = int(environment["PORT"])
        self.url = f"http://127.0.0.1:{self.port}"
        self.lines: list[str] = []
        self.runs = 0  # that an answer came of
        self._heard = threading.Condition()
        self._canaries = canaries
        source = _ROOT / ("functions/main.py" if clock_file is None else "tests/clocked_main.py")
        words = ["functions_framework", "--target", target, "--source", str(source), "--host", "127.0.0.1"]
        environment = {**environment, **({} if clock_file is None else {"TEST_CLOCK_FILE": str(clock_file)})}
        ours, theirs = os.pipe()
        self.process: subprocess.Popen[bytes] | Process
        if cold:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *words],
                env=environment,
                cwd=_ROOT,
                stdout=theirs,
                stderr=theirs,
                start_new_session=True,  # so that a kill takes the server's worker along
            )
        else:
            with open(os.devnull) as nothing:  # noqa: PTH123
                self.process = Process(words, environment, _ROOT, (nothing.fileno(), theirs, theirs))
        os.close(theirs)
        self._output = open(ours, encoding="utf-8")  # noqa: SIM115, PTH123
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def wait_ready(self, seconds: float = 30) -> Self:
        """Wait until it answers; an early end is an error that shows what it said."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.target} ended with {self.process.returncode}: {self.lines}")
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                time.sleep(0.02)
        raise RuntimeError(f"{self.target} does not answer: {self.lines}")

    def _listen(self) -> None:
        with self._output as lines:
            for line in lines:
                with self._heard:
                    self.lines.append(line.rstrip("\n"))
                    self._canaries.record(f"{self.target}'s log", line)
                    self._heard.notify_all()

    @property
    def events(self) -> list[dict[str, Any]]:
        """The log so far, as objects; a line that is none is an error.

        What was logged before the last answer is among them: the log comes through a pipe, so this waits for the entry
        of a request of its own, which is left out.
        """
        if self.process.poll() is None and self.target == "connect":
            trace = _SETTLING + uuid.uuid4().hex[len(_SETTLING) :]
            try:
                with requests.Session() as session:
                    session.trust_env = False
                    session.get(
                        f"{self.url}/settle", headers={"traceparent": f"00-{trace}-{trace[:16]}-01"}, timeout=10
                    )
                self.wait_for_line(trace)
            except requests.RequestException:
                pass  # it is being killed, or as good as
        elif self.process.poll() is None:
            with self._heard:
                self._heard.wait_for(lambda: sum("run.finished" in line for line in self.lines) >= self.runs, 10)
        return [entry for line in list(self.lines) if not _settled(entry := json.loads(line))]

    def entries(self, name: str) -> list[dict[str, Any]]:
        """The entries of that event so far."""
        return [entry for entry in self.events if entry["event"] == name]

    def forget(self) -> None:
        """Forget the log so far."""
        _ = self.events
        self.lines.clear()
        self.runs = 0

    def wait_for_event(self, name: str, seconds: float = 20) -> dict[str, Any]:
        """The first event of that name, perhaps after waiting for it."""
        with self._heard:
            found = self._heard.wait_for(
                lambda: [entry for line in self.lines if (entry := json.loads(line)).get("event") == name], seconds
            )
        assert found, f"no {name} in {self.lines}"
        return dict(found[0])

    def wait_for_line(self, text: str, seconds: float = 20) -> None:
        """Wait until a line of the log holds `text`."""
        with self._heard:
            assert self._heard.wait_for(lambda: any(text in line for line in self.lines), seconds), self.lines

    def kill(self) -> None:
        """SIGKILL, to the server and its worker alike."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
        self._listener.join(10)

    def stop(self) -> None:
        """End it as the cloud does."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        self._listener.join(10)


def _settled(entry: dict[str, Any]) -> bool:
    return f"/traces/{_SETTLING}" in entry.get("logging.googleapis.com/trace", "")
