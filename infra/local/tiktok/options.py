"""How the simulated TikTok behaves, in one frozen object; and what there is to be shared."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Family = Literal["advertiser", "account"]
Kind = Literal["long-lived", "expiring"]
Rotation = Literal["new", "same", "omitted"]

ADVERTISERS: Mapping[str, str] = MappingProxyType(
    {
        "7000000000000000001": "Acme Shoes, Europe",
        "7000000000000000002": "Acme Shoes, North America",
        "7000000000000000003": "Acme Outlet",
    }
)
"""The approver's ad accounts: ids of 19 digits, and names."""
ACCOUNTS: Mapping[str, str] = MappingProxyType({"acme.shoes": "Acme Shoes", "acme.outlet": "Acme Outlet"})
"""The TikTok accounts that the holder can choose from: user names and display names."""
DEFAULT_SCOPE = (4, 10, 200, 210, 220, 30)

ACCOUNT_SCOPES: Mapping[str, str] = MappingProxyType(
    {
        "user.info.basic": "Read your open id, avatar and display name",
        "user.info.username": "Read your user name",
        "user.info.profile": "Read your profile: bio, link and verified status",
        "user.info.stats": "Read your numbers of followers, likes and videos",
        "user.account.type": "Read whether yours is a business account",
        "user.insights": "Read the insights of your profile",
        "video.list": "Read your public videos",
        "video.insights": "Read the insights of your videos",
        "video.publish": "Publish videos",
        "video.upload": "Upload videos as drafts",
        "comment.list": "Read comments on your videos",
        "comment.list.manage": "Manage comments on your videos",
        "biz.creator.info": "Read your creator information",
        "biz.spark.auth": "Authorize your videos for Spark Ads",
        "biz.brand.insights": "Read insights of brands",
    }
)
"""Scopes of TikTok's Accounts API, all of which the app holds, and what the consent page says about them."""


@dataclass(frozen=True)
class Options:
    """The behaviour where TikTok leaves something open.

    Attributes:
        kind: what an advertiser's code is exchanged for, unless the approval says otherwise. Account holders' grants
            are always expiring.
        refresh_seconds: life of an expiring grant's refresh token, which refreshes do not extend.
        rotation: whether a refresh answers with a new refresh token, with the same, or with none. The old one dies
            only where there is a new one.
        punish_reuse: whether a used refresh token that is presented again revokes the whole grant.
    """

    kind: Kind = "long-lived"
    refresh_seconds: int = 31_536_000
    rotation: Rotation = "new"
    punish_reuse: bool = False


def advertiser_name(advertiser_id: str) -> str:
    """The name of an ad account, also of one that nobody offers."""
    return ADVERTISERS.get(advertiser_id, f"Account {advertiser_id}")
