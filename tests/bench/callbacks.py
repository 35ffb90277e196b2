"""What a callback on a warm instance costs: calls one after the other, and CPU time of its own."""

import statistics
import sys
import time

from bench.report import Row, median, middle
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
        assert made.approve("warm").status_code == 303
        made.secrets.add_fault(Fault(times=None, do="delay", seconds=_STORE))
        made.tiktok.add_fault(Fault(times=None, do="delay", seconds=_TIKTOK))
        new, again = [f"new{number}" for number in range(_TIMES)], ["warm"] * _TIMES
        for what, names in (("a new connection", new), ("a re-connection", again)):
            chains, milliseconds = zip(*(_chain(made, name) for name in names), strict=True)
            longest = max(chains, key=len)
            rows.append(
                Row(
                    f"a warm callback of {what}, Secret Manager at 40 ms and TikTok at 300 ms a call",
                    " → ".join(longest),
                    f"{len(longest)} calls one after the other",
                    f"{median(milliseconds, ' ms', 0)} ({middle(milliseconds, ' ms', 0)})",
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
    took = (time.perf_counter() - began) * 1000
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
    ours: list[float] = []
    theirs: list[float] = []
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
        _own_row("a callback's own CPU time", ours, calls, "p50 under 8 ms, less a call than the obvious way"),
        _own_row("the obvious way's, no state, no lease", theirs, 3, ""),
    ]


def _warm(measured: list[tuple[float, int]]) -> list[float]:
    """Milliseconds of the requests of a warm instance."""
    assert {status for _, status in measured} <= {200, 303}, measured
    return [seconds * 1000 for seconds, _ in measured[20:]]


def _own_row(what: str, cpu: list[float], calls: float, reach: str) -> Row:
    p50, p99 = statistics.median(cpu), sorted(cpu)[len(cpu) * 99 // 100]
    return Row(
        what,
        f"{calls:.0f} calls: {p50 / calls:.2f} ms a call",
        f"p50 {p50:.1f} ms, p99 {p99:.1f} ms",
        f"{middle(cpu, ' ms', 1)}; {1000 / statistics.mean(cpu):.0f} callbacks a second on one core",
        reach,
    )
