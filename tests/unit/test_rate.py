"""The rate of calls to TikTok: never more than so many in any second, and no slot lost to a thread that wakes late."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from tokenkeeper import clock
from tokenkeeper.refresh.rate import RateLimiter
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


@pytest.mark.usefixtures("hand_clock")
def test_throttling_pauses_and_slows_down() -> None:
    """A pause of a second, then half the rate, and step by step the usual one again."""
    rate = RateLimiter(10)
    sent(rate, 3)
    before = clock.monotonic()
    rate.throttled()
    times = sent(rate, 3)
    assert times[0] - before >= 1
    assert times[2] - times[1] >= 0.2
    for _ in range(10):
        rate.succeeded()
    times = sent(rate, 20)
    assert times[-1] - times[-2] < 0.11
