"""The family `account`: a TikTok account's organic data (profile, videos, comments, insights).

Source: "TikTok API for Business", Accounts API, Authorization. A token lives 24 hours and comes with a refresh token of
a year, which a refresh does not prolong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from tokenkeeper import grant as grants
from tokenkeeper.errors import Kind, TikTokRefused, TikTokSilent
from tokenkeeper.grant import Grant, RefreshableGrant, TokenResponse
from tokenkeeper.secret import Secret
from tokenkeeper.settings import Settings
from tokenkeeper.tiktok.api import CALL_SECONDS, Api, identifier, line, nothing, token_response
from tokenkeeper.tiktok.codes import ACCOUNT_CODE_OR_TOKEN
from tokenkeeper.tiktok.reach import Reach


@dataclass(eq=False, repr=False)
class Accounts:
    """What the token keeper does with this family; every call may raise a `TikTokError`."""

    api: Api
    settings: Settings

    @property
    def redirect_url(self) -> str:
        """The redirect URL of this family, as it is registered: TikTok documents that it ends with a slash."""
        return f"{self.settings.public_url}/"

    def consent_url(self, state: str) -> str:
        """Where the account holder is sent to; without `disable_auto_auth` no other account could be chosen."""
        query = {
            "client_key": self.settings.app_id,
            "response_type": "code",
            "scope": ",".join(self.settings.account_scopes),
            "redirect_uri": self.redirect_url,
            "state": state,
            "disable_auto_auth": "1",
        }
        return f"{self.settings.account_authorize_url}?{urlencode(query, quote_via=quote, safe='')}"

    def exchange(self, code: Secret, seconds: float = CALL_SECONDS) -> TokenResponse:
        """Redeem an authorization code, once."""
        body = self._app | {
            "grant_type": "authorization_code",
            "auth_code": code.reveal(),
            "redirect_uri": self.redirect_url,
        }
        try:
            return token_response(self.api.post("/tt_user/oauth2/token/", body, seconds, fresh=True), "account")
        except TikTokRefused as error:
            if error.code == ACCOUNT_CODE_OR_TOKEN:  # here it is about the code
                raise TikTokRefused(Kind.RESTART, error.code, error.request_id) from None
            raise

    def refresh(self, grant: RefreshableGrant, before_sending: Callable[[], None] = nothing) -> TokenResponse:
        """Redeem a refresh token; an answer for another account is no answer."""
        body = self._app | {"grant_type": "refresh_token", "refresh_token": grant.refresh_token.reveal()}
        data = self.api.post("/tt_user/oauth2/refresh_token/", body, before_sending=before_sending)
        response = token_response(data, "account")
        if response.open_id and response.open_id != grant.open_id:
            raise TikTokSilent("TikTok answered with another account's token", data["request_id"])
        return response

    def revoke(self, grant: Grant, seconds: float = CALL_SECONDS) -> None:
        """Make a token worthless."""
        self.api.post("/tt_user/oauth2/revoke/", self._app | {"access_token": grant.access_token.reveal()}, seconds)

    def check(self, grant: Grant) -> Reach:
        """Ask for the token's account; a missing permission does not mean that the token is dead."""
        try:
            if self.describe(grant.access_token).open_id != grant.open_id:
                raise TikTokSilent("TikTok answered for another account")
        except TikTokRefused as error:
            if error.kind is not Kind.PERMISSION:
                raise
        return Reach()

    def describe(self, access_token: Secret, seconds: float = CALL_SECONDS) -> TokenResponse:
        """The account and the scopes of a token."""
        body = {"app_id": self.settings.app_id, "access_token": access_token.reveal()}
        data = self.api.post("/tt_user/token_info/get/", body, seconds)
        open_id = identifier(data.get("creator_id"))
        if not open_id:
            raise TikTokSilent("TikTok's answer names no account", data["request_id"])
        return TokenResponse(access_token, scope=grants.scope("account", data.get("scope")), open_id=open_id)

    def names(self, grant: Grant, seconds: float) -> Reach:
        """The account's user name."""
        query = {"business_id": grant.open_id, "fields": '["username","display_name"]'}
        data = self.api.get("/business/get/", query, grant.access_token, seconds)
        return Reach(username=line(data.get("username")) or line(data.get("display_name")))

    @property
    def _app(self) -> dict[str, str]:
        return {"client_id": self.settings.app_id, "client_secret": self.settings.app_secret.reveal()}
