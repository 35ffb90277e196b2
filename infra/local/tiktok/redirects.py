"""Which redirect URLs are taken: what the forms at TikTok would take, and this machine."""

import re
from urllib.parse import SplitResult, urlencode, urlsplit

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def for_advertisers(redirect_uri: str) -> bool:
    """Whether an advertiser is redirected there: https, or this machine."""
    return _parts(redirect_uri) is not None


def for_accounts(redirect_uri: str) -> bool:
    """Whether an account holder is redirected there.

    TikTok's form takes https without port, query or fragment, of 10 to 512 characters, with a slash at the end. This
    machine is accepted beside that, with a port too.
    """
    parts = _parts(redirect_uri)
    return (
        parts is not None
        and 10 <= len(redirect_uri) <= 512
        and redirect_uri.endswith("/")
        and not parts.query
        and (parts.hostname in LOOPBACK or ":" not in parts.netloc)
    )


def with_answer(redirect_uri: str, answer: dict[str, str]) -> str:
    """The redirect URL with the answer."""
    return f"{redirect_uri}{'&' if urlsplit(redirect_uri).query else '?'}{urlencode(answer)}"


def _parts(redirect_uri: str) -> SplitResult | None:
    """The parts of an address that is https or of this machine, None for any other."""
    if not re.fullmatch(r"https?://[!-~]+", redirect_uri) or "#" in redirect_uri:
        return None
    try:
        parts = urlsplit(redirect_uri)
    except ValueError:
        return None
    return parts if parts.hostname and (parts.scheme == "https" or parts.hostname in LOOPBACK) else None
