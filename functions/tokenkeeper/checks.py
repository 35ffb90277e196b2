"""What a value of a setting has to look like. No I/O.

Each check takes a value, and raises `Invalid` with what is wrong with it and a valid example.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from urllib.parse import SplitResult, urlsplit

API_URL = "https://business-api.tiktok.com/open_api/v1.3"
SHORTEST_KEY = 32  # characters
LONGEST_PUBLIC_URL = 100  # characters; what the field in TikTok's portal takes

CONNECTION = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}", re.ASCII)
LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}", re.ASCII)
OWN_LABELS = frozenset(("managed-by", "holds", "connection", "family", "kind", "health"))
MOST_LABELS = 8  # of the operator's own that a link carries: they travel through TikTok in the state


def is_line(text: str) -> bool:
    """Whether a text may be shown in a line: printable, or one of the joiners inside of words and emoji."""
    return text.replace("\u200c", "").replace("\u200d", "").isprintable()


class Invalid(ValueError):
    """What is wrong with a value and what a valid one looks like: the rest of a sentence that begins with its name."""


def _pattern(pattern: str, wrong: str) -> Callable[[str], None]:
    def check(value: str) -> None:
        if not value:
            raise Invalid(f"is missing; {wrong.partition('; ')[2]}")
        if not re.fullmatch(pattern, value, re.ASCII):
            raise Invalid(f"is {value[:80]!r}, not {wrong}")

    return check


def _list(pattern: str, kind: str, example: str) -> Callable[[str], None]:
    part = rf"\s*{pattern}\s*"
    return _pattern(f"{part}(,{part})*", f"a list of {kind}; write them with commas between, like {example}")


project = _pattern(
    r"([a-z0-9.-]+:)?[a-z0-9][a-z0-9-]{0,61}",
    "a Google Cloud project id; write it as the console shows it, like my-project-123",
)
prefix = _pattern(r"[A-Za-z0-9_-]{1,100}", "1 to 100 letters, digits, - and _; write something like tiktok-ads")
_host_and_port = _pattern(
    r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}", "host:port; write something like 127.0.0.1:8085"
)
app_id = _pattern(
    r"[A-Za-z0-9_-]{1,64}",
    "an app id; write the App ID that the app's page in TikTok's portal shows, like 7000000000000000000",
)
connection = _pattern(
    CONNECTION.pattern,
    "a connection's name (1 to 63 of a-z, 0-9 and -, no - at either end); write something like acme-eu",
)
state = _pattern(
    r"[A-Za-z0-9._~-]{1,200}", "1 to 200 of A-Z, a-z, 0-9 and . _ ~ -; write something like your_custom_params"
)
kms_key = _pattern(
    r"projects/[^/\s]+/locations/[^/\s]+/keyRings/[^/\s]+/cryptoKeys/[^/\s]+",
    "a key's full name; write it like projects/my-project/locations/global/keyRings/my-ring/cryptoKeys/my-key",
)
locations = _list(r"[a-z]+-[a-z]+[0-9]+", "regions", "europe-west1")
advertiser_ids = _list(r"[0-9]{1,32}", "ids", "7000000000000000001,7000000000000000002")
scopes = _list(r"[a-z0-9][a-z0-9._-]{0,99}", "scopes", "user.info.basic,video.list")


def number(lowest: float, highest: float, example: float, *, whole: bool = False) -> Callable[[str], None]:
    """The check of a number, bounds included; `example` is for the sentence about one that is not valid."""

    def check(value: str) -> None:
        try:
            found = float(value)
        except ValueError:
            found = math.nan
        if not lowest <= found <= highest or (whole and found != int(found)):
            kind = "a whole number" if whole else "a number"
            raise Invalid(
                f"is {value[:40]!r}, not {kind} from {lowest:g} to {highest:g}; write for example {example:g}"
            )

    return check


def emulator_host(value: str) -> None:
    """Where an emulator listens."""
    _host_and_port(value)
    if not 1 <= int(value.rpartition(":")[2]) <= 65_535:
        raise Invalid(f"is {value[:80]!r}, whose port is not from 1 to 65535; write something like 127.0.0.1:8085")


def labels(value: str) -> dict[str, str]:
    """Labels of the operator's own, as `client=x,team=y`; returns them by key."""
    example = "write them like client=acme,team=media, with a-z, 0-9, - and _"
    pairs = [part.strip().partition("=") for part in value.split(",") if part.strip()]
    for key, equals, text in pairs:
        if not equals or not LABEL_KEY.fullmatch(key) or not LABEL_VALUE.fullmatch(text):
            raise Invalid(f"is {value[:80]!r}, not a list of labels; {example}")
        if key in OWN_LABELS:
            raise Invalid(f"sets the label {key}, which the token keeper uses itself; {example}")
    if len(pairs) > MOST_LABELS:
        raise Invalid(f"has {len(pairs)} labels, more than {MOST_LABELS}; {example}")
    return {key: text for key, _, text in pairs}


def app_secret(value: str) -> None:
    """The developer app's secret; its value is in no message."""
    if not value:
        raise Invalid(
            "is missing; set it to the Secret that the app's page in TikTok's portal shows, 40 letters and digits"
        )
    if not value.isascii() or not value.isprintable() or " " in value or len(value) > 256:
        raise Invalid(
            "has spaces, line breaks or other characters that no app secret has; copy the Secret from the app's page "
            "in TikTok's portal again, 40 letters and digits"
        )


def link_keys(value: str) -> None:
    """Signing keys, separated by white space; their values are in no message."""
    keys = value.split()
    if not keys:
        raise Invalid(
            f"is missing; set one random key of at least {SHORTEST_KEY} characters, as `openssl rand -hex 32` makes it"
        )
    for number, key in enumerate(keys, 1):
        if len(key) < SHORTEST_KEY:
            raise Invalid(
                f"has {len(key)} characters in key {number} of {len(keys)}, fewer than {SHORTEST_KEY}; make a key with "
                "`openssl rand -hex 32`"
            )


def public_url(value: str) -> None:
    """The function's address as it is registered with TikTok, and as people reach it."""
    example = "write the function's address as it is registered with TikTok, like https://example.com/connect"
    if not value:
        raise Invalid(f"is missing; {example}")
    parts = _web_address(value, example)
    if len(value) > LONGEST_PUBLIC_URL:
        raise Invalid(
            f"has {len(value)} characters, and the field in TikTok's portal takes {LONGEST_PUBLIC_URL}; use a shorter "
            "address, like https://example.com/connect"
        )
    if value.endswith("/"):
        raise Invalid(f"ends with a slash; {example}")
    if parts.scheme == "http" and parts.hostname not in {"localhost", "127.0.0.1", "::1"}:
        raise Invalid(f"begins with http:, which is only for localhost, 127.0.0.1 and [::1]; {example}")


def unfit_for_accounts(value: str) -> str:
    """Why TikTok would refuse an address as *TikTok account holder redirect URL*; empty: it would not.

    Source: TikTok's rules for that field: https, no port, 10 to 512 characters.
    """
    parts = urlsplit(value)
    if parts.scheme != "https":
        return f"{value} begins with {parts.scheme}:, and TikTok takes only https for TikTok accounts"
    if parts.port is not None:
        return f"{value} names a port, and TikTok takes none for TikTok accounts"
    return ""


def address(value: str) -> None:
    """An address of TikTok's: https, or plain http to this machine."""
    example = f"write an address like {API_URL}"
    parts = _web_address(value, example)
    if parts.scheme == "http" and not is_this_machine(parts.hostname or ""):
        raise Invalid(f"begins with http: and names another machine, which would read every secret; {example}")


def _web_address(value: str, example: str) -> SplitResult:
    try:
        parts = urlsplit(value)
        port_is_fine = parts.port != 0
    except ValueError:
        raise Invalid(f"is not a web address; {example}") from None
    if not value.startswith(("https://", "http://")) or not parts.hostname or not port_is_fine:
        raise Invalid(f"is not an address that begins with https://; {example}")
    if parts.username is not None or parts.password is not None:
        raise Invalid(f"has a user name or password in it; {example}")
    if "?" in value or "#" in value:
        raise Invalid(f"has a query or a fragment; {example}")
    if not value.isascii() or not value.isprintable() or set(value) & set(" \"'<>\\;,"):
        raise Invalid(f"has characters that no address has; {example}")
    return parts


def is_this_machine(host: str) -> bool:
    """Whether a host's name is one of this machine's: `localhost`, `*.localhost`, 127.0.0.0/8, `[::1]`."""
    host = host.strip("[]").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
