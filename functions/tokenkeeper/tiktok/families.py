"""TikTok's two families of tokens, and where to find each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenkeeper.grant import Family
from tokenkeeper.settings import Settings
from tokenkeeper.tiktok.account import Accounts
from tokenkeeper.tiktok.advertiser import Advertisers
from tokenkeeper.tiktok.api import Api, RateLimit

if TYPE_CHECKING:
    from tokenkeeper.tiktok.transport import Transport

TokenFamily = Advertisers | Accounts
"""What the token keeper does with one family of tokens; both have the same methods.

Every method that calls TikTok may raise `TikTokRefused`, `TikTokUnreachable` or `TikTokSilent`.
"""


class TikTok:
    """One developer app's view of TikTok. One instance serves many threads."""

    def __init__(self, settings: Settings, rate: RateLimit | None = None, transport: Transport | None = None) -> None:
        """Set up; nothing is called yet. A rate that is None paces nothing; a transport that is None is HTTP."""
        api = Api(settings.api_url, rate, transport)
        self.advertisers = Advertisers(api, settings)
        self.accounts = Accounts(api, settings)

    def family(self, name: Family) -> TokenFamily:
        """One family."""
        return self.accounts if name == "account" else self.advertisers
