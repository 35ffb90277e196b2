"""The internet of the readers' tests."""

from collections.abc import Iterator

import pytest

from readers.internet import Internet


@pytest.fixture(scope="session")
def whole_internet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Internet]:
    """The internet of this session."""
    internet = Internet(tmp_path_factory.mktemp("internet"))
    yield internet
    internet.close()


@pytest.fixture
def internet(whole_internet: Internet) -> Iterator[Internet]:
    """An internet in which `acme` is connected. Whatever a test does, no secret may show up where it must not."""
    whole_internet.reset()
    whole_internet.connect()
    yield whole_internet
    leaks = whole_internet.leaks()
    whole_internet.reset()
    assert not leaks, leaks
