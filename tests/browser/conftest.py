"""Headless Chromium in front of the real functions. Without it these tests are skipped, but never in CI."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright

from browser.chromium import Open, Visit, launch, visit
from stage import Function, Stage, free_port


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The browser."""
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def _on_localhost(whole_stage: Stage) -> Function:
    port = free_port()
    environment = whole_stage.environment(port, PUBLIC_URL=f"http://localhost:{port}")
    function = Function("connect", environment, whole_stage.canaries, whole_stage._clock_file)
    whole_stage._running["connect on localhost"] = function.wait_ready()
    return function


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """A browser without cookies or history, at a desktop's width."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(60_000)  # milliseconds, on a busy machine
    yield context
    context.close()


@pytest.fixture
def tab(stage: Stage, _on_localhost: Function, context: BrowserContext) -> Open:
    """Opens tabs at `connect` on http://localhost, all in one browser unless another is given."""

    def open_tab(other: BrowserContext | None = None) -> Visit:
        return visit(stage, f"http://localhost:{_on_localhost.port}", other or context)

    return open_tab
