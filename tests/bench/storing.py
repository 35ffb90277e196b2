"""What the store is asked for a connection, what it keeps, and how much memory a large run takes."""

import threading

from bench.report import Row
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
        verified = _counted(made, f"{TOKEN}v")
        made.run({"connections": ["v0"]})
        for number in range(100):
            made.plant(f"e{number}", "expiring")
        for _ in range(8):
            made.later(hours=13)
            made.run()
        made.later(hours=13)
        refreshed = _counted(made, f"{TOKEN}e", f"{REFRESH}e")
    what, least = "calls to Secret Manager for a {} connection", "the least possible"
    destroying = "two of the writes destroy old versions; once a run, permission is asked for"
    return [
        Row(what.format("verified"), least, verified, "exact", "1 read, 0 writes"),
        Row(what.format("refreshed"), destroying, refreshed, "exact", "3 reads, 6 writes"),
    ]


def _counted(made: Stage, *secrets: str) -> str:
    """What one run asks for each of 100 connections."""
    made.secrets.forget_calls()
    made.run()
    own = [call for call in made.secrets.calls if any(secret in call.resource for secret in secrets)]
    own = [call for call in own if call.name != "TestIamPermissions"]  # once a run
    reads = sum(call.name.startswith(("Get", "Access", "List")) for call in own) / 100
    writes = len(own) / 100 - reads
    return f"{reads:g} read{'s' * (reads != 1)}, {writes:g} writes"


def versions() -> list[Row]:
    """How many versions a connection that expires has after more and more refreshes, with and without destroying."""
    with stage() as made:
        flat, growing = _kept(made, "2"), _kept(made, "10000")
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


def _kept(made: Stage, keep: str) -> list[int]:
    """How many versions there are after 6, 12 and 18 refreshes with this setting."""
    made.reset()
    made.plant("acme", "expiring")
    function = made.start("refresh", KEEP_VERSIONS=keep)
    counts = []
    for refreshes in range(1, 19):
        made.later(hours=13)
        made.run(function=function)
        if refreshes % 6 == 0:
            states = [state for versions in made.secrets.secrets().values() for state in versions.values()]
            counts.append(len(states) - states.count("DESTROYED"))
    return counts


def memory() -> list[Row]:
    """The most memory of all processes of `refresh` in a run over 10,000 connections, half of them expiring."""
    with stage() as made:
        _, empty = from_start(made, EMPTY)
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
