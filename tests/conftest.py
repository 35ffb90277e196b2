"""What all tests share."""

import signal
from collections.abc import Generator, Iterator

import pytest

from stage import Stage

# Whoever runs the tests in the background may have Ctrl-C ignored; children would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def whole_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The stand-ins and functions of this session."""
    stage = Stage(tmp_path_factory.mktemp("stage"))
    yield stage
    stage.close()


@pytest.fixture
def stage(whole_stage: Stage) -> Iterator[Stage]:
    """Everything on one machine, as at the beginning. Whatever a test does, no secret may show up where it must not."""
    whole_stage.reset()
    yield whole_stage
    leaks = whole_stage.leaks()
    whole_stage.reset()
    assert not leaks, leaks


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let the canaries hear what the test's own process printed and logged, where the product runs in it."""
    report = yield
    stage = getattr(item, "funcargs", {}).get("stage")
    if call.when == "call" and report.passed and isinstance(stage, Stage):
        stage.canaries.record("what was printed", report.capstdout + report.capstderr + report.caplog)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the tables that tests recorded: what a test prints itself is hidden, with several workers always."""
    for reports in list(terminalreporter.stats.values()):
        for report in reports:
            if isinstance(report, pytest.TestReport) and report.when == "call":
                for name, text in report.user_properties:
                    if name == "table":
                        terminalreporter.write_line(f"\n{text}")
