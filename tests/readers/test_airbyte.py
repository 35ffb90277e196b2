"""The recipe for Airbyte: the real connector, its configuration sent to a recipient in Airbyte's place, Terraform."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from command_line import Cli
from gcp import stub_provider
from local.tiktok import ads
from readers.internet import Internet
from readers.recipe import programs, recipe, run, start
from stage import APP_SECRET

pytestmark = pytest.mark.readers

PAGE = recipe("airbyte")
SYNC, ALONE = PAGE.commands
READ_ALONE = ALONE.replace("source-tiktok-marketing check --config config.json\n", "")
READ = ("AccessSecretVersion", "tiktok-ads-token-acme")
PATIENCE = 300  # seconds, where much else runs
ACCOUNTS = ["7000000000000000001", "7000000000000000002", "7000000000000000003"]
SOURCE, WORKSPACE = "0c31738c-0b2d-4887-b506-e2cd1c39cc35", "744cc0ed-7f05-4949-9e60-2a814f90c035"
CONNECTION, DEFINITION = "9924bcd0-99be-453d-ba47-c2c9766f7da5", "4bfac00d-ce15-44ff-95b9-9e3c3e8fbd35"
APPLICATION = {"AIRBYTE_CLIENT_ID": "the client", "AIRBYTE_CLIENT_SECRET": "the client's secret"}

# As Airbyte's documentation of `airbyte_source` in version 1.1 of the provider has it, and Google's of the other.
SCHEMA = {
    "resources": {
        "airbyte_source": {
            "attributes": {
                "configuration": "string required",
                "name": "string required",
                "workspace_id": "string required",
                "definition_id": "string",
                "secret_id": "string",
                "created_at": "number computed",
                "source_id": "string computed",
                "source_type": "string computed",
            },
            "blocks": {},
        }
    },
    "data": {
        "google_secret_manager_secret_version_access": {
            "attributes": {
                "secret": "string required",
                "project": "string",
                "version": "string",
                "is_secret_data_base64": "bool",
                "id": "string computed",
                "name": "string computed",
                "secret_data": "string computed",
            },
            "blocks": {},
        }
    },
}

# Airbyte's own client says the same to the recipient. It cannot read what comes back (its union of all sources stumbles
# over another one), which is why the recipe does without it.
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


class Recipient(ThreadingHTTPServer):
    """Stands in for Airbyte's API: keeps what it is sent.

    Attributes:
        sent: Method, path, header and body of each call.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.sent: list[tuple[str, str, str, dict[str, Any]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Answers(BaseHTTPRequestHandler):
    server: Recipient

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.sent.append((self.command, self.path, self.headers.get("Authorization", ""), body))
        answer: dict[str, Any]
        if self.path == "/v1/applications/token":
            answer = {"access_token": "a bearer", "token_type": "Bearer", "expires_in": 900}
        elif self.path == "/v1/jobs":
            answer = {"jobId": 1, "status": "pending", "jobType": "sync", "startTime": "2026-11-22T10:00:00Z"}
        else:
            answer = {"sourceId": SOURCE, "name": "TikTok acme", "sourceType": "tiktok-marketing", "createdAt": 1}
            answer |= {"workspaceId": WORKSPACE, "definitionId": DEFINITION, "configuration": {}}
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_PATCH = do_POST  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing is printed."""


@pytest.fixture
def airbyte() -> Iterator[Recipient]:
    with Recipient() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def trust(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Makes the connector trust the test's authority.

    Of the environment it heeds the proxy, but not the authorities: it has those of `certifi`. So it gets another one.
    """
    folder = tmp_path_factory.mktemp("trust")
    (folder / "certifi.py").write_text('import os\n\n\ndef where():\n    return os.environ["SSL_CERT_FILE"]\n')
    return {"PYTHONPATH": str(folder)}


def do(commands: str, internet: Internet, folder: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run some of the page's commands, whether they end well or not."""
    PAGE.write(folder)
    process = start(commands, internet, environment="airbyte", folder=folder, variables=variables)
    with process:
        printed, complained = process.communicate(timeout=PATIENCE)
    internet.record("what airbyte printed", printed)
    internet.record("what airbyte complained", complained)
    return subprocess.CompletedProcess(commands, process.returncode, printed, complained)


def printed(internet: Internet, tool: str, folder: Path) -> str:
    """What `python -m tokenkeeper config acme --for TOOL` prints. The token belongs there, and the app secret."""
    for name, secret in (("the token", internet.token()["access_token"]), ("the app secret", APP_SECRET)):
        internet.stage.canaries.keep(name, secret, belongs_in=r"what \('config',\) prints")
    done = Cli(internet.stage, folder / "state")("config", "acme", "--for", tool, "--since", "2026-01-01")
    assert done.status == 0, done.err
    return done.out


def campaigns(file: Path) -> list[tuple[str, str]]:
    """Account and name of the campaigns that the connector has read."""
    messages = [json.loads(line) for line in file.read_text().splitlines()]
    found = [message["record"]["data"] for message in messages if message["type"] == "RECORD"]
    return sorted((str(row["advertiser_id"]), row["campaign_name"]) for row in found)


def wanted(accounts: list[str]) -> list[tuple[str, str]]:
    return sorted((one, row["campaign_name"]) for one in accounts for row in ads.campaigns(one))


class TestPage:
    def test_one_ad_account_needs_no_app_secret(
        self, internet: Internet, airbyte: Recipient, trust: dict[str, str], tmp_path: Path
    ) -> None:
        """The source is made, the connector reads the campaigns, and the token is left in no file of the folder."""
        variables = {**APPLICATION, **trust, "AIRBYTE_URL": airbyte.url, "AIRBYTE_WORKSPACE_ID": WORKSPACE}
        done = run(PAGE, internet, environment="airbyte", folder=tmp_path, variables=variables)
        assert f"AIRBYTE_SOURCE_ID: {SOURCE}\n" in done.stdout
        assert '"status":"SUCCEEDED"' in done.stdout
        assert campaigns(tmp_path / "records.jsonl") == wanted(ACCOUNTS[:1])
        assert internet.secrets_calls() == [READ, READ]
        assert {call.name for call in internet.stage.tiktok.calls} == {"advertiser_info", "campaign_get"}
        assert internet.refused == []
        assert internet.holding(tmp_path) == []

    def test_all_ad_accounts_need_it(self, internet: Internet, trust: dict[str, str], tmp_path: Path) -> None:
        """With the app secret the connector asks TikTok which ad accounts there are, and reads them all."""
        done = do(READ_ALONE, internet, tmp_path, {**trust, "TIKTOK_APP_SECRET": APP_SECRET})
        assert done.returncode == 0, (tmp_path / "records.jsonl").read_text()
        assert campaigns(tmp_path / "records.jsonl") == wanted(ACCOUNTS)
        assert {call["secret"] for call in internet.stage.tiktok.requests_of("advertiser_get")} == {APP_SECRET}
        assert not [file for file in tmp_path.iterdir() if APP_SECRET in file.read_text()]

    def test_what_the_command_line_prints_is_the_same(self, internet: Internet, tmp_path: Path) -> None:
        """`make config CONNECTION=acme FOR=airbyte` prints the configuration for all ad accounts."""
        process = start(
            "python configuration.py",
            internet,
            environment="airbyte",
            folder=PAGE.write(tmp_path),
            variables={"TIKTOK_APP_SECRET": APP_SECRET},
        )
        with process:
            ours, _ = process.communicate(timeout=PATIENCE)
        assert json.loads(printed(internet, "airbyte", tmp_path)) == json.loads(ours)

    def test_a_token_that_has_ended_stops_it_at_once(
        self, internet: Internet, trust: dict[str, str], tmp_path: Path
    ) -> None:
        """Each command asks TikTok once and shows its sentence, and the token is left in no file."""
        internet.stage.tiktok.revoke(internet.token()["access_token"])
        done = do(ALONE, internet, tmp_path, trust)
        assert done.returncode == 1
        assert '"status":"FAILED"' in done.stdout
        said = "Access token is incorrect or has been revoked"
        assert said in done.stdout
        assert said in (tmp_path / "records.jsonl").read_text()
        assert [call.name for call in internet.stage.tiktok.calls] == ["advertiser_info", "campaign_get"]
        assert internet.holding(tmp_path) == []

    def test_the_connector_shows_the_app_secret_when_it_fails(
        self, internet: Internet, trust: dict[str, str], tmp_path: Path
    ) -> None:
        """What the page warns of, and may stop warning of once this fails: the address with it is in the message."""
        internet.stage.tiktok.revoke(internet.token()["access_token"])
        done = do(READ_ALONE, internet, tmp_path, {**trust, "TIKTOK_APP_SECRET": APP_SECRET})
        assert done.returncode == 1
        assert f"?secret={APP_SECRET}&" in (tmp_path / "records.jsonl").read_text()
        assert internet.holding(tmp_path) == []


class TestSync:
    def test_an_update_carries_the_newest_token(self, internet: Internet, airbyte: Recipient, tmp_path: Path) -> None:
        """After a re-connection the source is given the new token and the chosen account, and then synced."""
        new = internet.rotate()["access_token"]
        known = {"AIRBYTE_SOURCE_ID": SOURCE, "AIRBYTE_CONNECTION_ID": CONNECTION, "TIKTOK_ADVERTISER_ID": ACCOUNTS[1]}
        done = do(SYNC, internet, tmp_path, {**APPLICATION, **known, "AIRBYTE_URL": airbyte.url})
        assert done.returncode == 0, done.stderr
        credentials = {"auth_type": "oauth2.0", "app_id": "7000000000000000000", "access_token": new}
        credentials |= {"advertiser_id": ACCOUNTS[1], "secret": "unused"}
        settings = {"sourceType": "tiktok-marketing", "credentials": credentials, "start_date": "2026-01-01"}
        application = {"client_id": "the client", "client_secret": "the client's secret"}
        assert airbyte.sent == [
            ("POST", "/v1/applications/token", "", {**application, "grant-type": "client_credentials"}),
            ("PATCH", f"/v1/sources/{SOURCE}", "Bearer a bearer", {"configuration": settings}),
            ("POST", "/v1/jobs", "Bearer a bearer", {"connectionId": CONNECTION, "jobType": "sync"}),
        ]
        assert internet.secrets_calls() == [READ]

    def test_airbytes_own_client_says_the_same(self, internet: Internet, airbyte: Recipient, tmp_path: Path) -> None:
        """Method, path and body of each call are those of the client that Airbyte makes from its API's description."""
        variables = {**APPLICATION, "AIRBYTE_URL": airbyte.url}
        for more in ({"AIRBYTE_WORKSPACE_ID": WORKSPACE}, {"AIRBYTE_SOURCE_ID": SOURCE}):
            done = do(SYNC, internet, tmp_path, {**variables, **more, "AIRBYTE_CONNECTION_ID": CONNECTION})
            assert done.returncode == 0, done.stderr
        (create, job, change, again) = [call for call in airbyte.sent if "applications" not in call[1]]
        assert again == job
        airbyte.sent.clear()
        python, settings = programs("airbyte-api") / "python", json.dumps(create[3]["configuration"])
        subprocess.run(
            [python, "-c", CLIENT, settings, WORKSPACE, SOURCE, CONNECTION],
            env={"AIRBYTE_URL": airbyte.url},
            check=True,
            timeout=PATIENCE,
        )
        defaults = {"attribution_window": 3, "include_deleted": False}
        for call in (create, change):
            call[3]["configuration"] |= defaults
        assert airbyte.sent == [create, change, job]


@pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not installed")
class TestTerraform:
    @pytest.fixture
    def planned(self, internet: Internet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
        """Plans a text; returns the values of the one source in it."""
        (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
        monkeypatch.setattr(stub_provider, "SCHEMA", tmp_path / "schema.json")
        payload = json.dumps(internet.token())
        folder = tmp_path / "terraform"

        def plan(text: str) -> Any:
            folder.mkdir()
            (folder / "main.tf").write_text(text)
            with stub_provider.running(lambda _, name, __: payload if name == "secret_data" else name) as found:
                attached = json.loads(found["TF_REATTACH_PROVIDERS"])
                attached["airbytehq/airbyte"] = attached["hashicorp/google"]
                environment = {"PATH": os.environ["PATH"], "TF_REATTACH_PROVIDERS": json.dumps(attached)}
                environment |= {"CHECKPOINT_DISABLE": "1", "HOME": str(tmp_path), "TF_VAR_workspace_id": WORKSPACE}
                environment |= {"TF_VAR_airbyte_workspace_id": WORKSPACE, "TF_VAR_tiktok_app_secret": "the app secret"}
                for words in ("fmt -check", "init -input=false", "plan -input=false -out=plan", "show -json plan"):
                    done = subprocess.run(
                        ["terraform", *words.split()],
                        cwd=folder,
                        env=environment,
                        capture_output=True,
                        text=True,
                        check=False,
                    )
                    assert done.returncode == 0, done.stderr + done.stdout
            [resource] = json.loads(done.stdout)["planned_values"]["root_module"]["resources"]
            return resource["values"]

        return plan

    def test_it_makes_the_same_configuration(self, internet: Internet, planned: Callable[[str], Any]) -> None:
        """What Terraform plans, against the published schema, is what the connector is given."""
        values = planned(PAGE.files["main.tf"])
        assert (values["definition_id"], values["workspace_id"]) == (DEFINITION, WORKSPACE)
        assert json.loads(values["configuration"]) == {
            "credentials": {
                "auth_type": "oauth2.0",
                "app_id": "7000000000000000000",
                "secret": "unused",
                "access_token": internet.token()["access_token"],
                "advertiser_id": ACCOUNTS[0],
            },
            "start_date": "2026-01-01",
        }

    def test_what_the_command_line_prints_can_be_added(
        self, internet: Internet, planned: Callable[[str], Any], tmp_path: Path
    ) -> None:
        """`make config CONNECTION=acme FOR=airbyte-terraform` prints a source for all ad accounts, not the token."""
        text = printed(internet, "airbyte-terraform", tmp_path)
        assert internet.token()["access_token"] not in text
        providers, _, _ = PAGE.files["main.tf"].partition("variable ")
        values = planned(providers + text)
        assert (values["definition_id"], values["workspace_id"]) == (DEFINITION, WORKSPACE)
        assert json.loads(values["configuration"]) == {
            "credentials": {
                "auth_type": "oauth2.0",
                "app_id": "7000000000000000000",
                "secret": "the app secret",
                "access_token": internet.token()["access_token"],
            },
            "start_date": "2026-01-01",
        }
