"""A secret is deleted or broken by somebody while a run is at work on its connection, at every call of the run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from reliability.quick import Point, QuickStage, each, mostly_slow
from reliability.test_store_faults import BREAKING, assert_new, due
from stage import REFRESH, TOKEN

Act = Callable[[QuickStage], None]
Break = Callable[[QuickStage, str], None]
CHANGED = ["7000000000000000001", "7000000000000000077"]


def deleted(stage: QuickStage, secret_id: str) -> None:
    stage.secrets.delete(secret_id)


IS_DELETED = {"it is deleted": deleted}
every_break = each("break_it", mostly_slow(BREAKING, "it is edited by hand"))


def refreshed(stage: QuickStage) -> None:
    """The run refreshes this connection, and verifies the one beside it."""
    due(stage)
    stage.plant("beside")


def verified(stage: QuickStage) -> None:
    """The run verifies this connection, and refreshes the one beside it."""
    stage.plant("acme")
    due(stage, "beside")


def verified_and_written(stage: QuickStage) -> None:
    """The same, and the advertisers have changed."""
    verified(stage)
    stage.tiktok.set_advertisers(stage.token()["access_token"], CHANGED)


VERIFYING = {"nothing about it is new": verified, "its advertisers have changed": verified_and_written}


class Course:
    """The calls of a run about the connection, and what has become of a run held up at one of them."""

    def __init__(self, stage: QuickStage, scene: Act, about: str) -> None:
        scene(stage)
        self._stage, self._scene = stage, scene
        self._points = stage.points(stage.run, f"acme|ListSecrets|{about}")
        self.good = b""
        self.where = ""

    def index(self, call: str, resource: str = "") -> int:
        """The position of a call that is made once."""
        [index] = [n for n, point in enumerate(self._points[:-1]) if point.call == call and resource in point.resource]
        return index

    def broken_at_each(self, break_it: Break, secret_id: str) -> Iterator[int]:
        """For each of these moments a run in which the secret is broken then."""
        for index, point in enumerate(self._points):
            self._broken_at(point, break_it, secret_id)
            yield index

    def _broken_at(self, point: Point, break_it: Break, secret_id: str) -> None:
        stage = self._stage
        results: list[tuple[int, dict[str, Any]]] = []
        stage.reset()
        self._scene(stage)
        with stage.held_up(lambda: results.append(stage.run()), point):
            self.good = stage.secrets.payloads(secret_id)[-1]
            break_it(stage, secret_id)
        self.where = f"{break_it.__name__} {point}"
        [(status, summary)] = results
        assert (status, summary["remaining"]) == (200, 0), self.where

    def go_on(self, hours: int) -> None:
        """One more run, so many hours later, which gets through."""
        self._stage.later(hours=hours)
        assert self._stage.run()[0] == 200, self.where

    def assert_all_is_well(self, alerts: list[str], refreshes: int) -> None:
        """So many refreshes were all, and these alerts, which named the connection; all is well with both."""
        stage = self._stage
        said = [entry for entry in stage.entries() if entry["severity"] in {"ERROR", "CRITICAL"}]
        assert [(entry["event"], entry["connection"]) for entry in said] == [(alert, "acme") for alert in alerts], (
            self.where
        )
        assert (stage.tiktok.count("refresh_token"), stage.tiktok.reused) == (refreshes, []), self.where
        assert max(stage.tiktok.spent.values(), default=0) <= 1, self.where
        for name in ("acme", "beside"):
            if stage.labels(name)["kind"] == "expiring":
                assert_new(stage, name)
            assert stage.labels(name)["health"] == "ok", self.where
            assert "lease" not in stage.annotations(name), self.where
            assert stage.tiktok.is_alive(stage.token(name)["access_token"]), self.where


def kept(stage: QuickStage, secret_id: str) -> bool:
    """Whether the newest version can be read."""
    if secret_id not in stage.secrets.secrets():
        return False
    *_, state = stage.secrets.states(secret_id).values()
    try:
        document = json.loads(stage.secrets.payloads(secret_id)[-1])
    except ValueError:
        return False
    return state == "ENABLED" and document["schema"] == 1


@each("break_it", mostly_slow({**BREAKING, **IS_DELETED}, "it is edited by hand"))
def test_the_refresh_secret_of_a_grant_that_is_refreshed(quick: QuickStage, break_it: Break) -> None:
    """From when its token is sent until the new one is stored, the write makes it good; else one alert tells of it.

    Before that, a run that sees it broken sends nothing; one that does not see it writes over it.
    """
    course = Course(quick, refreshed, "refresh_token")
    sending, storing = course.index("refresh_token"), course.index("AddSecretVersion", REFRESH)
    for index in course.broken_at_each(break_it, REFRESH + "acme"):
        sent, good = quick.tiktok.count("refresh_token") == 1, kept(quick, REFRESH + "acme")
        assert (sent, good) == (True, index <= storing) if index >= sending else sent == good, course.where
        course.go_on(1 if break_it is deleted else 13)
        if not good:
            if break_it is deleted:
                quick.connected("acme", "expiring")
            else:
                quick.secrets.add_version(REFRESH + "acme", course.good)
            course.go_on(1)
        alert = "refresh_token.ending" if break_it is deleted else "secret.unreadable"
        course.assert_all_is_well([] if good else [alert], sent + (break_it is not deleted))


@every_break
def test_the_token_secret_of_a_grant_that_is_refreshed(quick: QuickStage, break_it: Break) -> None:
    """Until the new token is stored this run makes it good, afterwards the next refresh; nobody is alerted."""
    course = Course(quick, refreshed, "refresh_token")
    storing = course.index("AddSecretVersion", TOKEN)
    for index in course.broken_at_each(break_it, TOKEN + "acme"):
        assert kept(quick, TOKEN + "acme") == (index <= storing), course.where
        course.go_on(13)
        course.assert_all_is_well([], 2)


def test_the_token_secret_of_a_grant_that_is_refreshed_is_deleted(quick: QuickStage) -> None:
    """It stays deleted, and what TikTok holds for good is in the refresh secret; later runs name the connection."""
    course = Course(quick, refreshed, "refresh_token")
    sending = course.index("refresh_token")
    for index in course.broken_at_each(deleted, TOKEN + "acme"):
        sent = quick.tiktok.count("refresh_token")
        assert sent == 1 or index < sending, course.where
        quick.later(hours=13)
        assert quick.run()[1]["attention"] == ["acme"], course.where
        assert TOKEN + "acme" not in quick.secrets.secrets(), course.where
        whole = quick.whole_grant()["access_token"], quick.whole_grant()["refresh_token"]
        assert whole in {(one.access_token, one.refresh_token) for one in quick.tiktok.grants}, course.where
        quick.connected("acme", "expiring")
        course.go_on(1)
        course.assert_all_is_well(["secret.deleted"], sent)


@each("scene", VERIFYING)
@every_break
def test_the_token_secret_of_a_grant_that_is_verified(quick: QuickStage, break_it: Break, scene: Act) -> None:
    """What the run writes over is good again; else one alert tells of it, and it stays as it is until it is mended."""
    course = Course(quick, scene, "advertiser_get")
    storing = course.index("AddSecretVersion") if scene is verified_and_written else -1
    for index in course.broken_at_each(break_it, TOKEN + "acme"):
        good = kept(quick, TOKEN + "acme")
        assert not good if index > storing else good or index < storing, course.where
        left = quick.secrets.payloads(TOKEN + "acme")
        course.go_on(1)
        assert quick.secrets.payloads(TOKEN + "acme") == left, course.where
        if not good:
            quick.secrets.add_version(TOKEN + "acme", course.good)
            course.go_on(1)
        course.assert_all_is_well([] if good else ["secret.unreadable"], 1)  # of the one beside
        reached = next(one for one in quick.tiktok.grants if one.access_token == quick.token()["access_token"])
        assert quick.token()["advertiser_ids"] == list(reached.advertiser_ids), course.where


@each("scene", VERIFYING)
def test_the_token_secret_of_a_grant_that_is_verified_is_deleted(quick: QuickStage, scene: Act) -> None:
    """It is no connection any more: nothing of it comes back, nobody is alerted, and connecting makes it anew."""
    course = Course(quick, scene, "advertiser_get")
    for _ in course.broken_at_each(deleted, TOKEN + "acme"):
        course.go_on(1)
        assert TOKEN + "acme" not in quick.secrets.secrets(), course.where
        quick.connected("acme", "long-lived")
        course.go_on(1)
        course.assert_all_is_well([], 1)
