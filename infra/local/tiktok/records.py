"""What the simulated TikTok remembers: codes, approvals and tokens, in memory or in one file."""

import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from local.serving import CannotStart
from local.tiktok.options import Family, Kind

T = TypeVar("T")


@dataclass(frozen=True)
class Grant:
    """What TikTok gave for one approval, as it stands now.

    Attributes:
        access_token: the newest one.
        family: whether an advertiser approved or a TikTok account's holder.
        advertiser_ids: ad accounts that it reaches; none in the family of accounts.
        scope: ids of permissions; names in the family of accounts.
        expires_at: end of the access token, seconds since the epoch; None for a long-lived one.
        refresh_token: the one that is good now; None for a long-lived grant.
        refresh_expires_at: end of the refresh token, seconds since the epoch.
        open_id: the account, as this app knows it; "" in the family of advertisers.
        username: the account's user name; "" likewise.
        revoked: whether it has been taken back.
    """

    access_token: str = field(repr=False)
    family: Family = "advertiser"
    advertiser_ids: tuple[str, ...] = ()
    scope: tuple[Any, ...] = ()
    expires_at: float | None = None
    refresh_token: str | None = field(default=None, repr=False)
    refresh_expires_at: float | None = None
    open_id: str = ""
    username: str = ""
    revoked: bool = False

    @property
    def kind(self) -> Kind:
        return "long-lived" if self.refresh_token is None else "expiring"


@dataclass
class Code:
    """An authorization code that was not exchanged yet, or was."""

    kind: Kind
    scope: list[Any]
    expires_at: float
    family: Family = "advertiser"
    advertiser_ids: list[str] = field(default_factory=list)
    username: str = ""
    redirect_uri: str | None = None
    used: bool = False


@dataclass
class Approval:
    """One person's approval; its tokens change with every refresh, it stays."""

    scope: list[Any]
    family: Family = "advertiser"
    advertiser_ids: list[str] = field(default_factory=list)
    username: str = ""
    access_token: str = ""
    refresh_token: str | None = None
    revoked: bool = False


@dataclass
class Token:
    """An access or a refresh token: the number of its approval, when it ends, and whether it was replaced."""

    approval: int
    expires_at: float | None
    valid: bool = True


class Records:
    """Everything that survives a restart.

    Args:
        path: JSON file, mode 0600, that keeps it; None keeps it in memory.

    Raises:
        CannotStart: The file is not the state of a simulated TikTok.
    """

    def __init__(self, path: Path | None) -> None:
        self.codes: dict[str, Code] = {}
        self.approvals: list[Approval] = []
        self.access: dict[str, Token] = {}
        self.refresh: dict[str, Token] = {}
        self._path = path
        if path is not None:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if path.exists():
                self._load(path)

    def save(self) -> None:
        """Writes the file, whole or not at all."""
        if self._path is None:
            return
        kept = {
            "codes": {code: asdict(value) for code, value in self.codes.items() if not value.used},
            "approvals": [asdict(approval) for approval in self.approvals],
            "access": {token: asdict(value) for token, value in self.access.items()},
            "refresh": {token: asdict(value) for token, value in self.refresh.items()},
        }
        unfinished = self._path.with_name(self._path.name + ".new")
        unfinished.unlink(missing_ok=True)
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(kept, file)
        unfinished.replace(self._path)

    def _load(self, path: Path) -> None:
        try:
            kept: dict[str, Any] = json.loads(path.read_text())
            self.codes = {code: _read(Code, value) for code, value in kept["codes"].items()}
            self.approvals = [_read(Approval, value) for value in kept["approvals"]]
            self.access = {token: _read(Token, value) for token, value in kept["access"].items()}
            self.refresh = {token: _read(Token, value) for token, value in kept["refresh"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise CannotStart(
                f"{path} is not the state of a simulated TikTok: remove the file to start without."
            ) from None


def _read(kind: type[T], record: dict[str, Any]) -> T:
    """A record without what only an older release knew."""
    names = {one.name for one in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in record.items() if name in names})
