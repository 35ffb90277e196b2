"""An interactive shell in a terminal, with stubs for programs: what is pasted into it, and what comes of it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

PROMPT, MORE = "[ready] ", "[more] "
REAL = "cat chmod cut date env find grep head mkdir printf rm sed sha256sum sleep sort stty tail tr true uname xargs"
_STUB = """#!/bin/sh
[ -t 0 ] || given=$(cat)
given=$given$TIKTOK_APP_SECRET
printf '%s\\037' "${{0##*/}}" "$@" "$given" "$(printf '\\036')" >> {calls}
echo stub
"""
_UNKNOWN = """() {{ printf '%s\\n' "$*" >> {unknown}; return 127; }}"""
_ZSHRC = """
PROMPT='{prompt}' PS2='{more}' HISTFILE={history} HISTSIZE=1000 SAVEHIST=1000
unsetopt prompt_sp
setopt inc_append_history
"""
_BASHRC = """
PS1='{prompt}' PS2='{more}' HISTFILE={history} PROMPT_COMMAND='history -a'
shopt -u checkwinsize
"""


class Terminal:
    """bash or zsh as a person has it before them, at home in a folder of its own.

    Args:
        shell: The path of bash or zsh.
        home: The folder; programs that are called leave a line each in `calls` there.
        programs: Names of the programs that only record how they are called.
    """

    def __init__(self, shell: str, home: Path, programs: Sequence[str]) -> None:
        self.home = home
        self.said = ""
        self._history = home / "history"
        self._calls = home / "calls"
        self._unknown = home / "unknown"
        self._prepare(shell, programs)
        ours, theirs = pty.openpty()
        self._terminal = ours
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 250, 0, 0))
        rest = ["--rcfile", str(home / ".bashrc"), "--noprofile"] if "bash" in shell else ["-d"]
        # `setsid` rather than code of ours between fork and exec: the tests' process may have threads and gRPC in it.
        self._process = subprocess.Popen(
            ["/usr/bin/setsid", "--ctty", shell, *rest, "-i"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=home,
            env={
                "PATH": str(home / "bin"),
                "HOME": str(home),
                "ZDOTDIR": str(home),
                "TERM": "xterm",
                "LANG": "C.UTF-8",
            },
        )
        os.close(theirs)
        self.wait(PROMPT)

    def _prepare(self, shell: str, programs: Sequence[str]) -> None:
        folder = self.home / "bin"
        folder.mkdir(parents=True)
        for name in REAL.split():
            (folder / name).symlink_to(Path("/usr/bin") / name)
        for name in programs:
            (folder / name).write_text(_STUB.format(calls=self._calls))
            (folder / name).chmod(0o755)
        for name in ("functions/tokenkeeper/module.py", "functions/main.py", "functions/requirements.txt"):
            (self.home / name).parent.mkdir(parents=True, exist_ok=True)
            (self.home / name).touch()
        (self.home / ".venv").mkdir()
        (self.home / ".venv" / "bin").symlink_to(folder)
        form = _BASHRC if "bash" in shell else _ZSHRC
        handler = "command_not_found_handle" if "bash" in shell else "command_not_found_handler"
        start = form.format(prompt=PROMPT, more=MORE, history=self._history)
        start += handler + _UNKNOWN.format(unknown=self._unknown) + "\n"
        for name in (".bashrc", ".zshrc"):
            (self.home / name).write_text(start)

    def keys(self, text: str) -> None:
        """Send these keys."""
        left = text.encode()
        while left:
            self._hear(0)
            _, writable, _ = select.select([], [self._terminal], [], 0.05)
            if writable:
                left = left[os.write(self._terminal, left[:512]) :]

    def wait(self, *wanted: str, seconds: float = 30) -> str:
        """Wait until one of these is the last thing on the screen; returns what was said meanwhile."""
        before, end = len(self.said), time.monotonic() + seconds
        while not self._shown(before).endswith(wanted):
            if time.monotonic() > end or self._process.poll() is not None:
                raise AssertionError(f"none of {wanted} came; the terminal ends with: {self._shown(before)[-600:]!r}")
            self._hear(0.1)
        return self._shown(before)

    def wait_hidden(self, seconds: float = 10) -> None:
        """Wait until what is typed is not shown."""
        end = time.monotonic() + seconds
        while termios.tcgetattr(self._terminal)[3] & termios.ECHO:
            if time.monotonic() > end:
                raise AssertionError("what is typed is shown")
            time.sleep(0.01)

    def _shown(self, since: int) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r", "", self.said[since:])

    def _hear(self, seconds: float) -> None:
        while select.select([self._terminal], [], [], seconds)[0]:
            try:
                heard = os.read(self._terminal, 65536)
            except OSError:
                return
            if not heard:
                return
            self.said += heard.decode(errors="replace")
            seconds = 0

    def calls(self, number: int = 0, seconds: float = 20) -> list[list[str]]:
        """Every call of a stub: its name, its arguments, what it was given.

        Args:
            number: As many are waited for, since a shell does not wait for all that it starts.
            seconds: For so long at most.
        """
        end = time.monotonic() + seconds
        while len(found := _calls_in(self._calls)) < number and time.monotonic() < end:
            time.sleep(0.02)
        return found

    @property
    def unknown(self) -> list[str]:
        """Every command that there is no program for."""
        return self._unknown.read_text().splitlines() if self._unknown.exists() else []

    @property
    def history(self) -> str:
        """What the shell remembers for the next one."""
        return self._history.read_text(errors="replace") if self._history.exists() else ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in (signal.SIGHUP, signal.SIGKILL):
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(self._process.pid, number)
                self._process.wait(5)
                break
        os.close(self._terminal)


def _calls_in(file: Path) -> list[list[str]]:
    text = file.read_text() if file.exists() else ""
    return [call.split("\x1f")[:-1] for call in text.split("\x1e\x1f")[:-1]]
