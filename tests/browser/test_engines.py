"""The same way in Chromium, Firefox and WebKit, over http and over https: no page may depend on one of them alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.sync_api import Browser

from browser import engines
from browser.chromium import behind_tls, on_localhost
from browser.engines import Window
from emulators.serving import Fault
from stage import Stage

pytestmark = pytest.mark.browser

START, DIRECT = "Continue to TikTok", "Go to TikTok by this link"
CONSENT, CONNECTED = "Share your ad accounts?", "TikTok Ads is connected to acme"


@pytest.fixture(scope="session")
def firefox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Window]:
    with engines.firefox(tmp_path_factory.mktemp("firefox")) as window:
        yield window


@pytest.fixture(scope="session")
def webkit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Window]:
    with engines.webkit(tmp_path_factory.mktemp("webkit")) as window:
        yield window


@pytest.fixture
def in_chromium(chromium: Browser) -> Window:
    return engines.chromium(chromium)


@pytest.fixture
def another(chromium: Browser) -> Window:
    """A browser that has never been anywhere."""
    return engines.chromium(chromium)


@pytest.fixture(params=[on_localhost, behind_tls], ids=["http", "https"])
def address(request: pytest.FixtureRequest, stage: Stage) -> Iterator[str]:
    """The address of a `connect` on localhost."""
    with request.param(stage) as address:
        yield address


@pytest.fixture(params=["in_chromium", *(pytest.param(name, marks=pytest.mark.slow) for name in ("firefox", "webkit"))])
def window(request: pytest.FixtureRequest, address: str) -> Window:
    """A browser without cookies of this address."""
    window: Window = request.getfixturevalue(request.param)
    return window.without_cookies(address)


def begin(window: Window, link: str) -> None:
    """Open a connect link and continue to TikTok."""
    window.open(link)
    window.press(START)
    window.shows(CONSENT)


class TestConnecting:
    def test_the_whole_way(self, stage: Stage, window: Window, address: str) -> None:
        """Declining stores nothing; the same link then connects, and reload, Back and the link again do no more.

        A reload shows the result again, and Back leads to TikTok, not to the address with the code [36]. Confirming
        once more, or opening the link again, tells whoever wonders that the link was used [7].
        """
        link = address + stage.link()
        begin(window, link)
        window.press("Decline")
        window.shows("Nothing was shared")
        window.press("Return with an error")
        window.shows("Access was declined")
        assert stage.writes() == []

        begin(window, link)
        window.press("Confirm")
        window.shows(CONNECTED)
        assert window.address == f"{address}/done"
        window.reload()
        window.shows(CONNECTED)
        window.back()
        window.shows(CONSENT)
        window.press("Confirm")
        window.shows("This connect link was used")
        window.open(f"{address}/done")
        window.shows(CONNECTED)
        window.open(link)
        window.shows("This connect link was used")
        assert len(stage.tiktok.token_calls) == 1

    def test_another_browser_cannot_finish(self, stage: Stage, window: Window, another: Window, address: str) -> None:
        """Where the flow was not begun nothing is called, and where it was, the same answer still connects [9]."""
        begin(window, address + stage.link())
        (state,) = parse_qs(urlsplit(window.address).query)["state"]
        code = stage.code()
        answer = f"{address}/?{urlencode({'auth_code': code, 'code': code, 'state': state})}"
        another.open(answer)
        another.shows("This does not belong to a connection begun in this browser")
        assert stage.tiktok.token_calls == []
        window.open(answer)
        window.shows(CONNECTED)

    @pytest.mark.parametrize("address", [on_localhost], ids=["gateway"], indirect=True)
    def test_behind_a_gateway(self, stage: Stage, window: Window, address: str) -> None:
        """Where a gateway leads TikTok's page elsewhere, a button may not follow (Firefox's does), and a link may.

        The start page then has a link, and this leads on.
        """
        elsewhere = stage.tiktok.account_authorize_url.replace("127.0.0.1", "localhost")
        stage.tiktok.add_fault(
            Fault("consent_page", "/portal/auth", times=2, status=302, headers={"Location": elsewhere})
        )
        link = address + stage.link()
        window.open(link)
        window.press(START)
        assert window.cookies  # so the form was answered
        window.open(link)
        window.press(DIRECT)
        window.shows("This address cannot be used")
        window.open(link)
        window.press(DIRECT)
        window.shows(CONSENT)
        window.press("Confirm")
        window.shows(CONNECTED)


class TestWhatBrowsersDecide:
    def test_cookies(self, stage: Stage, window: Window, address: str) -> None:
        """The flow's cookie is kept for this host alone; in the end only the result's is left [37]."""
        secure = address.startswith("https:")
        prefix = "__Host-tk-" if secure else "tk-"
        begin(window, address + stage.link())
        window.open(address)
        (cookie,) = window.cookies
        assert re.fullmatch(f"{prefix}[0-9a-f]{{8}}", cookie["name"])
        kept = [cookie[name] for name in ("httpOnly", "secure", "sameSite", "path", "domain")]
        assert kept == [True, secure, "Lax", "/", "localhost"]
        window.back()
        window.press("Confirm")
        window.shows(CONNECTED)
        (cookie,) = window.cookies
        assert re.fullmatch(f"{prefix}result-[0-9a-f]{{8}}", cookie["name"])

    @pytest.mark.parametrize("address", [behind_tls], ids=["https"], indirect=True)
    def test_this_machine_stays_on_http(self, stage: Stage, window: Window) -> None:
        """Once https://localhost was opened, http://localhost still is what it was, whatever serves there [32]."""
        window.open(f"{stage.tiktok.authorize_url.replace('127.0.0.1', 'localhost')}?app_id=1")
        window.shows("This address cannot be used")
