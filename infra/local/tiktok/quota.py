"""How many calls an app may make."""

import threading
from collections import deque
from collections.abc import Callable, Mapping

from local.tiktok.answers import Refusal


class Quota:
    """Lets an app make so many calls in a sliding window; refused ones do not count.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._taken: dict[tuple[str, int], deque[float]] = {}
        self._lock = threading.Lock()

    def take(self, app_id: str, limits: Mapping[int, tuple[int | None, int]]) -> None:
        """Counts a call.

        Args:
            app_id: whose call it is.
            limits: by the length of a window in seconds: the most calls (None for any number), and TikTok's code.

        Raises:
            Refusal: With the code of the limit that the call would exceed.
        """
        now = self._clock()
        with self._lock:
            windows = []
            for seconds, (most, code) in limits.items():
                if most is None:
                    continue
                window = self._taken.setdefault((app_id, seconds), deque())
                while window and now - window[0] >= seconds:
                    window.popleft()
                if len(window) >= most:
                    raise Refusal(code)
                windows.append(window)
            for window in windows:
                window.append(now)
