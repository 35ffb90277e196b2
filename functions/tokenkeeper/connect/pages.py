"""The pages that people see, and the headers that every answer carries. Nothing else knows HTML."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from flask import Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from tokenkeeper.checks import is_this_machine
from tokenkeeper.connect.cookies import Result
from tokenkeeper.connect.links import Link
from tokenkeeper.connect.notices import Notice
from tokenkeeper.settings import Settings

_TEMPLATES = Path(__file__).parent / "templates"


class Pages:
    """Makes the pages of one function; every answer carries `headers`."""

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

    def notice(self, notice: Notice, status: int, reference: str = "") -> Response:
        """A page that says what happened, whether anything was stored, and what to do next."""
        return self._page("notice", status, reference, notice=notice)

    def about(self) -> Response:
        """What this address is."""
        return self._page("about")

    def start(self, link: Link, text: str, *, again: bool, direct: str = "") -> Response:
        """The page that a connect link opens, of a connection that may exist already (`again`); the form sends `text`.

        `direct` is TikTok's page for a flow that this browser has begun and whose form led nowhere, because a company's
        gateway leads that page elsewhere; empty: none was begun.
        """
        until = f"{link.expires_at.day} {link.expires_at:%B %Y, %H:%M} UTC"
        return self._page("start", link=link, text=text, until=until, action=self._start, again=again, direct=direct)

    def done(self, results: Sequence[Result]) -> Response:
        """The results, newest first."""
        return self._page("done", results=results)

    def _page(self, template: str, status: int = 200, reference: str = "", **values: object) -> Response:
        # The style is a file of ours, not anybody's input.
        text = self._templates.get_template(f"{template}.html").render(
            style=Markup(self._style),  # noqa: S704
            reference=reference,
            **values,
        )
        return Response(text, status, content_type="text/html; charset=utf-8")


def redirect(address: str) -> Response:
    """A redirect after something was done: the browser gets `address`."""
    return Response("", 303, {"Location": address}, content_type="text/plain; charset=utf-8")


def _headers(settings: Settings, style: str) -> dict[str, str]:
    style_hash = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    consent = (settings.authorize_url, settings.account_authorize_url)
    targets = ["'self'", *map(_origin, (settings.public_url, *consent))]
    if any((urlsplit(address).hostname or "").endswith(".tiktok.com") for address in consent):
        # The consent page sends people on to log in, and browsers hold that, too, against the form that they came from.
        targets.append("https://*.tiktok.com")
    headers = {
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "Content-Security-Policy": (
            f"default-src 'none'; style-src 'sha256-{style_hash}'; form-action {' '.join(dict.fromkeys(targets))}; "
            "frame-ancestors 'none'; base-uri 'none'"
        ),
        "X-Frame-Options": "DENY",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": "",
    }
    if settings.secure and not is_this_machine(urlsplit(settings.public_url).hostname or ""):
        # For a name of this machine it would turn every other server of a developer into https for a year.
        headers["Strict-Transport-Security"] = "max-age=31536000"
    return headers


def _origin(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"
