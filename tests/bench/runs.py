"""How long a run takes, against connections ÷ TIKTOK_MAX_QPS, whatever TikTok's latency.

Secret Manager and TikTok are passed in, without sockets, so that the machine has nothing to do but the product's part.
Time is counted from the first call to TikTok to the last: the list before and the last answer are not the rate's.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from bench.report import Row
from stage import APP_ID, PROJECT
from tokenkeeper import clock, grant, log, payload, settings, transitions
from tokenkeeper.clock import Deadline
from tokenkeeper.connection import Connection, base_labels
from tokenkeeper.errors import SecretMissing
from tokenkeeper.grant import TokenResponse
from tokenkeeper.refresh.app import Refresh
from tokenkeeper.refresh.rate import RateLimiter
from tokenkeeper.refresh.request import RunRequest
from tokenkeeper.secret import Secret
from tokenkeeper.store.documents import StoredSecret
from tokenkeeper.store.vault import Vault
from tokenkeeper.store.versions import Version
from tokenkeeper.tiktok.families import TikTok
from tokenkeeper.tiktok.transport import Answer

_STORE = 0.01  # seconds that a call to Secret Manager takes
_LATENCIES = (0.05, 0.3, 1.0)


@dataclass
class Secrets:
    """Long-lived connections, as many as asked for; reads only."""

    stored: dict[str, tuple[StoredSecret, bytes]] = field(default_factory=dict)
    throttled: bool = False
    project: str = PROJECT

    def plant(self, name: str) -> None:
        """One connection."""
        answer = TokenResponse(Secret(f"token-{name}"), advertiser_ids=("7001",), scope=(4,))
        at = clock.now() - timedelta(days=1)
        made = grant.first(answer, connection=name, app_id=APP_ID, family="advertiser", asked_at=at)
        state = transitions.connected(Connection(name, {}, {}), made, at, "", base_labels("token", name)).connection
        state = state.with_(annotations={"advertiser-names": None})
        secret = StoredSecret(f"tiktok-ads-token-{name}", state.labels, state.annotations, "etag")
        self.stored[secret.id] = secret, payload.of_token(made)

    def list(self, _part: str, _deadline: Deadline) -> Iterator[StoredSecret]:
        """All of them."""
        time.sleep(_STORE)
        yield from (secret for secret, _ in self.stored.values())

    def access(self, secret_id: str, _version: int | str, _deadline: Deadline) -> Version:
        """The only version."""
        time.sleep(_STORE)
        return Version(1, self.stored[secret_id][1])

    def get(self, secret_id: str, _deadline: Deadline) -> StoredSecret:
        """None but the keeper's is asked for."""
        raise SecretMissing("none", secret_id)

    def create(self, secret_id: str, *_: object) -> StoredSecret:
        """The keeper's."""
        return StoredSecret(secret_id, {}, {}, "etag")


class SlowTikTok:
    """Answers that all is well, after a while."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.sent: list[float] = []

    def send(self, *_: object, **__: object) -> Answer:
        """The list of advertisers."""
        self.sent.append(time.monotonic())
        time.sleep(self._seconds)
        advertisers = [{"advertiser_id": "7001", "advertiser_name": ""}]
        return Answer(200, {"code": 0, "message": "OK", "request_id": "1", "data": {"list": advertisers}})


def over(connections: int, qps: int, *, busy: bool = False) -> list[Row]:
    """So many connections, on a machine that is otherwise idle, or while it is busy."""
    secrets = Secrets()
    for number in range(connections):
        secrets.plant(f"c{number:05}")
    with _busy() if busy else nullcontext():
        found = [(latency, *_run(secrets, qps, latency)) for latency in _LATENCIES]
    worst = max(ratio for _, ratio, _ in found)
    return [
        Row(
            f"a run over {connections:,} connections{', the machine busy' if busy else ''}, TIKTOK_MAX_QPS={qps}",
            "connections ÷ TIKTOK_MAX_QPS",
            f"{worst:.3f} ×",
            "; ".join(f"{latency * 1000:.0f} ms: {ratio:.3f} ×" for latency, ratio, _ in found)
            + f"; most in a second: {max(most for *_, most in found)}",
            "1.02 ×",
            {"": worst},
        )
    ]


def _run(secrets: Secrets, qps: int, latency: float) -> tuple[float, int]:
    log.write_to(open("/dev/null", "w"))  # noqa: SIM115, PTH123
    app = {"TIKTOK_APP_ID": APP_ID, "TIKTOK_APP_SECRET": "x" * 40}
    chosen = settings.read(settings.REFRESH, {"GOOGLE_CLOUD_PROJECT": PROJECT, "TIKTOK_MAX_QPS": str(qps), **app})
    tiktok: Any = SlowTikTok(latency)
    store: Any = secrets
    rate = RateLimiter(qps)
    function = Refresh(chosen, Vault(chosen, store), TikTok(chosen, rate, tiktok), rate)
    summary = function.run(RunRequest())
    sent = sorted(tiktok.sent)
    assert summary.document()["verified"] == len(sent) == len(secrets.stored), summary.document()
    most = max(sum(1 for at in sent[first : first + 2 * qps + 2] if at < sent[first] + 1) for first in range(len(sent)))
    return (sent[-1] - sent[0]) / ((len(sent) - 1) / qps), most


@contextmanager
def _busy() -> Iterator[None]:
    """Every core has something else to do."""
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()
