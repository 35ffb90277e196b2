"""Measures what the product is designed for in speed and size, all in one run on one machine.

`make bench` runs it. Times on a shared machine say little; ratios, counts and sizes say more. Nothing here is a test.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from local.serving import Fault
from stage import APP_ID, APP_SECRET, PROJECT, TOKEN, Function, Stage, free_port
from tokenkeeper.clock import Deadline
from tokenkeeper.secrecy import Secret
from tokenkeeper.secretmanager import SecretManager
from tokenkeeper.tiktok import TikTok
from tokenkeeper.vault import ADD_VERSIONS

EMPTY = """
import functions_framework

@functions_framework.http
def connect(request):
    return "nothing"
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder))
        try:
            print(f"{'what':<52} {'measured':>12}  designed for")
            start_up(stage, Path(folder))
            callback(stage)
            verification(stage)
            for qps, latency in ((8, 0.0), (8, 5.0), (50, 1.0)):
                pace(stage, qps, latency)
            memory(stage, 10_000)
        finally:
            stage.close()


def row(what: str, measured: str, designed: str) -> None:
    print(f"{what:<52} {measured:>12}  {designed}", flush=True)


def start_up(stage: Stage, folder: Path) -> None:
    empty = folder / "empty" / "main.py"
    empty.parent.mkdir()
    empty.write_text(EMPTY)
    ours = Path(__file__).parents[2] / "functions" / "main.py"
    ratios = [first_answer(stage, ours) / first_answer(stage, empty) for _ in range(7)]
    row("start to first answer, against an empty function", f"{statistics.median(ratios):.2f}", "at most 1.4")


def first_answer(stage: Stage, source: Path) -> float:
    began = time.perf_counter()
    environment = stage.environment(port := free_port())
    process = subprocess.Popen(
        [sys.executable, "-m", "functions_framework", "--target=connect", f"--source={source}", "--host=127.0.0.1"],
        env=environment,
        start_new_session=True,
    )
    try:
        while True:
            try:
                requests.get(f"http://127.0.0.1:{port}/", timeout=10)
                return time.perf_counter() - began
            except requests.ConnectionError:
                time.sleep(0.002)
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def callback(stage: Stage) -> None:
    stage.reset()
    own: list[float] = []
    price = prices(stage)
    for number in range(30):
        browser = stage.browser()
        state, code = browser.begin(stage.link(f"c{number}")), stage.code()
        stage.secrets.forget_calls()
        stage.tiktok.forget_calls()
        took = timed(lambda: browser.come_back(code, state))  # noqa: B023 - called at once
        calls = [call.name for call in (*stage.secrets.calls, *stage.tiktok.calls)]
        own.append(took - sum(price[name] for name in calls))
    row(
        f"callback, beside its {len(calls)} calls to Secret Manager and TikTok",
        f"{statistics.median(own[5:]) * 1000:.1f} ms",
        "at most 10 ms",
    )


def prices(stage: Stage) -> dict[str, float]:
    """What each kind of call costs the caller, Google's client included, against the same stand-ins."""
    secrets, tiktok = (
        SecretManager(PROJECT, stage.secrets.address),
        TikTok(stage.tiktok.api_url, APP_ID, Secret(APP_SECRET)),
    )
    token = Secret(stage.tiktok.grant("long-lived").access_token)
    time_ = Deadline(600)
    names = iter(range(1000))

    def update() -> None:
        secrets.update("price", {}, {"at": str(next(names))}, "", time_)

    secrets.create("price", {}, {}, time_)
    actions: dict[str, Callable[[], object]] = {
        "CreateSecret": lambda: secrets.create(f"price-{next(names)}", {}, {}, time_),
        "GetSecret": lambda: secrets.get("price", time_),
        "UpdateSecret": update,
        "TestIamPermissions": lambda: secrets.permitted("price", [ADD_VERSIONS], time_),
        "AddSecretVersion": lambda: secrets.add("price", b"x" * 300, time_),
        "access_token": lambda: tiktok.exchange(Secret(stage.code())),
        "advertiser_get": lambda: tiktok.advertisers(token),
    }
    return {name: statistics.median(timed(action) for _ in range(30)) for name, action in actions.items()}


def timed(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def verification(stage: Stage) -> None:
    stage.reset()
    for number in range(100):
        stage.plant(f"c{number:03}")
    stage.run()
    stage.secrets.forget_calls()
    stage.run()
    reads = stage.secrets.count("AccessSecretVersion") / 100
    # The list and what is noted of the run itself belong to no connection.
    writes = len(
        [call for call in stage.secrets.calls if call.name.startswith(("Add", "Update")) and TOKEN in call.resource]
    )
    row("a verified, unchanged connection", f"{reads:g} / {writes:g}", "1 read, 0 writes")


def pace(stage: Stage, qps: int, latency: float) -> None:
    stage.reset()
    count = max(60, int(qps * (latency + 6)))
    for number in range(count):
        stage.plant(f"c{number:04}")
    if latency:
        stage.tiktok.add_fault(Fault(call="advertiser_get", times=None, do="delay", seconds=latency))
    function = stage.start_cold("refresh", TIKTOK_MAX_QPS=str(qps))
    stage.run(function=function)
    arrivals = sorted(call.at for call in stage.tiktok.calls)
    filled = (len(arrivals) - 1) / (arrivals[-1] - arrivals[0]) / qps
    most = stage.tiktok.max_in_window(1.0)
    row(f"TIKTOK_MAX_QPS={qps} filled, TikTok taking {latency:g} s", f"{filled:.1%}", f"95 %; most in a second: {most}")


def memory(stage: Stage, count: int) -> None:
    stage.reset()
    for number in range(count):
        stage.plant(f"c{number:05}", "expiring" if number % 2 else "long-lived")
    function = stage.start_cold("refresh", TIKTOK_MAX_QPS="1000", RUN_BUDGET_SECONDS="600")
    with watched(function) as sizes:
        stage.run(function=function)
    row(f"memory of all processes, run over {count} connections", f"{max(sizes) / 1024:.0f} MiB", "under 160 MiB")


@contextmanager
def watched(function: Function) -> Iterator[list[int]]:
    """Sizes in KiB, shared pages counted in each process that has them."""
    sizes: list[int] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.2):
            listing = subprocess.run(["ps", "-eo", "pgid=,rss="], capture_output=True, text=True, check=True).stdout
            pairs = [line.split() for line in listing.splitlines()]
            sizes.append(sum(int(size) for group, size in pairs if group == str(function.process.pid)))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield sizes
    finally:
        over.set()
        thread.join()


if __name__ == "__main__":
    main()
