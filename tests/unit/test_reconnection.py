"""The rule of re-connections: of the same family, and for some of the same accounts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tokenkeeper.connection import Connection
from tokenkeeper.grant import Grant
from tokenkeeper.reconnection import conflict
from unit.parts import connected, expiring, long_lived, of_account

ORGANIC = replace(of_account(), connection="acme")


@pytest.mark.parametrize(
    ("connection", "grant", "found"),
    [
        (Connection("acme", {}, {}), long_lived(), None),
        (connected(long_lived()), expiring(), None),
        (connected(long_lived(), approved="7002,7003"), long_lived().with_advertisers(["7003", "7004"]), None),
        (connected(long_lived()), long_lived().with_advertisers(["7003"]), "other_advertisers"),
        (connected(long_lived(), approved="7009"), long_lived(), "other_advertisers"),
        (connected(ORGANIC), ORGANIC, None),
        (connected(ORGANIC), replace(ORGANIC, open_id="open-2"), "other_account"),
        (connected(ORGANIC), long_lived(), "other_family"),
        (connected(long_lived()), ORGANIC, "other_family"),
    ],
    ids=[
        "nothing was connected",
        "another kind of grant",
        "one of those that were approved",
        "none of them",
        "those of the last list only",
        "the same account",
        "another account",
        "an account becomes advertisers",
        "advertisers become an account",
    ],
)
def test_a_grant_may_take_the_place_of_one_for_the_same(
    connection: Connection, grant: Grant, found: str | None
) -> None:
    """What was approved counts, not the list of the last run."""
    assert conflict(connection, grant) == found
