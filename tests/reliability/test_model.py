"""Anything in any order: connect, refresh, die, fail, wait, revoke, re-connect, edit; against a model of the promises.

Reliability line 20. The model knows for each connection what became of its grant at TikTok's side. After every step the
promises are held against the stores' bytes; what may be wrong for a while is right after the next undisturbed run.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from emulators.serving import Fault
from emulators.tiktok import Options
from reliability.direct import Moment
from reliability.quick import STALE, QuickStage, assert_well, clock_off_by
from stage import REFRESH, TOKEN, NotShown
from tokenkeeper.grant import Family

NAMES = ("acme", "beta", "gamma")
ACCOUNT = "gamma"  # of the family of TikTok accounts
KINDS = ("expiring", "long-lived")
CALLS = ("GetSecret", "UpdateSecret", "AccessSecretVersion", "AddSecretVersion", "DestroySecretVersion", "ListSecrets")
OF_ALL = ("ListSecrets", "refresh_token", "account_refresh_token", "advertiser_get")
MIDDLES = (*OF_ALL, "GetSecret", "UpdateSecret", "AccessSecretVersion", "AddSecretVersion")

names = st.sampled_from(NAMES)
mostly = st.sampled_from([True, True, False])
calls_of_a_run = st.sampled_from(MIDDLES)
kinds = st.sampled_from(KINDS)
numbers = st.integers(1, 16)
prefixes = st.sampled_from([TOKEN, REFRESH])
positions = st.integers(0, len(NAMES) - 1)  # among those that there are


@dataclass
class Expected:
    """What the model knows of a connection."""

    revoked: bool = False  # whether the advertiser took the access away
    may_be_lost: bool = False  # whether a process died, or storing failed, between TikTok's answer and the first write
    alerts: int = 0  # how often somebody was asked to authorize again


class Keeper(RuleBasedStateMachine):
    """The product between two stand-ins, and what people and machines do to it."""

    stage: QuickStage
    seen: Counter[str]

    @initialize()
    def begin(self) -> None:
        self.stage.reset()
        self.stage.tiktok.options = Options(punish_reuse=False)
        self.known: dict[str, Expected] = {}
        self.disturbed = False  # something goes wrong until all is quiet again
        self.troubled = False  # something went wrong, or somebody died, since all was quiet
        self.lossy = False  # answers of TikTok to a refresh get lost
        self.died = False  # in the last step
        self.orphans: set[str] = set()  # refresh tokens that are stored although their successors were issued
        self.reused = len(self.stage.tiktok.reused)
        self.approved = 0  # grants before somebody approved the last time

    # --- what happens ---

    @rule(name=names, kind=kinds)
    def connect(self, name: str, kind: str) -> None:
        status = self._approve(name, kind)
        assert status == 303 or self.disturbed or "lease" in self._annotations(name)
        assert self._expect_what_is_stored(name) or status != 303

    @rule(name=names, kind=kinds, at=numbers, after=st.booleans())
    def connect_and_die(self, name: str, kind: str, at: int, after: bool) -> None:
        self._approve(name, kind, at, after=after)
        if len(self.stage.tiktok.grants) == self.approved:
            return
        if self._newest(TOKEN + name) or self._newest(REFRESH + name):
            self.known.setdefault(name, Expected())
        self._expect_what_is_stored(name)

    @rule(force=st.booleans(), seconds=st.sampled_from([0, -30, 30]))
    def run(self, force: bool, seconds: int) -> None:
        with clock_off_by(seconds=seconds):
            status, summary = self.stage.run({"force": True} if force else None)
        numbers = [value for key, value in summary.items() if isinstance(value, int) and key != "connections"]
        assert summary["connections"] == sum(numbers)
        assert status in {200, 503}
        if not self.disturbed and status == 200 and not seconds:
            self._assert_all_is_well()

    @rule(force=mostly, name=names, call=calls_of_a_run, of=prefixes)
    def run_twice_at_once(self, force: bool, name: str, call: str, of: str) -> None:
        """A trigger that is delivered twice: the second run comes while the first makes a call."""
        other = self.stage.instance("refresh", RUN_BUDGET_SECONDS="5")
        answers: list[int] = []

        def run_again() -> None:
            answers.append(self.stage.run({"force": force}, function=other)[0])

        self.stage.wire.at(Moment(call, "" if call in OF_ALL else of + name), run_again)
        answers.append(self.stage.run({"force": force})[0])
        self.stage.wire.forget_moments()
        self.seen["run twice"] += len(answers) - 1
        assert set(answers) <= {200, 503}

    @rule(force=mostly, name=names, kind=kinds, call=calls_of_a_run, of=prefixes, stale=st.booleans())
    def connect_during_a_run(self, force: bool, name: str, kind: str, call: str, of: str, stale: bool) -> None:
        """Somebody comes back from TikTok while a run makes a call; or it hangs there until its lease is stale."""
        before = self._refresh_token(name)
        answers: list[tuple[int, bool]] = []

        def reconnect() -> None:
            self.stage.later(seconds=STALE if stale else 0)
            answers.append((self._approve(name, kind), self._expect_what_is_stored(name)))

        self.stage.wire.at(Moment(call, "" if call in OF_ALL else of + name), reconnect)
        self.stage.run({"force": force})
        self.stage.wire.forget_moments()
        self._follow_refresh_tokens(before)
        if self.lossy and before and self.stage.tiktok.spent[before] and name in self.known:
            self.known[name].may_be_lost = True
        self._read_log()  # what the run found of the old grant, it may alert of
        for status, stored in answers:
            self.seen["connected during a run"] += 1
            assert stored or status == 503 or self.disturbed

    @rule(at=numbers, after=st.booleans(), force=st.booleans())
    def run_and_die(self, at: int, after: bool, force: bool) -> None:
        self._run_and_die(at, after=after, force=force)

    @rule(at=st.integers(1, 3), after=st.booleans())
    def die_where_a_token_is_used(self, at: int, after: bool) -> None:
        """Chance alone hardly ever kills there."""
        self._run_and_die(at, "refresh_token", after=after, force=True)

    @rule(other=st.booleans())
    def a_new_instance(self, other: bool) -> None:
        """The cloud starts another instance; what only the old one remembered is gone."""
        if other:
            self.stage.new_instances()

    @rule(hours=st.sampled_from([0.2, 1, 7, 13, 40]))
    def wait(self, hours: float) -> None:
        self.stage.later(hours=hours)

    @rule(which=positions)
    def revoke(self, which: int) -> None:
        """The advertiser takes the access back."""
        for name in _chosen(self.known, which):
            for given in self.stage.tiktok.grants:
                if given.access_token in self._tokens_of(name):
                    self.stage.tiktok.revoke(given.access_token)
            self.known[name].revoked = True

    @rule(call=st.sampled_from(CALLS), status=st.sampled_from([503, 429]), times=st.integers(1, 4))
    def secret_manager_fails(self, call: str, status: int, times: int) -> None:
        self.stage.secrets.add_fault(Fault(call, status=status, times=times))
        self.disturbed = True

    @rule(call=st.sampled_from(CALLS))
    def an_answer_of_secret_manager_is_lost(self, call: str) -> None:
        self.stage.secrets.add_fault(Fault(call, do="drop", when="after"))
        self.disturbed = True

    @rule(call=st.sampled_from(["*refresh_token", "advertiser_get"]), status=st.sampled_from([500, 200, 429]))
    def tiktok_fails(self, call: str, status: int) -> None:
        self.stage.tiktok.add_fault(Fault(call, status=status, body=b"<html>", times=2))
        self.disturbed = True

    @rule(do=st.sampled_from(["drop", "truncate"]))
    def an_answer_of_tiktok_is_lost(self, do: Literal["drop", "truncate"]) -> None:
        """The refresh took effect; what it brought is known to nobody."""
        self.stage.tiktok.add_fault(Fault("*refresh_token", do=do, when="after"))
        self.disturbed = self.lossy = True

    @rule(seconds=st.sampled_from([0, 2, 8]))
    def calls_are_slow(self, seconds: float) -> None:
        self.stage.wire.takes["secrets"] = self.stage.wire.takes["tiktok"] = (seconds, seconds)
        self.disturbed = self.disturbed or bool(seconds)

    @rule(latest=st.integers(0, 2), lists=st.integers(0, 2))
    def readings_are_late(self, latest: int, lists: int) -> None:
        self.stage.secrets.set_lag(latest=latest, lists=lists)
        self.disturbed = self.disturbed or bool(latest or lists)

    @rule(which=positions)
    def edit_by_hand(self, which: int) -> None:
        """Somebody breaks the token secret of an expiring grant."""
        expiring = [name for name in self.known if self.stage.labels(name).get("kind") == "expiring"]
        for name in _chosen(filter(self._refresh_token, expiring), which):
            self.stage.secrets.add_version(TOKEN + name, b"oops")
            self.disturbed = True

    @rule()
    def all_is_quiet_again(self) -> None:
        """Whatever was wrong is over; then two runs, as Cloud Scheduler sends them."""
        self.stage.quiet()
        self.stage.later(hours=1)
        self.stage.run({"force": True})
        self.stage.later(hours=1)
        status, _ = self.stage.run()
        assert status == 200
        self._assert_all_is_well()
        self._assert_nobody_is_silent()
        self.disturbed = self.troubled = self.lossy = False

    def _approve(self, name: str, kind: str, at: int = 0, *, after: bool = False) -> int:
        """Connect, perhaps dying at a call of the callback; returns the status, 0 where nobody was there to see it."""
        self.stage.later(seconds=1)  # links of one second are used up together
        self.approved = len(self.stage.tiktok.grants)
        browser = self.stage.browser()
        family: Family = "account" if name == ACCOUNT else "advertiser"
        try:
            state = browser.begin(self.stage.link(name, any_account=True, family=family))
        except NotShown as error:
            assert self.disturbed
            return error.response.status_code
        code = self.stage.account_code() if name == ACCOUNT else self.stage.code(kind)
        with self.stage.dying(at, after=after):
            return browser.come_back(code, state).status_code
        return 0

    def _expect_what_is_stored(self, name: str) -> bool:
        """Expect what TikTok has given for this approval, if one of the secrets has it; returns whether it has."""
        given = {grant.access_token for grant in self.stage.tiktok.grants[self.approved :]}
        kept = {(self._newest(kept + name) or {}).get("access_token") for kept in (TOKEN, REFRESH)}
        if given & kept:
            self.known[name] = Expected()
        return bool(given & kept)

    def _run_and_die(self, at: int, of: str = "", *, after: bool, force: bool) -> None:
        refreshed = self._refreshed()
        deaths = self.stage.wire.deaths
        with self.stage.dying(at, of, after=after):
            self.stage.run({"force": True} if force else None)
        self.died = self.stage.wire.deaths > deaths
        self._look_for_losses(refreshed)

    # --- what has to hold ---

    @invariant()
    def a_used_token_is_sent_only_where_its_successor_was_lost(self) -> None:
        """A successor is lost only by a death, or with TikTok's answer, or while Secret Manager does not take it."""
        self.seen["steps"] += 1
        self.troubled |= self.disturbed or self.died
        self._follow_refresh_tokens()
        self.died = False

    def _follow_refresh_tokens(self, replaced: str | None = None) -> None:
        """See the invariant; `replaced` was stored at first, and somebody connected again meanwhile."""
        reused = set(self.stage.tiktok.reused[self.reused :])
        self.reused = len(self.stage.tiktok.reused)
        assert self.lossy or reused <= self.orphans
        for token in filter(None, map(self._refresh_token, NAMES)):
            if self.stage.tiktok.spent[token] and token not in self.orphans:
                assert self.died or self.disturbed
                self.orphans.add(token)
                self.seen["orphans"] += 1
        assert reused - {replaced if self.lossy else None} <= self.orphans

    @invariant()
    def the_newest_version_can_be_read_and_so_can_the_one_before(self) -> None:
        for name in NAMES:
            for secret_id in (TOKEN + name, REFRESH + name):
                if secret_id in self.stage.secrets.secrets():
                    states = list(self.stage.secrets.states(secret_id).values())
                    assert set(states[-2:]) <= {"ENABLED"}

    @invariant()
    def no_alert_without_a_reason(self) -> None:
        self._read_log()

    def _read_log(self) -> None:
        for entry in self.stage.entries():
            self.seen[entry["event"]] += 1
            if entry["severity"] not in {"ERROR", "CRITICAL"}:
                continue
            name = entry.get("connection", "")
            known = self.known.get(name)
            if entry["event"] == "reauthorization.required":
                assert known is not None
                assert known.revoked or known.may_be_lost or self._refresh_token(name) in self.orphans, entry
                assert not known.alerts or self.troubled or self.disturbed or self.died, "alerted twice"
                known.alerts += 1
            else:
                assert self.disturbed, entry
        self.stage.recorder.lines.clear()

    def _assert_all_is_well(self) -> None:
        """Every reader has a token that lives, except where the advertiser or a death took it."""
        for name, known in self.known.items():
            labels = self.stage.labels(name)
            lost = known.may_be_lost or self._refresh_token(name) in self.orphans
            if known.revoked or (lost and labels["health"] == "reauthorize"):
                continue
            assert_well(self.stage, name)
            if labels["kind"] == "expiring":
                known.may_be_lost = self._refresh_token(name) in self.orphans  # found out when it is due
            else:
                assert REFRESH + name not in self.stage.secrets.secrets()

    def _assert_nobody_is_silent(self) -> None:
        """After a run that tried all of them, whatever does not work was alerted of, and nothing else was."""
        self._follow_refresh_tokens()
        self._read_log()
        for name, known in self.known.items():
            dead = known.revoked or self._refresh_token(name) in self.orphans
            assert (self.stage.labels(name)["health"] == "reauthorize") == dead, name
            assert bool(known.alerts) == dead, name
            self.seen["dead" if dead else "alive"] += 1

    # --- looking ---

    def _annotations(self, name: str) -> dict[str, str]:
        return self.stage.annotations(name) if TOKEN + name in self.stage.secrets.secrets() else {}

    def _payloads(self, secret_id: str) -> list[bytes]:
        return self.stage.secrets.payloads(secret_id) if secret_id in self.stage.secrets.secrets() else []

    def _newest(self, secret_id: str) -> dict[str, Any] | None:
        payloads = self._payloads(secret_id)
        try:
            return dict(json.loads(payloads[-1])) if payloads else None
        except ValueError:
            return None

    def _refresh_token(self, name: str) -> str | None:
        """The refresh token that counts: of the newest grant of a connection."""
        whole, token = self._newest(REFRESH + name) or {}, self._newest(TOKEN + name) or {}
        return None if token.get("obtained_at", "") > whole.get("obtained_at", "") else whole.get("refresh_token")

    def _tokens_of(self, name: str) -> set[str]:
        payloads = self._payloads(TOKEN + name) + self._payloads(REFRESH + name)
        return {json.loads(payload)["access_token"] for payload in payloads if payload.startswith(b"{")}

    def _refreshed(self) -> int:
        return sum(self.stage.tiktok.spent.values())

    def _look_for_losses(self, before: int) -> None:
        """A refresh that TikTok answered and no store holds died with the process."""
        if self._refreshed() == before:
            return
        current = {given.refresh_token for given in self.stage.tiktok.grants}
        for name, known in self.known.items():
            token = self._refresh_token(name)
            if token is not None and token not in current:
                known.may_be_lost = True


def _chosen(names: Iterable[str], which: int) -> list[str]:
    """One of them, or none where there is none.

    It is no precondition that there is one: what threads did decides that, and hypothesis wants to repeat a story.
    """
    there = sorted(names)
    return [there[which % len(there)]] if there else []


def check(stage: QuickStage, examples: int, steps: int, chance: int = 0) -> Counter[str]:
    """Play so many stories of at most so many steps; returns how often what was seen."""
    seen: Counter[str] = Counter()
    run_state_machine_as_test(
        seed(chance)(type("KeeperOnStage", (Keeper,), {"stage": stage, "seen": seen})),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        ),
    )
    print(dict(seen))
    return seen


def test_the_promises_hold_in_any_order_of_events(quick: QuickStage) -> None:
    """Whatever happens in whatever order, no token is lost, spent twice or silently dead."""
    check(quick, 24, 25)


@pytest.mark.slow
@pytest.mark.parametrize("quarter", [1, 2, 3, 4])
def test_the_promises_hold_in_ten_thousand_steps(quick: QuickStage, quarter: int) -> None:
    """The same over at least ten thousand steps, in four quarters; MODEL_EXAMPLES makes each more."""
    # No story without these. How often tokens die, or payloads are rebuilt, depends on which thread comes first.
    needed = "connection.stored", "token.refreshed", "alive", "run twice"
    seen: Counter[str] = Counter()
    for part in range(4):  # chance may leave one of them out, and which modules are loaded changes what it draws
        seen += check(quick, int(os.environ.get("MODEL_EXAMPLES", "56")), 50, chance=quarter + 4 * part)
        if min(seen[what] for what in needed) > 5:
            break
    assert seen["steps"] >= 2_500
    assert min(seen[what] for what in needed) > 5
