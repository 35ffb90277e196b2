"""Why a request ends without a connection: for each reason the page, its status and the log entry.

TikTok's codes are put into plain words here as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tokenkeeper import events
from tokenkeeper.connect import notices
from tokenkeeper.connect.links import Link
from tokenkeeper.connect.notices import AGAIN, TELL, Notice
from tokenkeeper.errors import Kind, SettingsError, StoreForbidden, StoreRejected, TikTokError, TikTokRefused
from tokenkeeper.events import Entry, Event, Severity, Value
from tokenkeeper.tiktok.codes import ACCOUNT_CODE_OR_TOKEN, CODE_CANCELLED, CODE_USED, SECRET_OR_CODE


class Row(NamedTuple):
    """What becomes of a request that is refused for one reason."""

    status: int
    notice: Notice  # the page
    severity: Severity = "WARNING"  # the log entry's
    event: Event = events.CONNECTION_REFUSED  # the log entry's


ROWS: Mapping[str, Row] = {
    # What a request has to be.
    "unknown_path": Row(404, notices.NOT_FOUND),
    "wrong_method": Row(405, notices.MALFORMED),
    "query_too_long": Row(414, notices.MALFORMED),
    "query_malformed": Row(400, notices.MALFORMED),
    "parameter_doubled": Row(400, notices.MALFORMED),
    "body_not_expected": Row(400, notices.MALFORMED),
    "form_too_large": Row(413, notices.MALFORMED),
    "not_a_form": Row(400, notices.MALFORMED),
    "form_of_another_site": Row(400, notices.LINK_INVALID),
    "other_host": Row(400, notices.MALFORMED),
    # Connect links.
    "link_malformed": Row(400, notices.LINK_INVALID),
    "link_invalid": Row(400, notices.LINK_INVALID),
    "link_expired": Row(410, notices.LINK_EXPIRED),
    "link_used": Row(409, notices.LINK_USED),
    "link_not_checked": Row(503, notices.NOT_READY_TO_START, "ERROR"),
    # The callback, by its steps.
    "callback_malformed": Row(400, notices.MALFORMED),
    "code_malformed": Row(400, notices.MALFORMED),
    "declined": Row(200, notices.DECLINED, "INFO"),
    "invalid_scope": Row(200, notices.INVALID_SCOPE, "ERROR"),
    "portal_link": Row(403, notices.PORTAL_REFUSED),
    "state_invalid": Row(400, notices.STATE_UNKNOWN),
    "state_of_another_browser": Row(400, notices.STATE_UNKNOWN),
    "connection_busy": Row(503, notices.NOT_READY),
    "store_unavailable": Row(503, notices.NOT_READY, "ERROR"),
    "store_refused": Row(503, notices.NOT_PERMITTED, "ERROR"),
    "tiktok_unreachable": Row(502, notices.TIKTOK_UNREACHABLE, "ERROR"),
    "tiktok_silent": Row(502, notices.tiktok_refused("", ""), "ERROR"),
    "tiktok_refused": Row(502, notices.tiktok_refused("", ""), "ERROR"),
    "no_advertiser": Row(422, notices.NO_ADVERTISER),
    "no_account": Row(422, notices.NO_ACCOUNT),
    "advertisers_not_listed": Row(403, notices.NOT_LISTED, "ERROR"),
    "other_advertisers": Row(403, notices.OTHER_ADVERTISERS, "ERROR"),
    "other_account": Row(403, notices.OTHER_ACCOUNT, "ERROR"),
    "other_family": Row(403, notices.OTHER_FAMILY, "ERROR"),
    "store_failed": Row(503, notices.NOT_KEPT, "CRITICAL", event=events.TOKEN_UNSAVED),
}


class Refused(Exception):
    """The request ends with a page and a log entry."""

    def __init__(
        self,
        reason: str,
        detail: str = "",
        link: Link | None = None,
        *,
        notice: Notice | None = None,
        severity: Severity | None = None,
        headers: Mapping[str, str] | None = None,
        **fields: Value,
    ) -> None:
        """Set up for a reason of `ROWS`, whose page and severity hold unless others are given.

        `detail` is a sentence for the log, the page's heading where it is empty. `link` is given once it is known for
        certain; the page is about its family. `headers` are more of the answer's, `fields` more of the log entry's.
        """
        super().__init__(reason)
        row = ROWS[reason]
        self.status = row.status
        self.headers = headers or {}
        self.notice = (notice or row.notice).for_family(link.family if link else "advertiser")
        self.entry: Entry = row.event.entry(
            severity or row.severity,
            detail=detail or f"{self.notice.title}.",
            reason=reason,
            connection=link.connection if link else None,
            status=row.status,
            **fields,
        )


_Words = tuple[str, str, Severity]  # what an approver reads about a refusal of TikTok's, what to do, how bad it is
_TOO_OLD: _Words = ("This confirmation was used already, or is more than {life} old.", AGAIN, "WARNING")
_OTHER: _Words = ("TikTok refused to complete the connection.", AGAIN, "ERROR")
_SILENT: _Words = ("TikTok's answer could not be understood, or did not come in time.", AGAIN, "ERROR")
_BY_CODE: Mapping[int, _Words] = {
    CODE_USED: _TOO_OLD,
    ACCOUNT_CODE_OR_TOKEN: _TOO_OLD,
    CODE_CANCELLED: ("This confirmation was cancelled or is of another kind.", AGAIN, "WARNING"),
    SECRET_OR_CODE: (
        "TikTok does not accept this app's credentials together with this confirmation.",
        f"{AGAIN} If that does not help, the app id or the app secret of this service is wrong.",
        "ERROR",
    ),
}
_BY_KIND: Mapping[Kind, _Words] = {
    Kind.THROTTLED: ("TikTok is getting too many requests at the moment.", f"Wait a minute. {AGAIN}", "WARNING"),
    Kind.TRANSIENT: ("TikTok has a passing problem.", f"Wait a minute. {AGAIN}", "WARNING"),
    Kind.OPERATOR: ("TikTok does not let this app make connections.", TELL, "ERROR"),
}


def refused_by_tiktok(error: TikTokError, link: Link) -> Refused:
    """The refusal for a code that TikTok did not exchange, with TikTok's own reference."""
    happened, todo, severity = _SILENT
    reason, code = "tiktok_silent", None
    if isinstance(error, TikTokRefused):
        happened, todo, severity = _BY_CODE.get(error.code) or _BY_KIND.get(error.kind) or _OTHER
        reason, code = "tiktok_refused", error.code
        happened += f" (TikTok's code {code})"
    if error.request_id:
        happened += f" TikTok's reference is {error.request_id}."
    return Refused(
        reason,
        f"{error}.",
        link,
        notice=notices.tiktok_refused(happened, todo),
        severity=severity,
        code=code,
        request_id=error.request_id or None,
    )


def refused_by_store(error: Exception, otherwise: str, link: Link) -> Refused:
    """The refusal for Secret Manager's; `otherwise`, one of `ROWS`, is the reason where it may pass by itself."""
    lasting = isinstance(error, StoreForbidden | StoreRejected | SettingsError)
    return Refused("store_refused" if lasting else otherwise, str(error), link)
