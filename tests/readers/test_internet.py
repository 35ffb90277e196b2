"""The internet of these tests, held against the clients that it is made for."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from local.serving import Fault
from readers.google import ACCESS, ServiceAccount
from readers.internet import Internet
from readers.recipe import start

pytestmark = pytest.mark.readers

READ = ("AccessSecretVersion", "tiktok-ads-token-acme")
NAME = "projects/my-project-123/secrets/tiktok-ads-token-acme/versions/latest"
OFFICIAL = """\
import sys
from google.cloud import secretmanager
client = secretmanager.SecretManagerServiceClient(transport=sys.argv[1])
answer = client.access_secret_version(name=sys.argv[2])
assert answer.name.endswith("/versions/1"), answer.name
sys.stdout.write(answer.payload.data.decode())
"""
REQUESTS = """\
import json, sys, requests
answer = requests.get("https://business-api.tiktok.com/open_api/v1.3/campaign/get/",
    params={"advertiser_id": "7000000000000000001"}, headers={"Access-Token": sys.stdin.read()}, timeout=30)
print(answer.json()["message"])
"""


def python(
    internet: Internet, code: str, *arguments: str, given: str = "", **more: str
) -> subprocess.CompletedProcess[str]:
    """Run Python's code in there."""
    return process(internet, sys.executable, "-c", code, *arguments, given=given, **more)


def process(internet: Internet, *command: str, given: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    """Run a program in there."""
    return subprocess.run(
        command, env=internet.environ(**more), input=given, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.parametrize("transport", ["grpc", "rest"])
class TestOfficialClient:
    def test_it_reads_the_token(self, internet: Internet, transport: str) -> None:
        """With nothing but the environment, under the real names, over both transports."""
        done = python(internet, OFFICIAL, transport, NAME)
        assert json.loads(done.stdout) == internet.token(), done.stderr
        assert (internet.secrets_calls(), internet.refused) == ([READ], [])

    @pytest.mark.parametrize("other", ["secrets/tiktok-ads-token-beta", "secrets/tiktok-ads-app-secret"])
    def test_it_may_read_nothing_else(self, internet: Internet, transport: str, other: str) -> None:
        """Another secret, there or not, is refused in IAM's words."""
        internet.connect("beta")
        done = python(internet, OFFICIAL, transport, NAME.replace("secrets/tiktok-ads-token-acme", other))
        assert done.returncode == 1
        assert f"Permission '{ACCESS}' denied for resource" in done.stderr

    def test_another_project_is_not_its_own(self, internet: Internet, transport: str) -> None:
        """The same name in somebody else's project is refused."""
        done = python(internet, OFFICIAL, transport, NAME.replace("my-project-123", "other-project"))
        assert f"Permission '{ACCESS}' denied for resource" in done.stderr

    def test_a_key_that_google_does_not_know_opens_nothing(
        self, internet: Internet, transport: str, tmp_path: Path
    ) -> None:
        """Credentials signed with another key are refused."""
        stranger = ServiceAccount(tmp_path, "my-project-123")
        done = python(internet, OFFICIAL, transport, NAME, GOOGLE_APPLICATION_CREDENTIALS=str(stranger.file))
        assert done.returncode == 1
        assert "Request had invalid authentication credentials" in done.stderr

    def test_listing_needs_a_permission_and_works_with_it(self, internet: Internet, transport: str) -> None:
        """What the role does not hold is refused until it is granted."""
        code = (
            "import sys; from google.cloud import secretmanager as s; c = s.SecretManagerServiceClient("
            "transport=sys.argv[1]); print([v.name[-2:] for v in c.list_secret_versions(parent=sys.argv[2])])"
        )
        parent = NAME.partition("/versions")[0]
        refused = python(internet, code, transport, parent)
        assert "Permission 'secretmanager.versions.list' denied" in refused.stderr
        internet.allow("secretmanager.versions.list")
        assert python(internet, code, transport, parent).stdout == "['/1']\n"


def test_a_failure_reaches_a_grpc_client_as_the_same_failure(internet: Internet) -> None:
    """A version that is not enabled is a failed precondition over gRPC too."""
    internet.rotate()
    internet.stage.secrets.set_state("tiktok-ads-token-acme", 1, "DISABLED")
    done = python(internet, OFFICIAL, "grpc", NAME.replace("latest", "1"))
    assert "FailedPrecondition: 400 Secret Version" in done.stderr


def test_without_credentials_nothing_is_told(internet: Internet) -> None:
    """A request without a token, and one with an invented token, are unauthenticated."""
    address = f"https://secretmanager.googleapis.com/v1/{NAME}:access"
    for header in ("X-Nothing: 1", "Authorization: Bearer ya29.invented"):
        done = process(internet, "curl", "-s", "-H", header, address)
        assert json.loads(done.stdout)["error"]["status"] == "UNAUTHENTICATED"


def test_a_token_for_another_scope_does_not_open_secret_manager(internet: Internet) -> None:
    """Google demands the scope of the cloud platform."""
    code = """\
import sys, requests
from google.auth.transport.requests import AuthorizedSession
from google.oauth2 import service_account
import os
key = os.environ["GOOGLE_APPLICATION_CREDENTIALS"]
for scope in ("https://www.googleapis.com/auth/bigquery", "https://www.googleapis.com/auth/cloud-platform"):
    made = service_account.Credentials.from_service_account_file(key, scopes=[scope])
    print(AuthorizedSession(made).get(sys.argv[1]).status_code)
"""
    done = python(internet, code, f"https://secretmanager.googleapis.com/v1/{NAME}:access")
    assert done.stdout.split() == ["403", "200"], done.stderr


def test_requests_and_curl_reach_tiktok(internet: Internet) -> None:
    """Under its real name, with the certificate checked."""
    token = internet.token()["access_token"]
    assert python(internet, REQUESTS, given=token).stdout == "OK\n"
    address = "https://business-api.tiktok.com/open_api/v1.3/user/info/"
    done = process(internet, "curl", "-sS", "--config", "-", address, given=f'header = "Access-Token: {token}"')
    assert json.loads(done.stdout)["code"] == 0, done.stderr
    assert [call.name for call in internet.stage.tiktok.calls] == ["campaign_get", "user_info"]


def test_whoever_does_not_trust_the_authority_gets_nowhere(internet: Internet) -> None:
    """The proxy is no way round checking certificates."""
    bundle = {"CURL_CA_BUNDLE": "/dev/null", "SSL_CERT_FILE": "/dev/null"}
    done = process(internet, "curl", "-sS", "https://business-api.tiktok.com/", **bundle)
    assert done.returncode != 0
    assert internet.stage.tiktok.calls == []


def test_every_other_host_is_refused_and_written_down(internet: Internet) -> None:
    """By https and by http."""
    assert process(internet, "curl", "-sS", "https://example.com/").returncode == 56
    assert process(internet, "curl", "-sS", "-f", "http://example.com/a").returncode == 22
    assert internet.refused == ["example.com:443", "http://example.com/a"]


def test_a_chunked_body_arrives_whole(internet: Internet) -> None:
    """As clients send it that do not know its length beforehand."""
    address = "https://business-api.tiktok.com/open_api/v1.3/oauth2/access_token/"
    body = json.dumps({"app_id": "1", "secret": "2", "auth_code": "3" * 9000})
    chunked = ("-H", "Transfer-Encoding: chunked", "-H", "Content-Type: application/json")
    done = process(internet, "curl", "-sS", *chunked, "--data-binary", "@-", address, given=body)
    assert json.loads(done.stdout)["code"] == 40101, done.stderr
    assert internet.stage.tiktok.requests_of("access_token") == [json.loads(body)]


def test_a_rotated_token_has_taken_the_place_of_the_old_one(internet: Internet) -> None:
    """The old one is refused by TikTok, the new one is the latest, and both were stored by the product."""
    old, new = internet.token(), internet.rotate()
    assert python(internet, REQUESTS, given=old["access_token"]).stdout != "OK\n"
    assert python(internet, REQUESTS, given=new["access_token"]).stdout == "OK\n"
    assert internet.stage.secrets.states("tiktok-ads-token-acme") == {1: "ENABLED", 2: "ENABLED"}
    assert internet.token() == new


def test_a_fault_of_the_stand_ins_reaches_the_tool(internet: Internet) -> None:
    """Unavailable is told over gRPC, and the client tries again by itself."""
    internet.stage.secrets.add_fault(Fault("AccessSecretVersion", times=1, status=503))
    assert json.loads(python(internet, OFFICIAL, "grpc", NAME).stdout) == internet.token()
    assert internet.secrets_calls() == [READ, READ]


def test_a_token_that_is_printed_is_found(internet: Internet) -> None:
    """The canaries hear what tools print, and files that hold the token are named."""
    token = internet.token()["access_token"]
    internet.record("what a tool printed", f"<{token}>")
    assert internet.leaks() == ["an access token in what a tool printed"]
    internet.stage.canaries.recorded.clear()


def test_what_still_runs_at_the_end_is_ended(internet: Internet, tmp_path: Path) -> None:
    """With all that it started."""
    process = start("sleep 1000; echo", internet, environment=None, folder=tmp_path)
    internet.reset()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed")
def test_gcloud_reads_the_token(internet: Internet) -> None:
    """As somebody who has activated the reader's account."""
    words = ("--secret=tiktok-ads-token-acme", "--project=my-project-123")
    done = process(internet, "gcloud", "secrets", "versions", "access", "latest", *words)
    assert json.loads(done.stdout) == internet.token(), done.stderr
    assert (internet.secrets_calls(), internet.refused) == ([READ], [])
