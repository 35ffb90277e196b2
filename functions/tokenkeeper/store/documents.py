"""The JSON of Secret Manager's REST API: what is sent, and what the answers hold.

What a function that reads an answer raises (`KeyError`, `TypeError`, `ValueError`) means that it is not Google's.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import google_crc32c

from tokenkeeper.store.versions import Version

Document = Mapping[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """A secret without its versions."""

    id: str  # the last part of its name
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    # proof of having seen this state, for the next change; it makes no difference between two states
    etag: str = field(compare=False)


def replication(locations: Sequence[str], kms_key: str) -> Document:
    """Where new secrets are kept (no regions: Google chooses), and with which key (empty: Google's own)."""
    key = {"customerManagedEncryption": {"kmsKeyName": kms_key}} if kms_key else {}
    if not locations:
        return {"automatic": key}
    return {"userManaged": {"replicas": [{"location": location, **key} for location in locations]}}


def payload(content: bytes) -> Document:
    """A version's content, with its checksum."""
    return {"data": base64.b64encode(content).decode(), "dataCrc32c": str(google_crc32c.value(content))}


def page(document: Document, key: str, read_one: Callable[[Document], T]) -> tuple[list[T], str]:
    """The items that a page of a list has under a key, and the token of the next page; empty: there is none."""
    return [read_one(one) for one in document.get(key, ())], document.get("nextPageToken", "")


def listed(document: Document) -> StoredSecret:
    """A secret of a list; without an etag it cannot be changed before it was read."""
    labels, annotations = dict(document.get("labels", {})), dict(document.get("annotations", {}))
    return StoredSecret(_last_part(document["name"]), labels, annotations, document.get("etag", ""))


def secret(document: Document) -> StoredSecret:
    """A secret; one without an etag is none, since a change without would be unconditional."""
    found = listed(document)
    if not found.etag:
        raise ValueError
    return found


def version(document: Document) -> Version:
    """A version with its content, which has to fit its checksum."""
    found = document["payload"]
    content = base64.b64decode(found.get("data", ""))
    if "dataCrc32c" in found and int(found["dataCrc32c"]) != google_crc32c.value(content):
        raise ValueError
    return Version(number(document), content)


def number(document: Document) -> int:
    """The number in a version's full name."""
    text = _last_part(document["name"])
    if not (text.isascii() and text.isdigit()):
        raise ValueError
    return int(text)


def listed_version(document: Document) -> tuple[int, bool]:
    """The number of a version of a list, and whether it is not destroyed."""
    return number(document), document.get("state") != "DESTROYED"


def permissions(document: Document) -> frozenset[str]:
    """The permissions that the caller has."""
    return frozenset(document.get("permissions", ()))


def nothing(_: Document) -> None:
    """What a deleted secret or a destroyed version leaves."""


def _last_part(name: str) -> str:
    return name.rpartition("/")[2]
