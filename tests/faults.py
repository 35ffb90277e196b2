"""What a test has Google answer instead of what a call brings."""

from collections.abc import Mapping

from emulators.secret_manager import ApiError
from emulators.serving import Fault


def google_error(
    status: str,
    message: str,
    *,
    reason: str = "",
    metadata: Mapping[str, str] | None = None,
    call: str = "*",
    times: int | None = 1,
) -> Fault:
    """Google's refusal of a call, with the canonical code and, in google.rpc.ErrorInfo, the details that say why."""
    error = ApiError(status, message, reason=reason, metadata=metadata)
    return Fault(call, times=times, status=error.code, body=error.body)
