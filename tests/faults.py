"""What a test has Google answer instead of what a call brings."""

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
