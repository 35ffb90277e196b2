"""One at a time: any number of processes, wrong clocks, a holder that is slow and one that is dead."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from local.serving import Fault
from local.tiktok import Options
from reliability.quick import AS_IT_IS, BEGINNING, NEW, Outcome, QuickStage, clock_off_by, each
from stage import TOKEN, Stage
from tokenkeeper import clock
from tokenkeeper.lease import TERM


def many_due(stage: Stage, number: int) -> list[str]:
    names = [f"acme-{index:03}" for index in range(number)]
    for name in names:
        stage.plant(name, "expiring", age_hours=13)
    return names


def assert_each_spent_once(stage: Stage, names: list[str], *, answers_in_time: bool = True) -> None:
    """No refresh token was presented twice, and everybody's reader has a token that lives.

    Each is stored once; or again on top of itself, where an answer came too late for its caller to know of the first.
    """
    assert stage.tiktok.reused == []
    assert max(stage.tiktok.spent.values()) == 1
    for name in names:
        assert stage.tiktok.is_alive(stage.token(name)["access_token"])
        assert stage.whole_grant(name)["access_token"] == stage.token(name)["access_token"]
        assert stage.labels(name)["health"] == "ok"
        assert "lease" not in stage.annotations(name)
        _, *stored = stage.secrets.payloads(TOKEN + name)
        assert len(set(stored)) == 1
        assert len(stored) == 1 or not answers_in_time


class TestManyAtOnce:
    def test_five_instances_over_twenty_connections(self, quick: QuickStage) -> None:
        """Five instances at once, with `latest` and lists two versions late: each refresh token is spent once."""
        names = many_due(quick, 20)
        quick.secrets.set_lag(latest=2, lists=2)
        instances = [quick.instance("refresh") for _ in range(5)]
        with quick.meanwhile(*[lambda one=one: quick.run(function=one) for one in instances]):
            pass
        assert_each_spent_once(quick, names)
        assert (quick.told(), quick.token_calls()) == (["INFO token.refreshed"] * 20, 20)
        for name in names:
            assert quick.outcome(name) == AS_IT_IS

    @pytest.mark.slow
    def test_fifty_refreshers_over_two_hundred_connections(self, stage: Stage) -> None:
        """Fifty runs at once in five processes, readings late: each of 200 refresh tokens is spent once."""
        stage.tiktok.spent.clear()
        stage.tiktok.reused.clear()
        stage.tiktok.options = Options(punish_reuse=True)
        names = many_due(stage, 200)
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
        assert sum(len(stage.secrets.payloads(TOKEN + name)) == 1 for name in names) < 200
        assert stage.run()[0] == 200  # what they did not get to
        assert stage.tiktok.count("refresh_token") == 200
        assert_each_spent_once(stage, names, answers_in_time=False)
        assert stage.alerts() == []
        stage.tiktok.options = Options()


CLOCKS = {"behind": -10, "right": 0, "ahead": 10}


class TestHolderThatLives:
    @each("theirs", {f"the other's clock is {how}": minutes for how, minutes in CLOCKS.items()})
    @each("ours", {f"its clock is {how}": minutes for how, minutes in CLOCKS.items()})
    @each("call", {"TikTok is slow": "refresh_token", "Secret Manager is slow": "AddSecretVersion"})
    def test_keeps_its_lease_whatever_the_clocks_show(
        self, quick: QuickStage, call: str, ours: int, theirs: int
    ) -> None:
        """Who comes while a refresh is under way waits and sends nothing, with clocks twenty minutes apart, too."""
        quick.plant("acme", "expiring", age_hours=14)
        server = quick.tiktok if call == "refresh_token" else quick.secrets
        server.add_fault(Fault(call, do="hold", hold="here", when="after"))
        other = quick.instance("refresh")

        def first() -> None:
            with clock_off_by(minutes=ours):
                quick.run()

        def second() -> None:
            with clock_off_by(minutes=theirs):
                quick.run(function=other)

        with quick.clocks.standing(), quick.meanwhile(first):
            server.wait_held("here")
            looked = quick.secrets.count("GetSecret")
            with quick.meanwhile(second):
                while quick.secrets.count("GetSecret") < looked + 10:
                    threading.Event().wait(0.001)
                server.release("here")
        assert quick.outcome() == NEW
        assert_each_spent_once(quick, ["acme"])

    def test_renews_it_while_it_is_slow(self, quick: QuickStage) -> None:
        """While storing takes a minute and more, the lease is renewed, and who comes meanwhile sends nothing."""
        quick.plant("acme", "expiring", age_hours=13)
        quick.secrets.add_fault(Fault("AddSecretVersion", times=20))
        quick.run_beside_another()
        assert (quick.clocks.true() - BEGINNING).total_seconds() > 60
        assert quick.outcome() == NEW
        assert_each_spent_once(quick, ["acme"])

    def test_is_waited_for_anew_after_secret_manager_was_away(self, quick: QuickStage) -> None:
        """Time in which nobody could renew a lease does not count against its holder."""
        quick.plant("acme", "expiring", age_hours=13)
        lease = f"refresh-1 {clock.text(clock.now())}"
        quick.secrets.edit(TOKEN + "acme", annotations={"lease": lease})
        quick.secrets.add_fault(Fault("UpdateSecret"))
        assert quick.run()[0] == 503
        assert quick.clocks.stopwatch() >= TERM
        assert quick.annotations()["lease"] == lease
        assert quick.tiktok.calls == []
        assert quick.run()[0] == 200
        assert quick.clocks.stopwatch() >= 2 * TERM
        assert quick.outcome() == NEW


LOST = Outcome("old", "reauthorize", 1, ("ERROR reauthorization.required",))
DEATHS = {
    "after it took the lease": (3, NEW),
    "after it read the token": (4, NEW),
    "after it looked for a newer token": (5, NEW),
    "after it read the refresh token": (6, NEW),
    "after it looked for a newer refresh token": (7, NEW),
    "after it asked whether versions may be added": (8, NEW),
    "after TikTok answered": (9, LOST),
    "after it stored the whole grant": (10, AS_IT_IS),
    "after it stored the token": (11, AS_IT_IS),
}


class TestHolderThatDied:
    @each("death", DEATHS)
    def test_is_followed_within_the_next_run(self, quick: QuickStage, death: tuple[int, Outcome]) -> None:
        """A run that comes at once waits for a term, takes the lease over and does the work that is left."""
        point, outcome = death
        quick.plant("acme", "expiring", age_hours=13)
        with quick.dying(point, after=True):
            quick.run()
        quick.token_calls()
        before = quick.clocks.stopwatch()
        assert quick.run()[0] == 200
        assert TERM - 1 <= quick.clocks.stopwatch() - before <= TERM + 11
        assert quick.outcome() == outcome

    @each("kind", {"with an expiring grant": "expiring", "with a long-lived grant": "long-lived"})
    def test_does_not_keep_anybody_from_connecting_again(self, quick: QuickStage, kind: str) -> None:
        """Once the dead holder's lease has ended, a re-connection goes through at once."""
        quick.plant("acme", "expiring", age_hours=13)
        with quick.dying(7, after=True):
            quick.run()
        assert "lease" in quick.annotations()
        quick.later(minutes=1)
        quick.connected("acme", kind)
        quick.later(minutes=5)
        assert quick.run()[0] == 200
        assert quick.labels() | {"kind": kind, "health": "ok"} == quick.labels()
        assert quick.outcome() == Outcome("new", "ok", 1, ("NOTICE connection.stored",))

    def test_many_leave_many_leases_and_looking_keeps_to_the_quota(self, quick: QuickStage) -> None:
        """Leases left behind on a hundred connections are waited for without asking six hundred times a minute."""
        for index in range(100):
            quick.plant(f"acme-{index:03}", "expiring", age_hours=13)
            lease = f"refresh-{index} {clock.text(clock.now())}"
            quick.secrets.edit(f"{TOKEN}acme-{index:03}", annotations={"lease": lease})
        quick.secrets.forget_calls()
        assert quick.run()[0] == 200
        assert quick.secrets.count("GetSecret") < 600
        assert (quick.told(), quick.token_calls()) == (["INFO token.refreshed"] * 100, 100)
        for index in range(100):
            assert quick.outcome(f"acme-{index:03}") == AS_IT_IS


class TestConnect:
    def test_waits_for_a_refresh_under_way_and_spends_nothing(self, quick: QuickStage) -> None:
        """While a refresh holds the connection a callback waits its quarter of a minute, then asks for a reload."""
        quick.connected("acme", "expiring")
        quick.later(hours=13)
        browser = quick.browser()
        state = browser.begin(quick.link("acme"))
        code = quick.code("expiring")
        quick.tiktok.add_fault(Fault("refresh_token", do="hold", hold="here"))
        quick.tiktok.forget_calls()
        with quick.meanwhile(quick.run):
            quick.tiktok.wait_held("here")
            answer = browser.come_back(code, state)
            assert answer.status_code == 503
            assert quick.tiktok.count("access_token") == 0
            quick.tiktok.release("here")
        assert browser.come_back(code, state).status_code == 303
        assert quick.token()["access_token"] == quick.tiktok.grants[-1].access_token
        assert quick.tiktok.reused == []

    def test_is_waited_for_by_a_run(self, quick: QuickStage) -> None:
        """While a callback holds the connection a run sends no refresh token of it."""
        quick.connected("acme", "expiring")
        quick.later(hours=13)
        quick.tiktok.add_fault(Fault("access_token", do="hold", hold="here"))
        with quick.clocks.standing(), quick.meanwhile(lambda: quick.approve("acme", "expiring")):
            quick.tiktok.wait_held("here")
            looked = quick.secrets.count("GetSecret")
            with quick.meanwhile(quick.run):
                while quick.secrets.count("GetSecret") < looked + 5:
                    threading.Event().wait(0.001)
                quick.tiktok.release("here")
        assert quick.tiktok.count("refresh_token") == 0
        assert quick.token()["access_token"] == quick.tiktok.grants[-1].access_token
        assert quick.labels()["health"] == "ok"
