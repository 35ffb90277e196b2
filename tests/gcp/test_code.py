"""`infra/gcp` against the code that it runs: settings, what is logged, and what is called."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from gcp.configuration import ROOT, Plan
from gcp.test_policy import CONNECT, REFRESH, grants
from local.secret_manager import PERMISSIONS
from local.serving import Fault
from stage import KEEPER, PROJECT, Stage
from stage import REFRESH as REFRESH_SECRET
from stage import TOKEN as TOKEN_SECRET
from tokenkeeper import clock, log, settings
from tokenkeeper.refresh import Order, Refresh
from unit.parts import HandClock

# Read by the web server and the framework, not by the token keeper.
OTHERS_READ = {"THREADS", "LOG_EXECUTION_ID"}


class Asked(dict[str, str]):
    """An environment that remembers what it was asked for."""

    def __init__(self, values: Mapping[str, str]) -> None:
        super().__init__(values)
        self.names: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.names.add(key)
        return super().get(key, default)


class TestSettings:
    @pytest.mark.parametrize("name", ["connect", "refresh"])
    def test_the_code_takes_what_it_is_given_and_knows_every_name(self, full_plan: Plan, name: str) -> None:
        """Every environment variable that is set has a name that the code asks for, and a value that it accepts."""
        (service,) = full_plan.one("google_cloudfunctions2_function", name)["service_config"]
        credentials = {"TIKTOK_APP_SECRET": "0" * 40, "LINK_SIGNING_KEYS": "0" * 64}
        secrets = {entry["key"]: credentials[entry["key"]] for entry in service["secret_environment_variables"]}
        environment = Asked({**service["environment_variables"], **secrets})
        settings.read(getattr(settings, name.upper()), environment)
        assert environment.keys() - OTHERS_READ <= environment.names

    def test_what_is_not_required_has_the_code_s_own_default(self, plan: Plan) -> None:
        """Variables that have a default in both places have the same."""
        for name in ("connect", "refresh"):
            (service,) = plan.one("google_cloudfunctions2_function", name)["service_config"]
            given = service["environment_variables"]
            needed = {"TIKTOK_APP_SECRET": "0" * 40, "LINK_SIGNING_KEYS": "0" * 64}
            bare = {key: given[key] for key in given if key in {"GOOGLE_CLOUD_PROJECT", "TIKTOK_APP_ID", "PUBLIC_URL"}}
            needs = getattr(settings, name.upper())
            assert settings.read(needs, {**bare, **needed}) == settings.read(needs, {**given, **needed})


# --- what is logged ---


def stored(stage: Stage) -> None:
    stage.connected()


def refused(stage: Stage) -> None:
    stage.browser().come_back(stage.code(), "no-such-state")


def refreshed(stage: Stage) -> None:
    stage.plant("acme", "expiring", age_hours=13)
    stage.run()


def finished(stage: Stage) -> None:
    stage.plant("acme")
    stage.plant("expiring", "expiring", age_hours=1)
    stage.run()


def revoked(stage: Stage) -> None:
    stage.tiktok.revoke(stage.plant("acme")["access_token"])
    stage.run()


def ending(stage: Stage) -> None:
    stage.plant("acme", "expiring", age_hours=13)
    stage.tiktok.override_answer("refresh_token", {"refresh_token_expires_in": 5 * 86_400})
    stage.run()
    stage.run()


def failing(stage: Stage) -> None:
    stage.plant("acme")
    stage.tiktok.fail_next("*", 50000, times=None)
    stage.run()
    stage.later(hours=25)
    stage.run()


def unreadable(stage: Stage) -> None:
    stage.plant("acme")
    stage.secrets.set_state(TOKEN_SECRET + "acme", 1, "DISABLED")
    stage.run()


def deleted(stage: Stage) -> None:
    stage.plant("acme", "expiring")
    stage.secrets.delete(TOKEN_SECRET + "acme")
    stage.run()


def other_app(stage: Stage) -> None:
    stage.plant("acme")
    stage.run(function=stage.start("refresh", TIKTOK_APP_ID="7000000000000000009"))


def run_behind(stage: Stage) -> None:
    stage.plant("acme", "expiring", age_hours=22)
    stage.run(function=stage.start("refresh", RUN_BUDGET_SECONDS="0"))


def run_stopped(stage: Stage) -> None:
    stage.plant("acme")
    stage.tiktok.fail_next("*", 40101, times=None)
    stage.run()


EVENTS: dict[str, tuple[str, Callable[[Stage], None]]] = {
    "connection.stored": ("connect", stored),
    "connection.refused": ("connect", refused),
    "token.refreshed": ("refresh", refreshed),
    "run.finished": ("refresh", finished),
    "reauthorization.required": ("refresh", revoked),
    "refresh_token.ending": ("refresh", ending),
    "connection.failing": ("refresh", failing),
    "secret.unreadable": ("refresh", unreadable),
    "secret.deleted": ("refresh", deleted),
    "connection.other_app": ("refresh", other_app),
    "run.behind": ("refresh", run_behind),
    "run.stopped": ("refresh", run_stopped),
}


def happened(stage: Stage, event: str) -> Iterator[dict[str, Any]]:
    """Entries of that name which either function has written."""
    for function in [*stage._running.values(), *stage._more]:
        yield from (entry for entry in function.events if entry["event"] == event)


def watched(plan: Plan) -> dict[str, dict[str, Any]]:
    """Every metric over the functions' own log, with the events that it looks for."""
    found = {}
    for name, metric in plan.all("google_logging_metric").items():
        group = re.search(r'jsonPayload\.event=(\(.*?\)|"[^"]+")', metric["filter"])
        if group:
            found[name] = {"metric": metric, "events": re.findall(r'"([^"]+)"', group[1])}
    return found


def unsaved(plan: Plan) -> dict[str, Any]:
    """The metric over tokens that were not saved."""
    (found,) = [found for found in watched(plan).values() if "token.unsaved" in found["events"]]
    return dict(found["metric"])


class TestLogs:
    @pytest.mark.parametrize("event", EVENTS)
    def test_what_a_metric_looks_for_is_really_logged(self, stage: Stage, plan: Plan, event: str) -> None:
        """The code, made to log the event, logs it in the function that is watched, with every label and number."""
        function, make = EVENTS[event]
        make(stage)
        entries = list(happened(stage, event))
        assert entries, stage.events()
        metrics = [found["metric"] for found in watched(plan).values() if event in found["events"]]
        assert metrics
        for metric in metrics:
            assert f"tiktok-ads-{function}" in metric["filter"]
            extracted = [*(metric["label_extractors"] or {}).values(), metric["value_extractor"] or ""]
            for field in re.findall(r"EXTRACT\(jsonPayload\.(\w+)\)", " ".join(extracted)):
                assert any(field in entry for entry in entries), f"{event} has no {field}: {entries}"

    def test_a_token_that_a_callback_cannot_save_is_critical(self, stage: Stage, plan: Plan) -> None:
        """It is logged by connect under the name, and with the connection, that is watched."""
        function = stage.start("connect", CALLBACK_BUDGET_SECONDS="5")
        stage.secrets.add_fault(Fault("AddSecretVersion", times=None))
        assert stage.approve(function=function).status_code == 503
        (entry,) = happened(stage, "token.unsaved")
        assert (entry["severity"], entry["connection"]) == ("CRITICAL", "acme")
        assert f"tiktok-ads-{function.target}" in unsaved(plan)["filter"]

    def test_a_token_that_a_run_cannot_save_is_critical(
        self, stage: Stage, plan: Plan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Likewise by refresh, which tries for two minutes; they pass at once here."""
        hand = HandClock()
        for name in ("now", "monotonic", "sleep"):
            monkeypatch.setattr(clock, name, getattr(hand, name))
        monkeypatch.setattr(log, "_stream", None)
        stage.plant("acme", "expiring", age_hours=13)
        stage.secrets.add_fault(Fault("AddSecretVersion", times=None))
        Refresh(settings.read(settings.REFRESH, stage.environment(1))).run(Order())
        entries = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        (entry,) = [entry for entry in entries if entry["event"] == "token.unsaved"]
        assert (entry["severity"], entry["connection"]) == ("CRITICAL", "acme")
        assert "tiktok-ads-refresh" in unsaved(plan)["filter"]

    def test_a_function_that_cannot_start_says_so(self, stage: Stage) -> None:
        """In the cloud, a wrong setting is an entry with the event that is watched."""
        environment = stage.environment(
            1, TIKTOK_APP_ID=None, K_SERVICE="tiktok-ads-refresh", FUNCTION_TARGET="refresh"
        )
        done = subprocess.run(
            [sys.executable, str(ROOT / "functions" / "main.py")], env=environment, capture_output=True, text=True
        )
        (entry,) = [json.loads(line) for line in done.stdout.splitlines()]
        assert entry["event"] == "settings.invalid"

    def test_a_defect_says_so(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        """An error that nobody expected is an entry with the event that is watched."""
        monkeypatch.setattr(log, "_stream", None)
        log.defect(ValueError("something"))
        assert json.loads(capsys.readouterr().out)["event"] == "defect"

    def test_no_metric_looks_for_anything_else(self, plan: Plan) -> None:
        """Every event in a filter is one of those that the tests above made the code log."""
        looked_for = {event for found in watched(plan).values() for event in found["events"]}
        assert looked_for == EVENTS.keys() | {"token.unsaved", "settings.invalid", "defect"}

    def test_reasons_that_are_left_out_are_reasons(self, stage: Stage, plan: Plan) -> None:
        """What every address on the internet gets is told apart by reasons that the code really gives."""
        filter_ = plan.one("google_logging_metric", "counter.refused")["filter"]
        left_out = set(re.findall(r'"([^"]+)"', filter_.partition("NOT jsonPayload.reason=")[2]))
        stage.browser().get("/wp-login.php")
        stage.browser().request("PUT", "/")
        assert {entry["reason"] for entry in happened(stage, "connection.refused")} == left_out

    def test_a_run_of_a_few_draws_no_picture_of_all(self, stage: Stage, plan: Plan) -> None:
        """A run of some connections by name is marked, and left out of the numbers of the dashboard."""
        stage.plant("acme")
        stage.plant("other")
        stage.run({"connections": ["acme"]})
        stage.run()
        assert [entry.get("limited", False) for entry in happened(stage, "run.finished")] == [True, False]
        for name, metric in plan.all("google_logging_metric").items():
            assert ("NOT jsonPayload.limited=true" in metric["filter"]) == name.startswith("gauge")


# --- what is called ---


def enforce(stage: Stage, plan: Plan, member: str) -> None:
    """From now on Secret Manager lets callers do what Terraform lets this member do, and nothing else."""
    stage.secrets.allow_all()
    for permission in set(PERMISSIONS.values()) - {""}:
        allowed = [where for who, what, where in grants(plan) if who == member and permission in what]
        anywhere = "|".join(re.sub(r"projects/\d+/", "projects/[^/]+/", where) for where in allowed) or "(?!)"
        stage.secrets.deny(permission, f"^(?!(?:{anywhere})$)")


def kind_of(resource: str) -> str:
    """What a call was about: the project, or a kind of secret."""
    for kind, prefix in {"token": TOKEN_SECRET, "refresh": REFRESH_SECRET}.items():
        if f"/secrets/{prefix}" in resource:
            return kind
    return "keeper" if resource.endswith(KEEPER) else "project"


def used(stage: Stage) -> set[tuple[str, str]]:
    """Permissions that were needed since the calls were last forgotten, and for what; none may have been refused."""
    assert not [call for call in stage.secrets.calls if call.status == 403]
    calls = [call for call in stage.secrets.calls if PERMISSIONS.get(call.name)]
    return {
        (PERMISSIONS[call.name], "project" if call.name == "CreateSecret" else kind_of(call.resource)) for call in calls
    }


def granted(plan: Plan, member: str) -> set[tuple[str, str]]:
    """Permissions that a member has, and for what; without those on the credentials that the platform reads for it."""
    found = set()
    for who, what, where in grants(plan):
        if who == member and not re.search(r"app\\-secret|link\\-signing\\-keys", where):
            plain = where.replace("\\", "")
            kind = "project" if plain == ".*" else kind_of(plain.removesuffix(".*").removesuffix("(/.*)?"))
            found |= {(permission, kind) for permission in what}
    return found


@pytest.fixture
def keeper(stage: Stage) -> None:
    """The place for notes, which Terraform makes."""
    stage.secrets.create(KEEPER, project=PROJECT, labels={"managed-by": "tiktok-token-keeper", "holds": "keeper"})


@pytest.mark.usefixtures("keeper")
class TestPermissions:
    def test_connect_has_what_it_uses_and_nothing_more(self, stage: Stage, plan: Plan) -> None:
        """Both kinds of grant, connected, connected again and refused, with exactly the permissions of its account."""
        enforce(stage, plan, CONNECT)
        for kind in ("expiring", "long-lived"):
            for _ in range(2):
                assert stage.approve(kind, kind).status_code == 303
        stage.tiktok.fail_next("access_token", 40110)
        assert stage.approve("fails").status_code == 502
        assert used(stage) == granted(plan, CONNECT)

    def test_refresh_has_what_it_uses_and_nothing_more(self, stage: Stage, plan: Plan) -> None:
        """Everything that a run does, with exactly the permissions of its account."""
        stage.plant("due", "expiring", age_hours=13)
        stage.plant("old", "expiring", age_hours=13)
        for _ in range(6):
            for secret_id in (TOKEN_SECRET + "old", REFRESH_SECRET + "old"):
                stage.secrets.add_version(secret_id, stage.secrets.payloads(secret_id)[-1])
        stage.plant("good")
        stage.tiktok.revoke(stage.plant("gone")["access_token"])
        stage.plant("changed")
        stage.secrets.edit(TOKEN_SECRET + "changed", annotations={"advertisers": "1"})
        stage.plant("broken", "expiring", age_hours=1)
        stage.secrets.edit(TOKEN_SECRET + "broken", labels={"health": "failing"})
        stage.secrets.add_version(TOKEN_SECRET + "broken", b"no payload")
        stage.plant("disabled", "expiring", age_hours=13)
        stage.secrets.set_state(TOKEN_SECRET + "disabled", 1, "DISABLED")
        stage.secrets.set_state(REFRESH_SECRET + "disabled", 1, "DISABLED")
        stage.connected("replaced", "expiring")
        stage.connected("replaced", "long-lived")
        stage.secrets.forget_calls()
        enforce(stage, plan, REFRESH)
        for _ in range(2):
            stage.run()
            stage.later(hours=13)
        assert REFRESH_SECRET + "replaced" not in stage.secrets.secrets()
        assert used(stage) == granted(plan, REFRESH)

    def test_a_lacking_permission_would_be_found(self, stage: Stage, plan: Plan) -> None:
        """With the account of connect, refresh is refused, and the comparison says so."""
        stage.plant("acme")
        enforce(stage, plan, CONNECT)
        stage.run()
        with pytest.raises(AssertionError):
            used(stage)
