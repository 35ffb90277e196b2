"""How fast a process calls TikTok: never more than so many calls a second, and fewer while TikTok complains.

Runs that overlap, or follow each other closely, share one pace. It also tells when another connection should be
started: while nobody stands in line for the next call, turns are being lost, however long TikTok takes to answer.
"""

from __future__ import annotations

import threading
from collections import deque

from tokenkeeper import clock

PATIENCE = 5  # complaints in a row, with pauses of 1, 2, 4 and 8 seconds between, after which a run gives up
_LINE = 2  # so many in line keep every turn taken
_SLOWEST = 16.0
_MARGIN = 0.03  # seconds of each second: one turn may come this late and the next in time, and no second has one more
_LATENESS = 0.01  # seconds that one who woke late does not cost the others
_LONGEST_NAP = 0.5  # seconds; a pause may be made longer while somebody sleeps through it


class Pace:
    """Spaces calls evenly over all threads, and over all runs."""

    def __init__(self, calls_per_second: float) -> None:
        self._interval = (1.0 + _MARGIN) / calls_per_second
        self._slowness = 1.0
        self._next = clock.monotonic()
        self._complaints = 0
        self._paused_until = self._next
        self._state = threading.Condition()
        self._line: deque[object] = deque()  # the first has the next turn

    def begin_run(self) -> None:
        """Have hope again, whatever TikTok complained of to an earlier run; a pause that it brought still lasts."""
        with self._state:
            self._complaints = 0
            self._slowness = 1.0

    def wait(self) -> None:
        """Return when the next call may be sent; who came first goes first."""
        ticket = object()
        with self._state:
            self._line.append(ticket)
        try:
            with self._state:
                self._state.wait_for(lambda: self._line[0] is ticket)
            while (left := self._next - clock.monotonic()) > 0:
                clock.sleep(min(left, _LONGEST_NAP))
            with self._state:
                interval = self._interval * self._slowness
                # Counted from the last turn, so that one who woke a little late costs nobody a turn; but turns that
                # nobody took are lost, not caught up with.
                self._next = max(self._next, clock.monotonic() - min(_LATENESS, interval / 4)) + interval
        finally:
            with self._state:
                self._line.remove(ticket)
                self._state.notify_all()

    def wait_for_gap(self, seconds: float) -> bool:
        """Wait until the line is so short that a turn may be lost.

        Args:
            seconds: The most to wait.

        Returns:
            Whether it is so short.
        """
        with self._state:
            return self._state.wait_for(lambda: len(self._line) < _LINE, seconds)

    def complained(self) -> None:
        """TikTok answered that there were too many calls: everybody pauses, longer each time, and goes on slower."""
        with self._state:
            now = clock.monotonic()
            if self._complaints and now < self._paused_until:
                return  # sent before the pause that the first complaint brought
            self._next = self._paused_until = now + 2.0**self._complaints
            self._complaints += 1
            self._slowness = min(self._slowness * 2, _SLOWEST)

    def satisfied(self) -> None:
        """TikTok answered otherwise: back to the usual pace, bit by bit."""
        with self._state:
            self._complaints = 0
            self._slowness = max(1.0, self._slowness * 0.8)

    @property
    def hopeless(self) -> bool:
        """Whether TikTok has complained so often that later is better than again."""
        return self._complaints >= PATIENCE
