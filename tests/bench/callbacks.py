"""What a callback on a warm instance costs: calls one after the other, and CPU time of its own."""

from __future__ import annotations

import sys
import time

from bench.figures import Row, percentile, spread
from bench.scene import OBVIOUS, OBVIOUS_PYTHON, OURS, Callbacks, in_process, obvious_store, stage
from emulators.serving import Call, Fault
from stage import Stage

_STORE, _TIKTOK = 0.04, 0.3  # seconds that a call takes
_TIMES = 9
_CALLBACKS = 200
_ROUNDS = 3


def one_after_the_other() -> list[Row]:
    """The longest chain of calls of a warm callback, each begun when the one before was answered."""
    rows = []
    with stage() as made:
        warm = made.browser()
        warm.come_back(made.code(), warm.begin(made.link("warm")))
        made.secrets.add_fault(Fault(times=None, do="delay", seconds=_STORE))
        made.tiktok.add_fault(Fault(times=None, do="delay", seconds=_TIKTOK))
        for what, names in (
            ("a new connection", [f"new{number}" for number in range(_TIMES)]),
            ("a re-connection", ["warm"] * _TIMES),
        ):
            chains, seconds = [], []
            for name in names:
                chain, took = _chain(made, name)
                chains.append(chain)
                seconds.append(took)
            longest = max(chains, key=len)
            whole = spread(seconds)
            rows.append(
                Row(
                    f"a warm callback of {what}, Secret Manager at 40 ms and TikTok at 300 ms a call",
                    " → ".join(longest),
                    f"{len(longest)} calls one after the other",
                    f"{whole.text(' ms', 0, 1000)} ({whole.middle(' ms', 0, 1000)})",
                    "5",
                )
            )
    return rows


def _chain(made: Stage, name: str) -> tuple[list[str], float]:
    browser = made.browser()
    state, code = browser.begin(made.link(name)), made.code()
    for server in (made.secrets, made.tiktok):
        server.forget_calls()
    began = time.perf_counter()
    answer = browser.come_back(code, state)
    took = time.perf_counter() - began
    assert answer.status_code == 303, answer.text
    calls = [(call, _STORE) for call in made.secrets.calls] + [(call, _TIKTOK) for call in made.tiktok.calls]
    chain: list[Call] = []
    free_from = 0.0
    for call, seconds in sorted(calls, key=lambda pair: pair[0].at + pair[1]):  # the most that do not overlap
        if call.at >= free_from and not (call.name == "TestIamPermissions" and _beside(call, made.secrets.calls)):
            chain.append(call)
            free_from = call.at + seconds
    return [call.name for call in chain], took


def _beside(call: Call, calls: list[Call]) -> bool:
    """Whether the lease is written at the same time, which is the one to name."""
    return any(other.name == "UpdateSecret" and abs(other.at - call.at) < _STORE / 2 for other in calls)


def own_time() -> list[Row]:
    """CPU time of a callback, HTTP client included, against the obvious way's, for each call that it makes."""
    ours: list[list[float]] = []
    theirs: list[list[float]] = []
    with stage() as made, obvious_store() as setting:
        callbacks = Callbacks(made)
        for _ in range(_ROUNDS):
            batch = [callbacks.next() for _ in range(_CALLBACKS)]
            made.secrets.forget_calls()
            made.tiktok.forget_calls()
            ours += _warm(in_process(made, OURS, batch, sys.executable, {}))
            calls = (len(made.secrets.calls) + len(made.tiktok.calls)) / _CALLBACKS
            batch = [callbacks.next_obvious() for _ in range(_CALLBACKS)]
            theirs += _warm(in_process(made, OBVIOUS, batch, OBVIOUS_PYTHON, setting))
    return [
        _own_row("a callback's own CPU time", ours, calls),
        _own_row("the obvious way's, no state, no lease", theirs, 3),
    ]


def _warm(measured: list[list[float]]) -> list[list[float]]:
    assert all(status in {200, 303} for _, _, status in measured), measured
    return measured[20:]


def _own_row(what: str, measured: list[list[float]], calls: float) -> Row:
    cpu = [one[0] for one in measured]
    middle = spread(cpu)
    return Row(
        what,
        f"{calls:.0f} calls: {middle.median / calls * 1000:.2f} ms a call",
        f"p50 {middle.median * 1000:.1f} ms, p99 {percentile(cpu, 99) * 1000:.1f} ms",
        f"{middle.middle(' ms', 1, 1000)}; {1 / (sum(cpu) / len(cpu)):.0f} callbacks a second on one core",
        "p50 under 8 ms, less a call than the obvious way" if calls > 3 else "",
    )
