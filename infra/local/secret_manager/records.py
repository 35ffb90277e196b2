"""What the embedded Secret Manager holds: secrets and versions, and their JSON as the API answers it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True)
class Secret:
    """A secret's metadata. Times are microseconds since the epoch.

    Attributes:
        project: The project's number.
        id: The last part of its name.
        born: Order of creation, newest highest.
        created: When.
        etag: Of this state, quotes included.
        fields: What the client set, in the API's JSON form.
        policy: Its IAM policy, in the API's JSON form.
    """

    project: str
    id: str
    born: int
    created: int
    etag: str
    fields: dict[str, Any] = field(default_factory=dict)
    policy: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The resource name, with the project's number as Google answers it."""
        return f"projects/{self.project}/secrets/{self.id}"

    def to_json(self) -> dict[str, Any]:
        """The API's ``Secret`` message."""
        fields = {key: value for key, value in self.fields.items() if value or key == "replication"}
        return {"name": self.name, "createTime": time_of(self.created), "etag": self.etag, **fields}


@dataclass(frozen=True)
class Version:
    """One version. Times are microseconds since the epoch; ``sealed`` is the payload as kept, b"" once destroyed."""

    number: int
    created: int
    state: str
    etag: str
    checksum: int
    checksum_given: bool = False
    destroyed: int | None = None
    sealed: bytes = field(default=b"", repr=False)

    def name_in(self, secret: Secret) -> str:
        """The resource name, with the project's number."""
        return f"{secret.name}/versions/{self.number}"

    def to_json(self, secret: Secret) -> dict[str, Any]:
        """The API's ``SecretVersion`` message."""
        answer: dict[str, Any] = {
            "name": self.name_in(secret),
            "createTime": time_of(self.created),
            "state": self.state,
            "etag": self.etag,
        }
        if self.checksum_given:
            answer["clientSpecifiedPayloadChecksum"] = True  # without it gcloud takes the payload for damaged
        if self.destroyed is not None:
            answer["destroyTime"] = time_of(self.destroyed)
        return answer


def time_of(micros: int) -> str:
    """Microseconds since the epoch as a JSON timestamp."""
    return datetime.fromtimestamp(micros // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{micros % 1_000_000:06}Z"
