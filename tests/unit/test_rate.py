"""How fast a process calls TikTok, and how it slows down and gives up while TikTok throttles."""

import itertools
import random
import threading
import time

import pytest

from tokenkeeper.refresh.rate import MOST_THROTTLED, RateLimiter
from unit.parts import HandClock


def sent_at(rate: RateLimiter, hand_clock: HandClock, calls: int) -> list[float]:
    """When so many calls were sent, one after the other."""
    times = []
    for _ in range(calls):
        rate.wait()
        times.append(round(hand_clock.monotonic(), 6))
    return times


class TestSpacing:
    def test_calls_are_spaced_evenly(self, hand_clock: HandClock) -> None:
        """The first call goes at once, and all the others keep the same distance: 98 % of the rate is used."""
        rate = RateLimiter(8)
        times = sent_at(rate, hand_clock, 81)
        gaps = {round(after - before, 5) for before, after in itertools.pairwise(times)}
        assert times[0] == 0
        assert len(gaps) == 1
        assert 1 / 8 <= gaps.pop() <= 1 / 8 / 0.98
        hand_clock.pass_by(seconds=10)  # slots that nobody took are lost
        assert all(after - before >= 1 / 8 for before, after in itertools.pairwise(sent_at(rate, hand_clock, 5)))

    @pytest.mark.parametrize("calls_per_second", [0.5, 8])
    def test_no_second_has_more_than_its_calls(self, hand_clock: HandClock, calls_per_second: float) -> None:
        """However late one or the other wakes up, what it holds up does not come in a burst."""
        lateness = itertools.cycle([0.0] * 10 + [0.5])
        hand_clock.on_sleep = lambda: hand_clock.pass_by(seconds=next(lateness))
        times = sent_at(RateLimiter(calls_per_second), hand_clock, 200)
        most = max(1, round(calls_per_second))
        assert all(later - first >= 1 for first, later in zip(times, times[most:], strict=False))

    @pytest.mark.parametrize("calls_per_second", [8, 50])
    def test_a_busy_machine_fills_the_slots_all_the_same(self, hand_clock: HandClock, calls_per_second: int) -> None:
        """However unevenly threads wake, the whole takes 2 % longer than it might, and no second has one call more."""
        chance = random.Random(18)
        hand_clock.on_sleep = lambda: hand_clock.pass_by(seconds=chance.choice([0.0, 0.001, 0.002, 0.01]))
        times = sent_at(RateLimiter(calls_per_second), hand_clock, 40 * calls_per_second)
        assert all(later - first >= 1 for first, later in zip(times, times[calls_per_second:], strict=False))
        assert times[-1] - times[0] <= 1.02 * (len(times) - 1) / calls_per_second + 0.02


class TestThrottled:
    def test_calls_that_were_under_way_do_not_count_again(self, hand_clock: HandClock) -> None:
        """What was sent before the pause and refused during it does not make it longer."""
        rate = RateLimiter(1000)
        for _ in range(20):
            rate.throttled()
        begin = hand_clock.monotonic()
        rate.wait()
        assert hand_clock.monotonic() - begin == pytest.approx(1)
        assert not rate.exhausted

    def test_it_goes_on_slower_and_recovers(self, hand_clock: HandClock) -> None:
        """Calls come at half the rate then; with each answer the rate comes closer to the usual one."""
        rate = RateLimiter(10)
        rate.throttled()
        slow = sent_at(rate, hand_clock, 3)
        assert slow[2] - slow[1] == pytest.approx(0.2, rel=0.05)
        for _ in range(10):
            rate.succeeded()
        sent_at(rate, hand_clock, 1)
        usual = sent_at(rate, hand_clock, 3)
        assert usual[2] - usual[1] == pytest.approx(0.1, rel=0.05)

    def test_it_is_exhausted_after_five_in_a_row(self, hand_clock: HandClock) -> None:
        """All pause, longer each time; later is better than again once TikTok has throttled five times."""
        rate = RateLimiter(1000)
        rate.throttled()
        rate.wait()
        rate.succeeded()  # only those in a row count
        pauses = []
        for _ in range(MOST_THROTTLED):
            assert not rate.exhausted
            begin = hand_clock.monotonic()
            rate.throttled()
            rate.wait()
            pauses.append(round(hand_clock.monotonic() - begin))
        assert rate.exhausted
        assert pauses == [1, 2, 4, 8, 16]


@pytest.mark.parametrize(("calls_per_second", "enough"), [(1, 2), (20, 4)])
def test_a_queue_of_a_fifth_of_a_second_is_enough(hand_clock: HandClock, calls_per_second: int, enough: int) -> None:
    """While so many wait that slots are taken until another would arrive, none need be begun; two in any case."""
    rate = RateLimiter(calls_per_second)
    rate.wait()
    go_on = threading.Event()

    def sleep_on() -> None:
        go_on.wait(10)

    hand_clock.on_sleep = sleep_on
    threads = [threading.Thread(target=rate.wait) for _ in range(enough)]
    for thread in threads[1:]:
        thread.start()
    assert rate.wait_for_short_queue(0)
    threads[0].start()
    until = time.monotonic() + 10
    while rate.wait_for_short_queue(0):
        assert time.monotonic() < until
        time.sleep(0.001)  # until the last waits, too
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert rate.wait_for_short_queue(0)
