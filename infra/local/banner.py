"""What `make run` says once everything is running: how to connect, refresh, read and stop."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from pathlib import Path

from local import ROOT
from local.setup import Setup
from tokenkeeper import checks, settings
from tokenkeeper.connect import links
from tokenkeeper.grant import Family
from tokenkeeper.settings import CONNECT, Settings

FIRST_CONNECTION = "main"
FAMILIES: Mapping[Family, tuple[str, str]] = {
    # family -> name of its first connection, and how `make link` makes more
    "advertiser": (FIRST_CONNECTION, "make link"),
    "account": ("main-account", "make link FAMILY=account"),
}


def banner(setup: Setup) -> str:
    """The text, with fresh connect links."""
    chosen = settings.read(CONNECT, setup.environment)
    secret_id = f"{chosen.secret_prefix}-token-{FIRST_CONNECTION}"
    address = f"http://{chosen.emulator_host}/v1/projects/{chosen.project}/secrets/{secret_id}/versions/latest:access"
    tiktok = (
        f"your TikTok app {chosen.app_id}.\n"
        f"In TikTok's portal, exactly this has to be its Advertiser redirect URL: {chosen.public_url}"
        if setup.real_app
        else "a simulated TikTok."
    )
    return (
        f"The token keeper is running, with {tiktok}\n\n"
        f"{_ways_to_connect(setup, chosen)}"
        f"  Refresh  make refresh\n"
        f"  Read     make token CONNECTION={FIRST_CONNECTION}\n"
        f"           or, as pipelines do: curl {address}\n"
        f"  Look     make status\n"
        f"  Stop     Ctrl-C (everything is kept in {_short(setup.folder)} and there again the next time)\n"
        + "".join(f"\n{note}\n" for note in setup.found.notes)
    )


def _ways_to_connect(setup: Setup, chosen: Settings) -> str:
    """A connect link of each family that works with these addresses."""
    lines: list[str] = []
    for family, (name, command) in FAMILIES.items():
        if family == "account" and setup.real_app and checks.unfit_for_accounts(chosen.public_url):
            continue
        connected = _connected_at(setup, chosen, name)
        whom = (
            f"{name} is connected already, since {connected}. To connect it again, open"
            if connected
            else f"to connect {name}, open ({command} makes more of these)"
        )
        lines += [f"{'' if lines else 'Connect':7}  {whom}", f"         {_link(chosen, name, family)}"]
    return "".join(f"  {line}\n" for line in lines)


def _link(chosen: Settings, connection: str, family: Family) -> str:
    _, text = links.Signer(chosen.link_keys).new_link(connection, family=family)
    return f"{chosen.public_url}/start?link={text.reveal()}"


def _connected_at(setup: Setup, chosen: Settings, name: str) -> str:
    """The day on which a connection was made; empty: not yet."""
    secret_id = f"{chosen.secret_prefix}-token-{name}"
    connection = http.client.HTTPConnection("127.0.0.1", setup.ports.secret_manager_port, timeout=10)
    try:
        connection.request("GET", f"/v1/projects/{chosen.project}/secrets?filter=name:{secret_id}")
        found = json.loads(connection.getresponse().read()).get("secrets", [])
    except (OSError, ValueError, http.client.HTTPException):
        return ""
    finally:
        connection.close()
    stamps = (one.get("annotations", {}).get("connected-at", "") for one in found if one["name"].endswith(secret_id))
    return next(stamps, "")[:10]


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(ROOT))
    except ValueError:
        return str(path)
