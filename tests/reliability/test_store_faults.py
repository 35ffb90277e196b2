"""What Secret Manager can do in a run, and what comes of it: nothing that TikTok issued is lost.

Reliability lines 2, 3, 4, 15, 16 and 17; promises 2, 4, 5 and 7.
"""

import threading
from dataclasses import dataclass, replace
from typing import Any

import pytest

from emulators.secret_manager import Quotas
from emulators.serving import Fault
from emulators.tiktok import Options
from reliability.direct import Moment
from reliability.quick import (
    AS_IT_IS,
    NEW,
    RECOVERED,
    REFRESHED,
    REQUIRED,
    SAVED,
    STOPPED,
    UNREADABLE,
    UNSAVED,
    UNTOUCHED,
    Outcome,
    QuickStage,
    Trouble,
    each,
    edited,
)
from stage import REFRESH, TOKEN

REBUILT, NOT_REMOVED, NOT_RECORDED = "NOTICE secret.rebuilt", "WARNING cleanup.failed", "WARNING run.not_recorded"
CALLS_OF_A_REFRESH = [
    "ListSecrets", "GetSecret", "UpdateSecret", "AccessSecretVersion", "TestIamPermissions", "AddSecretVersion",
    "ListSecretVersions", "DestroySecretVersion", "CreateSecret",
]  # fmt: skip


def destroyed(stage: QuickStage) -> list[list[int]]:
    """The destroyed versions of both secrets."""
    return [stage.secrets.destroyed(prefix + "acme") for prefix in (TOKEN, REFRESH)]


@each("trouble", {"the answer is 503": {}, "the answer is lost": {"do": "drop", "when": "after"}})
@pytest.mark.parametrize("call", CALLS_OF_A_REFRESH)
def test_any_call_may_fail_three_times(quick: QuickStage, call: str, trouble: dict[str, Any]) -> None:
    """Whichever call it is, the token is refreshed, once, and nobody is alerted; two versions are left of each."""
    quick.due(versions=8)
    quick.secrets.add_fault(Fault(call, times=3, **trouble))
    quick.assert_run(NEW)
    for prefix in (TOKEN, REFRESH):
        *old, before, newest = quick.secrets.states(prefix + "acme").items()
        assert (before, newest) == ((8, "ENABLED"), (9, "ENABLED")), "a write whose answer was lost is not made again"
        assert {state for _, state in old} == {"DESTROYED"}


@dataclass(frozen=True)
class Always:
    """A call that fails always, and what comes of it: of the run, of one more, and of one when it is fixed."""

    call: str
    on: str = ""
    skip: int = 0
    status: int = 503  # the run's
    first: Outcome = UNTOUCHED
    more: tuple[str, ...] = ()
    fixed: Outcome = NEW
    versions: int = 1
    answer: int = 503  # the call's


def left_undone(call: str, on: str, *logged: str, more: tuple[str, ...] = (), versions: int = 1) -> Always:
    """One that the token does not need: the run is as good, and a later one does it."""
    first = replace(NEW, logged=(REFRESHED, *logged) if on == "keeper" else (*logged, REFRESHED))
    return Always(call, on, status=200, first=first, more=more, fixed=AS_IT_IS, versions=versions)


NOT_STORED = Always("AddSecretVersion", REFRESH, first=Outcome("old", "ok", 1, (UNSAVED,)),
                    more=(UNSAVED,), fixed=replace(AS_IT_IS, logged=(SAVED,)))  # fmt: skip
FAILING_ALWAYS = {
    "listing the secrets": Always("ListSecrets"),
    "taking the lease": Always("UpdateSecret", TOKEN),
    "reading the token": Always("AccessSecretVersion", TOKEN),
    "reading the refresh token": Always("AccessSecretVersion", REFRESH),
    "looking for a newer refresh token": Always("AccessSecretVersion", REFRESH, 1),
    "asking whether versions may be added": Always("TestIamPermissions"),
    "storing the whole grant": NOT_STORED,
    "storing the whole grant, which is forbidden": replace(NOT_STORED, answer=403),
    "storing the token": Always("AddSecretVersion", TOKEN, first=Outcome("half", "ok", 1, ()), fixed=AS_IT_IS),
    "storing the token, which is forbidden":
        Always("AddSecretVersion", TOKEN, answer=403, status=200, fixed=replace(AS_IT_IS, logged=(RECOVERED,)),
               first=Outcome("half", "failing", 1, (UNREADABLE,))),
    "destroying old versions, which is forbidden":
        replace(left_undone("DestroySecretVersion", TOKEN, NOT_REMOVED, versions=3), answer=403),
    "everything": Always("*", first=replace(UNTOUCHED, logged=(NOT_RECORDED,)), more=(NOT_RECORDED,)),
    "listing old versions": left_undone("ListSecretVersions", TOKEN, NOT_REMOVED, versions=8),
    "destroying old versions": left_undone("DestroySecretVersion", REFRESH, versions=3),
    "reading the record of the last run": left_undone("GetSecret", "keeper", NOT_RECORDED, more=(NOT_RECORDED,)),
    "writing the first record of a run": left_undone("CreateSecret", "keeper", NOT_RECORDED, more=(NOT_RECORDED,)),
}  # fmt: skip


@each("case", FAILING_ALWAYS)
def test_a_call_fails_always(quick: QuickStage, case: Always) -> None:
    """Nothing is redeemed twice and nothing lost; once it is fixed the new grant is stored, if need be by another."""
    quick.due(versions=case.versions)
    quick.secrets.add_fault(Fault(case.call, case.on, skip=case.skip, times=None, status=case.answer))
    more = replace(case.first, token_calls=0, logged=case.more)
    for outcome in (case.first, more):
        quick.assert_run(outcome, case.status)
    quick.quiet()
    quick.later(minutes=5)
    if UNSAVED not in case.more:  # only the instance that has it can store that
        quick.new_instances()
    quick.assert_run(case.fixed)
    quick.later(hours=13)
    quick.assert_run(NEW)
    for prefix in (TOKEN, REFRESH):
        assert list(quick.secrets.states(prefix + "acme").values()).count("ENABLED") == 2


def test_a_lost_answer_that_nobody_can_look_for(quick: QuickStage) -> None:
    """The grant is stored once more, and the first of the two is not taken for somebody else's."""
    quick.due()
    quick.secrets.add_fault(Fault("AddSecretVersion", do="drop", when="after"))
    adding = Moment("AddSecretVersion", REFRESH + "acme")
    quick.wire.at(adding, lambda: quick.secrets.deny("secretmanager.versions.access"))
    quick.wire.at(replace(adding, skip=1), quick.secrets.allow_all)
    quick.assert_run(NEW)
    assert len(quick.secrets.payloads(REFRESH + "acme")) == 3


def test_the_closing_write_fails_always(quick: QuickStage) -> None:
    """Both secrets are written and the connection is not: it stays held, so that later runs complete it."""
    quick.due()
    quick.secrets.add_fault(Fault("UpdateSecret", TOKEN, skip=1, times=None))
    for calls in (1, 0):
        assert quick.run()[0] == 503
        assert (quick.logged(), quick.token_calls()) == ([REFRESHED] * calls, calls)
        assert quick.token()["access_token"] == quick.whole_grant()["access_token"]
        assert "lease" in quick.annotations()
    quick.quiet()
    quick.later(minutes=5)
    quick.assert_run(AS_IT_IS)


def test_another_instance_tries_while_the_first_still_has_it(quick: QuickStage) -> None:
    """Another instance finds the token used and alerts; the first stores what it has and says so."""
    quick.tiktok.options = Options(punish_reuse=False)
    quick.due(family="account")
    quick.secrets.add_fault(Fault("AddSecretVersion", times=None))
    quick.run()
    assert quick.outcome() == Outcome("old", "ok", 1, (UNSAVED,))
    quick.quiet()
    quick.later(hours=1)
    quick.run(function=quick.instance("refresh"))
    assert quick.outcome() == Outcome("old", "reauthorize", 1, (REQUIRED,))
    quick.assert_run(Outcome("new", "ok", 0, (SAVED, RECOVERED)))


@each("fault", {"reading it is answered by 503": Fault("GetSecret", REFRESH, times=None),
                "deleting it is answered by 503": Fault("DeleteSecret", REFRESH, times=None),
                "deleting it is forbidden": Fault("DeleteSecret", REFRESH, times=None, status=403)})  # fmt: skip
def test_a_replaced_refresh_secret_cannot_be_deleted(quick: QuickStage, fault: Fault) -> None:
    """A run warns of it, keeps the new grant, redeems nothing of the old, and deletes it later."""
    quick.plant("acme", "expiring", age_hours=5)
    quick.connected("acme", "long-lived")
    stored = quick.secrets.payloads(TOKEN + "acme")
    quick.token_calls()
    quick.logged()
    quick.secrets.add_fault(fault)
    for logged in ([NOT_REMOVED], [NOT_REMOVED], []):
        if not logged:
            quick.quiet()
        quick.later(hours=13)
        assert quick.run()[0] == 200
        assert (REFRESH + "acme" in quick.secrets.secrets()) == bool(logged)
        assert (quick.logged(), quick.token_calls()) == (logged, 0)
        assert quick.secrets.payloads(TOKEN + "acme") == stored


@each("lag", {"latest is late": (2, 0), "lists are late": (0, 2), "both are late": (1, 1)})
def test_late_readings_redeem_no_token_twice(quick: QuickStage, lag: tuple[int, int]) -> None:
    """With `latest` and lists behind, and every trigger doubled, each refresh token is used once over many days."""
    quick.due()
    quick.secrets.set_lag(latest=lag[0], lists=lag[1])
    other = quick.instance("refresh")
    for _ in range(4):
        with quick.clocks.passing_slowly(), quick.meanwhile(quick.run, lambda: quick.run(function=other)):
            pass
        assert quick.outcome() == NEW
        quick.assert_run(AS_IT_IS)
        quick.later(hours=13)
    assert quick.tiktok.reused == []


def test_quotas_of_the_project_and_of_each_secret(quick: QuickStage) -> None:
    """Within Google's quotas a hundred connections are refreshed, at the rate that these allow."""
    names = [f"acme-{number}" for number in range(100)]
    quick.due(*names)
    quotas = Quotas(per_secret=True, writes_per_minute=600, reads_per_minute=600, accesses_per_minute=90_000)
    quick.secrets.set_quota(quotas)
    for _ in range(20):
        if quick.run()[0] == 200:
            break
        quick.later(minutes=1)
    assert (quick.logged(), quick.token_calls()) == ([REFRESHED] * 100, 100)
    for name in names:
        assert quick.outcome(name) == AS_IT_IS


class TestForbidden:
    @each("case", {"reading": ("versions.access", "token-beta", 200), "adding": ("versions.add", "refresh-beta", 503)})
    def test_for_one_secret(self, quick: QuickStage, case: tuple[str, str, int]) -> None:
        """It is the first that a run gets to, and the run goes on: one alert for that one, the others are done."""
        permission, secret, status = case
        quick.plant("beta", "expiring", age_hours=20)
        quick.due("acme", "gamma")
        for name in ("acme", "gamma"):
            quick.wire.at(Moment("UpdateSecret", TOKEN + name), lambda: until_refused(quick))
        quick.secrets.deny(f"secretmanager.{permission}", secret)
        for logged in ([UNREADABLE, REFRESHED, REFRESHED], [], []):
            found, summary = quick.run()
            assert (found, summary["attention"], summary["failing"]) == (status, ["beta"], 1)
            assert sorted(quick.logged()) == logged
        assert quick.outcome("beta") == Outcome("old", "failing", 2, ())  # the calls are the others'
        for name in ("acme", "gamma"):
            assert quick.outcome(name) == Outcome("new", "ok", 0, ())
        quick.quiet()
        assert quick.run()[0] == 200
        assert quick.outcome("beta") == Outcome("new", "ok", 1, (REFRESHED, RECOVERED))

    @each("case", {"reading is forbidden": ("versions.access", 3, 4), "adding is forbidden": ("versions.add", 1, 1),
                   "listing is forbidden": ("secrets.list", 3, 0)})  # fmt: skip
    def test_everywhere(self, quick: QuickStage, case: tuple[str, int, int]) -> None:
        """What it may do for nobody is nobody's own trouble: one alert a run, nothing redeemed, nobody marked."""
        permission, number, remaining = case
        names = ["acme", "beta", "gamma"][:number]
        quick.due(*names)
        quick.plant("lasting")
        quick.secrets.deny(f"secretmanager.{permission}")
        for _ in range(2):
            status, summary = quick.run()
            assert (status, summary["remaining"]) == (500, remaining)
            assert f"secretmanager.{permission}" in summary["error"]
            assert quick.outcome() == Outcome("old", "ok", 0, (STOPPED,))
        for name in (*names, "lasting"):
            assert quick.outcome(name) == UNTOUCHED
        quick.quiet()
        quick.assert_run(Outcome("new", "ok", number, (REFRESHED,) * number))

    def test_everywhere_among_many(self, quick: QuickStage) -> None:
        """After twenty secrets that no version may be added to, nobody else's is asked about."""
        for number in range(60):
            quick.due(f"c{number}")
        quick.new_instances(TIKTOK_MAX_QPS="0.5")
        quick.secrets.deny("secretmanager.versions.add")
        assert quick.run()[1]["remaining"] == 60
        assert 20 <= quick.secrets.count("TestIamPermissions") < 60
        assert (quick.logged(), quick.tiktok.calls) == ([STOPPED], [])

    def test_of_two_where_nothing_else_is_read(self, quick: QuickStage) -> None:
        """That the others may not be read either, nobody knows: each of the two has its own alert."""
        quick.plant("fresh", "expiring")
        for name in ("acme", "beta"):
            quick.plant(name)
            quick.secrets.deny("secretmanager.versions.access", TOKEN + name)
        for body in (None, {"connections": ["acme", "beta"]}):
            status, summary = quick.run(body)
            assert (status, summary["failing"], summary["attention"]) == (200, 2, ["acme", "beta"])
        assert quick.logged() == [UNREADABLE] * 2
        assert quick.secrets.count("UpdateSecret", TOKEN) == 2 * 2, "the lease and the mark, by the first of the runs"


def until_refused(stage: QuickStage) -> None:
    """Wait until the run has met the secret of `beta` that is forbidden."""
    asked = {("TestIamPermissions", REFRESH + "beta"), ("AccessSecretVersion", TOKEN + "beta")}
    while not asked & {*stage.wire.calls}:
        threading.Event().wait(0.001)


@each("status", {"every change is forbidden": 403, "every change is a bad request": 400})
def test_a_secret_that_takes_no_change_is_alerted_of_by_each_run(quick: QuickStage, status: int) -> None:
    """No secret says that it was alerted of: each run that finds it says so, redeems nothing, and does the other."""
    quick.due()
    quick.due("other")
    quick.secrets.add_fault(Fault("UpdateSecret", TOKEN + "acme", times=None, status=status))
    for calls in (1, 0):  # the one call is the other's
        found, summary = quick.run()
        assert (found, summary["attention"], summary["refreshed"]) == (200, ["acme"], calls)
        assert sorted(quick.logged()) == [UNREADABLE, *[REFRESHED] * calls]
        assert quick.outcome() == Outcome("old", "ok", calls, ())
    quick.quiet()
    quick.assert_run(NEW)


@each("body", {"of all": None, "of this one": {"connections": ["acme"]}})
def test_a_connection_that_the_list_lacks_and_nobody_can_read(quick: QuickStage, body: dict[str, Any] | None) -> None:
    """It is named, or the run is to be called again, and the others are done; it is not taken for deleted."""
    quick.due()
    quick.plant("beside")
    for secret_id in (REFRESH + "acme", TOKEN + "beside"):
        quick.secrets.edit(secret_id)  # so that the list has these, and not the token secret
    quick.secrets.set_lag(lists=1, hide_first=True)
    quick.secrets.add_fault(Fault("GetSecret", TOKEN + "acme", times=None))
    status, summary = quick.run(body)
    if body is None:
        assert (summary["attention"], summary["verified"], summary["connections"]) == (["acme"], 1, 1)
    else:
        assert (status, summary["connections"]) == (503, 0)
    assert (quick.logged(), quick.tiktok.count("refresh_token")) == ([], 0)
    quick.secrets.clear_faults()
    quick.assert_run(NEW)


# Who was there before a refresh that has eight versions of each secret to destroy.
BEFORE_IT = {
    "the list is late": lambda stage, _: stage.secrets.set_lag(lists=5),
    "some are destroyed already": lambda stage, secret_id: stage.secrets.set_state(secret_id, 1, "DESTROYED"),
    "some are disabled": lambda stage, secret_id: stage.secrets.set_state(secret_id, 1, "DISABLED"),
}


@each("happens", BEFORE_IT)
def test_all_versions_but_two_are_destroyed_although(quick: QuickStage, happens: Trouble) -> None:
    """What is gone already is no trouble, and what a late list does not show is not forgotten for ever."""
    quick.due(versions=9)
    for secret_id in (TOKEN + "acme", REFRESH + "acme"):
        happens(quick, secret_id)
    quick.assert_run(NEW)
    assert destroyed(quick) == [list(range(1, 9))] * 2
    assert quick.annotations()["destroyed-to"] == "8"


@each("fails", {"destroying fails": True, "destroying takes too long": False})
def test_what_could_not_be_destroyed_is_destroyed_behind_later_refreshes(quick: QuickStage, fails: bool) -> None:
    """The run is as good, and never the newest two are destroyed."""
    quick.due(versions=40)
    if fails:
        quick.secrets.add_fault(Fault("DestroySecretVersion", skip=2, times=None))
    else:
        quick.wire.takes["secrets"] = (1, 1)
    quick.assert_run(NEW)
    assert 0 < sum(len(numbers) for numbers in destroyed(quick)) < 2 * 39
    quick.quiet()
    for newest in (42, 43, 44):
        quick.later(hours=13)
        quick.assert_run(NEW)
        assert destroyed(quick) == [list(range(1, newest - 1))] * 2


@each("dead", {"the token secret is edited by hand": False, "TikTok says that the token has ended": True})
def test_a_refresh_secret_that_the_list_does_not_show_yet(quick: QuickStage, dead: bool) -> None:
    """A token is not given up because a late list hides what can renew it."""
    quick.due()
    for _ in range(2):
        quick.secrets.edit(TOKEN + "acme", annotations={})
    quick.secrets.set_lag(lists=2, hide_first=True)
    if dead:
        quick.tiktok.fail_token(quick.token()["access_token"], 40102)
    else:
        edited(quick, TOKEN + "acme")
    quick.assert_run(Outcome("new", "ok", 1, (REFRESHED,) if dead else (REBUILT, REFRESHED)))


@each("case", {"an expiring grant": ("expiring", 1), "a long-lived grant": ("long-lived", 13)})
@each("kept", {"all of them": (), "all but one": ("managed-by",)})
def test_labels_that_somebody_removed_are_put_back(
    quick: QuickStage, case: tuple[str, int], kept: tuple[str, ...]
) -> None:
    """By the next run, once, on both secrets; labels of the operator's own stay."""
    kind, hours = case
    quick.plant("acme", kind, age_hours=hours)
    secrets = [one for one in quick.secrets.secrets() if one.endswith("acme")]
    before = {secret_id: quick.secrets.labels(secret_id) for secret_id in secrets}
    for secret_id, labels in before.items():
        quick.secrets.edit(secret_id, labels={**dict.fromkeys(labels.keys() - {*kept}), "team": "paid"})
    for _ in range(2):
        assert quick.run()[0] == 200
        assert {one: quick.secrets.labels(one) for one in secrets} == {
            one: labels | {"team": "paid"} for one, labels in before.items()
        }
    writes = [quick.secrets.count(call, TOKEN) for call in ("UpdateSecret", "AddSecretVersion")]
    assert writes == [2, 0], "the lease, and the labels"
