"""`infra/readers/cloud-run.md`: its program as a job and as a function, its commands read by gcloud's own parser."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import requests

from emulators.serving import Fault
from gcp.test_readme import complaints
from readers.internet import CONNECTION, Internet
from readers.recipe import recipe, served, start
from stage import TOKEN

pytestmark = pytest.mark.readers

PAGE = recipe("cloud-run")
COMMANDS = [line for block in PAGE.commands for line in block.splitlines()]


def options(command: str) -> dict[str, str]:
    """The options of a command of gcloud's, by name."""
    return {name: value for word in shlex.split(command) for name, _, value in [word.removeprefix("--").partition("=")]}


def newest(internet: Internet) -> str:
    """What Cloud Run would provide now."""
    return internet.stage.secrets.payloads(TOKEN + CONNECTION)[-1].decode()


class TestFunction:
    def test_a_file(self, internet: Internet, tmp_path: Path) -> None:
        """The same instance answers before and after a connection was made again."""
        (tmp_path / "token.json").write_text(newest(internet))
        file = str(tmp_path / "token.json")
        with served(PAGE, internet, "cloud-run", tmp_path, "--target=campaigns", TOKEN_FILE=file) as address:
            before = requests.get(address, timeout=60).json()
            assert sorted(before) == internet.token()["advertiser_ids"]
            internet.rotate()
            (tmp_path / "token.json").write_text(newest(internet))
            assert requests.get(address, timeout=60).json() == before
        assert (internet.secrets_calls(), internet.refused) == ([], [])

    def test_a_variable(self, internet: Internet, tmp_path: Path) -> None:
        """An instance keeps what it was started with, and fails once that has ended."""
        given = newest(internet)
        with served(PAGE, internet, "cloud-run", tmp_path, "--target=campaigns", TIKTOK_TOKEN=given) as address:
            assert requests.get(address, timeout=60).status_code == 200
            internet.rotate()
            assert requests.get(address, timeout=60).status_code == 500


@pytest.mark.parametrize("replaced", [True, False])
def test_the_job(internet: Internet, tmp_path: Path, *, replaced: bool) -> None:
    """By its Procfile: it goes on with a file that has another token by then, and fails where it has not."""
    file, tiktok = PAGE.write(tmp_path) / "token.json", internet.stage.tiktok
    file.write_text(newest(internet))
    tiktok.add_fault(Fault("campaign_get", skip=1, do="hold", hold="middle"))
    command = PAGE.files["Procfile"].partition(":")[2]
    given = {"TOKEN_FILE": str(file)}
    with start(command, internet, environment="cloud-run", folder=tmp_path, variables=given) as job:
        tiktok.wait_held("middle", 300)
        internet.rotate()
        if replaced:
            file.write_text(newest(internet))
        tiktok.release("middle")
        printed, errors = job.communicate(timeout=300)
    internet.record("what the job printed", printed + errors)
    if replaced:
        assert sorted(json.loads(printed)) == internet.token()["advertiser_ids"]
    else:
        assert "TikTok refuses the newest token (code 40105): make status" in errors
    assert job.returncode == (0 if replaced else 1)


def test_the_commands() -> None:
    """They are understood by gcloud, and provide the token where the program looks for it."""
    assert complaints(COMMANDS) == []
    function, job, _ = map(options, COMMANDS)
    assert function["set-secrets"] == f"{function['set-env-vars'].partition('=')[2]}={TOKEN}{CONNECTION}:latest"
    assert job["set-secrets"] == f"TIKTOK_TOKEN={TOKEN}{CONNECTION}:latest"
