"""Access and refresh tokens of both families: which of them work, what a refresh makes of them, how they end.

Lifetimes and rotation follow TikTok's pages "Authentication" and "Refresh a token"; where these leave something open,
it is an option.
"""

import base64
import hashlib
import secrets
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.tiktok.answers import APP_MISMATCH, Refusal
from local.tiktok.options import Family, Options
from local.tiktok.records import Approval, Grant, Records, Token


@dataclass
class _Failure:
    refusal: Refusal
    times: int | None


class Tokens:
    """All tokens that were given out, safe for many threads.

    Args:
        options: the behaviour.
        path: file that keeps everything over a restart; None keeps it in memory.

    Attributes:
        options: the behaviour from now on; replace it as a whole.
        spent: how often each refresh token was presented: once when it is used, more often when it is reused.
        reused: refresh tokens that were presented after they had been used, once for each time.
    """

    def __init__(self, options: Options, path: Path | None) -> None:
        self.options = options
        self.spent: Counter[str] = Counter()
        self.reused: list[str] = []
        self._records = Records(path)
        self._failures: dict[str, _Failure] = {}
        self._lock = threading.RLock()

    def now(self) -> float:
        """Seconds since the epoch."""
        raise NotImplementedError

    def authenticate(self, access_token: str, family: Family = "advertiser", app_id: str | None = None) -> Grant:
        """The grant that a working access token belongs to, its tokens being the newest ones.

        Raises:
            Refusal: 40104 without a token; 40105, 40102, or 40000 for a token of another app than `app_id`.
        """
        with self._lock:
            if not access_token:
                raise Refusal(40104)
            token = self._records.access.get(access_token)
            if token is None or self._approval(token).family != family:
                raise Refusal(40105)
            self._fail(access_token)
            if self._approval(token).revoked or not token.valid:
                raise Refusal(40105)
            if self._ended(token):
                raise Refusal(40102)
            if app_id is not None and self._approval(token).app_id != app_id:
                raise Refusal(40000, APP_MISMATCH)
            return self._grant(token.approval)

    # What happens to grants.

    def revoke(self, access_token: str) -> Grant:
        """Takes back the whole approval that an access token belongs to.

        Raises:
            KeyError: no such access token was ever given out.
        """
        with self._lock:
            number = self._records.access[access_token].approval
            self._records.approvals[number].revoked = True
            self._records.save()
            return self._grant(number)

    def set_advertisers(self, access_token: str, advertiser_ids: Iterable[str]) -> None:
        """Changes which ad accounts an approval reaches.

        Raises:
            KeyError: no such access token was ever given out.
        """
        with self._lock:
            self._approval(self._records.access[access_token]).advertiser_ids = list(advertiser_ids)
            self._records.save()

    def fail_token(self, token: str, code: int, message: str = "", *, times: int | None = 1) -> None:
        """Has the next calls with that access or refresh token refused, whatever the others do; None: all calls."""
        with self._lock:
            self._failures[token] = _Failure(Refusal(code, message), times)

    @property
    def grants(self) -> list[Grant]:
        """Every grant as it stands now, revoked ones too, in the order of their approval."""
        with self._lock:
            return [self._grant(number) for number in range(len(self._records.approvals))]

    def is_alive(self, access_token: str) -> bool:
        """Whether an access token works: given out, neither revoked nor replaced nor expired."""
        with self._lock:
            token = self._records.access.get(access_token)
            return token is not None and token.valid and not self._ended(token) and not self._approval(token).revoked

    def app_of(self, token: str) -> str | None:
        """The app that an access or refresh token was given to, None for a token that was never given out."""
        with self._lock:
            known = self._records.access.get(token) or self._records.refresh.get(token)
            return None if known is None else self._approval(known).app_id

    # For the token endpoints.

    def refresh_fields(self, grant: Grant, *, refreshed: bool = False) -> dict[str, Any]:
        """What an answer says about lifetimes (seconds from now) and the refresh token; nothing, if it has none.

        Args:
            grant: the grant that is answered.
            refreshed: whether it is the answer to a refresh, from which the refresh token may be omitted.
        """
        if grant.refresh_token is None or grant.expires_at is None or grant.refresh_expires_at is None:
            return {}
        fields: dict[str, Any] = {"expires_in": round(grant.expires_at - self.now())}
        if refreshed and self.options.rotation == "omitted":
            return fields
        lifetime = round(grant.refresh_expires_at - self.now())
        return fields | {"refresh_token": grant.refresh_token, "refresh_token_expires_in": lifetime}

    def _approval(self, token: Token) -> Approval:
        return self._records.approvals[token.approval]

    def _family_of(self, app_id: str, refresh_token: str) -> Family | None:
        token = self._records.refresh.get(refresh_token)
        if token is None or self._approval(token).app_id != app_id:
            return None
        return self._approval(token).family

    def _ended(self, token: Token) -> bool:
        return token.expires_at is not None and self.now() >= token.expires_at

    def _refresh(self, refresh_token: str) -> Grant:
        token = self._records.refresh[refresh_token]
        self._fail(refresh_token)
        approval = self._approval(token)
        if not token.valid:
            self.spent[refresh_token] += 1
            self.reused.append(refresh_token)
            approval.revoked = approval.revoked or self.options.punish_reuse
            self._records.save()
            raise Refusal(40107)
        if approval.revoked:
            raise Refusal(40107)
        if self._ended(token):
            raise Refusal(40103)
        self.spent[refresh_token] += 1
        if self.options.rotation == "new":
            token.valid = False
            extends = self.options.refresh_extends
            self._issue_refresh(
                token.approval, self.now() + self.options.refresh_seconds if extends else token.expires_at
            )
        self._records.access[approval.access_token].valid = self.options.keep_old_access_token
        self._issue_access(token.approval)
        self._records.save()
        return self._grant(token.approval)

    def _grant(self, number: int) -> Grant:
        approval = self._records.approvals[number]
        refresh = approval.refresh_token
        return Grant(
            app_id=approval.app_id,
            access_token=approval.access_token,
            family=approval.family,
            advertiser_ids=tuple(approval.advertiser_ids),
            scope=tuple(approval.scope),
            expires_at=self._records.access[approval.access_token].expires_at,
            refresh_token=refresh,
            refresh_expires_at=None if refresh is None else self._records.refresh[refresh].expires_at,
            open_id=_open_id(approval.app_id, approval.username) if approval.username else "",
            username=approval.username,
            revoked=approval.revoked,
        )

    def _issue_access(self, number: int) -> None:
        approval = self._records.approvals[number]
        ends = None if approval.refresh_token is None else self.now() + self.options.access_seconds
        approval.access_token = _new_token(approval.family, "act.")
        self._records.access[approval.access_token] = Token(number, ends)

    def _issue_refresh(self, number: int, ends: float | None) -> None:
        token = _new_token(self._records.approvals[number].family, "rft.")
        self._records.approvals[number].refresh_token = token
        self._records.refresh[token] = Token(number, ends)

    def _fail(self, token: str) -> None:
        failure = self._failures.get(token)
        if failure is None:
            return
        if failure.times is not None:
            failure.times -= 1
            if failure.times <= 0:
                del self._failures[token]
        raise failure.refusal


def _new_token(family: Family, prefix: str) -> str:
    return secrets.token_hex(20) if family == "advertiser" else prefix + secrets.token_urlsafe(48)


def _open_id(app_id: str, username: str) -> str:
    """An account's id, another one for each app."""
    digest = hashlib.sha256(f"{app_id} {username}".encode()).digest()
    return "_000" + base64.urlsafe_b64encode(digest)[:36].decode()
