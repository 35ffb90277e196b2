"""What one callback may do: which connection it makes, for which family, and with which accounts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flask import Request

from tokenkeeper.connect.cookies import Cookies
from tokenkeeper.connect.links import Link, Signer, bound_to
from tokenkeeper.connect.refusal import Refused
from tokenkeeper.connection import Connection
from tokenkeeper.errors import LinkError
from tokenkeeper.events import Value
from tokenkeeper.grant import Family, Grant
from tokenkeeper.reconnection import Conflict, conflict
from tokenkeeper.settings import Settings

_CONFLICTS: Mapping[Conflict, str] = {
    "other_family": "{name} is of the family {family}.",
    "other_account": "A re-connection brought another TikTok account.",
    "other_advertisers": "A re-connection brought none of the connection's advertisers.",
}


@dataclass(frozen=True, slots=True)
class Flow:
    """What a callback may do.

    Attributes:
        connection: The connection that it makes.
        link: The connect link that it came from; None for the portal's own link.
        only: The only advertisers that it may bring; None: any.
        name: Names the flow's cookie; empty for the portal's own link.
    """

    connection: str
    link: Link | None = None
    only: frozenset[str] | None = None
    name: str = ""

    @property
    def family(self) -> Family:
        """What is authorized."""
        return self.link.family if self.link else "advertiser"

    @property
    def labels(self) -> Mapping[str, str]:
        """The operator's own labels for the connection's secret."""
        return self.link.labels if self.link else {}

    @property
    def link_id(self) -> str:
        """The link's id; empty for the portal's own link."""
        return self.link.id if self.link else ""

    def check_unused(self, connection: Connection) -> None:
        """Check that the link is still good; raises `LinkUsed`. The portal's own link works again and again."""
        if self.link:
            self.link.check_unused(connection)

    def check_grant(self, grant: Grant, connection: Connection) -> None:
        """Check what TikTok granted, and that nobody's reports change over to somebody else's account by mistake.

        Args:
            grant: What TikTok granted.
            connection: The connection as it was before.

        Raises:
            Refused: the grant may not be stored.
        """
        ids = frozenset(grant.advertiser_ids or ())
        if self.family == "account" and not grant.open_id:
            raise self.refused("no_account", "TikTok's answer names no account.")
        if self.family == "advertiser" and not ids:
            raise self.refused("no_advertiser", "No advertiser was granted.")
        if self.only is not None and not ids <= self.only:
            text = "The portal's own link brought advertisers that are not in PORTAL_ADVERTISER_IDS."
            raise self.refused("advertisers_not_listed", text)
        found = None if self.link and self.link.any_account else conflict(connection, grant)
        if found:
            raise self.refused(found, _CONFLICTS[found].format(name=connection.name, family=connection.family))

    def refused(self, reason: str, detail: str = "", **fields: Value) -> Refused:
        """The refusal of this flow for a reason."""
        return Refused(reason, detail, self.connection, family=self.family, fields=fields)


def flow_of(request: Request, state: str, settings: Settings, signer: Signer, cookies: Cookies) -> Flow:
    """The flow that a state belongs to: signed by us, an hour old at most, begun in this browser.

    Raises:
        Refused: it belongs to none, or to one that was finished.
    """
    if state in {"", settings.portal_state}:
        if not settings.portal_connection:
            raise Refused("portal_link")
        return Flow(settings.portal_connection, only=settings.portal_advertiser_ids)
    try:
        found = signer.read_state(state)
    except LinkError as error:
        raise Refused("state_invalid", f"{error}.") from None
    flow = Flow(found.link.connection, found.link, name=found.flow)
    if bound_to(found, cookies.nonce(request, found.flow)):
        return flow
    raise flow.refused("link_used" if cookies.finished(request, found.flow) else "state_of_another_browser")
