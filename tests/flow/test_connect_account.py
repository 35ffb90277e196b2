"""Connecting a TikTok account: the same flow with another consent page, other words and a refresh token.

What both families share is in `test_connect`.
"""

from __future__ import annotations

import urllib.parse
from datetime import timedelta

import pytest

from emulators.serving import Fault
from flow.reading import nothing_was_used_or_written, refused, text_of
from stage import APP_ID, APP_SECRET, REFRESH, TOKEN, Browser, Form, Stage
from tokenkeeper import clock

SHOES, OUTLET = "acme.shoes", "acme.outlet"
SCOPES = "user.info.basic,user.info.profile,user.info.stats,video.list"


def begin(stage: Stage, browser: Browser, connection: str = "acme", *, any_account: bool = False) -> str:
    """Open a link for an account and continue to TikTok; returns the state."""
    return browser.begin(stage.link(connection, family="account", any_account=any_account))


class TestGoingToTikTok:
    def test_the_start_page_speaks_of_a_tiktok_account(self, stage: Stage) -> None:
        """Not of ad accounts, which the holder has none of."""
        page = text_of(stage.browser().get(stage.link(family="account")))
        assert "Connect your TikTok account to acme" in page
        assert "ad account" not in page

    def test_the_consent_page_gets_every_parameter(self, stage: Stage) -> None:
        """As TikTok documents it: without `disable_auto_auth` nobody could choose another account."""
        browser = stage.browser()
        form = Form(browser.get(stage.link(family="account")).text)
        sent = browser.post("/start", data=form.fields)
        address, _, query = sent.headers["Location"].partition("?")
        given = {key: value for key, (value,) in urllib.parse.parse_qs(query).items()}
        assert address == stage.tiktok.account_authorize_url
        assert given.pop("state")
        assert given == {
            "client_key": APP_ID,
            "response_type": "code",
            "scope": SCOPES,
            "redirect_uri": f"{stage.connect.url}/",
            "disable_auto_auth": "1",
        }


class TestTheWholeWay:
    def test_both_secrets_are_stored_byte_for_byte(self, stage: Stage) -> None:
        """The payload of the contract: no advertisers, the account's id, and its name once it is known."""
        assert stage.approve_account().status_code == 303
        (given,) = stage.tiktok.grants[-1:]
        obtained = stage.time("acme", "obtained-at")
        shared = (
            '{"schema": 1, "connection": "acme", "app_id": "7000000000000000000", '
            f'"access_token": "{given.access_token}", "expires_at": "{clock.text(obtained + timedelta(days=1))}", '
            '"advertiser_ids": [], '
            '"scope": ["user.info.basic", "user.info.profile", "user.info.stats", "video.list"], '
            f'"obtained_at": "{clock.text(obtained)}", "open_id": "{given.open_id}", "username": null'
        )
        more = (
            f', "refresh_token": "{given.refresh_token}", '
            f'"refresh_expires_at": "{clock.text(obtained + timedelta(days=365))}"'
        )
        assert stage.secrets.payloads(TOKEN + "acme") == [f"{shared}}}".encode()]
        assert stage.secrets.payloads(REFRESH + "acme") == [f"{shared}{more}}}".encode()]
        added = [call.resource for call in stage.secrets.calls if (call.name, call.status) == ("AddSecretVersion", 200)]
        assert [name.rpartition("/")[2] for name in added] == [REFRESH + "acme", TOKEN + "acme"]

    def test_labels_and_annotations(self, stage: Stage) -> None:
        """The family is a label; the account's id and name are annotations at once."""
        stage.approve_account()
        assert stage.labels() == {
            "managed-by": "tiktok-token-keeper",
            "holds": "token",
            "connection": "acme",
            "family": "account",
            "kind": "expiring",
            "health": "ok",
        }
        annotations = stage.annotations()
        assert annotations["open-id"] == stage.token()["open_id"]
        assert annotations["username"] == SHOES
        assert {"advertisers", "advertiser-names"}.isdisjoint(annotations)

    def test_the_exchange_names_the_redirect_url(self, stage: Stage) -> None:
        """With the slash, byte for byte as it is registered; and no advertiser's endpoint is called."""
        browser = stage.browser()
        state, code = begin(stage, browser), stage.account_code()
        browser.come_back(code, state)
        assert {"*", "!"} <= set(code)
        (body,) = stage.tiktok.requests_of("account_token")
        assert body == {
            "client_id": APP_ID,
            "client_secret": APP_SECRET,
            "grant_type": "authorization_code",
            "auth_code": code,
            "redirect_uri": f"{stage.connect.url}/",
        }
        assert [call.name for call in stage.tiktok.calls] == ["account_token", "account_profile"]

    def test_the_code_may_come_as_code_alone(self, stage: Stage) -> None:
        """As TikTok's account consent page sends it, beside the scopes that were granted."""
        browser = stage.browser()
        state, code = begin(stage, browser), stage.account_code()
        query = urllib.parse.urlencode({"code": code, "scopes": SCOPES, "state": state})
        assert browser.get(f"/?{query}").status_code == 303

    def test_the_result_names_the_account_and_what_is_missing(self, stage: Stage) -> None:
        """Its user name, the scopes that were not granted, and the day when the year is over."""
        browser = stage.browser()
        state = begin(stage, browser)
        granted = ["user.info.basic", "user.info.profile", "user.info.stats"]
        assert browser.come_back(stage.account_code(SHOES, granted), state).status_code == 303
        page = text_of(browser.get("/done"))
        assert "Your TikTok account is connected to acme" in page
        assert SHOES in page
        assert "Some permissions are missing: video.list (videos)." in page
        ends = stage.time("acme", "refresh-expires-at")
        assert f"This access ends on {ends.day} {ends:%B %Y}" in page
        assert "ad account" not in page
        assert stage.connect.wait_for_event("connection.stored")["missing_permissions"] == ["video.list"]

    def test_without_its_name_it_is_connected_all_the_same(self, stage: Stage) -> None:
        """The profile may be refused for a lacking scope; a re-connection that learns the name keeps it."""
        stage.tiktok.fail_next("account_profile", 40130)
        browser = stage.browser()
        assert browser.come_back(stage.account_code(), begin(stage, browser)).status_code == 303
        assert "TikTok did not tell its name yet" in text_of(browser.get("/done"))
        assert "username" not in stage.annotations()
        stage.approve_account()
        stage.approve_account()
        assert stage.token()["username"] == stage.annotations()["username"] == SHOES


class TestRefusals:
    def test_declined(self, stage: Stage) -> None:
        """The page has no word of ad accounts."""
        browser = stage.browser()
        page = browser.get(f"/?error=access_denied&state={begin(stage, browser)}")
        assert page.status_code == 200
        assert "Access was declined" in text_of(page)
        assert "ad account" not in text_of(page)

    def test_an_invalid_scope_is_the_operators_setting(self, stage: Stage) -> None:
        """TikTok does not say which: the log, an ERROR, names the scopes that were asked for."""
        browser = stage.browser()
        page = browser.get(f"/?error=invalid_scope&error_description=x&state={begin(stage, browser)}")
        assert page.status_code == 200
        assert "a setting of this service, not a mistake of yours" in text_of(page)
        entry = refused(stage.connect)
        assert (entry["reason"], entry["severity"], entry["connection"]) == ("invalid_scope", "ERROR", "acme")
        assert entry["scopes"] == SCOPES.split(",")
        assert "TIKTOK_ACCOUNT_SCOPES" in entry["message"]
        assert nothing_was_used_or_written(stage)

    def test_an_invalid_scope_that_anybody_could_have_sent_is_no_alert(self, stage: Stage) -> None:
        """Without a flow of this browser it is a WARNING."""
        page = stage.browser().get("/?error=invalid_scope")
        assert "a setting of this service" in text_of(page)
        assert refused(stage.connect)["severity"] == "WARNING"

    def test_no_open_id(self, stage: Stage) -> None:
        """422, nothing stored; going back and approving again works."""
        stage.tiktok.override_answer("account_token", omit=["open_id"])
        browser = stage.browser()
        state = begin(stage, browser)
        page = browser.come_back(stage.account_code(), state)
        assert page.status_code == 422
        assert "confirm again" in text_of(page)
        assert stage.secrets.payloads(TOKEN + "acme") == []
        assert browser.come_back(stage.account_code(), state).status_code == 303

    def test_another_account(self, stage: Stage) -> None:
        """403, what is stored untouched; a link that allows it replaces the account."""
        stage.approve_account(account=SHOES)
        stored = stage.secrets.payloads(TOKEN + "acme")
        page = stage.approve_account(account=OUTLET)
        assert page.status_code == 403
        assert "This is another TikTok account than before" in text_of(page)
        assert stage.secrets.payloads(TOKEN + "acme") == stored
        assert refused(stage.connect)["reason"] == "other_account"
        assert stage.approve_account(account=OUTLET, any_account=True).status_code == 303
        assert stage.annotations()["username"] == OUTLET

    @pytest.mark.parametrize("first", ["advertiser", "account"])
    def test_another_family(self, stage: Stage, first: str) -> None:
        """403 in both directions; a link that allows any account changes the family, labels and all."""
        one, other = (stage.approve, stage.approve_account)[:: 1 if first == "advertiser" else -1]
        assert one().status_code == 303
        stored = stage.secrets.payloads(TOKEN + "acme")
        page = other()
        assert page.status_code == 403
        assert "is for ad accounts" in text_of(page)
        assert stage.secrets.payloads(TOKEN + "acme") == stored
        assert refused(stage.connect)["reason"] == "other_family"
        assert other(any_account=True).status_code == 303
        assert stage.labels()["family"] == ("account" if first == "advertiser" else "advertiser")
        assert ("open-id" in stage.annotations()) is (first == "advertiser")
        assert ("advertisers" in stage.annotations()) is (first == "account")

    @pytest.mark.parametrize("code", [40110, 40131])
    def test_a_code_that_is_used_or_too_old(self, stage: Stage, code: int) -> None:
        """It lives ten minutes, and the page says so."""
        stage.tiktok.fail_next("account_token", code)
        page = stage.approve_account()
        assert page.status_code == 502
        assert "used already, or is more than ten minutes old" in text_of(page)
        assert refused(stage.connect)["severity"] == "WARNING"

    def test_the_ten_minutes_for_a_reload(self, stage: Stage) -> None:
        """Where nothing was used up, the page says how long that stays so."""
        browser = stage.browser()
        state = begin(stage, browser)
        stage.secrets.add_fault(Fault(times=None, status=503))
        assert "your confirmation stays good for ten minutes" in text_of(browser.come_back(stage.account_code(), state))
