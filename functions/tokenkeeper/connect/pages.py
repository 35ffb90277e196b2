"""The pages that people see, and the headers that every answer carries. Nothing else knows HTML."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from flask import Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from tokenkeeper.settings import Settings
from tokenkeeper.tiktok import Advertiser

_TEMPLATES = Path(__file__).parent / "templates"
_NOTHING_STORED = "No. Nothing was stored, and nothing that was connected before has changed."


@dataclass(frozen=True, slots=True)
class Notice:
    """A page that says what happened, whether anything was stored, and what to do next.

    Attributes:
        status: HTTP status.
        title: The heading.
        happened: What happened.
        next: What to do next.
        stored: Whether anything was stored.
        command: What makes the connect link that is missing, for readers who run this service themselves.
    """

    status: int
    title: str
    happened: str
    next: str
    stored: str = _NOTHING_STORED
    command: str = ""


DECLINED = Notice(
    200,
    "Access was declined",
    "TikTok says that access to the ad accounts was not allowed.",
    "If that was not what you wanted, open the connect link that you were sent once more and confirm at TikTok.",
)
MALFORMED = Notice(
    400,
    "This address is not complete",
    "Something is missing from the address, or does not belong there, so nothing could be done with it.",
    "Open the connect link that you were sent once more, and let TikTok bring you back here by itself.",
)
STATE_UNKNOWN = Notice(
    400,
    "This does not belong to a connection begun in this browser",
    "You came back from TikTok, but not to a connection that was begun here within the last hour.",
    "Open the connect link that you were sent in this browser, continue to TikTok, and finish within an hour. Leave "
    "cookies on for this site.",
)
LINK_INVALID = Notice(
    400,
    "This connect link is not valid",
    "The link is incomplete or was changed on its way to you.",
    "Copy the whole link from the message that it came in, or ask for a new one.",
)
LINK_EXPIRED = Notice(
    410,
    "This connect link has expired",
    "Connect links are good for a limited time, and this one's is over.",
    "Ask the person who sent it to you for a new one.",
)
LINK_USED = Notice(
    409,
    "This connect link was used",
    "A connect link works once. The connection has been made since this one was sent.",
    "Nothing, if that was you. To connect again, ask for a new link.",
    "Not by this page. What the link has connected stays as it is.",
)
PORTAL_REFUSED = Notice(
    403,
    "A connect link is needed",
    "You came here by the address that TikTok's own pages show. It does not say which connection you want to make, so "
    "it is not accepted here.",
    "Ask the person who looks after your reports for a connect link, and open that.",
    command="make link CONNECTION=name",
)
PORTAL_OTHER_ADVERTISERS = Notice(
    403,
    "These ad accounts are not expected here",
    "Access was allowed for ad accounts that may not be connected in this way.",
    "Go back to TikTok and tick the expected ad accounts only, or ask the person who looks after your reports for a "
    "connect link.",
)
OTHER_ADVERTISERS = Notice(
    403,
    "These are other ad accounts than before",
    "The connection exists already, and none of the ad accounts that you ticked belongs to it. It was left alone, so "
    "that nobody's reports change over to somebody else's accounts by mistake.",
    "Go back to TikTok, log in as the user who has the right ad accounts, and tick those. If the change is meant, ask "
    "the person who sent you the link for one that allows any ad account.",
    "No. The access that was stored before is untouched.",
    command="make link CONNECTION=name ANY_ACCOUNT=1",
)
NO_ADVERTISER = Notice(
    422,
    "No ad account was ticked",
    "You confirmed at TikTok without ticking an ad account, so there is nothing that reports could read.",
    "Open the connect link once more, and tick at least one ad account at TikTok before you confirm.",
)
NOT_READY = Notice(
    503,
    "Please reload this page in a minute",
    "The place where access is stored cannot be reached at the moment.",
    "Reload this page in a minute. Nothing was used up: your confirmation stays good for an hour.",
)
NOT_READY_TO_START = Notice(
    503,
    "Please try again in a minute",
    "The place where access is stored cannot be reached at the moment.",
    "Open the connect link once more in a minute. Nothing was used up.",
)
NOT_KEPT = Notice(
    503,
    "This confirmation could not be kept",
    "TikTok gave access, but it could not be stored although that was tried again and again. The people who look "
    "after this have been alerted.",
    "This confirmation cannot be used again. Wait until you are told that it works, then open the connect link once "
    "more and confirm again.",
    "No. Access that was stored before is still there.",
)
NOT_FOUND = Notice(
    404,
    "There is nothing at this address",
    "The address was mistyped, or is not complete.",
    "Open the connect link that you were sent; it has to be complete.",
)
WRONG_METHOD = Notice(
    405,
    "This address is used in another way",
    "The address exists, but not for this kind of request.",
    "Open the connect link that you were sent in a browser.",
)
TOO_LONG = Notice(
    414,
    "This address is too long",
    "No address that belongs here is as long as this one.",
    "Open the connect link that you were sent once more.",
)
TOO_LARGE = Notice(
    413,
    "That is too much",
    "More was sent to this address than any form here has.",
    "Open the connect link that you were sent once more.",
)
BROKEN = Notice(
    500,
    "Something went wrong here",
    "That is a defect of this service, not a mistake of yours. It has been written down.",
    "Open the connect link once more. If this happens again, tell the person who sent it to you.",
    "It may have been. Opening the link again shows whether it was used.",
)
NOTHING_TO_SHOW = Notice(
    200,
    "There is no result to show",
    "The result of a connection is shown in the browser that made it, for a quarter of an hour.",
    "If you are not sure whether a connection was made, open its link again: a link that was used says so.",
    "This page does not know.",
)


def tiktok_said_no(reason: str, todo: str) -> Notice:
    """The page for a code that TikTok did not exchange."""
    return Notice(502, "TikTok did not complete the connection", reason, todo)


@dataclass(frozen=True, slots=True)
class Result:
    """What the result page shows of one connection.

    Attributes:
        connection: Its name.
        advertisers: As many of its ad accounts as there was room for.
        count: How many there are.
        again: Whether it existed before.
        missing: Names of permissions that were not granted.
        ends: The day when the access ends and cannot be renewed, or empty.
    """

    connection: str
    advertisers: Sequence[Advertiser]
    count: int
    again: bool
    missing: Sequence[str]
    ends: str


class Pages:
    """Makes the pages of one function."""

    def __init__(self, settings: Settings) -> None:
        self._start = f"{settings.public_url}/start"
        self._style = (_TEMPLATES / "style.css").read_text(encoding="utf-8")
        self.headers = _headers(settings, self._style)

    @cached_property
    def _templates(self) -> Environment:
        return Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=select_autoescape(),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def notice(self, notice: Notice, reference: str = "") -> Response:
        """One of the notices above."""
        return self._page(
            "notice",
            notice.status,
            reference,
            title=notice.title,
            happened=notice.happened,
            stored=notice.stored,
            next=notice.next,
            command=notice.command,
        )

    def about(self) -> Response:
        """What this address is."""
        return self._page("about", 200)

    def start(self, connection: str, until: datetime, link: str, *, again: bool) -> Response:
        """The page that a connect link opens."""
        return self._page(
            "start",
            200,
            connection=connection,
            until=f"{until.day} {until:%B %Y, %H:%M} UTC",
            link=link,
            action=self._start,
            again=again,
        )

    def done(self, results: Sequence[Result]) -> Response:
        """The result, newest first."""
        return self._page("done", 200, results=results)

    def _page(self, template: str, status: int, reference: str = "", **values: object) -> Response:
        # The style is a file of ours, not anybody's input.
        text = self._templates.get_template(f"{template}.html").render(
            style=Markup(self._style),  # noqa: S704
            reference=reference,
            **values,
        )
        return Response(text, status, content_type="text/html; charset=utf-8")


def _headers(settings: Settings, style: str) -> dict[str, str]:
    style_hash = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    consent = urlsplit(settings.authorize_url)
    form_targets = ["'self'", _origin(settings.public_url), _origin(settings.authorize_url)]
    if (consent.hostname or "").endswith(".tiktok.com"):
        # The consent page sends people on to log in, and browsers hold that, too, against the form that they came from.
        form_targets.append("https://*.tiktok.com")
    headers = {
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "Content-Security-Policy": (
            f"default-src 'none'; style-src 'sha256-{style_hash}'; form-action {' '.join(form_targets)}; "
            "frame-ancestors 'none'; base-uri 'none'"
        ),
        "X-Frame-Options": "DENY",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": "",
    }
    if settings.secure:
        headers["Strict-Transport-Security"] = "max-age=31536000"
    return headers


def _origin(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"
