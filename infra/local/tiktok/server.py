"""The simulated TikTok: its Business API as far as the keeper and its readers need it, and its consent page.

`api` has the endpoints, `accounts` the state behind them, `answers` the ways to go wrong, `ads` what the ad accounts
contain, `report` the figures, `consent` the pages.

    python -m local.tiktok --port 8090 --kind expiring --log
"""

import argparse
import fnmatch
import hashlib
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args
from urllib.parse import parse_qs

from local.serving import (
    CALLS_KEPT,
    Answer,
    BadControl,
    Call,
    CannotStart,
    Fault,
    LocalServer,
    Request,
    When,
    serve_until_signal,
)
from local.tiktok import consent
from local.tiktok.accounts import Accounts, Grant, Kind, Rotation
from local.tiktok.answers import Refusal, envelope, refused
from local.tiktok.api import API_PATH, ENDPOINTS, BusinessApi, json_object

APP_ID = "7000000000000000000"
APP_SECRET = "simulated-app-secret-0123456789abcdef00"
ADVERTISERS = (
    ("7000000000000000001", "Acme Shoes, Europe"),
    ("7000000000000000002", "Acme Shoes, North America"),
    ("7000000000000000003", "Acme Outlet"),
)
CONSENT_PATH = "/portal/auth"
CONSENT_PATHS = (CONSENT_PATH, "/marketing_api/auth")
CONSENT_DECISIONS = {"confirm": "consent_confirm", "decline": "consent_decline", "return": "consent_return"}
TOKEN_CALLS = frozenset({"access_token", "refresh_token", "revoke_token"})

T = TypeVar("T", str, int)


class TikTokServer(LocalServer):
    """A TikTok on a loopback socket.

    Args:
        app_id: the developer app that exists from the start; `add_app` adds others.
        app_secret: its secret.
        host: a loopback address.
        port: 0 takes a free one.
        kind: what kind of grant a code is exchanged for, and what the consent page has chosen beforehand.
        access_seconds: life of an expiring grant's access token.
        refresh_seconds: life of its refresh token, which refreshing does not extend unless `refresh_extends`.
        refresh_extends: whether every refresh starts that life anew.
        rotation: whether a refresh answers with a new refresh token, with the same, or with none.
        keep_old_access_token: whether the access token from before a refresh works until its own end.
        punish_reuse: whether presenting a spent refresh token revokes the whole grant, beside the 40107.
        advertisers: the approver's ad accounts: ids of 19 digits, and names.
        redirect_urls: addresses registered for the apps, compared exactly; None accepts https and this machine.
        qps: calls to the API that an app may make in a second; None for any number.
        per_minute: the same for a minute. Both go by the server's clock.
        path: JSON file, mode 0600, that keeps codes and grants over a restart; None keeps them in memory.
        log: called with one line for each request: method, path without the query, and TikTok's code or the status.
    """

    def __init__(
        self,
        *,
        app_id: str = APP_ID,
        app_secret: str = APP_SECRET,
        host: str = "127.0.0.1",
        port: int = 0,
        kind: Kind = "long-lived",
        access_seconds: int = 86400,
        refresh_seconds: int = 31536000,
        refresh_extends: bool = False,
        rotation: Rotation = "new",
        keep_old_access_token: bool = True,
        punish_reuse: bool = False,
        advertisers: Iterable[tuple[str, str]] = ADVERTISERS,
        redirect_urls: Sequence[str] | None = None,
        qps: int | None = None,
        per_minute: int | None = None,
        path: Path | None = None,
        log: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(host, port)
        self.app_id, self.app_secret = app_id, app_secret
        self.accounts = Accounts(
            clock=self.now,
            advertisers=advertisers,
            kind=kind,
            access_seconds=access_seconds,
            refresh_seconds=refresh_seconds,
            refresh_extends=refresh_extends,
            rotation=rotation,
            keep_old_access_token=keep_old_access_token,
            punish_reuse=punish_reuse,
            path=path,
        )
        self.add_app(app_id, app_secret)
        self._redirect_urls = redirect_urls
        self._api = BusinessApi(self.accounts, self.now, app_id=app_id, qps=qps, per_minute=per_minute)
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
        """The consent page, as TIKTOK_AUTHORIZE_URL takes it."""
        return self.url + CONSENT_PATH

    # State, for tests and for the terminal.

    @property
    def kind(self) -> Kind:
        """Kind of grant that codes are exchanged for from now on, unless the approval says otherwise."""
        return self.accounts.kind

    @kind.setter
    def kind(self, kind: Kind) -> None:
        self.accounts.kind = kind

    @property
    def grants(self) -> list[Grant]:
        """Every grant as it stands now, revoked ones too, in the order of approval."""
        return self.accounts.grants

    @property
    def spent(self) -> Counter[str]:
        """How often each refresh token was presented, by token: once when it is spent, more often when it is reused."""
        return self.accounts.spent

    @property
    def reused(self) -> list[str]:
        """Refresh tokens presented after they were spent, once for each time."""
        return self.accounts.reused

    @property
    def token_calls(self) -> list[Call]:
        """Recorded calls that made or ended tokens."""
        return [call for call in self.calls if call.name in TOKEN_CALLS]

    def add_app(self, app_id: str, app_secret: str) -> None:
        """Registers one more developer app."""
        self.accounts.add_app(app_id, app_secret)

    def authorize(
        self,
        kind: Kind | None = None,
        advertisers: Sequence[str] | None = None,
        scope: Sequence[int] | None = None,
        app_id: str | None = None,
    ) -> str:
        """Approves as a person would on the consent page, and returns the authorization code."""
        return self.accounts.authorize(app_id or self.app_id, kind, advertisers, scope)

    def grant(
        self,
        kind: Kind | None = None,
        advertisers: Sequence[str] | None = None,
        scope: Sequence[int] | None = None,
        app_id: str | None = None,
    ) -> Grant:
        """Makes a grant without a page and without a call."""
        app_id = app_id or self.app_id
        code = self.accounts.authorize(app_id, kind, advertisers, scope)
        return self.accounts.exchange(app_id, self.accounts.secret(app_id), code)

    def is_alive(self, access_token: str) -> bool:
        """Whether an access token works."""
        return self.accounts.is_alive(access_token)

    def revoke(self, access_token: str) -> None:
        """Takes a grant back, as an advertiser can in TikTok's settings.

        Raises:
            KeyError: no such access token was ever given out.
        """
        self.accounts.revoke(access_token)

    def set_advertisers(self, access_token: str, advertiser_ids: Iterable[str]) -> None:
        """Changes which ad accounts a grant reaches.

        Raises:
            KeyError: no such access token was ever given out.
        """
        self.accounts.set_advertisers(access_token, advertiser_ids)

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

    def fail_token(self, token: str, code: int, message: str = "", *, times: int | None = 1) -> None:
        """Has the next calls with that access or refresh token refused, whatever the others do."""
        self.accounts.trouble(token, Refusal(code, message), times)

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

    # What was called.

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
        if request.path in CONSENT_PATHS and request.method in ("GET", "HEAD"):
            name = "consent_page"
        elif request.path in CONSENT_PATHS and request.method == "POST":
            fields = _first(_form(request))
            name = CONSENT_DECISIONS.get(fields.get("decision", ""), "unknown")
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
        if request.path in CONSENT_PATHS:
            answer = self._consent(request)
            outcome = str(answer.status)
        else:
            answer, outcome = self._business(request)
        if self._line is not None:
            self._line(f"{request.method} {request.path} {outcome}")
        return answer

    def control(self, request: Request, words: list[str]) -> Answer | None:
        match request.method, words:
            case "POST", ["grant-kind"]:
                self.kind = _kind(request.json().get("kind"))
            case "POST", ["authorize"]:
                wanted = request.json()
                kind = _kind(wanted["kind"]) if "kind" in wanted else None
                ids = _listed(wanted, "advertisers", str) if "advertisers" in wanted else None
                scope = _listed(wanted, "scope", int) if "scope" in wanted else None
                return Answer(body={"auth_code": self.authorize(kind, ids, scope)})
            case "POST", ["revoke"]:
                for grant in self._meant(request.json()):
                    self.revoke(grant.access_token)
            case "POST", ["advertisers"]:
                wanted = request.json()
                reached = _listed(wanted, "advertiser_ids", str)
                for grant in self._meant(wanted):
                    self.set_advertisers(grant.access_token, reached)
            case "GET", ["grants"]:
                shown = str if request.parameter("reveal") == "1" else _fingerprint
                grants = [_summary(grant, shown, alive=self.is_alive(grant.access_token)) for grant in self.grants]
                return Answer(body={"grants": grants, "reused": [shown(token) for token in self.reused]})
            case _:
                return None
        return Answer(body={})

    def _meant(self, wanted: Mapping[str, Any]) -> list[Grant]:
        """The grants that a control's ``access_token`` or ``advertiser_id`` names."""
        token, advertiser_id = wanted.get("access_token"), wanted.get("advertiser_id")
        found = [
            grant
            for grant in self.grants
            if not grant.revoked and (grant.access_token == token or advertiser_id in grant.advertiser_ids)
        ]
        if not found:
            raise BadControl("No grant has this 'access_token' or 'advertiser_id'.")
        return found

    # The API.

    def _business(self, request: Request) -> tuple[Answer, str]:
        route = ENDPOINTS.get(request.path)
        if route is None:
            return Answer(404, b"404 page not found", "text/plain; charset=utf-8"), "404"
        method, name, answer = route
        if request.method != method:
            wrong = Answer(405, b"405 method not allowed", "text/plain; charset=utf-8", {"Allow": method})
            return wrong, "405"
        try:
            self._api.count(request)
            body = envelope(self._overridden(name, answer(self._api, request)))
        except Refusal as refusal:
            body = refused(refusal.code, refusal.message)
        return Answer(200, body, "application/json"), f"{name} {body['code']} {body['message']}"

    def _overridden(self, name: str, data: dict[str, Any]) -> dict[str, Any]:
        with self._overrides_lock:
            override = next((one for one in self._overrides if one.call == name), None)
            if override is None:
                return data
            override.times -= 1
            if override.times <= 0:
                self._overrides.remove(override)
        return {key: value for key, value in (data | override.fields).items() if key not in override.omit}

    # The consent page.

    def _consent(self, request: Request) -> Answer:
        if request.method not in ("GET", "HEAD", "POST"):
            return Answer(405, b"405 method not allowed", "text/plain; charset=utf-8", {"Allow": "GET, HEAD, POST"})
        fields = _form(request) if request.method == "POST" else request.parameters
        asked = consent.Asked.read(fields)
        if not self.accounts.has_app(asked.app_id):
            return _shown(consent.wrong("No app has the app_id of this address."), 400)
        if not consent.acceptable(asked.redirect_uri, self._redirect_urls):
            return _shown(consent.wrong("The redirect_uri of this address is not registered for the app."), 400)
        if request.method != "POST":
            page = consent.choice(asked, self.accounts.advertisers, self.kind, request.path)
            return _shown(page)
        match fields.get("decision", [""])[0]:
            case "confirm":
                return self._confirmed(asked, fields)
            case "decline":
                return _shown(consent.declined(asked, request.path))
            case "return":
                said = {"error": "access_denied", "error_description": "The user declined the authorization."}
                return _sent_back(asked.redirect(**said))
            case _:
                return _shown(consent.wrong("The form holds no decision."), 400)

    def _confirmed(self, asked: consent.Asked, fields: Mapping[str, Sequence[str]]) -> Answer:
        kinds = fields.get("kind", [self.kind])
        ticked = fields.get("advertiser_id", [])
        offered = [one for one, _ in self.accounts.advertisers]
        if kinds[0] not in get_args(Kind) or not set(ticked) <= set(offered):
            return _shown(consent.wrong("The form does not come from this page."), 400)
        code = self.authorize(_kind(kinds[0]), [one for one in offered if one in ticked], asked.scope, asked.app_id)
        return _sent_back(asked.redirect(auth_code=code, code=code))


@dataclass
class _Override:
    """A change to the next answers of one call."""

    call: str
    fields: dict[str, Any]
    omit: frozenset[str]
    times: int


def _first(fields: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    return {name: values[0] for name, values in fields.items()}


def _form(request: Request) -> dict[str, list[str]]:
    return parse_qs(request.body.decode(errors="replace"), keep_blank_values=True)


def _shown(page: bytes, status: int = 200) -> Answer:
    return Answer(status, page, "text/html; charset=utf-8", consent.HEADERS)


def _sent_back(location: str) -> Answer:
    return Answer(302, b"", "text/plain; charset=utf-8", {**consent.HEADERS, "Location": location})


def _kind(value: object) -> Kind:
    for kind in get_args(Kind):
        if value == kind:
            found: Kind = kind
            return found
    raise BadControl(f"'kind' is one of {', '.join(get_args(Kind))}.")


def _fingerprint(token: str) -> str:
    return "sha256:" + hashlib.sha256(token.encode()).hexdigest()[:12]


def _listed(wanted: Mapping[str, Any], name: str, kind: type[T]) -> list[T]:
    value = wanted.get(name)
    if not isinstance(value, list) or not all(isinstance(one, kind) for one in value):
        raise BadControl(f"{name!r} has to be a list of {'strings' if kind is str else 'numbers'}.")
    return value


def _summary(grant: Grant, shown: Callable[[str], str], *, alive: bool) -> dict[str, Any]:
    return {
        "app_id": grant.app_id,
        "kind": grant.kind,
        "alive": alive,
        "advertiser_ids": list(grant.advertiser_ids),
        "scope": list(grant.scope),
        "access_token": shown(grant.access_token),
        "expires_at": grant.expires_at,
        "refresh_token": None if grant.refresh_token is None else shown(grant.refresh_token),
        "refresh_expires_at": grant.refresh_expires_at,
    }


def _advertiser(text: str) -> tuple[str, str]:
    advertiser_id, _, name = text.partition("=")
    if not advertiser_id.isdecimal():
        raise argparse.ArgumentTypeError("an ad account is given as ID=NAME, its id in digits")
    return advertiser_id, name or f"Account {advertiser_id}"


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local.tiktok", description="Runs a simulated TikTok.")
    parser.add_argument("--host", default="127.0.0.1", help="loopback address (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8090, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--app-id", default=APP_ID, help="the developer app (default: %(default)s)")
    parser.add_argument("--app-secret", default=APP_SECRET, help="its secret (default: %(default)s)")
    parser.add_argument("--kind", choices=get_args(Kind), default="long-lived", help="(default: %(default)s)")
    parser.add_argument("--access-seconds", type=int, default=86400, help="(default: %(default)s)")
    parser.add_argument("--refresh-seconds", type=int, default=31536000, help="(default: %(default)s)")
    parser.add_argument(
        "--rotation",
        choices=get_args(Rotation),
        default="new",
        help="refresh token in the answer to a refresh (default: %(default)s)",
    )
    parser.add_argument("--punish-reuse", action="store_true", help="a spent refresh token revokes its grant")
    parser.add_argument(
        "--advertiser", type=_advertiser, action="append", metavar="ID=NAME", help="an ad account; may be repeated"
    )
    parser.add_argument(
        "--redirect-url",
        action="append",
        metavar="URL",
        help="a registered redirect URL; may be repeated (default: https and this machine)",
    )
    parser.add_argument("--qps", type=int, help="calls an app may make in a second (default: any number)")
    parser.add_argument("--per-minute", type=int, help="calls an app may make in a minute (default: any number)")
    parser.add_argument("--state", type=Path, metavar="FILE", help="keeps codes and grants in this file over a restart")
    parser.add_argument("--log", action="store_true", help="prints a line for each request")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Runs the server until it is told to stop; returns the exit status."""
    given = _arguments(words)
    try:
        server = TikTokServer(
            app_id=given.app_id,
            app_secret=given.app_secret,
            host=given.host,
            port=given.port,
            kind=given.kind,
            access_seconds=given.access_seconds,
            refresh_seconds=given.refresh_seconds,
            rotation=given.rotation,
            punish_reuse=given.punish_reuse,
            advertisers=given.advertiser or ADVERTISERS,
            redirect_urls=given.redirect_url,
            qps=given.qps,
            per_minute=given.per_minute,
            path=given.state,
            log=(lambda line: print(line, flush=True)) if given.log else None,
        )
    except CannotStart as error:
        print(error)
        return 1
    return serve_until_signal(
        server, lambda it: f"Simulated TikTok: {it.url}{API_PATH}, consent page {it.url}{CONSENT_PATH}"
    )
