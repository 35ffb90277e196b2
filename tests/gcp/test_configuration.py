"""The Terraform files by Terraform's own judgement, against the provider's schema; which values variables take."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from gcp.configuration import INFRA, SCHEMA, TERRAFORM, Terraform, blocks, files, resources


class TestFiles:
    def test_the_schema_has_nothing_that_is_not_used(self) -> None:
        """The committed schema is no larger than it has to be; what only google-beta has is made with that."""
        used = {resource for kind in ("resource", "data") for resource, _, _ in resources(kind)}
        assert used == SCHEMA["resources"].keys() | SCHEMA["data"].keys()
        assert [resource for resource, _, body in resources() if "provider" in body] == SCHEMA["only_in_beta"]

    def test_versions_are_those_that_the_schema_is_of(self) -> None:
        """Terraform from 1.5, and both major versions of the provider that the schema is the same in."""
        (settings,) = files()["versions.tf"]["terraform"]
        assert settings["required_version"] == ">= 1.5"
        versions = {name: entry["version"] for name, entry in settings["required_providers"][0].items()}
        assert versions["google"] == versions["google-beta"] == ">= 7.0, < 9.0"

    def test_it_can_be_a_module_and_labels_everything(self) -> None:
        """`infra/gcp` has no backend; labels are defaults of both providers, so that nothing is forgotten."""
        assert not [name for name, file in files().items() if "backend" in str(file.get("terraform", ""))]
        providers = dict(blocks("provider"))
        assert {name: body["default_labels"] for name, body in providers.items()} == {
            "google": "${local.labels}",
            "google-beta": "${local.labels}",
        }

    def test_variables_and_outputs_say_what_they_are(self) -> None:
        """Each is described in a sentence, and what can be wrong is refused in one that begins with its name."""
        both = [*blocks("variable"), *blocks("output")]
        assert [name for name, body in both if not body.get("description", "").endswith(".")] == []
        checked = [(name, body) for name, body in blocks("variable") if str(body["type"]).strip("${}") != "bool"]
        messages = [(name, rule["error_message"]) for name, body in checked for rule in body["validation"]]
        assert [name for name, text in messages if not re.fullmatch(rf"{name} [^\n]*\.", text)] == []

    def test_no_validation_looks_at_another_variable(self) -> None:
        """Terraform before 1.9 refuses that, and Google's Cloud Shell has 1.5.7: those are preconditions."""
        named = {
            name: set(re.findall(r"var\.(\w+)", str(body.get("validation", "")))) for name, body in blocks("variable")
        }
        assert {name: others for name, others in named.items() if others - {name}} == {}

    def test_files_are_formatted(self) -> None:
        """`terraform fmt` would change nothing."""
        if not TERRAFORM:
            pytest.skip("terraform is not installed")
        done = subprocess.run(
            ["terraform", "fmt", "-check", "-diff", str(INFRA)], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (0, "")


class TestTerraform:
    def test_terraform_finds_the_configuration_valid(self, terraform: Terraform) -> None:
        """`terraform validate` has nothing to say: every block and attribute is in the schema, none is missing."""
        done = terraform.run("validate", "-no-color")
        assert (done.returncode, done.stderr) == (0, "")
        assert "Warning" not in done.stdout

    def test_a_typo_would_be_found(self, terraform: Terraform) -> None:
        """What is unknown, missing or doubled is refused with the stub provider as with the real one."""
        wrong = terraform.directory / "wrong.tf"
        wrong.write_text(
            'resource "google_cloud_scheduler_job" "wrong" {\n  shedule = "0 * * * *"\n'
            '  http_target {\n    url = "x"\n  }\n  http_target {\n    uri = "x"\n  }\n}\n'
        )
        done = terraform.run("validate", "-no-color")
        wrong.write_text('resource "google_cloud_scheduler_job" "wrong" {\n  name  = "x"\n  state = "x"\n}\n')
        computed = terraform.run("validate", "-no-color")
        wrong.unlink()
        said = " ".join((done.stderr + computed.stderr).replace("│", " ").split())
        wanted = ['named "shedule" is not expected', 'named "url" is not expected', 'argument "uri" is required']
        wanted += ['argument "name" is required', "Too many http_target blocks", "state cannot be set"]
        assert [words for words in wanted if words not in said] == [], said


class TestVariables:
    @pytest.mark.parametrize("wrong", tomllib.loads(Path(__file__).with_name("wrong.toml").read_text())["plan"])
    def test_wrong_values_are_refused_with_a_sentence(self, terraform: Terraform, wrong: dict[str, list[Any]]) -> None:
        """A wrong value stops the plan with what is wrong and what a right one looks like."""
        said = terraform.refusal(**{name: value for name, (value, _) in wrong.items()})
        assert {name: complaint for name, (_, complaint) in wrong.items() if complaint not in said} == {}

    def test_unusual_but_right_values_are_taken(self, terraform: Terraform) -> None:
        """What is allowed is not refused."""
        right = {
            "project_id": "example.com:my-project",
            "region": "northamerica-northeast1",
            "public_url": "https://example.com/" + "x" * 80,
            "schedule": "0 2,14 * * *",
            "time_zone": "America/Argentina/Buenos_Aires",
            "readers": [{"principal": "principalSet://iam.googleapis.com/projects/1/x", "connections": ["acme"]}],
        }
        key = "projects/p/locations/global/keyRings/r/cryptoKeys/k"
        assert terraform.refusal(**right, kms_key=key) == ""
        assert terraform.refusal(**right, secret_locations=["europe-west1", "europe-west4"]) == ""
