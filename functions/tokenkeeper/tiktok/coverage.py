"""Which tables a grant does not cover: permission -> tables and the endpoints behind them. No I/O.

Source: "TikTok API for Business", permission scopes; for TikTok accounts, the Accounts API's errors (40130).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tokenkeeper.grant import Grant


class Permission(NamedTuple):
    """What opens tables."""

    tables: str  # the tables, as tools call them
    endpoints: str  # what they are read from
    ids: tuple[int, ...] = ()  # the ids that stand for it: its own, or one that contains it


PERMISSIONS = {
    "Read Ad Account Information": Permission(
        "advertisers", "/oauth2/advertiser/get/, /advertiser/info/", (100, 10, 1)
    ),
    "Read Campaigns": Permission("campaigns", "/campaign/get/", (200, 20, 2)),
    "Read Ad Groups": Permission("ad groups", "/adgroup/get/", (210, 21, 2)),
    "Read Ads": Permission("ads", "/ad/get/", (220, 22, 2)),
    "Read Custom Audiences": Permission("audiences", "/dmp/custom_audience/list/", (30, 3)),
    "Reporting": Permission(
        "all reports and insights",
        "/report/integrated/get/",
        (4, 40, 41, 42, 43, 44, 7043626160646815746, 7231011733974859777),
    ),
}
"""The permissions to ask for."""
BY_SCOPE = {
    ("user.info.profile", "user.info.stats"): Permission("profile", "/business/get/"),
    ("video.list",): Permission("videos", "/business/video/list/"),
}
"""For TikTok accounts: the scopes that are needed together."""


def missing_permissions(grant: Grant, scopes: Sequence[str] = ()) -> Sequence[str]:
    """The permissions that a grant lacks, by name; of a TikTok account's, those of the `scopes` that were asked for.

    Ids in the grant that no list documents do not matter.
    """
    if grant.family == "account":
        return tuple(scope for scope in scopes if scope not in grant.scope)
    return tuple(name for name, one in PERMISSIONS.items() if set(one.ids).isdisjoint(grant.scope))


def with_tables(permission: str) -> str:
    """A permission's or scope's name, with the tables that need it, for the result page."""
    by_name = PERMISSIONS | {scope: opened for scopes, opened in BY_SCOPE.items() for scope in scopes}
    return f"{permission} ({by_name[permission].tables})" if permission in by_name else permission


def gaps(grant: Grant) -> Iterator[str]:
    """What a grant does not cover, a sentence for each table; nothing where its permissions are not known."""
    if not grant.scope:  # a bare token that was imported: TikTok does not tell its permissions
        return
    if grant.family == "account":
        for scopes, opened in BY_SCOPE.items():
            missing = [scope for scope in scopes if scope not in grant.scope]
            if missing:
                yield _sentence(opened, f"the scope {' and '.join(missing)}")
    else:
        for name in missing_permissions(grant):
            yield _sentence(PERMISSIONS[name], f"the permission {name}")


def _sentence(opened: Permission, missing: str) -> str:
    return f"Not covered: {opened.tables} ({opened.endpoints}), since {missing} was not granted."
