"""A secret is deleted or broken by somebody while a run is at work on its connection, at every call of the run.

Reliability line 17, promise 7.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from reliability.direct import Moment
from reliability.quick import BREAKING, QuickStage, assert_well, at_moment, each
from stage import REFRESH, TOKEN

Break = Callable[[QuickStage, str], None]


def deleted(stage: QuickStage, secret_id: str) -> None:
    stage.secrets.delete(secret_id)


def refreshed(stage: QuickStage) -> None:
    """The run refreshes this connection, and verifies the one beside it."""
    stage.due()
    stage.plant("beside")


def verified(stage: QuickStage) -> None:
    """The run verifies this connection, whose advertisers have changed, and refreshes the one beside it."""
    given = stage.plant("acme")
    stage.tiktok.set_advertisers(given["access_token"], [*given["advertiser_ids"][:2], "7000000000000000077"])
    stage.due("beside")


class Course:
    """The calls of a run about the connection, and what has become of a run that something happens in."""

    def __init__(self, stage: QuickStage, scene: Callable[[QuickStage], None]) -> None:
        scene(stage)
        self._stage, self._scene = stage, scene
        self.moments = [one for one in stage.moments(stage.run, "acme") if one.secret or one.call == "ListSecrets"]
        self.good = b""

    def index(self, call: str, resource: str = "") -> int:
        """The position of a call that is made once."""
        [index] = [n for n, one in enumerate(self.moments) if (one.call, resource in one.secret) == (call, True)]
        return index

    @contextmanager
    def broken_at(self, moment: Moment, break_it: Break, secret_id: str) -> Iterator[None]:
        """A run in which the secret is broken at that moment."""
        stage = self._stage

        def happens() -> None:
            self.good = stage.secrets.payloads(secret_id)[-1]
            break_it(stage, secret_id)

        stage.reset()
        self._scene(stage)
        with at_moment(moment):
            stage.wire.at(moment, happens)
            status, summary = stage.run()
            assert (status, summary["remaining"]) == (200, 0)
            yield

    def go_on(self, hours: int) -> None:
        """One more run, so many hours later, which gets through."""
        self._stage.later(hours=hours)
        assert self._stage.run()[0] == 200

    def assert_all_is_well(self, alerts: list[str], refreshes: int) -> None:
        """So many refreshes were all, and these alerts, which named the connection; all is well with both."""
        stage = self._stage
        said = [entry for entry in stage.entries() if entry["severity"] in {"ERROR", "CRITICAL"}]
        assert [(entry["event"], entry["connection"]) for entry in said] == [(one, "acme") for one in alerts]
        assert (sum(stage.tiktok.spent.values()), stage.tiktok.reused) == (refreshes, [])
        for name in ("acme", "beside"):
            assert_well(stage, name)


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


@each("break_it", {**BREAKING, "it is deleted": deleted})
def test_the_refresh_secret_of_a_grant_that_is_refreshed(quick: QuickStage, break_it: Break) -> None:
    """Until the new grant is stored, that write makes it good; from then on one alert tells of it.

    Before its token is sent, a run that sees it broken sends nothing; one that does not see it writes over it.
    """
    course = Course(quick, refreshed)
    storing = course.index("AddSecretVersion", REFRESH)
    for index, moment in enumerate(course.moments):
        with course.broken_at(moment, break_it, REFRESH + "acme"):
            sent, good = sum(quick.tiktok.spent.values()) == 1, kept(quick, REFRESH + "acme")
            assert (sent, good) == (True, False) if index > storing else sent == good
            course.go_on(1 if break_it is deleted else 13)
            if not good:
                if break_it is deleted:
                    quick.connected("acme", "expiring")
                else:
                    quick.secrets.add_version(REFRESH + "acme", course.good)
                course.go_on(1)
            alert = "refresh_token.ending" if break_it is deleted else "secret.unreadable"
            course.assert_all_is_well([] if good else [alert], sent + (break_it is not deleted))


@each("break_it", BREAKING)
def test_the_token_secret_of_a_grant_that_is_refreshed(quick: QuickStage, break_it: Break) -> None:
    """Until the new token is stored this run makes it good, afterwards the next refresh; nobody is alerted."""
    course = Course(quick, refreshed)
    storing = course.index("AddSecretVersion", TOKEN)
    for index, moment in enumerate(course.moments):
        with course.broken_at(moment, break_it, TOKEN + "acme"):
            assert kept(quick, TOKEN + "acme") == (index <= storing)
            course.go_on(13)
            course.assert_all_is_well([], 2)


def test_the_token_secret_of_a_grant_that_is_refreshed_is_deleted(quick: QuickStage) -> None:
    """It stays deleted, and what TikTok holds for good is in the refresh secret; later runs name the connection."""
    course = Course(quick, refreshed)
    for moment in course.moments:
        with course.broken_at(moment, deleted, TOKEN + "acme"):
            sent = sum(quick.tiktok.spent.values())
            quick.later(hours=13)
            assert quick.run()[1]["attention"] == ["acme"]
            assert TOKEN + "acme" not in quick.secrets.secrets()
            whole = quick.whole_grant()["access_token"], quick.whole_grant()["refresh_token"]
            assert whole in {(one.access_token, one.refresh_token) for one in quick.tiktok.grants}
            alerts = [alert for alert in quick.alerts() if alert == "secret.deleted"]
            quick.connected("acme", "expiring")
            course.go_on(1)
            course.assert_all_is_well(alerts, sent)


@each("break_it", BREAKING)
def test_the_token_secret_of_a_grant_that_is_verified(quick: QuickStage, break_it: Break) -> None:
    """What the run writes over is good again; else one alert tells of it, and it stays as it is until it is fixed."""
    course = Course(quick, verified)
    storing = course.index("AddSecretVersion")
    for index, moment in enumerate(course.moments):
        with course.broken_at(moment, break_it, TOKEN + "acme"):
            good = kept(quick, TOKEN + "acme")
            assert not good if index > storing else good or index < storing
            left = quick.secrets.payloads(TOKEN + "acme")
            course.go_on(1)
            assert quick.secrets.payloads(TOKEN + "acme") == left
            if not good:
                quick.secrets.add_version(TOKEN + "acme", course.good)
                course.go_on(1)
            course.assert_all_is_well([] if good else ["secret.unreadable"], 1)  # of the one beside
            reached = next(one for one in quick.tiktok.grants if one.access_token == quick.token()["access_token"])
            assert quick.token()["advertiser_ids"] == list(reached.advertiser_ids)


def test_the_token_secret_of_a_grant_that_is_verified_is_deleted(quick: QuickStage) -> None:
    """It is no connection any more: nothing of it comes back, nobody is alerted, and connecting makes it again."""
    course = Course(quick, verified)
    for moment in course.moments:
        with course.broken_at(moment, deleted, TOKEN + "acme"):
            course.go_on(1)
            assert TOKEN + "acme" not in quick.secrets.secrets()
            quick.connected("acme", "long-lived")
            course.go_on(1)
            course.assert_all_is_well([], 1)
