"""What a request may say: the JSON shapes of Secret Manager's v1 messages and the rules for a secret's fields.

Unknown names and wrong types are refused as Google's JSON transcoder refuses them. Limits are those of the ``Secret``
message's reference page.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from local.secret_manager.errors import invalid

SECRET_ID = re.compile(r"[a-zA-Z0-9_-]{1,255}")
PAYLOAD_LIMIT = 65536
"""Bytes of a payload at most."""
ANNOTATIONS_LIMIT = 16384
"""All keys and values of a secret's annotations together stay under so many bytes."""
DESTROY_TTL_SECONDS = (86_400, 86_400_000)
"""How long the destruction of a version may be postponed, at least and at most."""
LABELS_MAX, ALIASES_MAX, TOPICS_MAX = 64, 50, 10

_ALIAS = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]{0,62}")
_ANNOTATION_KEY = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9._-]{0,61}[a-zA-Z0-9])?")
_TOPIC = re.compile(r"projects/[^/]+/topics/[^/]+")
_KMS_KEY = re.compile(r"projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+")
_DURATION = re.compile(r"-?\d+(\.\d{1,9})?s")
_SNAKE = re.compile(r"_([a-z0-9])")


@dataclass(frozen=True)
class MapOf:
    """A JSON object with any keys and values of one kind."""

    value: str


Shape = str | MapOf | list[Any] | dict[str, Any]

_CMEK: Shape = {"kmsKeyName": "string"}
SECRET: Shape = {
    "name": "string",
    "replication": {
        "automatic": {"customerManagedEncryption": _CMEK},
        "userManaged": {"replicas": [{"location": "string", "customerManagedEncryption": _CMEK}]},
    },
    "createTime": "timestamp",
    "labels": MapOf("string"),
    "topics": [{"name": "string"}],
    "expireTime": "timestamp",
    "ttl": "duration",
    "etag": "string",
    "rotation": {"nextRotationTime": "timestamp", "rotationPeriod": "duration"},
    "versionAliases": MapOf("int64"),
    "annotations": MapOf("string"),
    "versionDestroyTtl": "duration",
    "customerManagedEncryption": _CMEK,
    "tags": MapOf("string"),
}
ADD_VERSION: Shape = {"parent": "string", "payload": {"data": "bytes", "dataCrc32c": "int64"}}
CHANGE_VERSION: Shape = {"name": "string", "etag": "string"}
TEST_PERMISSIONS: Shape = {"resource": "string", "permissions": ["string"]}
_EXPRESSION: Shape = {"expression": "string", "title": "string", "description": "string", "location": "string"}
SET_POLICY: Shape = {
    "resource": "string",
    "updateMask": "string",
    "policy": {
        "version": "int32",
        "etag": "string",
        "bindings": [{"role": "string", "members": ["string"], "condition": _EXPRESSION}],
        "auditConfigs": [
            {"service": "string", "auditLogConfigs": [{"logType": "string", "exemptedMembers": ["string"]}]}
        ],
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
    if not isinstance(value, dict):
        raise invalid(f"Invalid value at '{path or 'request'}' (Message), {_shown(value)}", path)
    parsed = _parse(value, shape, path)
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
                    where = f" at '{path}'" if path else ""
                    raise invalid(
                        f'Invalid JSON payload received. Unknown name "{key}"{where}: Cannot find field.', path
                    )
                if item is not None:
                    message[name] = _parse(item, shape[name], f"{path}.{name}" if path else name)
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
        case "timestamp":
            _expect(isinstance(value, str) and _is_time(value), "google.protobuf.Timestamp", value, path)
        case "duration":
            fine = isinstance(value, str) and _DURATION.fullmatch(value) is not None
            _expect(fine, "google.protobuf.Duration", value, path)
        case _:
            _expect(isinstance(value, str), "TYPE_STRING", value, path)
    return value


def _expect(fine: bool, kind: str, value: Any, path: str) -> None:  # noqa: FBT001
    if not fine:
        raise invalid(f"Invalid value at '{path}' ({kind}), {_shown(value)}", path)


def _shown(value: Any) -> str:
    """A value for an error's text: short, and never a long one in full."""
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:20] + "..."


def _decode(value: str, path: str) -> bytes:
    plain = value.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except binascii.Error:
        raise invalid(f"Invalid value at '{path}' (TYPE_BYTES), Base64 decoding failed", path) from None


def _is_time(value: str) -> bool:
    try:
        return value.endswith("Z") and micros_of(value) is not None
    except ValueError:
        return False


def micros_of(time: str) -> int:
    """A JSON timestamp in microseconds since the epoch."""
    whole, _, fraction = time.rstrip("Z").partition(".")
    seconds = int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp())
    return seconds * 1_000_000 + int((fraction + "000000")[:6])


def time_of(micros: int) -> str:
    """Microseconds since the epoch as a JSON timestamp."""
    return datetime.fromtimestamp(micros // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{micros % 1_000_000:06}Z"


def seconds_of(duration: str) -> float:
    """A JSON duration such as ``3600s`` in seconds."""
    return float(duration.removesuffix("s"))


def check_secret(fields: Mapping[str, Any], versions: set[int], now: int) -> None:
    """Holds a secret's fields against the API's limits.

    Args:
        fields: The secret as it would be stored.
        versions: Numbers that its aliases may point to.
        now: Microseconds since the epoch.

    Raises:
        ApiError: INVALID_ARGUMENT naming the field.
    """
    _check_labels(fields.get("labels", {}))
    _check_annotations(fields.get("annotations", {}))
    _check_aliases(fields.get("versionAliases", {}), versions)
    _check_replication(fields.get("replication", {}))
    topics = fields.get("topics", [])
    if len(topics) > TOPICS_MAX or not all(_TOPIC.fullmatch(topic.get("name", "")) for topic in topics):
        raise invalid(
            f"Secret.topics must be at most {TOPICS_MAX} names of the form projects/*/topics/*.", "secret.topics"
        )
    if "rotation" in fields and not topics:
        raise invalid("Secret.topics must be set to use Secret.rotation.", "secret.rotation")
    low, high = DESTROY_TTL_SECONDS
    if "versionDestroyTtl" in fields and not low <= seconds_of(fields["versionDestroyTtl"]) <= high:
        raise invalid("Secret.version_destroy_ttl must be 24 hours to 1000 days.", "secret.version_destroy_ttl")
    if "expireTime" in fields and micros_of(fields["expireTime"]) <= now:
        raise invalid("Secret.expire_time must be in the future.", "secret.expire_time")


def _check_labels(labels: Mapping[str, str]) -> None:
    if len(labels) > LABELS_MAX:
        raise invalid(f"No more than {LABELS_MAX} labels can be assigned to a secret.", "secret.labels")
    for key, value in labels.items():
        if not (key and _is_label_text(key) and unicodedata.category(key[0]) in ("Ll", "Lo")):
            raise invalid(
                f"Label key [{key[:80]}] does not match [\\p{{Ll}}\\p{{Lo}}][\\p{{Ll}}\\p{{Lo}}\\p{{N}}_-]{{0,62}}.",
                "secret.labels",
            )
        if not _is_label_text(value):
            raise invalid(
                f"The value of label [{key}] does not match [\\p{{Ll}}\\p{{Lo}}\\p{{N}}_-]{{0,63}}.", "secret.labels"
            )


def _is_label_text(text: str) -> bool:
    return (
        len(text) <= 63
        and len(text.encode()) <= 128
        and all(c in "_-" or unicodedata.category(c) in ("Ll", "Lo", "Nd", "Nl", "No") for c in text)
    )


def _check_annotations(annotations: Mapping[str, str]) -> None:
    for key in annotations:
        if not _ANNOTATION_KEY.fullmatch(key):
            raise invalid(
                f"Annotation key [{key[:80]}] must have 1 to 63 characters, begin and end with an alphanumeric, "
                "and hold only alphanumerics, dashes, underscores and dots between.",
                "secret.annotations",
            )
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) >= ANNOTATIONS_LIMIT:
        raise invalid("The total size of annotation keys and values must be less than 16KiB.", "secret.annotations")


def _check_aliases(aliases: Mapping[str, int], versions: set[int]) -> None:
    if len(aliases) > ALIASES_MAX:
        raise invalid(f"No more than {ALIASES_MAX} aliases can be assigned to a secret.", "secret.version_aliases")
    for alias, number in aliases.items():
        if not _ALIAS.fullmatch(alias) or alias in ("latest", "NEW"):
            raise invalid(f"Version alias [{alias[:80]}] is not valid.", "secret.version_aliases")
        if number not in versions:
            raise invalid(
                f"Version alias [{alias}] names version [{number}], which does not exist.", "secret.version_aliases"
            )


def _check_replication(replication: Mapping[str, Any]) -> None:
    if len(replication) != 1:
        raise invalid(
            "Secret.replication must be set to exactly one of automatic and user_managed.", "secret.replication"
        )
    places = (
        replication["userManaged"].get("replicas", []) if "userManaged" in replication else [replication["automatic"]]
    )
    if not places or ("userManaged" in replication and not all(place.get("location") for place in places)):
        raise invalid(
            "A user-managed replication must have at least one replica, each with a location.", "secret.replication"
        )
    for place in places:
        key = place.get("customerManagedEncryption", {}).get("kmsKeyName")
        if key is not None and not _KMS_KEY.fullmatch(key):
            raise invalid(
                f"KMS key name [{key[:80]}] is not of the form projects/*/locations/*/keyRings/*/cryptoKeys/*.",
                "secret.replication",
            )
