"""Checks how calls leave this machine, through which proxy and with which CA, and whether its clock is right."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import requests

from tokenkeeper.checks import API_URL, is_this_machine
from tokenkeeper.cli import web
from tokenkeeper.cli.doctor.finding import CALL_SECONDS, Finding, Subject


def ways_out(examined: Subject) -> Iterator[Finding]:
    """The proxy for calls to TikTok, and the CA file that certificates are checked with; nothing for this machine."""
    url = _api_url(examined)
    if is_this_machine(urlsplit(url).hostname or ""):
        return
    found = requests.Session().merge_environment_settings(url, {}, None, None, None)
    proxy = requests.utils.select_proxy(url, found["proxies"])
    yield Finding("the proxy", "ok", f"calls go through {_without_password(proxy)}" if proxy else "none is used")
    ca_file = found["verify"]
    if not isinstance(ca_file, str):
        yield Finding("the CA", "ok", "certificates are checked with the usual CAs")
    elif Path(ca_file).exists():
        yield Finding("the CA", "ok", f"certificates are checked with {ca_file}")
    else:
        yield Finding(
            "the CA", "problem", f"{ca_file} does not exist: correct REQUESTS_CA_BUNDLE or SSL_CERT_FILE, or unset them"
        )


def this_clock(examined: Subject) -> Finding:
    """This machine's clock, by that of `connect`, or of TikTok."""
    thing = "the clock"
    off = web.clock_difference([examined.environment.get("PUBLIC_URL", ""), _api_url(examined)], CALL_SECONDS)
    if off is None:
        return Finding(thing, "unknown", "neither connect nor TikTok answered with the time")
    if abs(off) <= web.CLOCK_IS_OFF:
        return Finding(thing, "ok", "agrees with the others'")
    return Finding(
        thing, "problem", f"is {web.off(off)}: set it over the network, since links and tokens carry the time"
    )


def _api_url(examined: Subject) -> str:
    return examined.environment.get("TIKTOK_API_URL") or API_URL


def _without_password(proxy: str) -> str:
    parts = urlsplit(proxy)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
