"""The internet of these tests: the real names with certificates of their own, nothing else, and canaries.

That it asks for the reader's role is proved by who lacks it: `test_tiktok_token.py` over REST, Airflow over gRPC.
"""

from __future__ import annotations

import json
import subprocess

import pytest

from readers.internet import Internet

pytestmark = pytest.mark.readers


def process(internet: Internet, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a program in there."""
    return subprocess.run(
        command, env=internet.environ(**more), capture_output=True, text=True, timeout=300, check=False
    )


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
