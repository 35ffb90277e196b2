"""What Secret Manager can do in a run, and what comes of it: nothing that TikTok handed out is lost."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from local.secret_manager import Quotas
from local.serving import Fault
from local.tiktok import Options
from reliability.quick import (
    AS_IT_IS,
    AWAY,
    FORBIDDEN,
    LATEST,
    LOST,
    NEW,
    THROTTLED,
    TROUBLES,
    UNTOUCHED,
    Outcome,
    QuickStage,
    each,
    mostly_slow,
)
from stage import REFRESH, TOKEN
from tokenkeeper import clock

CALLS_OF_A_REFRESH = {
    "listing the secrets": "ListSecrets",
    "reading a connection": "GetSecret",
    "marking a connection": "UpdateSecret",
    "reading a version": "AccessSecretVersion",
    "asking whether versions may be added": "TestIamPermissions",
    "adding a version": "AddSecretVersion",
    "listing old versions": "ListSecretVersions",
    "destroying an old version": "DestroySecretVersion",
    "making the secret for the run's note": "CreateSecret",
}


def due(stage: QuickStage, name: str = "acme", versions: int = 1) -> None:
    """An expiring connection past half of its life."""
    stage.plant(name, "expiring", age_hours=13)
    for secret_id in (TOKEN + name, REFRESH + name):
        payload = stage.secrets.payloads(secret_id)[-1]
        for _ in range(versions - 1):
            stage.secrets.add_version(secret_id, payload)


REFRESHED = "INFO token.refreshed"
RECOVERED = "NOTICE connection.recovered"
UNSAVED, SAVED = "CRITICAL token.unsaved", "NOTICE token.saved"
UNREADABLE, REBUILT = "ERROR secret.unreadable", "NOTICE secret.rebuilt"
REQUIRED, STOPPED = "ERROR reauthorization.required", "CRITICAL run.stopped"
UNCLEARED, NOT_NOTED = "WARNING cleanup.failed", "WARNING run.not_noted"


def assert_new(stage: QuickStage, name: str = "acme") -> None:
    """What TikTok holds for good is stored, in both secrets, and the connection is as it should be."""
    given = next(one for one in stage.tiktok.grants if one.refresh_token == stage.whole_grant(name)["refresh_token"])
    assert stage.token(name)["access_token"] == stage.whole_grant(name)["access_token"] == given.access_token
    assert stage.tiktok.is_alive(given.access_token)
    assert stage.labels(name)["health"] == "ok"
    assert stage.annotations(name)["obtained-at"] == stage.token(name)["obtained_at"]
    assert "lease" not in stage.annotations(name)


@each("trouble", TROUBLES)
@each("times", mostly_slow({"fails once": 1, "fails three times": 3}, "fails once"))
@each("call", CALLS_OF_A_REFRESH)
def test_any_call_may_fail_in_passing(quick: QuickStage, call: str, trouble: dict[str, Any], times: int) -> None:
    """Whichever call fails once or three times, the token is refreshed, once, and nobody is alerted."""
    due(quick, versions=8)
    quick.secrets.add_fault(Fault(call, times=times, **trouble))
    assert quick.run()[0] == 200
    assert quick.outcome() == NEW
    assert [state for state in quick.secrets.states(TOKEN + "acme").values() if state == "ENABLED"] == ["ENABLED"] * 2
    assert quick.secrets.states(TOKEN + "acme")[9] == "ENABLED"


@each("number", {"is lost once": 1, "is lost twice": 2})
@each("secret_id", {"the answer about the refresh secret's": REFRESH, "the answer about the token secret's": TOKEN})
def test_a_write_whose_answer_is_lost_is_found_and_not_made_again(
    quick: QuickStage, secret_id: str, number: int
) -> None:
    """A version that was added is recognised by its number, so that there is no second one."""
    due(quick)
    quick.secrets.add_fault(Fault("AddSecretVersion", resource=secret_id, do="drop", when="after", times=number))
    assert quick.run()[0] == 200
    assert quick.outcome() == NEW
    assert len(quick.secrets.payloads(REFRESH + "acme")) == len(quick.secrets.payloads(TOKEN + "acme")) == 2


@each("trouble", {"it is forbidden": FORBIDDEN, "it is lost on its way": LOST})
def test_the_first_write_fails_always(quick: QuickStage, trouble: dict[str, Any]) -> None:
    """One critical alert; then this instance's next run stores it, without asking TikTok again, and says so."""
    due(quick)
    quick.secrets.add_fault(Fault("AddSecretVersion", times=None, **trouble))
    assert quick.run()[0] == 503
    assert quick.outcome() == Outcome("old", "ok", 1, (UNSAVED,))
    assert quick.run()[0] == 503
    assert quick.outcome() == UNTOUCHED
    quick.secrets.clear_faults()
    quick.later(minutes=5)
    assert quick.run()[0] == 200
    assert quick.outcome() == Outcome("new", "ok", 0, (SAVED,))


def test_the_first_write_fails_until_the_instance_is_gone(quick: QuickStage) -> None:
    """What TikTok handed out goes with the instance; then TikTok's own word brings the alert to authorize anew."""
    due(quick)
    quick.secrets.add_fault(Fault("AddSecretVersion", times=None))
    quick.run()
    assert quick.outcome() == Outcome("old", "ok", 1, (UNSAVED,))
    quick.secrets.clear_faults()
    quick.new_instances()
    quick.later(hours=1)
    assert quick.run()[0] == 200
    assert quick.outcome() == Outcome("old", "reauthorize", 1, (REQUIRED,))
    quick.later(hours=1)
    quick.run()
    assert quick.outcome() == Outcome("old", "reauthorize", 0, ())


def test_another_instance_tries_while_the_first_still_has_it(quick: QuickStage) -> None:
    """Another instance finds the token spent and alerts; the first stores what it has and says so."""
    quick.tiktok.options = Options(punish_reuse=False)
    due(quick)
    quick.secrets.add_fault(Fault("AddSecretVersion", times=None))
    quick.run()
    assert quick.outcome() == Outcome("old", "ok", 1, (UNSAVED,))
    quick.secrets.clear_faults()
    quick.later(hours=1)
    quick.run(function=quick.instance("refresh"))
    assert quick.outcome() == Outcome("old", "reauthorize", 1, (REQUIRED,))
    assert quick.run()[0] == 200
    assert quick.outcome() == Outcome("new", "ok", 0, (SAVED, RECOVERED))


@each(
    "case",
    {
        "Secret Manager is away": (AWAY, "ok", (), ()),
        "it is forbidden": (FORBIDDEN, "failing", (UNREADABLE,), (RECOVERED,)),
    },
)
def test_the_second_write_fails_always(
    quick: QuickStage, case: tuple[dict[str, Any], str, tuple[str, ...], tuple[str, ...]]
) -> None:
    """The whole grant is kept already: any later run writes the token secret from it, without asking TikTok."""
    trouble, health, alert, over = case
    due(quick)
    quick.secrets.add_fault(Fault("AddSecretVersion", resource=TOKEN, times=None, **trouble))
    quick.run()
    assert quick.outcome() == Outcome("half", health, 1, alert)
    quick.secrets.clear_faults()
    quick.new_instances()
    quick.later(minutes=30)
    assert quick.run()[0] == 200
    assert quick.outcome() == Outcome("new", "ok", 0, over)


def one_after_the_other(stage: QuickStage) -> None:
    for _ in range(2):
        assert stage.run()[0] == 200


def at_once(stage: QuickStage) -> None:
    statuses: list[int] = []
    other = stage.instance("refresh")
    with stage.meanwhile(*[lambda one=one: statuses.append(stage.run(function=one)[0]) for one in (None, other)]):
        pass
    assert statuses == [200, 200]


TWICE = {"one run comes after the other": one_after_the_other, "both runs come at once": at_once}


@each("twice", mostly_slow(TWICE, "one run comes after the other"))
@each("lists", {"lists are up to date": 0, "lists are one change late": 1, "lists are two changes late": 2})
@each("latest", LATEST)
def test_late_readings_spend_no_token_twice(
    quick: QuickStage, latest: int, lists: int, twice: Callable[[QuickStage], None]
) -> None:
    """With `latest` and lists behind, and every trigger doubled, each refresh token is spent once over many days."""
    due(quick)
    quick.secrets.set_lag(latest=latest, lists=lists)
    for _ in range(6):
        twice(quick)
        assert quick.outcome() == NEW
        quick.later(hours=13)
    assert quick.tiktok.reused == []


def test_secret_manager_is_away(quick: QuickStage) -> None:
    """While nothing is answered at all nothing is spent, and the Scheduler is asked to call again."""
    due(quick)
    quick.plant("lasting")
    quick.secrets.add_fault(Fault(times=None))
    assert quick.run()[0] == 503
    assert quick.outcome() == Outcome("old", "ok", 0, (NOT_NOTED,))
    quick.secrets.clear_faults()
    quick.later(hours=1)
    assert quick.run()[0] == 200
    assert quick.outcome() == NEW


def token_unreadable(stage: QuickStage) -> None:
    """So that a run asks for the number of a version."""
    due(stage)
    disabled(stage, TOKEN + "acme")


def too_many(stage: QuickStage) -> None:
    """So many versions that a run asks first which of them still live."""
    due(stage, versions=8)


def a_few_too_many(stage: QuickStage) -> None:
    due(stage, versions=3)


@dataclass(frozen=True)
class Always:
    """A call that fails always, and what comes of it: of the run, of one more, and of one when it is mended."""

    call: str
    on: str = ""
    skip: int = 0
    status: int = 503
    first: Outcome = UNTOUCHED
    more: tuple[str, ...] = ()
    mended: Outcome = NEW
    prepare: Callable[[QuickStage], None] = due


def left_undone(
    call: str, on: str, *events: str, more: tuple[str, ...] = (), prepare: Callable[[QuickStage], None] = due
) -> Always:
    """One that the token does not need: the run is as good, and a later one does it."""
    first = replace(NEW, events=(REFRESHED, *events))
    return Always(call, on, status=200, first=first, more=more, mended=AS_IT_IS, prepare=prepare)


FAILING_ALWAYS = {
    "listing the secrets": Always("ListSecrets"),
    "reading the connection": Always("GetSecret", TOKEN),
    "taking the lease": Always("UpdateSecret", TOKEN),
    "reading the token": Always("AccessSecretVersion", TOKEN),
    "looking for a newer token": Always("AccessSecretVersion", TOKEN, 1),
    "reading the refresh token": Always("AccessSecretVersion", REFRESH),
    "looking for a newer refresh token": Always("AccessSecretVersion", REFRESH, 1),
    "asking for the number of a disabled version":
        Always("GetSecretVersion", prepare=token_unreadable, mended=replace(NEW, events=(REBUILT, REFRESHED))),
    "asking whether versions may be added": Always("TestIamPermissions"),
    "storing the whole grant": Always("AddSecretVersion", REFRESH, first=Outcome("old", "ok", 1, (UNSAVED,)),
                                      mended=replace(AS_IT_IS, events=(SAVED,))),
    "storing the token": Always("AddSecretVersion", TOKEN, first=Outcome("half", "ok", 1, ()), mended=AS_IT_IS),
    "listing the token secret's old versions": left_undone("ListSecretVersions", TOKEN, UNCLEARED, prepare=too_many),
    "listing the refresh secret's old versions":
        left_undone("ListSecretVersions", REFRESH, UNCLEARED, prepare=too_many),
    "destroying the token secret's old versions":
        left_undone("DestroySecretVersion", TOKEN, prepare=a_few_too_many),
    "destroying the refresh secret's old versions":
        left_undone("DestroySecretVersion", REFRESH, prepare=a_few_too_many),
    "reading the note of the last run": left_undone("GetSecret", "keeper", NOT_NOTED, more=(NOT_NOTED,)),
    "writing the first note of a run": left_undone("CreateSecret", "keeper", NOT_NOTED, more=(NOT_NOTED,)),
}  # fmt: skip
MARKED = {"the answer is 429": (THROTTLED, False), "the answer is 503, and it was failing": (AWAY, True)}


@each("trouble", mostly_slow(MARKED, "the answer is 429"))
@each("case", FAILING_ALWAYS)
def test_a_call_fails_always(quick: QuickStage, case: Always, trouble: tuple[dict[str, Any], bool]) -> None:
    """Nothing is spent twice and nothing lost, at most one alert; mended, the new grant is stored, with one notice."""
    answer, marked = trouble
    case.prepare(quick)
    if marked:
        mark_failing(quick)
    notices = 0
    quick.secrets.add_fault(Fault(case.call, case.on, skip=case.skip, times=None, **answer))
    more = replace(case.first, token_calls=0, events=case.more)
    for status, outcome in ((case.status, case.first), (case.status, more), (200, case.mended)):
        if outcome is case.mended:
            quick.secrets.clear_faults()
            quick.later(minutes=5)
        assert quick.run()[0] == status
        found = quick.outcome()
        notices += found.events.count(RECOVERED)
        found = replace(found, events=tuple(event for event in found.events if event != RECOVERED))
        assert found == replace(outcome, health="ok" if notices or not marked else "failing")
    assert notices == marked
    quick.later(hours=13)
    assert quick.run()[0] == 200
    assert quick.outcome() == NEW
    for secret_id in (TOKEN + "acme", REFRESH + "acme"):
        assert [state for state in quick.secrets.states(secret_id).values() if state == "ENABLED"] == ["ENABLED"] * 2


def mark_failing(stage: QuickStage) -> None:
    """As a run leaves a connection that failed in passing."""
    since = {"failing-since": clock.text(clock.now()), "last-error": "silent"}
    stage.secrets.edit(TOKEN + "acme", labels={"health": "failing"}, annotations=since)


OUT_OF_ORDER = {"the answer is 503": AWAY, "the answer is 429": THROTTLED}


@each("trouble", OUT_OF_ORDER)
def test_what_comes_last_in_a_refresh_fails_always(quick: QuickStage, trouble: dict[str, Any]) -> None:
    """Both secrets are written and the connection is not: it stays held, so that later runs look, and complete it."""
    due(quick)
    mark_failing(quick)
    quick.secrets.add_fault(Fault("UpdateSecret", TOKEN, skip=1, times=None, **trouble))
    # A notice is logged before the mark is taken away, as an alert is before it is set.
    for events, calls in (([REFRESHED, RECOVERED], 1), ([], 0)):
        assert quick.run()[0] == 503
        assert (quick.told(), quick.token_calls()) == (events, calls)
        assert quick.token()["access_token"] == quick.whole_grant()["access_token"]
        assert quick.labels()["health"] == "failing"
    quick.secrets.clear_faults()
    quick.later(minutes=5)
    assert quick.run()[0] == 200
    assert quick.outcome() == replace(AS_IT_IS, events=(RECOVERED,))


@each("trouble", OUT_OF_ORDER)
@each("call", {"looking at it": "GetSecret", "deleting it": "DeleteSecret"})
def test_a_replaced_refresh_secret_cannot_be_deleted(quick: QuickStage, call: str, trouble: dict[str, Any]) -> None:
    """A run warns of it, keeps the new grant, spends nothing of the old, and deletes it later."""
    quick.plant("acme", "expiring", age_hours=5)
    quick.connected("acme", "long-lived")
    stored = quick.secrets.payloads(TOKEN + "acme")
    quick.token_calls()
    quick.told()
    quick.secrets.add_fault(Fault(call, REFRESH, times=None, **trouble))
    for events in ([UNCLEARED], [UNCLEARED], []):
        if not events:
            quick.secrets.clear_faults()
        quick.later(hours=13)
        assert quick.run()[0] == 200
        assert (REFRESH + "acme" in quick.secrets.secrets()) == bool(events)
        assert (quick.told(), quick.token_calls()) == (events, 0)
        assert quick.secrets.payloads(TOKEN + "acme") == stored
        assert quick.labels() | {"kind": "long-lived", "health": "ok"} == quick.labels()
        assert "lease" not in quick.annotations()


def test_quotas_of_the_project_and_of_each_secret(quick: QuickStage) -> None:
    """Within Google's quotas a hundred connections are refreshed, at the pace that these allow."""
    names = [f"acme-{number}" for number in range(100)]
    for name in names:
        due(quick, name)
    quick.secrets.set_quota(
        Quotas(per_secret=True, writes_per_minute=600, reads_per_minute=600, accesses_per_minute=90_000)
    )
    for _ in range(20):
        if quick.run()[0] == 200:
            break
        quick.later(minutes=1)
    assert (quick.told(), quick.token_calls()) == ([REFRESHED] * 100, 100)
    for name in names:
        assert quick.outcome(name) == AS_IT_IS


class TestForbidden:
    def test_reading_one_secret(self, quick: QuickStage) -> None:
        """A secret that answers 403 brings one alert of its own, however often the run comes; the others are done."""
        for name in ("acme", "beta", "gamma"):
            due(quick, name)
        quick.secrets.deny("secretmanager.versions.access", "token-beta")
        for events in ((UNREADABLE,), (), ()):
            status, summary = quick.run()
            assert (status, summary["attention"], summary["failing"]) == (200, ["beta"], 1)
            told = [event for event in quick.told() if event != REFRESHED]
            assert told == list(events)
        assert quick.outcome("beta") == Outcome("old", "failing", 2, ())  # the calls are the others'
        for name in ("acme", "gamma"):
            assert quick.outcome(name) == Outcome("new", "ok", 0, ())
        quick.secrets.allow_all()
        assert quick.run()[0] == 200
        assert quick.outcome("beta") == Outcome("new", "ok", 1, (REFRESHED, RECOVERED))

    @each(
        "case",
        {
            "adding to its refresh secret":
                ("versions.add", REFRESH, 503, Outcome("old", "ok", 1, (UNSAVED,)), replace(AS_IT_IS, events=(SAVED,))),
            "adding to its token secret": ("versions.add", TOKEN, 200, Outcome("half", "failing", 1, (UNREADABLE,)),
                                           replace(AS_IT_IS, events=(RECOVERED,))),
            "marking it": ("secrets.update", TOKEN, 200, Outcome("old", "ok", 0, (UNREADABLE,)), NEW),
            "looking at it": ("secrets.get", TOKEN, 200, Outcome("old", "ok", 0, (UNREADABLE,)), NEW),
            "destroying versions of its token secret":
                ("versions.destroy", TOKEN, 200, replace(NEW, events=(REFRESHED, UNCLEARED)), AS_IT_IS),
            "destroying versions of its refresh secret":
                ("versions.destroy", REFRESH, 200, replace(NEW, events=(REFRESHED, UNCLEARED)), AS_IT_IS),
        },
    )  # fmt: skip
    def test_something_else_on_one_secret(
        self, quick: QuickStage, case: tuple[str, str, int, Outcome, Outcome]
    ) -> None:
        """One alert at most, the others are done; mended, nothing was lost or spent twice."""
        permission, on, status, first, mended = case
        others = ("acme", "gamma")
        for name in ("beta", *others):
            due(quick, name, versions=3)
        quick.secrets.deny(f"secretmanager.{permission}", on + "beta")
        statuses: list[int] = []
        # The others first, so that it is of them that a run asks once whether versions may be added.
        quick.secrets.add_fault(Fault("GetSecret", TOKEN + "beta", do="hold", hold="here"))
        with quick.meanwhile(lambda: statuses.append(quick.run()[0])):
            quick.secrets.wait_held("here")
            while any(list(quick.secrets.states(TOKEN + name)) == [1, 2, 3] for name in others) or any(
                "lease" in quick.annotations(name) for name in others
            ):
                threading.Event().wait(0.001)
            told, calls = quick.told(), quick.token_calls()
            quick.secrets.release("here")
        assert (told, calls) == ([REFRESHED] * 2, 2)
        for name in others:
            assert_new(quick, name)
        assert statuses == [status]
        assert quick.outcome("beta") == first
        quick.secrets.allow_all()
        quick.later(minutes=5)
        assert quick.run()[0] == 200
        assert quick.outcome("beta") == mended
        quick.later(hours=13)
        assert quick.run()[0] == 200
        for name in ("beta", *others):
            assert_new(quick, name)
            assert list(quick.secrets.states(TOKEN + name).values()).count("ENABLED") == 2
        assert quick.tiktok.reused == []

    @each("denied", {"its refresh secret": REFRESH + "beta", "both of its secrets": "-beta"})
    def test_adding_to_the_first_secret_of_all(self, quick: QuickStage, denied: str) -> None:
        """It is the first that a run asks about, and the run goes on: one alert for that one, the others are done."""
        quick.plant("beta", "expiring", age_hours=20)
        names = ("acme", "gamma")
        for name in names:
            due(quick, name)
        quick.secrets.deny("secretmanager.versions.add", denied)
        quick.secrets.add_fault(Fault("TestIamPermissions", "-beta", do="hold", hold="asked"))
        quick.secrets.add_fault(Fault("GetSecret", "-(acme|gamma)", times=None, do="hold", hold="others"))
        found: list[tuple[int, dict[str, Any]]] = []
        with quick.meanwhile(lambda: found.append(quick.run())):
            quick.secrets.wait_held("asked")
            quick.secrets.release("others")
            quick.secrets.release("asked")
        quick.secrets.clear_faults()
        found += [quick.run() for _ in range(2)]
        assert [(status, summary["attention"]) for status, summary in found] == [(200, ["beta"])] * 3
        assert sorted(quick.told()) == [UNREADABLE, REFRESHED, REFRESHED]
        assert quick.outcome("beta") == Outcome("old", "failing", 2, ())  # the calls are the others'
        for name in names:
            assert quick.outcome(name) == Outcome("new", "ok", 0, ())
        quick.secrets.allow_all()
        assert quick.run()[0] == 200
        assert quick.outcome("beta") == Outcome("new", "ok", 1, (REFRESHED, RECOVERED))

    @each(
        "case",
        {
            "the one refresh secret that is due": (REFRESH + "acme", ["acme"], False),
            "both secrets of the only one": ("-acme", ["acme"], True),
            "all refresh secrets": (REFRESH, ["acme", "beta"], True),
        },
    )
    def test_adding_where_nobody_else_may(self, quick: QuickStage, case: tuple[str, list[str], bool]) -> None:
        """Where nothing shows that it is one secret's own trouble, the run stops and marks nobody."""
        denied, names, stops = case
        for name in names:
            due(quick, name)
        quick.secrets.deny("secretmanager.versions.add", denied)
        assert quick.run()[0] == (500 if stops else 200)
        stopped = Outcome("old", "ok", 0, (STOPPED,))
        assert quick.outcome() == (stopped if stops else Outcome("old", "failing", 0, (UNREADABLE,)))
        for name in names[1:]:
            assert quick.outcome(name) == UNTOUCHED

    @each("permission", {"looking at it is forbidden": "secrets.get", "changing it is forbidden": "secrets.update"})
    def test_what_cannot_be_marked_is_alerted_of_once(self, quick: QuickStage, permission: str) -> None:
        """An instance remembers what it has alerted of, and forgets it when that is over."""
        for _ in range(2):
            quick.secrets.deny(f"secretmanager.{permission}", TOKEN + "acme")
            due(quick, "other")
            due(quick)
            for events in ([UNREADABLE], [], []):
                assert quick.run()[1]["attention"] == ["acme"]
                assert [event for event in quick.told() if event != REFRESHED] == events
                assert quick.outcome() == replace(UNTOUCHED, token_calls=len(events))  # the calls are the other's
            quick.secrets.allow_all()
            assert quick.run()[0] == 200
            assert quick.outcome() == NEW
            for secret_id in list(quick.secrets.secrets()):
                quick.secrets.delete(secret_id)

    def test_deleting_one_secret(self, quick: QuickStage) -> None:
        """A refresh secret that may not be deleted is warned of, and the long-lived grant in its place is verified."""
        for name in ("acme", "beta"):
            due(quick, name)
        given = quick.connected("beta", "long-lived")
        quick.told()
        quick.token_calls()
        quick.secrets.deny("secretmanager.secrets.delete", REFRESH + "beta")
        status, summary = quick.run()
        assert (status, summary["refreshed"], summary["verified"]) == (200, 1, 1)
        assert sorted(quick.told()) == [REFRESHED, UNCLEARED]
        assert quick.outcome() == replace(NEW, events=())
        assert quick.token("beta") == given
        assert quick.labels("beta") | {"kind": "long-lived", "health": "ok"} == quick.labels("beta")
        quick.secrets.allow_all()
        assert quick.run()[0] == 200
        assert REFRESH + "beta" not in quick.secrets.secrets()
        assert quick.outcome("beta") == AS_IT_IS

    @each(
        "permission",
        {"reading is forbidden": "versions.access", "adding is forbidden": "versions.add",
         "listing is forbidden": "secrets.list"},
    )  # fmt: skip
    def test_everywhere(self, quick: QuickStage, permission: str) -> None:
        """What it may do for nobody is nobody's own trouble: one alert, nothing spent, nobody marked."""
        names = ["acme", "beta", "gamma"]
        for name in names:
            due(quick, name)
        quick.plant("lasting")
        quick.secrets.deny(f"secretmanager.{permission}")
        assert quick.run()[0] == 500
        assert quick.outcome() == Outcome("old", "ok", 0, (STOPPED,))
        for name in ("beta", "gamma"):
            assert quick.outcome(name) == UNTOUCHED
        assert quick.outcome("lasting") == UNTOUCHED
        quick.secrets.allow_all()
        assert quick.run()[0] == 200
        assert quick.outcome() == Outcome("new", "ok", 3, (REFRESHED,) * 3)

    def test_destroying(self, quick: QuickStage) -> None:
        """Without the permission to destroy versions tokens are refreshed all the same; a warning says so."""
        due(quick, versions=3)
        quick.secrets.deny("secretmanager.versions.destroy")
        assert quick.run()[0] == 200
        assert quick.outcome() == Outcome("new", "ok", 1, (REFRESHED, UNCLEARED, UNCLEARED))


class TestDestroying:
    def test_never_the_newest_two(self, quick: QuickStage) -> None:
        """Over many refreshes two versions of each secret are left, and these are the newest."""
        due(quick)
        for _ in range(6):
            assert quick.run()[0] == 200
            assert quick.outcome() == NEW
            quick.later(hours=13)
        for secret_id in (TOKEN + "acme", REFRESH + "acme"):
            states = quick.secrets.states(secret_id)
            assert [number for number, state in states.items() if state == "ENABLED"] == [6, 7]
            assert len(states) == 7

    @each("lists", {"the list lacks one": 1, "the list lacks two": 2, "the list lacks five": 5})
    def test_what_a_late_list_does_not_show_is_destroyed_all_the_same(self, quick: QuickStage, lists: int) -> None:
        """Versions that the list lacks are not forgotten for ever."""
        due(quick, versions=9)
        quick.secrets.set_lag(lists=lists)
        assert quick.run()[0] == 200
        for secret_id in (TOKEN + "acme", REFRESH + "acme"):
            assert quick.secrets.destroyed(secret_id) == list(range(1, 9))
        assert quick.annotations()["destroyed-to"] == "8"
        assert quick.outcome() == NEW

    @each("state", {"they are destroyed": "DESTROYED", "they are disabled": "DISABLED"})
    def test_what_somebody_did_away_with_already_is_no_trouble(self, quick: QuickStage, state: str) -> None:
        """Versions that are destroyed, or disabled, are passed over, or destroyed."""
        due(quick, versions=4)
        for secret_id in (TOKEN + "acme", REFRESH + "acme"):
            for number in (1, 2):
                quick.secrets.set_state(secret_id, number, state)
        assert quick.run()[0] == 200
        for secret_id in (TOKEN + "acme", REFRESH + "acme"):
            assert quick.secrets.destroyed(secret_id) == [1, 2, 3]
        assert quick.outcome() == NEW

    def test_cut_off_half_way_it_goes_on_the_next_time(self, quick: QuickStage) -> None:
        """What could not be destroyed now is destroyed behind the next refresh."""
        due(quick, versions=8)
        quick.secrets.add_fault(Fault("DestroySecretVersion", skip=2, times=None))
        assert quick.run()[0] == 200
        assert "destroyed-to" not in quick.annotations()
        assert quick.outcome() == NEW
        quick.secrets.clear_faults()
        quick.later(hours=13)
        assert quick.run()[0] == 200
        for secret_id in (TOKEN + "acme", REFRESH + "acme"):
            assert quick.secrets.destroyed(secret_id) == list(range(1, 9))
        assert quick.outcome() == NEW

    @pytest.mark.slow
    def test_ten_thousand_of_them(self, quick: QuickStage) -> None:
        """Ten thousand old versions are destroyed bit by bit, without keeping a run from its work."""
        due(quick)
        payload = quick.secrets.payloads(TOKEN + "acme")[-1]
        for _ in range(9_999):
            quick.secrets.add_version(TOKEN + "acme", payload)
        for _ in range(2):
            assert quick.run()[0] == 200
            assert quick.outcome() == NEW
            quick.later(hours=13)
        assert set(list(quick.secrets.states(TOKEN + "acme").values())[:-2]) == {"DESTROYED"}

    def test_there_is_nothing_to_destroy(self, quick: QuickStage) -> None:
        """Finding that there is nothing to clear up costs no call."""
        quick.plant("lasting")
        quick.secrets.forget_calls()
        quick.run()
        assert [call.name for call in quick.secrets.calls] == [
            "ListSecrets", "AccessSecretVersion", "GetSecret", "CreateSecret",
        ]  # fmt: skip
        assert quick.outcome("lasting") == UNTOUCHED


def older_schema(stage: QuickStage, secret_id: str) -> None:
    document = json.loads(stage.secrets.payloads(secret_id)[-1]) | {"schema": 0}
    stage.secrets.add_version(secret_id, json.dumps(document).encode())


def edited(stage: QuickStage, secret_id: str) -> None:
    stage.secrets.add_version(secret_id, b'{"access_token": ')


def disabled(stage: QuickStage, secret_id: str) -> None:
    stage.secrets.set_state(secret_id, len(stage.secrets.payloads(secret_id)), "DISABLED")


def destroyed(stage: QuickStage, secret_id: str) -> None:
    stage.secrets.set_state(secret_id, len(stage.secrets.payloads(secret_id)), "DESTROYED")


def without_refresh_token(stage: QuickStage, secret_id: str) -> None:
    document = json.loads(stage.secrets.payloads(secret_id)[-1])
    document.pop("refresh_token", None)
    stage.secrets.add_version(secret_id, json.dumps(document).encode())


BREAKING = {"it is edited by hand": edited, "it is disabled": disabled, "its newest version is destroyed": destroyed,
            "it is of an older schema": older_schema}  # fmt: skip


class TestBroken:
    @each("break_it", BREAKING)
    def test_the_token_secret_of_an_expiring_grant(self, quick: QuickStage, break_it: Any) -> None:
        """It is rebuilt from the refresh secret, with a notice, and the token is refreshed as usual."""
        due(quick)
        break_it(quick, TOKEN + "acme")
        assert quick.run()[0] == 200
        assert quick.outcome() == Outcome("new", "ok", 1, (REBUILT, REFRESHED))

    @each("break_it", {**BREAKING, "its refresh token is missing": without_refresh_token})
    def test_the_refresh_secret(self, quick: QuickStage, break_it: Any) -> None:
        """One alert, however often the run comes; no call; mended by hand it goes on, with a notice."""
        due(quick)
        whole = quick.secrets.payloads(REFRESH + "acme")[0]
        break_it(quick, REFRESH + "acme")
        left = quick.secrets.payloads(REFRESH + "acme"), quick.secrets.payloads(TOKEN + "acme")
        for events in ((UNREADABLE,), (), ()):
            status, summary = quick.run()
            assert (status, summary["attention"], quick.labels()["health"]) == (200, ["acme"], "failing")
            assert tuple(quick.told()) == events
            assert (quick.secrets.payloads(REFRESH + "acme"), quick.secrets.payloads(TOKEN + "acme")) == left
        assert quick.tiktok.calls == []
        quick.secrets.add_version(REFRESH + "acme", whole)
        assert quick.run()[0] == 200
        assert quick.outcome() == Outcome("new", "ok", 1, (REFRESHED, RECOVERED))

    @each("break_it", BREAKING)
    def test_the_token_secret_of_a_long_lived_grant(self, quick: QuickStage, break_it: Any) -> None:
        """One alert, however often the run comes, and one notice when somebody has mended it."""
        quick.plant("acme")
        good = quick.secrets.payloads(TOKEN + "acme")[0]
        break_it(quick, TOKEN + "acme")
        left = quick.secrets.payloads(TOKEN + "acme")
        for events in ((UNREADABLE,), (), ()):
            status, summary = quick.run()
            assert (status, summary["failing"], summary["attention"]) == (200, 1, ["acme"])
            assert tuple(quick.told()) == events
        assert quick.tiktok.calls == []
        assert quick.secrets.payloads(TOKEN + "acme") == left
        writes = quick.writes()
        assert writes.count("AddSecretVersion") == 0
        assert writes.count("UpdateSecret") == 2 + 2  # the lease and the mark; the run's own note, twice
        quick.secrets.add_version(TOKEN + "acme", good)
        assert quick.run()[0] == 200
        assert quick.told() == [RECOVERED]
        assert quick.labels()["health"] == "ok"
        assert quick.tiktok.token_calls == []

    def test_a_secret_that_takes_no_change(self, quick: QuickStage) -> None:
        """One that refuses every update is its own trouble, alerted of and no defect; nothing is spent on it."""
        due(quick)
        due(quick, "other")
        quick.secrets.add_fault(Fault("UpdateSecret", resource="token-acme", times=None, status=400))
        status, summary = quick.run()
        assert (status, summary["attention"], summary["refreshed"]) == (200, ["acme"], 1)
        assert sorted(quick.told()) == [UNREADABLE, REFRESHED]
        assert quick.outcome() == Outcome("old", "ok", 1, ())  # the one call is the other's
        assert quick.outcome("other") == Outcome("new", "ok", 0, ())

    @each("break_it", {**BREAKING, "TikTok says that the token has ended": None})
    def test_a_refresh_secret_that_the_list_does_not_show_yet(self, quick: QuickStage, break_it: Any) -> None:
        """A token is not given up because a late list hides what can renew it."""
        due(quick)
        for _ in range(2):
            quick.secrets.edit(TOKEN + "acme", annotations={})
        quick.secrets.set_lag(lists=2, hide_first=True)
        if break_it:
            break_it(quick, TOKEN + "acme")
        else:
            quick.tiktok.fail_token(quick.token()["access_token"], 40102, times=None)
        assert quick.run()[0] == 200
        assert quick.outcome() == Outcome("new", "ok", 1, (REBUILT, REFRESHED) if break_it else (REFRESHED,))


def test_a_thousand_connections_with_trouble_among_them(quick: QuickStage) -> None:
    """Of a thousand, 3 % dead, 2 % failing and 1 % broken by hand: the others are done, and the counts are exact."""
    assert_counts(quick, 100)


@pytest.mark.slow
def test_a_full_thousand(quick: QuickStage) -> None:
    """The same with a thousand of them."""
    assert_counts(quick, 1000)


def assert_counts(stage: QuickStage, number: int) -> None:
    """Half of them expiring and due, half long-lived; of each a number are dead, failing or broken."""
    renewed, left = [], {}
    for index in range(number):
        kind = "expiring" if index % 2 else "long-lived"
        name = f"c{index:04}"
        given = stage.plant(name, kind, age_hours=13)
        key = stage.whole_grant(name)["refresh_token"] if kind == "expiring" else given["access_token"]
        match index % 100:
            case 10 | 11 | 12:
                stage.tiktok.revoke(given["access_token"])
            case 20 | 21:
                stage.tiktok.fail_token(key, 50002, times=None)
            case 30:
                edited(stage, TOKEN + name)
            case _ if kind == "expiring":
                renewed.append(name)
        left[name] = stage.secrets.payloads(TOKEN + name)
    parts = number // 100
    status, summary = stage.run()
    assert status == 503, "expiring ones that are due failed in passing"
    assert {key: value for key, value in summary.items() if isinstance(value, int)} == {
        "connections": number,
        "refreshed": parts * 48,
        "verified": parts * 46,
        "failing": parts * 3,
        "reauthorize": parts * 3,
        "skipped": 0,
        "remaining": 0,
    }
    assert len(summary["attention"]) == parts * 4
    assert Counter(stage.told()) == {
        REFRESHED: parts * 48,
        REQUIRED: parts * 3,
        UNREADABLE: parts,
        "WARNING connection.faltering": parts * 2,
    }
    assert stage.token_calls() == parts * (48 + 1 + 2)  # the dead one once, the failing one twice
    for name in renewed:
        assert stage.outcome(name) == Outcome("new", "ok", 0, ())
    assert all(stage.secrets.payloads(TOKEN + name) == left[name] for name in left.keys() - set(renewed))
    stage.run()
    assert stage.told() == []
