"""Errors as Secret Manager's REST API sends them: ``{"error": {"code", "message", "status", "details"?}}``.

The texts are Google's where public bug reports quote them, and worded alike where none does.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

HTTP_STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""HTTP status of each canonical code (google.rpc.Code) that this server sends."""

_USUAL = {
    400: ("INVALID_ARGUMENT", "Request contains an invalid argument."),
    401: ("UNAUTHENTICATED", "Request had invalid authentication credentials."),
    403: ("PERMISSION_DENIED", "The caller does not have permission"),
    404: ("NOT_FOUND", "Requested entity was not found."),
    409: ("ABORTED", "The operation was aborted."),
    429: ("RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
    500: ("INTERNAL", "Internal error encountered."),
    503: ("UNAVAILABLE", "The service is currently unavailable."),
    504: ("DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
}
_NOTHING: Mapping[str, str] = MappingProxyType({})


class ApiError(Exception):
    """An answer that is an error.

    Attributes:
        status: The canonical code's name, such as ``FAILED_PRECONDITION``.
        message: What is wrong; never a payload.
        reason: Of google.rpc.ErrorInfo, such as ``SERVICE_DISABLED``; "" for an error without one.
        metadata: Of the same.
        domain: Of the same.
    """

    def __init__(
        self,
        status: str,
        message: str,
        *,
        reason: str = "",
        metadata: Mapping[str, str] = _NOTHING,
        domain: str = "googleapis.com",
    ) -> None:
        super().__init__(message)
        self.status, self.message = status, message
        self.reason, self.metadata, self.domain = reason, metadata, domain

    @property
    def code(self) -> int:
        """The HTTP status."""
        return HTTP_STATUS[self.status]

    @property
    def body(self) -> dict[str, Any]:
        """The answer's body."""
        error: dict[str, Any] = {"code": self.code, "message": self.message, "status": self.status}
        if self.reason:
            error["details"] = [
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": self.reason,
                    "domain": self.domain,
                    "metadata": dict(self.metadata),
                }
            ]
        return {"error": error}


def usual_body(code: int) -> dict[str, Any]:
    """The body that Google's front end sends with an HTTP status when nothing more is to be said."""
    status, message = _USUAL.get(code, ("UNKNOWN", "Unknown Error."))
    return {"error": {"code": code, "message": message, "status": status}}


def invalid(message: str) -> ApiError:
    """INVALID_ARGUMENT."""
    return ApiError("INVALID_ARGUMENT", message)


def stale_etag(given: str, current: str) -> ApiError:
    """FAILED_PRECONDITION of a compare-and-set that came too late."""
    return ApiError("FAILED_PRECONDITION", f"The etag provided [{given}] does not match the current etag [{current}].")


def secret_missing(name: str) -> ApiError:
    """NOT_FOUND of a secret."""
    return ApiError("NOT_FOUND", f"Secret [{name}] not found.")


def nothing_to_read(name: str) -> ApiError:
    """NOT_FOUND of ``latest``, and of any version of a secret that is not there."""
    return ApiError("NOT_FOUND", f"Secret [{name}] not found or has no versions.")


def version_missing(name: str) -> ApiError:
    """NOT_FOUND of one version."""
    return ApiError("NOT_FOUND", f"Secret Version [{name}] not found.")


def wrong_state(name: str, state: str) -> ApiError:
    """FAILED_PRECONDITION of a version that is not in a state for what was asked."""
    return ApiError("FAILED_PRECONDITION", f"Secret Version [{name}] is in {state} state.")


def denied(permission: str, resource: str) -> ApiError:
    """PERMISSION_DENIED as IAM words it."""
    return ApiError(
        "PERMISSION_DENIED",
        f"Permission '{permission}' denied for resource '{resource}' (or it may not exist).",
        reason="IAM_PERMISSION_DENIED",
        domain="secretmanager.googleapis.com",
        metadata={"permission": permission, "resource": resource},
    )


def exhausted(metric: str, limit: str, consumer: str) -> ApiError:
    """RESOURCE_EXHAUSTED of a quota."""
    service = "secretmanager.googleapis.com"
    return ApiError(
        "RESOURCE_EXHAUSTED",
        f"Quota exceeded for quota metric '{metric}' and limit '{limit}' of service '{service}' for consumer "
        f"'{consumer}'.",
        reason="RATE_LIMIT_EXCEEDED",
        metadata={"service": service, "consumer": consumer, "quota_limit": limit},
    )
