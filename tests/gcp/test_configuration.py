"""The Terraform files by Terraform's own judgement, against the provider's schema; which values variables take."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from gcp.configuration import INFRA, SCHEMA, Terraform, blocks, resources, written

VALUES = tomllib.loads(Path(__file__).with_name("values.toml").read_text())


class TestFiles:
    def test_the_schema_is_of_what_is_used(self) -> None:
        """No resource more, in both major versions of the provider that it is the same in; Terraform from 1.5."""
        used = {resource for kind in ("resource", "data") for resource, _, _ in resources(kind)}
        assert used == SCHEMA["resources"].keys() | SCHEMA["data"].keys()
        # What only google-beta has is made with that.
        assert [resource for resource, _, body in resources() if "provider" in body] == SCHEMA["only_in_beta"]
        (settings,) = written("terraform")
        assert settings["required_version"] == ">= 1.5"
        versions = {name: entry["version"] for name, entry in settings["required_providers"][0].items()}
        assert versions["google"] == versions["google-beta"] == ">= 7.0, < 9.0"

    def test_it_can_be_a_module_and_labels_everything(self) -> None:
        """`infra/gcp` has no backend; labels are defaults of both providers, so that nothing is forgotten."""
        assert "backend" not in str(list(written("terraform")))
        labels = {name: body["default_labels"] for name, body in blocks("provider")}
        assert labels == dict.fromkeys(("google", "google-beta"), "${local.labels}")

    def test_variables_and_outputs_say_what_they_are(self) -> None:
        """Each is described in a sentence, and what can be wrong is refused in one that begins with its name."""
        both = [*blocks("variable"), *blocks("output")]
        assert [name for name, body in both if not body["description"].endswith(".")] == []
        for name, body in blocks("variable"):
            rules = body["validation"] if str(body["type"]).strip("${}") != "bool" else []
            assert not [rule for rule in rules if not re.fullmatch(rf"{name} [^\n]*\.", rule["error_message"])], name
            # Terraform before 1.9 lets none look at another variable, and Google's Cloud Shell has 1.5.7.
            assert set(re.findall(r"var\.(\w+)", str(rules))) <= {name}

    def test_files_are_formatted(self, terraform: Terraform) -> None:
        """`terraform fmt` would change nothing."""
        done = terraform.run("fmt", "-check", "-diff", str(INFRA))
        assert (done.returncode, done.stdout) == (0, "")


class TestTerraform:
    def test_terraform_finds_the_configuration_valid(self, terraform: Terraform) -> None:
        """`terraform validate` has nothing to say: every block and attribute is in the schema, none is missing."""
        done = terraform.run("validate", "-no-color")
        assert (done.returncode, done.stderr) == (0, "")
        assert "Warning" not in done.stdout


class TestVariables:
    @pytest.mark.parametrize("wrong", VALUES["wrong"])
    def test_wrong_values_are_refused_with_a_sentence(self, terraform: Terraform, wrong: dict[str, list[Any]]) -> None:
        """A wrong value stops the plan with what is wrong and what a right one looks like."""
        said = terraform.refusal(**{name: value for name, (value, _) in wrong.items()})
        assert {name: complaint for name, (_, complaint) in wrong.items() if complaint not in said} == {}

    @pytest.mark.parametrize("right", VALUES["right"])
    def test_unusual_but_right_values_are_taken(self, terraform: Terraform, right: dict[str, Any]) -> None:
        """What is allowed is not refused."""
        assert terraform.refusal(**right) == ""
