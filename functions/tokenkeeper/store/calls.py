"""One call to Secret Manager: bounded in time, tried again where that is safe, Google's errors as ours."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

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
    SettingsError,
    StoreError,
    StoreForbidden,
    StoreRejected,
    StoreThrottled,
    StoreUnavailable,
)
from tokenkeeper.store.documents import Document
from tokenkeeper.store.reasons import reason_of, reason_of_login
from tokenkeeper.store.transport import Answer, Transport

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
_REFUSED_FOR_GOOD = {Cause.POLICY, Cause.KEY, Cause.BILLING, Cause.PERIMETER}
# An answer that is none of Google's, here or in google-auth: a proxy's page, a cut-off body.
_NOT_GOOGLES = (AttributeError, KeyError, TypeError, ValueError)


class Call(NamedTuple):
    """What is asked of Secret Manager."""

    does: str  # what it does to a secret, for a sentence
    secret_id: str  # that secret; empty: all
    method: str
    path: str  # what comes after `/secrets`
    query: Mapping[str, str] | None = None
    body: Mapping[str, object] | None = None
    retry: bool = True  # whether it is tried again where it fails in a way that may pass
    precondition: type[StoreError] = StoreRejected  # what FAILED_PRECONDITION means for it

    def __repr__(self) -> str:
        return f"Call({self.what!r})"  # the body may hold a token

    @property
    def what(self) -> str:
        """The end of the sentence "cannot …"."""
        return f"{self.does} secret {self.secret_id}" if self.secret_id else f"{self.does} secrets"


class Calls:
    """Makes calls to one project's Secret Manager. One instance serves many threads."""

    def __init__(self, project: str, transport: Transport) -> None:
        """Set up; without a project it is the one that the credentials name."""
        self._project = project
        self._transport = transport
        self._throttled_until = 0.0

    @property
    def project(self) -> str:
        """The project that holds the secrets.

        Raises `SettingsError` where no credentials name one, and `StoreUnavailable` where there are none for a moment.
        """
        self._project = self._project or self._transport.project
        if not self._project:
            raise SettingsError(
                "GOOGLE_CLOUD_PROJECT is missing, and the credentials name no project; set it, like my-project."
            )
        return self._project

    @property
    def throttled(self) -> bool:
        """Whether Secret Manager refused calls as too many within the last seconds."""
        return clock.monotonic() < self._throttled_until

    def _make(self, call: Call, read: Callable[[Document], T], deadline: Deadline) -> T:
        """Make a call, again and again until the deadline while it fails in a way that may pass.

        `read` makes of the JSON of a good answer what is returned; what it raises means that it was not Google's.
        Raises the last failure, a `StoreError`, or a `SettingsError` as `project` does.
        """
        wait = FIRST_WAIT
        while True:
            seconds = max(0.5, min(ONE_CALL, deadline.remaining))
            try:
                path = f"/projects/{self.project}/secrets{call.path}"  # the project may be unknown for a moment, too
                answer = self._transport.send(call.method, path, call.query or {}, call.body, seconds)
                if 200 <= answer.status < 300:
                    return read(_document(answer))
                failure = _refusal(call, answer, self.project)
            except StoreError as ours:
                failure = ours
            except (auth_errors.GoogleAuthError, HTTPError, OSError, *_NOT_GOOGLES) as error:
                failure = _no_answer(call, error)
            if isinstance(failure, StoreThrottled):
                # One secret's quota is free again within a second; the project's is refused again and again.
                self._throttled_until = max(self._throttled_until, clock.monotonic() + min(4 * wait, LONGEST_WAIT))
            pause = random.uniform(wait / 2, wait)  # noqa: S311 - spreads retries, guards nothing
            if not call.retry or not isinstance(failure, StoreUnavailable) or pause >= deadline.remaining:
                raise failure
            clock.sleep(pause)
            wait = min(wait * 2, LONGEST_WAIT)


def _document(answer: Answer) -> Document:
    document = json.loads(answer.body)
    if not isinstance(document, dict):
        raise TypeError
    return document


def _no_answer(call: Call, error: Exception) -> StoreError:
    if not isinstance(error, auth_errors.GoogleAuthError):
        return _failure(StoreUnavailable, f"Secret Manager is unavailable ({type(error).__name__})", call)
    login = reason_of_login(error)
    if login is None:
        return _failure(StoreUnavailable, "Google's token or metadata server is unavailable", call)
    return _forbidden(call, login)


def _refusal(call: Call, answer: Answer, project: str) -> StoreError:
    code, secret_id, reason = answer.status, call.secret_id, reason_of(answer.body, project)
    match code:
        case 404 if reason.status == "NOT_FOUND":  # else a proxy's page
            return _failure(SecretMissing, f"Secret {secret_id} does not exist", call, reason)
        case 409 if call.precondition is SecretChanged:
            return _failure(SecretChanged, f"Somebody else changed {secret_id}", call, reason)
        case 409:
            return _failure(SecretExists, f"Secret {secret_id} exists already", call, reason)
        case 401 | 403:
            return _forbidden(call, reason)
        case 429:
            return _failure(StoreThrottled, "Secret Manager refuses too many calls", call, reason)
        case _ if 400 <= code < 500 and reason.cause in _REFUSED_FOR_GOOD:
            return _forbidden(call, reason)
        case 400 if reason.status == "FAILED_PRECONDITION":
            text = f"The state of {secret_id or 'Secret Manager'} does not allow it"
            return _failure(call.precondition, text, call, reason, str(reason))
        case _ if 400 <= code < 500 and code != 404:
            text = f"Secret Manager does not accept the call ({code})"
            return _failure(StoreRejected, text, call, reason, str(reason))
        case _:
            return _failure(StoreUnavailable, f"Secret Manager is unavailable ({code})", call, reason)


def _forbidden(call: Call, reason: GoogleReason) -> StoreError:
    remedy = "" if reason.cause is Cause.OTHER else reason.cause.value
    return _failure(StoreForbidden, _HEADS[reason.cause], call, reason, remedy, str(reason))


def _failure(
    kind: type[StoreError], text: str, call: Call, reason: GoogleReason | None = None, *sentences: str
) -> StoreError:
    return kind(" ".join(filter(None, [f"{text}: cannot {call.what}.", *sentences])), call.secret_id, reason)
