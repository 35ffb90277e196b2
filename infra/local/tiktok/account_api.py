"""The endpoints with which readers read a TikTok account: what each asks for, refuses and answers.

Each takes what TikTok knows and a request, and returns the envelope's ``data`` or raises `Refusal`.
"""

from typing import Any

from local.exchange import Request
from local.tiktok import videos
from local.tiktok.answers import Refusal
from local.tiktok.authorizations import Authorizations
from local.tiktok.options import ACCOUNTS
from local.tiktok.parameters import access_token, integer_parameter, list_parameter
from local.tiktok.records import Grant

READ_PROFILE = frozenset({"user.info.profile", "user.info.stats"})
READ_VIDEOS = frozenset({"video.list"})
MOST_VIDEOS_A_PAGE = 20


def profile(tiktok: Authorizations, request: Request) -> dict[str, Any]:
    """The account's profile, with the fields that are asked for."""
    grant = _reading(tiktok, request, READ_PROFILE)
    row = videos.profile(grant.username, ACCOUNTS.get(grant.username, grant.username))
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
    """The rows with the fields that are asked for, and the one that they always have."""
    fields = list_parameter(request, "fields")
    if rows and (unknown := [name for name in fields if name not in rows[0]]):
        raise Refusal(40002, f"fields: {unknown[0]} is not supported.")
    wanted = {*fields, always}
    return [{key: value for key, value in row.items() if key in wanted} for row in rows]
