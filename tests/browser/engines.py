"""Windows of three engines: Playwright drives Chromium, its developers' client Firefox, and HTTP WebKit's driver."""

import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
from playwright.sync_api import Browser

from browser.chromium import need
from local.processes import Ended, Processes, Program, Ready
from stage import free_port

SECONDS = 60  # that a page may take on a busy machine
_WANTED = {"acceptInsecureCerts": True, "timeouts": {"implicit": SECONDS * 1000}}
# With this policy WebKit's driver waits for ever after Back, when the page has another process. People do get there.
_WEBKIT = {"args": ["--automation", "--features=-CrossOriginOpenerPolicy"]}


@dataclass(frozen=True)
class Window:
    """What a person does in one browser, which waits for what an XPath names."""

    open: Callable[[str], Any]
    address: Callable[[], Any]
    back: Callable[[], Any]
    reload: Callable[[], Any]
    find: Callable[[str], Any]
    click: Callable[[str], Any]
    cookies: Callable[[], Any]  # those of the page's host
    forget: Callable[[], Any]  # them

    def press(self, label: str) -> None:
        """Press a button, or follow a link, as soon as there is one."""
        self.click(f"//*[self::button or self::a][normalize-space()='{label}']")

    def shows(self, heading: str) -> None:
        """Wait for the page with this heading."""
        self.find(f"//h1[normalize-space()='{heading}']")


def chromium(browser: Browser) -> Window:
    """A new window of Chromium, without cookies."""
    context = browser.new_context(ignore_https_errors=True)
    context.set_default_timeout(SECONDS * 1000)
    page = context.new_page()
    return Window(
        open=page.goto,
        address=lambda: page.url,
        back=page.go_back,
        reload=page.reload,
        find=page.wait_for_selector,
        click=page.click,
        cookies=lambda: context.cookies(page.url),
        forget=context.clear_cookies,
    )


def firefox(folder: Path) -> Iterator[Window]:
    """Debian's Firefox; its log goes into a folder."""
    need("firefox-esr")
    with warnings.catch_warnings(action="ignore"):  # what it imports calls what is deprecated
        from marionette_driver.marionette import Marionette

        driver: Any = Marionette(  # type: ignore[no-untyped-call]
            bin=shutil.which("firefox-esr"),
            headless=True,
            port=free_port(),
            gecko_log=str(folder / "gecko.log"),
        )
    try:
        driver.start_session(_WANTED)
        yield Window(
            open=driver.navigate,
            address=driver.get_url,
            back=driver.go_back,
            reload=driver.refresh,
            find=lambda path: driver.find_element("xpath", path),
            click=lambda path: driver.find_element("xpath", path).click(),
            cookies=driver.get_cookies,
            forget=driver.delete_all_cookies,
        )
    finally:
        driver.cleanup()


def webkit(folder: Path) -> Iterator[Window]:
    """Debian's WebKitGTK, on a display and a session bus of its own."""
    need("WebKitWebDriver", "xvfb-run", "xauth", "dbus-run-session")
    port = free_port()
    command = ["xvfb-run", "--auto-servernum", "dbus-run-session", "--", "WebKitWebDriver", f"--port={port}"]
    processes = Processes(folder)
    processes.start(Program("webkit", command, {"PATH": os.environ["PATH"], "HOME": str(folder)}, port))
    session = ""

    def ask(method: str, path: str, **values: Any) -> Any:
        url = f"http://127.0.0.1:{port}/session{session}{path}"
        answer = urllib3.request(method, url, json=values if method == "POST" else None, timeout=2 * SECONDS)
        if b"before the unload event" in answer.data:
            return ask(method, path, **values)  # a search ends with its page: it goes on in the next
        assert answer.status == 200, (path, answer.data)
        return answer.json()["value"]

    def find(path: str) -> str:
        (element,) = ask("POST", "/element", using="xpath", value=path).values()
        return str(element)

    try:
        while not isinstance(event := processes.events.get(timeout=2 * SECONDS), Ready):
            assert not isinstance(event, Ended), event
        wanted = {**_WANTED, "webkitgtk:browserOptions": _WEBKIT}
        session = "/" + ask("POST", "", capabilities={"alwaysMatch": wanted})["sessionId"]
        yield Window(
            open=lambda address: ask("POST", "/url", url=address),
            address=lambda: ask("GET", "/url"),
            back=lambda: ask("POST", "/back"),
            reload=lambda: ask("POST", "/refresh"),
            find=find,
            click=lambda path: ask("POST", f"/element/{find(path)}/click"),
            cookies=lambda: ask("GET", "/cookie"),
            forget=lambda: ask("DELETE", "/cookie"),
        )
    finally:
        processes.stop([])
