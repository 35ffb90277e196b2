"""What the command line's tests share."""

from pathlib import Path

import pytest

from command_line import Cli
from stage import Stage


@pytest.fixture
def cli(stage: Stage, tmp_path: Path) -> Cli:
    """The command line in front of the stage."""
    return Cli(stage, tmp_path / "state")
