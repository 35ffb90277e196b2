"""What an answer of TikTok's API looks like: the envelope, the refusals, and the ways in which it is no answer at all.

The envelope and the codes are those of TikTok's page "Return codes". Where public copies of recorded answers have the
wording of a message it is used as it stands.
"""

import secrets
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from local.serving import Fault

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


def huge(call: str = "*", *, size: int = 10 * 1024 * 1024, times: int | None = 1) -> Fault:
    """Valid JSON of `size` bytes and a few more, most of it padding in the message."""
    return Fault(call, times=times, status=200, body=envelope({}, message="x" * size))


def truncated(call: str = "*", *, times: int | None = 1) -> Fault:
    """An answer whose connection is closed in the middle of the body, after the call took effect."""
    return Fault(call, times=times, when="after", do="truncate", status=200)


def drip(call: str = "*", *, seconds: float, times: int | None = 1) -> Fault:
    """An answer that arrives byte by byte over `seconds` seconds, after the call took effect."""
    return Fault(call, times=times, when="after", do="drip", status=200, seconds=seconds)


def redirect(location: str, call: str = "*", *, status: int = 302, times: int | None = 1) -> Fault:
    """A redirect to another address, which a client that holds secrets must not follow."""
    return Fault(call, times=times, status=status, body=b"", headers={"Location": location})


def null_data(call: str = "*", *, times: int | None = 1) -> Fault:
    """Success with ``data`` null."""
    return Fault(call, times=times, status=200, body=envelope(None))


def wrong_types(call: str = "*", *, times: int | None = 1) -> Fault:
    """Success whose every field has another type than it should have."""
    data = {
        "access_token": 12345,
        "refresh_token": ["not", "a", "string"],
        "advertiser_ids": "7000000000000000001",
        "scope": {"4": True},
        "expires_in": [86400],
        "refresh_token_expires_in": {},
        "list": "none",
    }
    return Fault(call, times=times, status=200, body=envelope(data))


def without_token(call: str = "*", *, times: int | None = 1) -> Fault:
    """Success that holds everything but a token."""
    data = {"advertiser_ids": ["7000000000000000001"], "scope": [4, 10, 200]}
    return Fault(call, times=times, status=200, body=envelope(data))
