"""`infra/readers/cloud-run.md`: its program as a job and as a function, its commands read by gcloud's own parser."""

from __future__ import annotations

import json
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from gcp.test_readme import complaints
from local.serving import Fault
from readers.internet import CONNECTION, Internet, end
from readers.recipe import recipe, start
from stage import TOKEN, free_port

pytestmark = pytest.mark.readers

PAGE = recipe("cloud-run")
STUB = Path(__file__).parents[1] / "gcp" / "stub_program.py"


class Mount:
    """Stands in for Cloud Run's volume: a file that holds what is stored when it is looked at."""

    def __init__(self, internet: Internet, folder: Path) -> None:
        self._internet = internet
        self.file = folder / "token.json"
        self.follow()

    def follow(self) -> None:
        """Let the file be what the newest version is."""
        self.file.write_bytes(self.payload.encode())

    @property
    def payload(self) -> str:
        """The newest version."""
        return self._internet.stage.secrets.payloads(TOKEN + CONNECTION)[-1].decode()


@pytest.fixture
def mount(internet: Internet, tmp_path: Path) -> Mount:
    folder = tmp_path / "mount"
    folder.mkdir()
    return Mount(internet, folder)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The published files."""
    folder = tmp_path / "source"
    folder.mkdir()
    return PAGE.write(folder)


Serve = Callable[..., str]


@pytest.fixture
def serve(internet: Internet, source: Path) -> Iterator[Serve]:
    """Starts instances of the function with some variables; gives their addresses."""
    running: list[subprocess.Popen[str]] = []

    def serve(**variables: str) -> str:
        port = free_port()
        command = f"exec functions-framework --target={PAGE_OPTIONS['entry-point']} --host=127.0.0.1 --port={port}"
        process = start(command, internet, environment="cloud-run", folder=source, variables=variables)
        running.append(process)
        patience = time.monotonic() + 120
        while time.monotonic() < patience and process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return f"http://127.0.0.1:{port}/"
            except OSError:
                time.sleep(0.05)
        end(process)
        pytest.fail(f"The function does not answer: {process.communicate()}")

    yield serve
    for process in running:
        process.terminate()
        printed, complained = process.communicate(timeout=30)
        internet.record("what the function printed", printed + complained)


def options(command: str) -> dict[str, str]:
    """The options of a command of gcloud's, by name."""
    return {name: value for word in shlex.split(command) for name, _, value in [word.removeprefix("--").partition("=")]}


PAGE_COMMANDS = [line for block in PAGE.commands for line in block.splitlines() if line]
PAGE_OPTIONS = options(next(line for line in PAGE_COMMANDS if "functions deploy" in line))


class TestFunction:
    def test_an_instance_with_the_file_sees_a_new_token(self, internet: Internet, mount: Mount, serve: Serve) -> None:
        """The same instance answers before and after a connection was made again."""
        address = serve(TOKEN_FILE=str(mount.file))
        before = requests.get(address, timeout=60)
        assert sorted(before.json()) == internet.token()["advertiser_ids"]
        new = internet.rotate()["access_token"]
        mount.follow()
        assert requests.get(address, timeout=60).json() == before.json()
        assert internet.stage.tiktok.requests_of("campaign_get")[-1]["Access-Token"] == new
        assert (internet.secrets_calls(), internet.refused) == ([], [])

    def test_an_instance_with_the_variable_keeps_the_old_one(
        self, internet: Internet, mount: Mount, serve: Serve
    ) -> None:
        """It fails once that has ended; the next instance, which is given the new one, does not."""
        address = serve(TIKTOK_TOKEN=mount.payload)
        before = requests.get(address, timeout=60)
        internet.rotate()
        assert requests.get(address, timeout=60).status_code == 500
        assert requests.get(serve(TIKTOK_TOKEN=mount.payload), timeout=60).json() == before.json()


class TestJob:
    def job(
        self,
        internet: Internet,
        source: Path,
        variables: dict[str, str],
        meanwhile: Callable[[], None] = lambda: None,
    ) -> subprocess.CompletedProcess[str]:
        """One execution, by the published Procfile."""
        command = PAGE.files["Procfile"].partition(":")[2]
        process = start(command, internet, environment="cloud-run", folder=source, variables=variables)
        meanwhile()
        printed, complained = process.communicate(timeout=300)
        internet.record("what the job printed", printed + complained)
        return subprocess.CompletedProcess(command, process.returncode, printed, complained)

    @pytest.mark.parametrize("way", ["file", "variable"])
    def test_campaigns_of_every_account_are_counted(
        self, internet: Internet, mount: Mount, source: Path, way: str
    ) -> None:
        """Whichever way the token comes."""
        given = {"TOKEN_FILE": str(mount.file)} if way == "file" else {"TIKTOK_TOKEN": mount.payload}
        done = self.job(internet, source, given)
        assert sorted(json.loads(done.stdout)) == internet.token()["advertiser_ids"], done.stderr
        assert (internet.secrets_calls(), internet.refused) == ([], [])

    @pytest.mark.parametrize("way", ["file", "variable"])
    def test_a_connection_that_is_made_again_meanwhile(
        self, internet: Internet, mount: Mount, source: Path, way: str
    ) -> None:
        """From the file the job reads the new token and goes on; from the variable it cannot, and fails."""
        old = internet.token()["access_token"]
        internet.stage.tiktok.add_fault(Fault("campaign_get", skip=1, do="hold", hold="middle"))

        def rotate() -> None:
            internet.stage.tiktok.wait_held("middle", 300)
            internet.rotate()
            mount.follow()
            internet.stage.tiktok.release("middle")

        given = {"TOKEN_FILE": str(mount.file)} if way == "file" else {"TIKTOK_TOKEN": mount.payload}
        done = self.job(internet, source, given, rotate)
        new = internet.token()["access_token"]
        used = [request["Access-Token"] for request in internet.stage.tiktok.requests_of("campaign_get")]
        assert used == ([old, old, new, new] if way == "file" else [old, old])
        assert done.returncode == (0 if way == "file" else 1), done.stderr

    def test_a_token_that_has_ended_ends_it(self, internet: Internet, mount: Mount, source: Path) -> None:
        """With a status that makes Cloud Run call the execution failed, and what to look at."""
        internet.stage.tiktok.revoke(internet.token()["access_token"])
        done = self.job(internet, source, {"TOKEN_FILE": str(mount.file)})
        assert done.returncode == 1
        assert "TikTok refuses the newest token there is (code 40105): make status" in done.stderr
        assert len(internet.stage.tiktok.requests_of("campaign_get")) == 1


class TestCommands:
    def test_gcloud_understands_them(self, tmp_path: Path) -> None:
        """As the shell makes them, recorded by a program of that name, then read by the real one's parser."""
        programs = tmp_path / "bin"
        programs.mkdir()
        (programs / "gcloud").write_text(f"#!{sys.executable}\n{STUB.read_text()}")
        (programs / "gcloud").chmod(0o755)
        (tmp_path / "answers.json").write_text("[]")
        subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join(PAGE.commands)],
            env={"PATH": f"{programs}:/usr/bin:/bin", "STUB_DIRECTORY": str(tmp_path), "HOME": str(tmp_path)},
            cwd=tmp_path,
            check=True,
        )
        calls = [json.loads(line)["arguments"] for line in (tmp_path / "calls.jsonl").read_text().splitlines()]
        assert [call[:3] for call in calls] == [
            ["functions", "deploy", "tiktok-campaigns"],
            ["run", "jobs", "deploy"],
            ["run", "jobs", "execute"],
        ]
        commands = [shlex.join(["gcloud", *call]) for call in calls]
        (full,) = re.findall(r"`(projects/\d+/secrets/[^`]+)`", PAGE.text)
        elsewhere = [command.replace(f"={TOKEN}{CONNECTION}:latest", f"={full}") for command in commands[:2]]
        assert set(elsewhere).isdisjoint(commands)
        assert not complaints([*commands, *elsewhere])

    def test_the_program_reads_what_they_give(self) -> None:
        """The file is where the function looks for it, the variable is the one that the job reads."""
        (file,) = (value for name, value in [PAGE_OPTIONS["set-env-vars"].split("=")] if name == "TOKEN_FILE")
        assert PAGE_OPTIONS["set-secrets"] == f"{file}={TOKEN}{CONNECTION}:latest"
        job = options(next(line for line in PAGE_COMMANDS if "jobs deploy" in line))
        assert job["set-secrets"] == f"TIKTOK_TOKEN={TOKEN}{CONNECTION}:latest"
