"""What the tests of reliability share."""

from collections.abc import Iterator

import pytest

from reliability.quick import QuickStage


@pytest.fixture(scope="session")
def whole_quick_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QuickStage]:
    """The stand-ins of this session, for functions in the test's own process."""
    stage = QuickStage(tmp_path_factory.mktemp("quick"))
    yield stage
    stage.close()


@pytest.fixture
def quick(whole_quick_stage: QuickStage) -> Iterator[QuickStage]:
    """Everything in one process, as at the beginning. Whatever a test does, no secret may show up anywhere."""
    whole_quick_stage.reset()
    with whole_quick_stage.in_place():
        yield whole_quick_stage
        leaks = whole_quick_stage.leaks()
    whole_quick_stage.reset()
    assert not leaks, leaks
