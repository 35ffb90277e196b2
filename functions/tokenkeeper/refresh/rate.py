"""How fast a process calls TikTok: never more than so many calls in any second, and fewer while TikTok throttles.

Runs that overlap, or follow each other closely, share one rate limit. It also tells when another connection should be
started: while nobody is in the queue for the next call, slots are being lost, however long TikTok takes to answer.
"""

from __future__ import annotations

import math
import threading
from collections import deque

from tokenkeeper import clock
from tokenkeeper.tiktok.api import RateLimit

MOST_THROTTLED = 5  # answers in a row, with pauses of 1, 2, 4 and 8 seconds between, after which a run gives up
_QUEUE = 0.2  # seconds of slots that have somebody waiting: a connection's first calls to Secret Manager take a while
_SLOWEST = 16.0
_MARGIN = 0.018  # seconds of each second that the timetable leaves, so that late calls cost no later one
_APART = 0.012  # seconds of them that the second rule keeps: one call may take so much longer to TikTok than another
_LONGEST_SLEEP = 0.5  # seconds; a pause may be made longer while somebody sleeps through it


class RateLimiter(RateLimit):
    """Spaces calls evenly over all threads, and over all runs.

    Slots follow a timetable: one who wakes late, because the machine is busy, leaves the next slot where it was; slots
    that nobody was there to take are lost. What keeps calls that were late and calls that are in time from coming
    together is a second rule: as many calls ago as a second may have, the call has to be a second old.
    """

    def __init__(self, calls_per_second: float) -> None:
        """Set up with the most calls a second."""
        most = max(1, math.floor(calls_per_second))
        self._interval = (1.0 + _MARGIN) / calls_per_second
        self._window = max(1.0, most / calls_per_second) + _APART
        self._sent: deque[list[float]] = deque(maxlen=most)  # when each call was sent, corrected once
        self._enough = max(2, math.ceil(calls_per_second * _QUEUE))
        self._slowness = 1.0
        self._next = clock.monotonic()
        self._throttled_in_a_row = 0
        self._paused_until = self._next
        self._state = threading.Condition()
        self._queue: deque[threading.Event] = deque()  # the first, whose event is set, has the next slot

    def begin_run(self) -> None:
        """Forget what an earlier run was throttled for; a pause that it brought still lasts."""
        with self._state:
            self._throttled_in_a_row = 0
            self._slowness = 1.0

    def wait(self) -> None:
        """Return when the next call may be sent; who came first goes first."""
        turn, came_at = threading.Event(), clock.monotonic()
        with self._state:
            self._queue.append(turn)
            self._queue[0].set()
        try:
            turn.wait()
            while (left := self._earliest() - clock.monotonic()) > 0:
                clock.sleep(min(left, _LONGEST_SLEEP))
            with self._state:
                self._next = max(self._next, came_at) + self._interval * self._slowness
                sent = [clock.monotonic()]
                self._sent.append(sent)
        finally:
            with self._state:
                self._queue.remove(turn)
                if self._queue:
                    self._queue[0].set()
                self._state.notify_all()
        sent[0] = clock.monotonic()  # waking the others may have taken a moment

    def _earliest(self) -> float:
        full = len(self._sent) == self._sent.maxlen
        return max(self._next, self._sent[0][0] + self._window) if full else self._next

    def wait_for_short_queue(self, seconds: float) -> bool:
        """Wait at most so long until the queue is so short that a slot may be lost; returns whether it is."""
        with self._state:
            return self._state.wait_for(lambda: len(self._queue) < self._enough, seconds)

    def throttled(self) -> None:
        """TikTok answered that there were too many calls: all pause, longer each time, and go on slower."""
        with self._state:
            now = clock.monotonic()
            if self._throttled_in_a_row and now < self._paused_until:
                return  # sent before the pause that the first such answer brought
            self._next = self._paused_until = now + 2.0**self._throttled_in_a_row
            self._throttled_in_a_row += 1
            self._slowness = min(self._slowness * 2, _SLOWEST)

    def succeeded(self) -> None:
        """TikTok answered otherwise: back to the usual rate, step by step."""
        with self._state:
            self._throttled_in_a_row = 0
            self._slowness = max(1.0, self._slowness * 0.8)

    @property
    def exhausted(self) -> bool:
        """Whether TikTok has throttled so often in a row that later is better than again."""
        return self._throttled_in_a_row >= MOST_THROTTLED
