"""What can go wrong, as one tree.

```
KeeperError
├── SettingsError             a setting is missing or wrong
├── LinkError                 a connect link or a state
│   ├── LinkInvalid           not ours, changed, another kind, from the future
│   ├── LinkExpired           ours once, too old now
│   └── LinkUsed              has done its work, or is older than the connection
├── PayloadError              a stored payload that cannot be read
├── LeaseLost                 somebody else holds the connection now
├── VaultError                Secret Manager
│   ├── SecretMissing         no such secret or version
│   ├── SecretUnreadable      the version is disabled or destroyed
│   ├── SecretExists          created by somebody else meanwhile
│   ├── SecretChanged         the etag is stale: somebody else wrote first
│   ├── VaultForbidden        permission is lacking
│   ├── VaultRejected         Secret Manager does not accept what was sent
│   └── VaultUnavailable      away, slow, out of order: later it may work; what was sent may have taken place
│       └── VaultThrottled    too many calls: nothing took place
└── TikTokError               the TikTok Business API
    ├── TikTokRefused         answered with a code that is not 0
    ├── TikTokUnreachable     never got there: certain not to have arrived
    └── TikTokSilent          sent, but no answer of TikTok's came back: nobody knows whether it took place
```

The text of each is fit for a log as it stands: it never holds what was sent or received.
"""

from __future__ import annotations

from enum import Enum


class KeeperError(Exception):
    """Root of everything that the token keeper raises on purpose."""


class SettingsError(KeeperError):
    """A setting is missing or wrong. The text names the variable, what is wrong and what a right one looks like."""


class LinkError(KeeperError):
    """A connect link or a state that cannot be used."""


class LinkInvalid(LinkError):
    """Not signed by us, changed on the way, of another kind, or dated in the future."""


class LinkExpired(LinkError):
    """Signed by us and unchanged, but too old."""


class LinkUsed(LinkError):
    """The link made the connection, or is older than the connection."""


class PayloadError(KeeperError):
    """A stored payload that cannot be read."""


class LeaseLost(KeeperError):
    """The connection is held by somebody else."""


class VaultError(KeeperError):
    """Secret Manager said no, or nothing."""


class SecretMissing(VaultError):
    """No such secret or version."""


class SecretUnreadable(VaultError):
    """The version is there, but disabled or destroyed."""


class SecretExists(VaultError):
    """A secret of that name was created by somebody else meanwhile."""


class SecretChanged(VaultError):
    """Somebody else wrote first: the etag is stale."""


class VaultForbidden(VaultError):
    """The caller lacks a permission."""


class VaultRejected(VaultError):
    """Secret Manager does not accept what was sent."""


class VaultUnavailable(VaultError):
    """Away, slow or out of order. Later it may work, and what was sent may have taken place all the same."""


class VaultThrottled(VaultUnavailable):
    """Too many calls: nothing took place."""


class Kind(Enum):
    """What a failure at TikTok asks for."""

    THROTTLED = "throttled"
    """Too many calls: slower, later."""
    PASSING = "passing"
    """Wrong for a moment: again later."""
    OURS = "ours"
    """All connections would fail alike: stop and tell the operator."""
    PERSON = "person"
    """Only a new authorization helps."""
    PERMISSION = "permission"
    """A person, if the token turns out to be dead; else only a permission is lacking."""
    EXPIRED = "expired"
    """The access token's time is over: refresh it, or, without a refresh token, a person."""
    RESTART = "restart"
    """The authorization code cannot be used (any more): begin the connection again."""


class TikTokError(KeeperError):
    """The TikTok Business API did not do what it was asked."""


class TikTokRefused(TikTokError):
    """TikTok answered with a code that is not 0.

    Attributes:
        kind: What the code asks for.
        code: TikTok's return code.
        request_id: TikTok's id of the call, for its support; empty where there was none.
    """

    def __init__(self, kind: Kind, code: int, request_id: str) -> None:
        super().__init__(f"TikTok answered with code {code}" + (f" (request {request_id})" if request_id else ""))
        self.kind = kind
        self.code = code
        self.request_id = request_id


class TikTokUnreachable(TikTokError):
    """No connection to TikTok came about: the call has certainly not arrived."""


class TikTokSilent(TikTokError):
    """The call was sent, but no answer of TikTok's came back.

    Attributes:
        request_id: TikTok's id of the call, where an unusable answer had one; else empty.
    """

    def __init__(self, reason: str, request_id: str = "") -> None:
        super().__init__(f"{reason} (request {request_id})" if request_id else reason)
        self.request_id = request_id
