"""A clock in the hand and the two stand-ins, for the tests of single modules."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local.secret_manager import SecretManagerServer
from local.tiktok import TikTokServer
from tokenkeeper import clock, log
from tokenkeeper.vault import Vault
from unit import parts
from unit.parts import HandClock


@pytest.fixture
def hand_clock(monkeypatch: pytest.MonkeyPatch) -> HandClock:
    """The product's clock, moved by hand: it stands at noon on 2026-11-22, and sleeping takes no time."""
    hand = HandClock()
    for name in ("now", "monotonic", "sleep"):
        monkeypatch.setattr(clock, name, getattr(hand, name))
    return hand


@pytest.fixture(autouse=True)
def _log_to_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_stream", None)


@pytest.fixture(scope="module")
def _secrets() -> Iterator[SecretManagerServer]:
    with SecretManagerServer() as running:
        yield running


@pytest.fixture
def store(_secrets: SecretManagerServer) -> SecretManagerServer:
    """An empty embedded Secret Manager that does all that it is asked."""
    _secrets.clear_faults()
    _secrets.forget_calls()
    _secrets.allow_all()
    _secrets.set_lag()
    _secrets.set_quota()
    for secret_id in list(_secrets.secrets()):
        _secrets.delete(secret_id)
    return _secrets


@pytest.fixture(scope="module")
def _tiktok() -> Iterator[TikTokServer]:
    with TikTokServer(app_id=parts.APP_ID, app_secret=parts.APP_SECRET) as running:
        yield running


@pytest.fixture
def simulated(_tiktok: TikTokServer) -> TikTokServer:
    """A simulated TikTok that answers all that it is asked."""
    _tiktok.clear_faults()
    _tiktok.forget_calls()
    return _tiktok


@pytest.fixture
def vault(store: SecretManagerServer) -> Vault:
    """The product's view of the embedded Secret Manager."""
    return Vault(parts.read(SECRET_MANAGER_EMULATOR_HOST=store.address))
