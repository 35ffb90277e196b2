"""The world of a simulated year: both functions, the road to the two services, and the services, near or far.

Far they are what they are in all other tests: servers on sockets, asked through Google's client and `requests`. Near
they are what `year_near` makes of them. What is told of a year in one world has to be told of it in the other, which a
test checks.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

from canaries import Canaries
from local.exchange import Fault
from local.secret_manager import Quotas, SecretManagerServer
from local.secret_manager.store import project_number
from local.tiktok import Options, TikTokServer
from local.tiktok.answers import refused
from local.tiktok.api import ENDPOINTS
from local.tiktok.options import ADVERTISERS
from reliability.quick import Died, Ears, QuickStage
from reliability.year_clock import Pool, Simulation, wait
from reliability.year_near import (
    GOOGLE_ACCESSES,
    GOOGLE_READS,
    GOOGLE_WRITES,
    TIKTOK_A_MINUTE,
    TIKTOK_QPS,
    NearSecretManager,
    NearTransport,
    Window,
)
from stage import APP_ID, APP_SECRET, REFRESH, TOKEN
from tokenkeeper.clock import Deadline
from tokenkeeper.connect import Connect
from tokenkeeper.refresh import Refresh
from tokenkeeper.secretmanager import SecretManager
from tokenkeeper.transport import Answer, Transport

TIKTOK_TAKES = (0.1, 0.5)  # seconds, at least and at most
GOOGLE_TAKES = (0.02, 0.12)
PASSING = 50000  # "System error."
T = TypeVar("T")


@dataclass
class Weather:
    """What is wrong in the world at a moment.

    Attributes:
        tiktok_away: Whether TikTok answers nothing but 503.
        google_away: The same of Secret Manager.
        hiccups: The share of TikTok's answers that are errors which pass.
    """

    tiktok_away: bool = False
    google_away: bool = False
    hiccups: float = 0.0


class Road:
    """What every call of the functions takes: time, perhaps the process's death, and a turn among the quotas."""

    def __init__(self, stage: YearStage, seed: int) -> None:
        self._stage = stage
        self._chance = random.Random(seed)
        self.tiktok_takes = TIKTOK_TAKES
        self.google_takes = GOOGLE_TAKES
        self.calls: Counter[str] = Counter()
        self.refused = 0

    def travel(self, takes: tuple[float, float], limit: float = math.inf) -> bool:
        """Take the time that a call takes, but no more than the caller has; the dead do not get far.

        Returns:
            Whether the answer is there by then.
        """
        least, most = takes
        seconds = least + (most - least) * self._chance.random()
        self._stage.clocks.sleep(min(seconds, limit))
        if self._stage.fate.dead:
            raise Died
        return seconds <= limit

    def hiccup(self, name: str) -> Answer | None:
        """The error that TikTok answers this call with, if it does."""
        share = self._stage.weather.hiccups
        if not share or self._chance.random() >= share:
            return None
        self.calls[name] += 1
        return Answer(200, refused(PASSING))


class FarSecretManager(SecretManager):
    """The real one, a road away."""

    road: Road

    def _call(self, what: str, attempt: Callable[[float], T], time: Deadline, **more: Any) -> T:
        def sent(limit: float) -> T:
            self.road.travel(self.road.google_takes)
            return attempt(limit)

        return super()._call(what, sent, time, **more)


class FarTransport(Transport):
    """The real one, a road away."""

    road: Road

    def get(self, url: str, query: Mapping[str, str], headers: Mapping[str, str], seconds: float) -> Answer:
        self.road.travel(self.road.tiktok_takes)
        return self.road.hiccup(ENDPOINTS[urlsplit(url).path][1]) or super().get(url, query, headers, seconds)

    def post(self, url: str, body: Mapping[str, object], seconds: float, *, fresh: bool = False) -> Answer:
        self.road.travel(self.road.tiktok_takes)
        return self.road.hiccup(ENDPOINTS[urlsplit(url).path][1]) or super().post(url, body, seconds, fresh=fresh)


class _NoCanaries(Canaries):
    """Hears nothing: the year's many lines are like those that all other tests listen to."""

    def keep(self, name: str, text: str, *, belongs_in: str = "") -> str:  # noqa: ARG002
        return text

    def hear(self, where: str, text: str) -> None:
        pass


@dataclass
class YearStage(QuickStage):
    """Both functions in simulated time, the services far or near."""

    clocks: Simulation = field(default_factory=Simulation)
    canaries: Canaries = field(default_factory=_NoCanaries)
    near: bool = False
    weather: Weather = field(default_factory=Weather)
    live: Counter[str] = field(default_factory=Counter)
    windows: dict[str, Window] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.ears = Ears(self.canaries)
        self.road = Road(self, seed=2026)
        self._number = project_number(self.project)
        self.changes = {"TIKTOK_MAX_QPS": "8"}
        self.tiktok.options = replace(self.tiktok.options, punish_reuse=True)
        for server in (self.secrets, self.tiktok):
            server.clock = lambda: self.clocks.timestamp
        if not self.near:
            self.secrets.set_quota(
                Quotas(
                    per_secret=True,
                    writes_per_minute=GOOGLE_WRITES,
                    reads_per_minute=GOOGLE_READS,
                    accesses_per_minute=GOOGLE_ACCESSES,
                )
            )

    @classmethod
    def without_sockets(cls, folder: Any) -> YearStage:
        """A stage whose servers serve nobody but the functions in here."""
        tiktok = TikTokServer(
            app_id=APP_ID, app_secret=APP_SECRET, port=8090, options=Options(advertisers=ADVERTISERS[:2])
        )
        return cls(folder, secrets=SecretManagerServer(port=8085), tiktok=tiktok, near=True)

    @classmethod
    def on_sockets(cls, folder: Any) -> YearStage:
        tiktok = TikTokServer(
            app_id=APP_ID,
            app_secret=APP_SECRET,
            options=Options(advertisers=ADVERTISERS[:2], qps=TIKTOK_QPS, per_minute=TIKTOK_A_MINUTE),
        )
        return cls(folder, tiktok=tiktok.start())

    def instance(self, target: str) -> Connect | Refresh:
        function = super().instance(target)
        secrets: SecretManager
        transport: Transport
        if self.near:
            secrets, transport = NearSecretManager(self), NearTransport(self)
        else:
            secrets, transport = FarSecretManager(self.project, self.secrets.address), FarTransport()
            secrets.road = transport.road = self.road
        function._vault.__dict__["secrets"] = secrets
        function._tiktok.__dict__["_transport"] = transport
        return function

    @contextmanager
    def in_place(self) -> Iterator[None]:
        with super().in_place(), self.clocks.everywhere():
            yield

    def become(self, weather: Weather) -> None:
        """The weather turns."""
        self.weather = weather
        if self.near:
            return
        for server, away in ((self.tiktok, weather.tiktok_away), (self.secrets, weather.google_away)):
            server.clear_faults()
            if away:
                server.add_fault(Fault(times=None, status=503, body=b""))

    def calls_since(self) -> Counter[str]:
        """The calls that reached the two services since this was asked last, and those that went wrong on the way."""
        calls = Counter(self.road.calls)
        self.road.calls.clear()
        for server in (self.secrets, self.tiktok):
            calls.update(call.name for call in server.calls)
            self.road.refused += sum(call.status == 429 for call in server.calls)
            server.forget_calls()
        return calls

    def living(self) -> Mapping[str, int]:
        """How many versions of each secret are not destroyed."""
        if self.near:
            return self.live
        return {
            kept.id: sum(version.state != "DESTROYED" for version in versions)
            for kept, versions in self.secrets._service.everything()
        }

    def newest(self, secret_id: str) -> tuple[int, bytes]:
        """Number and payload of the newest version, as it really is."""
        versions = self.secrets._service._entries[self._number, secret_id].versions
        version = versions[next(reversed(versions))]
        return version.number, version.sealed

    def run_twice(self) -> list[tuple[int, dict[str, Any]]]:
        """Two runs at once: by two instances that know nothing of each other."""
        pool = Pool(self.clocks)
        runs = [pool.submit(self.run), pool.submit(lambda: self.run(function=self.instance("refresh")))]
        while not all(run.finished for run in runs):
            wait([run for run in runs if not run.finished])
        return [run.result() for run in runs]

    def planted(self, name: str, kind: str, age_hours: float) -> None:
        """Put a connection into the store; see `plant`."""
        self.plant(name, kind, age_hours=age_hours)
        for secret_id in (TOKEN + name, REFRESH + name)[: 1 + (kind == "expiring")]:
            self.live[secret_id] = 1
