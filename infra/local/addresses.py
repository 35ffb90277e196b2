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
from urllib.parse import urlsplit

from local.tiktok import ACCOUNT_CONSENT_PATH, CONSENT_PATH

LOOPBACK, EVERYWHERE = "127.0.0.1", "0.0.0.0"
_TO_ASK = 10.0  # seconds that Cloud Shell's command may take
_OPEN = "HOST=0.0.0.0: everybody who reaches this machine over its network can open connect and the simulated TikTok."
_OVER_SSH = (
    "You are logged in over SSH. For the addresses above, run this on the machine with the browser (with the host name "
    "that you logged in with, where this address does not work):"
)


class Problem(Exception):
    """Why `make run` cannot start; the text is one sentence that says what to do."""


@dataclass(frozen=True)
class Addresses:
    """The addresses that a browser uses.

    Attributes:
        public_url: Of `connect`, as it is registered with TikTok.
        authorize_url: The simulated consent page for advertisers.
        account_authorize_url: The simulated consent page for account holders.
        host: Where `connect` and the simulated TikTok listen.
        notes: What somebody has to know to use them, a sentence or a command each.
    """

    public_url: str
    authorize_url: str
    account_authorize_url: str
    host: str
    notes: Sequence[str]

    @property
    def names(self) -> set[str]:
        """Host names under which the simulated TikTok is asked."""
        return {urlsplit(url).hostname or "" for url in (self.authorize_url, self.account_authorize_url)}


def find(environment: Mapping[str, str], port: int, tiktok_port: int) -> Addresses:
    """Finds the addresses.

    Args:
        environment: With `PUBLIC_URL`, `TIKTOK_AUTHORIZE_URL`, `TIKTOK_ACCOUNT_AUTHORIZE_URL` and `HOST`, where they
            are set, and what Cloud Shell, Codespaces and SSH set.
        port: Of `connect`.
        tiktok_port: Of the simulated TikTok.

    Raises:
        Problem: Cloud Shell's command fails, or `HOST` cannot be used.
    """
    given = {name: value.strip() for name, value in environment.items() if value.strip()}
    host = given.get("HOST", LOOPBACK)
    if not host.replace(".", "").isdigit():  # shells and build tools set HOST to names of their own: nobody's wish
        host = LOOPBACK
    if host not in (LOOPBACK, EVERYWHERE):
        raise Problem(f"HOST is '{host}', which is neither {LOOPBACK} nor {EVERYWHERE} (every address).")
    in_front = _in_front(given)
    over_ssh = in_front is None and "SSH_CONNECTION" in given and "PUBLIC_URL" not in given
    notes = [_OVER_SSH, _tunnel(given, port, tiktok_port)] if over_ssh else []
    if host == EVERYWHERE:
        notes.append(_OPEN)
    address = in_front or (lambda number: f"http://localhost:{number}")
    public_url = given.get("PUBLIC_URL") or address(port)
    consent, account = given.get("TIKTOK_AUTHORIZE_URL"), given.get("TIKTOK_ACCOUNT_AUTHORIZE_URL")
    tiktok = _origin(consent or account or "") or address(tiktok_port)
    return Addresses(
        public_url, consent or tiktok + CONSENT_PATH, account or tiktok + ACCOUNT_CONSENT_PATH, host, notes
    )


def _in_front(given: Mapping[str, str]) -> Callable[[int], str] | None:
    """What makes a port's public address; None: there is none."""
    cloudshell = shutil.which("cloudshell", path=given.get("PATH", os.defpath))
    if cloudshell is not None:
        return lambda port: _cloud_shell(cloudshell, port, given)
    name, domain = given.get("CODESPACE_NAME"), given.get("GITHUB_CODESPACES_PORT_FORWARDING_DOMAIN")
    return (lambda port: f"https://{name}-{port}.{domain}") if name and domain else None


def _cloud_shell(command: str, port: int, environment: Mapping[str, str]) -> str:
    """The address of Cloud Shell's web preview, without the query that it comes with."""
    words = [command, "get-web-preview-url", "-p", str(port)]
    try:
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=_TO_ASK, check=True)
        found = _origin(done.stdout.strip())
    except (OSError, subprocess.SubprocessError):
        found = ""
    if not found:
        raise Problem(
            f"cloudshell get-web-preview-url -p {port} gave no address: set PUBLIC_URL and TIKTOK_AUTHORIZE_URL to the "
            "public addresses of both ports."
        )
    return found


def _tunnel(given: Mapping[str, str], port: int, tiktok_port: int) -> str:
    """The command that leads this machine's ports to where the person sits."""
    words = given["SSH_CONNECTION"].split()
    server, ssh_port = (words[2], words[3]) if len(words) == 4 else ("this-machine", "22")
    tunnels = " ".join(f"-L {number}:{LOOPBACK}:{number}" for number in (port, tiktok_port))
    login = f"{given['USER']}@{server}" if "USER" in given else server
    return f"ssh -N {tunnels} {'' if ssh_port == '22' else f'-p {ssh_port} '}{login}"


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme and parts.netloc else ""
