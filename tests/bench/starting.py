"""How long a function takes from the start of its process, against one that does nothing."""

from __future__ import annotations

from bench.figures import Row, in_turn, ratios
from bench.scene import EMPTY, OBVIOUS, OBVIOUS_PYTHON, OURS, Callbacks, from_start, obvious_store, stage

_PAIRS = 15


def first_answer() -> list[Row]:
    """From the start of the process to the first answer of `connect`."""
    with stage() as made, obvious_store() as (_, setting):
        for source in (EMPTY, OURS):
            from_start(made, source)  # what is compiled to byte code once is not counted
        from_start(made, OBVIOUS, python=OBVIOUS_PYTHON, environment=setting)
        empty, ours, obvious = in_turn(
            _PAIRS,
            lambda: from_start(made, EMPTY),
            lambda: from_start(made, OURS),
            lambda: from_start(made, OBVIOUS, python=OBVIOUS_PYTHON, environment=setting),
        )
    ratio, theirs = ratios(ours, empty), ratios(obvious, empty)
    return [
        Row(
            "process start to first answer of `connect`",
            f"an empty function (the obvious way: {theirs.text(' ×')}, {theirs.middle()})",
            ratio.text(" ×"),
            ratio.middle(),
            "1.15 ×",
            ratio.median,
            1.15,
            (("the obvious way", theirs.median),),
        )
    ]


def cold_callback() -> list[Row]:
    """From the start of the process to a complete callback, with emulators that answer at once."""
    with stage() as made, obvious_store() as (_, setting):
        callbacks = Callbacks(made)

        def ours() -> float:
            return from_start(made, OURS, *callbacks.next())

        def obvious() -> float:
            return from_start(made, OBVIOUS, *callbacks.next_obvious(), OBVIOUS_PYTHON, setting)

        ours(), obvious()
        empty, cold, theirs = in_turn(_PAIRS, lambda: from_start(made, EMPTY), ours, obvious)
    ratio, other = ratios(cold, empty), ratios(theirs, empty)
    return [
        Row(
            "process start to a complete callback on a cold instance",
            f"an empty function's first answer (the obvious way: {other.text(' ×')}, {other.middle()})",
            ratio.text(" ×"),
            ratio.middle(),
            "2.0 ×",
            ratio.median,
            2.0,
            (("the obvious way", other.median),),
        )
    ]
