"""`deploy.py`, run as a program, with gcloud and terraform replaced by programs that record how they are called."""

from __future__ import annotations

import json
import os
import pty
import re
import stat
import subprocess
import sys
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any

import pytest

from gcp import deploy
from gcp.configuration import REQUIRED, TERRAFORM, Terraform, resources
from tokenkeeper import settings

SECRET = "canary-app-secret-0123456789abcdef01234567"
VARIABLES = "".join(f'{name} = "{value}"\n' for name, value in REQUIRED.items())
OUTPUTS = {
    "project_id": "my-project-123",
    "secret_prefix": "tiktok-ads",
    "public_url": "https://europe-west1-my-project-123.cloudfunctions.net/tiktok-ads-connect",
    "tiktok_app_id": "7000000000000000000",
    "link_signing_keys_name": "projects/my-project-123/secrets/tiktok-ads-link-signing-keys",
    "app_secret_name": "projects/my-project-123/secrets/tiktok-ads-app-secret",
    "refresh_url": "https://tiktok-ads-refresh-abc.a.run.app",
    "scheduler_job": "projects/my-project-123/locations/europe-west1/jobs/tiktok-ads-refresh",
    "next_steps": "1. Register this address",
}
VERSION = ["terraform", "version -json", 0, '{"terraform_version": "1.11.4"}']
ACCOUNT = ["gcloud", "auth list", 0, "me@example.com"]
BILLING = ["gcloud", "billing projects describe", 0, "True"]
CHANGES = ["terraform", " plan .*-detailed-exitcode", 2, "Plan: 74 to add"]
NO_CHANGES = ["terraform", " plan .*-detailed-exitcode", 0, "No changes."]
OUTPUT = [
    "terraform",
    " output -json",
    0,
    json.dumps(
        {name: {"value": value} for name, value in OUTPUTS.items()} | {"service_accounts": {"value": {"build": "x"}}}
    ),
]
HAS_VALUES = ["gcloud", "secrets versions list", 0, "3"]
USUAL = [VERSION, ACCOUNT, BILLING, OUTPUT]


@dataclass
class Machine:
    """A repository, and a PATH with stand-ins for gcloud and terraform."""

    repository: Path
    programs: tuple[str, ...] = ("gcloud", "terraform")
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.variables = self.repository / "infra" / "gcp" / "terraform.tfvars"
        self.variables.write_text(VARIABLES)
        self._stub = self.repository / "stub"
        (self._stub / "bin").mkdir(parents=True)
        stub = Path(__file__).with_name("stub_program.py").read_text()
        for program in self.programs:
            executable = self._stub / "bin" / program
            executable.write_text(f"#!{sys.executable}\n{stub}")
            executable.chmod(0o755)

    def run(self, *arguments: str, answers: list[list[Any]], typed: str | None = None) -> tuple[int, str]:
        """Run deploy.py; with `typed`, at a terminal at which that is typed. Returns exit status and all output."""
        (self._stub / "answers.json").write_text(json.dumps(answers))
        command = [sys.executable, str(self.repository / "infra" / "gcp" / "deploy.py"), *arguments]
        environment = {
            "PATH": str(self._stub / "bin"),
            "STUB_DIRECTORY": str(self._stub),
            "TOKENKEEPER_DEPLOY_PAUSE": "0",
            **self.environment,
        }
        if typed is None:
            done = subprocess.run(
                command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
            return done.returncode, done.stdout + done.stderr
        return self._at_a_terminal(command, environment, typed)

    def _at_a_terminal(self, command: list[str], environment: dict[str, str], typed: str) -> tuple[int, str]:
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        ) as process:
            os.close(theirs)
            shown, answers = "", typed.splitlines(keepends=True)
            with os.fdopen(ours, "r+b", buffering=0) as terminal:
                while piece := _read(terminal):
                    shown += piece
                    # A question is what stands at the end without a line's end.
                    if answers and shown.endswith(": "):
                        terminal.write(answers.pop(0).encode())
        return process.returncode, shown

    @property
    def calls(self) -> list[dict[str, Any]]:
        file = self._stub / "calls.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def called(self, pattern: str) -> list[str]:
        """Calls that fit a regular expression."""
        return [call["called"] for call in self.calls if re.search(pattern, call["called"])]

    def forget_calls(self) -> None:
        (self._stub / "calls.jsonl").unlink()


def _read(terminal: FileIO) -> str:
    try:
        return terminal.read(4096).decode()
    except OSError:  # Linux says so when the other side is closed
        return ""


@pytest.fixture
def machine(repository: Path) -> Machine:
    return Machine(repository)


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
            assert re.search(rf'^\s+{name} = "', said, re.MULTILINE)
        assert "Traceback" not in said

    @pytest.mark.parametrize(
        ("answer", "complaint"),
        [
            (["terraform", "version", 0, '{"terraform_version": "1.10.5"}'], "1.11 or later is needed"),
            (["gcloud", "auth list", 0, ""], "gcloud auth login"),
            (["gcloud", "application-default", 1, ""], "gcloud auth application-default login"),
            (
                ["gcloud", "^gcloud projects describe", 1, ""],
                "my-project-123 does not exist, or me@example.com may not",
            ),
            (["gcloud", "billing", 0, "False"], "has no billing account"),
        ],
    )
    def test_it_says_what_to_do(self, machine: Machine, answer: list[Any], complaint: str) -> None:
        """An old terraform, a missing login, a project out of reach: one sentence each, and nothing is run."""
        status, said = machine.run("deploy", "--yes", answers=[answer, *USUAL])
        assert status == 1
        assert complaint in said
        assert not machine.called("terraform .*(init|apply)|services enable|versions add")

    def test_missing_variables_are_asked_for_and_kept(self, machine: Machine) -> None:
        """At a terminal, a missing variable is asked for once and written where Terraform reads it."""
        machine.variables.write_text('project_id = "my-project-123"')
        typed = "europe-west1\n7000000000000000000\n"
        status, said = machine.run("deploy", answers=[NO_CHANGES, HAS_VALUES, *USUAL], typed=typed)
        assert status == 0, said
        assert machine.variables.read_text().splitlines() == VARIABLES.splitlines()

    def test_variables_count_as_they_do_for_terraform(self, machine: Machine) -> None:
        """A variable from the environment is taken, and a file comes before it."""
        machine.environment = {f"TF_VAR_{name}": value for name, value in REQUIRED.items()}
        machine.environment["TF_VAR_secret_prefix"] = "from-environment"
        machine.variables.write_text('secret_prefix = "from-file" # why\n')
        (machine.variables.parent / "z.auto.tfvars.json").write_text('{"project_id": "other-project"}')
        machine.run("deploy", "--yes", answers=[NO_CHANGES, HAS_VALUES, *USUAL])
        assert machine.called("secrets versions list from-file-app-secret --project=other-project")

    def test_a_wrong_app_secret_is_refused_before_anything_is_made(self, machine: Machine) -> None:
        """What cannot be an app secret stops it, and is not shown."""
        machine.environment = {"TIKTOK_APP_SECRET": "two words"}
        status, said = machine.run("deploy", "--yes", answers=[CHANGES, *USUAL])
        assert status == 1
        assert "cannot be the app's secret" in said
        assert "two words" not in said
        assert not machine.called(" apply ")

    def test_nobody_to_ask_is_said(self, machine: Machine) -> None:
        """Without a terminal, the app secret and the consent have to be given beforehand."""
        assert "set TIKTOK_APP_SECRET" in machine.run("deploy", "--yes", answers=[CHANGES, *USUAL])[1]
        machine.environment = {"TIKTOK_APP_SECRET": SECRET}
        assert "YES=1" in machine.run("deploy", answers=[CHANGES, *USUAL])[1]
        assert not machine.called(" apply ")


class TestDeploying:
    def test_the_first_time(self, machine: Machine) -> None:
        """Containers first, then their values, then everything; then the commands know where it is."""
        machine.environment = {"TIKTOK_APP_SECRET": SECRET}
        status, said = machine.run("deploy", "--yes", answers=[CHANGES, *USUAL])
        assert status == 0, said
        steps = machine.called(" init | apply |versions add|services enable|jobs run|-detailed-exitcode")
        assert [re.sub(r"-\S*=\S+|/\S+", "", step).split()[:4] for step in steps] == [
            ["terraform", "init"],
            ["gcloud", "services", "enable", "cloudresourcemanager.googleapis.com"],
            ["terraform", "plan", "-detailed-exitcode"],
            ["terraform", "apply"],
            ["gcloud", "secrets", "versions", "add"],
            ["gcloud", "secrets", "versions", "add"],
            ["terraform", "plan", "-detailed-exitcode"],
            ["terraform", "apply"],
            ["gcloud", "scheduler", "jobs", "run"],
        ]
        assert "-target=google_secret_manager_secret.this" in steps[2]
        assert "-target" not in steps[6]
        assert "1. Register this address" in said

    def test_values_go_to_gcloud_by_standard_input_alone(self, machine: Machine) -> None:
        """The app secret and the signing key are on nobody's command line, in no environment, output or file."""
        machine.environment = {"TIKTOK_APP_SECRET": SECRET}
        _, said = machine.run("deploy", "--yes", answers=[CHANGES, *USUAL])
        given = {call["called"].split()[4]: call["given"] for call in machine.calls if call["given"]}
        key = given["tiktok-ads-link-signing-keys"]
        assert given["tiktok-ads-app-secret"] == SECRET
        assert len(key) >= 32
        for value in (SECRET, key):
            assert value not in said
            assert not [call for call in machine.calls if value in call["called"] + str(call["environment"])]
            files = [file for file in machine.repository.rglob("*") if file.is_file() and "stub" not in file.parts]
            assert not [file for file in files if value.encode() in file.read_bytes()]

    def test_every_installation_has_a_signing_key_of_its_own(self, machine: Machine) -> None:
        """Two deployments do not share a key."""
        machine.environment = {"TIKTOK_APP_SECRET": SECRET}
        for _ in range(2):
            machine.run("deploy", "--yes", answers=[CHANGES, *USUAL])
        keys = [call["given"] for call in machine.calls if "link-signing-keys" in call["called"] and call["given"]]
        assert len(set(keys)) == 2

    def test_the_secret_is_asked_for_unseen(self, machine: Machine) -> None:
        """At a terminal the app secret is typed without being shown, and each change is agreed to."""
        answers = [CHANGES, ["gcloud", "versions list tiktok-ads-link", 0, "1"], *USUAL]
        status, said = machine.run("deploy", answers=answers, typed=f"{SECRET}\nyes\nyes\n")
        assert status == 0, said
        assert SECRET not in said
        assert [call["given"] for call in machine.calls if call["given"]] == [SECRET]

    def test_again_changes_nothing(self, machine: Machine) -> None:
        """Where all is as it should be, nothing is asked, applied, put in or run."""
        status, said = machine.run("deploy", answers=[NO_CHANGES, HAS_VALUES, *USUAL])
        assert status == 0, said
        assert not machine.called(" apply |versions add|jobs run")

    def test_no_is_no(self, machine: Machine) -> None:
        """Anything but yes changes nothing."""
        status, said = machine.run("deploy", answers=[CHANGES, HAS_VALUES, *USUAL], typed="y\n")
        assert status == 1
        assert "Nothing was changed" in said
        assert not machine.called(" apply ")

    def test_what_google_has_not_heard_of_yet_is_tried_again(self, machine: Machine) -> None:
        """A failure that passes within minutes is waited for, without asking again."""
        late = "Error 404: If a metric was created recently, it\ncould take up to 10 minutes to become available."
        answers = [CHANGES, HAS_VALUES, ["terraform", " apply ", 1, late, 2], *USUAL]
        status, said = machine.run("deploy", answers=answers, typed="yes\n")
        assert status == 0, said
        assert len(machine.called(" apply ")) == 3

    def test_any_other_failure_is_not_tried_again(self, machine: Machine) -> None:
        """Terraform's own message is shown, and what to do."""
        answers = [CHANGES, HAS_VALUES, ["terraform", " apply ", 1, "Error: quota exceeded"], *USUAL]
        status, said = machine.run("deploy", "--yes", answers=answers)
        assert status == 1
        assert "Error: quota exceeded" in said
        assert "run this again" in said
        assert len(machine.called(" apply ")) == 1

    def test_a_first_run_that_cannot_be_asked_for_is_no_failure(self, machine: Machine) -> None:
        """Everything is made, so the deployment is good; the next run comes by itself."""
        answers = [CHANGES, HAS_VALUES, ["gcloud", "jobs run", 1, ""], *USUAL]
        status, said = machine.run("deploy", "--yes", answers=answers)
        assert status == 0
        assert "the next one comes by itself" in said

    def test_the_command_line_is_told_where_everything_is(self, machine: Machine) -> None:
        """Addresses and names are written down for the commands, readable by nobody else, without a secret."""
        machine.run("deploy", "--yes", answers=[CHANGES, HAS_VALUES, *USUAL])
        file = machine.repository / ".tokenkeeper" / "cloud.env"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert dict(line.split("=", 1) for line in file.read_text().splitlines()) == {
            "GOOGLE_CLOUD_PROJECT": "my-project-123",
            "SECRET_PREFIX": "tiktok-ads",
            "PUBLIC_URL": OUTPUTS["public_url"],
            "TIKTOK_APP_ID": "7000000000000000000",
            "LINK_SIGNING_KEYS_SECRET": OUTPUTS["link_signing_keys_name"],
            "TIKTOK_APP_SECRET_SECRET": OUTPUTS["app_secret_name"],
            "REFRESH_URL": OUTPUTS["refresh_url"],
            "REFRESH_AUDIENCE": OUTPUTS["refresh_url"],
        }
        place = settings.place(environment={"TOKENKEEPER_STATE": str(file.parent)})
        assert (place.name, place.environment["PUBLIC_URL"]) == ("cloud", OUTPUTS["public_url"])

    def test_what_is_made_first_exists(self) -> None:
        """The addresses that are planned on their own are addresses of the configuration."""
        assert set(deploy.FIRST) <= {f"{resource}.{name}" for resource, name, _ in resources()}

    def test_with_real_terraform(self, repository: Path, terraform: Terraform) -> None:
        """From nothing to working and again, with real Terraform and a provider that makes nothing."""
        machine = Machine(repository, programs=("gcloud",))
        (machine.repository / "stub" / "bin" / "terraform").symlink_to(str(TERRAFORM))
        machine.environment = {**terraform.environment, "TIKTOK_APP_SECRET": SECRET, "HOME": str(repository)}
        status, said = machine.run("deploy", "--yes", answers=[ACCOUNT, BILLING])
        assert status == 0, said
        assert len(machine.called("versions add")) == 2
        state = (repository / "infra" / "gcp" / "terraform.tfstate").read_text()
        assert SECRET not in state
        machine.forget_calls()
        status, said = machine.run("deploy", "--yes", answers=[ACCOUNT, BILLING, HAS_VALUES])
        assert status == 0, said
        assert "No changes." in said
        assert not machine.called("versions add|jobs run")
        status, said = machine.run("destroy", "--yes", answers=[ACCOUNT, BILLING])
        assert status == 0, said
        assert json.loads((repository / "infra" / "gcp" / "terraform.tfstate").read_text())["resources"] == []


class TestDestroying:
    STORED = "tiktok-ads-token-acme\ntiktok-ads-refresh-acme\ntiktok-ads-app-secret\nother-token-x\ntiktok-ads-keeper"

    @property
    def answers(self) -> list[list[Any]]:
        return [["gcloud", "secrets list", 0, self.STORED], *USUAL]

    def test_tokens_are_left_alone(self, machine: Machine) -> None:
        """What Terraform made goes; connections' secrets stay, and both are said beforehand."""
        machine.run("deploy", "--yes", answers=[NO_CHANGES, HAS_VALUES, *USUAL])
        status, said = machine.run("destroy", answers=self.answers, typed="my-project-123\n")
        assert status == 0, said
        assert "2 secrets of connections stay as they are" in said
        assert machine.called(" plan -destroy ")
        assert machine.called(" apply ")
        assert not machine.called("secrets delete")
        assert not (machine.repository / ".tokenkeeper" / "cloud.env").exists()
        assert not (machine.repository / ".tokenkeeper" / "current").exists()

    def test_tokens_go_where_it_is_told_so(self, machine: Machine) -> None:
        """With --tokens, this prefix's connections' secrets are named and deleted, and nobody else's."""
        status, said = machine.run("destroy", "--tokens", answers=self.answers, typed="my-project-123\n")
        assert status == 0, said
        assert said.index("for good") < said.index("Type the project's id")
        assert [call.split()[3] for call in machine.called("secrets delete")] == [
            "tiktok-ads-refresh-acme",
            "tiktok-ads-token-acme",
        ]

    def test_it_takes_the_project_s_name(self, machine: Machine) -> None:
        """Anything but the project's id deletes nothing."""
        status, _ = machine.run("destroy", "--tokens", answers=self.answers, typed="yes\n")
        assert status == 1
        assert not machine.called(" apply |secrets delete")

    def test_secrets_that_cannot_be_listed_stop_it(self, machine: Machine) -> None:
        """What would stay or go cannot be said, so nothing is done."""
        status, said = machine.run("destroy", "--yes", answers=[["gcloud", "secrets list", 1, ""], *USUAL])
        assert status == 1
        assert "gcloud secrets list failed" in said
        assert not machine.called(" apply ")

    def test_a_local_run_stays_the_current_one(self, machine: Machine) -> None:
        """Where the commands work on this machine, they go on doing so."""
        state = machine.repository / ".tokenkeeper"
        state.mkdir()
        (state / "current").write_text("local\n")
        machine.run("destroy", "--yes", answers=self.answers)
        assert (state / "current").read_text() == "local\n"


class TestPlanning:
    def test_a_plan_changes_nothing(self, machine: Machine) -> None:
        """`plan` shows what would be done."""
        status, _ = machine.run("plan", answers=USUAL)
        assert status == 0
        assert machine.called(" plan ")
        assert not machine.called(" apply |enable|versions add")
