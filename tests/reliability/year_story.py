"""The story of a bad year: four runs a day, both kinds of grant, readers that look, and all that goes wrong.

Each reader looks twice a run: after it, and right before the next.

TikTok is away for 36 and for 12 hours, and errs in one of twenty calls on two days. Secret Manager is away three times
for three hours. Cloud Scheduler skips 2 % of the runs and doubles 2 %, both at once; what fails it calls again as it is
configured to. Half a percent of the runs are killed at a random call. 3 % of the advertisers cancel on a random day,
5 % take an ad account away, refresh tokens end, and the operator sends a link within two days of an alert.
"""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from reliability.year_world import Weather, YearStage
from stage import REFRESH, TOKEN
from tokenkeeper import clock

RUNS_A_DAY = 4
TIKTOK_AWAY = ((60.3, 36), (200.55, 12))  # day, hours
GOOGLE_AWAY = ((30.2, 3), (150.48, 3), (300.73, 3))
HICCUPS = ((100.0, 24), (250.0, 24))
HICCUP = 0.05
SKIPPED, DOUBLED, KILLED, CANCELLING, CHANGING = 0.02, 0.02, 0.005, 0.03, 0.05
TRIED_AGAIN = (300, 600, 1200)  # seconds, as infra/gcp configures Cloud Scheduler
ANSWERS_AFTER = (0.1, 1.9)  # days, until the operator's link is followed
YEAR = 31_536_000
TOKEN_LIFE = 86_400

CANCELLED, TIKTOK, KILL, OURS = "advertiser cancelled", "TikTok away", "run killed", "ours"

# Google's prices in dollars, as in infra/gcp/README.md.
VERSION_A_MONTH, ACCESS, SECOND, SCHEDULER_A_MONTH = 0.06, 0.03 / 10_000, 0.000024 + 0.5 * 0.0000025, 0.10


@dataclass
class Day:
    """What one day brought.

    Attributes:
        tiktok: Calls to TikTok.
        google: Calls to Secret Manager.
        accesses: Those of them that read a version.
        versions: Undestroyed versions at its end.
        without: The most readers without a working token at once, by whose doing that was.
        alerts: Log entries of severity ERROR or CRITICAL, by event.
        recoveries: Connections that were failing or needed a person, and work again.
        seconds: Length of its runs.
    """

    tiktok: int = 0
    google: int = 0
    accesses: int = 0
    versions: int = 0
    without: Counter[str] = field(default_factory=Counter)
    alerts: Counter[str] = field(default_factory=Counter)
    recoveries: int = 0
    seconds: float = 0.0


@dataclass
class Year:
    """The counts of a year.

    Attributes:
        connections: How many there are.
        expiring: How many of them have a refresh token.
        runs: How many there were, by what became of them.
        calls: Calls to TikTok and Secret Manager by name.
        refused: Calls that Secret Manager refused for being too many.
        events: What was logged, with severity.
        looks: How often a reader looked.
        without: Looks that found no working token, by whose doing that was.
        cancelled: How many advertisers cancelled.
        told: How many connections raised so many `reauthorization.required`.
        least_left: The least that a reader's expiring token had still to live, in hours, unless TikTok or the
            advertiser had taken it away.
        late: How many refreshes came after the old token's end, by whose doing that was.
        latest: How many seconds the latest of those came too late.
        most_versions: The most undestroyed versions of one secret after a run that was not killed.
        longest_run: In seconds.
        away: What was away when: name, day, days.
        days: Day by day.
    """

    connections: int
    expiring: int
    runs: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    events: Counter[str] = field(default_factory=Counter)
    looks: int = 0
    without: Counter[str] = field(default_factory=Counter)
    cancelled: int = 0
    told: Counter[int] = field(default_factory=Counter)
    least_left: float = math.inf
    late: Counter[str] = field(default_factory=Counter)
    latest: Counter[str] = field(default_factory=Counter)
    most_versions: int = 0
    longest_run: float = 0.0
    away: list[tuple[str, float, float]] = field(default_factory=list)
    days: list[Day] = field(default_factory=list)

    @property
    def tiktok_day(self) -> int:
        """The most calls to TikTok within a day."""
        return max(day.tiktok for day in self.days)

    def cost(self, first: int, last: int) -> float:
        """What a month of 30 days costs in dollars, going by these days."""
        days = self.days[first:last]
        a_day = 1 / len(days)
        versions = sum(day.versions for day in days) * a_day
        accesses = sum(day.accesses for day in days) * a_day * 30
        seconds = sum(day.seconds for day in days) * a_day * 30 + 2 * RUNS_A_DAY * 30
        return versions * VERSION_A_MONTH + accesses * ACCESS + seconds * SECOND + SCHEDULER_A_MONTH

    def document(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "connections": self.connections,
            "expiring": self.expiring,
            "runs": dict(sorted(self.runs.items())),
            "calls": dict(sorted(self.calls.items())),
            "refused_by_secret_manager": self.refused,
            "events": dict(sorted(self.events.items())),
            "looks": self.looks,
            "looks_without_token": dict(sorted(self.without.items())),
            "advertisers_who_cancelled": self.cancelled,
            "connections_by_alerts_to_reauthorize": {str(times): count for times, count in sorted(self.told.items())},
            "least_hours_left": round(self.least_left, 2),
            "refreshes_after_the_tokens_end": dict(sorted(self.late.items())),
            "longest_such_gap_seconds": {cause: round(seconds) for cause, seconds in sorted(self.latest.items())},
            "most_versions_of_a_secret": self.most_versions,
            "longest_run_seconds": round(self.longest_run),
            "most_calls_to_tiktok_in_a_day": self.tiktok_day,
            "dollars_a_month": {
                "first": round(self.cost(0, 30), 2),
                "last": round(self.cost(-30, len(self.days)), 2),
            },
            "away": self.away,
            "days": {
                **{name: [getattr(day, name) for day in self.days] for name in ("tiktok", "google", "versions")},
                "without": self._columns([day.without for day in self.days]),
                "alerts": self._columns([day.alerts for day in self.days]),
                "recoveries": [day.recoveries for day in self.days],
            },
        }

    @staticmethod
    def _columns(days: list[Counter[str]]) -> dict[str, list[int]]:
        return {name: [day[name] for day in days] for name in sorted(set().union(*days))}


class Story:
    """One year of one operator.

    Args:
        stage: Where it takes place.
        connections: How many.
        days: How long; what goes wrong at certain times is moved to fit in.
        expiring_one_in: One of so many connections has a refresh token.
        seed: Of all chance.
        worse: How many times as often runs are skipped, doubled and killed.
    """

    def __init__(
        self,
        stage: YearStage,
        connections: int,
        days: int,
        expiring_one_in: int,
        *,
        seed: int = 2026,
        worse: float = 1.0,
    ) -> None:
        self.stage = stage
        self.chance = random.Random(seed)
        self.seed = seed
        self.skipped, self.doubled, self.killed = SKIPPED * worse, DOUBLED * worse, KILLED * worse
        self.length = days
        self.names = [f"c{number:05}" for number in range(connections)]
        self.expiring = set(self.names[::expiring_one_in])
        self.year = Year(connections, len(self.expiring), days=[Day() for _ in range(days)])
        self.cancelled: set[str] = set()
        self.lost: set[str] = set()
        self.reauthorizations: Counter[str] = Counter()
        self.to_reconnect: dict[str, float] = {}
        self.tokens: dict[str, tuple[int, str, float]] = {}
        cancelling = self.chance.sample(self.names, round(connections * CANCELLING) or 1)
        self.cancels = {name: self.chance.uniform(1, days - 3) for name in cancelling}
        changing = self.chance.sample(self.names, round(connections * CHANGING) or 1)
        self.changes = {name: self.chance.uniform(1, days - 3) for name in changing}
        self.begun = 0.0
        self.tiktok_was_away = False
        self.tiktok_spans: list[tuple[float, float]] = []

    @property
    def day(self) -> float:
        """How many days have passed."""
        return (self.stage.clocks.stopwatch() - self.begun) / 86_400

    @property
    def today(self) -> Day:
        return self.year.days[min(int(self.day), self.length - 1)]

    def tell(self, progress: Callable[[float], None] = lambda _: None) -> Year:
        """Tell it."""
        state = random.getstate()
        random.seed(self.seed)  # the functions' own pauses
        try:
            self._people()
            self.stage.clocks.begin(self._fate)
            for tick in range(self.length * RUNS_A_DAY):
                self._until(tick / RUNS_A_DAY)
                self._scheduled()
                self._operator()
                self._readers()
                self._until((tick + 0.99) / RUNS_A_DAY)
                self._readers()
                self.today.versions = sum(self.stage.living().values())
                progress(self.day)
        finally:
            random.setstate(state)
        self.year.refused = self.stage.road.refused
        self.year.told = Counter(self.reauthorizations.values())
        return self.year

    def _until(self, day: float) -> None:
        self.stage.clocks.sleep((day - self.day) * 86_400)

    # --- what befalls them ---

    def _people(self) -> None:
        tiktok = self.stage.tiktok
        usual = tiktok.options
        for name in self.names:
            if name in self.expiring:  # approved at some time within the last year
                seconds = int(self.chance.uniform(5 * 86_400, YEAR))
                tiktok.options = replace(usual, refresh_seconds=seconds)
            age = self.chance.uniform(0, 12)
            self.stage.planted(name, "expiring" if name in self.expiring else "long-lived", age)
        tiktok.options = usual
        self.begun = self.stage.clocks.stopwatch()

    def _fate(self) -> None:
        """The weather, and the advertisers who cancel, each in their time."""
        scale = self.length / 365
        acts: list[tuple[float, int, Callable[[], None]]] = []
        for name, spans in (("tiktok_away", TIKTOK_AWAY), ("google_away", GOOGLE_AWAY), ("hiccups", HICCUPS)):
            for day, hours in spans:
                start = int(day * scale) + day % 1
                self.year.away.append((name, round(start, 2), hours / 24))
                acts.append((start, len(acts), lambda name=name: self._turn(name, begins=True)))  # type: ignore[misc]
                end = start + hours / 24
                acts.append((end, len(acts), lambda name=name: self._turn(name, begins=False)))  # type: ignore[misc]
        for name, day in self.cancels.items():
            acts.append((day, len(acts), lambda name=name: self._cancel(name)))  # type: ignore[misc]
        for name, day in self.changes.items():
            acts.append((day, len(acts), lambda name=name: self._take_account_away(name)))  # type: ignore[misc]
        for day, _, act in sorted(acts, key=lambda item: item[:2]):
            self._until(day)
            act()

    def _turn(self, name: str, *, begins: bool) -> None:
        now = asdict(self.stage.weather)
        self.stage.become(Weather(**{**now, name: HICCUP * begins if name == "hiccups" else begins}))
        if name == "tiktok_away":
            self.tiktok_was_away = True
            at = self.stage.clocks.timestamp
            self.tiktok_spans = (
                [*self.tiktok_spans, (at, math.inf)]
                if begins
                else [*self.tiktok_spans[:-1], (self.tiktok_spans[-1][0], at)]
            )

    def _cancel(self, name: str) -> None:
        self.stage.tiktok.revoke(self._token(name))
        self.cancelled.add(name)
        self.year.cancelled += 1

    def _take_account_away(self, name: str) -> None:
        kept = self.stage.tiktok.options.advertisers[:-1]
        self.stage.tiktok.set_advertisers(self._token(name), [id_ for id_, _ in kept])

    # --- runs ---

    def _scheduled(self) -> None:
        dice = self.chance.random()
        if dice < self.skipped:
            self.year.runs["skipped"] += 1
            return
        if dice > 1 - self.doubled:
            self.year.runs["doubled"] += 1
            statuses = [status for status, _ in self._counted(self.stage.run_twice)]
        elif dice > 1 - self.doubled - self.killed:
            statuses = [self._killed()]
        else:
            statuses = [self._run()]
        for pause in TRIED_AGAIN:
            if 200 in statuses:
                return
            self.stage.clocks.sleep(pause)
            self.year.runs["tried again"] += 1
            statuses = [self._run()]

    def _run(self) -> int:
        return self._counted(lambda: [self.stage.run()])[0][0]

    def _killed(self) -> int:
        self.year.runs["killed"] += 1
        at = round((3 * len(self.names)) ** self.chance.random())

        def run() -> list[tuple[int, dict[str, Any]]]:
            with self.stage.dying(at, after=self.chance.random() < 0.5):
                return [self.stage.run()]
            return []

        if self._counted(run):
            return 200  # it was over before that call
        current = {given.refresh_token for given in self.stage.tiktok.grants}
        self.lost |= {
            name
            for name in self.expiring
            if REFRESH + name in self.stage.living() and self._refresh_token(name) not in current
        }
        return 500

    def _counted(self, run: Callable[[], list[tuple[int, dict[str, Any]]]]) -> list[tuple[int, dict[str, Any]]]:
        day, began = self.today, self.stage.clocks.stopwatch()
        answers = run()
        took = self.stage.clocks.stopwatch() - began
        self._count_calls(day)
        day.seconds += took
        self.year.longest_run = max(self.year.longest_run, took)
        for status, _ in answers:
            self.year.runs[str(status)] += 1
        if any(status == 200 for status, _ in answers):
            self.year.most_versions = max(self.year.most_versions, *self.stage.living().values())
            self.tiktok_was_away = self.stage.weather.tiktok_away
        return answers

    def _count_calls(self, day: Day) -> None:
        calls = self.stage.calls_since()
        google = sum(count for name, count in calls.items() if name[0].isupper())
        day.google += google
        day.tiktok += calls.total() - google
        day.accesses += calls["AccessSecretVersion"]
        self.year.calls += calls

    # --- people ---

    def _operator(self) -> None:
        for entry in self.stage.entries():
            severity, event = entry["severity"], entry["event"]
            self.year.events[f"{severity} {event}"] += 1
            if severity in {"ERROR", "CRITICAL"}:
                self.today.alerts[event] += 1
            self.today.recoveries += event == "connection.recovered"
            if event == "reauthorization.required":
                self.reauthorizations[entry["connection"]] += 1
                self._send_link(entry["connection"])
            elif event == "refresh_token.ending" and (self.chance.random() < 0.4 or entry["days"] <= 3):
                self._send_link(entry["connection"])
        self.stage.ears.lines.clear()
        for name, day in list(self.to_reconnect.items()):
            if self.day >= day and not (self.stage.weather.tiktok_away or self.stage.weather.google_away):
                kind = "expiring" if name in self.expiring else "long-lived"
                if self.stage.approve(name, kind, any_account=True).status_code == 303:
                    self.cancelled.discard(name)
                    self.lost.discard(name)
                    self.tokens.pop(name, None)
                    del self.to_reconnect[name]
        self._count_calls(self.today)

    def _send_link(self, name: str) -> None:
        self.to_reconnect.setdefault(name, self.day + self.chance.uniform(*ANSWERS_AFTER))

    def _readers(self) -> None:
        found: Counter[str] = Counter()
        alive = self.stage.tiktok.is_alive
        for name in self.names:
            if not alive(self._token(name)):
                found[self._whose_doing(name)] += 1
        if not self.tiktok_was_away:
            ends = min((self.tokens[name][2] for name in self.expiring - self.cancelled - self.lost), default=math.inf)
            self.year.least_left = min(self.year.least_left, (ends - self.stage.clocks.timestamp) / 3600)
        self.year.looks += len(self.names)
        self.year.without += found
        self.today.without |= found

    def _whose_doing(self, name: str) -> str:
        if name in self.cancelled:
            return CANCELLED
        if name in self.lost:
            return KILL
        return TIKTOK if self.tiktok_was_away else OURS

    def _token(self, name: str) -> str:
        number, payload = self.stage.newest(TOKEN + name)
        known = self.tokens.get(name)
        if known is None or known[0] != number:
            found = json.loads(payload)
            end = clock.parse(found["expires_at"]).timestamp() if found["expires_at"] else math.inf
            if known is not None and name not in self.cancelled | self.lost:
                self._was_it_late(known[2], clock.parse(found["obtained_at"]).timestamp())
            known = self.tokens[name] = (number, found["access_token"], end)
        return known[1]

    def _was_it_late(self, end: float, obtained: float) -> None:
        if obtained > end:
            away = any(start < obtained and over > end - TOKEN_LIFE / 2 for start, over in self.tiktok_spans)
            cause = TIKTOK if away else OURS
            self.year.late[cause] += 1
            self.year.latest[cause] = max(self.year.latest[cause], int(obtained - end))

    def _refresh_token(self, name: str) -> str:
        return str(json.loads(self.stage.newest(REFRESH + name)[1])["refresh_token"])
