"""Where the browser finds what `make run` starts: on this machine, or in front of a machine that runs elsewhere.

Cloud Shell and Codespaces put a public address in front of each port; over SSH a tunnel makes this machine's addresses
work on the other one. What is set in the environment comes first.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from local.serving import CannotStart
from local.tiktok import ACCOUNT_CONSENT_PATH, CONSENT_PATH

LOOPBACK, EVERYWHERE = "127.0.0.1", "0.0.0.0"
_TO_ASK = 10.0  # seconds that Cloud Shell's command may take
_OPEN = "HOST=0.0.0.0: everybody who reaches this machine over its network can open connect and the simulated TikTok."
_OVER_SSH = (
    "You are logged in over SSH. For the addresses above, run this on the machine with the browser (with the host name "
    "that you logged in with, where this address does not work):"
)


@dataclass(frozen=True)
class Addresses:
    """The addresses that a browser uses."""

    public_url: str  # of `connect`, as it is registered with TikTok
    authorize_url: str  # the simulated consent page for advertisers
    account_authorize_url: str  # the simulated consent page for account holders, on the same host
    host: str  # where `connect` and the simulated TikTok listen
    notes: Sequence[str]  # what somebody has to know to use them, a sentence or a command each


def find(environment: Mapping[str, str], port: int, tiktok_port: int) -> Addresses:
    """Finds the addresses of `connect` and the simulated TikTok, which serve at these ports.

    Raises:
        CannotStart: Cloud Shell's command fails.
    """
    given = {name: value.strip() for name, value in environment.items() if value.strip()}
    public_url = given.get("PUBLIC_URL") or _origin(port, given)
    consent = given.get("TIKTOK_AUTHORIZE_URL") or _origin(tiktok_port, given) + CONSENT_PATH
    # Shells and build tools set HOST to names of their own, so no other value is anybody's wish.
    host = EVERYWHERE if given.get("HOST") == EVERYWHERE else LOOPBACK
    notes = [_OPEN] if host == EVERYWHERE else []
    if "SSH_CONNECTION" in given and urlsplit(public_url).hostname == "localhost":
        server, ssh_port = given["SSH_CONNECTION"].split()[-2:]
        tunnels = " ".join(f"-L {number}:{LOOPBACK}:{number}" for number in (port, tiktok_port))
        notes = [_OVER_SSH, f"ssh -N {tunnels} -p {ssh_port} {given.get('USER', 'you')}@{server}", *notes]
    return Addresses(public_url, consent, urljoin(consent, ACCOUNT_CONSENT_PATH), host, notes)


def _origin(port: int, given: Mapping[str, str]) -> str:
    """The address under which a browser finds a port."""
    if command := shutil.which("cloudshell", path=given.get("PATH", os.defpath)):
        words = [command, "get-web-preview-url", "-p", str(port)]
        try:
            said = subprocess.run(words, env=given, capture_output=True, text=True, timeout=_TO_ASK, check=True).stdout
        except (OSError, ValueError, subprocess.SubprocessError):
            said = ""
        if address := re.match(r"https?://[^/?#\s]+", said.strip()):
            return address[0]
        raise CannotStart(
            f"cloudshell get-web-preview-url -p {port} gave no address: set PUBLIC_URL and TIKTOK_AUTHORIZE_URL to the "
            "public addresses of both ports."
        )
    space, domain = given.get("CODESPACE_NAME"), given.get("GITHUB_CODESPACES_PORT_FORWARDING_DOMAIN")
    return f"https://{space}-{port}.{domain}" if space and domain else f"http://localhost:{port}"
