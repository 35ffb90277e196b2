"""What goes wrong with calls on demand: the faults that are set, what they did so far, and the calls they hold."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from local.exchange import Call, Fault, When


@dataclass
class _Armed:
    """A fault with the number of calls that matched it so far."""

    fault: Fault
    matched: int = 0

    def acts_on(self, call: Call) -> bool:
        """Whether the fault acts on this call, which counts it."""
        if not self.fault.matches(call):
            return False
        self.matched += 1
        acted = self.matched - self.fault.skip
        return acted > 0 and (self.fault.times is None or acted <= self.fault.times)


class Faults:
    """The faults of a server, for many threads."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._armed: list[_Armed] = []
        self._held: dict[str, int] = {}
        self._released: set[str] = set()
        self._generation = 0

    def add_fault(self, fault: Fault) -> None:
        """From now on the fault acts on calls that match it."""
        with self._changed:
            self._armed.append(_Armed(fault))

    def clear_faults(self) -> None:
        """Forgets all faults and releases; held calls go on, and names of holds can be used again."""
        with self._changed:
            self._armed.clear()
            self._released.clear()
            self._generation += 1
            self._changed.notify_all()

    def wait_held(self, hold: str, timeout: float = 20) -> None:
        """Waits until a call is held under that name.

        Raises:
            TimeoutError: None was within ``timeout`` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._held.get(hold, 0) > 0, timeout):
                raise TimeoutError(f"No call was held under {hold!r} within {timeout} seconds.")

    def release(self, hold: str) -> None:
        """Lets the calls held under that name go on, and every later one."""
        with self._changed:
            self._released.add(hold)
            self._changed.notify_all()

    @property
    def held(self) -> dict[str, int]:
        """How many calls are held at the moment, by the name of the hold."""
        with self._changed:
            return {name: number for name, number in self._held.items() if number}

    def pause(self, seconds: float) -> bool:
        """Waits; True at once where the server is being stopped."""
        return self._stopping.wait(seconds)

    def _stop_waiting(self) -> None:
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()

    def _fault_of(self, call: Call, when: When, generation: int) -> Fault | None:
        """Lets delays and holds pass; the first fault that ends the call, if any.

        Faults that were added after those of the call's arrival had been cleared do not concern it.
        """
        position = 0
        while True:
            with self._changed:
                if self._generation != generation:
                    return None
                fault = None
                while position < len(self._armed) and fault is None:
                    armed = self._armed[position]
                    position += 1
                    if armed.fault.when == when and armed.acts_on(call):
                        fault = armed.fault
            if fault is None:
                return None
            if fault.do == "delay":
                self.pause(fault.seconds)
            elif fault.do == "hold":
                self._wait_for_release(fault.hold, generation)
            else:
                return fault

    def _wait_for_release(self, hold: str, generation: int) -> None:
        with self._changed:
            self._held[hold] = self._held.get(hold, 0) + 1
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: hold in self._released or self._generation != generation or self._stopping.is_set()
            )
            self._held[hold] -= 1
