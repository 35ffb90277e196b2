"""What `make deploy` asks for, says and explains, without Terraform."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gcp.configuration import REQUIRED, ROOT, resources
from gcp.deploy import identity, programs, refusals, screen, variables
from gcp.deploy.adopt import existing
from gcp.deploy.converge import FIRST
from gcp.deploy.programs import Stop
from gcp.deploy.screen import Progress
from gcp.deploy.terraform import Plan
from gcp.deploy.variables import Target
from gcp.machine import ACCOUNT, BILLING, Machine

TARGET = Target("my-project-123", "europe-west1", "tiktok-ads", "tiktok-ads")
TERRAFORM = ["terraform", "version -json", 0, '{"terraform_version": "1.5.7"}']


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
    return Plan(Path("plan"), {"resource_changes": shown})


class TestWhatIsMissing:
    def test_everything_that_is_missing_is_said_at_once(self, repository: Path) -> None:
        """Without tools and variables, one message names all of them and where to get them."""
        machine = Machine(repository, programs=())
        machine.variables.unlink()
        status, said = machine.run("deploy", answers=[])
        assert status == 1
        assert "terraform is not installed: https://" in said
        assert "gcloud is not installed: https://" in said
        for name in REQUIRED:
            assert f'    {name} = "' in said
        assert "Traceback" not in said

    @pytest.mark.parametrize(
        ("answer", "complaint"),
        [
            (["terraform", "version -json", 0, '{"terraform_version": "1.4.9"}'], "1.5 or later is needed"),
            (["gcloud", "auth list", 0, ""], "gcloud auth login"),
            (["gcloud", "application-default", 1, ""], "gcloud auth application-default login"),
            (
                ["gcloud", "^gcloud projects describe", 1, ""],
                "my-project-123 does not exist, or me@example.com may not",
            ),
            (["gcloud", "billing", 0, "False"], "has no billing account"),
        ],
    )
    def test_it_says_what_to_do(self, repository: Path, answer: list[Any], complaint: str) -> None:
        """An old terraform, a missing login, a project out of reach: one sentence each, and nothing is run."""
        machine = Machine(repository, programs=("gcloud", "terraform"))
        status, said = machine.run("deploy", "--yes", answers=[answer, TERRAFORM, ACCOUNT, BILLING])
        assert status == 1
        assert complaint in said
        assert not machine.called("terraform .*(init|apply)|services enable|versions add")

    @pytest.mark.parametrize(("programs", "wanted"), [(("tofu",), ""), (("terraform", "tofu"), "tofu")])
    def test_opentofu_does_as_well(self, repository: Path, programs: tuple[str, ...], wanted: str) -> None:
        """Where only tofu is installed it is taken by itself, else when TERRAFORM says so."""
        machine = Machine(repository, programs=("gcloud", *programs))
        machine.environment = {"TERRAFORM": wanted}
        version = ["tofu", "version -json", 0, '{"terraform_version": "1.12.6"}']
        machine.run("plan", answers=[version, TERRAFORM, ACCOUNT, BILLING])
        assert machine.called("^tofu .* plan ")
        assert not machine.called("^terraform")

    def test_a_secret_that_cannot_be_one_is_refused_unseen(self, repository: Path) -> None:
        """Before anything is made."""
        machine = Machine(repository, programs=("gcloud", "terraform"))
        machine.environment = {"TIKTOK_APP_SECRET": "two words", "STATE": "local"}
        status, said = machine.run("deploy", "--yes", answers=[TERRAFORM, ACCOUNT, BILLING])
        assert status == 1
        assert "cannot be the app's secret" in said
        assert "two words" not in said
        assert not machine.called(" apply |services enable")

    def test_missing_variables_are_asked_for_and_kept(self, repository: Path) -> None:
        """At a terminal, a missing variable is asked for once and written where Terraform reads it."""
        machine = Machine(repository, programs=("gcloud", "terraform"))
        before = machine.variables.read_text()
        machine.variables.write_text(before.splitlines()[0])
        machine.run("deploy", answers=[TERRAFORM], typed="europe-west1\n7000000000000000000\n")
        assert machine.variables.read_text() == before

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


class TestIdentity:
    @pytest.fixture(autouse=True)
    def nobody(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(programs, "for_gcloud", {})

    def test_a_token_for_the_provider_is_gclouds_too(self) -> None:
        """Its value goes into a file that nobody else may read, not onto a command line."""
        assert "GOOGLE_OAUTH_ACCESS_TOKEN" in identity.use({"GOOGLE_OAUTH_ACCESS_TOKEN": "ya29.x"})
        file = Path(programs.for_gcloud["CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"])
        assert (file.read_text(), file.stat().st_mode & 0o077) == ("ya29.x", 0)

    def test_keys_and_workload_identity_are_used_by_both(self, tmp_path: Path) -> None:
        """As contents, which go into a file that nobody else may read, or as a file."""
        contents = json.dumps({"type": "external_account"})
        assert identity.use({"GOOGLE_CREDENTIALS": contents}) == "the identity of GOOGLE_CREDENTIALS"
        file = Path(programs.for_gcloud["CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE"])
        assert (file.read_text(), file.stat().st_mode & 0o077) == (contents, 0)
        (tmp_path / "key.json").write_text(contents)
        identity.use({"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "key.json")})
        assert programs.for_gcloud["CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE"] == str(tmp_path / "key.json")

    def test_impersonation_is_for_both(self) -> None:
        """The provider's variable for it sets gcloud's."""
        assert identity.use({"GOOGLE_IMPERSONATE_SERVICE_ACCOUNT": "deployer@p"}).startswith("deployer@p,")
        assert programs.for_gcloud == {"CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT": "deployer@p"}


class TestRefusals:
    @pytest.mark.parametrize(
        ("words", "helps"),
        [
            ("violated constraint constraints/iam.allowedPolicyMemberDomains", "public_access"),
            ("Constraint constraints/gcp.resourceLocations violated for europe-west1", "secret_locations"),
            ("You can't create a role_id (x) which has been marked for deletion", "role_suffix"),
            ("Service account creation is not allowed on this project.", "iam.disableServiceAccountCreation"),
            ("violates org policy 'constraints/gcp.restrictNonCmekServices'", "kms_key"),
            ("Constraint constraints/cloudfunctions.allowedIngressSettings violated", "connect_ingress"),
            (
                "Request is disallowed by organization's constraints/gcp.restrictServiceUsage",
                "gcp.restrictServiceUsage",
            ),
            ("prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: abc", "VPC Service Controls"),
            ("googleapi: Error 403: reason BILLING_DISABLED", "billing account"),
            ("googleapi: Error 429: Quota exceeded for quota metric 'Write requests'", "A quota is used up"),
            ("Constraint constraints/run.allowedVPCEgress violated", "An organization policy forbids it"),
            ("googleapi: Error 403: Permission 'run.services.setIamPolicy' denied", "lacks a permission"),
            ("Error code 3, message: Build failed with status: FAILURE", "Cloud Build"),
        ],
    )
    def test_what_google_refuses_is_explained_in_its_words_and_ours(self, words: str, helps: str) -> None:
        """With the setting that helps, after Google's own words."""
        said = refusals.explained([{"summary": words, "address": "google_x.y"}])
        assert said.startswith(f"- google_x.y: {words}")
        assert helps in said.splitlines()[-1]

    def test_anything_else_is_googles_alone(self) -> None:
        """Nothing is made up, and the same help is not given twice."""
        assert refusals.explained([{"summary": "Something odd", "detail": "really"}]) == "- Something odd really"
        two = [{"summary": f"constraints/gcp.resourceLocations {number}"} for number in range(2)]
        assert refusals.explained(two).count("secret_locations") == 1


class TestScreen:
    def test_it_says_in_words_what_will_be_done(self) -> None:
        """By kind and name, with what each may do; deletions and changes apart."""
        said = screen.summary(
            plan(
                ("google_cloudfunctions2_function.connect", ["create"], {"name": "tiktok-ads-connect"}),
                ('google_service_account.this["connect"]', ["create"], {"account_id": "tiktok-ads-connect"}),
                (
                    "google_cloudfunctions2_function.refresh",
                    ["update"],
                    {"name": "tiktok-ads-refresh", "build_config": 2},
                ),
                ("google_storage_bucket.source", ["delete", "create"], {"name": "a-bucket"}),
                ('google_project_service.api["x"]', ["delete"], {"service": "x"}),
            )
        )
        lines = {line.strip(): number for number, line in enumerate(said.splitlines())}
        assert "1 functions          tiktok-ads-connect (public: TikTok sends approvers back to it)" in lines
        assert (
            "1 accounts           tiktok-ads-connect (creates and writes connections' secrets, reads no token)" in lines
        )
        assert (
            lines["create:"]
            < lines["replace:"]
            < lines["change:"]
            < lines["1 functions          tiktok-ads-refresh (source)"]
        )
        assert "API" not in said

    def test_a_whole_deployment_fits_on_a_screen(self) -> None:
        """Every type that is made has words, and all of them make fewer than 30 lines."""
        kinds = {kind for kind, _, _ in resources()}
        assert kinds == screen.RESOURCES.keys()
        changes = [(f"{kind}.x{number}", ["create"], {"name": "n" * 30}) for kind in kinds for number in range(5)]
        lines = screen.summary(plan(*changes)).splitlines()
        assert len(lines) < 30
        assert max(len(line) for line in lines) <= 120

    def test_progress_is_plain_in_a_pipe(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A line for each thing that was made, without colour codes."""
        progress = Progress(2)
        for kind in ("apply_start", "apply_complete"):
            resource = {
                "addr": "google_cloudfunctions2_function.connect",
                "resource_type": "google_cloudfunctions2_function",
            }
            progress({"type": kind, "hook": {"action": "create", "resource": resource}})
        progress.end()
        assert capsys.readouterr().out == "[1/2] created functions: connect\n"


class TestTakingOver:
    def test_ids_come_from_what_is_planned(self) -> None:
        """Of what Google said exists already, and of nothing else."""
        address = 'google_service_account.this["connect"]'
        planned = plan((address, ["create"], {"account_id": "tiktok-ads-connect"}))
        errors = [{"summary": "Error 409: already exists", "address": address}]
        assert existing(errors, planned, TARGET) == {
            address: "projects/my-project-123/serviceAccounts/tiktok-ads-connect@my-project-123.iam.gserviceaccount.com"
        }
        assert not existing([{"summary": "Error 403", "address": address}], planned, TARGET)

    def test_everything_that_has_a_name_of_its_own_can_be_found(self) -> None:
        """All but what is added to something else, which Google takes twice without harm."""
        harmless = ("_iam_member", "_project_service", "_service_identity", "_audit_config", "_bucket_object")
        named = {kind for kind, _, _ in resources() if not kind.endswith(harmless)}
        assert named == {kind for kind, entry in screen.RESOURCES.items() if entry.keys() & {"id", "listed"}}

    def test_what_is_made_first_exists(self) -> None:
        """The addresses that are planned on their own are addresses of the configuration."""
        assert set(FIRST) <= {f"{resource}.{name}" for resource, name, _ in resources()}


def test_nobody_to_ask_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal, consent has to be given beforehand."""
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(Stop, match="YES=1"):
        programs.confirm("Type yes: ", "yes")


def test_nobody_who_listens_any_more_ends_nothing() -> None:
    """A closed terminal or pipe must not stop a deployment half-way."""
    reading, writing = os.pipe()
    os.close(reading)
    code = "from gcp.deploy.programs import say\nfor _ in range(3): say('x'); say('y', error=True)"
    environment = {"PYTHONPATH": str(ROOT / "infra")}
    done = subprocess.run([sys.executable, "-c", code], stdout=writing, stderr=writing, env=environment, check=False)
    os.close(writing)
    assert done.returncode == 0
