"""The Terraform README against the files; the guide's gcloud commands, run with a gcloud that records them."""

from __future__ import annotations

import json
import re

import pytest

from gcp import documentation
from gcp.configuration import ROOT, Plan, local
from gcp.deploy.screen import COST
from gcp.guide import REFRESH_URL, Recording
from tokenkeeper.cli.doctor.deployment import source_hash


class TestTables:
    def test_they_say_what_stands_in_the_files(self) -> None:
        """Variables, outputs, permissions and alerts are described as they are; `documentation.py` writes them."""
        assert documentation.README.read_text() == documentation.documented()

    def test_sums_are_right(self) -> None:
        """Each total of the costs is the sum of its lines, and each line is what its own numbers make."""
        costs = documentation.README.read_text().partition("## What it costs")[2].partition("\n- ")[0]
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in costs.splitlines() if line.startswith("|")]
        total = [0.0, 0.0, 0.0]
        totals: list[list[float]] = []
        for what, *cells in rows[2:]:
            values = [float(re.sub(r".*→|\*", "", cell)) for cell in cells]
            if "together" in what:
                assert values == [pytest.approx(value) for value in total]
                total, totals = [0.0, 0.0, 0.0], [*totals, values]
                continue
            total = [before + value for before, value in zip(total, values, strict=True)]
            price = next((price for word, price in PRICES.items() if word in what), 0.0)
            for cell, value in zip(cells, values, strict=True):
                if count := re.match(r"([\d,.]+)( s)? →", cell):
                    assert value == pytest.approx(price * float(count[1].replace(",", "")), abs=0.0051)
        assert len(totals) == 2
        assert f"${totals[0][0]:.2f} with one connection and ${totals[0][1]:.2f} with 100" in COST


# In the order in which a line of the table is looked at.
PRICES = {"versions": 0.06, "images": 0.10, "accesses": 0.03 / 10_000, "run time": 120 * (0.000024 + 0.5 * 0.0000025)}


class TestCommands:
    def test_neither_secret_is_on_a_command_line(self, recording: Recording) -> None:
        """Both values go to gcloud by its standard input, without a line's end."""
        assert recording.given["tiktok-ads-app-secret"] == "the-app-secret"
        assert re.fullmatch(r"[0-9a-f]{64}", recording.given["tiktok-ads-link-signing-keys"])
        assert not [call for call in recording.calls for value in recording.given.values() if value in " ".join(call)]

    def test_permissions_are_those_of_terraform(self, recording: Recording, plan: Plan) -> None:
        """The same custom roles; the same members have the same roles, with the same conditions."""
        made = {role[""]: set(role["permissions"].split(",")) for role in recording.find("iam", "roles", "create")}
        assert made == {f"tiktok_ads_tokens_{name}": set(role["permissions"]) for name, role in local("roles").items()}
        project = {
            (binding["member"], binding["role"], _plain(binding.get("condition", "").partition("expression=")[2]))
            for binding in recording.find("projects", "add-iam-policy-binding")
            if "tiktok-ads-build@" not in binding["member"]
        }
        assert project == {
            (binding["member"], binding["role"], "".join(entry["expression"] for entry in binding["condition"]))
            for binding in plan.all("google_project_iam_member").values()
            if "tiktok-ads-build@" not in binding["member"]
        }
        secret = {
            (binding[""], binding["member"], binding["role"])
            for binding in recording.find("secrets", "add-iam-policy-binding")
        }
        assert secret == {
            (binding["secret_id"], binding["member"], binding["role"])
            for binding in plan.all("google_secret_manager_secret_iam_member").values()
        }

    @pytest.mark.parametrize("name", ["connect", "refresh"])
    def test_functions_are_those_of_terraform(self, recording: Recording, plan: Plan, name: str) -> None:
        """The same settings, sizes, deadlines, secrets and accounts."""
        given = next(call for call in recording.find("functions", "deploy") if call[""] == f"tiktok-ads-{name}")
        made = plan.one("google_cloudfunctions2_function", name)
        (service,), (build,) = made["service_config"], made["build_config"]
        told = dict(pair.split("=", 1) for pair in given["set-env-vars"].split(","))
        defaults = {"KEEP_VERSIONS": "2", "TIKTOK_MAX_QPS": "8"}
        assert defaults | told == defaults | service["environment_variables"]
        assert given["set-secrets"].split(",") == [
            f"{entry['key']}={entry['secret']}:{entry['version']}" for entry in service["secret_environment_variables"]
        ]
        assert ("allow-unauthenticated" in given) == (name == "connect")
        expected = {
            "memory": service["available_memory"],
            "cpu": service["available_cpu"],
            "timeout": f"{service['timeout_seconds']}s",
            "concurrency": str(service["max_instance_request_concurrency"]),
            "max-instances": str(service["max_instance_count"]),
            "service-account": service["service_account_email"],
            "entry-point": build["entry_point"],
            "runtime": build["runtime"],
            "build-service-account": build["service_account"],
            "docker-repository": build["docker_repository"],
            "set-build-env-vars": f"SOURCE_HASH={source_hash(ROOT / 'functions')}",
            "region": made["location"],
        }
        assert {option: given[option] for option in expected} == expected

    def test_the_scheduler_is_that_of_terraform(self, recording: Recording, plan: Plan) -> None:
        """The same schedule, deadline, retries and identity."""
        (given,) = recording.find("scheduler", "jobs", "create", "http")
        job = plan.one("google_cloud_scheduler_job", "refresh")
        (retry,), (target,) = job["retry_config"], job["http_target"]
        expected = {
            "schedule": job["schedule"],
            "attempt-deadline": job["attempt_deadline"],
            "max-retry-attempts": str(retry["retry_count"]),
            "min-backoff": retry["min_backoff_duration"],
            "max-backoff": retry["max_backoff_duration"],
            "max-doublings": str(retry["max_doublings"]),
            "oidc-service-account-email": target["oidc_token"][0]["service_account_email"],
            "oidc-token-audience": REFRESH_URL,
            "uri": REFRESH_URL,
        }
        assert {option: given[option] for option in expected} == expected

    def test_codes_are_kept_out_of_the_request_log(self, recording: Recording) -> None:
        """The exclusion is there before the functions are; the command line is attached to what was chosen."""
        words = [" ".join(call[:3]) for call in recording.calls]
        assert words.index("logging sinks update") < words.index("functions deploy tiktok-ads-connect")
        (sink,) = recording.find("logging", "sinks", "update")
        assert 'service_name="tiktok-ads-connect" AND httpRequest.requestUrl:"?"' in sink["add-exclusion"]
        assert (recording.directory / "attached").read_text() == "attach PROJECT=my-project-123 REGION=europe-west1\n"

    def test_images_do_not_pile_up_here_either(self, recording: Recording, plan: Plan) -> None:
        """The same repository, the same clean-up, and the build may write to no other."""
        policies = json.loads((recording.directory / "cleanup.json").read_text())
        made = plan.one("google_artifact_registry_repository", "images")["cleanup_policies"]
        assert {policy["name"]: policy["action"]["type"].upper() for policy in policies} == {
            policy["id"]: policy["action"] for policy in made
        }
        assert policies[0]["mostRecentVersions"]["keepCount"] == 2
        (writer,) = recording.find("artifacts", "repositories", "add-iam-policy-binding")
        assert writer["role"] == "roles/artifactregistry.writer"


def _plain(expression: str) -> str:
    return expression.replace("'", '"')
