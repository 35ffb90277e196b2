"""Storing a token that exists already: TikTok is asked first, and the rules of a re-connection hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from tokenkeeper import clock, grant, transitions
from tokenkeeper.cli.context import READ_SECONDS
from tokenkeeper.cli.importlines import ImportRefused, Token
from tokenkeeper.clock import Deadline
from tokenkeeper.connection import Conflict, Connection
from tokenkeeper.errors import (
    KeeperError,
    Kind,
    SecretMissing,
    TikTokError,
    TikTokRefused,
    TikTokSilent,
    TikTokUnreachable,
)
from tokenkeeper.grant import Grant, TokenResponse
from tokenkeeper.store import lease
from tokenkeeper.store.persist import STORE_SECONDS, store_authorization
from tokenkeeper.store.vault import Vault
from tokenkeeper.tiktok.families import TikTok
from tokenkeeper.tiktok.reach import Reach

T = TypeVar("T")

_NAME_SECONDS = 5.0
_WAIT_FOR_LEASE = 15.0
_LONGEST_LIFE = 366 * 86_400.0  # seconds; what lives longer is not dated back
_PAUSES = (1.0, 2.0, 4.0, 8.0)  # seconds, after answers that there are too many calls
_CONFLICTS: Mapping[Conflict, str] = {
    "other_family": "{name} is of the family {family}, and the token is not.",
    "other_account": "The token is for another TikTok account than {name}.",
    "other_advertisers": "The token reaches none of the ad accounts of {name}.",
}
_ADVICE = {
    **dict.fromkeys(
        (Kind.REAUTHORIZE, Kind.EXPIRED, Kind.RESTART),
        "the token has ended, or belongs to another app than TIKTOK_APP_ID. Connect again: make link.",
    ),
    Kind.PERMISSION: "the token lacks a permission, so it cannot be checked.",
    Kind.OPERATOR: "check TIKTOK_APP_ID and TIKTOK_APP_SECRET, or run make doctor.",  # true of every token
}


@dataclass(frozen=True)
class Importer:
    """Imports tokens. One instance serves many threads."""

    vault: Vault  # where to
    tiktok: TikTok  # where the tokens came from
    app_id: str  # the app that `tiktok` speaks for

    def store(self, token: Token, *, spare_healthy: bool = False) -> Grant | None:
        """Store a token, if TikTok accepts it; returns the grant, or None where the connection is left as it is.

        That is where it is well, and this very token made it; with `spare_healthy`, whatever made it, so that an old
        file never replaces a newer grant. A refresh token that it came without the first time is stored all the same.

        Raises:
            ImportRefused: TikTok does not accept it, or the rules of a re-connection do not allow it.
            KeeperError: TikTok or Secret Manager failed, or somebody else holds the connection.
        """
        name, deadline = token.connection, Deadline(STORE_SECONDS)
        import_id = f"import-{token.response.access_token.fingerprint}"
        with suppress(SecretMissing):
            known = self.vault.connection(name, Deadline(READ_SECONDS))
            again = known.last_link == import_id
            completes = again and token.response.refresh_token and known.kind != "expiring"
            if known.made and known.health == "ok" and (again or spare_healthy) and not completes:
                return None
        found, reach = self._confirmed(token)

        def check(connection: Connection) -> None:
            problem = None if token.any_account else connection.conflict(found)
            if problem:
                text = _CONFLICTS[problem].format(name=name, family=connection.family)
                raise ImportRefused(f"{text} ANY_ACCOUNT=1 (--any-account) allows it.")

        with lease.hold(
            self.vault, name, "cli", deadline, wait=_WAIT_FOR_LEASE, create=token.labels, check=check
        ) as held:
            stored = found.dated(found.obtained_at, held.connection.obtained_at)
            store_authorization(self.vault, held, stored, deadline)
            names = reach.names(stored.advertiser_ids)
            held.finish(
                lambda before: transitions.connected(before, stored, clock.now(), import_id, token.labels, names),
                deadline,
            )
        return stored

    def _confirmed(self, token: Token) -> tuple[Grant, Reach]:
        """The grant, as TikTok confirms it, and what it reaches."""
        family, response = self.tiktok.family(token.family), token.response
        try:
            if token.family == "account" and not response.open_id:
                known = _patiently(lambda: self.tiktok.accounts.describe(response.access_token))
                response = response._replace(open_id=known.open_id, scope=response.scope or known.scope)
            found = grant.first(
                response,
                connection=token.connection,
                app_id=self.app_id,
                family=token.family,
                asked_at=token.obtained_at or _presumed_time(response),
            )
            reach = _patiently(lambda: family.check(found))
        except TikTokRefused as error:
            kind_of_error = KeeperError if error.kind is Kind.OPERATOR else ImportRefused
            raise kind_of_error(f"{error}: {_ADVICE.get(error.kind, 'try again later.')}") from None
        except (TikTokUnreachable, TikTokSilent) as error:
            raise ImportRefused(f"{error}: check the network, and try again.") from None
        if token.family == "account":
            with suppress(TikTokError):
                found = found.with_username(family.names(found, _NAME_SECONDS).username)
            return found, reach
        if reach.advertisers is not None:
            found = found.with_advertisers(tuple(reach.advertisers))
        elif not found.advertiser_ids:
            raise ImportRefused(
                "The token works, but may not list its ad accounts: give TikTok's whole JSON answer, which names them."
            )
        if not found.advertiser_ids:
            raise ImportRefused("TikTok lists no ad account for the token.")
        return found, reach


def _presumed_time(response: TokenResponse) -> datetime:
    """When a token counts as issued where nobody knows: so that it is past half of its life.

    So the next run refreshes it and learns from TikTok's answer when it really ends.
    """
    life = response.expires_in or 0
    return clock.now() - timedelta(seconds=life / 2 if life < _LONGEST_LIFE else 0)


def _patiently(call: Callable[[], T]) -> T:
    """The call's result; answers that there are too many calls are waited out."""
    for pause in _PAUSES:
        try:
            return call()
        except TikTokRefused as error:
            if error.kind is not Kind.THROTTLED:
                raise
            clock.sleep(pause)
    return call()
