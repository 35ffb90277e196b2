"""The Terraform README against the files; the guide's gcloud commands, run with a gcloud that records them."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from gcp import documentation
from gcp.configuration import INFRA, NUMBER, ROOT, Plan, local
from gcp.deploy.screen import COST
from tokenkeeper.cli.doctor.deployment import source_hash

GCLOUD = shutil.which("gcloud")
PAGE = INFRA.parent / "guide" / "without-terraform.md"
REFRESH_URL = "https://tiktok-ads-refresh-abc.a.run.app"
ANSWERS = [
    ["gcloud", "projects describe", 0, NUMBER],
    ["gcloud", "functions describe", 0, REFRESH_URL],
    ["gcloud", "channels create", 0, "projects/my-project-123/notificationChannels/7"],
]


@dataclass(frozen=True)
class Recording:
    """What the commands of the guide *Without Terraform* did."""

    calls: list[list[str]]
    given: dict[str, str]
    directory: Path

    def find(self, *words: str) -> list[dict[str, str]]:
        """Options of every call that begins with these words, by name; its own argument under an empty name."""
        found = [call[len(words) :] for call in self.calls if call[: len(words)] == list(words)]
        return [
            {"": next((part for part in call if not part.startswith("--")), "")}
            | dict(part[2:].partition("=")[::2] for part in call if part.startswith("--"))
            for call in found
        ]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """The published commands, run by bash with a gcloud that records how it is called."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    directory = tmp_path_factory.mktemp("readme")
    programs = directory / "bin"
    programs.mkdir()
    stub = Path(__file__).with_name("stub_program.py").read_text()
    (directory / "functions").symlink_to(ROOT / "functions")
    for name, text in {
        "gcloud": f"#!{sys.executable}\n{stub}",
        "make": '#!/bin/sh\necho "$@" > attached\n',
        "openssl": "#!/bin/sh\nprintf '%064d\\n' 7\n",
    }.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (directory / "answers.json").write_text(json.dumps(ANSWERS))
    done = subprocess.run(
        ["/bin/bash", "-eu", "-c", "\n".join(blocks)],
        input="the-app-secret\n",
        env={"PATH": f"{programs}:/usr/bin:/bin", "STUB_DIRECTORY": str(directory), "HOME": str(directory)},
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    calls = [json.loads(line) for line in (directory / "calls.jsonl").read_text().splitlines()]
    given = {call["arguments"][3]: call["given"] for call in calls if call["given"]}
    return Recording([call["arguments"] for call in calls], given, directory)


def complaints(commands: list[str]) -> list[str]:
    """What gcloud's own parser finds wrong."""
    if not GCLOUD:
        pytest.skip("gcloud is not installed")
    commands = list(dict.fromkeys(commands))  # it judges each once
    done = subprocess.run(
        [GCLOUD, "meta", "lint-gcloud-commands", "--commands-file=/dev/stdin"],
        input=json.dumps([{"command_string": command} for command in commands]),
        capture_output=True,
        text=True,
        check=True,
    )
    judged = json.loads(done.stdout)
    assert len(judged) == len(commands)
    return [f"{entry['command_string']}: {entry['error_message']}" for entry in judged if not entry["success"]]


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
    @pytest.mark.slow
    def test_gcloud_understands_them(self, recording: Recording) -> None:
        """gcloud's own parser takes each as the shell makes it, and those in sentences and in the texts of alerts."""  # noqa: D403 - the program's name
        texts = documentation.README.read_text() + (INFRA / "alerts.tf").read_text()
        named = [re.sub(r"\$\{[^}]*\}", "x", command) for command in re.findall(r"`(gcloud [^`]+)`", texts)]
        assert len(named) > 5
        made = [shlex.join(["gcloud", *call]) for call in recording.calls]
        assert not complaints([command for command in made + named if not command.startswith("gcloud auth")])

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
