"""What the security tests share."""

import pytest

from security.raw import NEW_KEY, Wire
from stage import LINK_KEY, Function, Stage


@pytest.fixture
def wire(stage: Stage) -> Wire:
    """Raw connections to the usual `connect`."""
    return Wire(stage.connect, stage.canaries)


@pytest.fixture
def rotated(stage: Stage) -> Function:
    """A `connect` on https, with a portal connection, and with `NEW_KEY` before the usual one."""
    stage.canaries.keep("a signing key", NEW_KEY)
    return stage.start(
        "connect",
        PUBLIC_URL="https://tokens.example",
        LINK_SIGNING_KEYS=f"{NEW_KEY} {LINK_KEY}",
        PORTAL_CONNECTION="main",
        PORTAL_ADVERTISER_IDS="7000000000000000001,7000000000000000002",
    )
