"""Where one project's secrets are, and the client that calls it, made when it is needed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from google.api_core import exceptions as google_errors
from google.cloud import secretmanager_v1 as api

from tokenkeeper.store.calls import Calls
from tokenkeeper.store.client import open_client, replication

PAGE_SIZE = 1000


class Endpoint:
    """What the calls to one project's Secret Manager share."""

    def __init__(
        self,
        project: str,
        emulator_host: str = "",
        locations: Sequence[str] = (),
        kms_key: str = "",
        *,
        in_cloud: bool = False,
    ) -> None:
        """Set up; nothing is called yet.

        Args:
            project: Project id; empty: the one that the credentials name.
            emulator_host: `host:port` of an endpoint spoken to over plain http without credentials; empty: Google.
            locations: Regions of new secrets; none: Google chooses.
            kms_key: Full name of the key that new secrets are encrypted with; empty: Google's own.
            in_cloud: Whether credentials are certain to exist, so that none means that the metadata server is away.
        """
        self._emulator_host = emulator_host
        self._replication = replication(locations, kms_key)
        self._project = project
        self._in_cloud = in_cloud
        self._calls = Calls(project)

    @property
    def project(self) -> str:
        """The project that holds the secrets.

        Raises:
            SettingsError: there are no credentials, or they name no project.
        """
        if not self._project:
            _ = self._client
        return self._project

    @property
    def throttled(self) -> bool:
        """Whether Secret Manager refused calls as too many within the last seconds."""
        return self._calls.throttled

    def _name(self, secret_id: str) -> str:
        return f"projects/{self.project}/secrets/{secret_id}"

    @cached_property
    def _client(self) -> api.SecretManagerServiceClient:
        client, self._project = open_client(self._project, self._emulator_host, in_cloud=self._in_cloud)
        self._calls.project = self._project
        return client


def last_part(name: str) -> str:
    """The last part of a resource's full name."""
    return name.rpartition("/")[2]


def version_number(name: str) -> int:
    """The number in a version's full name.

    Raises:
        DataLoss: there is none, so the answer is not Google's.
    """
    number = last_part(name)
    if not (number.isascii() and number.isdigit()):
        raise google_errors.DataLoss("no number")  # type: ignore[no-untyped-call]
    return int(number)
