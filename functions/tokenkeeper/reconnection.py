"""The rule of re-connections: nobody's reports change over to somebody else's account by mistake. No I/O."""

from __future__ import annotations

from typing import Literal

from tokenkeeper.connection import Connection
from tokenkeeper.grant import Grant

Conflict = Literal["other_family", "other_account", "other_advertisers"]


def conflict(connection: Connection, grant: Grant) -> Conflict | None:
    """Why a grant may not take the place of a connection's, unless any account is allowed; None: it may.

    Args:
        connection: The connection as it is; its annotations say what was approved.
        grant: What TikTok granted.
    """
    if connection.made and connection.family != grant.family:
        return "other_family"
    if connection.open_id and connection.open_id != grant.open_id:
        return "other_account"
    if connection.approved and set(connection.approved).isdisjoint(grant.advertiser_ids or ()):
        return "other_advertisers"
    return None
