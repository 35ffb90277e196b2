"""What a token reaches, as TikTok tells it. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Reach(NamedTuple):
    """What a working token reaches."""

    # the ad accounts' names by id, fit to be shown in a line, empty where TikTok tells none; None where TikTok did not
    # list them, or the family has none
    advertisers: Mapping[str, str] | None = None
    username: str = ""  # the TikTok account's name; empty where TikTok did not tell it, or the family has none

    def names(self, ids: Sequence[str] | None) -> Mapping[str, str] | None:
        """The names by id of the ad accounts that have one; None where TikTok did not list them.

        Args:
            ids: Those that count, in their order; None: all, by id, since TikTok's order changes from call to call.
        """
        known = self.advertisers
        return known and {id_: known[id_] for id_ in ids or sorted(known) if known.get(id_)}
