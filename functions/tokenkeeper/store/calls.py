"""One call to Secret Manager: bounded in time, tried again where that is safe, Google's errors as ours.

Importing Google's libraries costs most of a start, so `vault` imports `secretmanager` when it is needed, or `start`
beforehand.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

import requests
from google.api_core import exceptions as google_errors
from google.auth import exceptions as auth_errors
from google.protobuf.json_format import ParseError

from tokenkeeper import clock
from tokenkeeper.clock import Deadline
from tokenkeeper.errors import (
    Cause,
    GoogleReason,
    SecretChanged,
    SecretExists,
    SecretMissing,
    StoreError,
    StoreForbidden,
    StoreRejected,
    StoreThrottled,
    StoreUnavailable,
)
from tokenkeeper.store.reasons import reason_of, reason_of_login

T = TypeVar("T")

ONE_CALL = 10.0  # seconds
FIRST_WAIT = 0.25
LONGEST_WAIT = 8.0

_HEADS = {
    Cause.ROLE: "Permission denied",
    Cause.API_DISABLED: "The Secret Manager API is disabled",
    Cause.QUOTA_PROJECT: "The credentials' quota project is refused",
    Cause.PERIMETER: "VPC Service Controls refuse the call",
    Cause.BILLING: "Billing is disabled",
    Cause.POLICY: "An organization policy refuses the call",
    Cause.KEY: "The encryption key cannot be used",
    Cause.LOGIN: "The Google login is over",
    Cause.OTHER: "Google refuses the call",
}
_GOOGLE = (
    google_errors.GoogleAPIError,
    auth_errors.GoogleAuthError,
    requests.exceptions.RequestException,
    ParseError,
    OSError,
    # What Google's client makes of an answer that is none of Google's: a proxy's page, a cut-off body.
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
)


class Calls:
    """Makes calls for one `SecretManager`. One instance serves many threads."""

    def __init__(self, project: str) -> None:
        """Set up.

        Args:
            project: The keeper's project, which a disabled API is compared with.
        """
        self.project = project
        self._throttled_until = 0.0

    @property
    def throttled(self) -> bool:
        """Whether Secret Manager refused calls as too many within the last seconds."""
        return clock.monotonic() < self._throttled_until

    def make(
        self,
        what: str,
        secret_id: str,
        attempt: Callable[[float], T],
        deadline: Deadline,
        *,
        retry: bool = True,
        precondition: type[StoreError] = StoreRejected,
    ) -> T:
        """Make a call, again and again while it fails in a way that may pass.

        Args:
            what: What it does, for the sentence "cannot …".
            secret_id: The secret that it is about; empty for a list.
            attempt: Makes the call within so many seconds.
            deadline: When to stop trying.
            retry: Whether to try again at all.
            precondition: What FAILED_PRECONDITION means for this call.

        Raises:
            StoreError: the last failure.
        """
        wait = FIRST_WAIT
        while True:
            try:
                return attempt(max(0.5, min(ONE_CALL, deadline.remaining)))
            except StoreError as ours:
                failure = ours
            except _GOOGLE as error:
                failure = self._translated(what, secret_id, error, precondition)
            if isinstance(failure, StoreThrottled):
                # One secret's quota is free again within a second; the project's is refused again and again.
                self._throttled_until = max(self._throttled_until, clock.monotonic() + min(4 * wait, LONGEST_WAIT))
            pause = random.uniform(wait / 2, wait)  # noqa: S311 - spreads retries, guards nothing
            if not retry or not isinstance(failure, StoreUnavailable) or pause >= deadline.remaining:
                raise failure
            clock.sleep(pause)
            wait = min(wait * 2, LONGEST_WAIT)

    def _translated(self, what: str, secret_id: str, error: Exception, precondition: type[StoreError]) -> StoreError:
        if isinstance(error, auth_errors.GoogleAuthError):
            login = reason_of_login(error)
            if login is None:
                return StoreUnavailable(f"Google's token or metadata server is unavailable: cannot {what}.", secret_id)
            return _refused(what, secret_id, login)
        code = error.code if isinstance(error, google_errors.GoogleAPICallError) else None
        reason = reason_of(error, self.project)
        refused_for_good = reason.cause in {Cause.POLICY, Cause.KEY, Cause.BILLING, Cause.PERIMETER}
        match error:
            case google_errors.NotFound() if reason.status != "NOT_FOUND":  # a proxy's page
                text = f"Secret Manager is unavailable ({code}): cannot {what}."
                return StoreUnavailable(text, secret_id, reason)
            case google_errors.NotFound():
                return SecretMissing(f"Secret {secret_id} does not exist: cannot {what}.", secret_id, reason)
            case google_errors.Conflict() if precondition is SecretChanged:
                return SecretChanged(f"Somebody else changed {secret_id}: cannot {what}.", secret_id, reason)
            case google_errors.Conflict():
                return SecretExists(f"Secret {secret_id} exists already: cannot {what}.", secret_id, reason)
            case google_errors.Forbidden() | google_errors.Unauthorized():
                return _refused(what, secret_id, reason)
            case google_errors.TooManyRequests():
                return StoreThrottled(f"Secret Manager refuses too many calls: cannot {what}.", secret_id, reason)
            case google_errors.ClientError() if refused_for_good:
                return _refused(what, secret_id, reason)
            case google_errors.BadRequest() if reason.status == "FAILED_PRECONDITION":
                text = f"The state of {secret_id or 'Secret Manager'} does not allow it: cannot {what}."
                return precondition(_with_reason(text, reason), secret_id, reason)
            case google_errors.ClientError():
                text = f"Secret Manager does not accept the call ({code}): cannot {what}."
                return StoreRejected(_with_reason(text, reason), secret_id, reason)
            case _:
                text = f"Secret Manager is unavailable ({code or type(error).__name__}): cannot {what}."
                return StoreUnavailable(text, secret_id, reason)


def _refused(what: str, secret_id: str, reason: GoogleReason) -> StoreForbidden:
    text = f"{_HEADS[reason.cause]}: cannot {what}."
    if reason.cause is not Cause.OTHER:
        text = f"{text} {reason.cause.value}"
    return StoreForbidden(_with_reason(text, reason), secret_id, reason)


def _with_reason(text: str, reason: GoogleReason) -> str:
    return f"{text} {reason}" if str(reason) else text
