"""What the security tests share."""

from __future__ import annotations

import pytest

from security.raw import NEW_KEY, Wire
from stage import LINK_KEY, Function, Stage, free_port


@pytest.fixture
def wire(stage: Stage) -> Wire:
    """Raw connections to the usual `connect`."""
    return Wire(stage.connect, stage.canaries)


@pytest.fixture(scope="session")
def _rotated(whole_stage: Stage) -> Function:
    environment = whole_stage.environment(
        free_port(),
        PUBLIC_URL="https://tokens.example",
        LINK_SIGNING_KEYS=f"{NEW_KEY} {LINK_KEY}",
        PORTAL_CONNECTION="main",
        PORTAL_ADVERTISER_IDS="7000000000000000001,7000000000000000002",
    )
    function = Function("connect", environment, whole_stage.canaries, whole_stage._clock_file, cold=False)
    whole_stage._running["connect on https"] = function.wait_ready()
    return function


@pytest.fixture
def rotated(stage: Stage, _rotated: Function) -> Function:
    """A `connect` on https, with a portal connection, and with `NEW_KEY` before the usual one."""
    stage.canaries.keep("a signing key", NEW_KEY)
    return _rotated
