"""A run in the cloud, asked for from the command line with the operator's own identity."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import google.auth.transport.requests
import requests
from google.auth import exceptions as auth_errors
from google.oauth2 import id_token

from tokenkeeper import log
from tokenkeeper.errors import KeeperError
from tokenkeeper.refresh import Order

_LONGEST_RUN = 1810.0  # seconds: Cloud Scheduler's attempt deadline is 30 minutes, and no run is longer
_GCLOUD_SECONDS = 60


class RunNotStarted(KeeperError):
    """The function could not be called, or gave no answer; the text says what to do."""


@dataclass(frozen=True, slots=True)
class RemoteRun:
    """What the function answered: the HTTP status, and the summary of the run."""

    status: int
    document: Mapping[str, Any]


def run(url: str, audience: str, order: Order) -> RemoteRun:
    """Have the refresh function make a run, and wait for its end.

    Args:
        url: The function's address.
        audience: Whom the identity token is made out to.
        order: What to do.

    Raises:
        RunNotStarted: it could not be asked, or gave no answer that makes sense.
    """
    log.silence_libraries()
    body: dict[str, object] = {"force": True} if order.force else {}
    if order.connections is not None:
        body["connections"] = list(order.connections)
    answer = None
    for identity in _identities(audience):
        answer = _call(url, body, identity)
        if answer.status_code not in {401, 403}:
            break  # else another identity may be let in
    if answer is None:
        raise RunNotStarted("There is no identity to call the refresh function with: run `gcloud auth login`.")
    if answer.status_code in {401, 403}:
        raise RunNotStarted(
            "You may not call the refresh function: ask for the role Cloud Run Invoker (roles/run.invoker) on its "
            "service."
        )
    try:
        document = answer.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise RunNotStarted(
            f"The refresh function answered with HTTP {answer.status_code} and no summary: see its log in Google Cloud."
        )
    if answer.status_code == 400:
        raise RunNotStarted(str(document.get("error", "The refresh function did not understand the order.")))
    return RemoteRun(answer.status_code, document)


def _call(url: str, body: Mapping[str, object], identity: str) -> requests.Response:
    headers = {"Authorization": f"Bearer {identity}"}
    try:
        with requests.Session() as session:
            session.trust_env = url.startswith("https:")  # no proxy between here and this machine
            return session.post(url, json=body, headers=headers, timeout=(10, _LONGEST_RUN), allow_redirects=False)
    except requests.exceptions.Timeout:
        raise RunNotStarted("The refresh function gave no answer: see `make status` in some minutes.") from None
    except requests.exceptions.RequestException as error:
        raise RunNotStarted(
            f"The refresh function could not be reached ({type(error).__name__}): check the network and REFRESH_URL."
        ) from None


def _identities(audience: str) -> Iterator[str]:
    """Identity tokens of whoever can be found: gcloud's account, then what the environment or the machine offers."""
    gcloud = shutil.which("gcloud")
    for more in ([f"--audiences={audience}"], []) if gcloud else ():  # a person's token takes no audience
        try:
            done = subprocess.run(  # noqa: S603 - no shell, and nothing in it that somebody else chose
                [gcloud or "", "auth", "print-identity-token", *more],
                capture_output=True,
                text=True,
                timeout=_GCLOUD_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            break
        if done.returncode == 0 and done.stdout.strip():
            yield done.stdout.strip()
            break
    try:
        request = google.auth.transport.requests.Request()
        yield str(id_token.fetch_id_token(request, audience))  # type: ignore[no-untyped-call]
    except (auth_errors.GoogleAuthError, ValueError):
        return
