"""What Secret Manager can do in a run, and what comes of it: nothing that TikTok issued is lost.

Reliability lines 2, 3, 4, 8, 15, 16 and 17; promises 2, 4, 5 and 7.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import pytest

from emulators.secret_manager import Quotas
from emulators.serving import Fault
from emulators.tiktok import Options
from reliability.direct import Moment
from reliability.quick import (
    ANSWER_LOST,
    AS_IT_IS,
    AWAY,
    FORBIDDEN,
    NEW,
    NOT_SENT,
    THROTTLED,
    UNTOUCHED,
    Outcome,
    QuickStage,
    each,
)
from stage import REFRESH, TOKEN
from tokenkeeper.transitions import FAILING_BECOMES_ALERT

REFRESHED, RECOVERED = "INFO token.refreshed", "NOTICE connection.recovered"
UNSAVED, SAVED = "CRITICAL token.unsaved", "NOTICE token.saved"
UNREADABLE, REBUILT = "ERROR secret.unreadable", "NOTICE secret.rebuilt"
REQUIRED, STOPPED = "ERROR reauthorization.required", "CRITICAL run.stopped"
NOT_REMOVED, NOT_RECORDED = "WARNING cleanup.failed", "WARNING run.not_recorded"
FALTERING = "WARNING connection.faltering"
FAMILIES = {"an advertiser's": "advertiser", "an account's": "account"}
TROUBLES = {"the answer is 503": AWAY, "the answer is 429": THROTTLED, "the answer is lost": ANSWER_LOST}
CALLS_OF_A_REFRESH = [
    "ListSecrets", "GetSecret", "UpdateSecret", "AccessSecretVersion", "TestIamPermissions", "AddSecretVersion",
    "ListSecretVersions", "DestroySecretVersion", "CreateSecret",
]  # fmt: skip


@each("trouble", TROUBLES)
@pytest.mark.parametrize("call", CALLS_OF_A_REFRESH)
def test_any_call_may_fail_three_times(quick: QuickStage, call: str, trouble: dict[str, Any]) -> None:
    """Whichever call it is, the token is refreshed, once, and nobody is alerted."""
    quick.due(versions=8)
    quick.secrets.add_fault(Fault(call, times=3, **trouble))
    assert quick.run()[0] == 200
    assert quick.outcome() == NEW
    states = quick.secrets.states(TOKEN + "acme")
    assert (list(states.values()).count("ENABLED"), states[9]) == (2, "ENABLED")


@each("secret_id", {"the refresh secret's answer is lost": REFRESH, "the token secret's answer is lost": TOKEN})
@each("family", FAMILIES)
def test_a_write_whose_answer_is_lost_is_found_and_not_made_again(
    quick: QuickStage, family: str, secret_id: str
) -> None:
    """A version that was added is recognised by its number, so that there is no second one."""
    quick.due(family=family)
    quick.secrets.add_fault(Fault("AddSecretVersion", resource=secret_id, times=2, **ANSWER_LOST))
    assert quick.run()[0] == 200
    assert quick.outcome() == NEW
    assert len(quick.secrets.payloads(REFRESH + "acme")) == len(quick.secrets.payloads(TOKEN + "acme")) == 2


class TestStoring:
    @each("trouble", {"it is forbidden": FORBIDDEN, "it is lost on its way": NOT_SENT})
    @each("family", FAMILIES)
    def test_the_first_write_fails_always(self, quick: QuickStage, family: str, trouble: dict[str, Any]) -> None:
        """One critical alert a run; then this instance's next run stores it, without asking TikTok again."""
        quick.due(family=family)
        quick.secrets.add_fault(Fault("AddSecretVersion", times=None, **trouble))
        for calls in (1, 0):
            assert quick.run()[0] == 503
            assert quick.outcome() == Outcome("old", "ok", calls, (UNSAVED,))
        quick.quiet()
        quick.later(minutes=5)
        assert quick.run()[0] == 200
        assert quick.outcome() == Outcome("new", "ok", 0, (SAVED,))

    def test_the_first_write_fails_until_the_instance_is_gone(self, quick: QuickStage) -> None:
        """What TikTok issued goes with the instance; then TikTok's own answer brings the alert."""
        quick.due()
        quick.secrets.add_fault(Fault("AddSecretVersion", times=None))
        quick.run()
        assert quick.outcome() == Outcome("old", "ok", 1, (UNSAVED,))
        quick.quiet()
        quick.new_instances()
        for calls, logged in ((1, (REQUIRED,)), (0, ())):
            quick.later(hours=1)
            assert quick.run()[0] == 200
            assert quick.outcome() == Outcome("old", "reauthorize", calls, logged)

    def test_another_instance_tries_while_the_first_still_has_it(self, quick: QuickStage) -> None:
        """Another instance finds the token used and alerts; the first stores what it has and says so."""
        quick.tiktok.options = Options(punish_reuse=False)
        quick.due()
        quick.secrets.add_fault(Fault("AddSecretVersion", times=None))
        quick.run()
        assert quick.outcome() == Outcome("old", "ok", 1, (UNSAVED,))
        quick.quiet()
        quick.later(hours=1)
        quick.run(function=quick.instance("refresh"))
        assert quick.outcome() == Outcome("old", "reauthorize", 1, (REQUIRED,))
        assert quick.run()[0] == 200
        assert quick.outcome() == Outcome("new", "ok", 0, (SAVED, RECOVERED))

    @each("case", {"it is away": (AWAY, "ok", ()), "it is forbidden": (FORBIDDEN, "failing", (UNREADABLE,))})
    def test_the_second_write_fails_always(
        self, quick: QuickStage, case: tuple[dict[str, Any], str, tuple[str, ...]]
    ) -> None:
        """The whole grant is kept already: any later run writes the token secret from it, without asking TikTok."""
        trouble, health, alert = case
        quick.due()
        quick.secrets.add_fault(Fault("AddSecretVersion", resource=TOKEN, times=None, **trouble))
        quick.run()
        assert quick.outcome() == Outcome("half", health, 1, alert)
        quick.quiet()
        quick.new_instances()
        quick.later(minutes=30)
        assert quick.run()[0] == 200
        assert quick.outcome() == Outcome("new", "ok", 0, (RECOVERED,) * (health == "failing"))

    @each("trouble", {"the answer is 503": AWAY, "the answer is 429": THROTTLED})
    def test_the_closing_write_fails_always(self, quick: QuickStage, trouble: dict[str, Any]) -> None:
        """Both secrets are written and the connection is not: it stays held, so that later runs complete it."""
        quick.due()
        quick.secrets.add_fault(Fault("UpdateSecret", TOKEN, skip=1, times=None, **trouble))
        for calls in (1, 0):
            assert quick.run()[0] == 503
            assert (quick.logged(), quick.token_calls()) == ([REFRESHED] * calls, calls)
            assert quick.token()["access_token"] == quick.whole_grant()["access_token"]
            assert "lease" in quick.annotations()
        quick.quiet()
        quick.later(minutes=5)
        assert quick.run()[0] == 200
        assert quick.outcome() == AS_IT_IS


@dataclass(frozen=True)
class Always:
    """A call that fails always, and what comes of it: of the run, of one more, and of one when it is fixed."""

    call: str
    on: str = ""
    skip: int = 0
    status: int = 503
    first: Outcome = UNTOUCHED
    more: tuple[str, ...] = ()
    fixed: Outcome = NEW
    versions: int = 1


def left_undone(call: str, on: str, *logged: str, more: tuple[str, ...] = (), versions: int = 1) -> Always:
    """One that the token does not need: the run is as good, and a later one does it."""
    first = replace(NEW, logged=(REFRESHED, *logged) if on == "keeper" else (*logged, REFRESHED))
    return Always(call, on, status=200, first=first, more=more, fixed=AS_IT_IS, versions=versions)


FAILING_ALWAYS = {
    "listing the secrets": Always("ListSecrets"),
    "taking the lease": Always("UpdateSecret", TOKEN),
    "reading the token": Always("AccessSecretVersion", TOKEN),
    "reading the refresh token": Always("AccessSecretVersion", REFRESH),
    "looking for a newer refresh token": Always("AccessSecretVersion", REFRESH, 1),
    "asking whether versions may be added": Always("TestIamPermissions"),
    "storing the whole grant": Always("AddSecretVersion", REFRESH, first=Outcome("old", "ok", 1, (UNSAVED,)),
                                      more=(UNSAVED,), fixed=replace(AS_IT_IS, logged=(SAVED,))),
    "storing the token": Always("AddSecretVersion", TOKEN, first=Outcome("half", "ok", 1, ()), fixed=AS_IT_IS),
    "listing old versions": left_undone("ListSecretVersions", TOKEN, NOT_REMOVED, versions=8),
    "destroying old versions": left_undone("DestroySecretVersion", REFRESH, versions=3),
    "reading the record of the last run": left_undone("GetSecret", "keeper", NOT_RECORDED, more=(NOT_RECORDED,)),
    "writing the first record of a run": left_undone("CreateSecret", "keeper", NOT_RECORDED, more=(NOT_RECORDED,)),
}  # fmt: skip


@each("case", FAILING_ALWAYS)
def test_a_call_fails_always(quick: QuickStage, case: Always) -> None:
    """Nothing is redeemed twice and nothing lost; once it is fixed the new grant is stored."""
    quick.due(versions=case.versions)
    quick.secrets.add_fault(Fault(case.call, case.on, skip=case.skip, times=None, **AWAY))
    more = replace(case.first, token_calls=0, logged=case.more)
    for status, outcome in ((case.status, case.first), (case.status, more), (200, case.fixed)):
        if outcome is case.fixed:
            quick.quiet()
            quick.later(minutes=5)
        assert quick.run()[0] == status
        assert quick.outcome() == outcome
    quick.later(hours=13)
    assert quick.run()[0] == 200
    assert quick.outcome() == NEW
    for secret_id in (TOKEN + "acme", REFRESH + "acme"):
        assert list(quick.secrets.states(secret_id).values()).count("ENABLED") == 2


def test_secret_manager_is_away(quick: QuickStage) -> None:
    """While nothing is answered at all nothing is redeemed, and the Scheduler is asked to call again."""
    quick.due()
    quick.plant("lasting")
    quick.secrets.add_fault(Fault(times=None))
    assert quick.run()[0] == 503
    assert quick.outcome() == Outcome("old", "ok", 0, (NOT_RECORDED,))
    quick.quiet()
    quick.later(hours=1)
    assert quick.run()[0] == 200
    assert quick.outcome() == NEW


@each("call", {"reading it": "GetSecret", "deleting it": "DeleteSecret"})
def test_a_replaced_refresh_secret_cannot_be_deleted(quick: QuickStage, call: str) -> None:
    """A run warns of it, keeps the new grant, redeems nothing of the old, and deletes it later."""
    quick.plant("acme", "expiring", age_hours=5)
    quick.connected("acme", "long-lived")
    stored = quick.secrets.payloads(TOKEN + "acme")
    quick.token_calls()
    quick.logged()
    quick.secrets.add_fault(Fault(call, REFRESH, times=None))
    for logged in ([NOT_REMOVED], [NOT_REMOVED], []):
        if not logged:
            quick.quiet()
        quick.later(hours=13)
        assert quick.run()[0] == 200
        assert (REFRESH + "acme" in quick.secrets.secrets()) == bool(logged)
        assert (quick.logged(), quick.token_calls()) == (logged, 0)
        assert quick.secrets.payloads(TOKEN + "acme") == stored


def both_at_once(stage: QuickStage) -> None:
    statuses: list[int] = []
    other = stage.instance("refresh")
    with (
        stage.clocks.passing_slowly(),
        stage.meanwhile(*[lambda one=one: statuses.append(stage.run(function=one)[0]) for one in (None, other)]),
    ):
        pass
    assert statuses == [200, 200]


@each("at_once", {"one run comes after the other": False, "both runs come at once": True})
@each("lag", {"latest is late": (2, 0), "lists are late": (0, 2), "both are late": (1, 1)})
@each("family", FAMILIES)
def test_late_readings_redeem_no_token_twice(
    quick: QuickStage, family: str, lag: tuple[int, int], at_once: bool
) -> None:
    """With `latest` and lists behind, and every trigger doubled, each refresh token is used once over many days."""
    quick.due(family=family)
    quick.secrets.set_lag(latest=lag[0], lists=lag[1])
    for _ in range(4):
        if at_once:
            both_at_once(quick)
        else:
            assert [quick.run()[0], quick.run()[0]] == [200, 200]
        assert quick.outcome() == NEW
        quick.later(hours=13)
    assert quick.tiktok.reused == []


def test_quotas_of_the_project_and_of_each_secret(quick: QuickStage) -> None:
    """Within Google's quotas a hundred connections are refreshed, at the rate that these allow."""
    names = [f"acme-{number}" for number in range(100)]
    for name in names:
        quick.due(name)
    quotas = Quotas(per_secret=True, writes_per_minute=600, reads_per_minute=600, accesses_per_minute=90_000)
    quick.secrets.set_quota(quotas)
    for _ in range(20):
        if quick.run()[0] == 200:
            break
        quick.later(minutes=1)
    assert (quick.logged(), quick.token_calls()) == ([REFRESHED] * 100, 100)
    for name in names:
        assert quick.outcome(name) == AS_IT_IS


OTHERS = {
    "adding to its refresh secret":
        ("versions.add", REFRESH, 503, Outcome("old", "ok", 1, (UNSAVED,)), replace(AS_IT_IS, logged=(SAVED,))),
    "adding to its token secret":
        ("versions.add", TOKEN, 200, Outcome("half", "failing", 1, (UNREADABLE,)),
         replace(AS_IT_IS, logged=(RECOVERED,))),
    "marking it": ("secrets.update", TOKEN, 200, Outcome("old", "ok", 0, (UNREADABLE,)), NEW),
    "destroying versions of its token secret":
        ("versions.destroy", TOKEN, 200, replace(NEW, logged=(REFRESHED, NOT_REMOVED)), AS_IT_IS),
}  # fmt: skip


ADDING = {
    "the only refresh secret that is due": (REFRESH + "acme", ["acme"]),
    "all refresh secrets": (REFRESH, ["acme", "beta"]),
}


CAUSES = {
    "the API is disabled": "Secret Manager API has not been used in project 12 before or it is disabled.",
    "a perimeter is in the way": "Request is prohibited by policy. vpcServiceControlsUniqueIdentifier: x",
    "billing is off": "This API method requires billing to be enabled.",
    "a policy forbids it": "Constraint constraints/gcp.resourceLocations violated.",
    "the key is disabled": "The CryptoKey projects/p/locations/l/keyRings/r/cryptoKeys/k is disabled.",
}


class TestForbidden:
    def test_reading_one_secret(self, quick: QuickStage) -> None:
        """A secret that answers 403 brings one alert of its own, however often the run comes; the others are done."""
        for name in ("acme", "beta", "gamma"):
            quick.due(name)
        quick.secrets.deny("secretmanager.versions.access", "token-beta")
        for alerts in ([UNREADABLE], [], []):
            status, summary = quick.run()
            assert (status, summary["attention"], summary["failing"]) == (200, ["beta"], 1)
            assert [entry for entry in quick.logged() if entry != REFRESHED] == alerts
        assert quick.outcome("beta") == Outcome("old", "failing", 2, ())  # the calls are the others'
        for name in ("acme", "gamma"):
            assert quick.outcome(name) == Outcome("new", "ok", 0, ())
        quick.quiet()
        assert quick.run()[0] == 200
        assert quick.outcome("beta") == Outcome("new", "ok", 1, (REFRESHED, RECOVERED))

    @each("case", OTHERS)
    def test_something_else_on_one_secret(
        self, quick: QuickStage, case: tuple[str, str, int, Outcome, Outcome]
    ) -> None:
        """One alert a run at most, the others are done; once fixed, nothing was lost or redeemed twice."""
        permission, on, status, first, fixed = case
        others = ("acme", "gamma")
        for name in ("beta", *others):
            quick.due(name, versions=3)
        quick.secrets.deny(f"secretmanager.{permission}", on + "beta")
        # The others first, so that it is of them that a run asks once whether versions may be added.
        quick.at(Moment("UpdateSecret", TOKEN + "beta", 0), lambda: until_asked(quick, *others))
        found, summary = quick.run()
        logged, calls = quick.logged(), quick.token_calls()
        assert (found, summary["refreshed"]) == (status, 3 if on + "beta" and first.stored == "new" else 2)
        assert sorted(logged) == sorted([REFRESHED, REFRESHED, *first.logged])
        assert calls == 2 + first.token_calls
        assert replace(quick.outcome("beta"), logged=first.logged, token_calls=first.token_calls) == first
        quick.quiet()
        quick.later(minutes=5)
        assert quick.run()[0] == 200
        assert quick.outcome("beta") == fixed
        quick.later(hours=13)
        assert quick.run()[0] == 200
        for name in ("beta", *others):
            quick.assert_new(name)
        assert quick.tiktok.reused == []

    @each("case", ADDING)
    def test_adding_where_nobody_else_may(self, quick: QuickStage, case: tuple[str, list[str]]) -> None:
        """Where nothing shows that it is one secret's own trouble, the run stops and marks nobody."""
        denied, names = case
        for name in names:
            quick.due(name)
        quick.secrets.deny("secretmanager.versions.add", denied)
        assert quick.run()[0] == 500
        assert quick.logged() == [STOPPED]
        for name in names:
            assert quick.outcome(name) == UNTOUCHED
        quick.quiet()
        assert quick.run()[0] == 200
        quick.assert_new()

    def test_adding_to_the_first_secret_of_all(self, quick: QuickStage) -> None:
        """It is the first that a run asks about, and the run goes on: one alert for that one, the others are done."""
        quick.plant("beta", "expiring", age_hours=20)
        for name in ("acme", "gamma"):
            quick.due(name)
        quick.secrets.deny("secretmanager.versions.add", REFRESH + "beta")
        for name in ("acme", "gamma"):
            quick.at(Moment("UpdateSecret", TOKEN + name, 0), lambda: until_asked(quick, "beta"))
        for logged in ([UNREADABLE, REFRESHED, REFRESHED], []):
            status, summary = quick.run()
            assert (status, summary["attention"]) == (503, ["beta"])
            assert sorted(quick.logged()) == logged
        assert quick.outcome("beta") == Outcome("old", "failing", 2, ())  # the calls are the others'
        quick.quiet()
        assert quick.run()[0] == 200
        assert quick.outcome("beta") == Outcome("new", "ok", 1, (REFRESHED, RECOVERED))

    def test_what_cannot_be_marked_is_alerted_of_by_each_run(self, quick: QuickStage) -> None:
        """No secret says that it was alerted of: each run that finds it says so, and the first that does not is it."""
        quick.due("other")
        quick.due()
        quick.secrets.deny("secretmanager.secrets.update", TOKEN + "acme")
        for _ in range(3):
            assert quick.run()[1]["attention"] == ["acme"]
            assert [entry for entry in quick.logged() if entry != REFRESHED] == [UNREADABLE]
        quick.quiet()
        quick.token_calls()
        assert quick.run()[0] == 200
        assert quick.outcome() == NEW

    @each("permission", {"reading is forbidden": "versions.access", "adding is forbidden": "versions.add",
                         "listing is forbidden": "secrets.list"})  # fmt: skip
    def test_everywhere(self, quick: QuickStage, permission: str) -> None:
        """What it may do for nobody is nobody's own trouble: one alert a run, nothing redeemed, nobody marked."""
        names = ["acme", "beta", "gamma"]
        for name in names:
            quick.due(name)
        quick.plant("lasting")
        quick.secrets.deny(f"secretmanager.{permission}")
        for _ in range(2):
            assert quick.run()[0] == 500
            assert quick.outcome() == Outcome("old", "ok", 0, (STOPPED,))
        for name in (*names, "lasting"):
            assert quick.outcome(name) == UNTOUCHED
        quick.quiet()
        assert quick.run()[0] == 200
        assert quick.outcome() == Outcome("new", "ok", 3, (REFRESHED,) * 3)

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

    @each("sentence", CAUSES)
    @each("kind", {"before a refresh": "expiring", "before a verification": "long-lived"})
    def test_for_a_reason_that_all_share(self, quick: QuickStage, kind: str, sentence: str) -> None:
        """What Google says of the project stops the run, with Google's own sentence; nobody is marked."""
        for name in ("acme", "beta"):
            quick.plant(name, kind, age_hours=13)
        body = {"error": {"code": 403, "status": "PERMISSION_DENIED", "message": sentence}}
        quick.secrets.add_fault(Fault("AccessSecretVersion", times=None, status=403, body=body))
        assert quick.run()[0] == 500
        [alert] = [entry for entry in quick.entries() if entry["event"] == "run.stopped"]
        assert sentence in alert["message"]
        assert quick.outcome() == Outcome("old", "ok", 0, (STOPPED,))
        quick.quiet()
        assert quick.run()[0] == 200

    def test_deleting_one_secret(self, quick: QuickStage) -> None:
        """A refresh secret that may not be deleted is warned of, and the long-lived grant in its place is verified."""
        for name in ("acme", "beta"):
            quick.due(name)
        given = quick.connected("beta", "long-lived")
        quick.logged()
        quick.token_calls()
        quick.secrets.deny("secretmanager.secrets.delete", REFRESH + "beta")
        status, summary = quick.run()
        assert (status, summary["refreshed"], summary["verified"]) == (200, 1, 1)
        assert sorted(quick.logged()) == [REFRESHED, NOT_REMOVED]
        assert quick.token("beta") == given
        quick.quiet()
        assert quick.run()[0] == 200
        assert REFRESH + "beta" not in quick.secrets.secrets()
        assert quick.logged() == []


def until_asked(stage: QuickStage, *names: str) -> None:
    """Wait until it was asked whether versions may be added to one of these refresh secrets."""
    while not any(("TestIamPermissions", REFRESH + name) in stage.wire.calls for name in names):
        threading.Event().wait(0.001)


class TestDestroying:
    def test_never_the_newest_two(self, quick: QuickStage) -> None:
        """Over many refreshes two versions of each secret are left, and these are the newest."""
        quick.due()
        for _ in range(6):
            assert quick.run()[0] == 200
            assert quick.outcome() == NEW
            quick.later(hours=13)
        for secret_id in (TOKEN + "acme", REFRESH + "acme"):
            states = quick.secrets.states(secret_id)
            assert [number for number, state in states.items() if state == "ENABLED"] == [6, 7]

    @each("lists", {"the list lacks one": 1, "the list lacks five": 5})
    def test_what_a_late_list_does_not_show_is_destroyed_all_the_same(self, quick: QuickStage, lists: int) -> None:
        """Versions that the list lacks are not forgotten for ever."""
        quick.due(versions=9)
        quick.secrets.set_lag(lists=lists)
        assert quick.run()[0] == 200
        for secret_id in (TOKEN + "acme", REFRESH + "acme"):
            assert quick.secrets.destroyed(secret_id) == list(range(1, 9))
        assert quick.annotations()["destroyed-to"] == "8"

    @each("state", {"they are destroyed": "DESTROYED", "they are disabled": "DISABLED"})
    def test_what_somebody_did_away_with_already_is_no_trouble(self, quick: QuickStage, state: str) -> None:
        """Versions that are destroyed, or disabled, are passed over, or destroyed."""
        quick.due(versions=4)
        for secret_id in (TOKEN + "acme", REFRESH + "acme"):
            for number in (1, 2):
                quick.secrets.set_state(secret_id, number, state)
        assert quick.run()[0] == 200
        for secret_id in (TOKEN + "acme", REFRESH + "acme"):
            assert quick.secrets.destroyed(secret_id) == [1, 2, 3]
        assert quick.outcome() == NEW

    def test_cut_off_half_way_it_goes_on_the_next_time(self, quick: QuickStage) -> None:
        """What could not be destroyed now is destroyed behind the next refresh."""
        quick.due(versions=8)
        quick.secrets.add_fault(Fault("DestroySecretVersion", skip=2, times=None))
        assert quick.run()[0] == 200
        assert quick.outcome() == NEW
        quick.quiet()
        quick.later(hours=13)
        assert quick.run()[0] == 200
        for secret_id in (TOKEN + "acme", REFRESH + "acme"):
            assert quick.secrets.destroyed(secret_id) == list(range(1, 9))

    @pytest.mark.slow
    def test_ten_thousand_of_them(self, quick: QuickStage) -> None:
        """Ten thousand old versions are destroyed bit by bit, without keeping a run from its work."""
        quick.due()
        payload = quick.secrets.payloads(TOKEN + "acme")[-1]
        for _ in range(9_999):
            quick.secrets.add_version(TOKEN + "acme", payload)
        for _ in range(2):
            assert quick.run()[0] == 200
            assert quick.outcome() == NEW
            quick.later(hours=13)
        assert set(list(quick.secrets.states(TOKEN + "acme").values())[:-2]) == {"DESTROYED"}

    def test_there_is_nothing_to_destroy(self, quick: QuickStage) -> None:
        """Finding that there is nothing to prune costs no call."""
        quick.plant("lasting")
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


def without_refresh_token(stage: QuickStage, secret_id: str) -> None:
    document = json.loads(stage.secrets.payloads(secret_id)[-1])
    document.pop("refresh_token", None)
    stage.secrets.add_version(secret_id, json.dumps(document).encode())


BREAKING = {"it is edited by hand": edited, "it is disabled": disabled, "it is of an older schema": older_schema}


class TestBroken:
    @each("break_it", BREAKING)
    @each("family", FAMILIES)
    def test_the_token_secret_of_an_expiring_grant(self, quick: QuickStage, family: str, break_it: Any) -> None:
        """It is rebuilt from the refresh secret, with a notice, and the token is refreshed as usual."""
        quick.due(family=family)
        break_it(quick, TOKEN + "acme")
        assert quick.run()[0] == 200
        assert quick.outcome() == Outcome("new", "ok", 1, (REBUILT, REFRESHED))

    @each("break_it", {**BREAKING, "its refresh token is missing": without_refresh_token})
    def test_the_refresh_secret(self, quick: QuickStage, break_it: Any) -> None:
        """One alert, however often the run comes; no call; fixed by hand it goes on, with a notice."""
        quick.due()
        whole = quick.secrets.payloads(REFRESH + "acme")[0]
        break_it(quick, REFRESH + "acme")
        left = quick.secrets.payloads(REFRESH + "acme"), quick.secrets.payloads(TOKEN + "acme")
        for logged in ([UNREADABLE], [], []):
            status, summary = quick.run()
            assert (status, summary["attention"], quick.labels()["health"]) == (200, ["acme"], "failing")
            assert quick.logged() == logged
            assert (quick.secrets.payloads(REFRESH + "acme"), quick.secrets.payloads(TOKEN + "acme")) == left
        assert quick.tiktok.calls == []
        quick.secrets.add_version(REFRESH + "acme", whole)
        assert quick.run()[0] == 200
        assert quick.outcome() == Outcome("new", "ok", 1, (REFRESHED, RECOVERED))

    @each("break_it", BREAKING)
    def test_the_token_secret_of_a_long_lived_grant(self, quick: QuickStage, break_it: Any) -> None:
        """One alert, however often the run comes, and one notice when somebody has fixed it."""
        quick.plant("acme")
        good = quick.secrets.payloads(TOKEN + "acme")[0]
        break_it(quick, TOKEN + "acme")
        for logged in ([UNREADABLE], [], []):
            status, summary = quick.run()
            assert (status, summary["failing"], summary["attention"]) == (200, 1, ["acme"])
            assert quick.logged() == logged
        assert quick.tiktok.calls == []
        writes = quick.writes()
        assert writes.count("AddSecretVersion") == 0
        assert writes.count("UpdateSecret") == 2 + 2  # the lease and the mark; the run's own record, twice
        quick.secrets.add_version(TOKEN + "acme", good)
        assert quick.run()[0] == 200
        assert (quick.logged(), quick.labels()["health"]) == ([RECOVERED], "ok")

    def test_a_secret_that_takes_no_change(self, quick: QuickStage) -> None:
        """One that refuses every update is its own trouble, alerted of and no defect; nothing is redeemed for it."""
        quick.due()
        quick.due("other")
        quick.secrets.add_fault(Fault("UpdateSecret", resource="token-acme", times=None, status=400))
        status, summary = quick.run()
        assert (status, summary["attention"], summary["refreshed"]) == (200, ["acme"], 1)
        assert sorted(quick.logged()) == [UNREADABLE, REFRESHED]
        assert quick.outcome() == Outcome("old", "ok", 1, ())  # the one call is the other's

    @each("break_it", {**BREAKING, "TikTok says that the token has ended": None})
    def test_a_refresh_secret_that_the_list_does_not_show_yet(self, quick: QuickStage, break_it: Any) -> None:
        """A token is not given up because a late list hides what can renew it."""
        quick.due()
        for _ in range(2):
            quick.secrets.edit(TOKEN + "acme", annotations={})
        quick.secrets.set_lag(lists=2, hide_first=True)
        if break_it:
            break_it(quick, TOKEN + "acme")
        else:
            quick.tiktok.fail_token(quick.token()["access_token"], 40102, times=None)
        assert quick.run()[0] == 200
        assert quick.outcome() == Outcome("new", "ok", 1, (REBUILT, REFRESHED) if break_it else (REFRESHED,))


class TestLabels:
    @each("case", {"an expiring grant": ("expiring", 1), "one that is due": ("expiring", 13),
                   "a long-lived grant": ("long-lived", 13)})  # fmt: skip
    def test_that_somebody_removed_are_put_back(self, quick: QuickStage, case: tuple[str, int]) -> None:
        """By the next run, once; labels of the operator's own stay."""
        kind, hours = case
        quick.plant("acme", kind, age_hours=hours)
        labels = quick.labels()
        quick.secrets.edit(TOKEN + "acme", labels={**dict.fromkeys(labels), "team": "paid"})
        for _ in range(2):
            assert quick.run()[0] == 200
            assert quick.labels() == labels | {"team": "paid"}
        assert quick.secrets.count("UpdateSecret", TOKEN) == 2, "the lease, and the labels"

    def test_that_are_missing_make_a_limited_run_a_bad_request(self, quick: QuickStage) -> None:
        """A secret of that name that nothing shows to be ours is left untouched, and the run writes no record."""
        quick.secrets.create(TOKEN + "theirs", project=quick.project, labels={"team": "paid"})
        status, _ = quick.run({"connections": ["theirs"]})
        assert (status, quick.writes(), quick.logged()) == (400, [], [])
        assert quick.labels("theirs") == {"team": "paid"}


@pytest.mark.parametrize("number", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_many_connections_with_trouble_among_them(quick: QuickStage, number: int) -> None:
    """Of many, 3 % are dead, 2 % failing and 1 % broken by hand: the others are done, and the counts are exact."""
    renewed, left = [], {}
    for index in range(number):
        kind = "expiring" if index % 2 else "long-lived"
        name = f"c{index:04}"
        given = quick.plant(name, kind, age_hours=13, family="account" if index % 4 == 1 else "advertiser")
        key = quick.whole_grant(name)["refresh_token"] if kind == "expiring" else given["access_token"]
        match index % 100:
            case 10 | 11 | 12:
                quick.tiktok.revoke(given["access_token"])
            case 20 | 21:
                quick.tiktok.fail_token(key, 50002, times=None)
            case 30:
                edited(quick, TOKEN + name)
            case _ if kind == "expiring":
                renewed.append(name)
        left[name] = quick.secrets.payloads(TOKEN + name)
    parts = number // 100
    status, summary = quick.run()
    assert status == 503, "expiring ones that are due failed for a moment"
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
    logged = Counter(quick.logged())
    assert logged == {REFRESHED: parts * 48, REQUIRED: parts * 3, UNREADABLE: parts, FALTERING: parts * 2}
    assert quick.token_calls() == parts * (48 + 1 + 2)  # the dead one once, the failing one twice
    for name in renewed:
        assert quick.outcome(name) == Outcome("new", "ok", 0, ())
    assert all(quick.secrets.payloads(TOKEN + name) == left[name] for name in left.keys() - set(renewed))
    quick.later(seconds=FAILING_BECOMES_ALERT.total_seconds() / 48)
    quick.run()
    assert quick.logged() == []
