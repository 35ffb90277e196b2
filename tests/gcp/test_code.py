"""`infra/gcp` against the code that it runs: settings, what is logged, and what is called."""

import re
from typing import Any

import pytest

from emulators.secret_manager import PERMISSIONS
from gcp.configuration import Plan
from gcp.test_policy import CONNECT, OTHERS, REFRESH, REFRESHING, TOKEN, rights
from stage import KEEPER, PROJECT, Stage
from stage import REFRESH as REFRESH_SECRET
from stage import TOKEN as TOKEN_SECRET
from tokenkeeper import settings
from tokenkeeper.events import EVENTS

CREDENTIALS = {"TIKTOK_APP_SECRET": "0" * 40, "LINK_SIGNING_KEYS": "0" * 64}
# Read by the web server, the framework and the family of TikTok accounts, not by the settings of advertisers.
OTHERS_READ = {"THREADS", "LOG_EXECUTION_ID"}


class Asked(dict[str, str]):
    """An environment that remembers what it was asked for."""

    names: frozenset[str] = frozenset()

    def get(self, key: str, default: Any = None) -> Any:
        self.names |= {key}
        return super().get(key, default)


@pytest.mark.parametrize("name", ["connect", "refresh"])
class TestSettings:
    def test_the_code_takes_what_it_is_given_and_knows_every_name(self, full_plan: Plan, name: str) -> None:
        """Every environment variable that is set has a name that the code asks for, and a value that it accepts."""
        service = full_plan.service(name)
        secrets = {entry["key"]: CREDENTIALS[entry["key"]] for entry in service["secret_environment_variables"]}
        environment = Asked({**service["environment_variables"], **secrets})
        settings.read(getattr(settings, name.upper()), environment)
        assert environment.keys() - OTHERS_READ <= environment.names

    def test_what_is_not_required_has_the_code_s_own_default(self, plan: Plan, name: str) -> None:
        """Variables that have a default in both places have the same."""
        given = plan.service(name)["environment_variables"]
        bare = {key: given[key] for key in given if key in {"GOOGLE_CLOUD_PROJECT", "TIKTOK_APP_ID", "PUBLIC_URL"}}
        needs = getattr(settings, name.upper())
        assert settings.read(needs, {**bare, **CREDENTIALS}) == settings.read(needs, {**given, **CREDENTIALS})


def test_every_event_that_is_looked_for_is_one_of_the_code(full_plan: Plan) -> None:
    """A metric, or the topic's filter, with a name that nobody logs would stay silent for ever."""
    filters = [metric["filter"] for metric in full_plan.all("google_logging_metric").values()]
    filters.append(full_plan.all("google_logging_project_sink")["events.0"]["filter"])
    groups = re.findall(r'jsonPayload\.event=(\(.*?\)|"[^"]+")', " ".join(filters))
    looked_for = {event for group in groups for event in re.findall(r'"([^"]+)"', group)}
    assert len(looked_for) >= 15
    assert looked_for <= set(EVENTS)


def kind_of(resource: str) -> str:
    """What a call was about: the project, or a kind of secret."""
    for kind, prefix in {"token": TOKEN_SECRET, "refresh": REFRESH_SECRET}.items():
        if f"/secrets/{prefix}" in resource:
            return kind
    return "keeper" if resource.endswith(KEEPER) else "project"


def used(stage: Stage) -> set[tuple[str, str]]:
    """Permissions that were needed since the calls were last forgotten, and for what."""
    calls = [call for call in stage.secrets.calls if PERMISSIONS.get(call.name)]
    return {
        (PERMISSIONS[call.name], "project" if call.name == "CreateSecret" else kind_of(call.resource)) for call in calls
    }


def granted(plan: Plan, member: str) -> set[tuple[str, str]]:
    """Permissions that a member has, and for what; without those on the credentials that the platform reads for it."""
    kinds = {TOKEN: "token", REFRESHING: "refresh", KEEPER: "keeper", OTHERS: "project"}
    return {
        (f"secretmanager.{name}", "project" if OTHERS in where else kinds[secret])  # on the project: on everything
        for name, where in rights(plan, member, set(kinds)).items()
        for secret in where
    }


class TestPermissions:
    @pytest.fixture(autouse=True)
    def keeper(self, stage: Stage) -> None:
        """The place for notes, which Terraform makes."""
        stage.secrets.create(KEEPER, project=PROJECT, labels={"managed-by": "tiktok-token-keeper", "holds": "keeper"})

    def test_connect_has_what_it_uses_and_nothing_more(self, stage: Stage, plan: Plan) -> None:
        """Both kinds of grant, connected, connected again and refused, need exactly the permissions of its account."""
        for kind in ("expiring", "long-lived"):
            for _ in range(2):
                assert stage.approve(kind, kind).status_code == 303
        stage.tiktok.fail_next("access_token", 40110)
        assert stage.approve("fails").status_code == 502
        assert used(stage) == granted(plan, CONNECT)

    def test_refresh_has_what_it_uses_and_nothing_more(self, stage: Stage, plan: Plan) -> None:
        """Everything that a run does needs exactly the permissions of its account."""
        for name in ("due", "old", "disabled"):
            stage.plant(name, "expiring", age_hours=13)
        for _ in range(6):
            for secret_id in (TOKEN_SECRET + "old", REFRESH_SECRET + "old"):
                stage.secrets.add_version(secret_id, stage.secrets.payloads(secret_id)[-1])
        stage.secrets.edit(REFRESH_SECRET + "due", labels={"managed-by": None})
        stage.plant("good")
        stage.tiktok.revoke(stage.plant("gone")["access_token"])
        stage.plant("changed")
        stage.secrets.edit(TOKEN_SECRET + "changed", annotations={"advertisers": "1"})
        stage.plant("broken", "expiring", age_hours=1)
        stage.secrets.edit(TOKEN_SECRET + "broken", labels={"health": "failing"})
        stage.secrets.add_version(TOKEN_SECRET + "broken", b"no payload")
        stage.secrets.set_state(TOKEN_SECRET + "disabled", 1, "DISABLED")
        stage.secrets.set_state(REFRESH_SECRET + "disabled", 1, "DISABLED")
        stage.connected("replaced", "expiring")
        stage.connected("replaced", "long-lived")
        stage.secrets.forget_calls()
        for _ in range(2):
            stage.run()
            stage.later(hours=13)
        assert REFRESH_SECRET + "replaced" not in stage.secrets.secrets()
        assert used(stage) == granted(plan, REFRESH)
