"""The private function: one run over all connections, called by Cloud Scheduler."""

from __future__ import annotations

import contextvars
import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from flask import Request, Response

from tokenkeeper import clock, grant, log
from tokenkeeper.clock import Deadline
from tokenkeeper.connection import Connection
from tokenkeeper.errors import SecretMissing, SettingsError, VaultError, VaultForbidden
from tokenkeeper.lease import TERM, Sightings
from tokenkeeper.pacing import Pace
from tokenkeeper.renewal import Later, Memory, Renewal, Result, RunStoppedError, Task, TryLaterError, Verdict
from tokenkeeper.settings import CONNECTION, Settings
from tokenkeeper.tiktok import CALL_SECONDS, TikTok
from tokenkeeper.vault import Inventory, Vault

LARGEST_BODY = 1_000_000  # bytes
_LIST_SECONDS = 20.0
_MOST_AT_ONCE = 512
_TRIES_IN_PASSING = 2
_TRIES_OF_THE_STORE = 3
_BETWEEN_LOOKS = 0.2  # seconds
_ENDS_BEFORE_LONG = timedelta(hours=6, minutes=30)  # by the next of four runs a day it would have ended
_STORE_AWAY = 20  # connections in a row that found Secret Manager away, after which a run gives up
_COUNTED = [verdict for verdict in Verdict if verdict is not Verdict.NO_CONNECTION]
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

Progress = Callable[[int, int], None]


def _nobody_watches(_done: int, _total: int) -> None:
    pass


class BadRequestError(ValueError):
    """A body that says nothing a run could follow; the text says what is wrong."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a run is asked to do.

    Attributes:
        connections: The only ones to look at, or None: all.
        force: Whether to refresh what is not due.
    """

    connections: tuple[str, ...] | None = None
    force: bool = False


@dataclass(slots=True)
class Summary:
    """What came of a run.

    Attributes:
        status: The HTTP status that tells Cloud Scheduler whether to call again.
        counts: How many connections ended up how.
        attention: The connections that need a person.
        seconds: How long it took.
        error: Why it stopped, where it did.
    """

    status: int = 200
    counts: Counter[Verdict] = field(default_factory=Counter)
    attention: set[str] = field(default_factory=set)
    seconds: float = 0.0
    error: str = ""

    def document(self) -> dict[str, Any]:
        """The answer's JSON object."""
        numbers = {verdict.value: self.counts[verdict] for verdict in _COUNTED}
        document = {
            "connections": sum(numbers.values()),
            **numbers,
            "seconds": round(self.seconds, 3),
            "attention": sorted(self.attention),
        }
        return document | ({"error": self.error} if self.error else {})


class Refresh:
    """The whole function, for one set of settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._vault = Vault(settings)
        self._tiktok = TikTok(settings.api_url, settings.app_id, settings.app_secret)
        self._pace = Pace(settings.max_qps)
        self._memory = Memory()

    def answer(self, request: Request) -> Response:
        """Answer one request. Never raises: a defect ends in a 500 and a log entry."""
        with log.context(request.headers.get, self._settings.project):
            if request.method != "POST":
                return _json({"error": "Call this address with POST."}, 405, {"Allow": "POST"})
            try:
                order = read_order(request.stream.read(LARGEST_BODY + 1))
                summary = self.run(order)
            except BadRequestError as error:
                return _json({"error": str(error)}, 400)
            except Exception as error:  # noqa: BLE001 - the boundary: nothing may reach the framework's own error page
                log.defect(error)
                return _json({"error": "A defect of the token keeper; see its log."}, 500)
        return _json(summary.document(), summary.status)

    def run(self, order: Order, progress: Progress = _nobody_watches) -> Summary:
        """Make one run.

        Args:
            order: What to do.
            progress: Called with the number of connections that are done and of all.

        Raises:
            BadRequestError: the order names a connection that does not exist.
        """
        self._pace.begin_run()
        return _Run(self._settings, self._vault, self._tiktok, self._pace, self._memory, order, progress).go()


def read_order(body: bytes) -> Order:
    """Read the body of a request.

    Raises:
        BadRequestError: it is no such body.
    """
    if len(body) > LARGEST_BODY:
        raise BadRequestError("The body is too large.")
    if not body.strip():
        return Order()
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequestError("The body is not JSON.") from None
    if not isinstance(document, dict):
        raise BadRequestError('The body is not a JSON object, like {"connections": ["acme"]}.')
    unknown = sorted(document.keys() - {"connections", "force"})
    if unknown:
        raise BadRequestError(f"The body has the unknown key {unknown[0][:60]!r}; known are connections and force.")
    force = document.get("force", False)
    if not isinstance(force, bool):
        raise BadRequestError("force is neither true nor false.")
    if "connections" not in document:
        return Order(force=force)
    names = document["connections"]
    if not isinstance(names, list) or not names:
        raise BadRequestError('connections is not a list of at least one name, like ["acme"].')
    for name in names:
        if not isinstance(name, str) or not CONNECTION.fullmatch(name):
            raise BadRequestError(f"connections holds {str(name)[:80]!r}, which is no connection's name.")
    return Order(tuple(dict.fromkeys(names)), force)


class _Run:
    """One run, from the listing to the summary."""

    def __init__(
        self,
        settings: Settings,
        vault: Vault,
        tiktok: TikTok,
        pace: Pace,
        memory: Memory,
        order: Order,
        progress: Progress,
    ) -> None:
        self._settings = settings
        self._vault = vault
        self._memory = memory
        self._order = order
        self._progress = progress
        self._budget = Deadline(settings.run_budget)
        self._pace = pace
        self._sightings = Sightings()
        self._renewal = Renewal(settings, vault, tiktok, self._pace, self._sightings, memory, force=order.force)
        self._summary = Summary()
        self._total = 0
        self._overdue = False
        self._stopped: RunStoppedError | None = None
        self._away = 0
        self._deleted: set[str] = set()  # connections whose token secret is gone, and the refresh secret is not
        self._behind: dict[str, str] = {}  # connections whose token ends before long, and why they were not reached
        self._resume_after: str | None = None  # not known yet
        self._next_expiry: int | None = None

    def go(self) -> Summary:
        started, stopwatch = clock.now(), clock.monotonic()
        summary = self._summary
        try:
            inventory = self._inventory()
            self._resume_after = inventory.resume_after
            self._work_through(self._plan(inventory, started))
            self._tell_of_other_apps()
            self._tell_of_deleted()
            self._tell_of_being_behind()
        except VaultForbidden as error:
            self._stop(RunStoppedError("may_not_list", f"{error} Grant this service account its roles again."))
        except SettingsError as error:
            self._stop(RunStoppedError("settings", str(error)))
        except VaultError as error:
            summary.status, summary.error = 503, str(error)
        if self._stopped:
            summary.status, summary.error = 500, str(self._stopped)
        elif summary.counts[Verdict.REMAINING] or self._overdue:
            summary.status = 503
        summary.seconds = clock.monotonic() - stopwatch
        self._write_down(started)
        return summary

    # --- what is to be done ---

    def _inventory(self) -> Inventory:
        inventory = self._vault.inventory(Deadline(_LIST_SECONDS))
        for connection in inventory.connections.values():
            if connection.lease:
                self._sightings.seen(connection)
        names = self._order.connections
        for name in sorted(inventory.refreshable) if names is None else names:
            if name not in inventory.connections:  # the list may be late
                try:
                    inventory.connections[name] = self._vault.connection(name, Deadline(_LIST_SECONDS))
                except SecretMissing:
                    if name not in inventory.refreshable:
                        raise BadRequestError(f"There is no connection {name!r}.") from None
                    self._deleted.add(name)
                except VaultError:
                    if names is not None:
                        raise
                    self._summary.attention.add(name)
        if names is None:
            return inventory
        wanted = {name: inventory.connections[name] for name in names if name in inventory.connections}
        return Inventory(wanted, inventory.refreshable & wanted.keys())

    def _plan(self, inventory: Inventory, now: datetime) -> list[Task]:
        """All that there is to do, in order; what there is nothing to do for is counted at once."""
        expiring: list[tuple[float, str, Task]] = []
        long_lived: list[Task] = []
        due_soon: list[Task] = []  # while this run lasts: the next one may be six hours late for them
        end_of_run = now + timedelta(seconds=self._settings.run_budget)
        for name, connection in inventory.connections.items():
            refreshable = name in inventory.refreshable
            unsaved = name in self._memory.unsaved
            look = bool(connection.lease) or not connection.made or unsaved
            if refreshable:
                look |= connection.kind != "expiring" or connection.health != "ok" or connection.obtained_at is None
            if connection.health == "reauthorize" and not (connection.lease or unsaved):
                self._count(name, Result(Verdict.REAUTHORIZE, attention=True))
                continue
            due = refreshable and self._due(connection, now)
            task = Task(connection, refreshable, look, due)
            if not refreshable:
                long_lived.append(task)
            elif due or look or connection.warning_due(now, refreshable=True) is not None:
                end = connection.expires_at
                expiring.append((end.timestamp() if end else math.inf, name, task))
            elif self._due(connection, end_of_run):
                due_soon.append(task)
            else:
                self._count(name, Result(Verdict.SKIPPED))
        ends = [
            end
            for name, connection in inventory.connections.items()
            if (end := connection.ends_at(refreshable=name in inventory.refreshable))
            and connection.health != "reauthorize"
        ]
        self._next_expiry = max(0, int((min(ends) - now).total_seconds())) if ends else None
        long_lived.sort(key=lambda task: task.name)
        if self._order.connections is None:
            after = inventory.resume_after
            long_lived = [task for task in long_lived if task.name > after] + [
                task for task in long_lived if task.name <= after
            ]
        tasks = [task for _, _, task in sorted(expiring, key=lambda item: item[:2])] + long_lived + due_soon
        self._total = len(tasks) + sum(self._summary.counts.values())
        return tasks

    def _due(self, connection: Connection, now: datetime) -> bool:
        obtained_at = connection.obtained_at
        return self._order.force or obtained_at is None or grant.due(obtained_at, connection.expires_at, now)

    # --- doing it ---

    def _work_through(self, tasks: list[Task]) -> None:
        at_once = min(_MOST_AT_ONCE, max(16, math.ceil(self._settings.max_qps * (CALL_SECONDS + 10))))
        with ThreadPoolExecutor(at_once, thread_name_prefix="connection") as pool:
            first = True
            while tasks:
                again = self._one_pass(pool, tasks, at_once, first=first)
                first = False
                tasks = [task for task, why in again if self._worth_another_try(task, why)]
                if tasks and all(why is Later.BUSY for _, why in again):
                    # Many that a killed run left behind are asked for less often: looking has a quota.
                    clock.sleep(min(TERM, max(0.5, len(tasks) * _BETWEEN_LOOKS)))

    def _one_pass(
        self, pool: ThreadPoolExecutor, tasks: list[Task], at_once: int, *, first: bool
    ) -> list[tuple[Task, Later]]:
        running: dict[Future[Result], Task] = {}
        again: list[tuple[Task, Later]] = []
        between_starts = 0.25 / self._settings.max_qps
        began_all = True
        for task in tasks:
            again += self._collect(running, timeout=0)
            while not self._over and not self._room_for_more(running, at_once):
                again += self._collect(running, timeout=0)
            if self._over:
                began_all = False
                self._leave(task)
                continue
            if first and not task.refreshable:
                self._resume_after = task.name
            running[pool.submit(contextvars.copy_context().run, self._work, task)] = task
            clock.sleep(between_starts)
        while running:
            again += self._collect(running, timeout=None)
        if first and began_all:
            self._resume_after = ""
        return again

    def _room_for_more(self, running: Collection[Future[Result]], at_once: int) -> bool:
        """Whether another connection should be started; waits a moment if not."""
        if len(running) >= at_once or (running and self._vault.secrets.throttled):
            wait(running, 0.05, FIRST_COMPLETED)
            return False
        return self._pace.wait_for_gap(0.05)

    def _work(self, task: Task) -> Result:
        task.tries += 1
        task.due = task.due or (task.refreshable and self._due(task.connection, clock.now()))
        return self._renewal.work(task, last=task.tries >= _TRIES_IN_PASSING)

    def _collect(self, running: dict[Future[Result], Task], timeout: float | None) -> Iterable[tuple[Task, Later]]:
        """Count what has finished; returns what is to be tried again."""
        done, _ = wait(running, timeout, FIRST_COMPLETED) if running else (set(), set())
        again = []
        for future in done:
            task = running.pop(future)
            try:
                self._count(task.name, future.result())
                self._away = 0
            except TryLaterError as later:
                again.append((task, later.why))
                self._away = self._away + 1 if later.why is Later.STORE else 0
            except RunStoppedError as error:
                self._stop(error)
                self._leave(task)
            except Exception as error:  # noqa: BLE001 - one connection's trouble is its own, a defect included
                log.defect(error, connection=task.name)
                self._count(task.name, Result(Verdict.FAILING, overdue=task.due, attention=True))
        return again

    def _worth_another_try(self, task: Task, why: Later) -> bool:
        """Whether to try again in this run; if not, it is counted."""
        match why:
            case Later.BUSY:
                worth = self._waits_for_holder(task)
            case Later.THROTTLED:
                worth = not self._pace.hopeless
                task.tries -= 1  # nothing is counted against the connection
            case Later.PASSING:
                worth = True  # the last try does not ask for another
            case Later.STORE:
                worth = task.tries < _TRIES_OF_THE_STORE
        if worth and not self._over:
            return True
        if why is not Later.BUSY:
            self._leave(task, why)
            return False
        if self._over:
            self._note_if_behind(task, None)  # else whoever holds it is at work, and tells of what comes of it
        self._count(task.name, Result(Verdict.SKIPPED, overdue=task.due))
        return False

    def _waits_for_holder(self, task: Task) -> bool:
        now = clock.monotonic()
        if task.busy_since is None:
            task.busy_since = now
        return (task.due or task.look_closely) and now - task.busy_since < TERM + 10

    @property
    def _over(self) -> bool:
        """Whether no new connection may be started."""
        return self._budget.over or self._stopped is not None or self._pace.hopeless or self._away >= _STORE_AWAY

    # --- what came of it ---

    def _leave(self, task: Task, why: Later | None = None) -> None:
        """Count what this run does not come to; what was cut off while connecting is no connection yet."""
        self._note_if_behind(task, why)
        self._count(task.name, Result(Verdict.REMAINING if task.connection.made else Verdict.NO_CONNECTION))

    def _count(self, name: str, result: Result) -> None:
        self._summary.counts[result.verdict] += 1
        self._overdue |= result.overdue
        if result.attention:
            self._summary.attention.add(name)
        self._progress(self._summary.counts.total(), self._total)

    def _stop(self, error: RunStoppedError) -> None:
        if self._stopped is None:
            self._stopped = error
            log.event("CRITICAL", "run.stopped", f"The run was stopped: {error}", reason=error.reason)

    def _tell_of_other_apps(self) -> None:
        names = sorted(self._renewal.other_app)
        if names:
            log.event(
                "ERROR",
                "connection.other_app",
                f"{len(names)} connections were made with another app than TIKTOK_APP_ID and are left alone. Set the "
                "app they belong to, or connect them anew.",
                connections=names,
            )

    def _tell_of_deleted(self) -> None:
        self._summary.attention |= self._deleted
        for name in self._untold(self._deleted, self._memory.told_deleted):
            log.event(
                "ERROR",
                "secret.deleted",
                f"The token secret of {name} was deleted, so that pipelines find no token; its refresh secret is left "
                f"alone. Connect it anew: make link CONNECTION={name}; or end it: make disconnect CONNECTION={name}",
                connection=name,
            )

    def _note_if_behind(self, task: Task, why: Later | None) -> None:
        """Keep in mind a token that ends before long and was not reached, unless its connection was alerted of."""
        known = task.connection
        ends = known.expires_at or (known.obtained_at and known.obtained_at + 2 * grant.AGE_WITHOUT_LIFETIME)
        if not task.due or ends is None or ends - clock.now() >= _ENDS_BEFORE_LONG or known.alerted:
            return
        if self._pace.hopeless:
            why = Later.THROTTLED
        elif self._away >= _STORE_AWAY:
            why = Later.STORE
        self._behind[task.name] = why.value if why in {Later.THROTTLED, Later.STORE} else "the run's budget was over"

    def _tell_of_being_behind(self) -> None:
        """Alert of tokens that end because of what no connection is to blame for; once, as far as memory goes."""
        new = self._untold(self._behind.keys() - self._memory.told_unsaved, self._memory.told_behind)
        if new and not self._stopped:  # that alert is about all of them
            log.event(
                "ERROR",
                "run.behind",
                f"{len(new)} expiring token{'' if len(new) == 1 else 's'} will have ended before long, and this run "
                f"could not refresh what is due: {'; '.join(sorted({self._behind[name] for name in new}))}.",
                connections=new,
            )

    def _untold(self, names: set[str], told: set[str]) -> list[str]:
        """Those that no alert has named yet; `told` holds them from now on, and, after a run over all, no others."""
        new = sorted(names - told)
        if self._order.connections is None:
            told.clear()
        told.update(names)
        return new

    def _write_down(self, started: datetime) -> None:
        summary = self._summary
        document = summary.document()
        counts = {key: value for key, value in document.items() if isinstance(value, int)}
        log.event(
            "INFO" if summary.status == 200 else "WARNING",  # what an operator has to know was logged as it happened
            "run.finished",
            f"The run ended with {summary.status}: {summary.counts[Verdict.REFRESHED]} refreshed, "
            f"{summary.counts[Verdict.VERIFIED]} verified, {len(summary.attention)} need a person.",
            status=summary.status,
            limited=self._order.connections is not None or None,
            seconds=document["seconds"],
            next_expiry_seconds=self._next_expiry,
            attention=document["attention"],
            **counts,
        )
        facts = {
            "last-run-started": clock.text(started),
            "last-run-finished": clock.text(clock.now()),
            "last-run-counts": json.dumps(counts),
        }
        if self._order.connections is None and self._resume_after is not None:
            facts["resume-after"] = self._resume_after
        try:
            self._vault.note_run(facts, Deadline(15 if self._resume_after is not None else 3))
        except (VaultError, SettingsError) as error:
            log.event("WARNING", "run.not_noted", f"The last run could not be written down: {error}")


def _json(document: dict[str, Any], status: int, headers: dict[str, str] | None = None) -> Response:
    text = json.dumps(document) + "\n"
    return Response(text, status, {**_HEADERS, **(headers or {})}, content_type="application/json; charset=utf-8")
