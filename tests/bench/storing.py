"""What the store is asked for a connection, what it keeps, and how much memory a large run takes."""

from __future__ import annotations

import threading

from bench.figures import Row
from bench.scene import EMPTY, from_start, group_memory, stage
from stage import REFRESH, TOKEN, Stage

_PRICE = 0.06  # dollars a month for each version that is not destroyed
_REFRESHES_A_YEAR = 730


def calls_per_connection() -> list[Row]:
    """Reads and writes of the connection's own secrets, in a run that finds nothing new, and in one that refreshes."""
    with stage() as made:
        for number in range(100):
            made.plant(f"v{number}")
        made.run()
        verified = _counted(made, 100)
        made.run({"connections": ["v0"]})
        for number in range(100):
            made.plant(f"e{number}", "expiring")
        for _ in range(8):
            made.later(hours=13)
            made.run()
        refreshed = _counted(made, 100, hours=13)
    what, least = "calls to Secret Manager for a {} connection", "the least possible"
    destroying = "two of the writes destroy old versions; once a run, permission is asked for"
    return [
        Row(what.format("verified"), least, verified, "exact", "1 read, 0 writes"),
        Row(what.format("refreshed"), destroying, refreshed, "exact", "3 reads, 6 writes"),
    ]


def _counted(made: Stage, connections: int, hours: float = 0) -> str:
    if hours:
        made.later(hours=hours)
    made.secrets.forget_calls()
    made.run()
    of = (f"{TOKEN}e", f"{REFRESH}e") if hours else (f"{TOKEN}v",)
    own = [call for call in made.secrets.calls if any(secret in call.resource for secret in of)]
    own = [call for call in own if call.name != "TestIamPermissions"]  # once a run
    reads = sum(call.name.startswith(("Get", "Access", "List")) for call in own) / connections
    writes = len(own) / connections - reads
    return f"{reads:g} read{'s' * (reads != 1)}, {writes:g} writes"


def versions() -> list[Row]:
    """How many versions a connection that expires has after more and more refreshes, with and without destroying."""
    found: dict[str, list[int]] = {}
    with stage() as made:
        for keep in ("2", "10000"):
            made.reset()
            made.plant("acme", "expiring")
            function = made.start("refresh", KEEP_VERSIONS=keep)
            counts = []
            for _ in range(3):
                for _ in range(6):
                    made.later(hours=13)
                    made.run(function=function)
                counts.append(_kept(made))
            function.stop()
            found[keep] = counts
    flat, growing = found["2"], found["10000"]
    a_year = growing[0] + (growing[1] - growing[0]) / 6 * (_REFRESHES_A_YEAR - 6)
    return [
        Row(
            "versions of a refreshed connection after 6, 12 and 18 refreshes",
            f"without destroying: {', '.join(map(str, growing))}, so ${a_year * _PRICE:,.0f} a month after a year",
            f"{', '.join(map(str, flat))}: ${flat[-1] * _PRICE:.2f} a month",
            "exact",
            "flat",
        )
    ]


def _kept(made: Stage) -> int:
    return sum(
        len(made.secrets.payloads(secret_id)) - len(made.secrets.destroyed(secret_id))
        for secret_id in (f"{TOKEN}acme", f"{REFRESH}acme")
    )


def memory() -> list[Row]:
    """The most memory of all processes of `refresh` in a run over 10,000 connections, half of them expiring."""
    with stage() as made:
        empty = _idle_memory(made)
        for number in range(10_000):
            made.plant(f"c{number:05}", "expiring" if number % 2 else "long-lived")
        function = made.start_cold("refresh", TIKTOK_MAX_QPS="1000", RUN_BUDGET_SECONDS="20")
        sizes, over = [0.0], threading.Event()

        def watch() -> None:
            while not over.wait(0.2):
                sizes.append(group_memory(function.process.pid))

        watching = threading.Thread(target=watch)
        watching.start()
        _, summary = made.run(function=function)
        over.set()
        watching.join()
    return [
        Row(
            "memory of all processes, run over 10,000 connections",
            f"an empty function: {empty:.0f} MiB",
            f"{max(sizes):.0f} MiB",
            f"the most of {len(sizes)} looks; {summary['verified']:,} verified; shared pages count in each process",
            "96 MiB",
        )
    ]


def _idle_memory(made: Stage) -> float:
    """The same of an empty function."""
    sizes: list[float] = []
    from_start(made, EMPTY, look=lambda group: sizes.append(group_memory(group)))
    return sizes[0]
