"""Working through tasks with many threads: when the next one is begun.

That each is worked on in order, an error stays its own and a run ends in time is in `reliability/test_runs`, that the
log of the threads carries the run's trace in `flow/test_refresh`.
"""

import threading

from tokenkeeper.refresh.passes import one_pass


def test_the_next_one_is_begun_when_that_is_allowed() -> None:
    """It is asked again and again, and told whether others are under way."""
    asked: list[bool] = []
    done: set[str] = set()
    go_on = threading.Event()

    def may_begin(under_way: bool) -> bool:
        asked.append(under_way)
        if len(asked) == 4:
            go_on.set()
        return len(asked) in {1, 4} or len(asked) > 4

    one_pass(
        "abcd",
        lambda _: go_on.wait(10),
        lambda task, _: done.add(task),
        at_once=8,
        between_starts=0,
        may_begin=may_begin,
        over=lambda: False,
    )
    assert done == set("abcd")
    assert asked[:4] == [False, True, True, True]


def test_no_more_are_begun_than_may_be_under_way() -> None:
    """What is not begun when time is over is left."""
    looked, go_on = [0], threading.Event()

    def over() -> bool:
        looked[0] += 1
        if looked[0] > 20:
            go_on.set()
        return looked[0] > 20

    assert one_pass("abcd", lambda _: go_on.wait(10), lambda *_: None, at_once=2, over=over) == ["c", "d"]
