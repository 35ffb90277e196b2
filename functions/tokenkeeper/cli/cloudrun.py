"""The Cloud Run call: a run of the refresh function, requested with the operator's own identity."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import google.auth
import urllib3
from google.auth import exceptions as auth_errors
from google.auth import external_account, impersonated_credentials
from google.auth.transport.requests import Request
from google.oauth2 import id_token
from urllib3.exceptions import HTTPError, ReadTimeoutError

from tokenkeeper import http
from tokenkeeper.cli.context import Context
from tokenkeeper.errors import KeeperError
from tokenkeeper.refresh.request import BadRequestError, RunRequest

_LONGEST_RUN = 1810.0  # seconds: Cloud Scheduler's attempt deadline is 30 minutes, and no run is longer
_GCLOUD_SECONDS = 60
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_OF_CLOUD_RUN = {
    429: "A run is under way already, and the refresh function makes one at a time (429): see `make status` in some "
    "minutes, or try again then.",
    404: "There is no refresh function at {url} (404): run `make deploy`, or `make attach` if it was deployed "
    "elsewhere.",
    500: "The refresh function ended without an answer (500): its log in Google Cloud says why.",
    503: "The refresh function could not be started, or is unavailable (503): try again in a minute; if it stays, its "
    "log in Google Cloud says why.",
    504: "The run took longer than Cloud Run waits for an answer (504): what was done is stored, and the next run goes "
    "on with the rest. See `make status`.",
}
"""What Cloud Run itself answers, without a summary of the function's."""


def run(context: Context, request: RunRequest) -> tuple[int, Mapping[str, Any]]:
    """Have the refresh function make a run, and wait for its end; returns the HTTP status and the run's summary.

    Raises:
        KeeperError: it could not be asked, or gave no summary.
        BadRequestError: it cannot follow the request.
    """
    url = context.variable("REFRESH_URL")
    only = {"connections": request.connections} if request.limited else {}
    body = json.dumps({"force": request.force, **only}).encode()
    problem = (
        "There is no identity to call the refresh function with: run `gcloud auth login`, or name a service account: "
        "its key in GOOGLE_APPLICATION_CREDENTIALS, or one that you may act as in GOOGLE_IMPERSONATE_SERVICE_ACCOUNT."
    )
    for identity in _identities(context):
        answer = _call(url, body, identity)
        if answer.status not in {401, 403}:
            return _read(url, answer)
        problem = (  # unless another identity is let in
            "You may not call the refresh function: ask for the role Cloud Run Invoker (roles/run.invoker) on its "
            "service."
        )
    raise KeeperError(problem)


def _read(url: str, answer: urllib3.BaseHTTPResponse) -> tuple[int, Mapping[str, Any]]:
    status = answer.status
    try:
        document = answer.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        other = f"The refresh function answered with HTTP {status} and no summary: see its log in Google Cloud."
        raise KeeperError(_OF_CLOUD_RUN.get(status, other).format(url=url))
    if status == 400:
        raise BadRequestError(document.get("error", "The refresh function did not understand the request."))
    return status, document


def _call(url: str, body: bytes, identity: str) -> urllib3.BaseHTTPResponse:
    headers = {"Authorization": f"Bearer {identity}", "Content-Type": "application/json"}
    timeout = urllib3.Timeout(connect=10, read=_LONGEST_RUN)
    try:
        return http.once("POST", url, timeout, headers, body)
    except ReadTimeoutError:
        raise KeeperError("The refresh function gave no answer: see `make status` in some minutes.") from None
    except (HTTPError, OSError) as error:  # or a CA file that is missing
        raise KeeperError(
            f"The refresh function could not be reached ({type(error).__name__}): check the network and REFRESH_URL."
        ) from None


def _identities(context: Context) -> Iterator[str]:
    """Identity tokens of whoever can be found: of the service account to act as, else of gcloud, the environment's."""
    audience = context.variable("REFRESH_AUDIENCE") or context.variable("REFRESH_URL")
    impersonate = context.variable("GOOGLE_IMPERSONATE_SERVICE_ACCOUNT")
    of_default = partial(_of_default, impersonate=impersonate)
    sources: list[Callable[[str], str]] = [of_default] if impersonate else [_of_gcloud, _of_environment, of_default]
    for source in sources:
        with suppress(auth_errors.GoogleAuthError, ValueError):
            identity = source(audience)
            if identity:
                yield identity


def _of_gcloud(audience: str) -> str:
    gcloud = shutil.which("gcloud")
    for more in ([f"--audiences={audience}"], []) if gcloud else ():  # a person's token takes no audience
        words = [gcloud or "", "auth", "print-identity-token", *more]
        with suppress(OSError, subprocess.TimeoutExpired):  # no shell, and nothing in it that somebody else chose
            done = subprocess.run(words, capture_output=True, text=True, timeout=_GCLOUD_SECONDS, check=False)  # noqa: S603
            if done.returncode == 0 and done.stdout.strip():
                return done.stdout.strip()
    return ""


def _of_environment(audience: str) -> str:
    """Of a service account's key, or of the service account that this machine in the cloud has."""
    return str(id_token.fetch_id_token(Request(), audience))  # type: ignore[no-untyped-call]


def _of_default(audience: str, impersonate: str) -> str:
    """Of a login for libraries, or of the service account that it acts as, workload identity federation's too."""
    credentials: Any = google.auth.default(scopes=[_SCOPE])[0]
    own = getattr(credentials, "service_account_email", None) or ""
    email = impersonate or own
    if not impersonate and "@" not in own:
        credentials.refresh(Request())
        return getattr(credentials, "id_token", None) or ""
    if isinstance(credentials, external_account.Credentials) and own == email:
        # A workload is allowed to act as the account; the account is usually not allowed to act as itself.
        acting = {"service_account_impersonation_url", "service_account_impersonation"}
        workload = {name: value for name, value in credentials.info.items() if name not in acting}
        credentials = type(credentials).from_info(workload, scopes=[_SCOPE])  # type: ignore[no-untyped-call]
    if not isinstance(credentials, impersonated_credentials.Credentials) or own != email:
        credentials = impersonated_credentials.Credentials(credentials, email, [_SCOPE])  # type: ignore[no-untyped-call]
    identity = impersonated_credentials.IDTokenCredentials(credentials, audience, include_email=True)  # type: ignore[no-untyped-call]
    identity.refresh(Request())
    return str(identity.token)
