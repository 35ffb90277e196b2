"""What a run does for one connection: look, refresh or verify, store, mark, clear up.

Everything that is written here is written while holding the connection's lease, and every alert is logged before the
connection is marked: a crash between the two can double an alert but never swallow one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import NamedTuple

from tokenkeeper import clock, grant, lease, log
from tokenkeeper.clock import Deadline
from tokenkeeper.connection import ALERTED, Connection
from tokenkeeper.errors import (
    KeeperError,
    Kind,
    LeaseLost,
    PayloadError,
    SecretChanged,
    SecretMissing,
    TikTokError,
    TikTokRefused,
    TikTokSilent,
    TikTokUnreachable,
    VaultError,
    VaultForbidden,
    VaultRejected,
    VaultUnavailable,
)
from tokenkeeper.grant import Grant
from tokenkeeper.lease import TERM, Lease, Sightings
from tokenkeeper.pacing import Pace
from tokenkeeper.secrecy import Secret
from tokenkeeper.settings import Settings
from tokenkeeper.tiktok import CALL_SECONDS, Advertiser, TikTok, names_of
from tokenkeeper.vault import Newest, Vault

STORE_SECONDS = 120.0  # how long storing what TikTok handed out is tried
LOOK_SECONDS = 15.0
STORE_STEP_SECONDS = 35.0  # one more try to store, with making sure that the last one left nothing behind
FAILING_BECOMES_ALERT = timedelta(days=1)
TOKEN_NEARLY_OVER = timedelta(hours=3)
_MOST_WITHOUT_PERMISSION = 20  # connections, after which nobody else is asked about
_DEAD = {Kind.PERSON, Kind.EXPIRED, Kind.PERMISSION}


class Verdict(Enum):
    """How a connection counts in the summary of a run."""

    REFRESHED = "refreshed"
    VERIFIED = "verified"
    FAILING = "failing"
    REAUTHORIZE = "reauthorize"
    SKIPPED = "skipped"
    REMAINING = "remaining"
    NO_CONNECTION = ""


class Later(Enum):
    """Why something is to be tried again later in the run."""

    BUSY = "somebody else holds the connection"
    THROTTLED = "TikTok gets too many calls"
    PASSING = "a passing failure"
    STORE = "Secret Manager is away"


class TryLaterError(Exception):
    """To be tried again later in the run."""

    def __init__(self, why: Later) -> None:
        super().__init__(why.value)
        self.why = why


class RunStoppedError(KeeperError):
    """A failure that all connections would share: nobody is marked, and the run stops.

    Attributes:
        reason: A word for filters and metrics.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(slots=True)
class Task:
    """One connection in a run.

    Attributes:
        connection: Its state as far as it is known: from the listing first.
        refreshable: Whether it has a refresh secret.
        look_closely: Whether to read what is stored although nothing is due.
        due: Whether its refresh is due.
        tries: How often it was tried in this run.
        busy_since: When it was first found held by somebody else.
    """

    connection: Connection
    refreshable: bool
    look_closely: bool
    due: bool
    tries: int = 0
    busy_since: float | None = None

    @property
    def name(self) -> str:
        """The connection's name."""
        return self.connection.name


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a task.

    Attributes:
        verdict: How it counts.
        overdue: Whether a refresh is due and was not done.
        attention: Whether a person is needed.
    """

    verdict: Verdict
    overdue: bool = False
    attention: bool = False


@dataclass(slots=True)
class Memory:
    """What outlives a run, for as long as the process lives.

    Attributes:
        unsaved: Grants that TikTok handed out and the store has not taken, by connection; each with the time of the
            grant that it follows.
        told_unsaved: The connections that an alert of that named.
        told_unreadable: Those that an alert named as unreadable, and that could not be marked.
        told_deleted: Those whose deleted token secret was alerted of.
        told_behind: Those whose token was alerted of as ending before a run comes to it.
    """

    unsaved: dict[str, tuple[Grant, datetime]] = field(default_factory=dict)
    told_unsaved: set[str] = field(default_factory=set)
    told_unreadable: set[str] = field(default_factory=set)
    told_deleted: set[str] = field(default_factory=set)
    told_behind: set[str] = field(default_factory=set)


class _Numbers(NamedTuple):
    """The numbers of the newest versions of a connection's two secrets, as far as they are known."""

    token: int
    refresh: int


@dataclass(frozen=True, slots=True)
class _Stored:
    """What was found in a connection's two secrets.

    Attributes:
        token: The token secret's newest version.
        refresh: The refresh secret's.
        from_token: The grant in the former, or None where it cannot be read.
        from_refresh: The grant in the latter.
    """

    token: Newest
    refresh: Newest
    from_token: Grant | None
    from_refresh: Grant | None

    @property
    def empty(self) -> bool:
        """Whether neither secret has a version."""
        return self.token.number == 0 and self.refresh.number == 0


class Renewal:
    """The work on single connections in one run. One instance serves many threads."""

    def __init__(
        self,
        settings: Settings,
        vault: Vault,
        tiktok: TikTok,
        pace: Pace,
        sightings: Sightings,
        memory: Memory,
        *,
        force: bool,
    ) -> None:
        self._settings = settings
        self._vault = vault
        self._tiktok = tiktok
        self._pace = pace
        self._sightings = sightings
        self._memory = memory
        self._force = force
        self._permission = threading.Lock()
        self._permitted = False
        self._not_permitted: set[str] = set()
        self._read_something = False
        self._forbidden_names: set[str] = set()
        self.other_app: set[str] = set()

    def work(self, task: Task, *, last: bool) -> Result:
        """Do what is to be done for a connection.

        Args:
            task: The connection.
            last: Whether it will not be tried again in this run.

        Raises:
            TryLaterError: it is to be tried again later in the run. Not if it is the last time, unless somebody else
                holds the connection, TikTok gets too many calls or Secret Manager is away.
            RunStoppedError: all connections would fail alike.
        """
        try:
            result = self._work(task, last=last)
            if result.verdict not in {Verdict.REAUTHORIZE, Verdict.NO_CONNECTION}:
                self._warn_of_end(task)
            self._memory.told_unreadable.discard(task.name)
        except SecretMissing:
            return Result(Verdict.NO_CONNECTION)  # somebody deleted it meanwhile
        except LeaseLost:
            return Result(Verdict.SKIPPED, overdue=task.due)  # somebody else goes on with it
        except (VaultForbidden, VaultRejected) as error:
            return self._forbidden(task, error, last=last)
        except VaultUnavailable:
            self._sightings.disturbed()
            raise TryLaterError(Later.STORE) from None
        return result

    def _work(self, task: Task, *, last: bool) -> Result:
        if not (task.refreshable or task.look_closely):
            return self._verify(task, last=last)
        if not (task.due or task.look_closely):
            return Result(Verdict.SKIPPED)
        if not task.connection.made and self._look(task.name).empty:
            return Result(Verdict.NO_CONNECTION)  # cut off before anything was stored, or begun just now
        with self._hold(task) as held:
            result = self._examine(task, held, last=last)
        return result or self._verify(task, last=last)

    @contextmanager
    def _hold(self, task: Task) -> Iterator[Lease]:
        held = lease.take(
            self._vault, task.name, lease.new_holder("refresh"), self._sightings.dead, Deadline(LOOK_SECONDS)
        )
        if held is None:
            raise TryLaterError(Later.BUSY)
        try:
            yield held
        finally:
            held.give_back(Deadline(LOOK_SECONDS))
            task.connection = held.connection

    # --- what is stored ---

    def _look(self, name: str) -> _Stored:
        time = Deadline(LOOK_SECONDS)
        # In the opposite order of writing: what is stored in between never makes the refresh secret look the older.
        token = self._vault.newest(self._vault.token_id(name), time)
        refresh = self._vault.newest(self._vault.refresh_id(name), time)
        self._read_something = True
        return _Stored(token, refresh, _readable(token, name), _readable(refresh, name))

    def _examine(self, task: Task, held: Lease, *, last: bool) -> Result | None:
        """Bring the two secrets and the annotations in line with each other; then refresh, if that is due.

        Returns:
            None: the grant cannot be refreshed and is to be verified.
        """
        name = task.name
        stored = self._rescue(held, self._look(name))
        if stored.empty:
            return self._mark_unreadable(held, "The token secret has no version.")
        from_token, from_refresh = stored.from_token, stored.from_refresh
        if from_refresh is None and stored.refresh.number:
            return self._mark_unreadable(held, "The refresh secret cannot be read.")
        if from_refresh is None:
            if from_token is None:
                return self._mark_unreadable(held, "The token secret cannot be read.")
            if task.refreshable:  # somebody died between making the refresh secret and writing to it
                self._delete_replaced(held, stored.refresh)
                task.refreshable = False
            self._bring_in_line(task, held, from_token)
            return self._stays_as_it_is(held)
        if from_token is not None and from_token.obtained_at > from_refresh.obtained_at:
            self._delete_replaced(held, stored.refresh)
            task.refreshable = False
            self._bring_in_line(task, held, from_token)
            return self._stays_as_it_is(held)
        refresh_token = from_refresh.refresh_token
        if refresh_token is None:
            return self._mark_unreadable(held, "The refresh secret holds no refresh token.")
        token_number = stored.token.number
        if from_token is None or not from_token.same_token(from_refresh):
            token_number = self._rebuild(held, from_refresh, stored)
        elif from_refresh.advertiser_ids is None:  # the larger payload had no room for them
            from_refresh = from_refresh.with_advertisers_of(from_token)
        self._bring_in_line(task, held, from_refresh)
        if held.connection.health == "reauthorize":
            return Result(Verdict.REAUTHORIZE, attention=True)
        if from_refresh.app_id != self._settings.app_id:
            return self._mark_other_app(held)
        if not self._force and not grant.due(from_refresh.obtained_at, from_refresh.expires_at, clock.now()):
            self._mark_recovered(held)
            return Result(Verdict.SKIPPED)
        numbers = _Numbers(token_number, stored.refresh.number)
        return self._refresh(held, from_refresh, refresh_token, numbers, last=last)

    @staticmethod
    def _stays_as_it_is(held: Lease) -> Result | None:
        return Result(Verdict.REAUTHORIZE, attention=True) if held.connection.health == "reauthorize" else None

    def _rescue(self, held: Lease, stored: _Stored) -> _Stored:
        """Store what an earlier run of this process could not, unless something newer is stored by now."""
        name = held.connection.name
        kept = self._memory.unsaved.get(name)
        if kept is None:
            return stored
        rescued, before = kept
        if not any(found and found.obtained_at > before for found in (stored.from_token, stored.from_refresh)):
            numbers = _Numbers(stored.token.number, stored.refresh.number)
            number = self._store_refresh(held, rescued, before, numbers)
            stored = _Stored(stored.token, Newest(number, None), stored.from_token, rescued)
        self._drop_unsaved(name)
        return stored

    def _drop_unsaved(self, name: str) -> None:
        self._memory.unsaved.pop(name, None)
        if name in self._memory.told_unsaved:
            self._memory.told_unsaved.discard(name)
            log.event(
                "NOTICE",
                "token.saved",
                f"The token of {name} that could not be stored is stored now, or a newer one is.",
                connection=name,
            )

    def _rebuild(self, held: Lease, whole: Grant, stored: _Stored) -> int:
        name = held.connection.name
        before = stored.from_token.obtained_at if stored.from_token else whole.obtained_at
        numbers = _Numbers(stored.token.number, stored.refresh.number)
        number = self._store_token(held, whole, max(before, whole.obtained_at), numbers)
        if stored.token.number and stored.from_token is None:
            log.event(
                "NOTICE",
                "secret.rebuilt",
                f"The token secret of {name} could not be read and was written anew from the refresh secret.",
                connection=name,
            )
        return number

    def _delete_replaced(self, held: Lease, seen: Newest) -> None:
        name = held.connection.name
        secret_id, time = self._vault.refresh_id(name), Deadline(LOOK_SECONDS)
        try:
            etag = self._vault.secrets.get(secret_id, time).etag
            held.ensure(TERM, time)
            if self._vault.newest(secret_id, time, seen) == seen:
                self._vault.secrets.delete(secret_id, etag, time)
        except (SecretMissing, SecretChanged):
            return  # somebody deleted it, or has begun something new with it
        except VaultError as error:
            log.event("WARNING", "cleanup.failed", f"{error} The next run tries again.", connection=name)

    def _bring_in_line(self, task: Task, held: Lease, current: Grant) -> None:
        """Complete the annotations where whoever stored the grant could not."""
        before = held.connection
        if before.made and before.obtained_at == current.obtained_at and before.kind == current.kind:
            return
        reconnected = lease.left_by_callback(task.connection)  # what callbacks store is an authorization
        self._change(held, lambda connection: connection.completed(current, reconnected=reconnected))
        if before.health in {"failing", "reauthorize"}:
            self._log_recovered(before.name)

    # --- refresh ---

    def _refresh(self, held: Lease, old: Grant, refresh_token: Secret, numbers: _Numbers, *, last: bool) -> Result:
        name = held.connection.name
        if not self._may_store(held.connection, last=last):
            return self._mark_unreadable(held, f"This service account may not add versions to {name}'s secrets.")
        silences = 0
        while True:
            self._pace.wait()
            held.ensure(CALL_SECONDS + LOOK_SECONDS, Deadline(LOOK_SECONDS))
            asked_at = clock.now()
            try:
                handout = self._tiktok.refresh(refresh_token)
                break
            except TikTokUnreachable as error:
                return self._passing(held, _describe(error), last=last, overdue=True)
            except TikTokRefused as error:
                self._weigh(error)
                final = self._is_final(error, old)
                if self._overtaken(name, old.obtained_at, numbers):
                    return Result(Verdict.SKIPPED)
                if final:
                    return self._mark_reauthorize(held, error)
                return self._passing(held, _describe(error), last=last, overdue=True)
            except TikTokError as error:
                if self._overtaken(name, old.obtained_at, numbers):
                    return Result(Verdict.SKIPPED)
                silences += 1
                if silences == 2:
                    return self._mark_failing(held, _describe(error), overdue=True)
        self._pace.satisfied()
        return self._keep(held, old, old.refreshed(handout, asked_at), numbers)

    def _is_final(self, error: TikTokRefused, old: Grant) -> bool:
        """Whether only a person can help."""
        if error.kind is not Kind.PERMISSION:
            return error.kind is Kind.PERSON
        try:
            return not self._alive(old)
        except TikTokError:
            return False  # nobody knows

    def _keep(self, held: Lease, old: Grant, new: Grant, numbers: _Numbers) -> Result:
        name = new.connection
        self._memory.unsaved[name] = (new, old.obtained_at)
        numbers = numbers._replace(refresh=self._store_refresh(held, new, old.obtained_at, numbers))
        del self._memory.unsaved[name]
        numbers = numbers._replace(token=self._store_token(held, new, old.obtained_at, numbers))
        log.event(
            "INFO",
            "token.refreshed",
            f"The token of {name} was refreshed.",
            connection=name,
            expires_at=clock.text(new.expires_at) if new.expires_at else None,
        )
        if new.advertiser_ids is not None and old.advertiser_ids is not None:
            self._log_changed(name, set(old.advertiser_ids), set(new.advertiser_ids))
        self._clear_up(name, self._vault.refresh_id(name), numbers.refresh, 0)
        cleared = self._clear_up(name, self._vault.token_id(name), numbers.token, held.connection.destroyed_to)
        if held.connection.health in {"failing", "reauthorize"}:
            self._log_recovered(name)
        self._finish(held, lambda connection: connection.stored(new).cleared_to(cleared))
        return Result(Verdict.REFRESHED)

    # --- storing ---

    def _store_refresh(self, held: Lease, new: Grant, before: datetime, numbers: _Numbers) -> int:
        name = new.connection
        try:
            return self._store(
                held, self._vault.refresh_id(name), new.refresh_payload(), before, numbers, newest=numbers.refresh
            )
        except LeaseLost:
            self._drop_unsaved(name)  # a newer grant is stored: this one counts no more
            raise
        except VaultError as error:
            if name not in self._memory.told_unsaved:
                self._memory.told_unsaved.add(name)
                log.event(
                    "CRITICAL",
                    "token.unsaved",
                    f"TikTok handed out a new token for {name} and it could not be stored: {error} The next run of "
                    "this instance tries again; if the instance is gone by then, the connection has to be made anew.",
                    connection=name,
                )
            raise VaultUnavailable(str(error)) from None

    def _store_token(self, held: Lease, whole: Grant, before: datetime, numbers: _Numbers) -> int:
        secret_id = self._vault.token_id(whole.connection)
        return self._store(held, secret_id, whole.token_payload(), before, numbers, newest=numbers.token)

    def _store(
        self, held: Lease, secret_id: str, payload: bytes, before: datetime, numbers: _Numbers, *, newest: int
    ) -> int:
        """Add a version stubbornly, unless somebody else has stored a newer grant than the one of `before`.

        Between the first look and the write nothing is asked, to keep that moment short. So if the version's number
        shows that somebody came in between after all, what they stored is put on top again.

        Raises:
            LeaseLost: a newer grant is stored.
            VaultError: nothing could be stored.
        """
        name = held.connection.name
        number = self._vault.store(
            secret_id,
            payload,
            Deadline(STORE_SECONDS),
            newest=newest,
            create=secret_id == self._vault.refresh_id(name),
            before_try=self._guard(held, before, numbers),
        )
        for between in range(number - 1, newest, -1):
            theirs = self._vault.at(secret_id, between, Deadline(LOOK_SECONDS))
            if theirs.payload != payload and _later(theirs, name, before):
                top = self._vault.newest(secret_id, Deadline(LOOK_SECONDS), Newest(number, None))
                if theirs.payload and top.number == number:
                    self._vault.store(secret_id, theirs.payload, Deadline(STORE_SECONDS), newest=number)
                raise LeaseLost(f"Somebody else stored a newer grant of {name}.")
        return number

    def _guard(self, held: Lease, before: datetime, numbers: _Numbers) -> Callable[[], None]:
        """Before each try to write: still in possession, or at least no newer grant was stored by somebody else."""
        steps = iter([LOOK_SECONDS])

        def guard() -> None:
            try:
                held.ensure(next(steps, STORE_STEP_SECONDS), Deadline(LOOK_SECONDS))
            except LeaseLost:
                if self._overtaken(held.connection.name, before, numbers):
                    raise
            except VaultError:
                return  # what cannot be renewed can perhaps be written all the same

        return guard

    def _overtaken(self, name: str, before: datetime, numbers: _Numbers) -> bool:
        """Whether somebody stored a newer grant than the one of `before` meanwhile; what cannot be read is none."""
        time = Deadline(LOOK_SECONDS)
        for secret_id, number in (
            (self._vault.token_id(name), numbers.token),
            (self._vault.refresh_id(name), numbers.refresh),
        ):
            newest = self._vault.newest(secret_id, time, Newest(number, None))
            if newest.number > number and _later(newest, name, before):
                return True
        return False

    def _may_store(self, connection: Connection, *, last: bool) -> bool:
        """Whether versions may be added, which is asked about the first connection only, unless that one may not.

        Raises:
            TryLaterError: this one may not; by the next try it shows whether others may.
            RunStoppedError: nobody may.
        """
        name = connection.name
        with self._permission:
            if self._permitted and name not in self._not_permitted:
                return True
            if self._vault.may_add(self._vault.refresh_id(name), Deadline(LOOK_SECONDS)):
                self._permitted = True
                return True
            self._vault.secrets.get(self._vault.refresh_id(name), Deadline(LOOK_SECONDS))  # or was it deleted?
            self._not_permitted.add(name)
            if self._permitted or connection.last_error.startswith("broken"):
                return False
            if not last and len(self._not_permitted) < _MOST_WITHOUT_PERMISSION:
                raise TryLaterError(Later.PASSING)
            alone = len(self._not_permitted) == 1  # its other secret tells whether it is this one secret
            if alone and self._vault.may_add(self._vault.token_id(name), Deadline(LOOK_SECONDS)):
                return False
            raise RunStoppedError(
                "may_not_store",
                "This service account may not add versions to the secrets, so no refresh token is spent. Grant it "
                "secretmanager.versions.add (roles/secretmanager.secretVersionManager).",
            )

    # --- verify ---

    def _verify(self, task: Task, *, last: bool) -> Result:
        name = task.name
        secret_id = self._vault.token_id(name)
        newest = self._vault.latest(secret_id, Deadline(LOOK_SECONDS))
        self._read_something = True
        while True:
            current = _readable(newest, name)
            problem: TikTokRefused | None = None
            if current is not None and current.app_id != self._settings.app_id:
                return self._known_other_app(task) or self._under_lease(task, self._mark_other_app)
            try:
                if current is not None:
                    found = self._ask(current)
                    break
            except TikTokRefused as error:
                problem = error
                if error.kind not in _DEAD:
                    return self._passing_unheld(task, _describe(error), last=last)
            except TikTokError as error:
                return self._passing_unheld(task, _describe(error), last=last)
            # Dead or unreadable is only believed of the newest version there is.
            newer = self._vault.newest(secret_id, Deadline(LOOK_SECONDS), newest)
            if newer.number == newest.number:
                return self._bury(task, newest, problem)
            newest = newer
        self._write_what_is_new(task, newest, current, found)
        return Result(Verdict.VERIFIED)

    def _ask(self, current: Grant) -> tuple[Advertiser, ...] | None:
        """The advertisers that the token reaches; None where it lives but may not list them."""
        self._pace.wait()
        try:
            found = self._tiktok.advertisers(current.access_token)
        except TikTokRefused as error:
            self._weigh(error)
            if error.kind is not Kind.PERMISSION:
                raise
            if not self._alive(current):
                raise
            return None
        self._pace.satisfied()
        return found

    def _alive(self, current: Grant) -> bool:
        self._pace.wait()
        try:
            self._tiktok.check_alive(current.access_token)
        except TikTokRefused as error:
            self._weigh(error)
            if error.kind in _DEAD:
                return False
            raise
        self._pace.satisfied()
        return True

    def _weigh(self, error: TikTokRefused) -> None:
        """Sort out the failures that are not this connection's own."""
        if error.kind is Kind.THROTTLED:
            self._pace.complained()
            raise TryLaterError(Later.THROTTLED)
        if error.kind is Kind.OURS:
            raise RunStoppedError(
                "app_refused",
                f"{error}: TikTok refuses this app or its credentials, for all connections alike. Check TIKTOK_APP_ID, "
                "TIKTOK_APP_SECRET and the app's state in TikTok's portal.",
            )
        self._pace.satisfied()

    def _bury(self, task: Task, newest: Newest, problem: TikTokRefused | None) -> Result:
        known = task.connection
        if problem is None and known.health == "failing" and known.last_error.startswith("broken"):
            return Result(Verdict.FAILING, attention=True)

        def mark(held: Lease) -> Result:
            secret_id = self._vault.token_id(task.name)
            if self._vault.newest(secret_id, Deadline(LOOK_SECONDS), newest).number != newest.number:
                return Result(Verdict.SKIPPED)  # re-connected in this moment
            whole = self._vault.newest(self._vault.refresh_id(task.name), Deadline(LOOK_SECONDS))
            if whole.number and not task.look_closely:
                task.refreshable = task.look_closely = True  # the list did not show its refresh secret yet
                raise TryLaterError(Later.PASSING)
            if problem is None:
                return self._mark_unreadable(held, "The token secret cannot be read.")
            return self._mark_reauthorize(held, problem)

        return self._under_lease(task, mark)

    def _write_what_is_new(
        self, task: Task, newest: Newest, current: Grant, found: tuple[Advertiser, ...] | None
    ) -> None:
        known = task.connection
        now = current if found is None else _with_found(current, found)
        names = None if found is None else names_of(found, now.advertiser_ids)
        renamed = names is not None and known.knows_other_names(names)
        behind = known.obtained_at != current.obtained_at or not known.kind
        too_many = newest.number - self._settings.keep_versions > known.destroyed_to
        if not (now is not current or renamed or behind or too_many or known.health != "ok"):
            return
        try:
            self._under_lease(task, lambda held: self._write(held, newest, current, now, names))
        except TryLaterError:
            return  # somebody else holds it: the next run sees the same again

    def _write(
        self, held: Lease, newest: Newest, current: Grant, now: Grant, names: Mapping[str, str] | None
    ) -> Result:
        name = current.connection
        secret_id = self._vault.token_id(name)
        if self._vault.newest(secret_id, Deadline(LOOK_SECONDS), newest).number != newest.number:
            return Result(Verdict.SKIPPED)
        number = newest.number
        if now is not current:
            number = self._store_token(held, now, current.obtained_at, _Numbers(number, 0))
            self._log_changed(name, set(current.advertiser_ids or ()), set(now.advertiser_ids or ()))
        cleared = self._clear_up(name, secret_id, number, held.connection.destroyed_to)
        if held.connection.health in {"failing", "reauthorize"}:
            self._log_recovered(name)

        def verified(connection: Connection) -> Connection:
            complete = connection.completed(now).cleared_to(cleared)
            return complete if names is None else complete.named(names)

        self._finish(held, verified)
        return Result(Verdict.VERIFIED)

    # --- marking ---

    def _under_lease(self, task: Task, action: Callable[[Lease], Result]) -> Result:
        with self._hold(task) as held:
            return action(held)

    def _mark_reauthorize(self, held: Lease, error: TikTokRefused) -> Result:
        name = held.connection.name
        if held.connection.health != "reauthorize":
            log.event(
                "ERROR",
                "reauthorization.required",
                f"The access of {name} has ended at TikTok (code {error.code}). Send a new connect link to whoever may "
                f"approve: make link CONNECTION={name}",
                connection=name,
                code=error.code,
                request_id=error.request_id or None,
            )
            text = f"person {error.code} {error.request_id}".strip()
            self._finish(held, lambda connection: connection.needs_person(text, clock.now()))
        return Result(Verdict.REAUTHORIZE, attention=True)

    def _passing(self, held: Lease, problem: str, *, last: bool, overdue: bool) -> Result:
        if not last:
            raise TryLaterError(Later.PASSING)
        return self._mark_failing(held, problem, overdue=overdue)

    def _passing_unheld(self, task: Task, problem: str, *, last: bool) -> Result:
        if not last:
            raise TryLaterError(Later.PASSING)
        if task.connection.health == "failing" and not self._alert_due(task.connection, refreshable=False):
            return Result(Verdict.FAILING)
        return self._under_lease(task, lambda held: self._mark_failing(held, problem, refreshable=False))

    def _mark_failing(self, held: Lease, problem: str, *, overdue: bool = False, refreshable: bool = True) -> Result:
        connection = held.connection
        name = connection.name
        alert = self._alert_due(connection, refreshable=refreshable)
        if alert:
            log.event(
                "ERROR",
                "connection.failing",
                f"{name} has been failing since {clock.text(connection.failing_since or clock.now())} ({problem}). Its "
                "stored token stays in place. See TikTok's status page, then this function's log.",
                connection=name,
                problem=problem,
            )
        elif connection.health != "failing":
            log.event(
                "WARNING",
                "connection.faltering",
                f"{name} could not be {'refreshed' if overdue else 'verified'} ({problem}); the stored token stays.",
                connection=name,
                problem=problem,
            )
        if alert or connection.health != "failing":
            text = problem + (ALERTED if alert else "")
            self._finish(held, lambda connection: connection.failed(text, clock.now()))
        return Result(Verdict.FAILING, overdue=overdue)

    @staticmethod
    def _alert_due(connection: Connection, *, refreshable: bool) -> bool:
        if connection.alerted:
            return False
        now = clock.now()
        since = connection.failing_since if connection.health == "failing" else None
        ends = connection.expires_at if refreshable else None
        lasting = since is not None and now - since >= FAILING_BECOMES_ALERT
        return lasting or (ends is not None and ends - now < TOKEN_NEARLY_OVER)

    def _mark_unreadable(self, held: Lease, problem: str) -> Result:
        connection = held.connection
        if connection.health == "reauthorize":
            return Result(Verdict.REAUTHORIZE, attention=True)  # what helps is the same
        if connection.health != "failing" or not connection.last_error.startswith("broken"):
            self._log_unreadable(connection.name, problem)
            self._finish(held, lambda connection: connection.failed(f"broken{ALERTED}", clock.now()))
        return Result(Verdict.FAILING, attention=True)

    def _forbidden(self, task: Task, error: VaultForbidden | VaultRejected, *, last: bool) -> Result:
        """A secret that answers 403, or takes no change: its own trouble, unless all of them do."""
        problem = str(error)
        if isinstance(error, VaultForbidden):
            self._forbidden_names.add(task.name)
        if not last:
            raise TryLaterError(Later.PASSING)  # by then it shows whether others can be read
        if not self._read_something and len(self._forbidden_names) > 1:
            raise RunStoppedError(
                "may_not_read",
                f"{problem} None of the secrets could be read. Grant this service account "
                "roles/secretmanager.secretAccessor on them again.",
            )
        try:
            return self._under_lease(task, lambda held: self._mark_unreadable(held, problem))
        except (VaultError, LeaseLost):  # it cannot be marked, either
            if not task.connection.last_error.startswith("broken") and task.name not in self._memory.told_unreadable:
                self._log_unreadable(task.name, problem)
                self._memory.told_unreadable.add(task.name)
            return Result(Verdict.FAILING, attention=True)

    @staticmethod
    def _log_unreadable(name: str, problem: str) -> None:
        log.event(
            "ERROR",
            "secret.unreadable",
            f"{problem} The connection is {name}. Restore a version of its secret, or its permissions; or connect it "
            f"anew: make link CONNECTION={name}",
            connection=name,
        )

    def _mark_other_app(self, held: Lease) -> Result:
        self.other_app.add(held.connection.name)
        if held.connection.health != "failing":
            self._finish(held, lambda connection: connection.failed(f"other_app{ALERTED}", clock.now()))
        return Result(Verdict.FAILING, attention=True)

    def _known_other_app(self, task: Task) -> Result | None:
        if task.connection.health != "failing":
            return None
        self.other_app.add(task.name)
        return Result(Verdict.FAILING, attention=True)

    def _mark_recovered(self, held: Lease) -> None:
        if held.connection.health == "failing":
            self._log_recovered(held.connection.name)
            self._finish(held, lambda connection: connection.recovered())

    def _warn_of_end(self, task: Task) -> None:
        if task.connection.warning_due(clock.now(), refreshable=task.refreshable) is None:
            return

        def warn(held: Lease) -> Result:
            # It may have been re-connected since it was listed, with a refresh token.
            refreshable = task.refreshable or self._has_refresh_token(task.name)
            days = held.connection.warning_due(clock.now(), refreshable=refreshable)
            end = held.connection.ends_at(refreshable=refreshable)
            if days is not None and end is not None:
                what = "refresh token" if refreshable else "token, which cannot be refreshed,"
                log.event(
                    "ERROR",
                    "refresh_token.ending",
                    f"The {what} of {task.name} ends on {clock.text(end)}, in less than {days} "
                    f"day{'' if days == 1 else 's'}. Send a new connect link before that: make link "
                    f"CONNECTION={task.name}",
                    connection=task.name,
                    days=days,
                    ends_at=clock.text(end),
                )
                self._finish(held, lambda connection: connection.warned_of_end(days))
            return Result(Verdict.SKIPPED)

        try:
            self._under_lease(task, warn)
        except (TryLaterError, VaultError, LeaseLost):
            return  # the next run warns

    # --- small things ---

    def _has_refresh_token(self, name: str) -> bool:
        return self._vault.newest(self._vault.refresh_id(name), Deadline(LOOK_SECONDS)).number > 0

    def _change(self, held: Lease, transition: Callable[[Connection], Connection]) -> None:
        held.change(transition, Deadline(LOOK_SECONDS))

    def _finish(self, held: Lease, transition: Callable[[Connection], Connection]) -> None:
        held.finish(transition, Deadline(LOOK_SECONDS))

    def _clear_up(self, name: str, secret_id: str, newest: int, cleared_to: int) -> int:
        if newest - self._settings.keep_versions <= cleared_to:
            return cleared_to
        try:
            return self._vault.clear(secret_id, newest, cleared_to, Deadline(LOOK_SECONDS))
        except VaultError as error:
            log.event("WARNING", "cleanup.failed", f"{error} Old versions cost money.", connection=name)
            return cleared_to

    @staticmethod
    def _log_recovered(name: str) -> None:
        log.event("NOTICE", "connection.recovered", f"{name} works again.", connection=name)

    @staticmethod
    def _log_changed(name: str, before: set[str], after: set[str]) -> None:
        if before != after:
            log.event(
                "NOTICE",
                "connection.changed",
                f"The advertisers of {name} are others than before: {len(after - before)} came, "
                f"{len(before - after)} went.",
                connection=name,
                came=sorted(after - before),
                went=sorted(before - after),
            )


def _readable(newest: Newest, name: str) -> Grant | None:
    try:
        return None if newest.payload is None else grant.parse(newest.payload, name)
    except PayloadError:
        return None


def _later(newest: Newest, name: str, before: datetime) -> bool:
    found = _readable(newest, name)
    return found is not None and found.obtained_at > before


def _with_found(current: Grant, found: tuple[Advertiser, ...]) -> Grant:
    """The grant for the ad accounts that were found, which is itself if they are those that it knows."""
    ids = [advertiser.id for advertiser in found]
    known = current.advertiser_ids
    reached = set(ids)
    if current.advertiser_count == len(ids) if known is None else set(known) == reached:
        return current
    kept = [id_ for id_ in known or () if id_ in reached]
    return current.with_advertisers(list(dict.fromkeys([*kept, *ids])))


def _describe(error: TikTokError) -> str:
    if isinstance(error, TikTokRefused):
        return f"passing {error.code} {error.request_id}".strip()
    if isinstance(error, TikTokSilent):
        return f"silent {error.request_id}".strip()
    return "unreachable"
