"""How fast a run goes, and how it slows down and gives up when TikTok complains."""

from __future__ import annotations

import itertools
import threading

import pytest

from tokenkeeper.pacing import PATIENCE, Pace
from unit.parts import HandClock


def sent_at(pace: Pace, hand_clock: HandClock, calls: int) -> list[float]:
    """When so many calls were sent, one after the other."""
    times = []
    for _ in range(calls):
        pace.wait()
        times.append(round(hand_clock.monotonic(), 6))
    return times


def test_calls_are_spaced_evenly(hand_clock: HandClock) -> None:
    """The first call goes at once, and all the others keep the same distance, of at least 95 % of the pace."""
    times = sent_at(Pace(8), hand_clock, 81)
    gaps = {round(after - before, 3) for before, after in itertools.pairwise(times)}
    assert times[0] == 0
    assert len(gaps) == 1
    assert 1 / 8 <= gaps.pop() <= 1 / 8 / 0.95


@pytest.mark.parametrize("calls_per_second", [0.5, 8, 500])
def test_no_second_has_more_than_its_calls(hand_clock: HandClock, calls_per_second: float) -> None:
    """However late one or the other wakes up, the limit holds in every second."""
    lateness = itertools.cycle([0.0, 0.003, 0.0, 0.008])
    hand_clock.on_sleep = lambda: hand_clock.pass_by(seconds=next(lateness))
    times = sent_at(Pace(calls_per_second), hand_clock, 200)
    most = max(1, round(calls_per_second))
    assert all(later - first >= 1 for first, later in zip(times, times[most:], strict=False))


def test_turns_that_nobody_took_are_lost(hand_clock: HandClock) -> None:
    """After a pause the pace is the usual one: nothing is caught up with."""
    pace = Pace(10)
    sent_at(pace, hand_clock, 1)
    hand_clock.pass_by(seconds=10)
    times = sent_at(pace, hand_clock, 11)
    assert times[10] - times[0] >= 0.97


def test_who_wakes_late_costs_nobody_a_turn(hand_clock: HandClock) -> None:
    """A late wake-up is made up for by the next, so that the pace is kept."""
    pace = Pace(10)
    hand_clock.on_sleep = lambda: hand_clock.pass_by(milliseconds=10)
    assert sent_at(pace, hand_clock, 101)[-1] == pytest.approx(10, rel=0.05)


def test_all_threads_share_one_pace() -> None:
    """Calls of many threads together are no faster than those of one."""
    pace = Pace(200)
    sent: list[float] = []

    def work() -> None:
        for _ in range(5):
            pace.wait()
            sent.append(pace._next)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    turns = sorted(sent)
    assert len(turns) == 40
    assert turns[-1] - turns[0] >= 38 * 0.0037


class TestComplaints:
    def test_everybody_pauses_longer_each_time(self, hand_clock: HandClock) -> None:
        """The pauses are 1, 2, 4 and 8 seconds."""
        pace = Pace(1000)
        pauses = []
        for _ in range(PATIENCE - 1):
            begin = hand_clock.monotonic()
            pace.complained()
            pace.wait()
            pauses.append(round(hand_clock.monotonic() - begin))
        assert pauses == [1, 2, 4, 8]

    def test_calls_that_were_under_way_do_not_complain_anew(self, hand_clock: HandClock) -> None:
        """What was sent before the pause and refused during it does not make it longer."""
        pace = Pace(1000)
        for _ in range(20):
            pace.complained()
        begin = hand_clock.monotonic()
        pace.wait()
        assert hand_clock.monotonic() - begin == pytest.approx(1)
        assert not pace.hopeless

    def test_it_goes_on_slower_and_recovers(self, hand_clock: HandClock) -> None:
        """After a complaint calls come at half the pace; with each answer it comes closer to the usual one."""
        pace = Pace(10)
        pace.complained()
        slow = sent_at(pace, hand_clock, 3)
        assert slow[2] - slow[1] == pytest.approx(0.2, rel=0.05)
        for _ in range(10):
            pace.satisfied()
        sent_at(pace, hand_clock, 1)
        usual = sent_at(pace, hand_clock, 3)
        assert usual[2] - usual[1] == pytest.approx(0.1, rel=0.05)

    def test_it_gives_up_after_five_in_a_row(self, hand_clock: HandClock) -> None:
        """Later is better than again once TikTok has complained five times with pauses between."""
        pace = Pace(1000)
        for number in range(PATIENCE):
            assert not pace.hopeless, number
            pace.complained()
            pace.wait()
        assert pace.hopeless
        assert hand_clock.monotonic() == pytest.approx(31, abs=1)

    @pytest.mark.usefixtures("hand_clock")
    def test_one_good_answer_starts_the_count_anew(self) -> None:
        """Only complaints in a row count."""
        pace = Pace(1000)
        for _ in range(3 * PATIENCE):
            pace.complained()
            pace.wait()
            pace.satisfied()
        assert not pace.hopeless


class TestRuns:
    def test_another_one_keeps_the_distance_to_the_last_call(self, hand_clock: HandClock) -> None:
        """A run that begins right after another does not send its first call any sooner."""
        pace = Pace(2)
        sent_at(pace, hand_clock, 2)
        pace.begin_run()
        (first,) = sent_at(pace, hand_clock, 1)
        assert first == pytest.approx(1, rel=0.05)

    def test_another_one_has_hope_and_keeps_the_pause(self, hand_clock: HandClock) -> None:
        """What an earlier run gave up is tried again, at the usual pace, once the pause that TikTok needs is over."""
        pace = Pace(10)
        for _ in range(PATIENCE):
            pace.wait()
            pace.complained()
        assert pace.hopeless
        given_up = hand_clock.monotonic()
        pace.begin_run()
        assert not pace.hopeless
        times = sent_at(pace, hand_clock, 3)
        assert times[0] == pytest.approx(given_up + 16)
        assert times[2] - times[1] == pytest.approx(0.1, rel=0.05)


class TestGap:
    def test_while_nobody_stands_in_line_another_may_start(self) -> None:
        """An empty line is a gap, at once."""
        assert Pace(8).wait_for_gap(0)

    def test_two_in_line_are_enough(self, hand_clock: HandClock) -> None:
        """While two wait for their turn, every turn is taken, and no other connection need be started."""
        pace = Pace(1)
        pace.wait()
        go_on = threading.Event()

        def sleep_on() -> None:
            go_on.wait(10)

        hand_clock.on_sleep = sleep_on
        threads = [threading.Thread(target=pace.wait) for _ in range(2)]
        for thread in threads:
            thread.start()
        while len(pace._line) < 2:
            threading.Event().wait(0.001)
        assert not pace.wait_for_gap(0)
        go_on.set()
        assert pace.wait_for_gap(10)
        for thread in threads:
            thread.join()
