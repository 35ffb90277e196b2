"""Read a connection's newest TikTok access token from Secret Manager. Import this file, or copy it: it stands alone.

It needs Python 3.11 or later, `google-cloud-secret-manager`, and `roles/secretmanager.secretAccessor` on that secret.

Call `access_token("acme")` before each request instead of keeping the token: it caches, and reads again when that is
due. If TikTok answers 40105 or 40102, `access_token("acme", rejected=that_token)` returns the token that replaced it.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import google.auth
from google.api_core import exceptions as api
from google.api_core.retry import Retry
from google.auth import exceptions as auth
from google.auth.credentials import AnonymousCredentials
from google.cloud import secretmanager_v1 as secretmanager

CACHE_SECONDS = 300.0  # a token without an end is read again after this time, so that a replaced one is noticed
OUTAGE_SECONDS = 60.0  # pause between reads while Secret Manager is away and a cached token still works
_SETTINGS = {"BILLING_DISABLED", "CONSUMER_INVALID", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"}
_process: _Process | None = None


class TokenError(Exception):
    """There is no usable token. The text says why and what to do; it contains no token and may be logged.

    `remedy` says what helps: `wait` (some minutes), `reconnect` (a person authorizes again), `permissions` (a role or
    policy) or `configuration` (of this reader: login, project, names). `retryable`: reading again within this call.
    """

    def __init__(self, text: str, remedy: str, *, retryable: bool = False) -> None:
        super().__init__(text)
        self.remedy, self.retryable = remedy, retryable


@dataclass(frozen=True, slots=True)
class Token:
    """An access token and what is stored with it."""

    connection: str
    version: int
    access_token: str = field(repr=False)
    expires_at: datetime | None  # None: it works until it is revoked
    advertiser_ids: tuple[str, ...] | None  # None: too many to be stored, the token works for all of them
    scope: tuple[int | str, ...]
    app_id: str
    open_id: str | None  # of a TikTok account, where it is called business_id; None: an advertiser's token
    username: str | None

    def seconds_left(self) -> float:
        """How long it works from now on; infinite without an end."""
        return (self.expires_at - datetime.now(UTC)).total_seconds() if self.expires_at else float("inf")


class _Process:
    """What belongs to one process: no client and no lock crosses a fork."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.tokens: dict[str, tuple[Token, float]] = {}  # with the time.monotonic() of the next read
        self.reading: dict[str, Future[Token]] = {}
        self.project = os.environ.get("GOOGLE_CLOUD_PROJECT", "").strip()
        self.prefix = os.environ.get("SECRET_PREFIX", "").strip() or "tiktok-ads"
        self.credentials: Any = None
        self.client: Any = None

    def read(self, connection: str, timeout: float, *, join: bool) -> Future[Token]:
        """The read that is under way, else a new one. In a thread, which alone bounds name lookups and logins too."""
        reading = self.reading.get(connection)
        if not join or reading is None or reading.done():
            reading = self.reading[connection] = Future[Token]()
            threading.Thread(target=self.run, args=(reading, connection, timeout), daemon=True).start()
        return reading

    def run(self, reading: Future[Token], connection: str, timeout: float) -> None:
        try:
            self.client = self.client or self.connect()
            reading.set_result(_newest(self, connection, timeout))
        except Exception as error:  # noqa: BLE001 - Google's client fails in many ways on what a proxy answers
            reading.set_exception(_explained(error, self, connection))

    def connect(self) -> secretmanager.SecretManagerServiceClient:
        emulator, options = os.environ.get("SECRET_MANAGER_EMULATOR_HOST", "").strip(), None
        if emulator:
            self.credentials = AnonymousCredentials()  # type: ignore[no-untyped-call]
            options = {"api_endpoint": f"http://{emulator}"}
        else:
            self.credentials, found = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
            self.project = self.project or found or ""
        if not self.project:
            raise TokenError("Set GOOGLE_CLOUD_PROJECT to the project that holds the secrets.", "configuration")
        client = secretmanager.SecretManagerServiceClient(  # REST: a gRPC channel can hang after a fork
            transport="rest", credentials=self.credentials, client_options=options
        )
        vars(client.transport)["_session"].trust_env = not emulator  # no proxy before this machine
        return client


def access_token(connection: str, *, minimum_seconds: float = 3600, rejected: str = "", timeout: float = 30) -> str:
    """The access token alone; see `token`."""
    return token(connection, minimum_seconds=minimum_seconds, rejected=rejected, timeout=timeout).access_token


def token(
    connection: str, *, minimum_seconds: float = 3600, rejected: str = "", timeout: float = 30, only: Sequence[str] = ()
) -> Token:
    """The newest token of a connection, cached or read; `TokenError` where there is none that can be used.

    Args:
        connection: The connection's name, like `acme`.
        minimum_seconds: How long the token has to work from now on.
        rejected: The access token that TikTok refused with 40105 or 40102.
        timeout: The longest that this call may take, in seconds, whatever it waits for.
        only: Ids of the advertisers that are wanted, in this order; empty: all. An unknown one is an error.
    """
    global _process
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", connection, re.ASCII):
        raise TokenError(f"{connection[:80]!r} is not the name of a connection, like acme-eu.", "configuration")
    if _process is None or _process.pid != os.getpid():
        _process = _Process()
    cached, due = (process := _process).tokens.get(connection, (None, 0.0))
    usable = cached and cached.access_token != rejected and cached.seconds_left() >= minimum_seconds
    if cached and usable and not rejected and time.monotonic() < due:
        return _selected(cached, only)
    end = time.monotonic() + (seconds := min(timeout, 5.0) if usable else timeout)

    def attempt() -> Token:
        reading = process.read(connection, min(10.0, seconds), join=not rejected)
        return _checked(reading.result(max(0.0, end - time.monotonic())), minimum_seconds, rejected)

    retry = Retry(lambda error: getattr(error, "retryable", False), initial=0.25, maximum=4.0, timeout=seconds)
    try:
        found = retry(attempt)()
        pause = float("inf") if found.expires_at else CACHE_SECONDS
    except (TokenError, TimeoutError, api.RetryError) as failure:
        error = getattr(failure, "cause", failure)
        if not isinstance(error, TokenError):
            error = TokenError(f"Google did not answer within {seconds:g} seconds: try again in some minutes.", "wait")
        if error.remedy != "wait":
            process.tokens.pop(connection, None)
        if not (cached and usable and error.remedy == "wait"):
            raise error from None
        found, pause = cached, OUTAGE_SECONDS
    process.tokens[connection] = found, time.monotonic() + pause
    return _selected(found, only)


def _checked(newest: Token, minimum_seconds: float, rejected: str) -> Token:
    name, left = newest.connection, newest.seconds_left()
    if left <= 0:
        text = f"The newest token of {name} ended at {newest.expires_at}: its refresh is late; make status shows why."
        raise TokenError(text, "wait" if left > -86_400 else "reconnect", retryable=True)
    if newest.access_token == rejected:  # retryable: a refresh may be storing its successor at this moment
        text = f"TikTok refuses the newest token of {name} (version {newest.version}): it was revoked. Reconnect: make"
        raise TokenError(f"{text} link CONNECTION={name}", "reconnect", retryable=newest.expires_at is not None)
    if left < minimum_seconds:
        text = f"The newest token of {name} works for {left:.0f} more seconds; {minimum_seconds:.0f} are asked for."
        raise TokenError(f"{text} A token is replaced at half of its life: ask for less, or see make status.", "wait")
    return newest


def _selected(found: Token, only: Sequence[str]) -> Token:
    wanted, known = tuple(map(str, only)), found.advertiser_ids
    if unknown := [one for one in wanted if known is not None and one not in known]:
        text = f"{', '.join(unknown)}: not among the advertisers of {found.connection}, which are: "
        raise TokenError(text + (", ".join(known or ()) or "none"), "configuration")
    return replace(found, advertiser_ids=wanted) if wanted else found


def _newest(process: _Process, connection: str, timeout: float) -> Token:
    """The newest version. `latest` may be stale, so the next number is read until there is none."""
    secret, payload, number, version = f"{process.prefix}-token-{connection}", None, 0, "latest"
    while True:
        name = f"projects/{process.project}/secrets/{secret}/versions/{version}"
        try:
            answer = process.client.access_secret_version(name=name, retry=None, timeout=timeout)
            payload, number = answer.payload.data, int(answer.name.rpartition("/")[2])
        except api.NotFound:
            if version != "latest":  # of a new secret, `latest` may be missing although version 1 is there
                break
        except api.BadRequest as error:
            if not (unreadable := re.search(r"/versions/(\d+)\] is in (DISABLED|DESTROYED) state", str(error))):
                raise
            payload, number = None, int(unreadable[1])
        version = str(number + 1)
    again, newest = f"make link CONNECTION={connection}", f"Version {number} of {secret}"
    if payload is None:
        text = f"{newest} is disabled or destroyed." if number else f"{secret} has no version in {process.project}."
        text = f"{text} Connect {connection}: {again}. If it is connected, check GOOGLE_CLOUD_PROJECT, SECRET_PREFIX."
        raise TokenError(text, "reconnect")
    try:
        stored = json.loads(payload)
        if stored["schema"] > 1:
            raise TokenError(f"{newest} has a newer format: copy the newest tiktok_token.py.", "configuration")
        if stored["connection"] == connection and re.fullmatch(r"[!-~]+", stored["access_token"]):
            end = stored["expires_at"] and datetime.fromisoformat(stored["expires_at"]).astimezone(UTC)
            ids = None if stored["advertiser_ids"] is None else tuple(stored["advertiser_ids"])
            more = tuple(stored["scope"]), stored["app_id"], stored.get("open_id"), stored.get("username")
            return Token(connection, number, stored["access_token"], end, ids, *more)
    except (ValueError, KeyError, TypeError, RecursionError):
        pass  # as if it were another connection's
    text = f"{newest} cannot be read: try make refresh CONNECTION={connection}, else reconnect: {again}"
    raise TokenError(text, "reconnect")


def _explained(error: Exception, process: _Process, connection: str) -> TokenError:
    """What a failure means and what to do, with Google's own status, reason and sentence."""
    if isinstance(error, TokenError):
        return error
    secret, project = f"{process.prefix}-token-{connection}", process.project or "PROJECT"
    quota = getattr(process.credentials, "quota_project_id", None) or project
    passing = getattr(error, "retryable", False) or isinstance(error.__cause__ or error, auth.TransportError)
    reason, said, remedy = getattr(error, "reason", None), type(error).__name__, "configuration"
    if isinstance(error, auth.GoogleAuthError):
        said = f"{said}: {error.args[0]}"[:300]
        passing |= isinstance(error, auth.DefaultCredentialsError) and "K_SERVICE" in os.environ  # no metadata server
    elif isinstance(error, api.GoogleAPICallError):
        said = f"{error.code} {reason or said}: {error.message.partition(': ')[2]}"[:600]
    match error:
        case api.Forbidden() if quota != project and reason in {"SERVICE_DISABLED", "USER_PROJECT_DENIED"}:
            advice = f"gcloud auth application-default set-quota-project {project}"
        case api.Forbidden() if reason == "SERVICE_DISABLED":
            advice = f"gcloud services enable secretmanager.googleapis.com --project={project}"
        case api.ClientError() if error.code not in {401, 403, 408, 429} or reason in _SETTINGS:
            advice = f"check the project {project}, its billing account, SECRET_PREFIX, and the scopes of this login"
        case api.Forbidden() if reason == "SECURITY_POLICY_VIOLATED":
            advice, remedy = "give that identifier to whoever manages VPC Service Controls", "permissions"
        case api.Forbidden():
            who = f"--member=serviceAccount:{getattr(process.credentials, 'service_account_email', 'EMAIL')}"
            role, remedy = f"{who} --role=roles/secretmanager.secretAccessor", "permissions"
            advice = f"gcloud secrets add-iam-policy-binding {secret} --project={project} {role}"
        case api.Unauthorized() | auth.GoogleAuthError() if not passing:
            advice = "gcloud auth application-default login, or a service account with a valid key"
        case _ if "CERTIFICATE_VERIFY_FAILED" in str(error):
            advice = "set REQUESTS_CA_BUNDLE to a file with the certificate authority of this network"
        case _:
            advice, remedy = "try again in some minutes", "wait"
    text = " ".join(f"Cannot read {secret} ({said}). What helps: {advice}".split())
    return TokenError(text, remedy, retryable=remedy == "wait")
