"""What `make deploy` asks for, says and explains, without Terraform."""

import os
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from gcp.configuration import INFRA, REQUIRED, ROOT, resources
from gcp.deploy import __main__, deployed, deployment, prepare, programs, refusals, screen
from gcp.deploy.deployment import existing
from gcp.deploy.prepare import Target
from gcp.deploy.refusals import Refusal, Refused, Stop
from gcp.deploy.terraform import Plan
from gcp.machine import GOOD, USUAL, Machine
from gcp.stub_provider import FUNCTION

NAME_TAKEN = "HTTPError 409: The requested bucket name is not available. The bucket namespace is shared by all users."


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
        machine = Machine(repository, stubs=())
        machine.variables.unlink()
        said = machine.run("deploy", answers=[], ends=1)
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
            (["gcloud", "buckets list", 1, "x does not have access"], "The identity that deploys lacks"),
            # Names of buckets are the whole world's: one of that name in another project is never written to.
            (["gcloud", "buckets create", 1, NAME_TAKEN], "belongs to another project"),
            (["gcloud", "buckets list", 0, "there"], "There are two states: the file infra/gcp/terraform.tfstate (1 "),
        ],
    )
    def test_it_says_what_to_do(self, repository: Path, answer: list[Any], complaint: str) -> None:
        """A missing login, a project out of reach: one sentence each, and nothing is made."""
        machine = Machine(repository, stubs=("gcloud", "terraform"))
        if "two states" in complaint:
            (machine.infra / "terraform.tfstate").write_text('{"resources":[{"mode":"managed"}]}')
        answers = [answer, ["terraform", " show ", 0, "{}"], ["gcloud", "storage ls", 0, "there"], *GOOD]
        assert complaint in machine.run("deploy", "--yes", answers=answers, ends=1)
        assert not machine.called("terraform .*(apply|migrate)|versions add")

    @pytest.mark.parametrize(("programs", "wanted"), [(("tofu",), ""), (("terraform", "tofu"), "tofu")])
    def test_opentofu_does_as_well(self, repository: Path, programs: tuple[str, ...], wanted: str) -> None:
        """Where only tofu is installed it is taken by itself, else when TERRAFORM says so."""
        machine = Machine(repository, stubs=("gcloud", *programs))
        machine.environment = {"TERRAFORM": wanted}
        machine.run("plan", answers=[[wanted or programs[0], " show ", 0, "{}"], *USUAL])
        assert machine.called("^tofu .* plan ")
        assert not machine.called("^terraform")

    def test_missing_variables_are_asked_for_and_a_secret_that_cannot_be_one_is_refused(self, repository: Path) -> None:
        """Answers are written where Terraform reads them; the secret is not shown, and nothing is made."""
        machine = Machine(repository, stubs=("gcloud", "terraform"))
        machine.environment = {"TIKTOK_APP_SECRET": "two words", "STATE": "local"}
        before = machine.variables.read_text()
        machine.variables.write_text(before.splitlines()[0])
        said = machine.run("deploy", answers=USUAL, typed="europe-west1\n7000000000000000000\n", ends=1)
        assert ("cannot be the app's secret" in said, "two words" in said) == (True, False), said
        assert machine.variables.read_text() == before
        assert not machine.called(" apply |services enable")
        assert not [call for call in machine.calls if "TIKTOK_APP_SECRET" in call["environment"]]

    def test_variables_count_as_they_do_for_terraform(self, tmp_path: Path) -> None:
        """A variable from the environment is taken, and files come before it, later ones before earlier ones."""
        (tmp_path / "terraform.tfvars").write_text('secret_prefix = "from-file" # why\nname = "x"\n')
        (tmp_path / "z.auto.tfvars.json").write_text('{"project_id": "other-project"}')
        found = prepare.variables({"TF_VAR_secret_prefix": "other", "TF_VAR_region": "europe-west4"}, tmp_path)
        right = {"name": "x", "secret_prefix": "from-file", "project_id": "other-project", "region": "europe-west4"}
        assert found == right


@pytest.mark.parametrize("key", ["GOOGLE_OAUTH_ACCESS_TOKEN", "GOOGLE_CREDENTIALS"])
def test_what_the_provider_uses_gcloud_uses_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: str) -> None:
    """Contents go into a file that nobody else may read, a file is used as it is, impersonation comes on top."""
    token = key == "GOOGLE_OAUTH_ACCESS_TOKEN"
    setting = "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE" if token else "CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE"
    monkeypatch.setattr(programs, "environment", {})
    assert prepare.use({key: '{"contents": 1}'}, "p") == f"the identity of {key}"
    made = Path(programs.environment[setting])
    assert (made.read_text(), made.stat().st_mode & 0o077) == ('{"contents": 1}', 0)
    impersonated = prepare.use({key: "key.json", "GOOGLE_IMPERSONATE_SERVICE_ACCOUNT": "deployer@p"}, "p")
    assert impersonated == "deployer@p, impersonated"
    expected = {"CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT": "deployer@p", "CLOUDSDK_CORE_PROJECT": "p"}
    assert programs.environment == {setting: str(made) if token else "key.json", **expected}


class TestRefusals:
    def test_what_google_refuses_is_explained_with_what_helps(self) -> None:
        """Each refusal's example finds the help of its own; Google's words come first, and the same help once."""
        entries = refusals.TABLE["refusal"]
        found = [Refusal(entry["example"]).help() for entry in entries]
        assert [text.partition(":")[0] for text in found] == [entry["helps"].partition(":")[0] for entry in entries]
        assert "me@laptop has held it since 2026-11-27 10:00:00 UTC (OperationTypeApply)" in found[0]
        policy = "constraints/gcp.resourceLocations"
        errors = [Refusal(f"{policy} {number}", "google_x.y") for number in range(2)]
        said = refusals.explained([*errors, Refusal("Something odd")]).splitlines()
        assert said == [f"- google_x.y: {policy} 0", f"  {Refusal(policy).help()}", "- Something odd"]

    def test_every_sentence_of_our_own_is_said(self) -> None:
        """None is missing in the table, and none is there for nothing."""
        source = "".join(file.read_text() for file in (INFRA / "deploy").glob("*.py"))
        said = re.findall(r'"(\w+)"', " ".join(re.findall(r"\bours\(([^,)]*)", source)))
        assert set(said) == refusals.TABLE["ours"].keys()

    def test_two_identities_are_both_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Terraform and gcloud may be logged in as two: the screen says which is whose."""
        monkeypatch.setattr(prepare, "try_gcloud", lambda *words: "me" if words[1] == "list" else "a-token")
        monkeypatch.setattr("requests.post", lambda *_, **__: Mock(json=lambda: {"email": "other"}))
        said = prepare._logged_in([])
        assert said.startswith("other (Terraform, by application default credentials) and me (gcloud)")


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

    def test_the_table_fits_the_configuration_and_a_screen(self) -> None:
        """All that is made has words, in fewer than 30 lines; all can be taken over but what does no harm twice."""
        kinds = {kind for kind, _, _ in resources()}
        assert kinds == screen.RESOURCES.keys()
        changes = [(f"{kind}.x{number}", ["create"], {"name": "n" * 30}) for kind in kinds for number in range(5)]
        lines = screen.summary(plan(*changes)).splitlines()
        assert len(lines) < 30
        assert max(len(line) for line in lines) <= 120
        harmless = ("_iam_member", "_project_service", "_service_identity", "_audit_config", "_bucket_object")
        named = {kind for kind in kinds if not kind.endswith(harmless)}
        assert named == {kind for kind, entry in screen.RESOURCES.items() if entry.keys() & {"id", "listed"}}
        assert {f"{resource}.{name}" for resource, name, _ in resources()} >= set(__main__.FIRST)


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
    monkeypatch.setattr(deployed, "functions", lambda _: {})
    address, function = f"{FUNCTION}.connect", {"name": "tiktok-ads-connect"}
    made, again = (plan((address, actions, function)) for actions in (["create"], ["delete", "create"]))
    terraform = Mock()
    terraform.plan.side_effect = [made, made, again]
    terraform.run.side_effect = [Refused("apply", [Refusal(refusal, address)]), None]
    work = deployment.Deployment(Target("my-project", "europe-west1", "x"), terraform, Mock(), "here", yes=False)
    work.plan(unlock=False)
    with pytest.raises(Stop, match="No terminal to confirm on") if asks else nullcontext():
        work.until_done()
    assert (terraform.plan.call_count, terraform.run.call_count) == (3, 1 if asks else 2)


def test_what_exists_is_found_by_its_known_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what Google said exists already, by what is planned; of alerts and dashboards to be made, by their title."""
    monkeypatch.setattr(deployment, "try_gcloud", lambda *_: '[{"displayName": "a", "name": "things/1"}]')
    deployment._listed.cache_clear()
    alert, dashboard = "google_monitoring_alert_policy", "google_monitoring_dashboard.this"
    account, other = (f'google_service_account.this["{name}"]' for name in ("connect", "refresh"))
    planned = plan(
        (account, ["create"], {"account_id": "tiktok-ads-connect"}),
        (other, ["create"], {"account_id": "tiktok-ads-refresh"}),
        (f"{alert}.a", ["create"], {"display_name": "a"}),
        (f"{alert}.b", ["create"], {"display_name": "b"}),
        (f"{alert}.c", ["update"], {"display_name": "a"}),
        (dashboard, ["create"], {"dashboard_json": '{"displayName": "a"}'}),
    )
    said = [Refusal("Error 409: already exists", account), Refusal("Error 403", other)]
    found = existing(planned, Target("example.com:my-project", "europe-west1", "x"), said)
    deployment._listed.cache_clear()
    email = "tiktok-ads-connect@my-project.example.com.iam.gserviceaccount.com"
    assert found == {
        account: f"projects/example.com:my-project/serviceAccounts/{email}",
        f"{alert}.a": "things/1",
        dashboard: "things/1",
    }


def test_nobody_who_listens_any_more_ends_nothing() -> None:
    """A closed terminal or pipe must not stop a deployment half-way."""
    reading, writing = os.pipe()
    os.close(reading)
    code = "from gcp.deploy.programs import say\nfor _ in range(3): say('x'); say('y', error=True)"
    environment = {"PYTHONPATH": str(ROOT / "infra")}
    done = subprocess.run([sys.executable, "-c", code], stdout=writing, stderr=writing, env=environment, check=False)
    os.close(writing)
    assert done.returncode == 0
