"""The samples in README and guides, run against the emulators."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from readme.page import OPERATING, README, ROOT, Page
from stage import PROJECT, TOKEN, Stage
from tokenkeeper import events
from tokenkeeper.cli.importlines import Defaults, read_line


def printed(stage: Stage, folder: Path, *command: str, status: int = 0, variables: dict[str, str] | None = None) -> str:
    """What a command prints in front of the emulators, with a home of its own."""
    environment = stage.environment(1) | {"HOME": str(folder), "TOKENKEEPER_STATE": str(folder), **(variables or {})}
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == status, done.stderr
    return done.stdout


def test_the_payload_that_is_shown_is_the_one_that_is_stored(stage: Stage) -> None:
    """Keys and their order, and which of them are null."""
    (sample,) = README.blocks("json")
    shown, stored = json.loads(sample), stage.connected(advertisers=["7000000000000000001"])
    assert list(shown) == list(stored)
    assert {**shown, "access_token": "", "obtained_at": ""} == {**stored, "access_token": "", "obtained_at": ""}


def test_the_shell_takes_the_token_from_make(stage: Stage, tmp_path: Path) -> None:
    """`make -s token` prints the token alone, and TikTok takes it."""
    stored = stage.connected()
    (sample,) = [block for block in README.blocks("sh") if "make -s token" in block]
    script = sample.replace("https://business-api.tiktok.com/", f"{stage.tiktok.url}/")
    (tmp_path / "Makefile").write_text(
        f"token:\n\t@PYTHONPATH={ROOT}/functions {sys.executable} -m tokenkeeper token -- $(CONNECTION)\n"
    )
    assert json.loads(printed(stage, tmp_path, "bash", "-euc", script))["code"] == 0
    assert stage.tiktok.requests_of("user_info")[0]["Access-Token"] == stored["access_token"]


def test_the_table_of_connections_looks_like_that(stage: Stage, tmp_path: Path) -> None:
    """What `make status` prints, but for the dates."""
    stage.connected("acme", "expiring")
    stage.tiktok.revoke(stage.connected("beta")["access_token"])
    stage.run()
    said = printed(stage, tmp_path, sys.executable, "-m", "tokenkeeper", "status", status=1)
    (sample,) = [block for block in OPERATING.blocks("text") if "what to do" in block]
    dates = r"\d{4}-\d\d-\d\d( \d\d:\d\d)?|just now|1 minute ago"
    assert re.sub(dates, "DATE", said) == re.sub(dates, "DATE", sample)


@pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed here")
def test_gcloud_finds_who_needs_a_person(stage: Stage, tmp_path: Path) -> None:
    """The filter finds what needs to be connected again, and nothing else."""
    stage.plant("fine")
    stage.tiktok.revoke(stage.plant("gone")["access_token"])
    stage.run()
    (sample,) = [block for block in OPERATING.blocks("sh") if "secrets list" in block]
    settings = {
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER": f"{stage.secrets.url}/",
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_CORE_PROJECT": PROJECT,
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
    }
    said = printed(stage, tmp_path, "bash", "-euc", sample, variables=settings)
    assert re.findall(rf"{TOKEN}\w+", said) == [f"{TOKEN}gone"]


def test_the_line_of_a_file_can_be_imported() -> None:
    """With a token in it, it is read as what it says."""
    (sample,) = OPERATING.blocks("json")
    token = read_line(sample.replace("…", "a" * 40), Defaults())
    assert (token.connection, token.labels) == ("acme", {"client": "acme"})
    assert token.response.advertiser_ids == ("7000000000000000001",)


def test_the_event_that_is_shown_is_one_of_the_code() -> None:
    """Name, severity and sentence of the message from Pub/Sub."""
    (sample,) = Page("infra/readers/events.md").blocks("json")
    shown = json.loads(sample)
    entry = events.REAUTHORIZATION_REQUIRED.entry(connection="acme", code=40105)
    said = {"connection": "acme", "event": entry.event, "message": entry.message}
    assert (shown["jsonPayload"], shown["severity"]) == (said, entry.severity)
