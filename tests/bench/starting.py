"""How long a function takes from the start of its process, against one that does nothing."""

import statistics
from collections.abc import Callable

from bench.report import Row, median, middle
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
    """Our function and the obvious one, each with the path and the cookie of a request, against an empty one.

    They are started in turn (A B C A B C …), so that what disturbs the machine disturbs all of them.
    """
    ratios, others = [], []
    with stage() as made, obvious_store() as setting:
        callbacks = Callbacks(made)
        for _ in range(1 + _PAIRS):
            empty, _ = from_start(made, EMPTY)
            measured, _ = from_start(made, OURS, *ours(callbacks))
            theirs, _ = from_start(made, OBVIOUS, *obvious(callbacks), OBVIOUS_PYTHON, setting)
            ratios.append(measured / empty)
            others.append(theirs / empty)
    del ratios[0], others[0]  # what is compiled to byte code once is not counted
    against = f"an empty function's first answer (the obvious way: {median(others, ' ×')}, {middle(others)})"
    bars = {"": statistics.median(ratios), "the obvious way": statistics.median(others)}
    return [Row(what, against, median(ratios, " ×"), middle(ratios), reach, bars)]
