"""What one callback may do: which connection it makes, for which family, and with which accounts."""

from __future__ import annotations

from typing import NamedTuple

from tokenkeeper import clock
from tokenkeeper.clock import Deadline
from tokenkeeper.connect.links import Link
from tokenkeeper.connect.refusal import Refused, refused_by_tiktok
from tokenkeeper.connection import Connection
from tokenkeeper.errors import Kind, TikTokError, TikTokRefused
from tokenkeeper.grant import Grant
from tokenkeeper.tiktok.families import TikTok

_LIST_SECONDS = 10.0


class Flow(NamedTuple):
    """What a callback may do."""

    link: Link  # the connect link that it came from
    cookie: str = ""  # names the flow's cookie; empty for the portal's own link
    only: frozenset[str] | None = None  # the only advertisers that it may bring; None: any

    def check_grant(self, grant: Grant, connection: Connection) -> None:
        """Check that what TikTok granted may be stored; raises `Refused` where it may not."""
        ids = frozenset(grant.advertiser_ids or ())
        if grant.family == "account" and not grant.open_id:
            raise self.refused("no_account")
        if grant.family == "advertiser" and not ids:
            raise self.refused("no_advertiser")
        if self.only is not None and not ids <= self.only:
            text = "The portal's own link brought advertisers that are not in PORTAL_ADVERTISER_IDS."
            raise self.refused("advertisers_not_listed", text)
        found = None if self.link.any_account else connection.conflict(grant)
        if found:
            raise self.refused(found)

    def list_advertisers(self, tiktok: TikTok, grant: Grant, deadline: Deadline, asked_by: Deadline) -> list[str]:
        """The advertisers of a grant whose token response did not name them; asked for twice where that may help.

        The code is used by now: giving up over one hiccup would cost the approver another approval. TikTok is asked
        until `asked_by`, from when on the time is for storing; raises `Refused` where it does not say.
        """
        tries = 2
        while True:
            seconds = min(_LIST_SECONDS, max(1.0, deadline.remaining / 2))
            try:
                return list(tiktok.family(grant.family).names(grant, seconds).advertisers or ())
            except TikTokError as error:
                tries -= 1
                may_pass = not isinstance(error, TikTokRefused) or error.kind in {Kind.TRANSIENT, Kind.THROTTLED}
                if not (tries and may_pass and asked_by.remaining > 2.0):
                    raise refused_by_tiktok(error, self.link) from None
                clock.sleep(1.0)

    def refused(self, reason: str, detail: str = "") -> Refused:
        """The refusal of this flow for a reason."""
        return Refused(reason, detail, self.link)
