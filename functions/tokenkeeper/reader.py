"""How a pipeline reads its token: import this module, or copy the file; it stands alone.

It needs Python 3.11 or later and `google-cloud-secret-manager`, and of Google Cloud the role
`roles/secretmanager.secretAccessor` on the one secret.

```python
from reader import access_token

headers = {"Access-Token": access_token("acme")}
```

Ask anew before each call to TikTok instead of keeping the token: it is remembered, and read again when it is time. If
TikTok answers code 40105 or 40102 all the same, `access_token("acme", rejected=that_token)` looks past everything
remembered, and either returns another token or says what is to be done:

```
ReaderError
├── TryLater            remedy "wait": Secret Manager is away, or the token's refresh is late
├── NeedsReconnecting   remedy "reconnect": TikTok does not take the newest token any more
│   └── NotConnected    there is no token of that name: never connected, or disconnected
├── NotPermitted        remedy "permissions": the role is missing
└── Misconfigured       remedy "configuration": credentials, project, name, or this file is too old
```

No error, and no repr, holds a token or anything else that was stored.

A token without an end is read again after five minutes, so that one which was replaced is noticed. One with an end is
kept until less of its life is left than was asked for: the keeper replaces it at half of its life, long before. While
Secret Manager is away, a remembered token goes on to be used for as long as its life allows: a reader does not fail
because of a short outage.
"""

from __future__ import annotations

import json
import os
import random
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol

import google.auth
import requests
from google.api_core import exceptions as google_errors
from google.auth import exceptions as auth_errors
from google.auth.credentials import AnonymousCredentials
from google.cloud import secretmanager_v1
from google.protobuf.json_format import ParseError

SCHEMA = 1
GIVEN_UP_AFTER = timedelta(hours=24)
"""A token that ended longer ago than this is not waited for: by then four runs of the keeper could not renew it."""

_CONNECTION = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_PREFIX = re.compile(r"[A-Za-z0-9_-]{1,100}", re.ASCII)
_ONE_CALL = 10.0  # seconds
_FIRST_WAIT = 0.25
_LONGEST_WAIT = 8.0
_OUTAGE_PAUSE = 60.0  # seconds before Secret Manager is asked again, where a remembered token will do
_SPARE_SECONDS = 5.0  # the most that is spent on asking, where a remembered token will do
_OLDER_TRIED = 10  # versions, where the newest is disabled

Remedy = Literal["wait", "reconnect", "permissions", "configuration"]


class ReaderError(Exception):
    """Root of everything that reading raises on purpose. Its text says what to do, and is fit for a log as it stands.

    Attributes:
        remedy: What helps, for programs: `wait`, `reconnect`, `permissions` or `configuration`.
    """

    remedy: Remedy


class TryLater(ReaderError):
    """Nothing is wrong for good: the same may work in some minutes."""

    remedy = "wait"


class NeedsReconnecting(ReaderError):
    """Only a new authorization helps, by whoever may approve for the advertiser."""

    remedy = "reconnect"


class NotConnected(NeedsReconnecting):
    """There is no token of that name: it was never connected, or is disconnected, or this looks in the wrong place."""


class NotPermitted(ReaderError):
    """The account that this runs as may not read the secret."""

    remedy = "permissions"


class Misconfigured(ReaderError):
    """Something about this reader is wrong: its credentials, its project, the name that it was asked for, its age."""

    remedy = "configuration"


class Clock(Protocol):
    """What a reader wants to know of time."""

    def now(self) -> datetime:
        """The time of day, with its time zone."""

    def monotonic(self) -> float:
        """Seconds since some moment, never set back."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since some moment, never set back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Token:
    """An access token, and what is stored with it.

    Attributes:
        connection: The connection's name.
        version: Number of the secret's version that holds it.
        access_token: The token itself; no repr shows it.
        expires_at: Its end; None: it lives until it is revoked.
        advertiser_ids: The ad accounts that it is for; None: too many to be stored, so ask TikTok for them.
        advertiser_count: How many they are.
        scope: Ids of the permissions that were granted.
        app_id: The TikTok app that it belongs to.
        obtained_at: When TikTok handed it out.
    """

    connection: str
    version: int
    access_token: str = field(repr=False)
    expires_at: datetime | None
    advertiser_ids: tuple[str, ...] | None
    advertiser_count: int
    scope: tuple[int, ...]
    app_id: str
    obtained_at: datetime

    def lives(self, seconds: float, now: datetime) -> bool:
        """Whether at least so many seconds of its life are left."""
        return self.expires_at is None or (self.expires_at - now).total_seconds() >= seconds


class _Missing(Exception):
    """No such secret or version."""


class _Unreadable(Exception):
    """The version is disabled or destroyed."""


@dataclass(slots=True)
class _Memory:
    """What is remembered of one connection; `lock` is held by the one that reads."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    token: Token | None = None
    replaced: str = ""  # the access token before it
    read_at: float = 0.0
    look_again_at: float = 0.0


class Reader:
    """Reads tokens of one project, and remembers them. One instance serves many threads."""

    def __init__(
        self,
        project: str = "",
        prefix: str = "",
        *,
        client: secretmanager_v1.SecretManagerServiceClient | None = None,
        cache_seconds: float = 300.0,
        timeout: float = 30.0,
        clock: Clock | None = None,
    ) -> None:
        """Set up; nothing is called yet.

        Args:
            project: Project that holds the secrets; empty: `GOOGLE_CLOUD_PROJECT`, else the one of the credentials.
            prefix: First part of every secret's name; empty: `SECRET_PREFIX`, else `tiktok-ads`.
            client: A client of Secret Manager; None: one is made, with the credentials that Google's libraries find,
                or for `SECRET_MANAGER_EMULATOR_HOST`.
            cache_seconds: How long a token without an end is remembered.
            timeout: The most that one reading may take, in seconds, trying again included.
            clock: What tells the time.

        Raises:
            Misconfigured: the prefix is none.
        """
        self._project = project or os.environ.get("GOOGLE_CLOUD_PROJECT", "").strip()
        self._prefix = prefix or os.environ.get("SECRET_PREFIX", "").strip() or "tiktok-ads"
        if not _PREFIX.fullmatch(self._prefix):
            raise Misconfigured("The prefix of the secrets is 1 to 100 letters, digits, - and _, like tiktok-ads.")
        self._client = client
        self._cache_seconds = cache_seconds
        self._timeout = timeout
        self._clock = clock or SystemClock()
        self._credentials: Any = None
        self._lock = threading.Lock()
        self._memories: dict[str, _Memory] = {}

    def access_token(self, connection: str, *, minimum_seconds: float = 3600.0, rejected: str = "") -> str:
        """The access token alone; see `token`."""
        return self.token(connection, minimum_seconds=minimum_seconds, rejected=rejected).access_token

    def token(self, connection: str, *, minimum_seconds: float = 3600.0, rejected: str = "") -> Token:
        """The newest token of a connection, remembered or read.

        Args:
            connection: The connection's name, like `acme`.
            minimum_seconds: How long it has to live at least: as long as the work with it takes.
            rejected: The access token that TikTok answered 40105 or 40102 to, if it did.

        Raises:
            TryLater: Secret Manager is away; or the newest token has less life left than `minimum_seconds`, or none
                since less than a day, so that its refresh is late.
            NeedsReconnecting: the newest token is the rejected one, ended more than a day ago, or cannot be read.
            NotConnected: there is none.
            NotPermitted: the account that this runs as may not read it.
            Misconfigured: no credentials, no project, a name that is none, or a payload newer than this file.
        """
        if not _CONNECTION.fullmatch(connection):
            raise Misconfigured(
                f"{connection[:80]!r} is no connection's name: that is 1 to 63 of a-z, 0-9 and -, with no - at either "
                "end, like acme."
            )
        asked_at = self._clock.monotonic()
        with self._lock:
            memory = self._memories.setdefault(connection, _Memory())
        known = self._usable(memory, minimum_seconds, rejected)
        if known and asked_at < memory.look_again_at and rejected in {"", memory.replaced}:
            return known
        if known is None or rejected:
            memory.lock.acquire()
        elif not memory.lock.acquire(blocking=False):
            return known  # somebody else is reading, and this one will do
        try:
            known = self._usable(memory, minimum_seconds, rejected)
            if memory.read_at > asked_at and known:
                return known  # somebody else read while this one waited
            return self._read(connection, memory, known, minimum_seconds, rejected)
        finally:
            memory.lock.release()

    def _usable(self, memory: _Memory, minimum_seconds: float, rejected: str) -> Token | None:
        token = memory.token
        fits = token and token.access_token != rejected and token.lives(minimum_seconds, self._clock.now())
        return token if fits else None

    def _read(
        self, connection: str, memory: _Memory, known: Token | None, minimum_seconds: float, rejected: str
    ) -> Token:
        end = self._clock.monotonic() + (min(self._timeout, _SPARE_SECONDS) if known else self._timeout)
        wait = _FIRST_WAIT
        while True:
            try:
                token = self._newest(connection, end)
            except TryLater:
                if known is None:
                    raise
                memory.look_again_at = self._clock.monotonic() + _OUTAGE_PAUSE
                return known
            except ReaderError:
                memory.token = None
                raise
            if memory.token and memory.token.access_token != token.access_token:
                memory.replaced = memory.token.access_token
            memory.token, memory.read_at = token, self._clock.monotonic()
            lasting = self._cache_seconds if token.expires_at is None else float("inf")
            memory.look_again_at = memory.read_at + lasting
            now = self._clock.now()
            if token.access_token != rejected and token.lives(minimum_seconds, now):
                return token
            # A token with an end may be being replaced at this moment: the next version is a write away.
            if token.access_token != rejected or token.expires_at is None or not self._pause(wait, end):
                raise self._useless(token, minimum_seconds, rejected, now)
            wait = min(wait * 2, _LONGEST_WAIT)

    def _useless(self, token: Token, minimum_seconds: float, rejected: str, now: datetime) -> ReaderError:
        """What to say of the newest token if it does not do."""
        name = token.connection
        left = timedelta.max if token.expires_at is None else token.expires_at - now
        if left <= -GIVEN_UP_AFTER:
            return NeedsReconnecting(
                f"The newest token of {name} ended at {token.expires_at}, and nothing has renewed it since. `make "
                f"status` shows why; a new authorization helps: make link CONNECTION={name}"
            )
        if left <= timedelta():
            return TryLater(
                f"The newest token of {name} ended at {token.expires_at}: its refresh is late. The keeper goes on "
                f"trying; `make status` shows why, and `make refresh CONNECTION={name}` tries at once."
            )
        if token.access_token == rejected:
            return NeedsReconnecting(
                f"TikTok does not take the newest token of {name} any more (version {token.version}): it was revoked, "
                f"or its ad account is gone. A new authorization helps: make link CONNECTION={name}"
            )
        return TryLater(
            f"The newest token of {name} ends at {token.expires_at}, in {left.total_seconds():.0f} seconds, and "
            f"{minimum_seconds:.0f} are asked for. The keeper replaces a token at half of its life: more than that "
            "cannot be asked for, and if it is less, the refresh is late, which `make status` shows."
        )

    # --- what is stored ---

    def _newest(self, connection: str, end: float) -> Token:
        """The newest version that can be read.

        `latest` may be late: only a version's number is certain. So each next number is asked for, up to the last.
        """
        secret = f"{self._prefix}-token-{connection}"
        found: tuple[int, bytes] | None
        try:
            found = self._access(secret, "latest", end)
            number = found[0]
        except _Missing:
            # Of a secret that is new, `latest` may be missing although its first version is there.
            found, number = None, 0
        except _Unreadable:
            found, number = None, self._last_number(secret, end)
        last = number
        while True:
            try:
                found = self._access(secret, last + 1, end)
            except _Unreadable:
                pass
            except _Missing:
                break
            last += 1
        if last == 0:
            raise NotConnected(
                f"There is no token of {connection} in the project {self._project} (secret {secret}): connect it with "
                f"make link CONNECTION={connection}. If it is connected, set GOOGLE_CLOUD_PROJECT or SECRET_PREFIX to "
                "the keeper's."
            )
        found = found or self._last_readable(secret, number, end)
        if found is None:
            raise NeedsReconnecting(
                f"The newest versions of {secret} are disabled or destroyed: enable one again, or connect anew with "
                f"make link CONNECTION={connection}"
            )
        return _token(connection, secret, *found)

    def _last_readable(self, secret: str, number: int, end: float) -> tuple[int, bytes] | None:
        for older in range(number, max(0, number - _OLDER_TRIED), -1):
            try:
                return self._access(secret, older, end)
            except (_Missing, _Unreadable):
                continue
        return None

    def _last_number(self, secret: str, end: float) -> int:
        """The number of the last version, although `latest` does not tell it: numbers have no gaps."""
        below, above = 0, 1
        while self._exists(secret, above, end):
            below, above = above, above * 2
        while above - below > 1:
            middle = (below + above) // 2
            below, above = (middle, above) if self._exists(secret, middle, end) else (below, middle)
        return below

    def _exists(self, secret: str, number: int, end: float) -> bool:
        try:
            self._access(secret, number, end)
        except _Missing:
            return False
        except _Unreadable:
            pass
        return True

    # --- Secret Manager ---

    def _access(self, secret: str, version: int | str, end: float) -> tuple[int, bytes]:
        """One version, its number and its payload; what failed in passing is tried again until `end`."""
        client = self._connected()
        name = f"projects/{self._project}/secrets/{secret}/versions/{version}"
        wait = _FIRST_WAIT
        while True:
            limit = max(0.5, min(_ONE_CALL, end - self._clock.monotonic()))
            try:
                answer = client.access_secret_version(request={"name": name}, timeout=limit, retry=None)
                payload, number = answer.payload, answer.name.rpartition("/")[2]
                sound = payload.data_crc32c == _crc32c(payload.data)
                if number.isascii() and number.isdigit() and (sound or not payload.data_crc32c):
                    return int(number), payload.data
                failure = "the answer was damaged on its way"
            except _GOOGLE as error:
                failure = self._passing(error, secret)
            if not self._pause(wait, end):
                raise TryLater(
                    f"Secret Manager did not hand out {secret} ({failure}). Nothing is lost: try again in some minutes."
                )
            wait = min(wait * 2, _LONGEST_WAIT)

    def _passing(self, error: Exception, secret: str) -> str:
        """What it was, if it is worth another try; else raises what it means."""
        reason = (error.reason or "") if isinstance(error, google_errors.GoogleAPICallError) else ""
        match error:
            case google_errors.NotFound():
                raise _Missing from None
            case google_errors.BadRequest() if _status(error) == "FAILED_PRECONDITION":
                raise _Unreadable from None
            case google_errors.Forbidden() if reason in {"SERVICE_DISABLED", "CONSUMER_INVALID"}:
                raise Misconfigured(
                    f"There is no project {self._project}, or Secret Manager is not enabled in it: set "
                    "GOOGLE_CLOUD_PROJECT to the keeper's."
                ) from None
            case google_errors.Forbidden():
                account = str(getattr(self._credentials, "service_account_email", ""))
                known = "@" in account
                raise NotPermitted(
                    f"{account if known else 'The account that this runs as'} may not read {secret}. Whoever looks "
                    f"after the project {self._project} can allow it:\n"
                    f"gcloud secrets add-iam-policy-binding {secret} --project={self._project} "
                    f"--member=serviceAccount:{account if known else 'ITS_EMAIL'} "
                    "--role=roles/secretmanager.secretAccessor"
                ) from None
            case auth_errors.RefreshError() if isinstance(error.__cause__, auth_errors.TransportError):
                return "no credentials could be fetched"
            case google_errors.Unauthorized() | auth_errors.RefreshError(retryable=False):
                raise Misconfigured(
                    "Google does not take the credentials that were found: run `gcloud auth application-default "
                    "login`, or give the service account a key that is still good."
                ) from None
            case google_errors.TooManyRequests():
                return "too many calls"
            case google_errors.ClientError():
                raise Misconfigured(
                    f"Secret Manager does not accept the call for {secret} in the project {self._project!r} "
                    f"({error.code}): look at GOOGLE_CLOUD_PROJECT and SECRET_PREFIX."
                ) from None
            case google_errors.GoogleAPICallError(code=code) if code:
                return str(int(code))
        return type(error).__name__

    def _pause(self, wait: float, end: float) -> bool:
        """Wait before the next try, if there is time for one."""
        pause = random.uniform(wait / 2, wait)  # noqa: S311 - spreads retries, guards nothing
        if self._clock.monotonic() + pause >= end:
            return False
        self._clock.sleep(pause)
        return True

    def _connected(self) -> secretmanager_v1.SecretManagerServiceClient:
        with self._lock:
            if self._client is None:
                self._client = self._new_client()
            if not self._project:
                raise Misconfigured(
                    "GOOGLE_CLOUD_PROJECT is missing, and the credentials name no project: set it to the keeper's, "
                    "like my-project-123."
                )
            return self._client

    def _new_client(self) -> secretmanager_v1.SecretManagerServiceClient:
        emulator = os.environ.get("SECRET_MANAGER_EMULATOR_HOST", "").strip()
        if emulator:
            client = secretmanager_v1.SecretManagerServiceClient(
                transport="rest",
                credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
                client_options={"api_endpoint": f"http://{emulator}"},
            )
            transport: Any = client.transport
            transport._session.trust_env = False  # noqa: SLF001 - no proxy between here and this machine
            return client
        try:
            credentials, found = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
        except auth_errors.DefaultCredentialsError:
            raise Misconfigured(
                "No usable Google Cloud credentials were found: run `gcloud auth application-default login`, or run "
                "this where a service account is attached."
            ) from None
        self._credentials = credentials
        self._project = self._project or found or ""
        # Not gRPC, which does not survive the forks that schedulers make.
        return secretmanager_v1.SecretManagerServiceClient(transport="rest", credentials=credentials)


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


def _status(error: google_errors.GoogleAPICallError) -> str:
    if isinstance(error, google_errors.FailedPrecondition):
        return "FAILED_PRECONDITION"
    try:
        return str(error.response.json()["error"]["status"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""


def _crc32c(data: bytes) -> int:
    """The checksum that Secret Manager keeps of a payload; Google's client does not bring a package for it."""
    checksum = 0xFFFFFFFF
    for byte in data:
        checksum = _CRC32C[(checksum ^ byte) & 0xFF] ^ (checksum >> 8)
    return checksum ^ 0xFFFFFFFF


def _crc32c_of_byte(value: int) -> int:
    for _ in range(8):
        value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    return value


_CRC32C = [_crc32c_of_byte(value) for value in range(256)]


def _token(connection: str, secret: str, version: int, payload: bytes) -> Token:
    """Read what the keeper wrote; no error says what it is."""

    def unreadable(what: str) -> NeedsReconnecting:
        return NeedsReconnecting(
            f"Version {version} of {secret} {what}. `make refresh CONNECTION={connection}` rebuilds it if that can be "
            f"done; else connect anew: make link CONNECTION={connection}"
        )

    def text(key: str) -> str:
        value = document.get(key)
        if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable():
            raise unreadable(f"has no usable {key}")
        return value

    def moment(key: str) -> datetime:
        try:
            found = datetime.fromisoformat(text(key))
        except ValueError:
            raise unreadable(f"has no usable {key}") from None
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found

    try:
        document = json.loads(payload.decode())
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, Mapping):
        raise unreadable("holds no JSON object")
    schema = document.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise Misconfigured(f"{secret} is of schema {schema}, and this reader knows {SCHEMA}: copy a newer reader.py.")
    if schema != SCHEMA:
        raise unreadable(f"is not of schema {SCHEMA}")
    if document.get("connection") != connection:
        raise unreadable("belongs to another connection")
    ids, count, scope = document.get("advertiser_ids"), document.get("advertiser_count"), document.get("scope")
    if ids is not None and not (isinstance(ids, list) and all(isinstance(one, str) for one in ids)):
        raise unreadable("has no usable advertiser_ids")
    if not isinstance(scope, list) or not all(isinstance(one, int) for one in scope):
        raise unreadable("has no usable scope")
    return Token(
        connection=connection,
        version=version,
        access_token=text("access_token"),
        expires_at=None if document.get("expires_at") is None else moment("expires_at"),
        advertiser_ids=None if ids is None else tuple(ids),
        advertiser_count=(count if isinstance(count, int) else 0) if ids is None else len(ids),
        scope=tuple(scope),
        app_id=text("app_id"),
        obtained_at=moment("obtained_at"),
    )


_usual_lock = threading.Lock()
_usual: Reader | None = None


def _usual_reader() -> Reader:
    global _usual
    with _usual_lock:
        if _usual is None:
            _usual = Reader()
        return _usual


def access_token(connection: str, *, minimum_seconds: float = 3600.0, rejected: str = "") -> str:
    """The access token of a connection, with a reader as the environment describes it; see `Reader.token`."""
    return _usual_reader().access_token(connection, minimum_seconds=minimum_seconds, rejected=rejected)


def token(connection: str, *, minimum_seconds: float = 3600.0, rejected: str = "") -> Token:
    """The token of a connection and what is known about it; see `Reader.token`."""
    return _usual_reader().token(connection, minimum_seconds=minimum_seconds, rejected=rejected)
