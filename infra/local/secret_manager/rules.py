"""The limits of a secret's fields, those of the reference page of the ``Secret`` message."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from local.secret_manager.errors import invalid

SECRET_ID = re.compile(r"[a-zA-Z0-9_-]{1,255}")
PAYLOAD_LIMIT = 65536
"""Bytes of a payload at most."""
ANNOTATIONS_LIMIT = 16384
"""All keys and values of a secret's annotations together stay under so many bytes."""
LABELS_MAX = 64

_ANNOTATION_KEY = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9._-]{0,61}[a-zA-Z0-9])?")
_KMS_KEY = re.compile(r"projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+")


def check_secret(fields: Mapping[str, Any]) -> None:
    """Raises INVALID_ARGUMENT where a secret's fields, as they would be stored, are over a limit."""
    _check_labels(fields.get("labels", {}))
    _check_annotations(fields.get("annotations", {}))
    _check_replication(fields.get("replication", {}))


def _check_labels(labels: Mapping[str, str]) -> None:
    if len(labels) > LABELS_MAX:
        raise invalid(f"No more than {LABELS_MAX} labels can be assigned to a secret.")
    for key, value in labels.items():
        if not (key and _is_label_text(key) and unicodedata.category(key[0]) in ("Ll", "Lo")):
            raise invalid(
                f"Label key [{key[:80]}] does not match [\\p{{Ll}}\\p{{Lo}}][\\p{{Ll}}\\p{{Lo}}\\p{{N}}_-]{{0,62}}."
            )
        if not _is_label_text(value):
            raise invalid(f"The value of label [{key}] does not match [\\p{{Ll}}\\p{{Lo}}\\p{{N}}_-]{{0,63}}.")


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
                "and hold only alphanumerics, dashes, underscores and dots between."
            )
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) >= ANNOTATIONS_LIMIT:
        raise invalid("The total size of annotation keys and values must be less than 16KiB.")


def _check_replication(replication: Mapping[str, Any]) -> None:
    if len(replication) != 1:
        raise invalid("Secret.replication must be set to exactly one of automatic and user_managed.")
    if "automatic" in replication:
        places = [{"location": "global", **replication["automatic"]}]
    else:
        places = replication["userManaged"].get("replicas", [])
    if not places or not all(place.get("location") for place in places):
        raise invalid("A user-managed replication must have at least one replica, each with a location.")
    for place in places:
        key = place.get("customerManagedEncryption", {}).get("kmsKeyName")
        if key is not None and not _KMS_KEY.fullmatch(key):
            raise invalid(
                f"KMS key name [{key[:80]}] is not of the form projects/*/locations/*/keyRings/*/cryptoKeys/*."
            )
