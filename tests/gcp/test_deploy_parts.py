"""What `make deploy` asks for, says and explains, without Terraform."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from gcp.configuration import REQUIRED, ROOT, resources
from gcp.deploy import commands, deployment, identity, programs, refusals, screen, variables
from gcp.deploy.deployment import existing
from gcp.deploy.refusals import Refusal
from gcp.deploy.terraform import Plan, TerraformFailed
from gcp.deploy.variables import Target
from gcp.machine import USUAL, Machine

FUNCTION = "google_cloudfunctions2_function"


def plan(*changes: tuple[str, list[str], dict[str, Any]]) -> Plan:
    """A plan of changes: address, actions, values."""
    shown = [
        {
            "address": address,
            "type": address.partition(".")[0],
            "mode": "managed",
            "change": {"actions": actions, "before": {**values, "build_config": 1}, "after": values},
        }
        for address, actions, values in changes
    ]
    return Plan.of({"resource_changes": shown})


class TestWhatIsMissing:
    def test_everything_that_is_missing_is_said_at_once(self, repository: Path) -> None:
        """Without tools and variables, one message names all of them and where to get them."""
        machine = Machine(repository, programs=())
        machine.variables.unlink()
        status, said = machine.run("deploy", answers=[])
        assert status == 1
        wanted = ["terraform is not installed: https://", "gcloud is not installed: https://"]
        wanted += [f'    {name} = "' for name in REQUIRED]
        assert [words for words in wanted if words not in said] == []
        assert "Traceback" not in said

    @pytest.mark.parametrize(
        ("answer", "complaint"),
        [
            (["gcloud", "auth list", 0, ""], "gcloud auth login"),
            (["gcloud", "application-default", 1, ""], "gcloud auth application-default login"),
            (["gcloud", "^gcloud projects", 1, ""], "my-project-123 does not exist, or me@example.com may not see it"),
            (["gcloud", "billing", 0, "False"], "has no billing account"),
            (
                ["gcloud", "buckets list", 1, "x does not have permission to access y"],
                "The identity that deploys lacks",
            ),
        ],
    )
    def test_it_says_what_to_do(self, repository: Path, answer: list[Any], complaint: str) -> None:
        """A missing login, a project out of reach: one sentence each, and nothing is run."""
        machine = Machine(repository, programs=("gcloud", "terraform"))
        status, said = machine.run("deploy", "--yes", answers=[answer, *USUAL])
        assert (status, complaint in said) == (1, True), said
        assert not machine.called("terraform .*(init|apply)|services enable|versions add")

    @pytest.mark.parametrize(("programs", "wanted"), [(("tofu",), ""), (("terraform", "tofu"), "tofu")])
    def test_opentofu_does_as_well(self, repository: Path, programs: tuple[str, ...], wanted: str) -> None:
        """Where only tofu is installed it is taken by itself, else when TERRAFORM says so."""
        machine = Machine(repository, programs=("gcloud", *programs))
        machine.environment = {"TERRAFORM": wanted}
        machine.run("plan", answers=USUAL)
        assert machine.called("^tofu .* plan ")
        assert not machine.called("^terraform")

    def test_missing_variables_are_asked_for_and_a_secret_that_cannot_be_one_is_refused(self, repository: Path) -> None:
        """Answers are written where Terraform reads them; the secret is not shown, and nothing is made."""
        machine = Machine(repository, programs=("gcloud", "terraform"))
        machine.environment = {"TIKTOK_APP_SECRET": "two words", "STATE": "local"}
        before = machine.variables.read_text()
        machine.variables.write_text(before.splitlines()[0])
        status, said = machine.run("deploy", answers=USUAL, typed="europe-west1\n7000000000000000000\n")
        assert (status, "cannot be the app's secret" in said, "two words" in said) == (1, True, False), said
        assert machine.variables.read_text() == before
        assert not machine.called(" apply |services enable")
        assert not [call for call in machine.calls if "TIKTOK_APP_SECRET" in call["environment"]]

    def test_variables_count_as_they_do_for_terraform(self, tmp_path: Path) -> None:
        """A variable from the environment is taken, and files come before it, later ones before earlier ones."""
        (tmp_path / "terraform.tfvars").write_text('secret_prefix = "from-file" # why\nname = "x"\n')
        (tmp_path / "z.auto.tfvars.json").write_text('{"project_id": "other-project"}')
        given = {"TF_VAR_secret_prefix": "from-environment", "TF_VAR_region": "europe-west4"}
        assert variables.read(given, tmp_path) == {
            "name": "x",
            "secret_prefix": "from-file",
            "project_id": "other-project",
            "region": "europe-west4",
        }


@pytest.mark.parametrize(
    ("key", "setting"),
    [
        ("GOOGLE_OAUTH_ACCESS_TOKEN", "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"),
        ("GOOGLE_CREDENTIALS", "CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE"),
    ],
)
def test_what_the_provider_uses_gcloud_uses_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: str, setting: str
) -> None:
    """Contents go into a file that nobody else may read, a file is used as it is, impersonation comes on top."""
    monkeypatch.setattr(programs, "environment", {})
    assert identity.use({key: '{"contents": 1}'}, "p") == f"the identity of {key}"
    made = Path(programs.environment[setting])
    assert (made.read_text(), made.stat().st_mode & 0o077) == ('{"contents": 1}', 0)
    given, token = tmp_path / "key.json", key == "GOOGLE_OAUTH_ACCESS_TOKEN"
    given.touch()
    impersonated = identity.use({key: str(given), "GOOGLE_IMPERSONATE_SERVICE_ACCOUNT": "deployer@p"}, "p")
    assert impersonated == "deployer@p, impersonated"
    expected = {"CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT": "deployer@p", "CLOUDSDK_CORE_PROJECT": "p"}
    assert programs.environment == {setting: str(made) if token else str(given), **expected}


class TestRefusals:
    def test_what_google_refuses_is_explained_with_what_helps(self) -> None:
        """Each refusal's example finds the help of its own, and no other's."""
        found = [
            entry["helps"].partition(":")[0] == refusals.help_for(entry["example"]).partition(":")[0]
            for entry in refusals.ENTRIES
        ]
        assert found == [True] * 16
        assert "me@laptop has held it since 2026-11-27 10:00:00 UTC (OperationTypeApply)" in refusals.help_for(
            refusals.ENTRIES[0]["example"]
        )

    def test_googles_words_come_first_and_the_same_help_once(self) -> None:
        """Where nothing is known to help, they stand alone."""
        policy = "constraints/gcp.resourceLocations"
        errors = [Refusal(f"{policy} {number}", "google_x.y") for number in range(2)]
        said = refusals.explained([*errors, Refusal("Something odd")]).splitlines()
        assert said == [f"- google_x.y: {policy} 0", f"  {refusals.help_for(policy)}", "- Something odd"]


class TestScreen:
    def test_it_says_in_words_what_will_be_done(self) -> None:
        """By kind and name, with what each may do; deletions and changes apart; an API that stays on is none."""
        changes = plan(
            (f"{FUNCTION}.connect", ["create"], {"name": "tiktok-ads-connect"}),
            ('google_service_account.this["connect"]', ["create"], {"account_id": "tiktok-ads-connect"}),
            (f"{FUNCTION}.refresh", ["update"], {"name": "tiktok-ads-refresh", "build_config": 2}),
            ("google_storage_bucket.source", ["delete", "create"], {"name": "a-bucket"}),
            ("google_of_somebody.else", ["delete"], {"name": "z"}),
            ('google_project_service.api["x"]', ["delete"], {"service": "x"}),
        )
        assert screen.summary(changes).splitlines() == [
            "create:",
            "    1 functions          tiktok-ads-connect (public: TikTok sends approvers back to it)",
            "    1 accounts           tiktok-ads-connect (creates and writes connections' secrets, reads no token)",
            "replace:",
            "    1 source and images  a-bucket",
            "change:",
            "    1 functions          tiktok-ads-refresh (source)",
            "delete:",
            "    1 google_of_somebody z",
        ]

    def test_a_whole_deployment_fits_on_a_screen(self) -> None:
        """Every type that is made has words, and all of them make fewer than 30 lines."""
        kinds = {kind for kind, _, _ in resources()}
        assert kinds == screen.RESOURCES.keys()
        changes = [(f"{kind}.x{number}", ["create"], {"name": "n" * 30}) for kind in kinds for number in range(5)]
        lines = screen.summary(plan(*changes)).splitlines()
        assert len(lines) < 30
        assert max(len(line) for line in lines) <= 120


class Planned:
    """Terraform with these plans, whose every apply but the last is refused like this."""

    def __init__(self, refusal: str, *plans: Plan) -> None:
        self.refusal = refusal
        self.plans = list(plans)

    def plan(self) -> Plan:
        """The next one."""
        return self.plans.pop(0)

    def run(self, *_: object, **__: object) -> None:
        """Fail, if another plan is to come."""
        if self.plans:
            raise TerraformFailed("apply", [Refusal(self.refusal, f"{FUNCTION}.connect")])


@pytest.mark.parametrize(
    ("refusal", "asks"),
    [("missing permission on the build service account", False), ("Error 409: Resource already exists", True)],
)
def test_only_what_was_there_before_is_not_deleted_unasked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, refusal: str, asks: bool
) -> None:
    """What this deployment made may be made anew; what turns out to exist, and was to be made, is somebody's."""
    monkeypatch.setattr(deployment, "PAUSE", 0)
    monkeypatch.setattr(deployment, "TAKE_OVER", tmp_path / "take_over.tf")
    function = {"name": "tiktok-ads-connect"}
    made, again = (plan((f"{FUNCTION}.connect", actions, function)) for actions in (["create"], ["delete", "create"]))
    terraform: Any = Planned(refusal, made, made, again)
    work = deployment.Deployment(Target("my-project", "europe-west1", "x"), terraform, Mock(), "me", yes=False)
    work.plan(unlock=False)
    if asks:
        with pytest.raises(programs.Stop, match="No terminal to confirm on"):
            work.until_done()
    else:
        work.until_done()
    assert not terraform.plans


class TestTakingOver:
    def test_ids_come_from_what_is_planned(self) -> None:
        """Of what Google said exists already, and of nothing else."""
        address = 'google_service_account.this["connect"]'
        planned = plan((address, ["create"], {"account_id": "tiktok-ads-connect"}))
        target = Target("example.com:my-project", "europe-west1", "tiktok-ads")
        errors = [Refusal("Error 409: already exists", address)]
        email = "tiktok-ads-connect@my-project.example.com.iam.gserviceaccount.com"
        assert existing(planned, target, errors) == {
            address: f"projects/example.com:my-project/serviceAccounts/{email}"
        }
        assert not existing(planned, target, [Refusal("Error 403", address)])

    def test_what_google_would_make_twice_is_found_by_its_title(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of alerts and dashboards that are to be made, and of no other."""
        monkeypatch.setattr(deployment, "try_gcloud", lambda *_: '[{"displayName": "a", "name": "things/1"}]')
        deployment._listed.cache_clear()
        alert, dashboard = "google_monitoring_alert_policy", "google_monitoring_dashboard.this"
        planned = plan(
            (f"{alert}.a", ["create"], {"display_name": "a"}),
            (f"{alert}.b", ["create"], {"display_name": "b"}),
            (f"{alert}.c", ["update"], {"display_name": "a"}),
            (dashboard, ["create"], {"dashboard_json": '{"displayName": "a"}'}),
        )
        found = existing(planned, Target("my-project", "europe-west1", "x"))
        deployment._listed.cache_clear()
        assert found == {f"{alert}.a": "things/1", dashboard: "things/1"}

    def test_the_table_fits_the_configuration(self) -> None:
        """All can be found but what Google takes twice without harm; what is planned first exists."""
        harmless = ("_iam_member", "_project_service", "_service_identity", "_audit_config", "_bucket_object")
        named = {kind for kind, _, _ in resources() if not kind.endswith(harmless)}
        assert named == {kind for kind, entry in screen.RESOURCES.items() if entry.keys() & {"id", "listed"}}
        assert {f"{resource}.{name}" for resource, name, _ in resources()} >= set(commands.FIRST)


def test_nobody_who_listens_any_more_ends_nothing() -> None:
    """A closed terminal or pipe must not stop a deployment half-way."""
    reading, writing = os.pipe()
    os.close(reading)
    code = "from gcp.deploy.programs import say\nfor _ in range(3): say('x'); say('y', error=True)"
    environment = {"PYTHONPATH": str(ROOT / "infra")}
    done = subprocess.run([sys.executable, "-c", code], stdout=writing, stderr=writing, env=environment, check=False)
    os.close(writing)
    assert done.returncode == 0
