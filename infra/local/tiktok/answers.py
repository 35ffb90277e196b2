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
        -1: "Your country is in the banned Country list.",
        40000: "Invalid parameters.",
        40001: "No permission to operate. Please check the permissions granted to the app.",
        40002: "Param error.",
        40006: "No such path.",
        40016: "Too many requests for this field.",
        40100: "App reaches the QPS limit.",
        40101: "Invalid App ID or secret.",
        40102: "Access token has expired.",
        40103: "Refresh token has expired.",
        40104: "Access token is empty.",
        40105: "Access token is incorrect or has been revoked.",
        40106: "The access token does not belong to this user.",
        40107: "Refresh token is invalid.",
        40108: "Grant type is invalid.",
        40110: "Auth_code is used, cancelled or expired.",
        40113: "The app is blocked.",
        40115: "Auth_code does not fit this endpoint.",
        40118: "The app is not on the allow list.",
        40119: "The developer is not approved.",
        40124: "The app is not approved.",
        40125: "The app has been stopped.",
        40130: "A scope that this needs was not granted.",
        40131: "The authorization code or the token is invalid or has expired.",
        40132: "The advertiser makes too many requests.",
        40133: "App reaches the limit of requests a minute.",
        40202: "Write conflict, please try again.",
        41000: "Requests from your country are not supported.",
        50000: "System error.",
        50002: "Request timed out.",
        51000: "Service error.",
        60001: "Service is under maintenance.",
        61000: "Too many requests, please try again later.",
    }
)
"""Every code of the API's error table that concerns tokens, with its message."""

APP_MISMATCH = "The app_id is inconsistent with the token's app information. Please retry after correcting it."


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
