"""The JSON of Secret Manager's REST API: what is sent, and what the answers hold.

What a function that reads an answer raises (`KeyError`, `TypeError`, `ValueError`) means that it is not Google's.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import google_crc32c

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """A secret without its versions.

    Attributes:
        id: The last part of its name.
        labels: Its labels.
        annotations: Its annotations.
        etag: Proof of having seen this state, for the next change.
    """

    id: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    etag: str


@dataclass(frozen=True, slots=True)
class Version:
    """A version that was read, with its number."""

    number: int
    payload: bytes

    def __repr__(self) -> str:
        return f"Version({self.number}, …)"


def replication(locations: Sequence[str], kms_key: str) -> Document:
    """Where new secrets are kept, and with which key.

    Args:
        locations: Regions; none: Google chooses.
        kms_key: Full name of a key; empty: Google's own.
    """
    key = {"customerManagedEncryption": {"kmsKeyName": kms_key}} if kms_key else {}
    if not locations:
        return {"automatic": key}
    return {"userManaged": {"replicas": [{"location": location, **key} for location in locations]}}


def payload(content: bytes) -> Document:
    """A version's content, with its checksum."""
    return {"data": base64.b64encode(content).decode(), "dataCrc32c": str(google_crc32c.value(content))}


def secret(document: Document) -> StoredSecret:
    """A secret; one without an etag is none, since a change without would be unconditional."""
    if not document["etag"]:
        raise ValueError
    labels, annotations = dict(document.get("labels", {})), dict(document.get("annotations", {}))
    return StoredSecret(_last_part(document["name"]), labels, annotations, document["etag"])


def version(document: Document) -> Version:
    """A version with its content, which has to fit its checksum."""
    found = document["payload"]
    content = base64.b64decode(found.get("data", ""))
    if "dataCrc32c" in found and int(found["dataCrc32c"]) != google_crc32c.value(content):
        raise ValueError
    return Version(number(document), content)


def number(document: Document) -> int:
    """The number in a version's full name."""
    return int(_last_part(document["name"]))


def permissions(document: Document) -> frozenset[str]:
    """The permissions that the caller has."""
    return frozenset(document.get("permissions", ()))


def nothing(_: Document) -> None:
    """What a deleted secret or a destroyed version leaves."""


def _last_part(name: str) -> str:
    return name.rpartition("/")[2]
