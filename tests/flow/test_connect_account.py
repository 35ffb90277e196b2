"""Connecting a TikTok account: the same flow with another consent page, other words and a refresh token.

What both families share is in `test_connect`, what TikTok is sent in `unit/test_account`.
"""

import urllib.parse
from datetime import timedelta

import pytest

from flow.reading import assert_stored, nothing_was_used_or_written, refused, text_of
from stage import TOKEN, Stage
from tokenkeeper import clock
from tokenkeeper.grant import Family

SHOES = "acme.shoes"
SCOPES = "user.info.basic,user.info.profile,user.info.stats,video.list"


class TestTheWholeWay:
    def test_both_secrets_are_stored_byte_for_byte(self, stage: Stage) -> None:
        """The payload of the contract has the account's id, and its name once it is known; annotations have both."""
        assert stage.approve(family="account").status_code == 303
        (given,) = stage.tiktok.grants[-1:]
        ends = clock.text(stage.time("acme", "obtained-at") + timedelta(days=365))
        assert_stored(stage, ends, open_id=given.open_id, username=None)
        assert (stage.labels()["family"], stage.labels()["kind"]) == ("account", "expiring")
        assert (stage.annotations()["open-id"], stage.annotations()["username"]) == (given.open_id, SHOES)
        assert {"advertisers", "advertiser-names"}.isdisjoint(stage.annotations())
        for account, known in ((SHOES, SHOES), ("acme.outlet", None)):  # nobody gets another account's name
            assert stage.approve(family="account", account=account, any_account=True).status_code == 303
            assert stage.token()["username"] == known

    def test_the_result_names_the_account_and_what_is_missing(self, stage: Stage) -> None:
        """Its user name, the scopes that were not granted, the end of its year; the code may come as `code` alone."""
        browser, link = stage.browser(), stage.link(family="account")
        start = text_of(browser.get(link))
        assert "Connect your TikTok account to acme" in start
        state = browser.begin(link)
        code = stage.account_code(SHOES, ["user.info.basic", "user.info.profile", "user.info.stats"])
        query = urllib.parse.urlencode({"code": code, "scopes": SCOPES, "state": state})
        assert browser.get(f"/?{query}").status_code == 303
        page = text_of(browser.get("/done"))
        assert "Your TikTok account is connected to acme" in page
        assert SHOES in page
        assert "Some permissions are missing: video.list (videos)." in page
        ends = stage.time("acme", "refresh-expires-at")
        assert f"This access ends on {ends.day} {ends:%B %Y}" in page
        assert "ad account" not in start + page
        assert stage.connect.wait_for_event("connection.stored")["missing_permissions"] == ["video.list"]


class TestRefusals:
    def test_an_invalid_scope_is_the_operators_setting(self, stage: Stage) -> None:
        """TikTok does not say which: the log, an ERROR, names the scopes that were asked for."""
        browser, state, _ = stage.begun(brings="account")
        page = browser.get(f"/?error=invalid_scope&error_description=x&state={state}")
        assert "a setting of this service, not a mistake of yours" in text_of(page)
        entry = refused(stage.connect)
        assert (entry["reason"], entry["severity"], entry["connection"]) == ("invalid_scope", "ERROR", "acme")
        assert entry["scopes"] == SCOPES.split(",")
        assert "TIKTOK_ACCOUNT_SCOPES" in entry["message"]
        assert nothing_was_used_or_written(stage)
        stage.connect.forget()
        stage.browser().get("/?error=invalid_scope")
        assert refused(stage.connect)["severity"] == "WARNING"  # anybody could have sent that

    def test_no_open_id(self, stage: Stage) -> None:
        """422, nothing stored; going back and approving again works."""
        stage.tiktok.override_answer("account_token", omit=["open_id"])
        browser, state, code = stage.begun(brings="account")
        page = browser.come_back(code, state)
        assert page.status_code == 422
        assert "confirm again" in text_of(page)
        assert stage.secrets.payloads(TOKEN + "acme") == []
        assert browser.come_back(stage.account_code(), state).status_code == 303
        assert stage.token()["open_id"]

    @pytest.mark.parametrize(("first", "other"), [("advertiser", "account"), ("account", "advertiser")])
    def test_another_family(self, stage: Stage, first: Family, other: Family) -> None:
        """403 in both directions; a link that allows any account changes the family, labels and all."""
        assert stage.approve(family=first).status_code == 303
        stored = stage.secrets.payloads(TOKEN + "acme")
        page = stage.approve(family=other)
        assert page.status_code == 403
        assert "is for ad accounts" in text_of(page)
        assert stage.secrets.payloads(TOKEN + "acme") == stored
        assert refused(stage.connect)["reason"] == "other_family"
        assert stage.approve(any_account=True, family=other).status_code == 303
        assert stage.labels()["family"] == other
        assert ("open-id" in stage.annotations()) is (first == "advertiser")
        assert ("advertisers" in stage.annotations()) is (first == "account")
