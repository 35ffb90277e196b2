"""The pages that people see: every one says what happened, whether anything was stored, and what to do next."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tokenkeeper.connect.cookies import Result
from tokenkeeper.connect.links import Link
from tokenkeeper.connect.pages import Pages
from tokenkeeper.connect.refusal import ROWS, Refused, Row, refused_by_tiktok
from tokenkeeper.errors import Kind, TikTokRefused
from tokenkeeper.grant import Family
from tokenkeeper.tiktok.families import Advertiser
from unit import parts
from unit.parts import NOON

FAMILIES: tuple[Family, ...] = ("advertiser", "account")


@pytest.fixture
def made() -> Pages:
    """The pages of a usual function."""
    return Pages(parts.read())


def result(connection: str = "acme", count: int = 2, *, again: bool = False, ends: str = "") -> Result:
    """A result with two accounts, of `count` in all."""
    accounts = (Advertiser("7001", "Shoes & <Socks>"), Advertiser("7002", ""))[:count]
    return Result(connection, advertisers=accounts, count=count, again=again, ends=ends)


class TestRefusals:
    @pytest.mark.parametrize(("reason", "row"), ROWS.items(), ids=ROWS)
    @pytest.mark.parametrize("family", FAMILIES)
    def test_each_has_a_page_that_says_all_three(self, made: Pages, reason: str, row: Row, family: Family) -> None:
        """What happened, whether anything was stored, what to do next; with the reference that the log has."""
        refused = Refused(reason, "A detail.", "acme", family=family)
        response = made.notice(refused.notice, refused.status, "0123abcd")
        text = response.get_data(as_text=True)
        assert response.status_code == row.status
        assert response.content_type == "text/html; charset=utf-8"
        assert f"<h1>{refused.notice.title}</h1>" in text
        for heading in ("Was anything stored?", "What to do next", "0123abcd"):
            assert heading in text
        assert "{" not in refused.notice.happened + refused.notice.next
        assert (refused.entry.fields["reason"], refused.entry.fields["status"]) == (reason, row.status)
        assert refused.entry.severity in row.event.severities
        assert "A detail." in refused.entry.message

    @pytest.mark.parametrize(
        ("reason", "status"),
        [
            ("declined", 200),
            ("callback_malformed", 400),
            ("state_invalid", 400),
            ("link_invalid", 400),
            ("link_expired", 410),
            ("link_used", 409),
            ("portal_link", 403),
            ("other_advertisers", 403),
            ("other_account", 403),
            ("other_family", 403),
            ("no_advertiser", 422),
            ("no_account", 422),
            ("store_unavailable", 503),
            ("store_refused", 503),
            ("store_failed", 503),
            ("tiktok_refused", 502),
            ("unknown_path", 404),
            ("wrong_method", 405),
            ("query_too_long", 414),
            ("form_too_large", 413),
        ],
    )
    def test_each_has_its_status(self, reason: str, status: int) -> None:
        """The statuses are the contract's."""
        assert ROWS[reason].status == status

    @pytest.mark.parametrize(("family", "life"), [("advertiser", "an hour"), ("account", "ten minutes")])
    def test_of_tiktoks_says_why_and_until_when(self, made: Pages, family: Family, life: str) -> None:
        """What TikTok said stands on the page in plain words, with its code and its reference."""
        refused = refused_by_tiktok(TikTokRefused(Kind.RESTART, 40110, "2026ABC"), "acme", family)
        text = made.notice(refused.notice, refused.status, "0123abcd").get_data(as_text=True)
        assert f"used already, or is more than {life} old. (TikTok&#39;s code 40110)" in text
        assert "TikTok&#39;s reference is 2026ABC." in text


def test_a_page_without_a_reference_shows_none(made: Pages) -> None:
    """Only pages that have an entry in the log ask to be quoted."""
    assert "reference" not in made.about().get_data(as_text=True)


def test_forms_may_lead_to_both_consent_pages(made: Pages) -> None:
    """And to whatever page of TikTok's people log in on."""
    policy = made.headers["Content-Security-Policy"]
    targets = policy.partition("form-action ")[2].partition(";")[0].split()
    assert targets == [
        "'self'",
        "https://connect.example.com",
        "https://business-api.tiktok.com",
        "https://www.tiktok.com",
        "https://*.tiktok.com",
    ]


class TestStart:
    LINK = Link("acme-eu", "id", NOON, NOON)

    def test_says_for_what_and_until_when(self, made: Pages) -> None:
        """Connection, end and button; the link goes on in the form, to this function."""
        text = made.start(self.LINK, "the.link", again=False).get_data(as_text=True)
        assert "Connect TikTok Ads to acme-eu" in text
        assert "22 November 2026, 12:00 UTC" in text
        assert 'action="https://connect.example.com/start"' in text
        assert 'value="the.link"' in text
        assert "Continue to TikTok" in text
        assert "exists already" not in text

    def test_tells_of_a_connection_that_exists(self, made: Pages) -> None:
        """Who re-connects is told so."""
        assert "exists already" in made.start(self.LINK, "the.link", again=True).get_data(as_text=True)

    def test_speaks_to_account_holders_in_their_words(self, made: Pages) -> None:
        """They have a TikTok account, and no ad account."""
        text = made.start(replace(self.LINK, family="account"), "the.link", again=False).get_data(as_text=True)
        assert "<h1>Connect your TikTok account to acme-eu</h1>" in text
        assert "ad account" not in text

    def test_has_a_link_where_a_flow_was_begun(self, made: Pages) -> None:
        """Its address is text in the page, whatever is in it."""
        text = made.start(self.LINK, "the.link", again=False, direct="https://tiktok/?a=1&b=2").get_data(as_text=True)
        assert '<a href="https://tiktok/?a=1&amp;b=2">' in text
        assert "reload this page" not in text


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
        lacking = replace(result(), missing=("Reporting", "Read Ads"))
        text = made.done([lacking]).get_data(as_text=True)
        assert "Reporting, Read Ads" in text
        assert "permissions are missing" in text

    def test_an_end_is_told(self, made: Pages) -> None:
        """Access that ends has its day on the page."""
        assert "22 November 2027" in made.done([result(ends="22 November 2027")]).get_data(as_text=True)

    def test_of_an_account_has_its_name(self, made: Pages) -> None:
        """As text; until TikTok told it, the page says so."""
        account = Result("acme", family="account", username="acme<shoes>")
        text = made.done([account]).get_data(as_text=True)
        assert "<h1>Your TikTok account is connected to acme</h1>" in text
        assert "acme&lt;shoes&gt;" in text
        assert "TikTok did not tell its name yet" in made.done([replace(account, username="")]).get_data(as_text=True)

    def test_several_results_of_one_browser(self, made: Pages) -> None:
        """The newest is the heading, the others follow."""
        text = made.done([result("beta"), result("acme", again=True)]).get_data(as_text=True)
        assert "<h1>TikTok Ads is connected to beta</h1>" in text
        assert "acme" in text
        assert "replaced" in text
