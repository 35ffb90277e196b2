"""An interactive shell in a terminal, with stubs for programs: what is pasted into it, and what comes of it."""

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
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

PROMPT, MORE = "[ready] ", "[more] "
REAL = "cat chmod cut date env find grep head mkdir printf rm sed sha256sum sleep sort stty tail tr true uname xargs"
_STUB = """#!/bin/sh
[ -t 0 ] || given=$(cat)
given=$given$TIKTOK_APP_SECRET
printf '%s\\037' "${{0##*/}}" "$@" "$given" "$(printf '\\036')" >> {calls}
echo stub
"""
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
        home: The folder.
        programs: Names of the programs that only record how they are called.
    """

    def __init__(self, shell: str, home: Path, programs: Sequence[str]) -> None:
        self._heard, self._before_keys = b"", 0
        self._history, self._calls = home / "history", home / "calls"
        self._prepare(shell, home, programs)
        self._terminal, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 250, 0, 0))
        rest = ["--rcfile", str(home / ".bashrc"), "--noprofile"] if "bash" in shell else ["-d"]
        # `setsid` rather than code of ours between fork and exec: the tests' process may have threads and gRPC in it.
        self._process = subprocess.Popen(
            ["/usr/bin/setsid", "--ctty", shell, *rest, "-i"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=home,
            env={"PATH": str(home / "bin"), "HOME": str(home), "TERM": "xterm", "LANG": "C.UTF-8"},
        )
        os.close(theirs)
        self.wait(PROMPT)

    def _prepare(self, shell: str, home: Path, programs: Sequence[str]) -> None:
        for file in ("bin/cat", ".venv/bin", "functions/tokenkeeper/module.py"):
            (home / file).parent.mkdir(parents=True, exist_ok=True)
        for name in REAL.split():
            (home / "bin" / name).symlink_to(Path("/usr/bin") / name)
        for name in programs:
            (home / "bin" / name).write_text(_STUB.format(calls=self._calls))
            (home / "bin" / name).chmod(0o755)
        (home / ".venv" / "bin").symlink_to(home / "bin")
        for name in ("tokenkeeper/module.py", "main.py", "requirements.txt"):
            (home / "functions" / name).touch()
        form, name = (_BASHRC, ".bashrc") if "bash" in shell else (_ZSHRC, ".zshrc")
        (home / name).write_text(form.format(prompt=PROMPT, more=MORE, history=self._history))

    def said(self, since: int = 0) -> str:
        """All that was shown, without colours and movements of the cursor."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r", "", self._heard[since:].decode(errors="replace"))

    def keys(self, text: str) -> None:
        """Send these keys; what was shown before is no answer to them."""
        self._before_keys = len(self._heard)
        os.write(self._terminal, text.encode())

    def wait(self, *wanted: str) -> None:
        """Wait until one of these is the last thing on the screen."""
        came = self._until(lambda: self.said(self._before_keys).endswith(wanted), 30)
        assert came, f"none of {wanted} came; the terminal ends with: {self.said()[-600:]!r}"

    def wait_hidden(self) -> None:
        """Wait until what is typed is not shown."""
        hidden = self._until(lambda: not termios.tcgetattr(self._terminal)[3] & termios.ECHO, 10)
        assert hidden, "what is typed is shown"

    def calls(self, number: int = 0) -> list[list[str]]:
        """Every call of a stub: its name, its arguments, what it was given. As many are waited for as `number` says."""
        self._until(lambda: len(self._read_calls()) >= number, 20)
        return self._read_calls()

    def _read_calls(self) -> list[list[str]]:
        text = self._calls.read_text() if self._calls.exists() else ""
        return [call.split("\x1f")[:-1] for call in text.split("\x1e\x1f")[:-1]]

    def _until(self, true: Callable[[], bool], seconds: float) -> bool:
        """Listen until something is true; whether it is."""
        end = time.monotonic() + seconds
        while not (met := true()) and time.monotonic() < end:
            if select.select([self._terminal], [], [], 0.01)[0]:
                self._heard += os.read(self._terminal, 65536)
        return met

    @property
    def history(self) -> str:
        """What the shell remembers for the next one."""
        return self._history.read_text(errors="replace") if self._history.exists() else ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(5)
        os.close(self._terminal)
