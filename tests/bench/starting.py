"""How long a function takes from the start of its process, against one that does nothing."""

from __future__ import annotations

from collections.abc import Callable

from bench.figures import Row, in_turn, ratios
from bench.scene import EMPTY, OBVIOUS, OBVIOUS_PYTHON, OURS, Callbacks, from_start, obvious_store, stage

_PAIRS = 15


def first_answer() -> list[Row]:
    """From the start of the process to the first answer of `connect`."""
    return _compared("process start to first answer of `connect`", "1.15 ×", lambda _: ("/", ""), lambda _: ("/", ""))


def cold_callback() -> list[Row]:
    """From the start of the process to a complete callback, with emulators that answer at once."""
    return _compared(
        "process start to a complete callback on a cold instance", "2.0 ×", Callbacks.next, Callbacks.next_obvious
    )


def _compared(
    what: str, reach: str, ours: Callable[[Callbacks], tuple[str, str]], obvious: Callable[[Callbacks], tuple[str, str]]
) -> list[Row]:
    """Our function and the obvious one, each with the path and the cookie of a request, against an empty one."""
    with stage() as made, obvious_store() as setting:
        callbacks = Callbacks(made)
        ways = (
            lambda: from_start(made, EMPTY),
            lambda: from_start(made, OURS, *ours(callbacks)),
            lambda: from_start(made, OBVIOUS, *obvious(callbacks), OBVIOUS_PYTHON, setting),
        )
        in_turn(1, *ways)  # what is compiled to byte code once is not counted
        empty, measured, theirs = in_turn(_PAIRS, *ways)
    ratio, other = ratios(measured, empty), ratios(theirs, empty)
    against = f"an empty function's first answer (the obvious way: {other.text(' ×')}, {other.middle()})"
    bars = {"": ratio.median, "the obvious way": other.median}
    return [Row(what, against, ratio.text(" ×"), ratio.middle(), reach, bars)]
