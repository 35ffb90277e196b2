"""Which tables a grant does not cover: one table, permission -> tables and the endpoints behind them. No I/O.

Source: "TikTok API for Business", permission scopes; for TikTok accounts, the Accounts API's errors (40130).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tokenkeeper.grant import Grant
from tokenkeeper.tiktok.advertiser import PERMISSIONS


class Tables(NamedTuple):
    """What a permission opens: the tables, as tools call them, and the endpoints that they are read from."""

    tables: str
    endpoints: str


BY_PERMISSION = {
    "Read Ad Account Information": Tables("advertisers", "/oauth2/advertiser/get/, /advertiser/info/"),
    "Read Campaigns": Tables("campaigns", "/campaign/get/"),
    "Read Ad Groups": Tables("ad groups", "/adgroup/get/"),
    "Read Ads": Tables("ads", "/ad/get/"),
    "Read Custom Audiences": Tables("audiences", "/dmp/custom_audience/list/"),
    "Reporting": Tables("all reports and insights", "/report/integrated/get/"),
}
BY_SCOPE = {
    ("user.info.profile", "user.info.stats"): Tables("profile", "/business/get/"),
    ("video.list",): Tables("videos", "/business/video/list/"),
}
"""For TikTok accounts: the scopes that are needed together."""


def with_tables(permission: str) -> str:
    """A permission's or scope's name, with the tables that need it, for the result page."""
    opened = BY_PERMISSION.get(permission) or next(
        (found for scopes, found in BY_SCOPE.items() if permission in scopes), None
    )
    return f"{permission} ({opened.tables})" if opened else permission


def gaps(grant: Grant) -> Iterator[str]:
    """What a grant does not cover, a sentence for each table; nothing where its permissions are not known."""
    if not grant.scope:  # a bare token that was imported: TikTok does not tell its permissions
        return
    granted = set(grant.scope)
    if grant.family == "account":
        for scopes, opened in BY_SCOPE.items():
            missing = [scope for scope in scopes if scope not in granted]
            if missing:
                yield _sentence(opened, f"the scope {' and '.join(missing)}")
        return
    for permission, opened in BY_PERMISSION.items():
        if not granted & set(PERMISSIONS[permission]):
            yield _sentence(opened, f"the permission {permission}")


def _sentence(opened: Tables, missing: str) -> str:
    return f"Not covered: {opened.tables} ({opened.endpoints}), since {missing} was not granted."
