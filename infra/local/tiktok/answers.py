"""What an answer of TikTok's API looks like: the envelope and the refusals.

The envelope and the codes are those of TikTok's page "Return codes". Where public copies of recorded answers have the
wording of a message it is used as it stands.
"""

import secrets
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

MESSAGES: Mapping[int, str] = MappingProxyType(
    {
        40001: "No permission to operate. Please check the permissions granted to the app.",
        40002: "Param error.",
        40101: "Invalid App ID or secret.",
        40102: "Access token has expired.",
        40103: "Refresh token has expired.",
        40104: "Access token is empty.",
        40105: "Access token is incorrect or has been revoked.",
        40107: "Refresh token is invalid.",
        40108: "Grant type is invalid.",
        40110: "Auth_code is used, cancelled or expired.",
        40113: "The app is blocked.",
        40115: "Auth_code does not fit this endpoint.",
        40130: "A scope that this needs was not granted.",
        40131: "The authorization code or the token is invalid or has expired.",
    }
)
"""The codes with which the simulation refuses, with their messages."""


class Refusal(Exception):
    """TikTok's "no": an HTTP 200 whose ``code`` is not 0.

    Attributes:
        code: TikTok's code, a key of `MESSAGES` or any other number.
        message: what TikTok says about it.
    """

    def __init__(self, code: int, message: str = "") -> None:
        self.code = code
        self.message = message or MESSAGES.get(code, "Error.")
        super().__init__(f"{self.code} {self.message}")


def request_id() -> str:
    """A request id in TikTok's form: the time in UTC to the second, then twenty hexadecimal digits in upper case."""
    return time.strftime("%Y%m%d%H%M%S", time.gmtime()) + secrets.token_hex(10).upper()


def envelope(data: object, code: int = 0, message: str = "OK") -> dict[str, Any]:
    """The object that every answer of the API is wrapped in."""
    return {"code": code, "message": message, "request_id": request_id(), "data": data}


def refused(code: int, message: str = "") -> dict[str, Any]:
    """The envelope of a refusal, with TikTok's own message unless another is given."""
    return envelope({}, code, message or MESSAGES.get(code, "Error."))
