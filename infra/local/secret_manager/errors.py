"""Errors as Secret Manager's REST API sends them: ``{"error": {"code", "message", "status"}}``.

The texts are Google's where public bug reports quote them, and worded alike where none does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HTTP_STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
}
"""HTTP status of each canonical code (google.rpc.Code) that this server sends."""


class ApiError(Exception):
    """An answer that is an error.

    Attributes:
        status: The canonical code's name, such as ``FAILED_PRECONDITION``.
        message: What is wrong; never a payload.
    """

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message

    @property
    def code(self) -> int:
        """The HTTP status."""
        return HTTP_STATUS[self.status]

    @property
    def body(self) -> Mapping[str, Any]:
        """The answer's body."""
        return {"error": {"code": self.code, "message": self.message, "status": self.status}}


def invalid(message: str) -> ApiError:
    """INVALID_ARGUMENT."""
    return ApiError("INVALID_ARGUMENT", message)


def secret_missing(name: str) -> ApiError:
    """NOT_FOUND of a secret."""
    return ApiError("NOT_FOUND", f"Secret [{name}] not found.")


def nothing_to_read(name: str) -> ApiError:
    """NOT_FOUND of ``latest``, and of any version of a secret that is not there."""
    return ApiError("NOT_FOUND", f"Secret [{name}] not found or has no versions.")


def wrong_state(name: str, state: str) -> ApiError:
    """FAILED_PRECONDITION of a version that is not in a state for what was asked."""
    return ApiError("FAILED_PRECONDITION", f"Secret Version [{name}] is in {state} state.")
