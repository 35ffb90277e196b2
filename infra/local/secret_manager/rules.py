"""The limits of a secret's fields, those of the reference page of the ``Secret`` message."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from local.secret_manager.errors import invalid

SECRET_ID = re.compile(r"[a-zA-Z0-9_-]{1,255}")
PAYLOAD_LIMIT = 65536
"""Bytes of a payload at most."""
ANNOTATIONS_LIMIT = 16384
"""All keys and values of a secret's annotations together stay under so many bytes."""
LABELS_MAX = 64

_LABEL = re.compile(r"[\w-]{0,63}")
_ANNOTATION_KEY = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9._-]{0,61}[a-zA-Z0-9])?")


def check_secret(fields: Mapping[str, Any]) -> None:
    """Raises INVALID_ARGUMENT where a secret's fields, as they would be stored, are over a limit."""
    labels, annotations = fields.get("labels", {}), fields.get("annotations", {})
    if len(labels) > LABELS_MAX:
        raise invalid(f"No more than {LABELS_MAX} labels can be assigned to a secret.")
    for key, value in labels.items():
        if not (key[:1].isalpha() and _is_label_text(key)):
            raise invalid(
                f"Label key [{key[:80]}] does not match [\\p{{Ll}}\\p{{Lo}}][\\p{{Ll}}\\p{{Lo}}\\p{{N}}_-]{{0,62}}."
            )
        if not _is_label_text(value):
            raise invalid(f"The value of label [{key}] does not match [\\p{{Ll}}\\p{{Lo}}\\p{{N}}_-]{{0,63}}.")
    for key in annotations:
        if not _ANNOTATION_KEY.fullmatch(key):
            raise invalid(
                f"Annotation key [{key[:80]}] must have 1 to 63 characters, begin and end with an alphanumeric, "
                "and hold only alphanumerics, dashes, underscores and dots between."
            )
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) >= ANNOTATIONS_LIMIT:
        raise invalid("The total size of annotation keys and values must be less than 16KiB.")
    if len(fields.get("replication", {})) != 1:
        raise invalid("Secret.replication must be set to exactly one of automatic and user_managed.")


def _is_label_text(text: str) -> bool:
    """Whether it holds only letters of any script without capitals, digits, dashes and underscores."""
    return text == text.lower() and _LABEL.fullmatch(text) is not None
