"""The endpoints for TikTok account holders (Accounts API): what each asks for, refuses and answers.

Each takes what TikTok knows and a request, and returns the envelope's ``data`` or raises `Refusal`.
"""

from typing import Any

from local.serving import Request
from local.tiktok import videos
from local.tiktok.answers import Refusal
from local.tiktok.authorizations import Authorizations
from local.tiktok.parameters import access_token, integer_parameter, list_parameter, only, required
from local.tiktok.records import Grant

READ_PROFILE = frozenset({"user.info.profile", "user.info.stats"})
READ_VIDEOS = frozenset({"video.list"})
MOST_VIDEOS_A_PAGE = 20


def exchange(tiktok: Authorizations, request: Request) -> dict[str, Any]:
    """Exchanges an authorization code."""
    body = required(request, "client_id", "client_secret", "grant_type", "auth_code", "redirect_uri")
    if body["grant_type"] != "authorization_code":
        raise Refusal(40108)
    grant = tiktok.exchange_account(body["client_id"], body["client_secret"], body["auth_code"], body["redirect_uri"])
    return _token_data(grant) | tiktok.refresh_fields(grant)


def refresh(tiktok: Authorizations, request: Request) -> dict[str, Any]:
    """Exchanges a refresh token."""
    body = required(request, "client_id", "client_secret", "grant_type", "refresh_token")
    if body["grant_type"] != "refresh_token":
        raise Refusal(40108)
    grant = tiktok.refresh_account(body["client_id"], body["client_secret"], body["refresh_token"])
    return _token_data(grant) | tiktok.refresh_fields(grant, refreshed=True)


def revoke(tiktok: Authorizations, request: Request) -> dict[str, Any]:
    """Takes a grant back; 40131 for a token that does not work."""
    body = required(request, "client_id", "client_secret", "access_token")
    tiktok.check_client(body["client_id"], body["client_secret"])
    try:
        tiktok.authenticate(body["access_token"], "account", app_id=body["client_id"])
    except Refusal as refusal:
        raise (Refusal(40131) if refusal.code in (40102, 40105) else refusal) from None
    tiktok.revoke(body["access_token"])
    return {}


def token_info(tiktok: Authorizations, request: Request) -> dict[str, Any]:
    """What a token is for; needs no app secret."""
    body = required(request, "app_id", "access_token")
    tiktok.check_client(body["app_id"])
    grant = tiktok.authenticate(body["access_token"], "account", app_id=body["app_id"])
    return {"app_id": grant.app_id, "creator_id": grant.open_id, "scope": ",".join(grant.scope)}


def profile(tiktok: Authorizations, request: Request) -> dict[str, Any]:
    """The account's profile, with the fields that are asked for."""
    grant = _reading(tiktok, request, READ_PROFILE)
    row = videos.profile(grant.username, dict(tiktok.options.accounts).get(grant.username, grant.username))
    return _chosen(request, [row], "username")[0]


def video_list(tiktok: Authorizations, request: Request) -> dict[str, Any]:
    """A page of the account's videos, newest first; the cursor is the time of the last one in milliseconds."""
    grant = _reading(tiktok, request, READ_VIDEOS)
    size = integer_parameter(request, "max_count", 10)
    if not 1 <= size <= MOST_VIDEOS_A_PAGE:
        raise Refusal(40002, f"max_count: Must be between 1 and {MOST_VIDEOS_A_PAGE}.")
    before = integer_parameter(request, "cursor", 0) or tiktok.now() * 1000
    rows = [row for row in videos.videos(grant.username) if int(row["create_time"]) * 1000 < before]
    shown = rows[:size]
    return {
        "videos": _chosen(request, shown, "item_id"),
        "cursor": int(shown[-1]["create_time"]) * 1000 if shown else 0,
        "has_more": len(rows) > size,
    }


def _reading(tiktok: Authorizations, request: Request, scopes: frozenset[str]) -> Grant:
    """The grant whose account is read; 40130 where a scope is lacking."""
    grant = tiktok.authenticate(access_token(request), "account")
    business_id = request.parameter("business_id")
    if not business_id:
        raise Refusal(40002, "business_id: Missing data for required field.")
    if business_id != grant.open_id:
        raise Refusal(40001, "No permission to operate this business_id.")
    if not scopes <= set(grant.scope):
        raise Refusal(40130)
    return grant


def _chosen(request: Request, rows: list[dict[str, Any]], always: str) -> list[dict[str, Any]]:
    fields = list_parameter(request, "fields")
    if rows and (unknown := [name for name in fields if name not in rows[0]]):
        raise Refusal(40002, f"fields: {unknown[0]} is not supported.")
    return only(rows, fields or [always], always)


def _token_data(grant: Grant) -> dict[str, Any]:
    return {
        "access_token": grant.access_token,
        "token_type": "Bearer",
        "scope": ",".join(grant.scope),
        "open_id": grant.open_id,
    }
