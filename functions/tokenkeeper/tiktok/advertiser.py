"""The family `advertiser`: ad accounts.

Source: "TikTok API for Business", Authentication, version 1.3. Today's token endpoint returns neither a refresh token
nor a lifetime; versions before 1.1 did, and a later one may.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

from tokenkeeper import grant as grants
from tokenkeeper.errors import Kind, TikTokRefused, TikTokSilent
from tokenkeeper.grant import Grant, RefreshableGrant, TokenResponse
from tokenkeeper.secret import Secret
from tokenkeeper.settings import Settings
from tokenkeeper.tiktok.api import CALL_SECONDS, LARGEST_LIST, Api, line, nothing, token_response
from tokenkeeper.tiktok.reach import Reach


@dataclass(eq=False, repr=False)
class Advertisers:
    """What the token keeper does with this family; every call may raise a `TikTokError`."""

    api: Api
    settings: Settings

    def consent_url(self, state: str) -> str:
        """Where the approver is sent to."""
        query = {"app_id": self.settings.app_id, "state": state, "redirect_uri": self.settings.public_url}
        return f"{self.settings.authorize_url}?{urlencode(query)}"

    def exchange(self, code: Secret, seconds: float = CALL_SECONDS) -> TokenResponse:
        """Redeem an authorization code, once."""
        body = self._app | {"auth_code": code.reveal()}
        data = self.api.post("/oauth2/access_token/", body, seconds, largest=LARGEST_LIST, fresh=True)
        return token_response(data, "advertiser")

    def refresh(self, grant: RefreshableGrant, before_sending: Callable[[], None] = nothing) -> TokenResponse:
        """Redeem a refresh token. Access and refresh token of the answer are both new."""
        body = self._app | {"grant_type": "refresh_token", "refresh_token": grant.refresh_token.reveal()}
        data = self.api.post("/oauth2/refresh_token/", body, largest=LARGEST_LIST, before_sending=before_sending)
        return token_response(data, "advertiser")

    def revoke(self, grant: Grant, seconds: float = CALL_SECONDS) -> None:
        """Make a token worthless, and the authorization that it belongs to."""
        self.api.post("/oauth2/revoke_token/", self._app | {"access_token": grant.access_token.reveal()}, seconds)

    def check(self, grant: Grant) -> Reach:
        """List the ad accounts; a token that may not list them is asked for its user instead.

        A refusal of that second call is raised as one for good only if it says that the token is dead.
        """
        try:
            return self._list(grant.access_token)
        except TikTokRefused as error:
            if error.kind is not Kind.PERMISSION:
                raise
            refused = error
        try:
            self.api.get("/user/info/", {}, grant.access_token)  # needs no permission
        except TikTokRefused as error:
            if error.kind in {Kind.REAUTHORIZE, Kind.EXPIRED, Kind.PERMISSION}:
                raise TikTokRefused(Kind.REAUTHORIZE, refused.code, refused.request_id) from None
            raise
        return Reach()

    def names(self, grant: Grant, seconds: float) -> Reach:
        """The ad accounts by name."""
        return self._list(grant.access_token, seconds)

    def _list(self, access_token: Secret, seconds: float = CALL_SECONDS) -> Reach:
        """The ad accounts that a token reaches now. Needs the permission Read Ad Account Information.

        The app secret has to be in the address, which is in no log and no exception.
        """
        path = "/oauth2/advertiser/get/"
        data = self.api.get(path, self._app, access_token, seconds, largest=LARGEST_LIST)
        found = data.get("list")
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            raise TikTokSilent("TikTok's answer holds no list of advertisers", data["request_id"])
        ids = grants.advertiser_ids([item.get("advertiser_id") for item in found])
        if ids is None:
            raise TikTokSilent("TikTok's list of advertisers holds something that is no id", data["request_id"])
        names = {str(item["advertiser_id"]): item.get("advertiser_name") for item in found}
        return Reach({id_: line(names[id_]) for id_ in ids})

    @property
    def _app(self) -> dict[str, str]:
        return {"app_id": self.settings.app_id, "secret": self.settings.app_secret.reveal()}
