"""Every log entry that the functions write: name, severity, sentence, what to do, and what says that it is over.

The tables of the guide and the alerts of Terraform are compared with `EVENTS`. No I/O: `log` writes the entries.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

Severity = Literal["INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL"]
Value = str | int | float | bool | None | list[str] | dict[str, int]


class Entry(NamedTuple):
    """One log entry, ready to be written."""

    event: str  # its name, for filters and metrics: `connection.stored`
    severity: Severity  # Cloud Logging's
    message: str  # one sentence for a person
    # what else there is to say; None is left out. Never anything secret.
    fields: Mapping[str, Value]


class Event(NamedTuple):
    """A kind of log entry."""

    name: str  # for filters and metrics
    severities: tuple[Severity, ...]  # what it is logged with; the first is the usual one
    sentence: str  # the message, with the fields' names in braces
    what: str  # what happened, for a table
    remedy: str = "nothing"  # what to do, for a table
    ended_by: tuple[str, ...] = ()  # names of the events that say that it is over; empty for what needs no end
    endings: str = ""  # what else there is to say about the end

    def entry(self, severity: Severity | None = None, **fields: Value) -> Entry:
        """An entry of this kind, with what the sentence names and what else is written beside it."""
        return Entry(self.name, severity or self.severities[0], self.sentence.format(**fields), fields)


# --- connecting ---

CONNECTION_BEGUN = Event(
    "connection.begun",
    ("INFO",),
    "Somebody continued to TikTok to connect {connection}.",
    "somebody continued to TikTok",
)
CONNECTION_STORED = Event(
    "connection.stored",
    ("NOTICE",),
    "{connection} was {how}.",
    "a connection was made, or made again",
    remedy="nothing; `missing_permissions` names what was not granted",
)
CONNECTION_REFUSED = Event(
    "connection.refused",
    ("WARNING", "INFO", "ERROR"),
    "{detail}",
    "a callback or a link was not accepted; `reason` says why",
    remedy="nothing, unless somebody asks: the page shows the same `reference`. ERROR: the reason is not the "
    "visitor's (other ad accounts than before, the app refused, Secret Manager refuses or is unavailable), so look at "
    "it",
)
CONNECTION_INCOMPLETE = Event(
    "connection.incomplete",
    ("WARNING",),
    "The token of {connection} is stored, its labels and annotations are not: {detail}",
    "the token is stored, its labels are not",
    remedy="nothing: the next run writes them",
)

# --- one connection ---

CONNECTION_RECOVERED = Event(
    "connection.recovered",
    ("NOTICE",),
    "{connection} works again.",
    "a connection that was failing, or needed a person, works again",
)
CONNECTION_CHANGED = Event(
    "connection.changed",
    ("NOTICE", "ERROR"),
    "Advertisers of {connection} changed: {added_count} added, {removed_count} removed.",
    "a token reaches other ad accounts than before; ERROR where more than half of them are gone",
    remedy="nothing, if that was intended; else ask the advertiser",
)
CONNECTION_FALTERING = Event(
    "connection.faltering",
    ("WARNING",),
    "{connection} could not be {action} ({problem}). Its stored token stays in place; the next run tries again.",
    "a connection failed for the first time; its token stays in place",
    remedy="nothing yet: every run tries again",
)
CONNECTION_FAILING = Event(
    "connection.failing",
    ("ERROR",),
    "{connection} has been failing since {since} ({problem}). Its stored token stays in place. See TikTok's status "
    "page, then this function's log; then make refresh CONNECTION={connection}",
    "it has failed for a day, or its token has less than 6.5 hours left",
    remedy="look at TikTok's status page and at `last-error`; then `make refresh`",
    ended_by=("connection.recovered",),
)
CONNECTION_EMPTY = Event(
    "connection.empty",
    ("ERROR",),
    "TikTok lists no advertiser for the token of {connection}, although the token works. The stored ids stay as they "
    "are. Ask the advertiser to give access again, or connect again: make link CONNECTION={connection}",
    "TikTok lists no ad account for a token that works, twice in a run",
    remedy="ask the advertiser who removed the access; then `make link CONNECTION=…`",
    ended_by=("connection.recovered",),
)
CONNECTION_OTHER_APP = Event(
    "connection.other_app",
    ("ERROR",),
    "{count} connections belong to another app than TIKTOK_APP_ID and were left alone. Set TIKTOK_APP_ID and "
    "TIKTOK_APP_SECRET to that app, or connect them again.",
    "connections belong to another app than `TIKTOK_APP_ID`; said by each run",
    remedy="set that app again, or connect them again",
    ended_by=("connection.recovered",),
)
REAUTHORIZATION_REQUIRED = Event(
    "reauthorization.required",
    ("ERROR",),
    "The access of {connection} has ended at TikTok (code {code}). Send a new connect link to whoever may approve: "
    "make link CONNECTION={connection}",
    "the access has ended at TikTok: revoked, expired, or of another app",
    remedy="`make link CONNECTION=…`, and send it to whoever may approve",
    ended_by=("connection.recovered",),
)
REFRESH_TOKEN_ENDING = Event(
    "refresh_token.ending",
    ("ERROR",),
    "The {token} of {connection} ends on {ends_at}, in less than {days} days. Send a new connect link before that: "
    "make link CONNECTION={connection}",
    "a refresh token, or a token that cannot be refreshed, ends in 30, 14, 7, 3 or 1 days",
    remedy="`make link CONNECTION=…` before that day",
    ended_by=("connection.stored",),
    endings="somebody connected again",
)

# --- tokens and secrets ---

TOKEN_REFRESHED = Event(
    "token.refreshed", ("INFO",), "The token of {connection} was refreshed.", "an expiring token was replaced"
)
TOKEN_UNSAVED = Event(
    "token.unsaved",
    ("CRITICAL",),
    "TikTok issued a new token for {connection} and it could not be stored: {detail}",
    "TikTok issued a token and it could not be stored",
    remedy="see why Secret Manager refused it (`make doctor`). From `connect`: the approver repeats it with the same "
    "link. From `refresh`: wait for `token.saved`; if the instance ends before, connect again",
    ended_by=("token.saved", "connection.stored"),
    endings="`connection.stored` where a callback raised it",
)
TOKEN_SAVED = Event(
    "token.saved",
    ("NOTICE",),
    "The token of {connection} that could not be stored is stored now, or a newer one is.",
    "such a token is stored after all",
)
SECRET_UNREADABLE = Event(
    "secret.unreadable",
    ("ERROR",),
    "{detail} The connection is {connection}. Restore a version of its secret, or the permissions on it; or connect it "
    "again: make link CONNECTION={connection}",
    "a stored payload was edited by hand, is disabled, or may not be read or written",
    remedy="restore a version or the permission; else connect again",
    ended_by=("connection.recovered",),
)
SECRET_REBUILT = Event(
    "secret.rebuilt",
    ("NOTICE",),
    "The token secret of {connection} could not be read and was written again from the refresh secret.",
    "a token secret that could not be read was written again from the refresh secret",
    remedy="find out who edited it",
)
SECRET_DELETED = Event(
    "secret.deleted",
    ("ERROR",),
    "The token secret of {connection} was deleted, so pipelines find no token; its refresh secret is left alone. "
    "Connect it again: make link CONNECTION={connection}; or end it: make disconnect CONNECTION={connection}",
    "somebody deleted a token secret and left its refresh secret; said by each run",
    remedy="`make link CONNECTION=…`, or `make disconnect CONNECTION=…` if that was the purpose",
    ended_by=("connection.stored",),
    endings="somebody connected again",
)
CLEANUP_FAILED = Event(
    "cleanup.failed",
    ("WARNING",),
    "Old versions or secrets of {connection} could not be removed: {detail} The next run tries again.",
    "old versions could not be destroyed",
    remedy="nothing, if it happens once: the next run tries again. They cost money",
)

# --- runs ---

RUN_FINISHED = Event(
    "run.finished",
    ("INFO", "WARNING"),
    "The run ended with {status}: {refreshed} refreshed, {verified} verified, {needing} need a person.",
    "a run and its counts",
    remedy="WARNING (status 503 or 500): not all was done, and the Scheduler calls again. Earlier entries say why",
)
RUN_STOPPED = Event(
    "run.stopped",
    ("CRITICAL",),
    "The run was stopped: {detail}",
    "a failure that all connections would share; none of them was marked; said by each run",
    remedy="`reason` says which: the app's credentials or state (`make doctor`), a permission of the service account, "
    "a setting",
    ended_by=("run.finished",),
    endings="of severity INFO, which means status 200, and not `limited`",
)
RUN_BEHIND = Event(
    "run.behind",
    ("ERROR",),
    "{count} expiring tokens will end before the next run, and this run could not refresh them: {detail}.",
    "expiring tokens have less than 6.5 hours left and were not reached, for no fault of theirs; said by each run",
    remedy="the entry says why: too many calls to TikTok, Secret Manager unavailable, or the run's budget over",
    ended_by=("run.finished",),
    endings="of severity INFO, which means status 200, and not `limited`",
)
RUN_NOT_RECORDED = Event(
    "run.not_recorded",
    ("WARNING",),
    "The last run could not be recorded: {detail}",
    "the run's times and counts could not be written to the keeper secret",
)

# --- the functions themselves ---

SETTINGS_INVALID = Event(
    "settings.invalid",
    ("CRITICAL",),
    "{detail}",
    "a function did not start: a setting is missing or invalid",
    remedy="the message names the setting and shows a valid value",
)
DEFECT = Event(
    "defect",
    ("ERROR",),
    "Unexpected {error} at {places}. This is a defect of the token keeper.",
    "something that nobody foresaw",
    remedy="please report it, with the entry",
)

EVENTS: Mapping[str, Event] = {event.name: event for event in list(vars().values()) if isinstance(event, Event)}
