"""The rule of re-connections: of the same family, and for some of the same accounts."""

from __future__ import annotations

from dataclasses import replace

from tokenkeeper.connection import Connection
from tokenkeeper.grant import Grant
from unit.parts import connected, expiring, long_lived, of_account

ADS = connected(long_lived())
ORGANIC = replace(of_account(), connection="acme")
CASES: dict[str, tuple[Connection, Grant, str | None]] = {
    "nothing was connected": (Connection("acme", {}, {}), long_lived(), None),
    "nothing was connected, an account": (Connection("acme", {}, {}), ORGANIC, None),
    "another kind of grant": (ADS, expiring(), None),
    "one of those that were approved": (ADS, long_lived().with_advertisers(["7002", "7004"]), None),
    "none of them": (ADS, long_lived().with_advertisers(["7003"]), "other_advertisers"),
    "those of the last list only": (connected(long_lived(), approved="7009"), long_lived(), "other_advertisers"),
    "the same account": (connected(ORGANIC), ORGANIC, None),
    "another account": (connected(ORGANIC), replace(ORGANIC, open_id="open-2"), "other_account"),
    "advertisers become an account": (ADS, ORGANIC, "other_family"),
}


def test_a_grant_may_take_the_place_of_one_for_the_same() -> None:
    """What was approved counts, not the list of the last run."""
    assert {case: connection.conflict(grant) for case, (connection, grant, _) in CASES.items()} == {
        case: found for case, (_, _, found) in CASES.items()
    }
