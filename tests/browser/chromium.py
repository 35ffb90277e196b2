"""A real browser, what the pages make it do, and how a person goes through them."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from shutil import which
from typing import Self
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright

from stage import Stage

# Debian's package without windows is the same browser, and takes less than half of the processor's time.
CHROMIUM = Path(which("chromium-headless-shell") or which("chromium") or "/usr/bin/chromium")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SCREENSHOTS = os.environ.get("SCREENSHOTS", "")  # a folder to put pictures of the pages into


@dataclass
class Visit:
    """One tab in one browser, at one public address."""

    stage: Stage  # what is behind it
    address: str  # the public address, without a slash at the end
    page: Page
    complaints: list[str] = field(default_factory=list)  # what the browser wrote to its console
    asked: list[str] = field(default_factory=list)  # addresses of everything that was asked for

    def __post_init__(self) -> None:
        self.page.on("console", self._spoke)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def _spoke(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    @property
    def elsewhere(self) -> list[str]:
        """What was asked for anywhere but at the function and at TikTok."""
        known = {urlsplit(self.address).netloc, urlsplit(self.stage.tiktok.url).netloc}
        return [address for address in self.asked if urlsplit(address).netloc not in known]

    @property
    def heading(self) -> str:
        """The page's heading; the canaries record the page."""
        self._record()
        return self.page.get_by_role("heading", level=1).inner_text()

    @property
    def text(self) -> str:
        """All that can be read on the page."""
        self._record()
        return self.page.inner_text("main")

    def _record(self) -> None:
        where = urlsplit(self.page.url)
        if where.netloc == urlsplit(self.address).netloc:
            public = re.sub(r'name="link" value="[^"]*"', "", self.page.content())
            self.stage.canaries.record(f"the page {where.path} in a browser", public)

    def open(self, link: str) -> Self:
        """Open a connect link's path."""
        self.page.goto(self.address + link)
        return self

    def go_on(self) -> Self:
        """Continue to one of TikTok's consent pages."""
        self.page.get_by_role("button", name="Continue to TikTok").click()
        self.page.wait_for_url(re.compile(f"{re.escape(self.stage.tiktok.url)}/.*\\?"))
        return self

    def choose(self, name: str) -> Self:
        """Choose a TikTok account on the consent page."""
        self.page.get_by_role("group", name="Your TikTok account").get_by_label(name).check()
        return self

    def tick(self, *names: str) -> Self:
        """Tick these ad accounts on the consent page and no others."""
        for box in self.page.get_by_role("group", name="Ad accounts").get_by_role("checkbox").all():
            label = box.locator("xpath=..").inner_text()
            box.set_checked(any(name in label for name in names))
        return self

    def confirm(self) -> Self:
        """Confirm on the consent page."""
        self.page.get_by_role("button", name="Confirm").click()
        self.page.wait_for_url(self.address + "/**")
        return self


Open = Callable[[], Visit]


def need(*programs: str) -> None:
    """Skip the test where a program is missing; in CI nothing is skipped."""
    for program in programs:
        if not which(program):
            end = pytest.fail if os.environ.get("CI") else pytest.skip
            end(f"{program} is missing: tests/README.md names the packages of Debian's that this test needs.")


def launch(playwright: Playwright) -> Browser:
    """Start Debian's Chromium."""
    need(str(CHROMIUM))
    return playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)


def picture(page: Page, name: str) -> None:
    """Take a picture of a page, if somebody wants to see it."""
    if SCREENSHOTS:
        page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png", full_page=True)
