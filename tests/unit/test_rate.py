"""The rate of calls to TikTok: never more than so many in any second, and no slot lost to a thread that wakes late."""

from __future__ import annotations

import random
import threading
import time
from itertools import pairwise

import pytest

from tokenkeeper import clock
from tokenkeeper.refresh.rate import MOST_THROTTLED, RateLimiter
from unit.parts import HandClock


def sent(rate: RateLimiter, count: int) -> list[float]:
    """When so many calls of one thread after another were let through."""
    times = []
    for _ in range(count):
        rate.wait()
        times.append(clock.monotonic())
    return times


def most_in_a_second(times: list[float]) -> int:
    """The most of these times that lie in one second, wherever it begins."""
    return max(sum(begin <= at < begin + 1 for at in times) for begin in times)


@pytest.fixture
def busy_clock(hand_clock: HandClock, monkeypatch: pytest.MonkeyPatch) -> HandClock:
    """A machine that is busy: who sleeps wakes late, mostly by a little, now and then by 30 ms."""
    chance = random.Random(18)

    def sleep(seconds: float) -> None:
        hand_clock.sleep(seconds + chance.choice([0.0, 0.001, 0.002, 0.01, 0.03]))

    monkeypatch.setattr(clock, "sleep", sleep)
    return hand_clock


@pytest.mark.parametrize("qps", [1, 8, 50])
@pytest.mark.usefixtures("hand_clock")
def test_a_quiet_machine_fills_the_slots(qps: int) -> None:
    """As many calls in any second as are allowed, and the whole takes 1.8 % longer than it might."""
    times = sent(RateLimiter(qps), 20 * qps)
    assert most_in_a_second(times) == qps
    assert times[-1] - times[0] <= 1.0181 * (len(times) - 1) / qps


@pytest.mark.parametrize("qps", [8, 20])
@pytest.mark.usefixtures("busy_clock")
def test_a_late_thread_costs_the_next_one_nothing(qps: int) -> None:
    """On a busy machine the slots are filled all the same, and no second gets one more."""
    times = sent(RateLimiter(qps), 40 * qps)
    assert most_in_a_second(times) <= qps
    assert times[-1] - times[0] <= 1.02 * (len(times) - 1) / qps + 0.1


def test_what_nobody_was_there_to_take_is_lost(hand_clock: HandClock) -> None:
    """After a minute without a call there is no burst: a quarter of a second is made up for, and no more."""
    rate = RateLimiter(8)
    sent(rate, 4)
    hand_clock.pass_by(minutes=1)
    times = sent(rate, 20)
    assert sum(at - times[0] < 0.1 for at in times) <= 3
    assert most_in_a_second(times) <= 8


@pytest.mark.usefixtures("hand_clock")
def test_less_than_one_call_a_second() -> None:
    """A tenth of a call a second is one in ten seconds."""
    times = sent(RateLimiter(0.1), 4)
    assert all(later - earlier >= 10 for earlier, later in pairwise(times))


def test_all_threads_share_one_rate() -> None:
    """Calls of many threads together are no faster than those of one."""
    rate, sent = RateLimiter(200), []

    def work() -> None:
        for _ in range(5):
            rate.wait()
            sent.append(time.monotonic())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sent) == 40
    assert max(sent) - min(sent) >= 0.15  # a lower bound only: a busy machine is slower


class TestThrottled:
    def test_all_pause_longer_each_time(self, hand_clock: HandClock) -> None:
        """The pauses are 1, 2, 4 and 8 seconds."""
        rate = RateLimiter(1000)
        pauses = []
        for _ in range(MOST_THROTTLED - 1):
            begin = hand_clock.monotonic()
            rate.throttled()
            rate.wait()
            pauses.append(round(hand_clock.monotonic() - begin))
        assert pauses == [1, 2, 4, 8]

    def test_calls_that_were_under_way_do_not_count_again(self, hand_clock: HandClock) -> None:
        """What was sent before the pause and refused during it does not make it longer."""
        rate = RateLimiter(1000)
        for _ in range(20):
            rate.throttled()
        begin = hand_clock.monotonic()
        rate.wait()
        assert hand_clock.monotonic() - begin == pytest.approx(1)
        assert not rate.exhausted

    @pytest.mark.usefixtures("hand_clock")
    def test_it_goes_on_slower_and_recovers(self) -> None:
        """Calls come at half the rate then; with each answer the rate comes closer to the usual one."""
        rate = RateLimiter(10)
        rate.throttled()
        slow = sent(rate, 3)
        assert slow[2] - slow[1] == pytest.approx(0.2, rel=0.05)
        for _ in range(10):
            rate.succeeded()
        sent(rate, 1)
        usual = sent(rate, 3)
        assert usual[2] - usual[1] == pytest.approx(0.1, rel=0.05)

    def test_it_is_exhausted_after_five_in_a_row(self, hand_clock: HandClock) -> None:
        """Later is better than again once TikTok has throttled five times with pauses between."""
        rate = RateLimiter(1000)
        for number in range(MOST_THROTTLED):
            assert not rate.exhausted, number
            rate.throttled()
            rate.wait()
        assert rate.exhausted
        assert hand_clock.monotonic() == pytest.approx(31, abs=1)

    @pytest.mark.usefixtures("hand_clock")
    def test_one_good_answer_begins_the_count_again(self) -> None:
        """Only those in a row count."""
        rate = RateLimiter(1000)
        for _ in range(3 * MOST_THROTTLED):
            rate.throttled()
            rate.wait()
            rate.succeeded()
        assert not rate.exhausted


class TestRuns:
    @pytest.mark.usefixtures("hand_clock")
    def test_another_one_keeps_the_distance_to_the_last_call(self) -> None:
        """A run that begins right after another does not send its first call any sooner."""
        rate = RateLimiter(2)
        sent(rate, 2)
        rate.begin_run()
        (first,) = sent(rate, 1)
        assert first == pytest.approx(1, rel=0.05)

    def test_another_one_tries_again_and_keeps_the_pause(self, hand_clock: HandClock) -> None:
        """What an earlier run gave up is tried at the usual rate, once the pause that TikTok needs is over."""
        rate = RateLimiter(10)
        for _ in range(MOST_THROTTLED):
            rate.wait()
            rate.throttled()
        given_up = hand_clock.monotonic()
        rate.begin_run()
        assert not rate.exhausted
        times = sent(rate, 3)
        assert times[0] == pytest.approx(given_up + 16)
        assert times[2] - times[1] == pytest.approx(0.1, rel=0.05)


class TestQueue:
    def test_while_nobody_waits_another_may_begin(self) -> None:
        """An empty queue is short, at once."""
        assert RateLimiter(8).wait_for_short_queue(0)

    def test_two_that_wait_are_enough(self, hand_clock: HandClock) -> None:
        """While two wait for their slots, every slot is taken, and no other connection need be begun."""
        rate = RateLimiter(1)
        rate.wait()
        asleep, go_on = threading.Event(), threading.Event()

        def sleep_on() -> None:
            asleep.set()
            go_on.wait(10)

        hand_clock.on_sleep = sleep_on
        threads = [threading.Thread(target=rate.wait) for _ in range(2)]
        for thread in threads:
            thread.start()
        asleep.wait(10)
        while rate.wait_for_short_queue(0):
            time.sleep(0.001)  # until the second waits, too
        go_on.set()
        for thread in threads:
            thread.join(10)
        assert rate.wait_for_short_queue(0)
