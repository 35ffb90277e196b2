"""The pages as people meet them: on a phone and a desktop, light and dark, by eye and by screen reader."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page

from browser.chromium import Open, Visit, picture
from emulators.tiktok import Options
from stage import Stage
from tokenkeeper import settings
from tokenkeeper.connect import notices
from tokenkeeper.connect.notices import Notice
from tokenkeeper.connect.pages import Pages

pytestmark = pytest.mark.browser

NOTICES = {name: value for name, value in vars(notices).items() if isinstance(value, Notice)}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
OUR_RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
MANY = [str(7_000_000_000_000_000_000 + number) for number in range(1, 41)]


def shown(stage: Stage, visit: Visit) -> Iterator[str]:
    """Shows one page after the other, and says which."""
    page = visit.page
    page.goto(visit.address + "/")
    yield "about"
    visit.open(stage.link("acme-shoes-eu"))
    yield "start"
    visit.go_on().confirm()
    yield "done"
    visit.open(stage.link("acme-shoes-eu"))
    yield "start-again"
    visit.open(stage.link("acme-organic", family="account"))
    yield "start-account"
    visit.go_on()
    visit.page.go_back()
    visit.page.reload()
    yield "start-account-with-a-link"
    visit.go_on().confirm()
    yield "done-account"
    long_name = "a-connection-whose-name-is-as-long-as-a-name-can-be-63-characters"[:63]
    stage.tiktok.options = Options(kind="expiring")
    stage.tiktok.override_answer("access_token", {"scope": [4, 10], "advertiser_ids": MANY})
    names = [{"advertiser_id": number, "advertiser_name": "Acme, " + "long " * 12 + "name"} for number in MANY]
    stage.tiktok.override_answer("advertiser_get", {"list": names})
    visit.open(stage.link(long_name)).go_on().confirm()
    yield "done-long"
    page.goto(visit.address + "/?auth_code=a&state=a")
    yield "notice"
    page.goto(visit.address + "/?auth_code=a")
    yield "notice-with-a-command"


def looks(page: Page) -> Iterator[str]:
    """Shows the page in light and dark, on a phone and a desktop."""
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        for width, height in ((390, 844), (1280, 900)):
            page.set_viewport_size({"width": width, "height": height})
            yield f"{width}-{scheme}"


def sticks_out(page: Page, width: int) -> bool:
    """Whether there is something to scroll sideways for at this width."""
    page.set_viewport_size({"width": width, "height": 600})
    return bool(page.evaluate("document.documentElement.scrollWidth") > width)


def audit(page: Page) -> list[str]:
    """What axe has to say against a page."""
    found = Axe().run(page, options=OUR_RULES).response["violations"]
    return [f"{violation['id']}: {node['html']}" for violation in found for node in violation["nodes"]]


class TestAccessibility:
    @pytest.mark.slow
    def test_of_every_page_has_nothing_against_it(self, stage: Stage, tab: Open) -> None:
        """WCAG 2.2 AA as far as a program can tell, at both widths and in both schemes.

        Nothing sticks out there, nor at 320 pixels, as a desktop has at 400 %.
        """
        visit = tab()
        for name in shown(stage, visit):
            for look in looks(visit.page):
                picture(visit.page, f"{name}-{look}")
                assert audit(visit.page) == [], (name, look)
            for width in (320, 390, 1280):
                assert not sticks_out(visit.page, width), (name, width)

    @pytest.mark.slow
    def test_of_every_notice_has_nothing_against_it(self, stage: Stage, context: BrowserContext) -> None:
        """The same for every notice, also those that need an outage to be seen."""
        made = Pages(settings.read(settings.CONNECT, stage.environment(8080)))
        page = context.new_page()
        for name, notice in NOTICES.items():
            shown = made.notice(notice.for_family("account"), 503, "0a1b2c3d")
            page.set_content(shown.get_data(as_text=True))
            picture(page, name.lower())
            assert audit(page) == [], name
            assert not sticks_out(page, 320), name

    def test_a_screen_reader_gets_the_whole_story_in_order(self, stage: Stage, tab: Open) -> None:
        """One main region, one heading of the first level, sections in order, a title that says what the page says."""
        visit = tab()
        for name in shown(stage, visit):
            page = visit.page
            assert page.get_by_role("main").count() == 1
            assert page.title() == visit.heading, name
            levels = page.locator("h1,h2,h3").evaluate_all("all => all.map(one => Number(one.tagName[1]))")
            assert levels[0] == levels.count(1) == 1, name
            assert all(after - before <= 1 for before, after in pairwise(levels)), name
            assert page.locator("html").get_attribute("lang") == "en"


class TestWeight:
    def test_of_a_page_is_one_request(self, stage: Stage, tab: Open) -> None:
        """Nothing is loaded besides a page itself, from nowhere, and the four that most people see are small [35]."""
        visit = tab()
        sizes: dict[str, int] = {}
        for name in shown(stage, visit):
            documents = {request for request in visit.asked if request.startswith(visit.address)}
            assert all(not address.endswith((".css", ".js", ".png", ".woff2")) for address in documents), name
            assert visit.page.evaluate("performance.getEntriesByType('resource').length") == 0, name
            sizes[name] = len(visit.page.context.request.get(visit.page.url).body())
        assert visit.elsewhere == []
        assert sum(sizes[name] for name in ("about", "start", "done", "notice")) < 20_000, sizes
