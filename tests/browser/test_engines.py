"""The same way in Chromium, Firefox and WebKit, over http and over https: no page may depend on one of them alone."""

import re
import time
from collections.abc import Iterator
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.sync_api import Browser

import certificates
from browser import engines
from browser.engines import Window
from emulators.serving import Fault
from proxies import Relay
from stage import Stage, free_port

pytestmark = pytest.mark.browser

START, DIRECT = "Continue to TikTok", "Go to TikTok by this link"
CONSENT, CONNECTED = "Share your ad accounts?", "TikTok Ads is connected to acme"


@pytest.fixture(
    scope="session",
    params=["chromium", *(pytest.param(name, marks=pytest.mark.slow) for name in ("firefox", "webkit"))],
)
def engine(
    request: pytest.FixtureRequest, chromium: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Window]:
    if request.param == "chromium":
        yield engines.chromium(chromium)
    else:
        yield from getattr(engines, request.param)(tmp_path_factory.mktemp(request.param))


@pytest.fixture(params=["http", "https"])
def window(request: pytest.FixtureRequest, stage: Stage, engine: Window) -> Iterator[Window]:
    """A browser without cookies at a `connect` on localhost; for https TLS is ended in front, as the cloud does."""
    port = free_port()
    with Relay(port, certificates.make(stage.folder) if request.param == "https" else None) as relay:
        address = f"{request.param}://localhost:{relay.port}"
        stage.start("connect", PORT=str(port), PUBLIC_URL=address)
        engine.open(address)
        engine.forget()
        yield engine


def only_cookie(window: Window) -> dict[str, object]:
    """The cookie of the page's host, as soon as there is one."""
    end = time.monotonic() + engines.SECONDS
    while not (found := window.cookies()) and time.monotonic() < end:
        time.sleep(0.02)
    (cookie,) = found
    return dict(cookie)


def test_the_whole_way(stage: Stage, window: Window, chromium: Browser) -> None:
    """Declining stores nothing; the same link then connects, and reload, Back and the link again do no more.

    A browser that did not begin cannot finish [9]. A reload shows the result again, and Back leads to TikTok, not to
    the address with the code [36]. Confirming once more, or opening the link again, tells whoever wonders that the link
    was used [7]. The flow's cookie is kept for this host alone, and in the end only the result's is left [37]. Once
    https://localhost was opened, http://localhost still is what it was, whatever serves there [32].
    """
    address = window.address().removesuffix("/")
    secure = address.startswith("https:")
    prefix = "__Host-tk-" if secure else "tk-"
    link = address + stage.link()
    window.open(link)
    window.press(START)
    window.shows(CONSENT)
    window.press("Decline")
    window.shows("Nothing was shared")
    window.press("Return with an error")
    window.shows("Access was declined")
    assert stage.writes() == []
    cookie = only_cookie(window)
    assert re.fullmatch(f"{prefix}[0-9a-f]{{8}}", str(cookie["name"]))
    kept = [cookie[name] for name in ("httpOnly", "secure", "sameSite", "path", "domain")]
    assert kept == [True, secure, "Lax", "/", "localhost"]

    window.open(link)
    window.press(DIRECT)
    window.shows(CONSENT)
    (state,) = parse_qs(urlsplit(window.address()).query)["state"]
    another, code = engines.chromium(chromium), stage.code()
    another.open(f"{address}/?{urlencode({'auth_code': code, 'code': code, 'state': state})}")
    another.shows("This does not belong to a connection begun in this browser")
    assert stage.tiktok.token_calls == []

    window.press("Confirm")
    window.shows(CONNECTED)
    assert window.address() == f"{address}/done"
    assert re.fullmatch(f"{prefix}result-[0-9a-f]{{8}}", str(only_cookie(window)["name"]))
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
    window.open(f"{stage.tiktok.authorize_url.replace('127.0.0.1', 'localhost')}?app_id=1")
    window.shows("This address cannot be used")


@pytest.mark.parametrize("window", ["http"], indirect=True)
def test_behind_a_gateway(stage: Stage, window: Window) -> None:
    """Where a gateway leads TikTok's page elsewhere, a button may not follow (Firefox's does).

    The start page then has a link, and this may.
    """
    elsewhere = stage.tiktok.account_authorize_url.replace("127.0.0.1", "localhost")
    stage.tiktok.add_fault(Fault("consent_page", "/portal/auth", times=2, status=302, headers={"Location": elsewhere}))
    link = window.address().removesuffix("/") + stage.link()
    window.open(link)
    window.press(START)
    only_cookie(window)  # so the form was answered
    window.open(link)
    window.press(DIRECT)
    window.shows("This address cannot be used")
