"""The endpoints that make, name and end tokens, of both families: what each asks for, refuses and answers.

Each takes what TikTok knows and a request, and returns the envelope's ``data`` or raises `Refusal`. Where the endpoint
for advertisers has ``app_id`` and ``secret``, the one for account holders (Accounts API) has ``client_id`` and
``client_secret``.
"""

from typing import Any

from local.exchange import Request
from local.tiktok.answers import Refusal
from local.tiktok.authorizations import Authorizations
from local.tiktok.parameters import required
from local.tiktok.records import Grant


def exchange(tiktok: Authorizations, request: Request) -> dict[str, Any]:
    """Exchanges an advertiser's authorization code."""
    body = required(request, "app_id", "secret", "auth_code")
    return _token_data(tiktok, tiktok.exchange(body["app_id"], body["secret"], body["auth_code"]))


def exchange_account(tiktok: Authorizations, request: Request) -> dict[str, Any]:
    """Exchanges an account holder's authorization code."""
    body = _typed(request, "authorization_code", "client_id", "client_secret", "auth_code", "redirect_uri")
    grant = tiktok.exchange_account(body["client_id"], body["client_secret"], body["auth_code"], body["redirect_uri"])
    return _token_data(tiktok, grant)


def refresh(tiktok: Authorizations, request: Request) -> dict[str, Any]:
    """Exchanges an advertiser's refresh token."""
    body = _typed(request, "refresh_token", "app_id", "secret", "refresh_token")
    tiktok.check_app(body["app_id"], body["secret"])
    return _token_data(tiktok, tiktok.use(body["refresh_token"], "advertiser", 40107), refreshed=True)


def refresh_account(tiktok: Authorizations, request: Request) -> dict[str, Any]:
    """Exchanges an account holder's refresh token."""
    body = _typed(request, "refresh_token", "client_id", "client_secret", "refresh_token")
    tiktok.check_client(body["client_id"], body["client_secret"])
    return _token_data(tiktok, tiktok.use(body["refresh_token"], "account", 40131), refreshed=True)


def revoke(tiktok: Authorizations, request: Request) -> dict[str, Any]:
    """Takes an advertiser's grant back."""
    body = required(request, "app_id", "secret", "access_token")
    tiktok.check_app(body["app_id"], body["secret"])
    tiktok.authenticate(body["access_token"])
    return {"app_id": tiktok.app_id, "advertiser_ids": list(tiktok.revoke(body["access_token"]).advertiser_ids)}


def revoke_account(tiktok: Authorizations, request: Request) -> dict[str, Any]:
    """Takes an account holder's grant back; 40131 for a token that does not work."""
    body = required(request, "client_id", "client_secret", "access_token")
    tiktok.check_client(body["client_id"], body["client_secret"])
    try:
        tiktok.authenticate(body["access_token"], "account")
    except Refusal:
        raise Refusal(40131) from None
    tiktok.revoke(body["access_token"])
    return {}


def token_info(tiktok: Authorizations, request: Request) -> dict[str, Any]:
    """What an account holder's token is for; needs no app secret."""
    body = required(request, "app_id", "access_token")
    tiktok.check_client(body["app_id"])
    grant = tiktok.authenticate(body["access_token"], "account")
    return {"app_id": tiktok.app_id, "creator_id": grant.open_id, "scope": ",".join(grant.scope)}


def _typed(request: Request, grant_type: str, *names: str) -> dict[str, Any]:
    body = required(request, "grant_type", *names)
    if body["grant_type"] != grant_type:
        raise Refusal(40108)
    return body


def _token_data(tiktok: Authorizations, grant: Grant, *, refreshed: bool = False) -> dict[str, Any]:
    data: dict[str, Any] = {"access_token": grant.access_token}
    if grant.family == "account":
        data |= {"token_type": "Bearer", "scope": ",".join(grant.scope), "open_id": grant.open_id}
    else:
        data |= {"advertiser_ids": list(grant.advertiser_ids), "scope": list(grant.scope)}
    return data | tiktok.refresh_fields(grant, refreshed=refreshed)
