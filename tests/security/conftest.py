"""What the security tests share."""

from __future__ import annotations

import pytest

import certificates
from security.raw import Wire
from stage import Stage


@pytest.fixture
def wire(stage: Stage) -> Wire:
    """Raw connections to the usual `connect`."""
    return Wire(stage.connect, stage.canaries)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> certificates.Certificate:
    """A certificate for localhost that nobody vouches for."""
    return certificates.make(tmp_path_factory.mktemp("certificate"))
