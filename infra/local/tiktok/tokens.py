"""Access and refresh tokens of both families: which of them work, what a refresh makes of them, how they end.

Lifetimes and rotation follow TikTok's pages "Authentication" and "Refresh a token"; where these leave something open,
it is an option.
"""

import base64
import hashlib
import secrets
import threading
from pathlib import Path
from typing import Any

from local.tiktok.answers import Refusal
from local.tiktok.options import Family, Options
from local.tiktok.records import Approval, Grant, Records, Token

ACCESS_SECONDS = 86_400
"""Life of an expiring grant's access token."""


class Tokens:
    """All tokens that were given out, safe for many threads.

    Args:
        options: the behaviour.
        path: file that keeps everything over a restart; None keeps it in memory.

    Attributes:
        options: the behaviour from now on; replace it as a whole.
        records: everything that was given out.
        lock: held while it is read or changed.
    """

    def __init__(self, options: Options, path: Path | None) -> None:
        self.options = options
        self.records = Records(path)
        self.lock = threading.RLock()

    def now(self) -> float:
        """Seconds since the epoch."""
        raise NotImplementedError

    def authenticate(self, access_token: str, family: Family = "advertiser") -> Grant:
        """The grant that a working access token belongs to, its tokens being the newest ones.

        Raises:
            Refusal: 40105, or 40102.
        """
        with self.lock:
            token = self.records.access.get(access_token)
            if token is None or self._approval(token).family != family or self._approval(token).revoked:
                raise Refusal(40105)
            if self._ended(token):
                raise Refusal(40102)
            return self._grant(token.approval)

    def revoke(self, access_token: str) -> Grant:
        """Takes back the whole approval that an access token belongs to.

        Raises:
            KeyError: no such access token was ever given out.
        """
        with self.lock:
            number = self.records.access[access_token].approval
            self.records.approvals[number].revoked = True
            self.records.save()
            return self._grant(number)

    @property
    def grants(self) -> list[Grant]:
        """Every grant as it stands now, revoked ones too, in the order of their approval."""
        with self.lock:
            return [self._grant(number) for number in range(len(self.records.approvals))]

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
        return self.records.approvals[token.approval]

    def _ended(self, token: Token) -> bool:
        return token.expires_at is not None and self.now() >= token.expires_at

    def use(self, refresh_token: str, family: Family, unknown: int) -> Grant:
        """Exchanges a refresh token for new tokens.

        Args:
            refresh_token: what was presented.
            family: whose endpoint it was presented to.
            unknown: the code of the refusal where it is none of that family's.

        Raises:
            Refusal: that code; 40107 for a used or revoked one, 40103 for one that has ended.
        """
        with self.lock:
            token = self.records.refresh.get(refresh_token)
            if token is None or self._approval(token).family != family:
                raise Refusal(unknown)
            approval = self._approval(token)
            if not token.valid and self.options.punish_reuse:
                approval.revoked = True
                self.records.save()
            if approval.revoked or not token.valid:
                raise Refusal(40107)
            if self._ended(token):
                raise Refusal(40103)
            if self.options.rotation == "new":
                token.valid = False
                self._issue_refresh(token.approval, token.expires_at)
            self._issue_access(token.approval)
            self.records.save()
            return self._grant(token.approval)

    def _grant(self, number: int) -> Grant:
        approval = self.records.approvals[number]
        refresh = approval.refresh_token
        return Grant(
            access_token=approval.access_token,
            family=approval.family,
            advertiser_ids=tuple(approval.advertiser_ids),
            scope=tuple(approval.scope),
            expires_at=self.records.access[approval.access_token].expires_at,
            refresh_token=refresh,
            refresh_expires_at=None if refresh is None else self.records.refresh[refresh].expires_at,
            open_id=_open_id(approval.username) if approval.username else "",
            username=approval.username,
            revoked=approval.revoked,
        )

    def _issue_access(self, number: int) -> None:
        approval = self.records.approvals[number]
        ends = None if approval.refresh_token is None else self.now() + ACCESS_SECONDS
        approval.access_token = _new_token(approval.family, "act.")
        self.records.access[approval.access_token] = Token(number, ends)

    def _issue_refresh(self, number: int, ends: float | None) -> None:
        token = _new_token(self.records.approvals[number].family, "rft.")
        self.records.approvals[number].refresh_token = token
        self.records.refresh[token] = Token(number, ends)


def _new_token(family: Family, prefix: str) -> str:
    return secrets.token_hex(20) if family == "advertiser" else prefix + secrets.token_urlsafe(48)


def _open_id(username: str) -> str:
    """An account's id, always the same."""
    return "_000" + base64.urlsafe_b64encode(hashlib.sha256(username.encode()).digest())[:36].decode()
