"""The simulated TikTok's endpoints for account holders (Accounts API)."""

import re
from typing import Any

import pytest

from local.tiktok import APP_ID, Grant, Options, TikTokServer
from tiktok_client import CLIENT, CREDENTIALS, OTHER_APP, OTHER_SECRET, get, post

REDIRECT = "https://connect.example.com/"
SCOPE = "user.info.basic,user.info.profile,user.info.stats,video.list"


def exchange(server: TikTokServer, code: str, **fields: object) -> dict[str, Any]:
    body = CLIENT | {"grant_type": "authorization_code", "auth_code": code, "redirect_uri": REDIRECT} | fields
    return post(server, "/tt_user/oauth2/token/", **body)


def refresh(server: TikTokServer, token: str | None, **fields: object) -> dict[str, Any]:
    body = CLIENT | {"grant_type": "refresh_token", "refresh_token": token} | fields
    return post(server, "/tt_user/oauth2/refresh_token/", **body)


def token_info(server: TikTokServer, token: str, app_id: str = APP_ID) -> dict[str, Any]:
    return post(server, "/tt_user/token_info/get/", app_id=app_id, access_token=token)


def revoke(server: TikTokServer, token: str, **fields: object) -> dict[str, Any]:
    return post(server, "/tt_user/oauth2/revoke/", **CLIENT | {"access_token": token} | fields)


class TestExchange:
    def test_answer(self, tiktok: TikTokServer) -> None:
        """A code of any characters is exchanged for both tokens, their lifetimes, the account's id and the scopes."""
        code = tiktok.authorize_account("acme.outlet", redirect_uri=REDIRECT)
        assert set("*!-") <= set(code)
        data = exchange(tiktok, code)["data"]
        assert data == {
            "access_token": tiktok.grants[0].access_token,
            "token_type": "Bearer",
            "scope": SCOPE,
            "open_id": tiktok.grants[0].open_id,
            "expires_in": 86400,
            "refresh_token": tiktok.grants[0].refresh_token,
            "refresh_token_expires_in": 31536000,
        }
        assert re.fullmatch(r"act\..{40,}", data["access_token"])
        assert re.fullmatch(r"rft\..{40,}", data["refresh_token"])
        assert tiktok.grants[0].username == "acme.outlet"

    def test_open_id(self, tiktok: TikTokServer) -> None:
        """An account has one id for each app, the same at each approval."""
        tiktok.add_app(OTHER_APP, OTHER_SECRET)
        first, again = tiktok.grant_account(), tiktok.grant_account(scope=["video.list"])
        other, elsewhere = tiktok.grant_account("acme.outlet"), tiktok.grant_account(app_id=OTHER_APP)
        assert first.open_id == again.open_id
        assert len({grant.open_id for grant in (first, other, elsewhere)}) == 3
        with pytest.raises(ValueError, match=r"acme\.shoes, acme\.outlet"):
            tiktok.authorize_account("nobody")

    @pytest.mark.parametrize(("seconds", "code", "again"), [(599, 0, 40110), (600, 40131, 40131)])
    def test_code_ends(self, tiktok: TikTokServer, seconds: int, code: int, again: int) -> None:
        """A code is good once, within ten minutes."""
        approved = tiktok.authorize_account()
        tiktok.set_time_offset(seconds)
        assert exchange(tiktok, approved)["code"] == code
        assert exchange(tiktok, approved)["code"] == again

    @pytest.mark.parametrize(
        "fields",
        [{name: ""} for name in ("client_id", "client_secret", "grant_type", "redirect_uri", "auth_code")],
    )
    def test_missing(self, tiktok: TikTokServer, fields: dict[str, str]) -> None:
        """A missing field is told before anything else is looked at."""
        assert exchange(tiktok, "wrong", **fields)["code"] == 40002

    def test_refused(self, tiktok: TikTokServer) -> None:
        """The code is looked at before the app's credentials, and no refusal uses it up."""
        tiktok.add_app(OTHER_APP, OTHER_SECRET)
        code = tiktok.authorize_account()
        assert exchange(tiktok, "wrong", client_id="7")["code"] == 40131
        assert exchange(tiktok, code, grant_type="refresh_token")["code"] == 40108
        unknown = exchange(tiktok, code, client_id="7")
        assert (unknown["code"], unknown["message"]) == (40113, "Invalid app id 7")
        assert exchange(tiktok, code, client_secret="wrong")["code"] == 40101
        assert exchange(tiktok, code, client_id=OTHER_APP, client_secret=OTHER_SECRET)["code"] == 40131
        assert exchange(tiktok, code)["code"] == 0

    def test_redirect_uri(self, tiktok: TikTokServer) -> None:
        """The redirect URL has to be the one that the code was sent to, to the byte, or one that TikTok would take."""
        code = tiktok.authorize_account(redirect_uri=REDIRECT)
        assert exchange(tiktok, code, redirect_uri=REDIRECT.rstrip("/"))["code"] == 40002
        assert exchange(tiktok, code)["code"] == 0
        code = tiktok.authorize_account()
        assert exchange(tiktok, code, redirect_uri="http://connect.example.com/")["code"] == 40002
        tiktok.options = Options(account_redirect_urls=("https://registered.example.com/",))
        assert exchange(tiktok, code)["code"] == 40002
        assert exchange(tiktok, code, redirect_uri="https://registered.example.com/")["code"] == 0

    def test_long_lived(self, tiktok: TikTokServer) -> None:
        """A grant without refresh token and lifetimes can be had too."""
        data = exchange(tiktok, tiktok.authorize_account(kind="long-lived"))["data"]
        assert set(data) == {"access_token", "token_type", "scope", "open_id"}


class TestRefresh:
    def test_rotates(self, tiktok: TikTokServer) -> None:
        """Both tokens are new, the year does not start anew, and the old refresh token is dead."""
        before = tiktok.grant_account()
        tiktok.set_time_offset(8686)
        data = refresh(tiktok, before.refresh_token)["data"]
        assert data["access_token"] != before.access_token
        assert data["refresh_token"] != before.refresh_token
        assert (data["expires_in"], data["refresh_token_expires_in"]) == (86400, 31536000 - 8686)
        assert (data["open_id"], data["scope"]) == (before.open_id, SCOPE)
        assert refresh(tiktok, before.refresh_token)["code"] == 40107
        assert (tiktok.spent, tiktok.reused) == ({before.refresh_token: 2}, [before.refresh_token])

    @pytest.mark.parametrize(("rotation", "answered"), [("same", True), ("omitted", False)])
    def test_without_rotation(self, tiktok: TikTokServer, rotation: Any, answered: bool) -> None:
        """By option the same refresh token comes back, or none, and stays good."""
        tiktok.options = Options(rotation=rotation)
        before = tiktok.grant_account()
        data = refresh(tiktok, before.refresh_token)["data"]
        assert data.get("refresh_token") == (before.refresh_token if answered else None)
        assert refresh(tiktok, before.refresh_token)["code"] == 0

    def test_refused(self, tiktok: TikTokServer) -> None:
        """Wrong tokens, apps and grant types, and a year that is over, have their codes and use nothing up."""
        tiktok.add_app(OTHER_APP, OTHER_SECRET)
        grant = tiktok.grant_account()
        assert refresh(tiktok, "wrong")["code"] == 40131
        assert refresh(tiktok, grant.refresh_token, client_id=OTHER_APP, client_secret=OTHER_SECRET)["code"] == 40131
        assert refresh(tiktok, grant.refresh_token, grant_type="authorization_code")["code"] == 40108
        assert refresh(tiktok, grant.refresh_token, client_id="7")["code"] == 40113
        assert refresh(tiktok, None)["code"] == 40002
        assert tiktok.spent == {}
        tiktok.set_time_offset(31536000)
        assert refresh(tiktok, grant.refresh_token)["code"] == 40103

    def test_on_demand(self, tiktok: TikTokServer) -> None:
        """Any code of TikTok's table can be had for one call, and for one token's calls."""
        grant = tiktok.grant_account()
        tiktok.fail_next("account_refresh_token", 40131)
        assert refresh(tiktok, grant.refresh_token)["code"] == 40131
        tiktok.fail_token(str(grant.refresh_token), 50000)
        assert refresh(tiktok, grant.refresh_token)["code"] == 50000
        tiktok.override_answer("account_refresh_token", {"open_id": "another"})
        assert refresh(tiktok, grant.refresh_token)["data"]["open_id"] == "another"
        assert [call.name for call in tiktok.token_calls] == ["account_refresh_token"] * 3


class TestTokens:
    def test_token_info(self, tiktok: TikTokServer) -> None:
        """A token tells whose it is without the app's secret, while it works."""
        tiktok.add_app(OTHER_APP, OTHER_SECRET)
        grant = tiktok.grant_account()
        assert token_info(tiktok, grant.access_token)["data"] == {
            "app_id": APP_ID,
            "creator_id": grant.open_id,
            "scope": SCOPE,
        }
        assert token_info(tiktok, "act.wrong")["code"] == 40105
        assert token_info(tiktok, grant.access_token, "7")["code"] == 40113
        assert token_info(tiktok, grant.access_token, OTHER_APP)["code"] == 40000
        tiktok.set_time_offset(86400)
        assert token_info(tiktok, grant.access_token)["code"] == 40102

    def test_revoke(self, tiktok: TikTokServer) -> None:
        """Revoking ends both tokens; what does not work any more cannot be revoked."""
        grant = tiktok.grant_account()
        assert revoke(tiktok, grant.access_token, client_secret="wrong")["code"] == 40101
        assert revoke(tiktok, grant.access_token)["data"] == {}
        assert revoke(tiktok, grant.access_token)["code"] == 40131
        assert refresh(tiktok, grant.refresh_token)["code"] == 40107
        assert not tiktok.is_alive(grant.access_token)


class TestFamilies:
    def test_tokens(self, tiktok: TikTokServer) -> None:
        """No endpoint for advertisers accepts an account's token, and the reverse."""
        account, advertiser = tiktok.grant_account(), tiktok.grant("expiring")
        assert get(tiktok, "/user/info/", account.access_token)["code"] == 40105
        assert get(tiktok, "/oauth2/advertiser/get/", account.access_token, **CREDENTIALS)["code"] == 40105
        assert post(tiktok, "/oauth2/revoke_token/", **CREDENTIALS, access_token=account.access_token)["code"] == 40105
        body = CREDENTIALS | {"grant_type": "refresh_token", "refresh_token": account.refresh_token}
        assert post(tiktok, "/oauth2/refresh_token/", **body)["code"] == 40107
        assert token_info(tiktok, advertiser.access_token)["code"] == 40105
        assert revoke(tiktok, advertiser.access_token)["code"] == 40131
        assert refresh(tiktok, advertiser.refresh_token)["code"] == 40131
        assert profile(tiktok, advertiser)["code"] == 40105
        assert tiktok.spent == {}

    def test_codes(self, tiktok: TikTokServer) -> None:
        """A code of the other family does not fit, and is not used up."""
        account, advertiser = tiktok.authorize_account(), tiktok.authorize()
        assert post(tiktok, "/oauth2/access_token/", **CREDENTIALS, auth_code=account)["code"] == 40115
        assert exchange(tiktok, advertiser)["code"] == 40115
        assert exchange(tiktok, account)["code"] == 0
        assert post(tiktok, "/oauth2/access_token/", **CREDENTIALS, auth_code=advertiser)["code"] == 0


def profile(server: TikTokServer, grant: Grant, **changes: object) -> dict[str, Any]:
    query = {"business_id": grant.open_id, "fields": ["username", "display_name", "followers_count"]} | changes
    return get(server, "/business/get/", grant.access_token, **query)


def videos(server: TikTokServer, grant: Grant, **changes: object) -> dict[str, Any]:
    query = {"business_id": grant.open_id, "fields": ["item_id", "create_time", "likes"]} | changes
    return get(server, "/business/video/list/", grant.access_token, **query)


class TestReading:
    def test_profile(self, tiktok: TikTokServer) -> None:
        """The profile holds the fields that were asked for."""
        data = profile(tiktok, tiktok.grant_account("acme.outlet"))["data"]
        assert (data["username"], data["display_name"]) == ("acme.outlet", "Acme Outlet")
        assert isinstance(data["followers_count"], int)

    def test_videos(self, tiktok: TikTokServer) -> None:
        """Videos come newest first in pages of twenty at most, their times as strings."""
        grant = tiktok.grant_account()
        first = videos(tiktok, grant, max_count=20)["data"]
        second = videos(tiktok, grant, max_count=20, cursor=first["cursor"])["data"]
        assert (len(first["videos"]), first["has_more"]) == (20, True)
        assert (len(second["videos"]), second["has_more"]) == (5, False)
        rows = first["videos"] + second["videos"]
        assert all(set(row) == {"item_id", "create_time", "likes"} for row in rows)
        times = [row["create_time"] for row in rows]
        assert times == sorted(times, reverse=True)
        assert len({row["item_id"] for row in rows}) == 25

    @pytest.mark.parametrize("ask", [profile, videos])
    def test_refused(self, tiktok: TikTokServer, ask: Any) -> None:
        """Reading needs the account's own id, its scopes, a token and fields that exist."""
        grant = tiktok.grant_account()
        assert ask(tiktok, grant, business_id="")["code"] == 40002
        assert ask(tiktok, grant, business_id=tiktok.grant_account("acme.outlet").open_id)["code"] == 40001
        assert ask(tiktok, grant, fields=["weather"])["code"] == 40002
        assert ask(tiktok, tiktok.grant_account(scope=["user.info.basic"]))["code"] == 40130
        tiktok.revoke(grant.access_token)
        assert ask(tiktok, grant)["code"] == 40105

    @pytest.mark.parametrize("wrong", [{"max_count": 21}, {"max_count": 0}, {"cursor": "x"}])
    def test_page(self, tiktok: TikTokServer, wrong: dict[str, object]) -> None:
        """A page that does not exist is refused."""
        assert videos(tiktok, tiktok.grant_account(), **wrong)["code"] == 40002
