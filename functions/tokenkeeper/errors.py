"""What can go wrong, as one tree.

```
KeeperError
├── SettingsError             a setting is missing or invalid
├── LinkInvalid               a connect link or a state not signed by us, changed, or dated in the future
├── LinkExpired               one signed by us, but too old
├── PayloadError              a stored payload that cannot be read
├── LeaseHeld                 somebody else holds the connection's lease
├── LeaseLost                 somebody else took the lease over, or the connection was deleted
├── Superseded                somebody else stored a newer grant of the connection
├── BadRequestError           `refresh` is asked for what no run can do
├── RunStopped                all connections of a run would fail alike: carries `reason`
├── ImportRefused             a token was not imported
├── StoreError                Secret Manager: carries `secret_id` and Google's `reason`
│   ├── SecretMissing         no such secret or version
│   ├── VersionUnreadable     the version is disabled or destroyed
│   ├── SecretExists          somebody else created the secret meanwhile
│   ├── SecretChanged         the etag is stale: somebody else wrote first
│   ├── StoreForbidden        refused, and it will not pass by itself: a role, a policy, a disabled API or key
│   ├── StoreRejected         the request is not accepted as it is
│   └── StoreUnavailable      away, slow or broken: it may work later, and what was sent may have been done
│       └── StoreThrottled    too many calls: nothing was done
└── TikTokError               the TikTok Business API: carries `request_id`
    ├── TikTokRefused         answered with a code other than 0: carries `code` and `kind`
    ├── TikTokUnreachable     no connection: the request has certainly not arrived
    └── TikTokSilent          sent, but no usable answer came back: nobody knows whether it was done
```

The text of each is fit for a log as it stands: it never holds what was sent or received, except Google's own sentence.
Three exceptions are not in the tree, since each becomes something else where it is caught: `connect.refusal.Refused` a
page, `refresh.outcome.TryAgain` a retry, `checks.Invalid` a sentence with the name of what is invalid.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class KeeperError(Exception):
    """Root of the tree."""


class SettingsError(KeeperError):
    """A setting is missing or invalid. The text names the variable, the problem and a valid example."""


class LinkInvalid(KeeperError):
    """A connect link or a state not signed by us, changed on the way, of another kind, or dated in the future."""


class LinkExpired(KeeperError):
    """A connect link or a state signed by us and unchanged, but too old."""


class PayloadError(KeeperError):
    """A stored payload that cannot be read."""


class LeaseHeld(KeeperError):
    """Somebody else holds the connection's lease."""


class LeaseLost(KeeperError):
    """Somebody else took the lease over, or the connection was deleted."""


class Cause(Enum):
    """Why Google refused a call, as far as its answer tells; the value is the remedy, a sentence for the operator."""

    ROLE = "Grant the missing role."
    API_DISABLED = "Enable the API: gcloud services enable secretmanager.googleapis.com."
    QUOTA_PROJECT = (
        "The credentials' quota project is the problem, not the project with the secrets: "
        "gcloud auth application-default set-quota-project PROJECT."
    )
    PERIMETER = "VPC Service Controls refuse the call: give the unique id in Google's sentence to the administrator."
    BILLING = "Enable billing for the project."
    POLICY = "An organization policy refuses it: see Google's sentence; for locations, set SECRET_LOCATIONS."
    KEY = "The encryption key is disabled or may not be used: see SECRET_KMS_KEY."
    LOGIN = "The login is over: gcloud auth application-default login."
    OTHER = "See Google's sentence."


class GoogleReason(NamedTuple):
    """What Google said about a call that it did not carry out."""

    status: str = ""  # Google's status, such as `PERMISSION_DENIED`; empty where there was no answer
    reason: str = ""  # `reason` of the answer's ErrorInfo, such as `SERVICE_DISABLED`; empty where there is none
    sentence: str = ""  # Google's own message, in one line
    cause: Cause = Cause.OTHER  # what that amounts to

    def __str__(self) -> str:
        """Google's words, for the end of a sentence of ours; empty where Google said nothing."""
        named = ", ".join(filter(None, (self.status, self.reason)))
        return f"Google: {self.sentence} ({named})" if self.sentence and named else self.sentence or named


class Superseded(KeeperError):
    """Somebody else stored a newer grant of the connection: the one at hand counts no more."""


class StoreError(KeeperError):
    """Secret Manager refused, failed, or did not answer. `secret_id` is empty for a list; `reason` is Google's."""

    def __init__(self, text: str, secret_id: str = "", reason: GoogleReason | None = None) -> None:
        super().__init__(text)
        self.secret_id = secret_id
        self.reason = reason or GoogleReason()


class SecretMissing(StoreError):
    """No such secret or version."""


class VersionUnreadable(StoreError):
    """The version exists, but is disabled or destroyed."""


class SecretExists(StoreError):
    """Somebody else created a secret of that name meanwhile."""


class SecretChanged(StoreError):
    """The etag is stale: somebody else wrote first."""


class StoreForbidden(StoreError):
    """Refused for a reason that will not pass by itself: a role, a policy, a disabled API or key, a login."""


class StoreRejected(StoreError):
    """Secret Manager does not accept the request as it is."""


class StoreUnavailable(StoreError):
    """Away, slow or broken. It may work later, and what was sent may have been done all the same."""


class StoreThrottled(StoreUnavailable):
    """Too many calls: nothing was done."""


class Kind(Enum):
    """What a failure at TikTok asks for; see "Kinds of failure" in the documentation."""

    THROTTLED = "throttled"  # too many calls: slower, later
    TRANSIENT = "transient"  # wrong for a moment: again later
    OPERATOR = "operator"  # all connections would fail alike: stop and alert the operator
    SUSPECT = "suspect"  # the app's trouble or one advertiser's: as OPERATOR once a second connection gets it
    REAUTHORIZE = "reauthorize"  # only a new authorization helps
    PERMISSION = "permission"  # REAUTHORIZE if the token turns out to be dead; else only a permission is missing
    EXPIRED = "expired"  # the token is no longer accepted: refresh it, or REAUTHORIZE where there is no refresh token
    RESTART = "restart"  # the authorization code cannot be used (any more): begin the connection again


class TikTokError(KeeperError):
    """The TikTok Business API did not do what it was asked. `request_id` is for its support; empty: there was none."""

    def __init__(self, text: str, request_id: str = "") -> None:
        super().__init__(f"{text} (request {request_id})" if request_id else text)
        self.request_id = request_id


class TikTokRefused(TikTokError):
    """TikTok answered with a code other than 0, which asks for what `kind` says."""

    def __init__(self, kind: Kind, code: int, request_id: str) -> None:
        super().__init__(f"TikTok answered with code {code}", request_id)
        self.kind = kind
        self.code = code


class TikTokUnreachable(TikTokError):
    """No connection to TikTok came about: the request has certainly not arrived."""


class TikTokSilent(TikTokError):
    """The request was sent, but no usable answer of TikTok's came back."""
