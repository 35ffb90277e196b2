"""The public function: its addresses, and the pages that a connect link leads to.

The way back from TikTok, where a code is exchanged and a token stored, is `callback`.
"""

from __future__ import annotations

import secrets

from flask import Flask, Request, Response
from werkzeug.exceptions import HTTPException

from tokenkeeper import events, log
from tokenkeeper.clock import Deadline
from tokenkeeper.connect import notices
from tokenkeeper.connect.callback import Callback
from tokenkeeper.connect.cookies import Cookies
from tokenkeeper.connect.links import Link, Signer
from tokenkeeper.connect.pages import Pages, redirect
from tokenkeeper.connect.refusal import Refused, refused_by_store
from tokenkeeper.connect.request import Arguments, arguments_of, body_of, check_host, form_of, path_of
from tokenkeeper.errors import LinkExpired, LinkInvalid, SecretMissing, SettingsError, StoreError
from tokenkeeper.secret import Secret
from tokenkeeper.settings import CONNECT, Settings
from tokenkeeper.store.vault import Vault
from tokenkeeper.tiktok.families import TikTok

_CHECK_SECONDS = 10.0


class Connect:
    """The whole function, for one set of settings. One instance serves many requests at once."""

    needs = CONNECT

    def __init__(self, settings: Settings, vault: Vault | None = None, tiktok: TikTok | None = None) -> None:
        """Set up; nothing is called yet. What is None is made as the settings say."""
        self._settings = settings
        self._vault = vault or Vault(settings)
        self._tiktok = tiktok or TikTok(settings)
        self._signer = Signer(settings.link_keys)
        self._cookies = Cookies(self._signer, secure=settings.secure)
        self._pages = Pages(settings)

    def attach(self, app: Flask) -> None:
        """Give our headers to the answers that the framework makes by itself, too, and our pages to its errors."""
        app.after_request(self._harden)

        def own_page(error: HTTPException) -> Response:
            missing = error.code == 404
            return self._pages.notice(notices.NOT_FOUND if missing else notices.MALFORMED, 404 if missing else 400)

        app.register_error_handler(HTTPException, own_page)

    def answer(self, request: Request) -> Response:
        """Answer one request. Never raises: a defect ends in a page and a log entry."""
        reference = secrets.token_hex(4)
        with log.context(request.headers.get, self._settings.project, reference=reference):
            try:
                response = self._route(request)
            except Refused as refused:
                log.write(refused.entry)
                response = self._pages.notice(refused.notice, refused.status, reference)
                response.headers.update(refused.headers)
            except Exception as error:  # noqa: BLE001 - the boundary: nothing may reach the framework's own error page
                log.defect(error)
                response = self._pages.notice(notices.BROKEN, 500, reference)
        return self._harden(response)

    def _harden(self, response: Response) -> Response:
        response.headers.update(self._pages.headers)
        return response

    def _route(self, request: Request) -> Response:
        body = body_of(request)
        path = path_of(request, self._settings)
        arguments = arguments_of(request, path)
        if path == "/" and not arguments.is_callback:
            return self._pages.about()
        check_host(request, self._settings)
        match path, request.method:
            case "/", _:
                parts = self._settings, self._vault, self._tiktok, self._signer, self._cookies
                return Callback(*parts, request, arguments).answer()
            case "/start", "POST":
                return self._begin(request, form_of(request, body))
            case "/start", _:
                return self._show_link(request, arguments)
            case _:
                return self._show_results(request)

    # --- connect links ---

    def _show_link(self, request: Request, arguments: Arguments) -> Response:
        """The page that a connect link opens; opening it uses nothing up and sets no cookie."""
        link, again = self._read_link(arguments)
        direct, flow = "", self._cookies.begun(request, link)
        if flow:
            state, _ = self._signer.state_of(link, flow, Secret(self._cookies.nonce(request, flow)))
            direct = self._tiktok.family(link.family).consent_url(state)
        return self._pages.start(link, arguments.link.reveal(), again=again, direct=direct)

    def _begin(self, request: Request, arguments: Arguments) -> Response:
        """What the page's button does: bind the flow to this browser, and go to TikTok's consent page."""
        link, _ = self._read_link(arguments)
        text, state, nonce = self._signer.new_state(link)
        response = redirect(self._tiktok.family(link.family).consent_url(text))
        self._cookies.begin(request, response, state, nonce)
        log.write(events.CONNECTION_BEGUN.entry(connection=link.connection))
        return response

    def _read_link(self, arguments: Arguments) -> tuple[Link, bool]:
        """A link that is still good, and whether its connection exists already."""
        try:
            link = self._signer.read_link(arguments.checked_link())
        except LinkExpired:
            raise Refused("link_expired") from None
        except LinkInvalid as error:
            raise Refused("link_invalid", f"{error}.") from None
        try:
            connection = self._vault.connection(link.connection, Deadline(_CHECK_SECONDS))
        except SecretMissing:
            return link, False
        except (StoreError, SettingsError) as error:
            raise refused_by_store(error, "link_not_checked", link) from None
        if link.is_used(connection):
            raise Refused("link_used", link=link)
        return link, connection.made

    # --- the result ---

    def _show_results(self, request: Request) -> Response:
        results = self._cookies.results(request)
        return self._pages.done(results) if results else self._pages.notice(notices.NOTHING_TO_SHOW, 200)
