"""What a request may say: the JSON shapes of those of Secret Manager's v1 messages that are embedded.

Unknown names and wrong types are refused as Google's JSON transcoder refuses them. Fields of the API that nothing here
needs (time to live, rotation, aliases and the like) are unknown.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from local.secret_manager.errors import invalid

_SNAKE = re.compile(r"_([a-z0-9])")


@dataclass(frozen=True)
class MapOf:
    """A JSON object with any keys and values of one kind."""

    value: str


Shape = str | MapOf | list[Any] | dict[str, Any]

_KEY: Shape = {"kmsKeyName": "string"}
SECRET: Shape = {
    "name": "string",
    "etag": "string",
    "createTime": "string",
    "labels": MapOf("string"),
    "annotations": MapOf("string"),
    "topics": [{"name": "string"}],
    "versionAliases": MapOf("int64"),  # gcloud sends it, empty, with every update; there are none here
    "replication": {
        "automatic": {"customerManagedEncryption": _KEY},
        "userManaged": {"replicas": [{"location": "string", "customerManagedEncryption": _KEY}]},
    },
}
ADD_VERSION: Shape = {"parent": "string", "payload": {"data": "bytes", "dataCrc32c": "int64"}}
CHANGE_VERSION: Shape = {"name": "string", "etag": "string"}
TEST_PERMISSIONS: Shape = {"resource": "string", "permissions": ["string"]}
SET_POLICY: Shape = {
    "resource": "string",
    "updateMask": "string",
    "policy": {
        "version": "int32",
        "etag": "string",
        "bindings": [{"role": "string", "members": ["string"], "condition": MapOf("string")}],
    },
}


def camel(name: str) -> str:
    """``update_mask`` as ``updateMask``; the API takes both."""
    return _SNAKE.sub(lambda match: match[1].upper(), name)


def parse_body(body: bytes, shape: Shape, path: str = "") -> dict[str, Any]:
    """A request's JSON in its normal form: names in camel case, int64 as int, bytes decoded, nulls left out.

    Args:
        body: As received; empty stands for an empty message.
        shape: What it may hold.
        path: What the errors call the message: ``secret``, or "" where the body is the whole request.

    Raises:
        ApiError: INVALID_ARGUMENT, in Google's words.
    """
    try:
        text = body.decode() or "{}"
        value = json.loads(text)
        if "\\u" in text:
            # Half a surrogate pair is no text: nothing could store or send it.
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise invalid("Invalid JSON payload received. Unexpected token.") from None
    parsed = _parse(value, shape, path or "request")
    assert isinstance(parsed, dict)
    return parsed


def _parse(value: Any, shape: Shape, path: str) -> Any:
    match shape:
        case str():
            return _scalar(value, shape, path)
        case MapOf(kind):
            _expect(isinstance(value, dict), "Map", value, path)
            return {key: _scalar(item, kind, f"{path}[{key}]") for key, item in value.items()}
        case [inner]:
            _expect(isinstance(value, list), "List", value, path)
            return [_parse(item, inner, f"{path}[{index}]") for index, item in enumerate(value)]
        case dict():
            _expect(isinstance(value, dict), "Message", value, path)
            message = {}
            for key, item in value.items():
                name = camel(key)
                if name not in shape:
                    raise invalid(
                        f"Invalid JSON payload received. Unknown name \"{key[:80]}\" at '{path}': Cannot find field."
                    )
                if item is not None:
                    message[name] = _parse(item, shape[name], f"{path}.{name}")
            return message
        case _:
            raise AssertionError(shape)


def _scalar(value: Any, kind: str, path: str) -> Any:
    match kind:
        case "int32" | "int64":
            number = int(value) if isinstance(value, str) and re.fullmatch(r"-?\d{1,19}", value) else value
            _expect(isinstance(number, int) and not isinstance(number, bool), f"TYPE_{kind.upper()}", value, path)
            return number
        case "bytes":
            _expect(isinstance(value, str), "TYPE_BYTES", value, path)
            return _decode(value, path)
        case _:
            _expect(isinstance(value, str), "TYPE_STRING", value, path)
            return value


def _expect(fine: bool, kind: str, value: Any, path: str) -> None:  # noqa: FBT001
    if not fine:
        text = json.dumps(value)
        shown = text if len(text) <= 40 else text[:20] + "..."  # a payload is never shown in full
        raise invalid(f"Invalid value at '{path}' ({kind}), {shown}")


def _decode(value: str, path: str) -> bytes:
    plain = value.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except binascii.Error:
        raise invalid(f"Invalid value at '{path}' (TYPE_BYTES), Base64 decoding failed") from None


def time_of(micros: int) -> str:
    """Microseconds since the epoch as a JSON timestamp."""
    return datetime.fromtimestamp(micros // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{micros % 1_000_000:06}Z"
