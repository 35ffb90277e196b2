"""HTTP connections to one host: through a company's proxy and with its CA, and to this machine without either.

urllib3 makes the requests, with half of the work that `requests` needs for one. `requests`, which google-auth brings,
says what the environment names for a host, so that the same variables have the same meaning in all libraries.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH, select_proxy
from urllib3.util.ssl_ import create_urllib3_context

from tokenkeeper import log
from tokenkeeper.checks import is_this_machine

_KEPT = 64  # connections that are kept open


@dataclass(frozen=True, slots=True)
class Way:
    """How a host is reached."""

    proxy: str  # the proxy's URL, which may hold a password; empty: there is none
    ca: str  # the file or folder of the CAs that certificates are checked with; empty: the usual ones


def way_to(url: str) -> Way:
    """How the host of this URL is reached, by `HTTPS_PROXY`, `NO_PROXY`, `REQUESTS_CA_BUNDLE` and their like."""
    if is_this_machine(urlsplit(url).hostname or ""):
        return Way("", "")
    found = requests.Session().merge_environment_settings(url, {}, None, None, None)
    proxy, ca = select_proxy(url, found["proxies"]), found["verify"]
    if proxy and "://" not in proxy:
        proxy = f"http://{proxy}"
    return Way(proxy or "", ca if isinstance(ca, str) else "")


def connections(url: str) -> urllib3.PoolManager:
    """What sends requests to the host of this URL, and keeps its connections open. It serves many threads.

    Raises:
        OSError: there is no such file of CAs, or nothing in it.
    """
    way = way_to(url)
    tls: dict[str, Any] = {}
    if url.startswith("https:"):
        tls["ssl_context"] = _trusting(way.ca or DEFAULT_CA_BUNDLE_PATH)
    log.silence_libraries()
    if not way.proxy:
        return urllib3.PoolManager(maxsize=_KEPT, **tls)
    if way.proxy.startswith("https:"):
        tls["proxy_ssl_context"] = tls.get("ssl_context")
    through: urllib3.ProxyManager = HTTPAdapter(pool_maxsize=_KEPT).proxy_manager_for(way.proxy, **tls)
    return through


@cache
def _trusting(ca: str) -> ssl.SSLContext:
    """One for all connections: the CAs take long to read."""
    context = create_urllib3_context()
    context.load_verify_locations(**{"capath" if Path(ca).is_dir() else "cafile": ca})
    return context
