"""The Terraform README against the files; the guide's gcloud commands against what Terraform makes."""

import json
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gcp.configuration import INFRA, ROOT, Plan, blocks, local
from gcp.deploy.screen import COST
from gcp.guide import REFRESH_URL, Recording
from tokenkeeper.cli.doctor.deployment import source_hash

README = (INFRA / "README.md").read_text()
GUIDE = tomllib.loads(Path(__file__).with_name("guide.toml").read_text())


def variables() -> Iterator[tuple[str, str, str]]:
    """Every variable with what it means and its default."""
    for name, body in blocks("variable"):
        default = "unset" if body.get("default") in (None, "null", "${null}") else f"`{json.dumps(body['default'])}`"
        yield f"`{name}`", body["description"], default if "default" in body else "required"


def outputs() -> Iterator[tuple[str, str]]:
    """Every output with what it means."""
    for name, body in blocks("output"):
        yield f"`{name}`", body["description"]


def alerts() -> Iterator[tuple[str, str, str]]:
    """Every alert with its severity, and when it is raised."""
    for alert in local("alerts").values():
        number = re.sub(r"^\$\{var\.(\w+)\}$", r"`\1`", str(alert["above"]))
        each = ", for each connection" if "metric.label.connection" in alert["by"] else ""
        when = f"more than {number} in {alert['minutes']} minutes" if alert["above"] else f"at once{each}"
        yield alert["title"], alert["severity"], when
    yield "a run did not happen", "ERROR", "no finished run in `missed_run_hours`"


def permissions() -> Iterator[tuple[str, str, str, str]]:
    """Who may do what on which secrets, by roles that are made here."""
    names = {"${local.token_secrets}": "`…-token-*`", "${local.refresh_secrets}": "`…-refresh-*`"}
    notes = {"account": "refresh", "prefixes": [], "role": "note"}
    for grant in [*local("grants").values(), notes]:
        where = " and ".join(names[prefix] for prefix in grant["prefixes"]) or "the project"
        role = local("roles")[grant["role"]]
        short = ", ".join(f"`{permission.removeprefix('secretmanager.')}`" for permission in role["permissions"])
        yield f"`{grant['account']}`", "`…-keeper`" if grant is notes else where, short, role["description"]


class TestTables:
    @pytest.mark.parametrize("made", [variables, outputs, alerts, permissions])
    def test_they_say_what_stands_in_the_files(self, made: Callable[[], Iterator[tuple[str, ...]]]) -> None:
        """Variables, outputs and alerts in their order; permissions beside those that Google's own roles give."""
        expected = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in made()]
        section = README.partition(f"<!-- {made.__name__}: begin -->")[2].partition("<!-- ")[0]
        shown = section.strip().splitlines()[2:]
        if made is permissions:
            shown = sorted(row for row in shown if re.search(r"`(secrets\.|versions\.add)", row))
            expected.sort()
        assert shown == expected

    def test_sums_are_right(self) -> None:
        """Each total of the costs is the sum of the lines above it; the first screen names the smallest two."""
        costs = README.partition("## What it costs")[2].partition("\n- ")[0]
        totals, sums = [], [0.0, 0.0, 0.0]
        for line in [line for line in costs.splitlines() if line.startswith("|")][2:]:
            what, *cells = line.strip("| ").split("|")
            values = [float(re.sub(r".*→|[* ]", "", cell)) for cell in cells]
            if "together" in what:
                assert values == [pytest.approx(value) for value in sums]
                totals.append(values)
                sums = [0.0, 0.0, 0.0]
            else:
                sums = [before + value for before, value in zip(sums, values, strict=True)]
        assert len(totals) == 2
        assert f"${totals[0][0]:.2f} with one connection and ${totals[0][1]:.2f} with 100" in COST


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
        given = [one for one in recording.find("projects", "add-iam-policy-binding") if "-build@" not in one["member"]]
        bound = [one for one in plan.all("google_project_iam_member").values() if "-build@" not in one["member"]]
        found = {(one["member"], one["role"], one.get("condition", "").partition("expression=")[2]) for one in given}
        assert found == {
            (one["member"], one["role"], "".join(each["expression"].replace('"', "'") for each in one["condition"]))
            for one in bound
        }
        given = recording.find("secrets", "add-iam-policy-binding")
        bound = list(plan.all("google_secret_manager_secret_iam_member").values())
        expected = {(one["secret_id"], one["member"], one["role"]) for one in bound}
        assert {(one[""], one["member"], one["role"]) for one in given} == expected

    @pytest.mark.parametrize("name", ["connect", "refresh"])
    def test_functions_are_those_of_terraform(self, recording: Recording, plan: Plan, name: str) -> None:
        """The same settings, sizes, deadlines, secrets and accounts."""
        given = next(call for call in recording.find("functions", "deploy") if call[""] == f"tiktok-ads-{name}")
        made = plan.all("google_cloudfunctions2_function")[name]
        (service,), (build,) = made["service_config"], made["build_config"]
        told = dict(pair.split("=", 1) for pair in given["set-env-vars"].split(","))
        defaults = {"KEEP_VERSIONS": "2", "TIKTOK_MAX_QPS": "8"}
        assert defaults | told == defaults | service["environment_variables"]
        assert given["set-secrets"].split(",") == [
            f"{entry['key']}={entry['secret']}:{entry['version']}" for entry in service["secret_environment_variables"]
        ]
        assert ("allow-unauthenticated" in given) == (name == "connect")
        known = {"function": made, "service": service, "build": build, "hash": source_hash(ROOT / "functions")}
        expected = {option: value.format_map(known) for option, value in GUIDE["function"].items()}
        assert {option: given[option] for option in expected} == expected

    def test_the_scheduler_is_that_of_terraform(self, recording: Recording, plan: Plan) -> None:
        """The same schedule, deadline, retries and identity."""
        (given,) = recording.find("scheduler", "jobs", "create", "http")
        job = plan.all("google_cloud_scheduler_job")["refresh"]
        known = {"job": job, "retry": job["retry_config"][0], "target": job["http_target"][0], "url": REFRESH_URL}
        expected = {option: value.format_map(known) for option, value in GUIDE["scheduler"].items()}
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
        made = plan.all("google_artifact_registry_repository")["images"]["cleanup_policies"]
        found = {policy["name"]: policy["action"]["type"].upper() for policy in policies}
        assert found == {policy["id"]: policy["action"] for policy in made}
        assert policies[0]["mostRecentVersions"]["keepCount"] == 2
        (writer,) = recording.find("artifacts", "repositories", "add-iam-policy-binding")
        assert writer["role"] == "roles/artifactregistry.writer"
