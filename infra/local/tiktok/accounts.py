"""What the simulated TikTok knows: apps, ad accounts, authorization codes, grants and their tokens.

No HTTP here: `tiktok` asks, this answers or raises `Refusal`. Lifetimes and rotation follow TikTok's pages
"Authentication" and "Refresh a token"; where they leave something open, it is a setting.
"""

import json
import os
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from local.serving import CannotStart
from local.tiktok.answers import APP_MISMATCH, Refusal

Kind = Literal["long-lived", "expiring"]
Rotation = Literal["new", "same", "omitted"]

DEFAULT_SCOPE = (4, 10, 200, 210, 220, 30)
CODE_SECONDS = 3600
TOKEN_LENGTH = 40

READ_ACCOUNTS = frozenset({100, 10, 1})
READ_CAMPAIGNS = frozenset({200, 20, 2})
READ_AD_GROUPS = frozenset({210, 21, 2})
READ_ADS = frozenset({220, 22, 2})
READ_REPORTS = frozenset({4, 40, 41, 42, 43, 44})


@dataclass(frozen=True)
class Grant:
    """What TikTok gave for one approval, as it stands now.

    Attributes:
        app_id: the app it was given to.
        access_token: the newest one.
        advertiser_ids: ad accounts that it reaches.
        scope: ids of the permissions.
        expires_at: end of the access token, seconds since the epoch; None for a long-lived one.
        refresh_token: the one that is good now; None for a long-lived grant.
        refresh_expires_at: end of the refresh token, seconds since the epoch.
        revoked: whether it has been taken back.
    """

    app_id: str
    access_token: str = field(repr=False)
    advertiser_ids: tuple[str, ...] = ()
    scope: tuple[int, ...] = ()
    expires_at: float | None = None
    refresh_token: str | None = field(default=None, repr=False)
    refresh_expires_at: float | None = None
    revoked: bool = False

    @property
    def kind(self) -> Kind:
        return "long-lived" if self.refresh_token is None else "expiring"


@dataclass
class _Code:
    app_id: str
    kind: Kind
    advertiser_ids: list[str]
    scope: list[int]
    expires_at: float
    used: bool = False


@dataclass
class _Approval:
    """One person's approval; its tokens change with every refresh, it stays."""

    app_id: str
    advertiser_ids: list[str]
    scope: list[int]
    access_token: str = ""
    refresh_token: str | None = None
    revoked: bool = False


@dataclass
class _Token:
    """An access or a refresh token: whose it is, when it ends, and whether it still counts."""

    approval: int
    expires_at: float | None
    valid: bool = True


@dataclass
class _Trouble:
    refusal: Refusal
    times: int | None


class Accounts:
    """Everything the simulated TikTok remembers, safe for many threads.

    Args:
        clock: seconds since the epoch.
        advertisers: the approver's ad accounts, as pairs of id and name.
        kind: what kind of grant a code is exchanged for, unless the approval says otherwise.
        access_seconds: life of an expiring grant's access token.
        refresh_seconds: life of its refresh token. Refreshing does not extend it unless `refresh_extends`.
        refresh_extends: whether each new refresh token lives for the whole of `refresh_seconds` again.
        rotation: whether a refresh answers with a new refresh token, with the same or with none; the old one dies
            only where there is a new one.
        keep_old_access_token: whether the access token from before a refresh works until its own end.
        punish_reuse: whether presenting a spent refresh token revokes the grant.
        path: JSON file, mode 0600, that keeps codes and grants over a restart; None keeps them in memory only.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        advertisers: Iterable[tuple[str, str]],
        kind: Kind = "long-lived",
        access_seconds: int = 86400,
        refresh_seconds: int = 31536000,
        refresh_extends: bool = False,
        rotation: Rotation = "new",
        keep_old_access_token: bool = True,
        punish_reuse: bool = False,
        path: Path | None = None,
    ) -> None:
        self.kind: Kind = kind
        self.rotation: Rotation = rotation
        self.access_seconds = access_seconds
        self.refresh_seconds = refresh_seconds
        self.refresh_extends = refresh_extends
        self.keep_old_access_token = keep_old_access_token
        self.punish_reuse = punish_reuse
        self.spent: Counter[str] = Counter()
        self.reused: list[str] = []
        self._clock = clock
        self._advertisers = dict(advertisers)
        self._apps: dict[str, str] = {}
        self._codes: dict[str, _Code] = {}
        self._approvals: list[_Approval] = []
        self._access: dict[str, _Token] = {}
        self._refresh: dict[str, _Token] = {}
        self._troubles: dict[str, _Trouble] = {}
        self._path = path
        self._lock = threading.RLock()
        if path is not None:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if path.exists():
                self._load(path)

    def add_app(self, app_id: str, app_secret: str) -> None:
        """Registers one more developer app."""
        with self._lock:
            self._apps[app_id] = app_secret

    def has_app(self, app_id: str) -> bool:
        return app_id in self._apps

    @property
    def advertisers(self) -> list[tuple[str, str]]:
        """The approver's ad accounts, as pairs of id and name."""
        return list(self._advertisers.items())

    def name(self, advertiser_id: str) -> str:
        return self._advertisers.get(advertiser_id, f"Account {advertiser_id}")

    def authorize(
        self, app_id: str, kind: Kind | None, advertisers: Sequence[str] | None, scope: Sequence[int] | None
    ) -> str:
        """Approves an app as a person would on the consent page.

        Args:
            app_id: the app that is approved.
            kind: kind of grant the code will be exchanged for; None for the setting.
            advertisers: ids of the ticked ad accounts, possibly none; None for all there are.
            scope: permissions; None for the usual ones.

        Returns:
            An authorization code, good for one exchange within an hour.
        """
        code = secrets.token_hex(TOKEN_LENGTH // 2)
        with self._lock:
            self._codes[code] = _Code(
                app_id,
                kind or self.kind,
                list(self._advertisers if advertisers is None else advertisers),
                list(DEFAULT_SCOPE if scope is None else scope),
                self._clock() + CODE_SECONDS,
            )
            self._save()
        return code

    def exchange(self, app_id: str, app_secret: str, auth_code: str) -> Grant:
        """Spends an authorization code, as POST /oauth2/access_token/ does."""
        with self._lock:
            self.check_app(app_id, app_secret)
            if len(auth_code) != TOKEN_LENGTH or not set(auth_code) <= set("0123456789abcdef"):
                raise Refusal(40002, "auth_code: Invalid format.")
            code = self._codes.get(auth_code)
            if code is None or code.app_id != app_id or code.used or self._clock() >= code.expires_at:
                raise Refusal(40110)
            code.used = True
            number = len(self._approvals)
            self._approvals.append(_Approval(app_id, code.advertiser_ids, code.scope))
            if code.kind == "expiring":
                self._issue_refresh(number, self._clock() + self.refresh_seconds)
            self._issue_access(number)
            self._save()
            return self._grant(number)

    def refresh(self, app_id: str, app_secret: str, refresh_token: str) -> Grant:
        """Spends a refresh token, as POST /oauth2/refresh_token/ does."""
        with self._lock:
            self.check_app(app_id, app_secret)
            token = self._refresh.get(refresh_token)
            if token is None or self._approvals[token.approval].app_id != app_id:
                raise Refusal(40107)
            self._raise_trouble(refresh_token)
            approval = self._approvals[token.approval]
            if not token.valid:
                self.spent[refresh_token] += 1
                self.reused.append(refresh_token)
                approval.revoked = approval.revoked or self.punish_reuse
                self._save()
                raise Refusal(40107)
            if approval.revoked:
                raise Refusal(40107)
            if self._over(token):
                raise Refusal(40103)
            self.spent[refresh_token] += 1
            if self.rotation == "new":
                token.valid = False
                ends = self._clock() + self.refresh_seconds if self.refresh_extends else token.expires_at
                self._issue_refresh(token.approval, ends)
            self._access[approval.access_token].valid = self.keep_old_access_token
            self._issue_access(token.approval)
            self._save()
            return self._grant(token.approval)

    def revoke(self, access_token: str) -> Grant:
        """Takes back the whole approval that an access token belongs to.

        Raises:
            KeyError: no such access token was ever given out.
        """
        with self._lock:
            number = self._access[access_token].approval
            self._approvals[number].revoked = True
            self._save()
            return self._grant(number)

    def authenticate(self, access_token: str, *, app_id: str | None = None) -> Grant:
        """The grant that a working access token belongs to, its tokens being the newest ones.

        Raises:
            Refusal: 40104 without a token; 40105, 40102, or 40000 for a token of another app than `app_id`.
        """
        with self._lock:
            if not access_token:
                raise Refusal(40104)
            token = self._access.get(access_token)
            if token is None:
                raise Refusal(40105)
            self._raise_trouble(access_token)
            if self._revoked(token) or not token.valid:
                raise Refusal(40105)
            if self._over(token):
                raise Refusal(40102)
            if app_id is not None and self._approvals[token.approval].app_id != app_id:
                raise Refusal(40000, APP_MISMATCH)
            return self._grant(token.approval)

    def is_alive(self, access_token: str) -> bool:
        """Whether an access token works: given out, neither revoked nor replaced nor expired."""
        with self._lock:
            token = self._access.get(access_token)
            return token is not None and token.valid and not self._over(token) and not self._revoked(token)

    def secret(self, app_id: str) -> str:
        """The app's secret.

        Raises:
            KeyError: no such app.
        """
        return self._apps[app_id]

    def check_app(self, app_id: str, app_secret: str) -> None:
        """Raises Refusal 40101 unless the secret is the app's."""
        if self._apps.get(app_id) != app_secret:
            raise Refusal(40101)

    def app_of(self, token: str) -> str | None:
        """The app that an access or refresh token was given to, None for a token that was never given out."""
        with self._lock:
            known = self._access.get(token) or self._refresh.get(token)
            return None if known is None else self._approvals[known.approval].app_id

    def set_advertisers(self, access_token: str, advertiser_ids: Iterable[str]) -> None:
        """Changes which ad accounts an approval reaches.

        Raises:
            KeyError: no such access token was ever given out.
        """
        with self._lock:
            self._approvals[self._access[access_token].approval].advertiser_ids = list(advertiser_ids)
            self._save()

    def trouble(self, token: str, refusal: Refusal, times: int | None) -> None:
        """Has the next calls with this access or refresh token refused, `times` of them or, with None, all."""
        with self._lock:
            self._troubles[token] = _Trouble(refusal, times)

    @property
    def grants(self) -> list[Grant]:
        """Every grant there is, revoked ones too, in the order of their approval."""
        with self._lock:
            return [self._grant(number) for number in range(len(self._approvals))]

    def _over(self, token: _Token) -> bool:
        return token.expires_at is not None and self._clock() >= token.expires_at

    def _revoked(self, token: _Token) -> bool:
        return self._approvals[token.approval].revoked

    def _grant(self, number: int) -> Grant:
        approval = self._approvals[number]
        refresh = approval.refresh_token
        return Grant(
            app_id=approval.app_id,
            access_token=approval.access_token,
            advertiser_ids=tuple(approval.advertiser_ids),
            scope=tuple(approval.scope),
            expires_at=self._access[approval.access_token].expires_at,
            refresh_token=refresh,
            refresh_expires_at=None if refresh is None else self._refresh[refresh].expires_at,
            revoked=approval.revoked,
        )

    def _issue_access(self, number: int) -> None:
        approval = self._approvals[number]
        ends = None if approval.refresh_token is None else self._clock() + self.access_seconds
        approval.access_token = secrets.token_hex(TOKEN_LENGTH // 2)
        self._access[approval.access_token] = _Token(number, ends)

    def _issue_refresh(self, number: int, ends: float | None) -> None:
        token = secrets.token_hex(TOKEN_LENGTH // 2)
        self._approvals[number].refresh_token = token
        self._refresh[token] = _Token(number, ends)

    def _raise_trouble(self, *tokens: str) -> None:
        for token in tokens:
            trouble = self._troubles.get(token)
            if trouble is None:
                continue
            if trouble.times is not None:
                trouble.times -= 1
                if trouble.times <= 0:
                    del self._troubles[token]
            raise trouble.refusal

    def _save(self) -> None:
        if self._path is None:
            return
        kept = {
            "codes": {code: asdict(value) for code, value in self._codes.items() if not value.used},
            "approvals": [asdict(approval) for approval in self._approvals],
            "access": {token: asdict(value) for token, value in self._access.items()},
            "refresh": {token: asdict(value) for token, value in self._refresh.items()},
        }
        unfinished = self._path.with_name(self._path.name + ".new")
        unfinished.unlink(missing_ok=True)
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(kept, file)
        unfinished.replace(self._path)

    def _load(self, path: Path) -> None:
        try:
            kept: dict[str, Any] = json.loads(path.read_text())
            self._codes = {code: _Code(**value) for code, value in kept["codes"].items()}
            self._approvals = [_Approval(**value) for value in kept["approvals"]]
            self._access = {token: _Token(**value) for token, value in kept["access"].items()}
            self._refresh = {token: _Token(**value) for token, value in kept["refresh"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise CannotStart(f"{path} is no state of the simulated TikTok: remove it to start afresh.") from None
