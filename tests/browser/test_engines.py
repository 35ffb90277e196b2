"""The same way in Firefox and in WebKit, over http and over https: no page may depend on Chromium alone."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from browser.chromium import behind_tls, on_localhost
from browser.engines import ENGINES, Window
from browser.gateway import behind_a_gateway
from stage import Stage

pytestmark = [pytest.mark.browser, pytest.mark.slow]

Browsers = Callable[[str], Window]


@pytest.fixture(scope="session")
def browsers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browsers]:
    """The browser of an engine, started when it is first asked for."""
    with ExitStack() as stack:
        yield functools.cache(lambda engine: stack.enter_context(ENGINES[engine](tmp_path_factory.mktemp(engine))))


@pytest.fixture(params=[on_localhost, behind_tls], ids=["http", "https"])
def address(request: pytest.FixtureRequest, stage: Stage) -> Iterator[str]:
    """The address of a `connect` on localhost."""
    with request.param(stage) as address:
        yield address


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """The name of an engine."""
    return str(request.param)


@pytest.fixture
def window(browsers: Browsers, engine: str, address: str) -> Window:
    """A browser without cookies of this address."""
    return browsers(engine).without_cookies(address)


def begin(window: Window, link: str, consent: str = "Share your ad accounts?") -> None:
    """Open a connect link and continue to TikTok."""
    window.open(link)
    window.press("Continue to TikTok")
    window.shows(consent)


class TestConnecting:
    def test_ad_accounts(self, stage: Stage, window: Window, address: str) -> None:
        """Declining stores nothing; the same link then connects, and reload, Back and the link again do no more."""
        link = address + stage.link()
        begin(window, link)
        window.press("Decline")
        window.shows("Nothing was shared")
        window.press("Return with an error")
        window.shows("Access was declined")
        assert stage.writes() == []

        begin(window, link)
        window.press("Confirm")
        window.shows("TikTok Ads is connected to acme")
        assert window.address == f"{address}/done"
        window.reload()
        window.shows("TikTok Ads is connected to acme")
        window.back()
        window.shows("Share your ad accounts?")
        window.press("Confirm")
        window.shows("This connect link was used")
        window.open(address)
        window.open(link)
        window.shows("This connect link was used")
        assert len(stage.tiktok.token_calls) == 1

    def test_a_tiktok_account(self, stage: Stage, window: Window, address: str) -> None:
        """The account holder's pages lead to the end, too."""
        begin(window, address + stage.link(family="account"), "Share your TikTok account?")
        window.press("Confirm")
        window.shows("Your TikTok account is connected to acme")
        assert window.address == f"{address}/done"
        assert stage.token()["open_id"] == stage.annotations()["open-id"]

    @pytest.mark.parametrize("address", [behind_a_gateway], ids=["gateway"], indirect=True)
    def test_behind_a_gateway(self, stage: Stage, window: Window, address: str) -> None:
        """WebKit stops the button there and Firefox does not: in both the start page then has a link that leads on."""
        link = address + stage.link()
        window.open(link)
        window.press("Continue to TikTok")
        window.submitted(link)
        window.open(link)
        window.press("Go to TikTok by this link")
        window.shows("Share your ad accounts?")
        window.press("Confirm")
        window.shows("TikTok Ads is connected to acme")


class TestWhatBrowsersDecide:
    def test_another_one_cannot_finish(self, stage: Stage, browsers: Browsers, engine: str, address: str) -> None:
        """Where the flow was not begun nothing is called, and where it was, the same answer still connects [9]."""
        engines = sorted(ENGINES, key=lambda name: name != engine)
        window, another = (browsers(name).without_cookies(address) for name in engines)
        begin(window, address + stage.link())
        (state,) = parse_qs(urlsplit(window.address).query)["state"]
        code = stage.code()
        answer = f"{address}/?{urlencode({'auth_code': code, 'code': code, 'state': state})}"
        another.open(answer)
        another.shows("This does not belong to a connection begun in this browser")
        assert stage.tiktok.token_calls == []
        window.open(answer)
        window.shows("TikTok Ads is connected to acme")

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
        window.shows("Share your ad accounts?")
        window.press("Confirm")
        window.shows("TikTok Ads is connected to acme")
        (cookie,) = window.cookies
        assert cookie["name"].startswith(f"{prefix}result-")

    @pytest.mark.parametrize("address", [behind_tls], ids=["https"], indirect=True)
    def test_this_machine_stays_on_http(self, stage: Stage, window: Window) -> None:
        """Once https://localhost was opened, http://localhost still is what it was, whatever serves there [32]."""
        window.open(f"{stage.tiktok.authorize_url.replace('127.0.0.1', 'localhost')}?app_id=1")
        window.shows("This address cannot be used")
