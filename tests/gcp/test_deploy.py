"""Deployments with real Terraform: an update is never forgotten, and nobody loses the state."""

import json
import os
import re
import shlex
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from gcp.guide import Recording, complaints, mentioned
from gcp.machine import GOOD, SECRET, USUAL, Machine
from gcp.stub_provider import FUNCTION, INVOKER, Cloud
from tokenkeeper.cli import context
from tokenkeeper.cli.doctor.deployment import source_hash

ALL = 18  # types of resources that a whole deployment has


class TestDeploying:
    def test_from_nothing_to_working_and_away_again(self, machine: Machine, cloud: Cloud) -> None:
        """Nothing without a yes; then containers, their values, everything; again, nothing; then all is deleted."""
        assert "Nothing was changed" in machine.run("deploy", typed="y\n", ends=1)
        assert "No terminal to confirm on: pass --yes (YES=1)." in machine.run("deploy", ends=1)
        assert not cloud.applied
        assert not machine.called("enable|create|versions add")

        machine.environment["TIKTOK_APP_SECRET"] = SECRET
        said = machine.run("deploy", answers=USUAL, typed="yes\n")
        assert (said.count("Type yes"), "-target" in said) == (1, False)
        steps = [call.split()[2] for call in machine.called("services enable|versions add|jobs run")]
        assert steps == ["enable", "versions", "versions", "jobs"]
        secrets, functions = (
            [number for number, what in enumerate(cloud.applied) if what.startswith(f"create {kind} tiktok")]
            for kind in ("google_secret_manager_secret", FUNCTION)
        )
        assert (len(functions), functions[0] > max(secrets)) == (2, True)
        self._values_went_by_standard_input(machine, said)

        (machine.stub / "calls.jsonl").unlink()
        assert "Nothing is to be changed" in machine.run("deploy")
        assert not machine.called("versions add|jobs run|enable")

        stored = ["gcloud", "secrets list", 0, "tiktok-ads-token-acme\ntiktok-ads-app-secret\nother-token-x"]
        said = machine.run("destroy", answers=[stored, *USUAL], typed="my-project-123\n")
        assert "1 secrets            tiktok-ads-token-acme" in said
        assert not machine.called("secrets delete")
        assert cloud.things == {}
        assert not (machine.saved / "cloud.env").exists()
        machine.run("destroy", "--yes", "--tokens", answers=[stored, *USUAL])
        assert machine.called("secrets delete") == ["gcloud secrets delete tiktok-ads-token-acme --quiet"]
        told = [call["environment"] for call in machine.calls if " secrets " in call["called"]]
        assert {environment["CLOUDSDK_CORE_PROJECT"] for environment in told} == {"my-project-123"}

    def _values_went_by_standard_input(self, machine: Machine, said: str) -> None:
        given = {call["called"].split()[4]: call["given"] for call in machine.calls if call["given"]}
        key = given["tiktok-ads-link-signing-keys"]
        assert given["tiktok-ads-app-secret"] == SECRET
        assert len(key) >= 32
        files = [file for file in machine.repository.rglob("*") if file.is_file() and "stub" not in file.parts]
        for value in (SECRET, key):
            assert value not in said
            assert not [call for call in machine.calls if value in call["called"] + str(call["environment"])]
            assert not [file for file in files if value.encode() in file.read_bytes()]

    def test_what_runs_is_looked_up_and_told_to_the_command_line(self, deployed: Machine) -> None:
        """Names and addresses as both functions have them, for nobody else to read; attaching writes the same."""
        file = deployed.saved / "cloud.env"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        before = file.read_text()
        told = dict(line.split("=", 1) for line in before.splitlines())
        assert told["TIKTOK_APP_SECRET_SECRET"] == "projects/my-project-123/secrets/tiktok-ads-app-secret"
        assert told["REFRESH_URL"] == told["REFRESH_AUDIENCE"] == "https://tiktok-ads-refresh-abc123-ew.a.run.app"
        assert told["CONNECT_FUNCTION"] == "projects/my-project-123/locations/europe-west1/functions/tiktok-ads-connect"
        place = context.read(environment={"TOKENKEEPER_STATE": str(file.parent)})
        assert (place.place, place.environment["PUBLIC_URL"]) == ("cloud", told["PUBLIC_URL"])
        file.unlink()
        attach = ("attach", "--project=my-project-123", "--region=europe-west1")
        deployed.run(*attach)
        assert file.read_text() == before
        said = deployed.run(*attach, "--name=other", ends=1)
        assert "There are no functions other-connect and other-refresh in europe-west1" in said
        other = {"state": "ACTIVE", "buildConfig": {"environmentVariables": {"SOURCE_HASH": "0" * 64}}}
        answer = ["gcloud", "functions describe tiktok-ads-refresh", 0, json.dumps(other)]
        said = deployed.run("deploy", answers=[answer, *GOOD], ends=1)
        assert "refresh does not run this source: it was built from 0000" in said


class TestUpdates:
    def test_one_that_fails_is_not_forgotten_and_one_that_passes_by_itself_is_tried_again(
        self, deployed: Machine, cloud: Cloud
    ) -> None:
        """The state has the planned source after a failed build, and still the next deployment builds it again."""
        (deployed.repository / "functions" / "tokenkeeper" / "new.py").write_text("")
        cloud.refuse = [[f"update {FUNCTION}", "Error code 3, message: Build failed with status: FAILURE.", 2]]
        said = deployed.run("deploy", "--yes", ends=1)
        assert "Build failed" in said.partition("Everything it said")[2]
        assert "Both functions run this source" not in said
        refusal = "Build failed: could not build due to a missing permission on the build service account."
        cloud.refuse = [[f"update {FUNCTION} tiktok-ads-connect", refusal, 2]]
        assert deployed.run("deploy", "--yes").count("trying again in") == 2
        functions = [thing["build_config"][0] for key, thing in cloud.things.items() if key.startswith(FUNCTION)]
        expected = source_hash(deployed.repository / "functions")
        assert [build["environment_variables"]["SOURCE_HASH"] for build in functions] == [expected] * 2

    def test_a_function_that_is_replaced_can_be_called(self, deployed: Machine, cloud: Cloud) -> None:
        """Deleted by hand, its callers are gone with it: one deployment brings both back."""
        cloud.change(f"^{FUNCTION} tiktok-ads-connect|^{INVOKER} tiktok-ads-connect")
        deployed.run("deploy", "--yes")
        assert [key for key in cloud.things if key.startswith(f"{INVOKER} tiktok-ads-connect")]


class TestInterruptions:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_a_signal_to_the_whole_group_loses_nothing(
        self, machine: Machine, cloud: Cloud, number: signal.Signals
    ) -> None:
        """Terraform finishes what it has begun and saves it; the same again goes on from there."""
        with self._making_functions(machine, cloud) as process:
            assert process.stdout
            said = ""
            for expected in ("Terraform finishes what it has begun", "Still waiting"):
                os.killpg(process.pid, number)
                while expected not in said:
                    said += process.stdout.readline() or pytest.fail(said)
            cloud.release.set()
            said += process.stdout.read()
        assert process.returncode == 128 + number, said
        assert FUNCTION in machine.kinds
        assert not list(machine.infra.glob(".terraform.tfstate.lock*"))
        assert "already" not in machine.run("deploy", "--yes")

    def test_a_deploy_that_is_killed_leaves_terraform_at_work(self, machine: Machine, cloud: Cloud) -> None:
        """It writes to a file, not to a pipe, and is in a session of its own: it goes on and saves its state."""
        with self._making_functions(machine, cloud) as process:
            os.killpg(process.pid, signal.SIGKILL)
        _wait_until(lambda: len(machine.kinds) >= ALL)

    def test_what_a_killed_terraform_had_made_is_taken_over(self, machine: Machine, cloud: Cloud) -> None:
        """It is found by its known name, and said; nothing is made twice."""
        with self._making_functions(machine, cloud) as process:
            found = ["pgrep", "-f", "--", f"-chdir={machine.infra} apply"]
            (terraform,) = subprocess.run(found, capture_output=True, text=True, check=True).stdout.split()
            os.killpg(process.pid, signal.SIGKILL)
            os.kill(int(terraform), signal.SIGKILL)
        # The cloud makes both functions all the same.
        _wait_until(lambda: len([key for key in cloud.things if key.startswith(FUNCTION)]) == 2)
        assert FUNCTION not in machine.kinds
        said = machine.run("deploy", "--yes")
        assert re.search(r"2 things exist already .* taken over: cloudfunctions2_function", said)
        assert not (machine.infra / "take_over.tf").exists()

    @contextmanager
    def _making_functions(self, machine: Machine, cloud: Cloud) -> Iterator[subprocess.Popen[str]]:
        """A first deployment, in a group of its own, that has both functions under way; they are made at the end."""
        cloud.held = f"create {FUNCTION}"
        machine.environment["TIKTOK_APP_SECRET"] = SECRET
        hear = partial(signal.signal, signal.SIGHUP, signal.SIG_DFL)  # where the tests run under nohup, too
        with machine.start("deploy", "--yes", answers=USUAL, start_new_session=True, preexec_fn=hear) as process:
            try:
                _wait_until(lambda: len([what for what in cloud.applied if what.startswith(cloud.held)]) == 2)
                yield process
            finally:
                cloud.release.set()


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


class TestLostState:
    def test_a_state_that_is_elsewhere_is_explained_once(
        self, deployed: Machine, cloud: Cloud, recording: Recording
    ) -> None:
        """Not eighty errors, but what it means and the two ways out, of which the second works.

        gcloud's own parser takes every command of that, of the guide without Terraform, and of published sentences.
        """
        (deployed.infra / "terraform.tfstate").unlink()
        cloud.applied.clear()
        said = deployed.run("deploy", "--yes", ends=1)
        assert "knows nothing of it" in said
        assert "make deploy ADOPT=1" in said
        assert not cloud.applied
        assert "are taken over" in deployed.run("deploy", "--yes", "--adopt")
        assert len(deployed.kinds) >= ALL
        assert deployed.called("alpha monitoring policies list")
        run = [*recording.calls, *(call["arguments"] for call in deployed.calls)]
        commands = [shlex.join(["gcloud", *arguments]) for arguments in run if arguments[0] != "auth"]
        assert complaints(commands + mentioned()) == []

    def test_a_backend_of_somebody_else_s_is_respected(self, machine: Machine, tmp_path: Path) -> None:
        """What a *_override.tf configures is used, and no bucket is made; in a pipe, progress is plain lines."""
        (machine.infra / "backend_override.tf").write_text(
            f'terraform {{\n  backend "local" {{\n    path = "{tmp_path}/elsewhere.tfstate"\n  }}\n}}\n'
        )
        del machine.environment["STATE"]
        said = machine.run("deploy", "--yes")
        assert (tmp_path / "elsewhere.tfstate").exists()
        assert not machine.called("storage buckets")
        assert "State: where backend_override.tf says." in said
        assert re.search(r"^\[\d+/\d+\] created functions: connect$", said, re.MULTILINE)
        assert "\x1b" not in said


def test_a_policy_is_explained_and_its_variable_helps(machine: Machine, cloud: Cloud) -> None:
    """AllUsers is refused: the last lines name the setting, and with it `make deploy` switches the check off."""
    refusal = "Error 400: One or more users named in the policy do not belong to a permitted customer."
    cloud.refuse = [[f"create {INVOKER} tiktok-ads-connect", refusal, 1]]
    said = machine.run("deploy", "--yes", ends=1)
    assert 'set public_access = "no_invoker_check"' in said.splitlines()[-1]
    machine.variables.write_text(machine.variables.read_text() + 'public_access = "no_invoker_check"\n')
    machine.run("deploy", "--yes")
    assert machine.called("run services update tiktok-ads-connect .*--no-invoker-iam-check")
