"""The way back from TikTok, step by step, so that nothing is spent before it can be kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tokenkeeper import clock, lease, log, pages
from tokenkeeper.clock import Deadline
from tokenkeeper.connection import Connection, Transition
from tokenkeeper.errors import (
    KeeperError,
    Kind,
    LeaseLost,
    LinkUsed,
    SecretExists,
    SecretMissing,
    SettingsError,
    TikTokError,
    TikTokRefused,
    TikTokUnreachable,
    VaultError,
    VaultForbidden,
)
from tokenkeeper.grant import Grant, Handout
from tokenkeeper.lease import Lease
from tokenkeeper.links import Link
from tokenkeeper.pages import Notice
from tokenkeeper.secrecy import Secret
from tokenkeeper.settings import Settings
from tokenkeeper.tiktok import CALL_SECONDS, Advertiser, TikTok, missing_permissions, names_of
from tokenkeeper.vault import Vault

LEASE_WAIT = 15.0  # seconds
NAMES_WAIT = 3.0
_STEP = 15.0
_AGAIN = "Open the connect link that you were sent once more and confirm at TikTok again."


class Stop(Exception):
    """The request ends with a page and a log entry.

    Attributes:
        notice: The page.
        reason: A word for filters and metrics.
        message: A sentence for the log.
        connection: The connection, once it is known for certain.
        severity: The log entry's.
        event: The log entry's.
        headers: More headers for the page.
        code: TikTok's code, if that is why.
        request_id: TikTok's id of the call.
    """

    def __init__(
        self,
        notice: Notice,
        reason: str,
        message: str,
        connection: str = "",
        *,
        severity: str = "WARNING",
        event: str = "connection.refused",
        headers: Mapping[str, str] | None = None,
        code: int | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.notice = notice
        self.reason = reason
        self.message = message
        self.connection = connection
        self.severity = severity
        self.event = event
        self.headers = headers or {}
        self.code = code
        self.request_id = request_id


@dataclass(frozen=True, slots=True)
class Flow:
    """What a callback may do.

    Attributes:
        connection: The connection that it makes.
        link: The connect link that it came from; None for the portal's own link.
        only: The only advertisers that it may bring; None: any.
    """

    connection: str
    link: Link | None
    only: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it, for the result page."""

    connection: str
    advertisers: tuple[Advertiser, ...]
    again: bool
    missing: tuple[str, ...]
    ends: datetime | None = field(default=None)


class Callback:
    """One callback whose state was found good."""

    def __init__(self, settings: Settings, vault: Vault, tiktok: TikTok, flow: Flow) -> None:
        self._settings = settings
        self._vault = vault
        self._tiktok = tiktok
        self._flow = flow
        self._name = flow.connection
        budget = settings.callback_budget
        self._time = Deadline(budget)
        self._time_to_prepare = Deadline(min(LEASE_WAIT + _STEP, budget / 2))
        self._time_kept_for_storing = min(20.0, budget / 3)

    def run(self, code: str) -> Outcome:
        """Go all the way.

        Args:
            code: TikTok's authorization code.

        Raises:
            Stop: it ended before the token was stored.
        """
        held = self._make_sure_it_can_be_stored()
        try:
            asked_at = clock.now()
            handout = self._exchange(Secret(code))
            ids = self._judge(handout, held.connection)
            before = held.connection
            grant = Grant.first(handout, self._name, self._settings.app_id, asked_at, before.obtained_at)
            grant = self._store(grant.with_advertisers(ids), held)
        finally:
            held.give_back(self._time.within(5))
        return self._report(grant, before, held.connection)

    # --- step 3 ---

    def _make_sure_it_can_be_stored(self) -> Lease:
        time = self._time_to_prepare
        try:
            held = self._lease(time)
        except (VaultError, SettingsError) as error:
            raise self._not_ready(error) from None
        try:
            if self._flow.link:
                self._flow.link.check_unused(held.connection)
            if not self._vault.may_add(self._vault.token_id(self._name), time):
                raise self._not_ready(VaultForbidden("This function may not add versions to its secrets."))
        except LinkUsed as error:
            held.give_back(self._time.within(5))
            raise Stop(pages.LINK_USED, "link_used", str(error), self._name) from None
        except VaultError as error:
            held.give_back(self._time.within(5))
            raise self._not_ready(error) from None
        except Stop:
            held.give_back(self._time.within(5))
            raise
        return held

    def _lease(self, time: Deadline) -> Lease:
        holder = lease.new_holder(lease.CALLBACK)
        waiting = time.within(LEASE_WAIT)
        while True:
            try:
                self._check_unused_now(time)
                held = lease.take(self._vault, self._name, holder, lease.expired, time)
            except SecretMissing:
                try:
                    return lease.create(self._vault, self._name, holder, time)
                except SecretExists:
                    continue
            if held:
                return held
            if waiting.remaining < 0.5:
                raise Stop(pages.NOT_READY, "connection_busy", "The connection is held by somebody else.", self._name)
            clock.sleep(0.5)

    def _check_unused_now(self, time: Deadline) -> None:
        link = self._flow.link
        if link is None:
            return
        try:
            link.check_unused(self._vault.connection(self._name, time))
        except LinkUsed as error:
            raise Stop(pages.LINK_USED, "link_used", str(error), self._name) from None

    def _not_ready(self, error: KeeperError) -> Stop:
        return Stop(pages.NOT_READY, "store_unavailable", str(error), self._name, severity="ERROR")

    # --- step 4 ---

    def _exchange(self, code: Secret) -> Handout:
        while True:
            seconds = min(CALL_SECONDS, max(1.0, self._time.remaining - self._time_kept_for_storing))
            try:
                return self._tiktok.exchange(code, seconds)
            except TikTokUnreachable as error:
                # Certain not to have arrived, so it may be sent again.
                if self._time.remaining - self._time_kept_for_storing < 2.0:
                    notice = pages.tiktok_said_no(
                        "TikTok could not be reached. Nothing was used up.", "Reload this page in a minute."
                    )
                    raise Stop(notice, "tiktok_unreachable", str(error), self._name, severity="ERROR") from None
                clock.sleep(1.0)
            except TikTokError as error:
                raise self._tiktok_said_no(error) from None

    def _tiktok_said_no(self, error: TikTokError) -> Stop:
        reason, todo, word, severity = (
            "TikTok's answer could not be understood, or did not come in time.",
            _AGAIN,
            "tiktok_silent",
            "ERROR",
        )
        code = None
        request_id = getattr(error, "request_id", "")
        if isinstance(error, TikTokRefused):
            reason, todo, severity = _REASONS.get(error.code, _REASONS_BY_KIND.get(error.kind, _OTHER_REASON))
            word, code = "tiktok_refused", error.code
            reason = f"{reason} (TikTok's code {error.code})"
        if request_id:
            reason = f"{reason} TikTok's reference is {request_id}."
        return Stop(
            pages.tiktok_said_no(reason, todo),
            word,
            str(error),
            self._name,
            severity=severity,
            code=code,
            request_id=request_id or None,
        )

    # --- step 5 ---

    def _judge(self, handout: Handout, connection: Connection) -> tuple[str, ...]:
        ids = handout.advertiser_ids
        if ids is None:  # the answer did not say
            ids = self._ids_of(handout)
        if not ids:
            raise Stop(pages.NO_ADVERTISER, "no_advertiser", "No advertiser was granted.", self._name)
        if self._flow.only is not None and not self._flow.only.issuperset(ids):
            raise Stop(
                pages.PORTAL_OTHER_ADVERTISERS,
                "other_advertisers",
                "The portal's own link brought advertisers that are not in PORTAL_ADVERTISER_IDS.",
                self._name,
                severity="ERROR",
            )
        known = set(connection.advertisers)
        if known and known.isdisjoint(ids) and not (self._flow.link and self._flow.link.any_account):
            raise Stop(
                pages.OTHER_ADVERTISERS,
                "other_advertisers",
                "A re-connection brought none of the connection's advertisers.",
                self._name,
                severity="ERROR",
            )
        return ids

    def _ids_of(self, handout: Handout) -> tuple[str, ...]:
        tries = 2  # the code is spent: giving up over one hiccup would cost the approver another approval
        while True:
            try:
                found = self._tiktok.advertisers(handout.access_token, min(10.0, max(1.0, self._time.remaining / 2)))
                return tuple(advertiser.id for advertiser in found)
            except TikTokError as error:
                tries -= 1
                passing = not isinstance(error, TikTokRefused) or error.kind in {Kind.PASSING, Kind.THROTTLED}
                if not (tries and passing and self._time.remaining > self._time_kept_for_storing + 2.0):
                    raise self._tiktok_said_no(error) from None
                clock.sleep(1.0)

    # --- step 6 ---

    def _store(self, grant: Grant, held: Lease) -> Grant:
        try:
            self._write(grant, held)
        except VaultError as error:
            raise Stop(
                pages.NOT_KEPT, "store_failed", str(error), self._name, severity="CRITICAL", event="token.unsaved"
            ) from None
        at = clock.now()
        link = self._flow.link.id if self._flow.link else ""

        def connected(grant: Grant) -> Transition:
            return lambda connection: connection.connected(grant, at, link)

        try:
            try:
                held.finish(connected(grant), self._time)
            except LeaseLost:
                # Who took it for a dead one's may have stored a grant that was asked for after this one. A
                # re-connection counts all the same, and what counts is what was obtained last.
                known = self._vault.connection(self._name, self._time)
                grant = grant.dated(at, known.obtained_at)
                self._write(grant, held)
                self._vault.change(self._name, connected(grant), self._time)
        except VaultError as error:
            # The token is stored, which is what counts; the next run completes labels and annotations from it.
            log.event("WARNING", "connection.incomplete", str(error), connection=self._name)
        return grant

    def _write(self, grant: Grant, held: Lease) -> None:
        def stay_in_possession() -> None:
            try:
                held.ensure(_STEP, self._time.within(5))
            except (LeaseLost, VaultError):
                return  # what TikTok handed out must be kept, whoever holds the connection by now

        payloads = {}
        if grant.refresh_token:
            payloads[self._vault.refresh_id(self._name)] = grant.refresh_payload()
        payloads[self._vault.token_id(self._name)] = grant.token_payload()
        for secret_id, payload in payloads.items():
            self._vault.store(secret_id, payload, self._time, create=True, before_try=stay_in_possession)

    # --- step 7 ---

    def _report(self, grant: Grant, before: Connection, after: Connection) -> Outcome:
        missing = missing_permissions(grant.scope)
        log.event(
            "NOTICE",
            "connection.stored",
            f"{self._name} was {'connected again' if before.made else 'connected'}.",
            connection=self._name,
            kind=grant.kind,
            advertisers=grant.advertiser_count,
            link=self._flow.link.id if self._flow.link else "portal",
            missing_permissions=list(missing) or None,
        )
        if before.health in {"failing", "reauthorize"}:
            log.event(
                "NOTICE",
                "connection.recovered",
                f"{self._name} works again: it was re-connected.",
                connection=self._name,
            )
        names = self._names(grant, after)
        return Outcome(
            connection=self._name,
            advertisers=tuple(Advertiser(id_, names.get(id_, "")) for id_ in grant.advertiser_ids or ()),
            again=before.made,
            missing=missing,
            ends=grant.ends_at,
        )

    def _names(self, grant: Grant, after: Connection) -> Mapping[str, str]:
        """The advertisers' names, for the page and for whoever looks at the connection later."""
        time = self._time.within(NAMES_WAIT)
        if time.remaining < 0.5:
            return {}
        try:
            found = self._tiktok.advertisers(grant.access_token, time.remaining)
        except TikTokError:
            return {}  # the page shows ids then
        names = names_of(found, grant.advertiser_ids)
        try:
            self._vault.change(self._name, lambda connection: connection.named(names), time, after, again=False)
        except VaultError:
            return names  # a run that verifies the connection writes them down
        return names


_OTHER_REASON = ("TikTok refused to complete the connection.", _AGAIN, "ERROR")
_REASONS = {
    40110: ("This confirmation was used already, or is more than an hour old.", _AGAIN, "WARNING"),
    40115: ("This confirmation was cancelled or is of another kind.", _AGAIN, "WARNING"),
    40101: (
        "TikTok does not accept this app's credentials together with this confirmation.",
        _AGAIN + " If that does not help, the app id or the app secret of this service is wrong.",
        "ERROR",
    ),
}
_TELL = "Tell the person who sent you the link: this cannot be mended here."
_REASONS_BY_KIND = {
    Kind.THROTTLED: ("TikTok is getting too many requests at the moment.", "Wait a minute. " + _AGAIN, "WARNING"),
    Kind.PASSING: ("TikTok has a passing problem.", "Wait a minute. " + _AGAIN, "WARNING"),
    Kind.OURS: ("TikTok does not let this app make connections.", _TELL, "ERROR"),
}
