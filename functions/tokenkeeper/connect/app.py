"""The public function: its addresses, and what every request has to be before it gets anywhere.

The way back from TikTok, where a code is exchanged and a token stored, is `callback`.
"""

from __future__ import annotations

import io
import re
import secrets
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import parse_qsl

from flask import Flask, Request, Response
from werkzeug.exceptions import HTTPException

from tokenkeeper import clock, log, pages
from tokenkeeper.callback import Callback, Flow, Outcome, Stop
from tokenkeeper.clock import Deadline
from tokenkeeper.errors import LinkError, LinkExpired, LinkInvalid, LinkUsed, SecretMissing, SettingsError, VaultError
from tokenkeeper.links import STATE_LIFE, Link, Signer, bound_to
from tokenkeeper.pages import Notice, Pages, Result
from tokenkeeper.settings import Settings
from tokenkeeper.tiktok import Advertiser, TikTok, consent_address
from tokenkeeper.vault import Vault

LONGEST_QUERY = 4096  # characters
LARGEST_FORM = 8192  # bytes
_LARGEST_BODY = 1_000_000  # bytes that are read of a request that is refused, so that the other side gets the answer
_BODY_SECONDS = 10.0  # a body has arrived by then, or it does not count
_MOST_FLOWS = 8  # flows that one browser may have open; their cookies share 8 KB of header with the results
_RESULT_SECONDS = 900
_LARGEST_RESULT = 2500  # characters
_MOST_RESULTS = 2
_LOOK_SECONDS = 10.0

_CODE = re.compile(r"[A-Za-z0-9._~+/=|-]{1,512}", re.ASCII)
_STATE = re.compile(r"[A-Za-z0-9._~-]{1,1024}", re.ASCII)
_ERROR = re.compile(r"[^\x00-\x1f\x7f-\x9f]{1,512}")
_LINK = re.compile(r"[A-Za-z0-9._-]{1,1024}", re.ASCII)
_FLOW = re.compile(r"[0-9a-f]{8}", re.ASCII)
_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}", re.ASCII)
_CALLBACK_KEYS = {"auth_code", "code", "state", "error"}


class Connect:
    """The whole function, for one set of settings. One instance serves many requests at once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._vault = Vault(settings)
        self._tiktok = TikTok(settings.api_url, settings.app_id, settings.app_secret)
        self._signer = Signer(settings.link_keys)
        self._pages = Pages(settings)
        self._cookie_prefix = "__Host-tk-" if settings.secure else "tk-"

    def attach(self, app: Flask) -> None:
        """Give the headers to the answers that the framework makes by itself, too, and let it pass on every path."""
        app.url_map.merge_slashes = False
        app.after_request(self._harden)

        def own_page(error: HTTPException) -> Response:
            return self._pages.notice(pages.NOT_FOUND if error.code == 404 else pages.MALFORMED)

        app.register_error_handler(HTTPException, own_page)

    def answer(self, request: Request) -> Response:
        """Answer one request. Never raises: a defect ends in a page and a log entry."""
        reference = secrets.token_hex(4)
        with log.context(request.headers.get, self._settings.project, reference=reference):
            try:
                response = self._route(request)
            except Stop as stop:
                log.event(
                    stop.severity,
                    stop.event,
                    stop.message,
                    reason=stop.reason,
                    connection=stop.connection or None,
                    status=stop.notice.status,
                    code=stop.code,
                    request_id=stop.request_id,
                )
                response = self._pages.notice(stop.notice, reference)
                response.headers.update(stop.headers)
            except Exception as error:  # noqa: BLE001 - the boundary: nothing may reach the framework's own error page
                log.defect(error)
                response = self._pages.notice(pages.BROKEN, reference)
        return self._harden(response)

    def _harden(self, response: Response) -> Response:
        response.headers.update(self._pages.headers)
        return response

    # --- requests ---

    def _route(self, request: Request) -> Response:
        path = self._path(request)
        body = _sent_along(request)
        methods = {"/": {"GET", "HEAD"}, "/start": {"GET", "HEAD", "POST"}, "/done": {"GET"}}.get(path)
        if methods is None:
            raise _refused(pages.NOT_FOUND, "unknown_path")
        query = request.query_string
        if len(query) > LONGEST_QUERY:
            raise _refused(pages.TOO_LONG, "query_too_long")
        arguments = {} if path == "/done" else _pairs(query)
        if path == "/" and _CALLBACK_KEYS & arguments.keys():
            methods = {"GET"}
        if request.method not in methods:
            raise _refused(pages.WRONG_METHOD, "wrong_method", headers={"Allow": ", ".join(sorted(methods))})
        if request.method != "POST" and (request.content_length or "Transfer-Encoding" in request.headers):
            raise _refused(pages.MALFORMED, "body_not_expected")
        answers: dict[tuple[str, str], Callable[[], Response]] = {
            ("/start", "POST"): lambda: self._begin(request, body),
            ("/start", "GET"): lambda: self._show_link(arguments),
            ("/start", "HEAD"): lambda: self._show_link(arguments),
            ("/done", "GET"): lambda: self._show_results(request),
        }
        if path == "/":
            return self._come_back(request, arguments) if methods == {"GET"} else self._pages.about()
        return answers[path, request.method]()

    def _path(self, request: Request) -> str:
        path = str(request.environ["PATH_INFO"])  # `request.path` takes several slashes in front for one
        base = self._settings.public_path
        if base and (path == base or path.startswith(base + "/")):
            path = path.removeprefix(base)
        return path or "/"

    # --- connect links ---

    def _show_link(self, arguments: dict[str, str]) -> Response:
        text, link = self._read_link(arguments.get("link", ""))
        again = self._check_unused(link)
        return self._pages.start(link.connection, link.expires_at, text, again=again)

    def _begin(self, request: Request, body: bytes) -> Response:
        if max(len(body), request.content_length or 0) > LARGEST_FORM:
            raise _refused(pages.TOO_LARGE, "form_too_large")
        if request.mimetype != "application/x-www-form-urlencoded":
            raise _refused(pages.MALFORMED, "not_a_form")
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
            raise _refused(pages.LINK_INVALID, "form_of_another_site")
        _, link = self._read_link(_pairs(body).get("link", ""))
        self._check_unused(link)
        text, state, nonce = self._signer.new_state(link)
        response = self._go(
            consent_address(self._settings.authorize_url, self._settings.app_id, text, self._settings.public_url)
        )
        for flow in self._flows(request)[: 1 - _MOST_FLOWS]:
            self._clear_cookie(response, flow)
        self._set_cookie(response, state.flow, nonce.reveal(), int(STATE_LIFE.total_seconds()))
        log.event("INFO", "connection.begun", "Somebody went to TikTok to connect.", connection=link.connection)
        return response

    def _read_link(self, text: str) -> tuple[str, Link]:
        if not _LINK.fullmatch(text):
            raise _refused(pages.LINK_INVALID, "link_malformed")
        try:
            return text, self._signer.read_link(text)
        except LinkExpired:
            raise _refused(pages.LINK_EXPIRED, "link_expired") from None
        except LinkInvalid as error:
            raise _refused(pages.LINK_INVALID, "link_invalid", str(error)) from None

    def _check_unused(self, link: Link) -> bool:
        try:
            connection = self._vault.connection(link.connection, Deadline(_LOOK_SECONDS))
            link.check_unused(connection)
        except SecretMissing:
            return False
        except LinkUsed:
            raise _refused(pages.LINK_USED, "link_used", connection=link.connection) from None
        except (VaultError, SettingsError) as error:
            raise _refused(
                pages.NOT_READY_TO_START, "store_unavailable", str(error), link.connection, severity="ERROR"
            ) from None
        return connection.made

    # --- the way back from TikTok ---

    def _come_back(self, request: Request, arguments: dict[str, str]) -> Response:
        codes = [code for key in ("auth_code", "code") if (code := arguments.get(key))]
        state = arguments.get("state", "")
        error = arguments.get("error")
        if (
            not all(map(_CODE.fullmatch, codes))
            or (state and not _STATE.fullmatch(state))
            or (error and not _ERROR.fullmatch(error))
            or not (codes or error is not None)
        ):
            raise _refused(pages.MALFORMED, "callback_malformed")
        if error is not None:
            raise _refused(pages.DECLINED, "declined", severity="INFO")
        if state in {"", self._settings.portal_state}:
            if not self._settings.portal_connection:
                raise _refused(pages.PORTAL_REFUSED, "portal_link")
            flow = Flow(self._settings.portal_connection, None, self._settings.portal_advertiser_ids)
            cookie = ""
        else:
            flow, cookie = self._check_state(request, state)
        outcome = Callback(self._settings, self._vault, self._tiktok, flow).run(codes[0])
        response = self._go(f"{self._settings.public_url}/done")
        if cookie:
            self._clear_cookie(response, cookie)
        self._keep_result(request, response, outcome)
        return response

    def _check_state(self, request: Request, text: str) -> tuple[Flow, str]:
        try:
            state = self._signer.read_state(text)
        except LinkError as error:
            raise _refused(pages.STATE_UNKNOWN, "state_invalid", str(error)) from None
        nonce = request.cookies.get(self._cookie_prefix + state.flow, "")
        if not _NONCE.fullmatch(nonce) or not bound_to(state, nonce):
            raise _refused(pages.STATE_UNKNOWN, "state_of_another_browser", connection=state.link.connection)
        return Flow(state.link.connection, state.link, None), state.flow

    # --- cookies ---

    def _show_results(self, request: Request) -> Response:
        results = [result for _, result in self._results(request)]
        return self._pages.done(results[::-1]) if results else self._pages.notice(pages.NOTHING_TO_SHOW)

    def _keep_result(self, request: Request, response: Response, outcome: Outcome) -> None:
        advertisers = list(outcome.advertisers)
        while True:
            text = self._signer.sign_result(
                [
                    outcome.connection,
                    [[advertiser.id, advertiser.name] for advertiser in advertisers],
                    len(outcome.advertisers),
                    outcome.again,
                    list(outcome.missing),
                    f"{outcome.ends.day} {outcome.ends:%B %Y}" if outcome.ends else "",
                    clock.milliseconds(clock.now()),
                ]
            )
            if len(text) <= _LARGEST_RESULT:
                break
            del advertisers[len(advertisers) * 3 // 4 :]
        for name, _ in self._results(request)[: 1 - _MOST_RESULTS]:
            self._clear_cookie(response, name)
        self._set_cookie(response, f"result-{secrets.token_hex(4)}", text, _RESULT_SECONDS)

    def _results(self, request: Request) -> list[tuple[str, Result]]:
        """The results that this browser keeps, oldest first, with the names of their cookies."""
        found = []
        for name, text in request.cookies.items():
            packed = self._signer.read_result(text) if name.startswith(self._cookie_prefix + "result-") else None
            if not isinstance(packed, list):
                continue
            connection, advertisers, count, again, missing, ends, at = packed  # signed by us, so it is as we made it
            result = Result(connection, [Advertiser(*pair) for pair in advertisers], count, again, missing, ends)
            found.append((at, name.removeprefix(self._cookie_prefix), result))
        return [(name, result) for _, name, result in sorted(found, key=lambda item: item[:2])]

    def _flows(self, request: Request) -> list[str]:
        """The flows that this browser has open; browsers send the oldest cookie first."""
        names = [
            name.removeprefix(self._cookie_prefix) for name in request.cookies if name.startswith(self._cookie_prefix)
        ]
        return [name for name in names if _FLOW.fullmatch(name)]

    def _set_cookie(self, response: Response, name: str, value: str, seconds: int) -> None:
        response.set_cookie(
            self._cookie_prefix + name,
            value,
            max_age=seconds,
            path="/",
            secure=self._settings.secure,
            httponly=True,
            samesite="Lax",
        )

    def _clear_cookie(self, response: Response, name: str) -> None:
        self._set_cookie(response, name, "", 0)

    @staticmethod
    def _go(address: str) -> Response:
        return Response("", 303, {"Location": address}, content_type="text/plain; charset=utf-8")


def _refused(
    notice: Notice,
    reason: str,
    message: str = "",
    connection: str = "",
    *,
    severity: str = "WARNING",
    headers: dict[str, str] | None = None,
) -> Stop:
    return Stop(notice, reason, message or notice.title, connection, severity=severity, headers=headers or {})


def _sent_along(request: Request) -> bytes:
    """What a request sends along; no more of it than there is room for, and less if it breaks off or is too slow.

    A socket's own time-out bounds only the gap between two bytes, so a watch ends the reading.
    """
    if not request.content_length and "Transfer-Encoding" not in request.headers:
        return b""
    watch = threading.Timer(_BODY_SECONDS, _read_no_more, [request.environ.get("gunicorn.socket")])
    watch.daemon = True
    watch.start()
    try:
        return request.stream.read(_LARGEST_BODY)
    except Exception:  # noqa: BLE001 - what the web server raises for a broken body has no base class of its own
        return b""
    finally:
        watch.cancel()
        request.stream = io.BytesIO()  # the framework reads on to the end otherwise


def _read_no_more(connection: socket.socket | None) -> None:
    if connection is not None:
        with suppress(OSError):  # closed in the same moment
            connection.shutdown(socket.SHUT_RD)


def _pairs(query: bytes) -> dict[str, str]:
    """The parameters of a query or a form.

    Raises:
        Stop: one comes twice, or they are not text.
    """
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError:
        raise _refused(pages.MALFORMED, "query_malformed") from None
    arguments = dict(pairs)
    if len(arguments) != len(pairs):
        raise _refused(pages.MALFORMED, "parameter_doubled")
    return arguments
