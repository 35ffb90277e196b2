"""The pages that people see: every one says what happened, whether anything was stored, and what to do next."""

from __future__ import annotations

import pytest

from tokenkeeper import pages
from tokenkeeper.pages import Notice, Pages, Result
from tokenkeeper.tiktok import Advertiser
from unit import parts
from unit.parts import NOON

NOTICES = {name: value for name, value in vars(pages).items() if isinstance(value, Notice)}


@pytest.fixture
def made() -> Pages:
    """The pages of a usual function."""
    return Pages(parts.read())


def result(connection: str = "acme", count: int = 2, *, again: bool = False, ends: str = "") -> Result:
    """A result with two accounts, of `count` altogether."""
    accounts = [Advertiser("7001", "Shoes & <Socks>"), Advertiser("7002", "")][:count]
    return Result(connection, accounts, count, again, [], ends)


@pytest.mark.parametrize("notice", NOTICES.values(), ids=NOTICES)
def test_every_notice_says_all_three(made: Pages, notice: Notice) -> None:
    """What happened, whether anything was stored, what to do next; each in full sentences."""
    response = made.notice(notice, "0123abcd")
    text = response.get_data(as_text=True)
    assert response.status_code == notice.status
    assert response.content_type == "text/html; charset=utf-8"
    assert f"<h1>{notice.title}</h1>" in text
    for sentence in (notice.happened, notice.stored, notice.next):
        assert sentence[0].isupper()
        assert sentence.rstrip(")").endswith(".")
    assert "Was anything stored?" in text
    assert "What to do next" in text
    assert "0123abcd" in text


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("DECLINED", 200),
        ("MALFORMED", 400),
        ("STATE_UNKNOWN", 400),
        ("LINK_INVALID", 400),
        ("LINK_EXPIRED", 410),
        ("LINK_USED", 409),
        ("PORTAL_REFUSED", 403),
        ("OTHER_ADVERTISERS", 403),
        ("NO_ADVERTISER", 422),
        ("NOT_READY", 503),
        ("NOT_KEPT", 503),
        ("NOT_FOUND", 404),
        ("WRONG_METHOD", 405),
        ("TOO_LONG", 414),
        ("TOO_LARGE", 413),
        ("BROKEN", 500),
    ],
)
def test_each_has_its_status(name: str, status: int) -> None:
    """The statuses are the contract's."""
    assert NOTICES[name].status == status


def test_tiktoks_no_is_a_502_with_the_reason(made: Pages) -> None:
    """What TikTok said stands on the page in plain words."""
    response = made.notice(pages.tiktok_said_no("It was used already.", "Begin again."), "0123abcd")
    assert response.status_code == 502
    assert "It was used already." in response.get_data(as_text=True)


def test_a_page_without_a_reference_shows_none(made: Pages) -> None:
    """Only pages that have an entry in the log ask to be quoted."""
    assert "reference" not in made.about().get_data(as_text=True)


def test_the_start_page_says_for_what_and_until_when(made: Pages) -> None:
    """Connection, end and button; the link goes on in the form, to this function."""
    text = made.start("acme-eu", NOON, "the.link", again=False).get_data(as_text=True)
    assert "Connect TikTok Ads to acme-eu" in text
    assert "22 November 2026, 12:00 UTC" in text
    assert 'action="https://connect.example.com/start"' in text
    assert 'value="the.link"' in text
    assert "Continue to TikTok" in text
    assert "exists already" not in text


def test_the_start_page_tells_of_a_connection_that_exists(made: Pages) -> None:
    """Who re-connects is told so."""
    assert "exists already" in made.start("acme", NOON, "the.link", again=True).get_data(as_text=True)


class TestResult:
    @pytest.mark.parametrize(
        ("count", "heading", "more"),
        [(1, "1 ad account", ""), (2, "2 ad accounts", ""), (5, "5 ad accounts", "and 3 more")],
    )
    def test_how_many_and_which(self, made: Pages, count: int, heading: str, more: str) -> None:
        """Names, ids, and how many more there are than the page shows."""
        text = made.done([result(count=count)]).get_data(as_text=True)
        assert f"<h2>{heading}</h2>" in text
        assert more in text
        assert ("more</li>" in text) is bool(more)

    def test_names_are_text_and_never_markup(self, made: Pages) -> None:
        """What an advertiser calls itself cannot become part of the page."""
        text = made.done([result()]).get_data(as_text=True)
        assert "Shoes &amp; &lt;Socks&gt;" in text
        assert "<Socks>" not in text

    def test_missing_permissions_are_named(self, made: Pages) -> None:
        """What was not granted is said at once, not found out weeks later."""
        lacking = Result("acme", [Advertiser("7001", "")], 1, again=False, missing=["Reporting", "Read Ads"], ends="")
        text = made.done([lacking]).get_data(as_text=True)
        assert "Reporting, Read Ads" in text
        assert "permissions are missing" in text

    def test_an_end_is_told(self, made: Pages) -> None:
        """Access that ends has its day on the page."""
        assert "22 November 2027" in made.done([result(ends="22 November 2027")]).get_data(as_text=True)

    def test_several_results_of_one_browser(self, made: Pages) -> None:
        """The newest is the heading, the others follow."""
        text = made.done([result("beta"), result("acme", again=True)]).get_data(as_text=True)
        assert "<h1>TikTok Ads is connected to beta</h1>" in text
        assert "acme" in text
        assert "replaced" in text
