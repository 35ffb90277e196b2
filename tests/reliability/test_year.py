"""A bad year in minutes: one clock, both kinds of grant, a reader that looks after every run, and all that goes wrong.

What is simulated: the functions in this process against the stand-ins on sockets, four runs a day for 365 days. The
year has 36 and 12 hours of TikTok answering 503, three times three hours of Secret Manager answering 503, 2 % of the
runs skipped and 2 % doubled, half a percent of the runs killed at a random call, and 3 % of the advertisers cancelling
on a random day. The operator sends a link within two days of an alert. `YEAR_CONNECTIONS` and `YEAR_DAYS` change
the size; the numbers are printed.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from local.serving import Fault
from reliability.quick import QuickStage
from stage import KEEPER, REFRESH, TOKEN

RUNS_A_DAY = 4
TIKTOK_AWAY = ((60, 36), (200, 12))  # day, hours
STORE_AWAY = ((30, 3), (150, 3), (300, 3))
SKIPPED, DOUBLED, KILLED, CANCELLING = 0.02, 0.02, 0.005, 0.03


@dataclass
class Year:
    """The counts of a year.

    Attributes:
        runs: How many there were.
        calls: Calls to TikTok and Secret Manager by name.
        events: What was logged, with severity.
        without: Looks of a reader that found no working token, by whose doing that was.
        live_versions: The most versions that were undestroyed at once.
    """

    runs: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    without: Counter[str] = field(default_factory=Counter)
    live_versions: int = 0

    def document(self) -> dict[str, Any]:
        return {
            "runs": self.runs,
            "calls": dict(self.calls.most_common()),
            "events": dict(self.events.most_common()),
            "reader_without_token": dict(self.without),
            "most_live_versions": self.live_versions,
        }


class Story:
    """One year of one operator."""

    def __init__(self, stage: QuickStage, connections: int, days: int, seed: int) -> None:
        self.stage = stage
        self.days = days
        self.chance = random.Random(seed)
        self.year = Year()
        self.names = [f"c{number:05}" for number in range(connections)]
        self.cancelled: set[str] = set()
        self.lost: set[str] = set()
        self.to_reconnect: dict[str, float] = {}
        cancelling = self.chance.sample(self.names, round(connections * CANCELLING) or 1)
        self.cancels = {name: self.chance.uniform(1, days - 1) for name in cancelling}
        self.tiktok_was_away = False

    @property
    def day(self) -> float:
        return self.stage.clocks.stopwatch() / 86_400 - self.begun

    def tell(self) -> Year:
        for index, name in enumerate(self.names):
            self.stage.plant(name, "expiring" if index % 2 else "long-lived", age_hours=self.chance.uniform(0, 12))
        self.begun = self.stage.clocks.stopwatch() / 86_400
        while self.day < self.days:
            self._weather()
            self._advertisers()
            dice = self.chance.random()
            if dice >= SKIPPED:
                self._run(killed=dice > 1 - KILLED)
            if dice > 1 - DOUBLED - KILLED:
                self._run(killed=False)
            self._operator()
            self._readers()
            self.stage.later(hours=24 / RUNS_A_DAY)
        return self.year

    def _weather(self) -> None:
        self.stage.secrets.clear_faults()
        self.stage.tiktok.clear_faults()
        self.tiktok_away = any(day <= self.day < day + hours / 24 for day, hours in TIKTOK_AWAY)
        self.store_away = any(day <= self.day < day + hours / 24 for day, hours in STORE_AWAY)
        if self.tiktok_away:
            self.stage.tiktok.add_fault(Fault(times=None, status=503, body=b""))
        if self.store_away:
            self.stage.secrets.add_fault(Fault(times=None))

    def _advertisers(self) -> None:
        for name, day in list(self.cancels.items()):
            if self.day >= day:
                self.stage.tiktok.revoke(self.stage.token(name)["access_token"])
                self.cancelled.add(name)
                del self.cancels[name]

    def _run(self, *, killed: bool) -> None:
        self.year.runs += 1
        if killed:
            with self.stage.dying(self.chance.randint(1, 40), after=self.chance.random() < 0.5):
                self.stage.run()
            self.stage.new_instances()
            current = {given.refresh_token for given in self.stage.tiktok.grants}
            self.lost |= {
                name for name in self.names[1::2]
                if REFRESH + name in self.stage.secrets.secrets()
                and self.stage.whole_grant(name)["refresh_token"] not in current
            }  # fmt: skip
        else:
            status, summary = self.stage.run()
            assert status in {200, 503}
            assert status == 200 or self.tiktok_away or self.store_away, (self.day, summary)
        for server in (self.stage.secrets, self.stage.tiktok):
            self.year.calls.update(call.name for call in server.calls)
            server.forget_calls()

    def _operator(self) -> None:
        for entry in self.stage.entries():
            self.year.events[f"{entry['severity']} {entry['event']}"] += 1
            if entry["event"] == "reauthorization.required" or (
                entry["event"] == "refresh_token.ending" and entry["days"] == 7
            ):
                self.to_reconnect.setdefault(entry["connection"], self.day + 1)
        self.stage.ears.lines.clear()
        self.stage.canaries.heard.clear()  # looked at in every other test
        for name, day in list(self.to_reconnect.items()):
            if self.day >= day and not (self.tiktok_away or self.store_away):
                kind = self.stage.labels(name)["kind"]
                assert self.stage.approve(name, kind, any_account=True).status_code == 303
                self.cancelled.discard(name)
                self.lost.discard(name)
                del self.to_reconnect[name]

    def _readers(self) -> None:
        live = 0
        for name in self.names:
            states = self.stage.secrets.states(TOKEN + name)
            live += sum(state == "ENABLED" for state in states.values())
            if REFRESH + name in self.stage.secrets.secrets():
                live += sum(state == "ENABLED" for state in self.stage.secrets.states(REFRESH + name).values())
            if self.stage.tiktok.is_alive(self.stage.token(name)["access_token"]):
                continue
            why = (
                "cancelled" if name in self.cancelled
                else "TikTok away" if self.tiktok_away
                else "died with the process" if name in self.lost
                else "NOBODY"
            )  # fmt: skip
            self.year.without[why] += 1
        self.year.live_versions = max(self.year.live_versions, live)


def tell(stage: QuickStage, connections: int, days: int) -> Year:
    year = Story(stage, connections, days, seed=2026).tell()
    print(json.dumps({"connections": connections, "days": days, **year.document()}, indent=1))
    return year


def assert_a_good_year(year: Year, connections: int, days: int) -> None:
    """No reader without a token by our doing, and calls, versions and alerts in line."""
    assert year.without["NOBODY"] == 0
    refreshed = year.events["INFO token.refreshed"]
    half = connections // 2
    assert refreshed <= half * days * 2.2
    assert year.live_versions <= connections * 2 * 2
    # Two a refresh; those that a fault or a death cut off, and their repair, come on top.
    assert year.calls["AddSecretVersion"] <= 2.1 * refreshed + 3 * connections
    assert year.events["ERROR secret.unreadable"] == year.events["ERROR defect"] == 0
    assert year.events["CRITICAL run.stopped"] == 0


def test_a_week_of_ten(quick: QuickStage) -> None:
    """Ten connections over a week."""
    assert_a_good_year(tell(quick, 10, 7), 10, 7)


@pytest.mark.slow
def test_a_bad_year(quick: QuickStage) -> None:
    """No reader is without a token except where TikTok, the advertiser or a death took it; nothing piles up."""
    connections, days = int(os.environ.get("YEAR_CONNECTIONS", "6")), int(os.environ.get("YEAR_DAYS", "365"))
    year = tell(quick, connections, days)
    assert_a_good_year(year, connections, days)
    assert KEEPER in quick.secrets.secrets()
    assert not quick.secrets.states(KEEPER)
    assert timedelta(seconds=quick.clocks.stopwatch()) >= timedelta(days=days)
