"""Answers that are none: what a test has TikTok or Google send instead of what a call brings.

A builder gives a `Fault` for ``add_fault``; `call` is the name of a call or a pattern, `times` None for all calls.
"""

from __future__ import annotations

from collections.abc import Mapping

from emulators.secret_manager import ApiError
from emulators.serving import Fault


def google_error(
    status: str,
    message: str,
    *,
    reason: str = "",
    metadata: Mapping[str, str] | None = None,
    domain: str = "googleapis.com",
    call: str = "*",
    resource: str = "",
    times: int | None = 1,
) -> Fault:
    """Google's refusal of a call, with the details that say why.

    Args:
        status: The canonical code, such as ``PERMISSION_DENIED``; the HTTP status follows from it.
        message: Google's sentence.
        reason: Of google.rpc.ErrorInfo, such as ``SERVICE_DISABLED``; "" for an error without details.
        metadata: Of the same.
        domain: Of the same.
        call: Name of a call of Secret Manager's, or a pattern.
        resource: Regular expression searched for in the resource's name.
        times: How many calls; None for all.
    """
    error = ApiError(status, message, reason=reason, metadata=metadata or {}, domain=domain)
    return Fault(call, resource, times=times, status=error.code, body=error.body)


def not_json(call: str = "*", *, times: int | None = 1) -> Fault:
    """HTTP 200 with plain text where JSON is expected."""
    return Fault(call, times=times, status=200, body=b"upstream connect error", content_type="text/plain")


def empty(call: str = "*", *, status: int = 200, times: int | None = 1) -> Fault:
    """An answer without a body."""
    return Fault(call, times=times, status=status, body=b"")


def html(call: str = "*", *, status: int = 502, times: int | None = 1) -> Fault:
    """A gateway's error page."""
    page = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
    return Fault(call, times=times, status=status, body=page, content_type="text/html")


def truncated(call: str = "*", *, times: int | None = 1) -> Fault:
    """An answer whose connection is closed in the middle of the body, after the call took effect."""
    return Fault(call, times=times, when="after", do="truncate", status=200)


def drip(call: str = "*", *, seconds: float, times: int | None = 1) -> Fault:
    """An answer that arrives byte by byte over `seconds` seconds, after the call took effect."""
    return Fault(call, times=times, when="after", do="drip", status=200, seconds=seconds)


def redirect(location: str, call: str = "*", *, status: int = 302, times: int | None = 1) -> Fault:
    """A redirect to another address, which a client that holds secrets must not follow."""
    return Fault(call, times=times, status=status, body=b"", headers={"Location": location})
