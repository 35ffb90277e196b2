"""One at a time: any number of processes, clocks half a minute apart, a holder that is slow and one that is dead.

Reliability lines 5, 7, 10 and 22, promise 1: a lease lasts 45 s and is free 30 s after its end.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from emulators.serving import Fault
from emulators.tiktok import Options
from reliability.direct import Moment
from reliability.quick import AS_IT_IS, FALTERING, NEW, QuickStage, assert_well, clock_off_by, code, each
from stage import REFRESH, TOKEN, Stage
from tokenkeeper import clock
from tokenkeeper.store.lease import TERM

Act = Callable[[QuickStage], object]
APART = 30.0  # seconds that the functions' clocks may be apart, by contract


class TestManyAtOnce:
    def test_five_instances_over_twenty_connections(self, quick: QuickStage) -> None:
        """Five instances at once, with `latest` and lists two versions late: each refresh token is used once."""
        names = [f"acme-{index:03}" for index in range(20)]
        quick.due(*names[:10])
        quick.due(*names[10:], family="account")
        quick.secrets.set_lag(latest=2, lists=2)
        instances = [quick.instance("refresh") for _ in range(5)]
        acts = [lambda one=one: quick.run(function=one) for one in instances]
        with quick.clocks.passing_slowly(), quick.meanwhile(*acts):
            pass
        assert quick.tiktok.reused == []
        assert (quick.logged(), quick.token_calls()) == (["INFO token.refreshed"] * 20, 20)
        for name in names:
            assert quick.outcome(name) == AS_IT_IS

    @pytest.mark.slow
    def test_fifty_refreshers_over_a_hundred_connections(self, stage: Stage) -> None:
        """Fifty runs at once in five processes, readings late: each of 100 refresh tokens is used once."""
        stage.tiktok.spent.clear()
        stage.tiktok.reused.clear()
        stage.tiktok.options = Options(punish_reuse=True)
        names = [f"acme-{index:03}" for index in range(100)]
        for index, name in enumerate(names):
            stage.plant(name, "expiring", age_hours=13, family="account" if index % 2 else "advertiser")
        stage.secrets.set_lag(latest=2, lists=2)
        # A few calls a second each, so that two cores can answer fifty runs before these lose patience.
        processes = [stage.start("refresh", TIKTOK_MAX_QPS="2", RUN_BUDGET_SECONDS="40") for _ in range(5)]
        start = threading.Barrier(50)

        def send(number: int) -> int:
            start.wait()
            return stage.run(function=processes[number % 5])[0]

        with ThreadPoolExecutor(50) as pool:
            statuses = list(pool.map(send, range(50)))
        assert set(statuses) <= {200, 503}
        refreshed = [sum(entry["event"] == "token.refreshed" for entry in one.events) for one in processes]
        assert sum(number > 0 for number in refreshed) >= 2, "they worked side by side"
        assert stage.run()[0] == 200  # what they did not get to
        assert (len(stage.tiktok.spent), set(stage.tiktok.spent.values()), stage.tiktok.reused) == (100, {1}, [])
        for name in names:
            assert_well(stage, name)
            _, *stored = stage.secrets.payloads(TOKEN + name)
            assert len(set(stored)) == 1, "on top of itself, where an answer came too late for its caller"
        assert stage.alerts() == []
        stage.tiktok.options = Options()


def reaching_more(stage: QuickStage) -> None:
    token = stage.token()
    stage.tiktok.set_advertisers(token["access_token"], [*token["advertiser_ids"], "7000000000000000009"])


def ending(stage: QuickStage) -> None:
    """The token ends in six days, and nothing renews it."""
    end = clock.text(clock.now() + timedelta(days=6))
    stage.secrets.edit(TOKEN + "acme", annotations={"expires-at": end})


def held(stage: QuickStage) -> None:
    stage.held_by_another(seconds=TERM)


def written(stage: QuickStage) -> None:
    stage.secrets.add_version(REFRESH + "acme", stage.secrets.payloads(REFRESH + "acme")[-1])


# What happens, after how many calls to TikTok somebody comes, how it counts, and what is logged with nobody in the way.
AT_WORK: dict[str, tuple[Act, int, str, str]] = {
    "a failure to be marked": (lambda stage: code(50002)(stage, "advertiser_get"), 1, "failing", FALTERING),
    "other advertisers to be stored": (reaching_more, 0, "verified", "NOTICE connection.changed"),
    "an end to be warned of": (ending, 0, "verified", "ERROR refresh_token.ending"),
}


def lease_left(stage: QuickStage) -> timedelta:
    """How long the lease lasts from now."""
    return clock.parse(stage.annotations()["lease"].partition(" ")[2]) - clock.now()


UNDER_WAY = {
    "while TikTok answers": Moment("refresh_token", after=True),
    "while the grant is stored": Moment("AddSecretVersion", REFRESH + "acme", after=True),
}


class TestHolderThatLives:
    @each("theirs", {"the other's clock is behind": -APART, "the other's clock is ahead": APART})
    @each("moment", UNDER_WAY)
    def test_keeps_its_lease_however_far_the_clocks_are_apart(
        self, quick: QuickStage, moment: Moment, theirs: float
    ) -> None:
        """Who comes while a refresh is under way waits, and is to be called again without having sent anything."""
        quick.due()
        other = quick.instance("refresh", RUN_BUDGET_SECONDS="5")
        answers: list[int] = []

        def second() -> None:
            with clock_off_by(seconds=theirs):
                answers.append(quick.run(function=other)[0])

        quick.wire.at(moment, second)
        quick.assert_run(NEW)
        assert answers == [503]

    def test_renews_it_while_it_is_slow(self, quick: QuickStage) -> None:
        """While storing takes longer than a lease lasts, it is renewed: it never ends under its holder."""
        quick.due()
        quick.secrets.add_fault(Fault("AddSecretVersion", times=20))
        left: list[timedelta] = []
        for skip in range(20):
            quick.wire.at(Moment("AddSecretVersion", REFRESH + "acme", skip), lambda: left.append(lease_left(quick)))
        begun = quick.clocks.monotonic()
        assert quick.run()[0] == 200
        assert quick.clocks.monotonic() - begun > TERM
        assert min(left) > timedelta()
        assert quick.outcome() == NEW

    @each("case", {"than a run waits": ("1500", "skipped", []),
                   "than the run's budget": ("5", "remaining", ["ERROR run.behind"])})  # fmt: skip
    def test_may_keep_it_for_longer(self, quick: QuickStage, case: tuple[str, str, list[str]]) -> None:
        """The run asks TikTok nothing, and is to be called again; it alerts only where it had no time to wait."""
        budget, verdict, logged = case
        quick.plant("acme", "expiring", age_hours=20)
        lease = quick.held_by_another(minutes=4)
        quick.new_instances(RUN_BUDGET_SECONDS=budget)
        status, summary = quick.run()
        assert (status, summary[verdict], quick.tiktok.calls) == (503, 1, [])
        assert (quick.annotations()["lease"], quick.logged()) == (lease, logged)
        assert quick.clocks.monotonic() < 2 * (TERM + APART)

    def test_stores_what_it_has_where_it_cannot_renew_it(self, quick: QuickStage) -> None:
        """A lease that cannot be renewed is no reason to lose a grant."""
        quick.due()

        def late() -> None:
            quick.later(seconds=TERM - 10)
            quick.secrets.add_fault(Fault("UpdateSecret", TOKEN, times=None))

        quick.wire.at(Moment("refresh_token", after=True), late)
        quick.run()
        given = quick.tiktok.grants[-1]
        assert quick.token()["access_token"] == given.access_token
        assert quick.whole_grant()["refresh_token"] == given.refresh_token

    @each("case", AT_WORK)
    def test_is_left_alone_with(self, quick: QuickStage, case: tuple[Act, int, str, str]) -> None:
        """Nothing is said or written beside a holder who came meanwhile; the next run does what is left to do."""
        happens, asked, verdict, logged = case
        quick.plant("acme")
        happens(quick)
        before = quick.payloads(), quick.annotations()
        quick.wire.at(Moment("advertiser_get", skip=asked, after=True), lambda: held(quick))
        status, summary = quick.run()
        assert (status, summary[verdict]) == (200, 1)
        quick.secrets.edit(TOKEN + "acme", annotations={"lease": None})
        assert (quick.payloads(), quick.annotations(), quick.logged()) == (*before, [])
        assert quick.run()[0] == 200
        assert quick.logged() == [logged]

    @each("happens", {"nothing happens": None, "somebody else holds it": held, "somebody wrote to it": written})
    def test_deletes_a_replaced_refresh_secret_only_if(self, quick: QuickStage, happens: Act | None) -> None:
        """The lease outlasts the deletion, being renewed if need be, since a re-connection may write there."""
        quick.plant("acme", "expiring", age_hours=5)
        quick.connected("acme", "long-lived")
        quick.later(minutes=1)
        left: list[timedelta] = []

        def late() -> None:
            quick.later(seconds=TERM / 2)
            if happens:
                happens(quick)

        quick.wire.at(Moment("GetSecret", REFRESH + "acme"), late)
        quick.wire.at(Moment("DeleteSecret", REFRESH + "acme"), lambda: left.append(lease_left(quick)))
        assert quick.run()[0] == 200
        assert (REFRESH + "acme" in quick.secrets.secrets()) == bool(happens)
        assert [end > timedelta(seconds=30) for end in left] == [True] * (not happens)


class TestHolderThatDied:
    """Wherever it died: what is left to do then is in `test_kills`."""

    def test_is_followed_within_the_next_run(self, quick: QuickStage) -> None:
        """A run that comes at once waits until the lease is free and takes it over."""
        quick.due()
        with quick.dying(1, "UpdateSecret", after=True):
            quick.run()
        before = quick.clocks.monotonic()
        quick.assert_run(NEW)
        assert TERM + APART - 1 <= quick.clocks.monotonic() - before <= TERM + APART + 11

    def test_many_leave_many_leases_and_looking_keeps_to_the_quota(self, quick: QuickStage) -> None:
        """Leases left behind on a hundred connections are waited for without asking six hundred times a minute."""
        for index in range(100):
            quick.due(f"acme-{index:03}")
            quick.held_by_another(f"acme-{index:03}", seconds=0)
        quick.secrets.forget_calls()
        assert quick.run()[0] == 200
        assert quick.secrets.count("GetSecret") < 600
        assert (quick.logged(), quick.token_calls()) == (["INFO token.refreshed"] * 100, 100)
        for index in range(100):
            assert quick.outcome(f"acme-{index:03}") == AS_IT_IS
