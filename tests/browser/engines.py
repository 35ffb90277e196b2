"""Browsers of other engines, driven by what they bring themselves: Firefox by Marionette, WebKit by WebDriver.

Both speak the same commands. Marionette takes them as JSON over a socket, so that neither a driver nor a package is
needed for it. WebKit's driver takes them over HTTP; its browser needs a display and a session bus, which it gets.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import pytest
import requests

from stage import free_port

_SECONDS = 60.0  # that a browser may take for one thing on a busy machine
_WANTED = {"acceptInsecureCerts": True, "timeouts": {"pageLoad": int(_SECONDS * 1000)}}
# With this policy WebKit's driver waits for ever after Back, when the page has another process. People do get there.
_WEBKIT = ["--automation", "--features=-CrossOriginOpenerPolicy"]
_LABELLED = "//*[self::button or self::a][normalize-space()='{label}']"
_ROUTES = {
    "Navigate": ("POST", "/url"),
    "GetCurrentURL": ("GET", "/url"),
    "Back": ("POST", "/back"),
    "Refresh": ("POST", "/refresh"),
    "FindElement": ("POST", "/element"),
    "ElementClick": ("POST", "/element/{id}/click"),
    "GetElementText": ("GET", "/element/{id}/text"),
    "GetCookies": ("GET", "/cookie"),
    "DeleteAllCookies": ("DELETE", "/cookie"),
}

Send = Callable[[str, dict[str, Any]], Any]


class CommandFailed(Exception):
    """The browser could not do what it was told; the text is its reason."""


class Window:
    """One browser without cookies or history, and what a person does in it."""

    def __init__(self, send: Send) -> None:
        self._send = send

    def _do(self, command: str, **values: Any) -> Any:
        return self._send(command, values)

    def open(self, address: str) -> None:
        self._do("Navigate", url=address)

    def submitted(self, url: str) -> None:
        """Wait until the form of the page at this address was answered, whatever the browser made of the answer."""
        _until(lambda: self.address != url or bool(self.cookies), lambda: f"The form of {url} was not answered")

    def back(self) -> None:
        self._do("Back")

    def reload(self) -> None:
        self._do("Refresh")

    @property
    def address(self) -> str:
        return str(self._do("GetCurrentURL"))

    @property
    def cookies(self) -> list[dict[str, Any]]:
        """The cookies of the page's host."""
        return list(self._do("GetCookies"))

    def without_cookies(self, address: str) -> Self:
        """Go to an address, and delete the cookies of its host."""
        self.open(address)
        self._do("DeleteAllCookies")
        return self

    def press(self, label: str) -> None:
        """Press a button, or follow a link."""
        self._do("ElementClick", id=self._find(_LABELLED.format(label=label)))

    def shows(self, heading: str) -> None:
        """Wait for the page with this heading."""
        seen = ""

        def shown() -> bool:
            nonlocal seen
            seen = self._do("GetElementText", id=self._find("//h1"))
            return bool(seen == heading)

        _until(shown, lambda: f"{seen!r} at {self.address}, not {heading!r}")

    def _find(self, path: str) -> str:
        """The first element on a path."""
        return str(next(iter(self._do("FindElement", using="xpath", value=path).values())))


@contextmanager
def firefox(folder: Path) -> Iterator[Window]:
    """One window of Debian's Firefox, with a new profile in a folder."""
    need("firefox-esr", "firefox-esr")
    (folder / "user.js").write_text('user_pref("marionette.port", 0);\n')
    words = ["firefox-esr", "--headless", "--marionette", "--no-remote", "--profile", str(folder)]
    with ExitStack() as stack:
        stack.enter_context(_running(words, {"HOME": str(folder)}, folder / "log"))
        port = folder / "MarionetteActivePort"
        _until(lambda: bool(port.read_text()), lambda: "Firefox does not start")
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", int(port.read_text())), _SECONDS))
        stream = stack.enter_context(connection.makefile("rb"))
        numbers = itertools.count()

        def receive() -> Any:
            length = b""
            while (letter := stream.read(1)) not in {b":", b""}:
                length += letter
            return json.loads(stream.read(int(length)))

        def send(command: str, values: dict[str, Any]) -> Any:
            message = json.dumps([0, next(numbers), f"WebDriver:{command}", values]).encode()
            connection.sendall(b"%d:%b" % (len(message), message))
            _, _, error, result = receive()
            if error:
                raise CommandFailed(f"{command}: {error['message']}")
            return result["value"] if isinstance(result, dict) and "value" in result else result

        receive()
        send("NewSession", _WANTED)
        yield Window(send)


@contextmanager
def webkit(folder: Path) -> Iterator[Window]:
    """One window of Debian's WebKitGTK, on a display and a session bus of its own."""
    for program, package in {
        "WebKitWebDriver": "webkit2gtk-driver",
        "Xvfb": "xvfb",
        "dbus-run-session": "dbus",
    }.items():
        need(program, package)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    driver = ["dbus-run-session", "--", "WebKitWebDriver", f"--port={port}"]
    with ExitStack() as stack:
        screen = folder / "screen"
        words = ["Xvfb", "-displayfd", "1", "-nolisten", "tcp", "-screen", "0", "1280x900x24"]
        stack.enter_context(_running(words, {}, screen))
        _until(lambda: screen.read_text().endswith("\n"), lambda: "Xvfb does not start")
        display = {"DISPLAY": f":{screen.read_text().strip()}", "HOME": str(folder)}
        stack.enter_context(_running(driver, display, folder / "log"))
        caller = stack.enter_context(requests.Session())
        caller.trust_env = False

        def call(method: str, path: str, body: object = None) -> Any:
            answer = caller.request(method, url + path, json=body if method == "POST" else None, timeout=_SECONDS / 2)
            value = answer.json()["value"]
            if not answer.ok:
                raise CommandFailed(f"{path}: {value['error']} {value['message']}")
            return value

        _until(lambda: bool(call("GET", "/status")), lambda: "WebKit's driver does not start")
        wanted = {**_WANTED, "webkitgtk:browserOptions": {"args": _WEBKIT}}
        session = call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

        def send(command: str, values: dict[str, Any]) -> Any:
            method, path = _ROUTES[command]
            return call(method, f"/session/{session}{path.format(**values)}", values)

        yield Window(send)


ENGINES = {"firefox": firefox, "webkit": webkit}


def need(program: str, package: str) -> None:
    """Skip the test where a program is missing; in CI nothing is skipped."""
    if not shutil.which(program):
        sentence = f"{program} is missing: install Debian's package {package} to run this test."
        if os.environ.get("CI"):
            pytest.fail(sentence)
        pytest.skip(sentence)


@contextmanager
def _running(words: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator[None]:
    """A program and all that it starts, ended afterwards; what it prints is in a file, but for errors."""
    with log.open("wb") as output, log.with_suffix(".errors").open("wb") as errors:
        environment = {"PATH": os.environ["PATH"], **environment}
        process = subprocess.Popen(words, env=environment, stdout=output, stderr=errors, start_new_session=True)
    try:
        yield
    finally:
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(5)
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()


def _until(true: Callable[[], bool], otherwise: Callable[[], str]) -> None:
    """Wait until something is so; between two pages, and before a browser has started, an error says nothing."""
    end = time.monotonic() + _SECONDS
    while True:
        with suppress(OSError, CommandFailed):
            if true():
                return
        assert time.monotonic() < end, otherwise()
        time.sleep(0.02)
