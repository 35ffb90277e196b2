"""TikTok's two families of tokens behind one interface, and where to find each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from tokenkeeper.grant import Family, Grant, RefreshableGrant, TokenResponse
from tokenkeeper.secret import Secret
from tokenkeeper.settings import Settings
from tokenkeeper.tiktok.account import Accounts
from tokenkeeper.tiktok.advertiser import Advertisers
from tokenkeeper.tiktok.api import CALL_SECONDS, Api, RateLimit, nothing
from tokenkeeper.tiktok.reach import Advertiser, Reach

if TYPE_CHECKING:
    from tokenkeeper.tiktok.transport import Transport

__all__ = ["CALL_SECONDS", "Advertiser", "Reach", "TikTok", "TokenFamily"]


class TokenFamily(Protocol):
    """What the token keeper does with one family of tokens.

    Every method that calls TikTok may raise `TikTokRefused`, `TikTokUnreachable` or `TikTokSilent`.
    """

    name: Family

    def consent_url(self, state: str) -> str:
        """Where the approver is sent to."""

    def exchange(self, code: Secret, seconds: float = CALL_SECONDS) -> TokenResponse:
        """Redeem an authorization code. It is sent once: TikTok takes it once."""

    def refresh(self, grant: RefreshableGrant, before_sending: Callable[[], None] = nothing) -> TokenResponse:
        """Redeem a grant's refresh token; `before_sending` is called right before."""

    def revoke(self, grant: Grant, seconds: float = CALL_SECONDS) -> None:
        """Make a grant's token worthless."""

    def check(self, grant: Grant, seconds: float = CALL_SECONDS) -> Reach:
        """Ask TikTok whether a grant's token works, and what it reaches."""

    def describe(self, access_token: Secret, seconds: float = CALL_SECONDS) -> TokenResponse:
        """What TikTok tells about a token that was made elsewhere."""

    def names(self, grant: Grant, seconds: float) -> Reach:
        """Names to show for a grant: of its ad accounts, or of the TikTok account."""

    def missing_permissions(self, grant: Grant) -> Sequence[str]:
        """The permissions that were asked for and not granted, by name."""


class TikTok:
    """One developer app's view of TikTok. One instance serves many threads."""

    def __init__(self, settings: Settings, rate: RateLimit | None = None, transport: Transport | None = None) -> None:
        """Set up; nothing is called yet.

        Args:
            settings: The app, TikTok's addresses, the redirect URL and the scopes.
            rate: What paces the calls; None: nothing does.
            transport: What sends them; None: HTTP.
        """
        api = Api(settings.api_url, rate, transport)
        self._families: Mapping[Family, TokenFamily] = {
            "advertiser": Advertisers(api, settings),
            "account": Accounts(api, settings),
        }

    def family(self, name: Family) -> TokenFamily:
        """One family."""
        return self._families[name]
