"""Windows of three engines, driven by the same commands of WebDriver's.

Chromium has Playwright, Firefox its developers' own client, and WebKit's driver takes them over HTTP.
"""

from __future__ import annotations

import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest
import requests
from playwright.sync_api import Browser

from local.processes import Ended, Processes, Program, Ready
from stage import free_port

_SECONDS = 60  # that a page may take on a busy machine
_WANTED = {"acceptInsecureCerts": True, "timeouts": {"implicit": _SECONDS * 1000}}
# With this policy WebKit's driver waits for ever after Back, when the page has another process. People do get there.
_WEBKIT = {"args": ["--automation", "--features=-CrossOriginOpenerPolicy"]}
_ROUTES = {
    "Navigate": ("POST", "/url"),
    "GetCurrentURL": ("GET", "/url"),
    "Back": ("POST", "/back"),
    "Refresh": ("POST", "/refresh"),
    "FindElement": ("POST", "/element"),
    "ElementClick": ("POST", "/element/{id}/click"),
    "GetCookies": ("GET", "/cookie"),
    "DeleteAllCookies": ("DELETE", "/cookie"),
}


class Window:
    """What a person does in one browser.

    Args:
        send: Gives a command to the browser, and returns its answer.
    """

    def __init__(self, send: Callable[..., Any]) -> None:
        self._send = send

    def open(self, address: str) -> None:
        self._send("Navigate", url=address)

    def back(self) -> None:
        self._send("Back")

    def reload(self) -> None:
        self._send("Refresh")

    @property
    def address(self) -> str:
        return str(self._send("GetCurrentURL"))

    @property
    def cookies(self) -> list[dict[str, Any]]:
        """The cookies of the page's host, as soon as there are any."""
        end = time.monotonic() + _SECONDS
        while not (found := self._send("GetCookies")):
            assert time.monotonic() < end, f"There is no cookie at {self.address}"
            time.sleep(0.02)
        return list(found)

    def without_cookies(self, address: str) -> Self:
        """Go to an address, and delete the cookies of its host."""
        self.open(address)
        self._send("DeleteAllCookies")
        return self

    def press(self, label: str) -> None:
        """Press a button, or follow a link, as soon as there is one."""
        element = self._wait_for(f"//*[self::button or self::a][normalize-space()='{label}']")
        self._send("ElementClick", id=element)

    def shows(self, heading: str) -> None:
        """Wait for the page with this heading."""
        self._wait_for(f"//h1[normalize-space()='{heading}']")

    def _wait_for(self, path: str) -> Any:
        (element,) = self._send("FindElement", using="xpath", value=path).values()
        return element


def chromium(browser: Browser) -> Window:
    """A new window of Chromium."""
    context = browser.new_context(ignore_https_errors=True)
    context.set_default_timeout(_SECONDS * 1000)
    page = context.new_page()
    return _window(
        {
            "Navigate": page.goto,
            "GetCurrentURL": lambda: page.url,
            "Back": page.go_back,
            "Refresh": page.reload,
            "FindElement": lambda using, value: {using: page.wait_for_selector(value)},
            "GetCookies": lambda: context.cookies(page.url),
            "DeleteAllCookies": context.clear_cookies,
        }
    )


@contextmanager
def firefox(folder: Path) -> Iterator[Window]:
    """Debian's Firefox, with a new profile in a folder."""
    need("firefox-esr")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it imports calls what is deprecated
        from marionette_driver.marionette import Marionette

        driver: Any = Marionette(  # type: ignore[no-untyped-call]
            bin=shutil.which("firefox-esr"),
            headless=True,
            port=free_port(),
            workspace=str(folder),
            gecko_log=str(folder / "gecko.log"),  # else it is written where the tests are started
            startup_timeout=2 * _SECONDS,
        )
    try:
        driver.start_session(_WANTED)
        yield _window(
            {
                "Navigate": driver.navigate,
                "GetCurrentURL": driver.get_url,
                "Back": driver.go_back,
                "Refresh": driver.refresh,
                "FindElement": lambda using, value: {using: driver.find_element(using, value)},
                "GetCookies": driver.get_cookies,
                "DeleteAllCookies": driver.delete_all_cookies,
            }
        )
    finally:
        driver.cleanup()


@contextmanager
def webkit(folder: Path) -> Iterator[Window]:
    """Debian's WebKitGTK, on a display and a session bus of its own."""
    need("WebKitWebDriver", "xvfb-run", "xauth", "dbus-run-session")
    port = free_port()
    words = ["xvfb-run", "--auto-servernum", "dbus-run-session", "--", "WebKitWebDriver", f"--port={port}"]
    with _running(words, folder, port), requests.Session() as caller:
        caller.trust_env = False

        def call(method: str, path: str, body: object) -> Any:
            url = f"http://127.0.0.1:{port}/session{path}"
            answer = caller.request(method, url, json=body if method == "POST" else None, timeout=2 * _SECONDS)
            if path.endswith("/element") and "before the unload event" in answer.text:
                return call(method, path, body)  # a search ends with its page: it goes on in the next
            assert answer.ok, f"{path}: {answer.text}"
            return answer.json()["value"]

        wanted = {**_WANTED, "webkitgtk:browserOptions": _WEBKIT}
        session = call("POST", "", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

        def send(command: str, **values: Any) -> Any:
            method, path = _ROUTES[command]
            return call(method, f"/{session}{path.format(**values)}", values)

        yield Window(send)


def _window(commands: Mapping[str, Callable[..., Any]]) -> Window:
    """What takes commands as calls, and gives elements that can be clicked."""
    commands = {"ElementClick": lambda **given: given["id"].click(), **commands}
    return Window(lambda command, **values: commands[command](**values))


def need(*programs: str) -> None:
    """Skip the test where a program is missing; in CI nothing is skipped."""
    for program in programs:
        if not shutil.which(program):
            end = pytest.fail if os.environ.get("CI") else pytest.skip
            end(f"{program} is missing: tests/README.md names the packages of Debian's that this test needs.")


@contextmanager
def _running(words: Sequence[str], home: Path, port: int) -> Iterator[None]:
    """A program that listens on a port, and all that it starts."""
    processes = Processes(home)
    processes.start(Program(words[0], words, {"PATH": os.environ["PATH"], "HOME": str(home)}, port))
    try:
        said = []
        while not isinstance(event := processes.events.get(timeout=2 * _SECONDS), Ready):
            said.append(event)
            assert not isinstance(event, Ended), said
        yield
    finally:
        processes.stop([])
