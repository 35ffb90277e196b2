"""Google's client for Secret Manager: where it speaks to, with which credentials, and how many connections it keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import google.auth
from google.auth import exceptions as auth_errors
from google.auth.credentials import AnonymousCredentials
from google.cloud import secretmanager_v1 as api
from requests.adapters import HTTPAdapter

from tokenkeeper import log
from tokenkeeper.errors import SettingsError, StoreUnavailable

_CONNECTIONS = 64  # kept open at once; the default of 10 would close and open them all the time
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


def open_client(project: str, emulator_host: str, *, in_cloud: bool) -> tuple[api.SecretManagerServiceClient, str]:
    """A client, and the project that it is for.

    Args:
        project: Project id; empty: the one that the credentials name.
        emulator_host: `host:port` of an endpoint spoken to over plain http without credentials; empty: Google.
        in_cloud: Whether credentials are certain to exist, so that none means that the metadata server is away.

    Raises:
        SettingsError: there are no credentials, or they name no project.
        StoreUnavailable: there are no credentials for the moment.
    """
    if emulator_host:
        client = api.SecretManagerServiceClient(
            transport="rest",
            credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
            client_options={"api_endpoint": f"http://{emulator_host}"},
        )
    else:
        credentials, found = _credentials(in_cloud=in_cloud)
        project = project or found
        client = api.SecretManagerServiceClient(transport="rest", credentials=credentials)
    if not project:
        raise SettingsError(
            "GOOGLE_CLOUD_PROJECT is missing, and the credentials name no project; set it, like my-project."
        )
    transport: Any = client.transport
    session = transport._session  # noqa: SLF001 - the client offers no other way to raise the pool's size
    session.trust_env = not emulator_host  # no proxy between here and this machine
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=_CONNECTIONS))
    log.silence_libraries()
    return client, project


def replication(locations: Sequence[str], kms_key: str) -> api.Replication:
    """Where new secrets are kept, and with which key.

    Args:
        locations: Regions; none: Google chooses.
        kms_key: Full name of a key; empty: Google's own.
    """
    key = {"kms_key_name": kms_key} if kms_key else None
    kinds = api.Replication
    if not locations:
        return kinds(automatic=kinds.Automatic(customer_managed_encryption=key))
    replicas = [kinds.UserManaged.Replica(location=location, customer_managed_encryption=key) for location in locations]
    return kinds(user_managed=kinds.UserManaged(replicas=replicas))


def _credentials(*, in_cloud: bool) -> tuple[Any, str]:
    try:
        credentials, project = google.auth.default(scopes=[_SCOPE])
    except auth_errors.DefaultCredentialsError:
        if in_cloud:
            raise StoreUnavailable("Google's metadata server is unavailable: there are no credentials.") from None
        raise SettingsError(
            "No Google Cloud credentials were found: run `gcloud auth application-default login`, or run this where a "
            "service account is attached."
        ) from None
    return credentials, project or ""
