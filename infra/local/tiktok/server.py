"""The simulated TikTok: its Business API as far as the keeper and its readers need it, and its consent pages.

`api` has the addresses, `advertiser_api` and `account_api` the endpoints, `authorizations` and `tokens` what they rest
on, `options` the behaviour, `ads`, `report` and `videos` the contents, `advertiser_consent` and `account_consent` the
pages.
"""

import fnmatch
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.calls import CALLS_KEPT
from local.exchange import When
from local.serving import Answer, Call, Fault, LocalServer, Request
from local.tiktok import account_consent, advertiser_consent
from local.tiktok.answers import Refusal, envelope, refused
from local.tiktok.api import API_PATH, ENDPOINTS, TOKEN_CALLS
from local.tiktok.authorizations import Authorizations
from local.tiktok.options import Options
from local.tiktok.parameters import json_object
from local.tiktok.quota import Quota

APP_ID = "7000000000000000000"
APP_SECRET = "simulated-app-secret-0123456789abcdef00"
CONSENT_PATH, ACCOUNT_CONSENT_PATH = advertiser_consent.PATHS[0], account_consent.PATHS[0]
DEFAULT_OPTIONS = Options()

_PAGES = {
    **dict.fromkeys(advertiser_consent.PATHS, advertiser_consent.answer),
    **dict.fromkeys(account_consent.PATHS, account_consent.answer),
}
_DECISIONS = {"confirm": "consent_confirm", "decline": "consent_decline", "return": "consent_return"}


class TikTokServer(LocalServer, Authorizations):
    """A TikTok on a socket of this machine.

    Calls are named as in `ENDPOINTS`, those of the consent pages `consent_page`, `consent_confirm`, `consent_decline`
    and `consent_return`; their resource is the path.

    Args:
        app_id: the developer app that exists from the start; `add_app` adds others.
        app_secret: its secret.
        options: the behaviour.
        host: where to listen; a browser elsewhere may need more than loopback.
        port: 0 takes a free one.
        names: host names that it answers to beside those of this machine.
        path: JSON file, mode 0600, that keeps codes and grants over a restart; None keeps them in memory.
        log: called with one line for each request: method, path without the query, and TikTok's code or the status.
    """

    loopback_only = False

    def __init__(
        self,
        *,
        app_id: str = APP_ID,
        app_secret: str = APP_SECRET,
        options: Options = DEFAULT_OPTIONS,
        host: str = "127.0.0.1",
        port: int = 0,
        names: Sequence[str] = (),
        path: Path | None = None,
        log: Callable[[str], None] | None = None,
    ) -> None:
        LocalServer.__init__(self, host, port, names=names)
        Authorizations.__init__(self, app_id, app_secret, options, path)
        self._quota = Quota(self.now)
        self._requests: deque[tuple[str, dict[str, Any]]] = deque(maxlen=CALLS_KEPT)
        self._overrides: list[_Override] = []
        self._overrides_lock = threading.Lock()
        self._line = log

    # Addresses.

    @property
    def api_url(self) -> str:
        """Base of the API, as TIKTOK_API_URL takes it."""
        return self.url + API_PATH

    @property
    def authorize_url(self) -> str:
        """The consent page for advertisers, as TIKTOK_AUTHORIZE_URL takes it."""
        return self.url + CONSENT_PATH

    @property
    def account_authorize_url(self) -> str:
        """The consent page for account holders, as TIKTOK_ACCOUNT_AUTHORIZE_URL takes it."""
        return self.url + ACCOUNT_CONSENT_PATH

    # Going wrong on demand.

    def fail_next(
        self,
        call: str,
        code: int,
        message: str = "",
        *,
        times: int | None = 1,
        http_status: int = 200,
        when: When = "before",
    ) -> None:
        """Has the next calls of that name refused with a code of TikTok's.

        Args:
            call: `Call.name` or a pattern.
            code: TikTok's code.
            message: instead of TikTok's own.
            times: how many calls; None for all.
            http_status: HTTP status of the answer.
            when: "after" commits the call first, so that only the answer is wrong.
        """
        self.add_fault(Fault(call, times=times, when=when, status=http_status, body=refused(code, message)))

    def override_answer(
        self, call: str, fields: Mapping[str, Any] | None = None, *, omit: Sequence[str] = (), times: int = 1
    ) -> None:
        """Changes the ``data`` of the next successful answers, and nothing about what took effect.

        Args:
            call: `Call.name`.
            fields: values to set or add.
            omit: names to leave out.
            times: how many answers.
        """
        with self._overrides_lock:
            self._overrides.append(_Override(call, dict(fields or {}), frozenset(omit), times))

    def clear_overrides(self) -> None:
        """Forgets the changes of answers that did not come yet."""
        with self._overrides_lock:
            self._overrides.clear()

    # What was called.

    @property
    def token_calls(self) -> list[Call]:
        """Recorded calls that made or ended tokens."""
        return [call for call in self.calls if call.name in TOKEN_CALLS]

    def requests_of(self, name: str) -> list[dict[str, Any]]:
        """What the calls of that name brought: the JSON body or the query, with the Access-Token header if any."""
        return [dict(fields) for called, fields in list(self._requests) if called == name]

    def forget_calls(self) -> None:
        super().forget_calls()
        self._requests.clear()

    def max_in_window(self, seconds: float, name: str = "*") -> int:
        """The most calls to the API that arrived within any `seconds` seconds, of the recorded ones."""
        names = {name for _, name, _ in ENDPOINTS.values()}
        times = sorted(c.at for c in self.calls if c.name in names and fnmatch.fnmatchcase(c.name, name))
        most = first = 0
        for last, at in enumerate(times):
            while at - times[first] >= seconds:
                first += 1
            most = max(most, last - first + 1)
        return most

    # What LocalServer asks.

    def identify(self, request: Request) -> tuple[str, str]:
        name, fields = "unknown", _first(request.parameters)
        if request.path in _PAGES and request.method in ("GET", "HEAD"):
            name = "consent_page"
        elif request.path in _PAGES and request.method == "POST":
            fields = _first(request.form())
            name = _DECISIONS.get(fields.get("decision", ""), "unknown")
        elif request.path in ENDPOINTS and ENDPOINTS[request.path][0] == request.method:
            name = ENDPOINTS[request.path][1]
            if request.method == "POST":
                fields = json_object(request.body) or {}
        token = request.headers.get("Access-Token")
        self._requests.append((name, fields if token is None else fields | {"Access-Token": token}))
        return name, request.path

    def fault_body(self, status: int) -> Mapping[str, Any]:  # noqa: ARG002
        return refused(50000)

    def answer(self, request: Request, call: Call) -> Answer:  # noqa: ARG002
        if request.path in ENDPOINTS:
            answer, outcome = self._business(request)
        elif request.path not in _PAGES:
            answer, outcome = Answer(404, b"404 page not found", "text/plain; charset=utf-8"), "404"
        elif request.method not in ("GET", "HEAD", "POST"):
            answer, outcome = _not_allowed("GET, HEAD, POST"), "405"
        else:
            answer = _PAGES[request.path](self, request)
            outcome = str(answer.status)
        if self._line is not None:
            self._line(f"{request.method} {request.path} {outcome}")
        return answer

    def _business(self, request: Request) -> tuple[Answer, str]:
        method, name, answer = ENDPOINTS[request.path]
        if request.method != method:
            return _not_allowed(method), "405"
        try:
            self._quota.take(
                self._app_of(request), {1: (self.options.qps, 40100), 60: (self.options.per_minute, 40133)}
            )
            body = envelope(self._overridden(name, answer(self, request)))
        except Refusal as refusal:
            body = refused(refusal.code, refusal.message)
        return Answer(200, body, "application/json"), f"{name} {body['code']} {body['message']}"

    def _app_of(self, request: Request) -> str:
        """The app whose quota a call counts against."""
        body = json_object(request.body) or {}
        named = request.parameter("app_id") or str(body.get("app_id") or body.get("client_id"))
        token = request.headers.get("Access-Token", "")
        return self.app_of(token) or (named if self.has_app(named) else self.app_id)

    def _overridden(self, name: str, data: dict[str, Any]) -> dict[str, Any]:
        with self._overrides_lock:
            override = next((one for one in self._overrides if one.call == name), None)
            if override is None:
                return data
            override.times -= 1
            if override.times <= 0:
                self._overrides.remove(override)
        return {key: value for key, value in (data | override.fields).items() if key not in override.omit}


@dataclass
class _Override:
    """A change to the next answers of one call."""

    call: str
    fields: dict[str, Any]
    omit: frozenset[str]
    times: int


def _first(fields: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    return {name: values[0] for name, values in fields.items()}


def _not_allowed(methods: str) -> Answer:
    return Answer(405, b"405 method not allowed", "text/plain; charset=utf-8", {"Allow": methods})
