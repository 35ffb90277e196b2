"""The pages that people see, and the table of refusals behind most of them.

That every notice says what happened, whether anything was stored and what to do next is in `security/test_answer`,
that the guide has each page with its status in `readme/test_tables`.
"""

from typing import cast

import pytest
from flask import Flask, request

from tokenkeeper.connect.app import Connect
from tokenkeeper.connect.cookies import Result
from tokenkeeper.connect.links import Link, Signer
from tokenkeeper.connect.pages import Pages
from tokenkeeper.connect.refusal import ROWS, Refused, refused_by_store, refused_by_tiktok
from tokenkeeper.errors import (
    Kind,
    SettingsError,
    StoreForbidden,
    StoreRejected,
    StoreUnavailable,
    TikTokRefused,
    TikTokSilent,
)
from tokenkeeper.grant import Family
from tokenkeeper.secret import Secret
from tokenkeeper.store.vault import Vault
from tokenkeeper.tiktok.codes import kind_of
from unit import parts
from unit.conftest import Logged

PAGES = Pages(parts.read())


def link_for(family: Family) -> Link:
    """A connect link."""
    return Link("acme", "link-1", parts.NOON, parts.NOON, family=family)


class TestRefusals:
    @pytest.mark.parametrize("family", ["advertiser", "account"])
    def test_each_has_an_entry_and_a_page_for_both_families(self, family: Family) -> None:
        """The event knows the severity, the detail is what is logged, and no gap is left in the page's words."""
        for reason, row in ROWS.items():
            refused = Refused(reason, "A detail.", link_for(family))
            assert (refused.entry.fields["reason"], refused.entry.fields["status"]) == (reason, row.status)
            assert refused.entry.severity in row.event.severities, reason
            assert "A detail." in refused.entry.message, reason
            assert "{" not in refused.notice.happened + refused.notice.next, reason

    def test_of_tiktoks_are_put_into_plain_words(self) -> None:
        """By code where it has words of its own, else by kind; an alert where it is not the visitor's doing."""
        expected = {
            40110: ("This confirmation was used already, or is more than an hour old.", "WARNING"),
            40115: ("This confirmation was cancelled or is of another kind.", "WARNING"),
            40101: ("TikTok does not accept this app's credentials together with this confirmation.", "ERROR"),
            40113: ("TikTok does not let this app make connections.", "ERROR"),
            40100: ("TikTok is getting too many requests at the moment.", "WARNING"),
            50000: ("TikTok has a passing problem.", "WARNING"),
            40105: ("TikTok refused to complete the connection.", "ERROR"),
        }
        errors = [TikTokRefused(kind_of(code, ""), code, "") for code in expected]
        refusals = {error.code: refused_by_tiktok(error, link_for("advertiser")) for error in errors}
        said = {code: (one.notice.happened, one.entry.severity) for code, one in refusals.items()}
        assert said == {code: (f"{words} (TikTok's code {code})", how) for code, (words, how) in expected.items()}
        silent = refused_by_tiktok(TikTokSilent("No answer"), link_for("advertiser"))
        assert silent.notice.happened == "TikTok's answer could not be understood, or did not come in time."
        assert (silent.entry.fields["reason"], silent.entry.severity) == ("tiktok_silent", "ERROR")

    @pytest.mark.parametrize(("family", "life"), [("advertiser", "an hour"), ("account", "ten minutes")])
    def test_of_tiktoks_says_why_and_until_when(self, family: Family, life: str) -> None:
        """What TikTok said stands on the page in plain words, with its code, its reference and that of the log."""
        refused = refused_by_tiktok(TikTokRefused(Kind.RESTART, 40110, "2026ABC"), link_for(family))
        text = PAGES.notice(refused.notice, refused.status, "0123abcd").get_data(as_text=True)
        assert f"used already, or is more than {life} old. (TikTok&#39;s code 40110)" in text
        assert "TikTok&#39;s reference is 2026ABC." in text
        assert "<code>0123abcd</code>" in text
        assert "reference" not in PAGES.about().get_data(as_text=True)


def test_what_passes_by_itself_is_told_from_what_does_not() -> None:
    """A role, a policy, a request that is not accepted or a setting is for the operator; an outage is waited for."""
    lasting = [StoreForbidden("No."), StoreRejected("No."), SettingsError("No.")]
    link, errors = link_for("advertiser"), [*lasting, StoreUnavailable("No.")]
    refusals = [refused_by_store(error, "store_unavailable", link) for error in errors]
    assert [one.entry.fields["reason"] for one in refusals] == ["store_refused"] * 3 + ["store_unavailable"]


def test_forms_may_lead_to_both_consent_pages() -> None:
    """And to whatever page of TikTok's people log in on."""
    policy = PAGES.headers["Content-Security-Policy"]
    assert policy.partition("form-action ")[2].partition(";")[0].split() == [
        "'self'",
        "https://connect.example.com",
        "https://business-api.tiktok.com",
        "https://www.tiktok.com",
        "https://*.tiktok.com",
    ]


def test_a_defect_ends_in_a_page_and_an_alert(logged: Logged) -> None:
    """Nothing reaches the framework's own error page; the alert has the page's reference."""
    broken = cast("Vault", object())
    link = Signer([Secret(parts.KEY)]).new_link("acme")[1].reveal()
    with Flask("test").test_request_context("/start", query_string={"link": link}):
        answer = Connect(parts.read(), broken).answer(request)
    (entry,) = logged.entries
    assert (answer.status_code, entry["event"]) == (500, "defect")
    assert "Something went wrong here" in answer.get_data(as_text=True)
    assert f"<code>{entry['reference']}</code>" in answer.get_data(as_text=True)
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_result_without_the_accounts_name_says_so() -> None:
    """Until TikTok told it; names are text."""
    told, untold = (PAGES.done([Result("acme", family="account", username=name)]) for name in ("acme<shoes>", ""))
    assert "acme&lt;shoes&gt;" in told.get_data(as_text=True)
    assert "TikTok did not tell its name yet" in untold.get_data(as_text=True)
