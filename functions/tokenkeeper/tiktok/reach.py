"""What a token reaches, as TikTok tells it. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Advertiser:
    """An ad account.

    Attributes:
        id: Its id.
        name: Its name, fit to be shown in a line; empty where TikTok tells none.
    """

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Reach:
    """What a working token reaches.

    Attributes:
        advertisers: The ad accounts; None where TikTok did not list them, or the family has none.
        username: The TikTok account's name; empty where TikTok did not tell it, or the family has none.
    """

    advertisers: tuple[Advertiser, ...] | None = None
    username: str = ""

    def names(self, ids: Sequence[str] | None) -> Mapping[str, str]:
        """The names by id of the ad accounts that have one.

        Args:
            ids: Those that count, in their order; None: all, by id, since TikTok's order changes from call to call.
        """
        named = {advertiser.id: advertiser.name for advertiser in self.advertisers or () if advertiser.name}
        return {id_: named[id_] for id_ in ids or sorted(named) if id_ in named}
