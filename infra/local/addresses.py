"""Where the browser finds what `make run` starts: on this machine, or in front of a machine that runs elsewhere.

Cloud Shell and Codespaces put a public address in front of each port; over SSH a tunnel makes this machine's addresses
work on the other one. What is set in the environment comes first.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
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
    """The addresses that a browser uses.

    Attributes:
        public_url: Of `connect`, as it is registered with TikTok.
        authorize_url: The simulated consent page for advertisers.
        account_authorize_url: The simulated consent page for account holders, on the same host.
        host: Where `connect` and the simulated TikTok listen.
        notes: What somebody has to know to use them, a sentence or a command each.
    """

    public_url: str
    authorize_url: str
    account_authorize_url: str
    host: str
    notes: Sequence[str]


def find(environment: Mapping[str, str], port: int, tiktok_port: int) -> Addresses:
    """Finds the addresses.

    Args:
        environment: With `PUBLIC_URL`, `TIKTOK_AUTHORIZE_URL` and `HOST`, where they are set, and what Cloud Shell,
            Codespaces and SSH set.
        port: Of `connect`.
        tiktok_port: Of the simulated TikTok.

    Raises:
        CannotStart: Cloud Shell's command fails.
    """
    given = {name: value.strip() for name, value in environment.items() if value.strip()}
    origin = _origins(given)
    public_url = given.get("PUBLIC_URL") or origin(port)
    consent = given.get("TIKTOK_AUTHORIZE_URL") or origin(tiktok_port) + CONSENT_PATH
    # Shells and build tools set HOST to names of their own, so no other value is anybody's wish.
    host = EVERYWHERE if given.get("HOST") == EVERYWHERE else LOOPBACK
    notes = [_OPEN] if host == EVERYWHERE else []
    if "SSH_CONNECTION" in given and urlsplit(public_url).hostname == "localhost":
        server, ssh_port = given["SSH_CONNECTION"].split()[-2:]
        tunnels = " ".join(f"-L {number}:{LOOPBACK}:{number}" for number in (port, tiktok_port))
        notes = [_OVER_SSH, f"ssh -N {tunnels} -p {ssh_port} {given.get('USER', 'you')}@{server}", *notes]
    return Addresses(public_url, consent, urljoin(consent, ACCOUNT_CONSENT_PATH), host, notes)


def _origins(given: Mapping[str, str]) -> Callable[[int], str]:
    """What makes the public address of a port."""
    command = shutil.which("cloudshell", path=given.get("PATH", os.defpath))
    if command is not None:
        return lambda port: _in_cloud_shell(command, port, given)
    space, domain = given.get("CODESPACE_NAME"), given.get("GITHUB_CODESPACES_PORT_FORWARDING_DOMAIN")
    if space and domain:
        return lambda port: f"https://{space}-{port}.{domain}"
    return lambda port: f"http://localhost:{port}"


def _in_cloud_shell(command: str, port: int, environment: Mapping[str, str]) -> str:
    """The address of Cloud Shell's web preview, without the query that it comes with."""
    words = [command, "get-web-preview-url", "-p", str(port)]
    try:
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=_TO_ASK, check=True)
        parts = urlsplit(done.stdout.strip())
    except (OSError, ValueError, subprocess.SubprocessError):
        parts = urlsplit("")
    if not parts.netloc:
        raise CannotStart(
            f"cloudshell get-web-preview-url -p {port} gave no address: set PUBLIC_URL and TIKTOK_AUTHORIZE_URL to the "
            "public addresses of both ports."
        )
    return f"{parts.scheme}://{parts.netloc}"
