"""A clock moved by hand and the two emulators, for the tests of single modules."""

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest

from emulators.secret_manager import SecretManagerServer
from emulators.tiktok import TikTokServer
from tokenkeeper import clock, log
from tokenkeeper.store.vault import Vault
from unit import parts
from unit.parts import HandClock


class Logged(io.StringIO):
    """Where the product's log goes in a test; what is written can be read as objects."""

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The entries so far."""
        return [json.loads(line) for line in self.getvalue().splitlines()]

    @property
    def events(self) -> list[str]:
        """Their events' names."""
        return [entry["event"] for entry in self.entries]


@pytest.fixture(autouse=True)
def logged() -> Iterator[Logged]:
    """The log of this test."""
    stream = Logged()
    log.write_to(stream)
    yield stream
    log.write_to(None)


@pytest.fixture
def hand_clock(monkeypatch: pytest.MonkeyPatch) -> HandClock:
    """The product's clock, moved by hand: it stands at noon on 2026-11-22, and sleeping takes no time."""
    hand = HandClock()
    for name in ("now", "monotonic", "sleep"):
        monkeypatch.setattr(clock, name, getattr(hand, name))
    return hand


@pytest.fixture(scope="session")
def _secrets() -> Iterator[SecretManagerServer]:
    with SecretManagerServer() as running:
        yield running


@pytest.fixture
def store(_secrets: SecretManagerServer, hand_clock: HandClock) -> SecretManagerServer:
    """An empty embedded Secret Manager that does all that it is asked; its clock is the one moved by hand."""
    _secrets.clock = lambda: hand_clock.now().timestamp()
    _secrets.reset()
    return _secrets


@pytest.fixture(scope="session")
def _tiktok() -> Iterator[TikTokServer]:
    with TikTokServer(app_id=parts.APP_ID, app_secret=parts.APP_SECRET) as running:
        yield running


@pytest.fixture
def simulated(_tiktok: TikTokServer) -> TikTokServer:
    """A simulated TikTok that answers all that it is asked."""
    _tiktok.reset()
    return _tiktok


@pytest.fixture
def vault(store: SecretManagerServer) -> Vault:
    """The product's view of the embedded Secret Manager."""
    return Vault(parts.read(SECRET_MANAGER_EMULATOR_HOST=store.address))
