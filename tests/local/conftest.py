"""An embedded Secret Manager and the official client that it is held against; a simulated TikTok."""

from collections.abc import Callable, Iterator

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import secretmanager_v1

from emulators.secret_manager import SecretManagerServer
from emulators.tiktok import TikTokServer

Client = secretmanager_v1.SecretManagerServiceClient


@pytest.fixture
def server() -> Iterator[SecretManagerServer]:
    with SecretManagerServer() as running:
        yield running


@pytest.fixture
def connect() -> Iterator[Callable[[str], Client]]:
    """Makes official clients over REST for a server's URL."""
    clients: list[Client] = []

    def make(url: str) -> Client:
        options = {"api_endpoint": url}
        credentials = AnonymousCredentials()  # type: ignore[no-untyped-call]
        clients.append(Client(transport="rest", credentials=credentials, client_options=options))
        return clients[-1]

    yield make
    for client in clients:
        client.transport.close()  # type: ignore[no-untyped-call]


@pytest.fixture
def client(server: SecretManagerServer, connect: Callable[[str], Client]) -> Client:
    return connect(server.url)


@pytest.fixture
def tiktok() -> Iterator[TikTokServer]:
    """A simulated TikTok whose clock stands still."""
    with TikTokServer() as running:
        running.clock = lambda: 1_780_000_000.0
        yield running
