"""Reads what requests hold: JSON bodies and payloads."""

from __future__ import annotations

import base64
import json
from typing import Any

from local.secret_manager.errors import invalid


def parse_body(body: bytes) -> dict[str, Any]:
    """A request's JSON object; empty stands for an empty message.

    Raises:
        ApiError: INVALID_ARGUMENT, where it is none.
    """
    try:
        value = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise invalid("Invalid JSON payload received. Unexpected token.")
    return value


def parse_payload(message: dict[str, Any]) -> tuple[bytes, int | None]:
    """The payload of a new version, and its checksum where one is given.

    Raises:
        ApiError: INVALID_ARGUMENT, without repeating the payload.
    """
    payload = message.get("payload", {})
    try:
        data = base64.b64decode(payload.get("data", "").replace("-", "+").replace("_", "/"), validate=True)
        checksum = payload.get("dataCrc32c")
        return data, None if checksum is None else int(checksum)
    except (AttributeError, TypeError, ValueError):
        raise invalid("Invalid value at 'payload' (SecretPayload).") from None
