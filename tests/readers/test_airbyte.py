"""`infra/readers/airbyte.md`: what `sync.py` sends to Airbyte's API is what Airbyte's own client sends."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from readers.internet import Internet
from readers.recipe import programs, recipe, run
from readers.tools import ACCOUNTS, configured
from readers.wires import Handler, Server
from stage import APP_SECRET

pytestmark = pytest.mark.readers

PAGE = recipe("airbyte")
SOURCE, WORKSPACE = "0c31738c-0b2d-4887-b506-e2cd1c39cc35", "744cc0ed-7f05-4949-9e60-2a814f90c035"
CONNECTION = "9924bcd0-99be-453d-ba47-c2c9766f7da5"
APPLICATION = {"AIRBYTE_CLIENT_ID": "the client", "AIRBYTE_CLIENT_SECRET": "the client's secret"}
# It cannot read the answers (its union of all sources fails on another one), so the recipe does without it.
CLIENT = """
import contextlib, json, os, sys
from airbyte_api import AirbyteAPI, api, errors, models
settings = models.SourceTiktokMarketing.model_validate(json.loads(sys.argv[1]))
airbyte = AirbyteAPI(server_url=os.environ["AIRBYTE_URL"], security=models.Security(bearer_auth="a bearer"))
source = models.SourceCreateRequest(name="TikTok acme", workspace_id=sys.argv[2], configuration=settings)
change = models.SourcePatchRequest(configuration=settings)
job = models.JobCreateRequest(connection_id=sys.argv[4], job_type=models.JobTypeEnum.SYNC)
with contextlib.suppress(errors.ResponseValidationError):
    airbyte.sources.create_source(request=source)
with contextlib.suppress(errors.ResponseValidationError):
    airbyte.sources.patch_source(request=api.PatchSourceRequest(source_id=sys.argv[3], source_patch_request=change))
with contextlib.suppress(errors.ResponseValidationError):
    airbyte.jobs.create_job(request=job)
"""


class Recipient(Server):
    """Keeps the method, path, header and body of each call."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, str, Any]] = []
        super().__init__(Answers)


class Answers(Handler):
    server: Recipient

    def respond(self) -> None:
        login = self.headers.get("Authorization", "")
        self.server.sent.append((self.command, self.path, login, json.loads(self.body())))
        answer = json.dumps({"access_token": "a bearer", "sourceId": SOURCE, "jobId": 1}).encode()
        self.answer(200, answer, Content_Type="application/json")


@pytest.fixture
def airbyte() -> Iterator[Recipient]:
    with Recipient() as server:
        yield server


def test_a_source_is_made_updated_and_synced(internet: Internet, airbyte: Recipient, tmp_path: Path) -> None:
    """With the newest token and the chosen advertiser; method, path and body are those of Airbyte's own client."""
    address = {"AIRBYTE_URL": f"http://127.0.0.1:{airbyte.port}/v1"}
    new = internet.rotate()["access_token"]
    for more in (
        {"AIRBYTE_WORKSPACE_ID": WORKSPACE},
        {"AIRBYTE_SOURCE_ID": SOURCE, "AIRBYTE_CONNECTION_ID": CONNECTION},
    ):
        variables = {**APPLICATION, **address, **more, "TIKTOK_ADVERTISER_ID": ACCOUNTS[1]}
        done = run(
            PAGE, internet, environment="airbyte", folder=tmp_path, commands=PAGE.commands[:1], variables=variables
        )
        assert ("AIRBYTE_SOURCE_ID: " in done.stdout) == ("AIRBYTE_WORKSPACE_ID" in more)
    login, create, _, change, job = airbyte.sent
    assert login[1:] == (
        "/v1/applications/token",
        "",
        {"client_id": "the client", "client_secret": "the client's secret", "grant-type": "client_credentials"},
    )
    settings = create[3]["configuration"]
    assert (settings["credentials"]["access_token"], settings["credentials"]["advertiser_id"]) == (new, ACCOUNTS[1])
    airbyte.sent.clear()
    command = [
        str(programs("airbyte-api") / "python"),
        "-c",
        CLIENT,
        json.dumps(settings),
        WORKSPACE,
        SOURCE,
        CONNECTION,
    ]
    subprocess.run(command, env=address, check=True, timeout=300)
    for call in (create, change):
        call[3]["configuration"] |= {"attribution_window": 3, "include_deleted": False}  # the client's defaults
    assert airbyte.sent == [create, change, job]


def test_all_advertisers_need_the_app_secret(internet: Internet, tmp_path: Path) -> None:
    """With it the page's configuration is what `make config` prints."""
    script = "export GOOGLE_CLOUD_PROJECT=my-project-123\npython configuration.py > ours.json"
    secret = {"TIKTOK_APP_SECRET": APP_SECRET}
    run(PAGE, internet, environment="airbyte", folder=tmp_path, commands=[script], variables=secret)
    assert json.loads((tmp_path / "ours.json").read_text()) == json.loads(configured(internet, "airbyte", tmp_path))
