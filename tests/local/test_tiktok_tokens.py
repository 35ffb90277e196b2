"""The simulated TikTok's tokens of both families, and the endpoints that make, name and end them."""

import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from emulators.tiktok import APP_ID, APP_SECRET, Grant, Options, TikTokServer
from tiktok_client import CLIENT, CREDENTIALS, get, post

ADVERTISERS = ["7000000000000000001", "7000000000000000002", "7000000000000000003"]
SCOPE = "user.info.basic,user.info.profile,user.info.stats,video.list"
REDIRECT = "https://connect.example.com/"


@dataclass(frozen=True)
class Family:
    """One family's endpoints, what they need beside the credentials, and how TikTok is made to give a token."""

    name: str
    token: str
    app: dict[str, str]
    extra: dict[str, str]
    code_seconds: int
    unknown: int

    def approve(self, server: TikTokServer) -> str:
        if self.name == "advertiser":
            return server.authorize("expiring")
        return server.authorize_account(redirect_uri=REDIRECT)

    def grant(self, server: TikTokServer) -> Grant:
        return server.grant("expiring") if self.name == "advertiser" else server.grant_account()

    def exchange(self, server: TikTokServer, code: str, **changes: object) -> dict[str, Any]:
        return post(server, self.token, **{**self.app, **self.extra, "auth_code": code, **changes})

    def refresh(self, server: TikTokServer, token: str | None, **changes: object) -> dict[str, Any]:
        path = self.token.replace("access_token", "refresh_token").replace("/token/", "/refresh_token/")
        return post(server, path, **{**self.app, "grant_type": "refresh_token", "refresh_token": token, **changes})

    def revoke(self, server: TikTokServer, token: str, **changes: object) -> dict[str, Any]:
        path = "/oauth2/revoke_token/" if self.name == "advertiser" else "/tt_user/oauth2/revoke/"
        return post(server, path, **{**self.app, "access_token": token, **changes})

    def check(self, server: TikTokServer, token: str) -> dict[str, Any]:
        """The call that tells whether a token works."""
        if self.name == "advertiser":
            return get(server, "/oauth2/advertiser/get/", token, **CREDENTIALS)
        return post(server, "/tt_user/token_info/get/", app_id=APP_ID, access_token=token)


ADVERTISER = Family("advertiser", "/oauth2/access_token/", CREDENTIALS, {}, 3600, 40107)
CODE = {"grant_type": "authorization_code", "redirect_uri": REDIRECT}
ACCOUNT = Family("account", "/tt_user/oauth2/token/", CLIENT, CODE, 600, 40131)
both = pytest.mark.parametrize("family", [ADVERTISER, ACCOUNT], ids=["advertiser", "account"])


class TestExchange:
    @both
    def test_code_ends(self, tiktok: TikTokServer, family: Family) -> None:
        """A code is good once, and for so long."""
        used, late = family.approve(tiktok), family.approve(tiktok)
        tiktok.set_time_offset(family.code_seconds - 1)
        assert [family.exchange(tiktok, used)["code"] for _ in range(2)] == [0, 40110]
        tiktok.set_time_offset(family.code_seconds)
        assert family.exchange(tiktok, late)["code"] in (40110, 40131)

    @both
    def test_refused(self, tiktok: TikTokServer, family: Family) -> None:
        """Missing fields, unknown codes, those of the other family and wrong credentials use nothing up."""
        code, other = family.approve(tiktok), (ACCOUNT if family is ADVERTISER else ADVERTISER).approve(tiktok)
        identity, secret = family.app
        assert family.exchange(tiktok, "")["code"] == 40002
        assert family.exchange(tiktok, "0" * 40)["code"] in (40110, 40131)
        assert family.exchange(tiktok, other)["code"] == 40115
        assert family.exchange(tiktok, code, **{secret: "wrong"})["code"] == 40101
        assert family.exchange(tiktok, code, **{identity: "7"})["code"] == (40101 if family is ADVERTISER else 40113)
        if family is ACCOUNT:
            assert family.exchange(tiktok, code, grant_type="refresh_token")["code"] == 40108
            assert family.exchange(tiktok, code, redirect_uri=REDIRECT.rstrip("/"))["code"] == 40002
        assert family.exchange(tiktok, code)["code"] == 0


class TestRefresh:
    @both
    def test_rotates(self, tiktok: TikTokServer, family: Family) -> None:
        """Both tokens are new, the year counts down, the old access token lives on, the old refresh token is dead."""
        before = family.grant(tiktok)
        tiktok.set_time_offset(43200)
        data = family.refresh(tiktok, before.refresh_token)["data"]
        assert not {data["access_token"], data["refresh_token"]} & {before.access_token, before.refresh_token}
        assert (data["expires_in"], data["refresh_token_expires_in"]) == (86400, 31536000 - 43200)
        assert family.check(tiktok, before.access_token)["code"] == 0
        assert family.refresh(tiktok, before.refresh_token)["code"] == 40107
        assert (tiktok.spent, tiktok.reused) == ({before.refresh_token: 2}, [before.refresh_token])
        tiktok.set_time_offset(86400)
        assert family.check(tiktok, before.access_token)["code"] == 40102
        tiktok.set_time_offset(31536000)
        assert family.refresh(tiktok, data["refresh_token"])["code"] == 40103

    @pytest.mark.parametrize("punished", [False, True])
    def test_reuse(self, tiktok: TikTokServer, punished: bool) -> None:
        """Of many who present the same refresh token at once one is served; by option that costs the whole grant."""
        tiktok.options = Options(punish_reuse=punished)
        token = tiktok.grant("expiring").refresh_token
        with ThreadPoolExecutor(8) as threads:
            codes = list(threads.map(lambda _: ADVERTISER.refresh(tiktok, token)["code"], range(8)))
        assert sorted(codes) == [0] + [40107] * 7
        assert (len(tiktok.reused), tiktok.spent[str(token)]) == (7, 8)
        assert tiktok.is_alive(tiktok.grants[0].access_token) is not punished

    @both
    def test_refused(self, tiktok: TikTokServer, family: Family) -> None:
        """What is no refresh token of this family, another grant type and a wrong secret use nothing up."""
        grant, other = family.grant(tiktok), (ACCOUNT if family is ADVERTISER else ADVERTISER).grant(tiktok)
        assert family.refresh(tiktok, grant.access_token)["code"] == family.unknown
        assert family.refresh(tiktok, other.refresh_token)["code"] == family.unknown
        assert family.refresh(tiktok, grant.refresh_token, grant_type="password")["code"] == 40108
        assert family.refresh(tiktok, grant.refresh_token, **{list(family.app)[1]: "wrong"})["code"] == 40101
        assert tiktok.spent == {}


class TestTokens:
    @both
    def test_revoke(self, tiktok: TikTokServer, family: Family) -> None:
        """Revoking ends both tokens; what does not work any more cannot be revoked."""
        grant = family.grant(tiktok)
        assert family.revoke(tiktok, grant.access_token, **{list(family.app)[1]: "wrong"})["code"] == 40101
        expected = {} if family is ACCOUNT else {"app_id": APP_ID, "advertiser_ids": ADVERTISERS}
        assert family.revoke(tiktok, grant.access_token)["data"] == expected
        assert family.check(tiktok, grant.access_token)["code"] == 40105
        assert family.refresh(tiktok, grant.refresh_token)["code"] == 40107
        assert family.revoke(tiktok, grant.access_token)["code"] == (40131 if family is ACCOUNT else 40105)

    def test_advertisers_refused(self, tiktok: TikTokServer) -> None:
        """Without a token, credentials or the permission there is no list; `/user/info/` needs the token alone."""
        path, token = "/oauth2/advertiser/get/", tiktok.grant(scope=[4]).access_token
        wrong = {**CREDENTIALS, "secret": "wrong"}
        asked = [get(tiktok, path, **CREDENTIALS), *(get(tiktok, path, token, **of) for of in ({}, wrong, CREDENTIALS))]
        assert [answer["code"] for answer in asked] == [40104, 40002, 40101, 40001]
        assert get(tiktok, "/user/info/", token)["code"] == 0


class TestState:
    def test_restart(self, tmp_path: Path) -> None:
        """Codes, grants and used refresh tokens are there again after a restart, in a file only its owner reads."""
        path = tmp_path / "state" / "tiktok.json"
        with TikTokServer(path=path) as server:
            code, spent = server.authorize(), server.grant("expiring")
            kept = ADVERTISER.refresh(server, spent.refresh_token)["data"]
            revoked, account = server.grant(), server.grant_account()
            server.revoke(revoked.access_token)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert APP_SECRET not in path.read_text()
        with TikTokServer(path=path) as server:
            assert server.grants[2] == account
            assert ADVERTISER.exchange(server, code)["code"] == 0
            assert ADVERTISER.check(server, revoked.access_token)["code"] == 40105
            assert ADVERTISER.refresh(server, spent.refresh_token)["code"] == 40107
            assert ADVERTISER.refresh(server, kept["refresh_token"])["code"] == 0
