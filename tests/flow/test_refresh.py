"""The private function from outside: real processes, real sockets, one test for each sentence of its contract."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import requests

import faults
from stage import KEEPER, PROJECT, REFRESH, TOKEN, Function, Stage
from tokenkeeper import clock

EUROPE, AMERICA, OUTLET = (f"700000000000000000{number}" for number in (1, 2, 3))
COUNTS = ["refreshed", "verified", "failing", "reauthorize", "skipped", "remaining"]
HALF_A_DAY = 13


def post(stage: Stage, body: bytes, function: Function | None = None) -> requests.Response:
    """Call the function with a body as it stands."""
    return requests.post((function or stage.refresh).url, data=body, timeout=60)


def counted(summary: dict[str, Any]) -> dict[str, int]:
    """The counts that are not nothing."""
    return {name: summary[name] for name in COUNTS if summary[name]}


def entries(stage: Stage, name: str) -> list[dict[str, Any]]:
    """The log's entries of that name."""
    return [event for event in stage.refresh.events if event["event"] == name]


class TestRequests:
    @pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
    def test_only_post_makes_a_run(self, stage: Stage, method: str) -> None:
        """Anything else is 405 and runs nothing."""
        answer = requests.request(method, stage.refresh.url, timeout=10)
        assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
        assert stage.secrets.calls == []

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            (b"{", "not JSON"),
            (b"\xff", "not JSON"),
            (b"[" * 100_000, "not JSON"),
            (b"[]", "not a JSON object"),
            (b'"acme"', "not a JSON object"),
            (b"null", "not a JSON object"),
            (b'{"connection": ["acme"]}', "'connection'"),
            (b'{"force": "yes"}', "force"),
            (b'{"force": 1}', "force"),
            (b'{"connections": []}', "connections"),
            (b'{"connections": "acme"}', "connections"),
            (b'{"connections": null}', "connections"),
            (b'{"connections": [5]}', "'5'"),
            (b'{"connections": ["Acme"]}', "'Acme'"),
            (b'{"connections": ["acme", "../x"]}', "'../x'"),
            (b'{"connections": ["nobody"]}', "'nobody'"),
            (b'{"connections": ["' + b"a" * 1_000_000, "too large"),
            (b" " * 1_000_001, "too large"),
        ],
        ids=[
            "half an object",
            "no text",
            "a tower of brackets",
            "a list",
            "a text",
            "null",
            "an unknown key",
            "force as text",
            "force as a number",
            "an empty list",
            "a name instead of a list",
            "null instead of a list",
            "a number instead of a name",
            "no connection's name",
            "a path",
            "a connection that is not there",
            "over a megabyte",
            "a million blanks",
        ],
    )
    def test_a_body_that_says_nothing_is_400(self, stage: Stage, body: bytes, said: str) -> None:
        """The answer says what is wrong, and nothing is run."""
        stage.plant("acme")
        answer = post(stage, body)
        assert answer.status_code == 400, answer.text
        assert said in answer.json()["error"]
        assert not stage.tiktok.calls
        assert not stage.writes()
        assert stage.refresh.events == []

    @pytest.mark.parametrize("body", [b"", b"  \n", b"{}", b'{"force": false}'])
    def test_no_wish_is_a_usual_run(self, stage: Stage, body: bytes) -> None:
        """Cloud Scheduler sends no body."""
        stage.plant("acme")
        answer = post(stage, body)
        assert (answer.status_code, answer.json()["verified"]) == (200, 1)

    def test_the_answer_is_json_of_the_contract(self, stage: Stage) -> None:
        """Counts, seconds and names in this order, never kept by a cache."""
        answer = post(stage, b"")
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
        assert answer.headers["Cache-Control"] == "no-store"
        assert list(answer.json()) == ["connections", *COUNTS, "seconds", "attention"]


class TestDue:
    def test_a_fresh_grant_costs_no_call(self, stage: Stage) -> None:
        """What is not due is known from the listing."""
        stage.plant("acme", "expiring", age_hours=11)
        status, summary = stage.run()
        assert (status, counted(summary)) == (200, {"skipped": 1})
        assert not stage.tiktok.calls
        assert [call.name for call in stage.secrets.calls if KEEPER not in call.resource] == ["ListSecrets"]

    def test_past_half_of_its_life_it_is_refreshed(self, stage: Stage) -> None:
        """A token of a day is refreshed after twelve hours."""
        stage.plant("acme", "expiring", age_hours=HALF_A_DAY)
        status, summary = stage.run()
        assert (status, counted(summary)) == (200, {"refreshed": 1})
        assert stage.tiktok.count("refresh_token") == 1

    def test_half_of_the_life_that_tiktok_gave(self, stage: Stage) -> None:
        """Whatever the life is: an hour's token is refreshed after half an hour."""
        stage.tiktok.override_answer("access_token", {"expires_in": 3600})
        stage.connected(kind="expiring")
        stage.later(minutes=28)
        assert counted(stage.run()[1]) == {"skipped": 1}
        stage.later(minutes=3)
        assert counted(stage.run()[1]) == {"refreshed": 1}

    def test_without_a_lifetime_every_twelve_hours(self, stage: Stage) -> None:
        """A refresh token without a lifetime is used when the token is half a day old."""
        stage.tiktok.override_answer("access_token", omit=["expires_in"])
        stage.connected(kind="expiring")
        stage.later(hours=11, minutes=58)
        assert counted(stage.run()[1]) == {"skipped": 1}
        stage.later(minutes=3)
        assert counted(stage.run()[1]) == {"refreshed": 1}

    def test_force_refreshes_what_is_not_due(self, stage: Stage) -> None:
        """An operator may want it now."""
        stage.plant("acme", "expiring")
        assert counted(stage.run({"force": True})[1]) == {"refreshed": 1}

    def test_a_run_may_be_limited(self, stage: Stage) -> None:
        """Only the named connections are looked at, each once."""
        for name in ("acme", "beta", "gamma"):
            stage.plant(name, "expiring", age_hours=HALF_A_DAY)
        status, summary = stage.run({"connections": ["beta", "acme", "beta"]})
        assert (status, summary["connections"], counted(summary)) == (200, 2, {"refreshed": 2})
        assert len(stage.secrets.payloads(TOKEN + "gamma")) == 1

    def test_both_wishes_together(self, stage: Stage) -> None:
        """A limited run may be forced."""
        stage.plant("acme", "expiring")
        stage.plant("beta", "expiring")
        assert counted(stage.run({"connections": ["acme"], "force": True})[1]) == {"refreshed": 1}


class TestRefreshing:
    def test_both_secrets_are_written_byte_for_byte(self, stage: Stage) -> None:
        """The refresh secret first, then what readers get; the keys in their order, all times new."""
        stage.plant("acme", "expiring", age_hours=HALF_A_DAY)
        stage.run()
        (given,) = [grant for grant in stage.tiktok.grants if grant.access_token == stage.token()["access_token"]]
        obtained = clock.parse(stage.token()["obtained_at"])
        ids = ", ".join(f'"{one}"' for one in (EUROPE, AMERICA, OUTLET))
        shared = (
            '{"schema": 1, "connection": "acme", "app_id": "7000000000000000000", '
            f'"access_token": "{given.access_token}", "expires_at": "{clock.text(obtained + timedelta(days=1))}", '
            f'"advertiser_ids": [{ids}], "scope": [4, 10, 200, 210, 220, 30], "obtained_at": "{clock.text(obtained)}"'
        )
        end = stage.annotations()["refresh-expires-at"]
        more = f', "refresh_token": "{given.refresh_token}", "refresh_expires_at": "{end}"'
        assert stage.secrets.payloads(TOKEN + "acme")[-1] == f"{shared}}}".encode()
        assert stage.secrets.payloads(REFRESH + "acme")[-1] == f"{shared}{more}}}".encode()
        added = [call.resource.rpartition("/")[2] for call in stage.secrets.calls if call.name == "AddSecretVersion"]
        assert added == [REFRESH + "acme", TOKEN + "acme"]

    def test_annotations_follow_and_the_connection_stays_what_it_was(self, stage: Stage) -> None:
        """Ends and time of the new token are written; when and by which link it was connected is kept."""
        stage.connected(kind="expiring")
        before = stage.annotations()
        stage.later(hours=HALF_A_DAY)
        stage.run()
        after = stage.annotations()
        assert after["obtained-at"] == stage.token()["obtained_at"] > before["obtained-at"]
        assert after["expires-at"] == stage.token()["expires_at"]
        kept = {"connected-at", "last-link", "advertisers"}
        assert {key: after[key] for key in kept} == {key: before[key] for key in kept}
        assert "lease" not in after

    def test_the_spent_token_is_never_sent_again(self, stage: Stage) -> None:
        """Run after run each refresh token is spent once."""
        stage.plant("acme", "expiring")
        for _ in range(4):
            stage.run({"force": True})
        spent = [body["refresh_token"] for body in stage.tiktok.requests_of("refresh_token")]
        assert len(spent) == len(set(spent)) == 4
        assert not stage.tiktok.reused

    @pytest.mark.parametrize(
        ("fields", "omit"),
        [({}, ["refresh_token", "refresh_token_expires_in"]), ({"refresh_token": None}, ["refresh_token_expires_in"])],
        ids=["no refresh token", "null"],
    )
    def test_an_answer_without_a_refresh_token_keeps_the_old_one(
        self, stage: Stage, fields: dict[str, object], omit: list[str]
    ) -> None:
        """Refresh token and its end stay."""
        stage.plant("acme", "expiring", age_hours=HALF_A_DAY)
        before = stage.whole_grant()
        stage.tiktok.override_answer("refresh_token", fields, omit=omit)
        stage.run()
        after = stage.whole_grant()
        assert after["access_token"] != before["access_token"]
        assert after["refresh_token"] == before["refresh_token"]
        assert after["refresh_expires_at"] == before["refresh_expires_at"]

    def test_old_versions_are_destroyed_behind_it(self, stage: Stage) -> None:
        """The newest stays and the one before it; all older ones are destroyed, in both secrets."""
        stage.plant("acme", "expiring")
        for _ in range(5):
            stage.run({"force": True})
        for secret_id in (TOKEN + "acme", REFRESH + "acme"):
            assert stage.secrets.destroyed(secret_id) == [1, 2, 3, 4]
        assert stage.annotations()["destroyed-to"] == "4"

    def test_other_advertisers_are_noticed(self, stage: Stage) -> None:
        """One notice with who came and who went."""
        planted = stage.plant("acme", "expiring", age_hours=HALF_A_DAY)
        stage.tiktok.set_advertisers(planted["access_token"], [EUROPE, AMERICA])
        stage.run()
        (entry,) = entries(stage, "connection.changed")
        assert (entry["severity"], entry["added"], entry["removed"]) == ("NOTICE", [], [OUTLET])
        assert stage.token()["advertiser_ids"] == [EUROPE, AMERICA]

    def test_a_list_that_lost_most_is_asked_for_again_and_said_as_an_error(self, stage: Stage) -> None:
        """TikTok is asked a second time; what it says twice is stored."""
        planted = stage.plant("acme", "expiring", age_hours=HALF_A_DAY)
        stage.tiktok.set_advertisers(planted["access_token"], [EUROPE])
        stage.run()
        (entry,) = entries(stage, "connection.changed")
        assert (entry["severity"], entry["removed"]) == ("ERROR", [AMERICA, OUTLET])
        assert [call.name for call in stage.tiktok.calls] == ["refresh_token", "advertiser_get"]
        assert stage.token()["advertiser_ids"] == [EUROPE]

    def test_an_empty_list_leaves_the_ids_as_they_are(self, stage: Stage) -> None:
        """The new token is stored with the ids as they were, and one alert says that it reaches nobody."""
        planted = stage.plant("acme", "expiring", age_hours=HALF_A_DAY)
        stage.tiktok.set_advertisers(planted["access_token"], [])
        status, summary = stage.run()
        assert (status, counted(summary), summary["attention"]) == (200, {"failing": 1}, ["acme"])
        assert stage.token()["access_token"] != planted["access_token"]
        assert stage.token()["advertiser_ids"] == planted["advertiser_ids"]
        assert stage.alerts() == ["connection.empty"]
        stage.tiktok.set_advertisers(stage.token()["access_token"], [EUROPE, AMERICA])
        assert counted(stage.run()[1]) == {"verified": 1}
        assert stage.labels()["health"] == "ok"
        assert stage.token()["advertiser_ids"] == [EUROPE, AMERICA]

    def test_the_log_tells_of_it(self, stage: Stage) -> None:
        """One entry for each refresh."""
        stage.plant("acme", "expiring", age_hours=HALF_A_DAY)
        stage.run()
        (entry,) = entries(stage, "token.refreshed")
        assert entry == {
            "severity": "INFO",
            "message": "The token of acme was refreshed.",
            "event": "token.refreshed",
            "connection": "acme",
            "expires_at": stage.token()["expires_at"],
        }

    def test_nearest_expiry_first_then_long_lived_by_name(self, stage: Stage) -> None:
        """What would be lost soonest comes first, what only needs a look comes last."""
        for name, age in (("late", 13), ("soon", 22), ("sooner", 23)):
            stage.plant(name, "expiring", age_hours=age)
        for name in ("zeta", "alpha"):
            stage.plant(name)
        tokens = {name: stage.whole_grant(name)["refresh_token"] for name in ("late", "soon", "sooner")}
        tokens |= {name: stage.token(name)["access_token"] for name in ("zeta", "alpha")}
        names = {token: name for name, token in tokens.items()}
        stage.run(function=stage.start("refresh", TIKTOK_MAX_QPS="2"))
        spent = [names[body["refresh_token"]] for body in stage.tiktok.requests_of("refresh_token")]
        asked = [names[query["Access-Token"]] for query in stage.tiktok.requests_of("advertiser_get")]
        assert (spent, asked) == (["sooner", "soon", "late"], ["alpha", "zeta"])
        assert stage.tiktok.calls[-1].name == "advertiser_get"

    def test_a_refresh_secret_without_labels_is_used_and_gets_them(self, stage: Stage) -> None:
        """Somebody made it beforehand, or removed its labels."""
        stage.plant("acme", "expiring")
        whole = stage.secrets.payloads(REFRESH + "acme")[0]
        stage.secrets.delete(REFRESH + "acme")
        stage.secrets.create(REFRESH + "acme", project=PROJECT)
        stage.secrets.add_version(REFRESH + "acme", whole)
        status, summary = stage.run()
        assert (status, counted(summary)) == (200, {"skipped": 1})
        assert stage.secrets.labels(REFRESH + "acme")["managed-by"] == "tiktok-token-keeper"
        stage.later(hours=HALF_A_DAY)
        assert counted(stage.run()[1]) == {"refreshed": 1}


class TestVerifying:
    def test_an_unchanged_token_costs_one_read_and_no_write(self, stage: Stage) -> None:
        """Nothing new, nothing written, however often it is looked at."""
        stage.plant("acme")
        stage.run()
        stage.secrets.forget_calls()
        stage.tiktok.forget_calls()
        status, summary = stage.run()
        assert (status, counted(summary)) == (200, {"verified": 1})
        assert [call.name for call in stage.tiktok.calls] == ["advertiser_get"]
        of_acme = [call.name for call in stage.secrets.calls if call.resource.endswith("/latest")]
        assert of_acme == ["AccessSecretVersion"]
        assert stage.writes() == ["UpdateSecret"]  # the run's own note
        assert "refresh_token" not in [call.name for call in stage.tiktok.calls]

    def test_other_advertisers_make_a_new_version(self, stage: Stage) -> None:
        """The token stays, the list is the one of now, those that stay keep their places, and one notice tells."""
        planted = stage.plant("acme")
        stage.tiktok.set_advertisers(planted["access_token"], ["7000000000000000009", OUTLET, EUROPE])
        stage.run()
        stored = stage.token()
        assert stored == {**planted, "advertiser_ids": [EUROPE, OUTLET, "7000000000000000009"]}
        assert stage.annotations()["advertisers"] == f"{EUROPE},{OUTLET},7000000000000000009"
        (entry,) = entries(stage, "connection.changed")
        assert (entry["added"], entry["removed"]) == (["7000000000000000009"], [AMERICA])
        stage.run()
        assert len(entries(stage, "connection.changed")) == 1
        assert len(stage.secrets.payloads(TOKEN + "acme")) == 2

    def test_another_order_is_nothing_new(self, stage: Stage) -> None:
        """TikTok may list the same accounts in any order."""
        planted = stage.plant("acme")
        stage.tiktok.set_advertisers(planted["access_token"], [OUTLET, EUROPE, AMERICA])
        stage.run()
        assert len(stage.secrets.payloads(TOKEN + "acme")) == 1

    def test_another_name_is_written_down_and_nothing_else(self, stage: Stage) -> None:
        """Names are for people: no new version for the pipelines, no notice, and no write where all is the same."""
        token = stage.connected(advertisers=[EUROPE])
        listed = [{"advertiser_id": EUROPE, "advertiser_name": "Acme Boots\n"}]
        stage.tiktok.override_answer("advertiser_get", {"list": listed}, times=2)
        for writes in (2, 0):  # lease and name; then nothing is new
            stage.secrets.forget_calls()
            assert counted(stage.run()[1]) == {"verified": 1}
            changes = [call for call in stage.secrets.calls if call.name in {"UpdateSecret", "AddSecretVersion"}]
            assert sum(call.resource.endswith(TOKEN + "acme") for call in changes) == writes
            assert json.loads(stage.annotations()["advertiser-names"]) == {EUROPE: "Acme Boots"}
        assert stage.token() == token
        assert "connection.changed" not in stage.events()

    def test_a_token_without_the_permission_to_list_lives(self, stage: Stage) -> None:
        """40001 is only believed after asking for the user as well."""
        stage.approve()
        stage.tiktok.fail_next("advertiser_get", 40001)
        status, summary = stage.run()
        assert (status, counted(summary)) == (200, {"verified": 1})
        assert stage.labels()["health"] == "ok"

    def test_a_lifetime_without_a_refresh_token_is_verified_and_warned_of(self, stage: Stage) -> None:
        """It cannot be refreshed, so its end is told of in time."""
        stage.tiktok.override_answer("access_token", {"expires_in": 20 * 86_400})
        stage.connected()
        assert stage.labels()["kind"] == "expiring"
        assert counted(stage.run()[1]) == {"verified": 1}
        (entry,) = entries(stage, "refresh_token.ending")
        assert (entry["severity"], entry["days"], entry["ends_at"]) == ("ERROR", 30, stage.annotations()["expires-at"])

    def test_versions_that_reconnections_left_are_destroyed(self, stage: Stage) -> None:
        """Each re-connection adds a version; the next run clears up behind it, and then has nothing to do."""
        for _ in range(4):
            stage.connected()
        stage.run()
        assert stage.secrets.destroyed(TOKEN + "acme") == [1, 2]
        stage.secrets.forget_calls()
        stage.run()
        assert stage.secrets.count("DestroySecretVersion") == 0
        assert stage.secrets.count("ListSecretVersions") == 0

    def test_a_long_lived_grant_takes_the_place_of_an_expiring_one(self, stage: Stage) -> None:
        """The next run deletes the refresh secret, and nobody spends what is in it."""
        stage.connected(kind="expiring")
        stored = stage.connected(kind="long-lived")
        status, summary = stage.run()
        assert (status, counted(summary)) == (200, {"verified": 1})
        assert REFRESH + "acme" not in stage.secrets.secrets()
        assert stage.token() == stored
        assert stage.labels()["kind"] == "long-lived"
        assert stage.tiktok.count("refresh_token") == 0


class TestWhatGoesWrong:
    @pytest.mark.parametrize("kind", ["long-lived", "expiring"])
    def test_a_revoked_grant_needs_a_person(self, stage: Stage, kind: str) -> None:
        """One alert, a label for filters, the name in `attention`, and no call about it from then on."""
        planted = stage.plant("acme", kind, age_hours=HALF_A_DAY)
        stage.tiktok.revoke(planted["access_token"])
        status, summary = stage.run()
        assert (status, counted(summary), summary["attention"]) == (200, {"reauthorize": 1}, ["acme"])
        assert stage.labels()["health"] == "reauthorize"
        (entry,) = entries(stage, "reauthorization.required")
        assert (entry["severity"], entry["connection"]) == ("ERROR", "acme")
        assert "make link CONNECTION=acme" in entry["message"]
        error = stage.annotations()["last-error"].split()
        assert error == ["reauthorize", str(entry["code"]), entry["request_id"]]
        assert stage.token() == planted
        stage.tiktok.forget_calls()
        status, summary = stage.run({"force": True})
        assert (status, counted(summary), summary["attention"]) == (200, {"reauthorize": 1}, ["acme"])
        assert not stage.tiktok.calls
        assert len(entries(stage, "reauthorization.required")) == 1

    @pytest.mark.parametrize("code", [50000, 51010, 60001, 12345])
    def test_a_transient_failure_of_a_due_refresh(self, stage: Stage, code: int) -> None:
        """Tried again at the end of the run; then `failing`, the token stays, and calling again can help: 503."""
        planted = stage.plant("acme", "expiring", age_hours=HALF_A_DAY)
        stage.tiktok.fail_next("refresh_token", code, times=None)
        status, summary = stage.run()
        assert (status, counted(summary), summary["attention"]) == (503, {"failing": 1}, [])
        assert stage.tiktok.count("refresh_token") == 2
        assert stage.token() == planted
        assert stage.labels()["health"] == "failing"
        assert stage.annotations()["last-error"].startswith(f"transient {code} ")
        assert stage.alerts() == []
        assert entries(stage, "connection.faltering")[0]["severity"] == "WARNING"
        stage.tiktok.clear_faults()
        assert stage.run()[0] == 200
        assert entries(stage, "connection.recovered")[0]["severity"] == "NOTICE"
        assert not {"failing-since", "last-error"} & stage.annotations().keys()

    def test_a_transient_failure_of_a_verification_is_no_503(self, stage: Stage) -> None:
        """Nothing is lost by a look that failed, so nobody has to call again."""
        stage.plant("acme")
        stage.tiktok.add_fault(faults.html("advertiser_get", times=None))
        status, summary = stage.run()
        assert (status, counted(summary)) == (200, {"failing": 1})
        assert stage.labels()["health"] == "failing"

    def test_what_fails_once_is_done_at_the_end_of_the_run(self, stage: Stage) -> None:
        """A failure that passes within the run leaves no trace."""
        stage.plant("acme", "expiring", age_hours=HALF_A_DAY)
        stage.plant("beta")
        stage.tiktok.fail_next("refresh_token", 50000)
        stage.tiktok.fail_next("advertiser_get", 50002)
        status, summary = stage.run()
        assert (status, counted(summary)) == (200, {"refreshed": 1, "verified": 1})
        assert "connection.faltering" not in stage.events()

    def test_one_alert_after_a_day_of_failing(self, stage: Stage) -> None:
        """A verification that fails for a day becomes one alert, however often it is tried."""
        stage.plant("acme")
        stage.tiktok.fail_next("advertiser_get", 50000, times=None)
        for _ in range(6):
            stage.run()
            stage.later(hours=6)
        alerts = entries(stage, "connection.failing")
        assert len(alerts) == 1
        assert alerts[0]["severity"] == "ERROR"
        assert stage.alerts() == ["connection.failing"]

    def test_a_token_that_is_nearly_over_is_alerted_of_at_once(self, stage: Stage) -> None:
        """With less than three hours left nobody waits for a day."""
        stage.plant("acme", "expiring", age_hours=22)
        stage.tiktok.fail_next("refresh_token", 50000, times=None)
        stage.run()
        stage.run()
        assert stage.alerts() == ["connection.failing"]

    @pytest.mark.parametrize("code", [40101, 40113, 40125, -1, 41000])
    def test_a_failure_of_ours_marks_nobody(self, stage: Stage, code: int) -> None:
        """The run stops with 500 and one alert, since all would fail alike."""
        for number in range(5):
            stage.plant(f"acme-{number}", "expiring", age_hours=HALF_A_DAY)
        stage.tiktok.fail_next("refresh_token", code, times=None)
        before = {name: kept.annotations for name, kept in stage.secrets.secrets().items()}
        status, summary = stage.run()
        assert status == 500
        assert summary["connections"] == summary["remaining"] == 5
        assert f"code {code}" in summary["error"]
        assert stage.alerts() == ["run.stopped"]
        assert entries(stage, "run.stopped")[0]["severity"] == "CRITICAL"
        after = {name: kept.annotations for name, kept in stage.secrets.secrets().items() if name != KEEPER}
        assert after == before

    def test_permission_is_asked_for_before_anything_is_spent(self, stage: Stage) -> None:
        """Where versions may not be added no refresh token is sent."""
        stage.plant("acme", "expiring", age_hours=HALF_A_DAY)
        stage.secrets.deny("secretmanager.versions.add")
        status, summary = stage.run()
        assert status == 500
        assert "secretmanager.versions.add" in summary["error"]
        assert not stage.tiktok.calls

    def test_throttling_is_nobodys_fault(self, stage: Stage) -> None:
        """Slower, later in the run: nothing is counted against the connection."""
        stage.plant("acme", "expiring", age_hours=HALF_A_DAY)
        stage.tiktok.fail_next("refresh_token", 40100)
        status, summary = stage.run()
        assert (status, counted(summary)) == (200, {"refreshed": 1})
        assert stage.events("WARNING", "ERROR", "CRITICAL") == []

    def test_another_apps_connections_are_left_alone(self, stage: Stage) -> None:
        """No call, `failing`, and one alert a run that names them all."""
        for name in ("acme", "beta"):
            planted = stage.plant(name)
            stage.secrets.add_version(TOKEN + name, json.dumps({**planted, "app_id": "7000000000000000009"}).encode())
        stage.plant("gamma")
        status, summary = stage.run()
        assert (status, counted(summary)) == (200, {"failing": 2, "verified": 1})
        assert summary["attention"] == ["acme", "beta"]
        assert stage.tiktok.count("*") == 1
        (entry,) = entries(stage, "connection.other_app")
        assert (entry["severity"], entry["connections"]) == ("ERROR", ["acme", "beta"])

    def test_a_payload_broken_by_hand(self, stage: Stage) -> None:
        """One alert that says what to do, and the others do not notice."""
        stage.plant("acme")
        stage.plant("beta")
        stage.secrets.add_version(TOKEN + "acme", b"this is no JSON")
        status, summary = stage.run()
        assert (status, counted(summary), summary["attention"]) == (200, {"failing": 1, "verified": 1}, ["acme"])
        stage.run()
        (entry,) = entries(stage, "secret.unreadable")
        assert (entry["severity"], entry["connection"]) == ("ERROR", "acme")
        stage.secrets.add_version(TOKEN + "acme", stage.secrets.payloads(TOKEN + "acme")[0])
        assert counted(stage.run()[1]) == {"verified": 2}
        assert entries(stage, "connection.recovered")[0]["connection"] == "acme"

    def test_a_broken_token_secret_is_rebuilt(self, stage: Stage) -> None:
        """Where there is a refresh secret nobody is needed."""
        planted = stage.plant("acme", "expiring", age_hours=HALF_A_DAY)
        stage.secrets.add_version(TOKEN + "acme", b"{}")
        status, summary = stage.run()
        assert (status, counted(summary)) == (200, {"refreshed": 1})
        assert stage.token()["connection"] == "acme"
        assert stage.token()["access_token"] != planted["access_token"]
        assert entries(stage, "secret.rebuilt")[0]["severity"] == "NOTICE"

    def test_a_refresh_secret_without_its_token_secret(self, stage: Stage) -> None:
        """Somebody deleted the connection: it is left alone and named, and no token is made for it."""
        stage.plant("acme", "expiring", age_hours=HALF_A_DAY)
        stage.secrets.delete(TOKEN + "acme")
        status, summary = stage.run()
        assert (status, summary["connections"], summary["attention"]) == (200, 0, ["acme"])
        assert not stage.tiktok.calls
        assert REFRESH + "acme" in stage.secrets.secrets()

    def test_who_may_not_list_is_told(self, stage: Stage) -> None:
        """Without the permission to list there is no run, and one alert."""
        stage.plant("acme", "expiring", age_hours=HALF_A_DAY)
        stage.secrets.deny("secretmanager.secrets.list")
        status, summary = stage.run()
        assert (status, summary["connections"]) == (500, 0)
        assert "list secrets" in summary["error"]
        assert stage.alerts() == ["run.stopped"]


class TestEndOfLife:
    def test_a_refresh_token_is_warned_of_at_30_14_7_3_and_1_days_once_each(self, stage: Stage) -> None:
        """However often it is run in between, each warning comes once, and in time."""
        stage.connected(kind="expiring")
        seen = []
        left = 365.0
        for days in (31, 29.5, 29, 20, 13.5, 13, 8, 6.5, 4, 2.5, 2, 0.9, 0.5):
            stage.later(days=left - days)
            left = days
            stage.run()
            stage.run()
            seen.append([entry["days"] for entry in entries(stage, "refresh_token.ending")])
        assert seen[0] == []
        assert seen[1] == [30]
        assert seen[4] == [30, 14]
        assert seen[-1] == [30, 14, 7, 3, 1]
        (entry, *_) = entries(stage, "refresh_token.ending")
        assert (entry["severity"], entry["connection"]) == ("ERROR", "acme")
        assert "make link CONNECTION=acme" in entry["message"]


class TestTheRun:
    def test_counts_add_up(self, stage: Stage) -> None:
        """Every connection is counted once, whatever became of it."""
        stage.plant("due", "expiring", age_hours=HALF_A_DAY)
        stage.plant("fresh", "expiring")
        for name in ("fine", "also-fine"):
            stage.plant(name)
        stage.tiktok.revoke(stage.plant("revoked")["access_token"])
        stage.tiktok.fail_token(stage.plant("shaky")["access_token"], 50000, times=None)
        stage.plant("broken")
        stage.secrets.add_version(TOKEN + "broken", b"?")
        status, summary = stage.run()
        assert status == 200
        assert summary["connections"] == 7 == sum(summary[name] for name in COUNTS)
        assert counted(summary) == {"refreshed": 1, "verified": 2, "failing": 2, "reauthorize": 1, "skipped": 1}
        assert summary["attention"] == ["broken", "revoked"]

    def test_it_ends_with_one_entry_in_the_log(self, stage: Stage) -> None:
        """`run.finished` has the status, the counts, the seconds and when the next grant ends."""
        stage.plant("acme", "expiring")
        stage.plant("beta")
        _, summary = stage.run()
        (entry,) = entries(stage, "run.finished")
        assert entry.pop("message") == "The run ended with 200: 0 refreshed, 1 verified, 0 need a person."
        assert 364 * 86_400 < entry.pop("next_expiry_seconds") <= 365 * 86_400
        assert entry == {"severity": "INFO", "event": "run.finished", "status": 200, **summary}

    def test_it_is_written_down_in_one_write(self, stage: Stage) -> None:
        """The keeper's secret has annotations about the last run and no version."""
        stage.plant("acme")
        stage.run()
        assert stage.secrets.payloads(KEEPER) == []
        assert stage.secrets.labels(KEEPER) == {"managed-by": "tiktok-token-keeper", "holds": "keeper"}
        noted = stage.secrets.annotations(KEEPER)
        assert {"last-run-started", "last-run-finished", "last-run-counts"} <= set(noted)
        assert clock.parse(noted["last-run-started"]) <= clock.parse(noted["last-run-finished"])
        assert json.loads(noted["last-run-counts"]) == {**dict.fromkeys(COUNTS, 0), "connections": 1, "verified": 1}
        assert stage.writes() == ["CreateSecret"]

    def test_a_limited_run_leaves_the_place_to_go_on_from(self, stage: Stage) -> None:
        """Where the last whole run stopped is neither followed nor moved by a limited one."""
        for name in ("alpha", "beta", "gamma"):
            stage.plant(name)
        stage.run()
        stage.secrets.edit(KEEPER, annotations={"resume-after": "beta"})
        stage.run({"connections": ["alpha"]})
        assert stage.secrets.annotations(KEEPER)["resume-after"] == "beta"
        stage.tiktok.forget_calls()
        function = stage.start("refresh", TIKTOK_MAX_QPS="5")
        stage.run(function=function)
        names = {stage.token(name)["access_token"]: name for name in ("alpha", "beta", "gamma")}
        asked = [names[query["Access-Token"]] for query in stage.tiktok.requests_of("advertiser_get")]
        assert asked == ["gamma", "alpha", "beta"]
        assert not stage.secrets.annotations(KEEPER).get("resume-after")

    def test_what_belongs_to_somebody_else_is_left_alone(self, stage: Stage) -> None:
        """Secrets without the keeper's labels are neither read nor changed."""
        stage.secrets.create("tiktok-ads-token-theirs", project=PROJECT, labels={"connection": "theirs"})
        stage.secrets.add_version("tiktok-ads-token-theirs", b"theirs")
        assert stage.run()[1]["connections"] == 0
        assert stage.secrets.count("*", "theirs") == 0

    def test_no_connection_at_all(self, stage: Stage) -> None:
        """A run over nothing is a run that got through."""
        status, summary = stage.run()
        assert (status, summary["connections"], summary["attention"]) == (200, 0, [])

    def test_never_faster_than_allowed(self, stage: Stage) -> None:
        """All threads of a process together stay below the pace."""
        for number in range(30):
            stage.plant(f"acme-{number}")
        status, _ = stage.run(function=stage.start("refresh", TIKTOK_MAX_QPS="20"))
        assert status == 200
        assert stage.tiktok.max_in_window(1.0) <= 21

    def test_runs_at_once_share_the_pace(self, stage: Stage) -> None:
        """Two runs in one process, a third right after them: together they stay below the pace, too."""
        for number in range(20):
            stage.plant(f"acme-{number}")
        function = stage.start("refresh", TIKTOK_MAX_QPS="20")
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda _: stage.run(function=function), range(2)))
        answers.append(stage.run(function=function))
        assert [status for status, _ in answers] == [200, 200, 200]
        assert stage.tiktok.count("advertiser_get") == 60
        assert stage.tiktok.max_in_window(1.0) <= 21


class TestCallsPerConnection:
    def test_of_one_that_is_refreshed_are_four_reads_and_six_writes(self, stage: Stage) -> None:
        """The list told its state: only the newest grant is read, and the next number of both secrets asked for."""
        stage.plant("acme", "expiring")
        for _ in range(8):  # the last has a version of each secret to destroy, and many that are destroyed
            stage.later(hours=13)
            stage.secrets.forget_calls()
            assert stage.run()[1]["refreshed"] == 1
        calls = [call for call in stage.secrets.calls if "acme" in call.resource]
        reads = [call.name for call in calls if call.name.startswith(("Get", "Access", "List"))]
        writes = [call.name for call in calls if call.name.startswith(("Add", "Update", "Destroy"))]
        assert reads == ["AccessSecretVersion"] * 4
        assert writes == [
            "UpdateSecret",
            "AddSecretVersion",
            "AddSecretVersion",
            "DestroySecretVersion",
            "DestroySecretVersion",
            "UpdateSecret",
        ]

    def test_a_newer_token_that_nothing_but_its_number_shows(self, stage: Stage) -> None:
        """Its annotations were never written and `latest` is late: the old refresh token is not used."""
        old = stage.plant("acme", "expiring", age_hours=HALF_A_DAY)
        newer = old | {"access_token": stage.tiktok.grant("long-lived").access_token, "expires_at": None}
        newer["obtained_at"] = clock.text(clock.now())
        stage.secrets.add_version(f"{TOKEN}acme", json.dumps(newer).encode())
        stage.secrets.set_lag(latest=1)
        status, summary = stage.run()
        assert (status, counted(summary)) == (200, {"verified": 1})
        assert stage.tiktok.count("refresh_token") == 0
        assert stage.token("acme")["access_token"] == newer["access_token"]

    def test_of_one_that_was_changed_since_it_was_listed_are_one_read_more(self, stage: Stage) -> None:
        """A list that is late is noticed when the lease is written: what is refreshed is what is stored."""
        stage.plant("acme", "expiring")
        stage.later(hours=13)
        stage.secrets.edit(f"{TOKEN}acme", labels={**stage.labels(), "client": "x"})
        stage.secrets.set_lag(lists=1)
        assert stage.run()[1]["refreshed"] == 1
        assert stage.labels("acme")["client"] == "x"
