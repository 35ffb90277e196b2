"""The Terraform files against the provider's schema, Terraform's own judgement, and its formatting."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest

from gcp.configuration import INFRA, SCHEMA, TERRAFORM, Block, Terraform, blocks, files, resources

# Terraform's own arguments, which every resource takes.
META = {"count", "for_each", "provider", "depends_on", "lifecycle"}


def problems(body: Block, schema: Block, where: str) -> Iterator[str]:
    """What of a block is unknown to the schema, and what is missing."""
    blocks, attributes = schema.get("block_types", {}), schema.get("attributes", {})
    dynamic = [(name, value["content"]) for block in body.get("dynamic", []) for name, value in block.items()]
    given = {name: value for name, value in body.items() if name != "dynamic"} | dict(dynamic)
    for name, value in given.items():
        if name in blocks:
            if len(value) > 1 and blocks[name].get("max_items") == 1:
                yield f"{where}.{name} may only be there once"
            for inner in value:
                yield from problems(inner, blocks[name]["block"], f"{where}.{name}")
        elif name not in attributes:
            yield f"{where}.{name} is unknown"
        elif not (attributes[name].get("required") or attributes[name].get("optional")):
            yield f"{where}.{name} cannot be set"
    required = {name for name, attribute in attributes.items() if attribute.get("required")}
    required |= {name for name, block in blocks.items() if block.get("min_items")}
    yield from (f"{where}.{name} is missing" for name in sorted(required - given.keys()))


class TestSchema:
    @pytest.mark.parametrize("kind", ["resource", "data"])
    def test_every_block_and_attribute_is_known_and_every_required_one_is_there(self, kind: str) -> None:
        """Every block and attribute exists in the provider, and none that it requires is missing."""
        known = SCHEMA["resources" if kind == "resource" else "data"]
        found = []
        for resource, name, body in resources(kind):
            own = {key: value for key, value in body.items() if key not in META}
            found += [f"{resource} has no schema"] if resource not in known else []
            found += problems(own, known[resource], f"{resource}.{name}") if resource in known else []
        assert not found

    def test_the_schema_has_nothing_that_is_not_used(self) -> None:
        """The committed schema is no larger than it has to be."""
        used = {resource for kind in ("resource", "data") for resource, _, _ in resources(kind)}
        assert used == SCHEMA["resources"].keys() | SCHEMA["data"].keys()

    def test_only_what_is_beta_is_made_with_the_beta_provider(self) -> None:
        """A resource that only google-beta has says so, and no other does."""
        beta = [resource for resource, _, body in resources() if "provider" in body]
        assert beta == SCHEMA["only_in_beta"]

    def test_a_typo_would_be_found(self) -> None:
        """The check fails for an unknown attribute, a missing one, a computed one and a doubled block."""
        schema = SCHEMA["resources"]["google_cloud_scheduler_job"]
        body: Block = {"shedule": "0 * * * *", "state": "x", "http_target": [{"url": "x"}, {"uri": "x"}]}
        assert list(problems(body, schema, "job")) == [
            "job.shedule is unknown",
            "job.state cannot be set",
            "job.http_target may only be there once",
            "job.http_target.url is unknown",
            "job.http_target.uri is missing",
            "job.name is missing",
        ]

    def test_versions_are_those_that_the_schema_is_of(self) -> None:
        """Terraform from 1.5, and both major versions of the provider that the schema is the same in."""
        (settings,) = files()["versions.tf"]["terraform"]
        assert settings["required_version"] == ">= 1.5"
        versions = {name: entry["version"] for name, entry in settings["required_providers"][0].items()}
        assert versions["google"] == versions["google-beta"] == ">= 7.0, < 9.0"

    def test_there_is_no_backend(self) -> None:
        """`infra/gcp` can be a module of somebody's own configuration."""
        assert not [name for name, file in files().items() if "backend" in str(file.get("terraform", ""))]

    def test_no_validation_looks_at_another_variable(self) -> None:
        """Terraform before 1.9 refuses that, and Google's Cloud Shell has 1.5.7: those are preconditions."""
        for name, body in blocks("variable"):
            assert set(re.findall(r"var\.(\w+)", str(body.get("validation", "")))) <= {name}


class TestTerraform:
    def test_terraform_finds_the_configuration_valid(self, terraform: Terraform) -> None:
        """`terraform validate` has nothing to say."""
        done = terraform.run("validate", "-no-color")
        assert (done.returncode, done.stderr) == (0, "")
        assert "Warning" not in done.stdout

    def test_a_second_plan_is_empty(self, terraform: Terraform) -> None:
        """Nothing in the configuration changes by itself: what was applied is not to be changed again."""
        state = f"-state={terraform.directory / 'second.tfstate'}"
        assert terraform.run("apply", "-auto-approve", "-input=false", state).returncode == 0
        second = terraform.run("plan", "-detailed-exitcode", "-input=false", "-no-color", state)
        assert second.returncode == 0, second.stdout

    def test_files_are_formatted(self) -> None:
        """`terraform fmt` would change nothing."""
        if not TERRAFORM:
            pytest.skip("terraform is not installed")
        done = subprocess.run(
            ["terraform", "fmt", "-check", "-diff", str(INFRA)], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (0, "")


class TestVariables:
    def test_only_three_variables_are_required(self) -> None:
        """Few questions: project, region and app id; everything else has a default."""
        assert [name for name, body in blocks("variable") if "default" not in body] == [
            "project_id",
            "region",
            "tiktok_app_id",
        ]

    def test_every_variable_and_output_is_described(self) -> None:
        """Each has a description that is a sentence."""
        for kind in ("variable", "output"):
            for name, body in blocks(kind):
                assert body.get("description", "").endswith("."), f"{kind} {name}"

    def test_every_variable_that_can_be_wrong_is_validated_in_a_sentence(self) -> None:
        """Each but the switches says in a sentence that begins with its name what a right value looks like."""
        for name, body in blocks("variable"):
            if str(body["type"]).strip("${}") == "bool":
                continue
            for validation in body["validation"]:
                assert validation["error_message"].startswith(f"{name} "), name
                assert validation["error_message"].endswith("."), name

    @pytest.mark.parametrize(
        ("name", "value", "complaint"),
        [
            ("project_id", "My Project", "is not a Google Cloud project id"),
            ("region", "asia-south1", "TikTok refuses every call from there"),
            ("region", "asia-south2", "TikTok refuses every call from there"),
            ("region", "europe", "is not a Cloud Run region"),
            ("tiktok_app_id", "", "is not an app id"),
            ("name", "a-name-that-is-too-long", "must be 2 to 20"),
            ("secret_prefix", "with space", "must be 1 to 100"),
            ("secret_prefix", "tiktok-ads-token", "must not contain -token"),
            ("public_url", "http://example.com", "begins with https://"),
            ("public_url", "https://example.com/?x=1", "has no query"),
            ("public_url", "https://example.com/", "must not end with a slash"),
            ("public_url", "https://example.com/" + "x" * 81, "longer than 100 characters"),
            ("labels", {"Team": "x"}, "must have keys and values of"),
            ("labels", {"managed-by": "me"}, "must not set managed-by"),
            ("schedule", "every day", "cron with five fields"),
            ("time_zone", "Berlin time", "name of the tz database"),
            ("run_budget_seconds", 1501, "whole number from 60 to 1500"),
            ("tiktok_max_qps", 0, "number from 0.01 to 50"),
            ("keep_versions", 1, "at least 2"),
            ("connect_memory", "512", "like 512Mi"),
            ("refresh_memory", "lots", "like 512Mi"),
            ("connect_max_instances", 0, "from 1 to 20"),
            ("portal_connection", "main", "set both or neither"),
            ("portal_advertiser_ids", ["7001"], "set both or neither"),
            ("portal_advertiser_ids", ["x"], "advertiser ids in quotation marks"),
            ("portal_state", "a b", "must be 1 to 200"),
            ("secret_locations", ["EU"], "must be regions"),
            ("secret_locations", ["europe-west1", "europe-west1"], "names a region twice"),
            ("kms_key", "my-key", "the key's full name"),
            ("kms_key", "projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k", "another location"),
            ("connect_ingress", "internal", "must be ALLOW_ALL or"),
            ("connect_ingress", "ALLOW_INTERNAL_AND_GCLB", "set public_url to that load balancer's address"),
            ("public_access", "nobody", "all_users or no_invoker_check"),
            ("role_suffix", "-2", "up to 20 of"),
            ("tiktok_account_scopes", ["a b"], "TikTok's names of scopes"),
            ("tiktok_account_scopes", ["video.list"], "must contain user.info.basic"),
            ("readers", [{"principal": "allUsers"}], "allUsers and allAuthenticatedUsers are refused"),
            ("readers", [{"principal": "user:a@example.com", "connections": ["A"]}], "connection that cannot be one"),
            ("readers", [{"principal": "user:a@example.com", "connections": []}], "1 to 200 connections"),
            ("readers", [{"principal": "user:a@example.com"}, {"principal": "user:a@example.com"}], "twice"),
            ("alert_email", "nobody", "one e-mail address"),
            ("notification_channels", ["slack"], "must be full names"),
            ("missed_run_hours", 24, "from 1 to 23"),
            ("refused_callbacks", 0, "at least 1"),
        ],
    )
    def test_a_wrong_value_is_refused_with_a_sentence(
        self, terraform: Terraform, name: str, value: object, complaint: str
    ) -> None:
        """A wrong value stops the plan with what is wrong and what a right one looks like."""
        done = terraform.run("plan", "-input=false", "-no-color", "-refresh=false", **{name: value})
        said = " ".join(done.stderr.replace("│", " ").split())
        assert done.returncode == 1
        assert complaint in said

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("project_id", "example.com:my-project"),
            ("region", "northamerica-northeast1"),
            ("public_url", "https://example.com/" + "x" * 80),
            ("schedule", "0 2,14 * * *"),
            ("time_zone", "America/Argentina/Buenos_Aires"),
            ("kms_key", "projects/p/locations/global/keyRings/r/cryptoKeys/k"),
            ("secret_locations", ["europe-west1", "europe-west4"]),
            ("readers", [{"principal": "principalSet://iam.googleapis.com/projects/1/x", "connections": ["acme"]}]),
        ],
    )
    def test_an_unusual_but_right_value_is_taken(self, terraform: Terraform, name: str, value: object) -> None:
        """What is allowed is not refused."""
        done = terraform.run("plan", "-input=false", "-no-color", "-refresh=false", **{name: value})
        assert done.returncode == 0, done.stderr
