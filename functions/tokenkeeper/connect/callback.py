"""The way back from TikTok, step by step, so that nothing is used up before it can be kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from flask import Request, Response

from tokenkeeper import clock, events, log, transitions
from tokenkeeper import grant as grants
from tokenkeeper.clock import Deadline
from tokenkeeper.connect.cookies import Cookies, Result
from tokenkeeper.connect.flow import Flow
from tokenkeeper.connect.links import Link, Signer, bound_to
from tokenkeeper.connect.pages import redirect
from tokenkeeper.connect.refusal import Refused, refused_by_store, refused_by_tiktok
from tokenkeeper.connect.request import Arguments
from tokenkeeper.connection import Connection
from tokenkeeper.errors import (
    LeaseHeld,
    LeaseLost,
    LinkExpired,
    LinkInvalid,
    SettingsError,
    StoreError,
    TikTokError,
    TikTokUnreachable,
)
from tokenkeeper.grant import Grant, TokenResponse
from tokenkeeper.secret import Secret
from tokenkeeper.settings import Settings
from tokenkeeper.store.lease import CALLBACK, Lease, hold
from tokenkeeper.store.persist import store_authorization
from tokenkeeper.store.vault import Vault
from tokenkeeper.tiktok.coverage import missing_permissions, with_tables
from tokenkeeper.tiktok.families import TikTok
from tokenkeeper.tiktok.reach import Reach
from tokenkeeper.transitions import Change

_LEASE_WAIT = 15.0  # seconds
_PREPARE_SECONDS = 30.0  # for step 3, waiting included
_NAMES_SECONDS = 3.0
T = TypeVar("T")


@dataclass(eq=False, repr=False)  # a request holds a code
class Callback:
    """One callback: the request, and what the function has for it."""

    settings: Settings
    vault: Vault
    tiktok: TikTok
    signer: Signer
    cookies: Cookies
    request: Request
    arguments: Arguments

    def __post_init__(self) -> None:
        budget = self.settings.callback_budget
        self._deadline = Deadline(budget)
        self._prepared_by = Deadline(min(_PREPARE_SECONDS, budget / 2))
        self._asked_by = Deadline(budget - min(20.0, budget / 3))  # for what TikTok is asked; the rest is for storing

    def answer(self) -> Response:
        """Go all the way; raises `Refused` where it ends before the token is stored."""
        code = self._parse_query()  # 1
        flow = self._check_state()  # 2
        with ExitStack() as stack:
            lease = self._make_sure_it_can_be_stored(flow, stack)  # 3
            before = lease.connection
            response, asked_at = self._exchange(flow, code)  # 4
            grant = self._check_answer(flow, response, asked_at, before)  # 5
            names = self._ask_for_names(grant)  # 7, beside 6
            grant, reach = self._store(flow, grant, lease, names)  # 6
        return self._redirect(flow, grant, before, reach)  # 8

    # --- 1: parse the query ---

    def _parse_query(self) -> Secret:
        self.arguments.check_callback()
        if self.arguments.error is None:
            return self.arguments.codes[0]
        if self.arguments.error != "invalid_scope":
            raise Refused("declined")
        scopes = list(self.settings.account_scopes)
        detail = f"TikTok does not grant this app one of the scopes in TIKTOK_ACCOUNT_SCOPES: {', '.join(scopes)}."
        try:
            link = self._check_state().link
        except Refused:  # anybody can send that: no alert
            raise Refused("invalid_scope", detail, severity="WARNING", scopes=scopes) from None
        raise Refused("invalid_scope", detail, link, scopes=scopes)

    # --- 2: check the state ---

    def _check_state(self) -> Flow:
        if self.arguments.state in {"", self.settings.portal_state}:
            if not self.settings.portal_connection:
                raise Refused("portal_link")
            link = Link(self.settings.portal_connection, "", clock.now(), clock.now())
            return Flow(link, only=self.settings.portal_advertiser_ids)
        try:
            state = self.signer.read_state(self.arguments.state)
        except (LinkInvalid, LinkExpired) as error:
            raise Refused("state_invalid", f"{error}.") from None
        flow = Flow(state.link, state.flow)
        if bound_to(state, self.cookies.nonce(self.request, state.flow)):
            return flow
        used = self.cookies.finished(self.request, state.flow)
        raise flow.refused("link_used" if used else "state_of_another_browser")

    # --- 3: make sure that it can be stored ---

    def _make_sure_it_can_be_stored(self, flow: Flow, stack: ExitStack) -> Lease:
        name = flow.link.connection
        refused: Future[str] | None = None

        def check(connection: Connection) -> None:
            nonlocal refused
            if flow.link.is_used(connection):
                raise flow.refused("link_used")
            refused = refused or _beside(lambda: self._not_writable(flow.link))  # while the lease is written

        create, prepared_by, over = flow.link.labels, self._prepared_by, self._deadline
        holding = hold(self.vault, name, CALLBACK, prepared_by, wait=_LEASE_WAIT, create=create, check=check, over=over)
        try:
            lease = stack.enter_context(holding)
            # A secret that this call has created could not be asked about before.
            secret_id = refused.result(_PREPARE_SECONDS) if refused else self._not_writable(flow.link)
            if secret_id:
                text = f"Permission denied: cannot add a version to secret {secret_id}. Grant the missing role."
                raise flow.refused("store_refused", text)
        except LeaseHeld as error:
            raise flow.refused("connection_busy", str(error)) from None
        except (StoreError, SettingsError, TimeoutError) as error:
            raise refused_by_store(error, "store_unavailable", flow.link) from None
        return lease

    def _not_writable(self, link: Link) -> str:
        """The secret that a version may not be added to, of those that the grant certainly needs; empty: none."""
        vault, by = self.vault, self._prepared_by
        token_id, refresh_id = vault.token_id(link.connection), vault.refresh_id(link.connection)
        if not vault.may_add(token_id, by):
            return token_id
        if link.family != "account" or vault.may_add(refresh_id, by):
            return ""
        vault.create_missing(refresh_id, by)  # one that is missing allows nothing
        return "" if vault.may_add(refresh_id, by) else refresh_id

    # --- 4: exchange the code, once ---

    def _exchange(self, flow: Flow, code: Secret) -> tuple[TokenResponse, datetime]:
        while True:
            asked_at, seconds = clock.now(), max(1.0, self._asked_by.remaining)
            try:
                return self.tiktok.family(flow.link.family).exchange(code, seconds), asked_at
            except TikTokUnreachable as error:
                # Certain not to have arrived, so it may be sent again.
                if self._asked_by.remaining < 2.0:
                    raise flow.refused("tiktok_unreachable", f"{error}.") from None
                clock.sleep(1.0)
            except TikTokError as error:
                raise refused_by_tiktok(error, flow.link) from None

    # --- 5: check the answer ---

    def _check_answer(self, flow: Flow, response: TokenResponse, asked_at: datetime, connection: Connection) -> Grant:
        grant = grants.first(
            response,
            connection=flow.link.connection,
            app_id=self.settings.app_id,
            family=flow.link.family,
            asked_at=asked_at,
        ).dated(asked_at, connection.obtained_at)
        if response.advertiser_ids is None:  # the answer did not say
            grant = grant.with_advertisers(flow.list_advertisers(self.tiktok, grant, self._deadline, self._asked_by))
        flow.check_grant(grant, connection)
        return grant.with_username(connection.username_of(grant))

    # --- 6: store ---

    def _store(self, flow: Flow, grant: Grant, lease: Lease, names: Future[Reach]) -> tuple[Grant, Reach]:
        asked = self._deadline.within(_NAMES_SECONDS)
        try:
            store_authorization(self.vault, lease, grant, self._deadline)
        except StoreError as error:
            raise flow.refused("store_failed", str(error)) from None
        at, reach = clock.now(), _reach(names, asked)
        grant = grant.with_username(reach.username)

        def connected(connection: Connection) -> Change:
            names = reach.names(grant.advertiser_ids)
            return transitions.connected(connection, grant, at, flow.link.id, flow.link.labels, names)

        try:
            try:
                lease.finish(connected, self._deadline)
            except LeaseLost:
                # Whoever took the lease may have stored a grant that was asked for after this one. A re-connection
                # counts all the same, and of two grants the one that was obtained later counts.
                known = self.vault.connection(grant.connection, self._deadline)
                grant = grant.dated(at, known.obtained_at)
                store_authorization(self.vault, lease, grant, self._deadline)
                self.vault.change(grant.connection, lambda found: connected(found).connection, self._deadline)
        except StoreError as error:
            # The token is stored, which is what counts; the next run reconciles labels and annotations with it.
            log.write(events.CONNECTION_INCOMPLETE.entry(connection=grant.connection, detail=str(error)))
        return grant, reach

    # --- 7: names for the page ---

    def _ask_for_names(self, grant: Grant) -> Future[Reach]:
        family, seconds = self.tiktok.family(grant.family), self._deadline.within(_NAMES_SECONDS).remaining
        return _beside(lambda: family.names(grant, max(0.5, seconds)))

    # --- 8: to the result ---

    def _redirect(self, flow: Flow, grant: Grant, before: Connection, reach: Reach) -> Response:
        missing = missing_permissions(grant, self.settings.account_scopes)
        log.write(
            events.CONNECTION_STORED.entry(
                connection=grant.connection,
                how="connected again" if before.made else "connected",
                family=grant.family,
                kind=grant.kind,
                advertisers=grant.advertiser_count if grant.family == "advertiser" else None,
                link=flow.link.id or "portal",
                missing_permissions=list(missing) or None,
            )
        )
        ids, ends = grant.advertiser_ids or (), grant.ends_at
        names = {**before.names, **(reach.names(ids) or {})}
        result = Result(
            connection=grant.connection,
            family=grant.family,
            advertisers=tuple((id_, names.get(id_, "")) for id_ in ids),
            number=len(ids),
            username=grant.username,
            again=before.made,
            missing=tuple(map(with_tables, missing)),
            ends=f"{ends.day} {ends:%B %Y}" if ends else "",
            flow=flow.cookie,
        )
        response = redirect(f"{self.settings.public_url}/done")
        self.cookies.finish(self.request, response, result)
        return response


def _reach(names: Future[Reach], deadline: Deadline) -> Reach:
    """What TikTok answered; nothing where it did not in time: the page shows ids, and a run completes the names."""
    try:
        return names.result(deadline.remaining)
    except (TikTokError, TimeoutError):
        return Reach()


def _beside(work: Callable[[], T]) -> Future[T]:
    """Start `work` in a thread of its own, which nothing waits for but the future's `result`."""
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(work())
        except BaseException as error:  # noqa: BLE001 - whoever asks for the result gets it
            answer.set_exception(error)

    threading.Thread(target=run, name="beside", daemon=True).start()
    return answer
