"""A bad year in minutes: one clock, both kinds of grant, readers that look all the time, and all that goes wrong.

`year_story` tells it. The whole of it, 10,000 connections over 365 days, takes an hour (`make year`); its numbers and
its picture lie beside this file, and are looked at here. What is told anew here is smaller.
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from reliability import year
from reliability.year_chart import draw, table
from reliability.year_clock import Condition, Lock, Pool, Simulation, wait
from reliability.year_story import OURS, Story
from reliability.year_world import YearStage
from stage import KEEPER, ROOT

PUBLISHED: Mapping[str, Any] = json.loads((year.FOLDER / "year.json").read_text())
TIKTOK_MAX_QPS, KEEP_VERSIONS = 8, 2


def assert_a_good_year(told: Mapping[str, Any]) -> None:
    """No reader without a token by our doing, and calls, versions, alerts and cost in line."""
    events, runs, refreshed = told["events"], told["runs"], told["events"]["INFO token.refreshed"]
    assert told["looks_without_token"].get(OURS, 0) == 0
    assert told["longest_such_gap_seconds"].get(OURS, 0) <= 60  # runs missed at 12 and 18 hours
    assert runs.keys() <= {"200", "503", "doubled", "killed", "skipped", "tried again"}
    # One more that a killed run left, and one by a re-connection, which may destroy nothing: until the next refresh.
    assert told["most_versions_of_a_secret"] <= KEEP_VERSIONS + 2
    assert told["calls"]["AddSecretVersion"] <= 2.1 * refreshed + 3 * told["connections"]
    assert told["most_calls_to_tiktok_in_a_day"] <= TIKTOK_MAX_QPS * 86_400
    assert told["dollars_a_month"]["last"] <= 1.1 * told["dollars_a_month"]["first"]
    assert told["connections_by_alerts_to_reauthorize"].keys() == {"1"}
    assert told["connections_by_alerts_to_reauthorize"]["1"] >= told["advertisers_who_cancelled"]
    assert not {"ERROR secret.unreadable", "ERROR defect", "CRITICAL run.stopped"} & events.keys()


def stored(stage: YearStage) -> dict[str, Any]:
    """All that is stored at the end, without what chance makes."""

    def payload(text: bytes) -> dict[str, Any]:
        document = json.loads(text or b"{}")
        return {key: value for key, value in document.items() if key not in {"access_token", "refresh_token"}}

    return {
        secret_id: (
            kept.labels,
            {key: value for key, value in kept.annotations.items() if key not in {"last-error", "last-link"}},
            kept.states,
            [payload(text) for text in stage.secrets.payloads(secret_id)],
        )
        for secret_id, kept in stage.secrets.secrets().items()
    }


def tell(
    stage: YearStage, connections: int, days: int, expiring_one_in: int, *, seed: int = 2026, worse: float = 1.0
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Numbers and end of a story."""
    try:
        with stage.in_place():
            told = Story(stage, connections, days, expiring_one_in, seed=seed, worse=worse).tell().document()
        assert not stage.secrets.states(KEEPER)
        return told, stored(stage)
    finally:
        stage.close()


def assert_same_in_both_worlds(folder: Path, days: int, seed: int) -> None:
    near = tell(YearStage.without_sockets(folder), 6, days, 2, seed=seed, worse=5)
    far = tell(YearStage.on_sockets(folder), 6, days, 2, seed=seed, worse=5)
    assert near == far


class TestWorlds:
    def test_a_story_is_the_same_with_and_without_sockets(self, tmp_path: Path) -> None:
        """Without sockets all happens as with Google's client, HTTP and servers: the same calls, events and ends."""
        assert_same_in_both_worlds(tmp_path, 5, seed=4)

    @pytest.mark.slow
    def test_so_is_a_longer_one(self, tmp_path: Path) -> None:
        """So do a month's deaths, doubled runs and cancellations."""
        assert_same_in_both_worlds(tmp_path, 30, seed=5)

    def test_one_story_differs_from_another(self, tmp_path: Path) -> None:
        """It is the seed that decides, not the machine."""
        one, again, other = (tell(YearStage.without_sockets(tmp_path), 6, 5, 2, seed=seed) for seed in (1, 1, 2))
        assert one == again
        assert one != other


class TestYear:
    def test_two_months_of_many(self, tmp_path: Path) -> None:
        """Thirty connections over two months that hold all of a year's trouble."""
        told, _ = tell(YearStage.without_sockets(tmp_path), 30, 60, 6)
        assert_a_good_year(told)

    @pytest.mark.slow
    def test_a_year(self, tmp_path: Path) -> None:
        """The whole year, for thirty."""
        told, _ = tell(YearStage.without_sockets(tmp_path), 30, 365, 6)
        assert_a_good_year(told)

    def test_a_token_that_is_lost_is_noticed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A keeper that never refreshes leaves readers without a token, and the story says so."""
        monkeypatch.setattr("tokenkeeper.grant.due", lambda *_: False)
        told, _ = tell(YearStage.without_sockets(tmp_path), 4, 4, 2)
        assert told["looks_without_token"][OURS] > 0


class TestCommand:
    def test_writes_numbers_and_picture(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """`make year` leaves both files, and prints the table for the README."""
        folder = tmp_path / "not" / "there"
        few = ["--connections", "4", "--days", "4", "--expiring-one-in", "2"]
        assert year.main([*few, "--into", str(folder)]) == 0
        told = json.loads((folder / "year.json").read_text())
        assert (told["connections"], told["expiring"]) == (4, 2)
        assert capsys.readouterr().out.strip() == table(told)
        drawn = (folder / "year.svg").read_text()
        (folder / "year.svg").unlink()
        assert year.main(["--again", "--into", str(folder)]) == 0
        assert (folder / "year.svg").read_text() == drawn == draw(told)
        assert ET.fromstring(drawn).tag.endswith("svg")


class TestPublished:
    def test_it_was_the_whole_year(self) -> None:
        """What is published is the year of 10,000."""
        assert PUBLISHED["connections"] == year.CONNECTIONS
        assert {len(PUBLISHED["days"][name]) for name in ("tiktok", "google", "versions")} == {year.DAYS}
        assert PUBLISHED["expiring"] == year.CONNECTIONS // year.EXPIRING_ONE_IN

    def test_it_was_a_good_one(self) -> None:
        """It holds to what every year is held to."""
        assert_a_good_year(PUBLISHED)

    def test_the_file_is_as_the_command_writes_it(self) -> None:
        """Nobody edited the numbers."""
        assert (year.FOLDER / "year.json").read_text() == year.written(PUBLISHED)

    def test_the_picture_is_drawn_from_the_numbers(self) -> None:
        """The picture in the README shows these numbers and no others."""
        assert (year.FOLDER / "year.svg").read_text() == draw(PUBLISHED)

    def test_the_readme_quotes_the_numbers(self) -> None:
        """The README's table is the one that the numbers make."""
        readme = (ROOT / "README.md").read_text()
        quoted = re.search(r"<!-- year: begin -->\n(.*?)\n<!-- year: end -->", readme, re.DOTALL)
        assert quoted
        assert quoted[1] == table(PUBLISHED)


class TestSimulatedTime:
    def test_waiting_takes_as_long_as_the_longest(self) -> None:
        """Many wait at the same time, and go on in the order of their times."""
        time, woke = Simulation(), []

        def sleeper(seconds: float) -> Callable[[], None]:
            def sleep() -> None:
                time.sleep(seconds)
                woke.append((seconds, time.stopwatch()))

            return sleep

        with Pool(time) as pool:
            for seconds in (3.0, 1.0, 2.0):
                pool.submit(sleeper(seconds))
        assert woke == [(1.0, 1.0), (2.0, 2.0), (3.0, 3.0)]
        assert time.stopwatch() == 3.0

    def test_a_lock_lets_one_in(self) -> None:
        """Who comes second waits until the first has gone."""
        time, inside = Simulation(), []
        lock = Lock(time)

        def enter() -> None:
            with lock:
                inside.append(time.stopwatch())
                time.sleep(1)

        with Pool(time) as pool:
            for _ in range(3):
                pool.submit(enter)
        assert inside == [0, 1, 2]

    def test_who_waits_for_a_condition_is_woken(self) -> None:
        """A condition is looked at anew when somebody says so, and given up when the time is over."""
        time, told = Simulation(), []
        condition = Condition(time)

        def tell_it() -> None:
            time.sleep(2)
            told.append("it")
            condition.notify_all()

        with Pool(time) as pool:
            pool.submit(tell_it)
            assert condition.wait_for(lambda: bool(told))
        assert time.stopwatch() == 2
        assert not condition.wait_for(lambda: False, 0.05)

    def test_what_goes_wrong_is_raised_where_the_result_is_asked_for(self) -> None:
        """An error of one does not disturb the others."""
        time = Simulation()

        def fail() -> None:
            time.sleep(1)
            raise ZeroDivisionError

        with Pool(time) as pool:
            future = pool.submit(fail)
            assert wait([future], 0.5) == (set(), {future})
            assert wait([future]) == ({future}, set())
        with pytest.raises(ZeroDivisionError):
            future.result()

    def test_a_standstill_is_an_error(self) -> None:
        """If everybody waits for somebody else, that is said instead of waiting for ever."""
        time = Simulation()
        with pytest.raises(RuntimeError, match="waits for somebody else"):
            Condition(time).wait_for(lambda: False)
