"""What a request has to be: its path, method, query and body, and the parameters in it. Anything else is refused."""

from __future__ import annotations

import io
import re
import socket
import threading
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from flask import Request

from tokenkeeper.checks import is_this_machine
from tokenkeeper.connect import notices
from tokenkeeper.connect.refusal import Refused
from tokenkeeper.secret import Secret
from tokenkeeper.settings import Settings

LONGEST_QUERY = 4096  # characters
LARGEST_FORM = 8192  # bytes
LONGEST_CODE = 1024  # characters
_LARGEST_BODY = 1_000_000  # bytes that are read of a request that is refused, so that the other side gets the answer
_BODY_SECONDS = 10.0  # a body has arrived by then, or it does not count

# With all labels that a link may carry, it has some 1,100 characters.
_STATE = re.compile(r"[A-Za-z0-9._~-]{1,2048}", re.ASCII)
_ERROR = re.compile(r"[^\x00-\x1f\x7f-\x9f]{1,512}")
_LINK = re.compile(r"[A-Za-z0-9._-]{1,2048}", re.ASCII)
_AFTER_A_LINK = " .,;:!?'\")]}>»”’"  # what a sentence or a chat program leaves at the end of a pasted link
_CALLBACK_KEYS = frozenset(("auth_code", "code", "state", "error"))
_METHODS = {"/": "GET, HEAD", "/start": "GET, HEAD, POST", "/done": "GET"}


class Arguments(NamedTuple):
    """The parameters of a query or a form that somebody reads."""

    codes: tuple[Secret, ...] = ()  # `auth_code`, then `code`, as far as they are not empty
    state: str = ""  # `state`, or empty
    error: str | None = None  # `error`; None where there is none
    link: Secret = Secret("")  # `link`, without what follows a pasted link
    is_callback: bool = False  # whether any of the parameters of a callback is there

    @classmethod
    def parse(cls, query: bytes) -> Arguments:
        """Take a query or a form apart; raises `Refused` where a parameter comes twice, or they are not text."""
        try:
            pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100)
        except ValueError:
            raise Refused("query_malformed") from None
        values = dict(pairs)
        if len(values) != len(pairs):
            raise Refused("parameter_doubled")
        return cls(
            codes=tuple(Secret(values[key]) for key in ("auth_code", "code") if values.get(key)),
            state=values.get("state", ""),
            error=values.get("error"),
            link=Secret(values.get("link", "").rstrip(_AFTER_A_LINK)),
            is_callback=not _CALLBACK_KEYS.isdisjoint(values),
        )

    def check_callback(self) -> None:
        """Check that a callback has what it needs, and nothing odd in it; raises `Refused` where it has not.

        The log gets a code's length and kind of characters, never the code.
        """
        for code in (secret.reveal() for secret in self.codes):
            printable = code.isascii() and code.isprintable()
            if not printable or len(code) > LONGEST_CODE:
                detail = f"The authorization code is not 1 to {LONGEST_CODE:,} characters of printable ASCII."
                kind = "printable ASCII" if printable else "control" if code.isascii() else "not ASCII"
                raise Refused("code_malformed", detail, length=len(code), characters=kind)
        if (self.state and not _STATE.fullmatch(self.state)) or (self.error and not _ERROR.fullmatch(self.error)):
            raise Refused("callback_malformed")
        if not self.codes and self.error is None:
            raise Refused("callback_malformed", "The callback has no authorization code.")

    def checked_link(self) -> str:
        """The link's text; raises `Refused` where it cannot be one."""
        if not _LINK.fullmatch(self.link.reveal()):
            raise Refused("link_malformed")
        return self.link.reveal()


def path_of(request: Request, settings: Settings) -> str:
    """The path below `PUBLIC_URL`, which a load balancer may have taken away or left."""
    path = str(request.environ["PATH_INFO"])  # `request.path` takes several slashes in front for one
    base = unquote(urlsplit(settings.public_url).path, "latin-1")  # as WSGI has it
    if base and (path == base or path.startswith(base + "/")):
        path = path.removeprefix(base)
    return path or "/"


def arguments_of(request: Request, path: str) -> Arguments:
    """The query's parameters; raises `Refused` where there is no such address, or it is not used like that."""
    if path not in _METHODS:
        raise Refused("unknown_path")
    query = request.query_string
    if len(query) > LONGEST_QUERY:
        raise Refused("query_too_long")
    arguments = Arguments() if path == "/done" else Arguments.parse(query)
    methods = "GET" if arguments.is_callback and path == "/" else _METHODS[path]  # HEAD must never use anything up
    if request.method not in methods.split(", "):
        raise Refused("wrong_method", headers={"Allow": methods})
    if request.method != "POST" and (request.content_length or "Transfer-Encoding" in request.headers):
        raise Refused("body_not_expected")
    return arguments


def form_of(request: Request, body: bytes) -> Arguments:
    """The parameters of a form that this function's own page sent; raises `Refused` where it did not."""
    if max(len(body), request.content_length or 0) > LARGEST_FORM:
        raise Refused("form_too_large")
    if request.mimetype != "application/x-www-form-urlencoded":
        raise Refused("not_a_form")
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
        raise Refused("form_of_another_site")
    return Arguments.parse(body)


def check_host(request: Request, settings: Settings) -> None:
    """Check that a browser does not call this machine by another of its names, where it has none of our cookies.

    Raises `Refused` where `PUBLIC_URL` says localhost and the browser 127.0.0.1, or the reverse. Other programs may:
    without a browser's cookies, `Sec-Fetch-Site` and form, nothing goes wrong.
    """
    if "Sec-Fetch-Site" not in request.headers:
        return
    public = urlsplit(settings.public_url)
    try:
        asked = urlsplit(f"//{request.environ.get('HTTP_HOST', '')}")
        same_port = asked.port == public.port
    except ValueError:
        return
    host, expected = asked.hostname or "", public.hostname or ""
    if same_port and host != expected and is_this_machine(host) and is_this_machine(expected):
        raise Refused("other_host", notice=notices.other_host(settings.public_url))


def body_of(request: Request) -> bytes:
    """What a request sends along; no more of it than there is room for, and less if it breaks off or is too slow.

    A socket's own time-out bounds only the gap between two bytes, so a watch ends the reading.
    """
    if not request.content_length and "Transfer-Encoding" not in request.headers:
        return b""
    connection: socket.socket | None = request.environ.get("gunicorn.socket")

    def stop_reading() -> None:
        if connection is not None:
            with suppress(OSError):  # closed in the same moment
                connection.shutdown(socket.SHUT_RD)

    watch = threading.Timer(_BODY_SECONDS, stop_reading)
    watch.daemon = True
    watch.start()
    try:
        return request.stream.read(_LARGEST_BODY)
    except Exception:  # noqa: BLE001 - what the web server raises for a broken body has no base class of its own
        return b""
    finally:
        watch.cancel()
        request.stream = io.BytesIO()  # the framework reads on to the end otherwise
