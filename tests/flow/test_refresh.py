"""The private function from outside, in a real process: what a run does where all is well.

What goes wrong, and what is counted then, is in `reliability`.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests

from flow.reading import assert_stored
from stage import KEEPER, REFRESH, TOKEN, Stage
from tokenkeeper import clock

EUROPE, AMERICA, OUTLET = (f"700000000000000000{number}" for number in (1, 2, 3))
COUNTS = ["refreshed", "verified", "failing", "reauthorize", "skipped", "remaining"]
HALF_A_DAY = 13
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def post(stage: Stage, body: bytes, **headers: str) -> requests.Response:
    """Call the function with a body as it stands."""
    return requests.post(stage.refresh.url, data=body, headers=headers, timeout=60)


def counted(summary: dict[str, Any]) -> dict[str, int]:
    """The counts that are not nothing."""
    return {name: summary[name] for name in COUNTS if summary[name]}


class TestRequests:
    def test_only_post_makes_a_run(self, stage: Stage) -> None:
        """Anything else is 405 and runs nothing."""
        for method in ("GET", "HEAD"):
            answer = requests.request(method, stage.refresh.url, timeout=10)
            assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
        assert stage.secrets.calls == []

    def test_a_body_that_says_nothing_is_400(self, stage: Stage) -> None:
        """The answer says what is wrong, and nothing is run; a secret without our marks is no connection."""
        stage.plant("acme")
        stage.secrets.create(TOKEN + "theirs", project=stage.project, labels={"team": "paid"})
        bodies = {b"{": "not JSON", b" " * 1_000_001: "too large"}
        bodies |= {b'{"connections": ["%b"]}' % name.encode(): f"'{name}'" for name in ("nobody", "theirs")}
        for body, said in bodies.items():
            answer = post(stage, body)
            assert answer.status_code == 400, answer.text
            assert said in answer.json()["error"]
        assert not stage.tiktok.calls
        assert not stage.writes()
        assert stage.refresh.events == []

    def test_a_run_may_be_limited_and_forced(self, stage: Stage) -> None:
        """Only the named connections are looked at, each once, and refreshed although fresh; no run is noted."""
        for name in ("acme", "beta", "gamma"):
            stage.plant(name, "expiring")
        status, summary = stage.run({"connections": ["beta", "acme", "beta"], "force": True})
        assert (status, summary["connections"], counted(summary)) == (200, 2, {"refreshed": 2})
        assert len(stage.secrets.payloads(TOKEN + "gamma")) == 1
        assert not [call for call in stage.secrets.calls if KEEPER in call.resource and call.name != "GetSecret"]
        (finished,) = stage.refresh.entries("run.finished")
        assert finished["limited"] is True


def test_a_refresh_writes_both_secrets_byte_for_byte(stage: Stage) -> None:
    """The refresh secret first, then what readers get; the keys in their order, all times new; an entry says so.

    One notice tells of other advertisers.
    """
    planted = stage.plant("acme", "expiring", age_hours=HALF_A_DAY)
    stage.tiktok.set_advertisers(planted["access_token"], [EUROPE, AMERICA])
    post(stage, b"", traceparent=f"00-{TRACE}-{SPAN}-01")
    stage.refresh.wait_for_event("run.finished")
    assert_stored(stage, stage.annotations()["refresh-expires-at"])
    added = [call.resource.rpartition("/")[2] for call in stage.secrets.calls if call.name == "AddSecretVersion"]
    assert added == [REFRESH + "acme", TOKEN + "acme"]
    (entry,) = stage.refresh.entries("token.refreshed")
    assert entry == {
        "severity": "INFO",
        "message": "The token of acme was refreshed.",
        "event": "token.refreshed",
        "connection": "acme",
        "expires_at": stage.token()["expires_at"],
        "logging.googleapis.com/trace": f"projects/{stage.project}/traces/{TRACE}",
        "logging.googleapis.com/spanId": SPAN,
    }
    (entry,) = stage.refresh.entries("connection.changed")
    assert (entry["severity"], entry["added"], entry["removed"]) == ("NOTICE", [], [OUTLET])


class TestVerifying:
    def test_other_advertisers_make_a_new_version(self, stage: Stage) -> None:
        """The token stays, the list is the one of now, those that stay keep their places, and one notice tells."""
        planted = stage.plant("acme")
        stage.tiktok.set_advertisers(planted["access_token"], ["7000000000000000009", OUTLET, EUROPE])
        stage.run()
        stored = stage.token()
        assert stored == {**planted, "advertiser_ids": [EUROPE, OUTLET, "7000000000000000009"]}
        assert stage.annotations()["advertisers"] == f"{EUROPE},{OUTLET},7000000000000000009"
        (entry,) = stage.refresh.entries("connection.changed")
        assert (entry["added"], entry["removed"]) == (["7000000000000000009"], [AMERICA])
        stage.run()
        assert len(stage.refresh.entries("connection.changed")) == 1
        assert len(stage.secrets.payloads(TOKEN + "acme")) == 2

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


class TestTheRun:
    def test_it_ends_with_one_answer_one_entry_and_one_write(self, stage: Stage) -> None:
        """JSON of the contract that no cache keeps, `run.finished`, and annotations of a secret without versions."""
        stage.plant("acme", "expiring")
        stage.plant("beta")
        answer = post(stage, b"")
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
        assert answer.headers["Cache-Control"] == "no-store"
        summary = answer.json()
        assert list(summary) == ["connections", *COUNTS, "seconds", "attention"]
        stage.refresh.wait_for_event("run.finished")
        (entry,) = stage.refresh.entries("run.finished")
        assert entry.pop("message") == "The run ended with 200: 0 refreshed, 1 verified, 0 need a person."
        assert 364 * 86_400 < entry.pop("next_expiry_seconds") <= 365 * 86_400
        assert entry == {"severity": "INFO", "event": "run.finished", "status": 200, **summary}
        assert (stage.secrets.payloads(KEEPER), stage.writes()) == ([], ["CreateSecret"])
        noted = stage.secrets.annotations(KEEPER)
        assert clock.parse(noted["last-run-started"]) <= clock.parse(noted["last-run-finished"])
        assert json.loads(noted["last-run-counts"]) == {key: summary[key] for key in ("connections", *COUNTS)}

    def test_runs_at_once_share_the_pace(self, stage: Stage) -> None:
        """Three runs in one process, a fourth right after them: together they take as long as one with all calls."""
        for number in range(15):
            stage.plant(f"acme-{number}")
        function = stage.start("refresh", TIKTOK_MAX_QPS="20")
        with ThreadPoolExecutor(3) as pool:
            answers = list(pool.map(lambda _: stage.run(function=function), range(3)))
        answers.append(stage.run(function=function))
        assert [status for status, _ in answers] == [200] * 4
        arrived = sorted(call.at for call in stage.tiktok.calls if call.name == "advertiser_get")
        assert len(arrived) == 60
        assert arrived[-1] - arrived[0] > 59 / 20 * 0.75  # seconds; half of it if they did not share, and some are late
