"""One call to Secret Manager: bounded in time, tried again where that is safe, Google's errors as ours."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import TypeVar

from google.auth import exceptions as auth_errors
from urllib3.exceptions import HTTPError

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
from tokenkeeper.store.documents import Document
from tokenkeeper.store.reasons import reason_of, reason_of_login
from tokenkeeper.store.transport import Answer

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
_NO_ANSWER = (
    auth_errors.GoogleAuthError,
    HTTPError,
    OSError,
    # An answer that is none of Google's, here or in google-auth: a proxy's page, a cut-off body.
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
)


class Calls:
    """Makes calls to one project's Secret Manager. One instance serves many threads.

    Attributes:
        project: The keeper's project, which a disabled API is compared with; empty as long as it is not known.
    """

    def __init__(self, project: str) -> None:
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
        attempt: Callable[[float], Answer],
        read: Callable[[Document], T],
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
            read: Makes of the JSON of a good answer what is returned; what it raises means that it was not Google's.
            deadline: When to stop trying.
            retry: Whether to try again at all.
            precondition: What FAILED_PRECONDITION means for this call.

        Raises:
            StoreError: the last failure.
            SettingsError: as `attempt` raises it.
        """
        wait = FIRST_WAIT
        while True:
            try:
                answer = attempt(max(0.5, min(ONE_CALL, deadline.remaining)))
                if 200 <= answer.status < 300:
                    return read(_document(answer))
                failure = _refusal(what, secret_id, answer, self.project, precondition)
            except StoreError as ours:
                failure = ours
            except _NO_ANSWER as error:
                failure = _no_answer(what, secret_id, error)
            if isinstance(failure, StoreThrottled):
                # One secret's quota is free again within a second; the project's is refused again and again.
                self._throttled_until = max(self._throttled_until, clock.monotonic() + min(4 * wait, LONGEST_WAIT))
            pause = random.uniform(wait / 2, wait)  # noqa: S311 - spreads retries, guards nothing
            if not retry or not isinstance(failure, StoreUnavailable) or pause >= deadline.remaining:
                raise failure
            clock.sleep(pause)
            wait = min(wait * 2, LONGEST_WAIT)


def _document(answer: Answer) -> Document:
    document = json.loads(answer.body)
    if not isinstance(document, dict):
        raise TypeError
    return document


def _no_answer(what: str, secret_id: str, error: Exception) -> StoreError:
    if not isinstance(error, auth_errors.GoogleAuthError):
        return StoreUnavailable(f"Secret Manager is unavailable ({type(error).__name__}): cannot {what}.", secret_id)
    login = reason_of_login(error)
    if login is None:
        return StoreUnavailable(f"Google's token or metadata server is unavailable: cannot {what}.", secret_id)
    return _forbidden(what, secret_id, login)


def _refusal(what: str, secret_id: str, answer: Answer, project: str, precondition: type[StoreError]) -> StoreError:
    code, reason = answer.status, reason_of(answer.body, project)
    refused_for_good = reason.cause in {Cause.POLICY, Cause.KEY, Cause.BILLING, Cause.PERIMETER}
    match code:
        case 404 if reason.status == "NOT_FOUND":  # else a proxy's page
            return SecretMissing(f"Secret {secret_id} does not exist: cannot {what}.", secret_id, reason)
        case 409 if precondition is SecretChanged:
            return SecretChanged(f"Somebody else changed {secret_id}: cannot {what}.", secret_id, reason)
        case 409:
            return SecretExists(f"Secret {secret_id} exists already: cannot {what}.", secret_id, reason)
        case 401 | 403:
            return _forbidden(what, secret_id, reason)
        case 429:
            return StoreThrottled(f"Secret Manager refuses too many calls: cannot {what}.", secret_id, reason)
        case _ if 400 <= code < 500 and refused_for_good:
            return _forbidden(what, secret_id, reason)
        case 400 if reason.status == "FAILED_PRECONDITION":
            text = f"The state of {secret_id or 'Secret Manager'} does not allow it: cannot {what}."
            return precondition(_with_reason(text, reason), secret_id, reason)
        case _ if 400 <= code < 500 and code != 404:
            text = f"Secret Manager does not accept the call ({code}): cannot {what}."
            return StoreRejected(_with_reason(text, reason), secret_id, reason)
        case _:
            text = f"Secret Manager is unavailable ({code}): cannot {what}."
            return StoreUnavailable(text, secret_id, reason)


def _forbidden(what: str, secret_id: str, reason: GoogleReason) -> StoreForbidden:
    text = f"{_HEADS[reason.cause]}: cannot {what}."
    if reason.cause is not Cause.OTHER:
        text = f"{text} {reason.cause.value}"
    return StoreForbidden(_with_reason(text, reason), secret_id, reason)


def _with_reason(text: str, reason: GoogleReason) -> str:
    return f"{text} {reason}" if str(reason) else text
