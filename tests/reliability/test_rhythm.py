"""The rhythm of refreshing: four runs a day, tokens that live a day, and quotas that all of it has to fit into."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from reliability.year_world import YearStage
from stage import TOKEN
from tokenkeeper import clock

BETWEEN_RUNS = timedelta(hours=6).total_seconds()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[YearStage]:
    """Everything in simulated time."""
    stage = YearStage.without_sockets(tmp_path)
    with stage.in_place():
        yield stage


def life_left(stage: YearStage, connections: int) -> float:
    """Hours that the token which ends first has to live."""
    ends = min(clock.parse(stage.token(f"c{number}")["expires_at"]) for number in range(connections))
    return (ends - clock.now()).total_seconds() / 3600


def run_at(stage: YearStage, number: int, late: float = 0.0) -> None:
    """The run of that number, so many seconds after its time."""
    stage.clocks.sleep(number * BETWEEN_RUNS + late - stage.clocks.stopwatch())
    assert stage.run()[0] == 200


@pytest.mark.parametrize("connections", [1, 120], ids=["one", "more than a minute's work"])
def test_every_second_run_refreshes(stage: YearStage, connections: int) -> None:
    """A run that comes a few seconds early, or has refreshed others first, does not put a token off for six hours."""
    for number in range(connections):
        stage.planted(f"c{number}", "expiring", 13)
    for number, late in enumerate([4.0, 2.0, 1.0, 3.0, 0.0, 2.0, 5.0]):
        run_at(stage, number, late)
        assert life_left(stage, connections) > 17.5


def test_a_run_that_does_not_happen_leaves_time(stage: YearStage) -> None:
    """Where a run is left out, tokens have six hours left at least before the next one."""
    stage.planted("c0", "expiring", 13)
    run_at(stage, 0)
    run_at(stage, 1)
    stage.clocks.sleep(3 * BETWEEN_RUNS - stage.clocks.stopwatch())
    assert life_left(stage, 1) > 5.9
    run_at(stage, 3)
    assert life_left(stage, 1) > 23.9


def test_one_before_half_of_its_life_is_left_alone(stage: YearStage) -> None:
    """What is not due by the end of the run costs nothing but its place in the list."""
    stage.planted("c0", "expiring", 11.5)
    stage.calls_since()
    run_at(stage, 0)
    assert set(stage.calls_since()) <= {"ListSecrets", "CreateSecret", "GetSecret", "UpdateSecret"}
    assert stage.secrets.states(TOKEN + "c0") == {1: "ENABLED"}


def test_one_secrets_quota_does_not_hold_up_the_others(stage: YearStage) -> None:
    """Lease, version and labels are more than a secret takes within a second; the others go on meanwhile."""
    for number in range(60):
        stage.planted(f"c{number}", "expiring", 13)
    run_at(stage, 0)
    assert stage.road.refused > 0
    assert stage.clocks.stopwatch() < 30


def test_expiring_grants_come_first_and_the_nearest_end_before_the_others(stage: YearStage) -> None:
    """With a budget for a few, those are refreshed whose tokens end first."""
    stage.road.google_takes = stage.road.tiktok_takes = (0.05, 0.05)
    for number in range(5):
        stage.planted(f"a{number}", "long-lived", 13)
    for hours in (14, 20, 16, 22):
        stage.planted(f"aged{hours}", "expiring", hours)
    tokens = {stage.whole_grant(f"aged{hours}")["refresh_token"]: hours for hours in (14, 20, 16, 22)}
    stage.new_instances(TIKTOK_MAX_QPS="1", RUN_BUDGET_SECONDS="3")
    assert stage.run()[0] == 503
    spent = [tokens[token] for token in stage.tiktok.spent]
    assert len(spent) >= 2
    assert spent == [22, 20, 16, 14][: len(spent)]
