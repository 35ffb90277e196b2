"""Headless Chromium in front of the real functions. Without it these tests are skipped, but never in CI."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright

from browser.chromium import Open, Visit, launch
from stage import Stage


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The browser."""
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """A browser without cookies or history, at a desktop's width."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(60_000)  # milliseconds, on a busy machine
    yield context
    context.close()


@pytest.fixture
def tab(stage: Stage, context: BrowserContext) -> Open:
    """Opens tabs, all in one browser."""
    return lambda: Visit(stage, stage.connect.url, context.new_page())
