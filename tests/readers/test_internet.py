"""The internet of these tests, with the clients that it is made for: one role, the real names, nothing else."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from readers.google import ACCESS
from readers.internet import Internet
from readers.recipe import programs, start

pytestmark = pytest.mark.readers

NAME = "projects/my-project-123/secrets/tiktok-ads-token-acme/versions/latest"
OFFICIAL = """\
import sys
from google.cloud import secretmanager
client = secretmanager.SecretManagerServiceClient(transport=sys.argv[1])
sys.stdout.write(client.access_secret_version(name=sys.argv[2]).payload.data.decode())
"""


def process(internet: Internet, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a program in there."""
    return subprocess.run(
        command, env=internet.environ(**more), capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_the_official_client_reads_the_one_secret(internet: Internet, transport: str) -> None:
    """With the reader's key and role, under the real names; no other secret, nor another project's."""
    read = (sys.executable, "-c", OFFICIAL, transport)
    assert json.loads(process(internet, *read, NAME).stdout) == internet.token()
    assert (internet.secrets_calls(), internet.refused) == ([("AccessSecretVersion", "tiktok-ads-token-acme")], [])
    for other in (NAME.replace("token-acme", "token-beta"), NAME.replace("my-project-123", "other-project")):
        assert f"Permission '{ACCESS}' denied for resource" in process(internet, *read, other).stderr


def test_hosts_and_certificates(internet: Internet) -> None:
    """TikTok answers under its name to whoever checks its certificate; every other host is refused and recorded."""
    tiktok = "https://business-api.tiktok.com/open_api/v1.3/user/info/"
    assert json.loads(process(internet, "curl", "-sS", tiktok).stdout)["code"] == 40104
    calls = len(internet.stage.tiktok.calls)
    assert process(internet, "curl", "-sS", tiktok, CURL_CA_BUNDLE="/dev/null", SSL_CERT_FILE="/dev/null").returncode
    assert len(internet.stage.tiktok.calls) == calls
    assert process(internet, "curl", "-sS", "https://example.com/").returncode == 56
    assert internet.refused == ["example.com:443"]


def test_a_token_that_is_printed_is_found(internet: Internet) -> None:
    """The canaries hear what tools print."""
    internet.record("what a tool printed", f"<{internet.token()['access_token']}>")
    assert internet.leaks() == ["an access token in what a tool printed"]
    internet.stage.canaries.recorded.clear()


def test_what_still_runs_at_the_end_is_ended(internet: Internet, tmp_path: Path) -> None:
    """With all that it started."""
    running = start("sleep 1000; echo", internet, environment=None, folder=tmp_path)
    internet.reset()
    assert running.returncode == -signal.SIGKILL


def test_a_tool_that_is_not_installed() -> None:
    """The failure names the command that installs it."""
    with pytest.raises(pytest.fail.Exception, match=r"run `make test-readers`"):
        programs("no-such-tool")
