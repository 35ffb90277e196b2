"""The simulated TikTok for tests: grants without a page, refusals on demand, and what was called."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from emulators.serving import Answer, Call, Fault, LocalServer, Request
from local.tiktok import ACCOUNT_CONSENT_PATH, APP_ID, APP_SECRET, CONSENT_PATH, server
from local.tiktok.answers import refused
from local.tiktok.api import API_PATH, ENDPOINTS
from local.tiktok.consent import PAGES
from local.tiktok.options import ACCOUNTS, ADVERTISERS, DEFAULT_SCOPE, Family, Kind, Options
from local.tiktok.parameters import json_object
from local.tiktok.records import Grant

__all__ = ["APP_ID", "APP_SECRET", "Grant", "Options", "TikTokServer"]

DEFAULT_ACCOUNT_SCOPE = ("user.info.basic", "user.info.profile", "user.info.stats", "video.list")
_TOKEN_CALLS = frozenset(
    {"access_token", "refresh_token", "revoke_token", "account_token", "account_refresh_token", "account_revoke"}
)
_DECISIONS = {"confirm": "consent_confirm", "decline": "consent_decline", "return": "consent_return"}


class TikTokServer(LocalServer, server.TikTokServer):
    """The simulated TikTok under control.

    Calls are named as in `ENDPOINTS`, those of the consent pages `consent_page`, `consent_confirm`, `consent_decline`
    and `consent_return`; their resource is the path.
    """

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.spent: Counter[str] = Counter()  # how often each refresh token was presented
        self.reused: list[str] = []  # refresh tokens that were presented after they had been used, once for each time
        self._requests: list[tuple[str, dict[str, Any]]] = []
        self._overrides: list[tuple[str, Mapping[str, Any], Sequence[str]]] = []
        self._failures: dict[str, dict[str, Any]] = {}

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

    # What people do.

    def authorize(
        self,
        kind: Kind | None = None,
        advertisers: Sequence[str] | None = None,
        scope: Sequence[int] | None = None,
    ) -> str:
        """Approves as an advertiser: without arguments of the option's kind, all ad accounts, the usual permissions."""
        ticked = list(ADVERTISERS) if advertisers is None else advertisers
        return super().authorize(kind or self.options.kind, ticked, DEFAULT_SCOPE if scope is None else scope)

    def authorize_account(
        self,
        account: str | None = None,
        scope: Sequence[str] | None = None,
        redirect_uri: str | None = None,
        kind: Kind = "expiring",
    ) -> str:
        """Approves as the holder of a TikTok account: without arguments the first one, with the usual scopes."""
        asked = DEFAULT_ACCOUNT_SCOPE if scope is None else scope
        return self.add_account_code(account or next(iter(ACCOUNTS)), asked, redirect_uri, kind)

    def grant(
        self, kind: Kind | None = None, advertisers: Sequence[str] | None = None, scope: Sequence[int] | None = None
    ) -> Grant:
        """Makes an advertiser's grant without a page and without a call."""
        return self.redeem(self.authorize(kind, advertisers, scope))

    def grant_account(
        self, account: str | None = None, scope: Sequence[str] | None = None, *, kind: Kind = "expiring"
    ) -> Grant:
        """Makes an account holder's grant without a page and without a call."""
        return self.redeem(self.authorize_account(account, scope, kind=kind))

    def set_advertisers(self, access_token: str, advertiser_ids: Iterable[str]) -> None:
        """Changes which ad accounts an approval reaches."""
        with self.lock:
            self.records.approvals[self.records.access[access_token].approval].advertiser_ids = list(advertiser_ids)

    def is_alive(self, access_token: str) -> bool:
        """Whether an access token works: given out, neither revoked nor expired."""
        with self.lock:
            token = self.records.access.get(access_token)
            return token is not None and not self._approval(token).revoked and not self._ended(token)

    # Going wrong on demand.

    def fail_next(
        self, call: str, code: int, message: str = "", *, times: int | None = 1, http_status: int = 200
    ) -> None:
        """Has the next calls of that name, or pattern, refused with a code of TikTok's; None: all of them."""
        self.add_fault(Fault(call, times=times, status=http_status, body=refused(code, message)))

    def fail_token(self, token: str, code: int) -> None:
        """Has all calls with that access or refresh token refused, whatever the others do."""
        self._failures[token] = refused(code)

    def override_answer(
        self, call: str, fields: Mapping[str, Any] | None = None, *, omit: Sequence[str] = (), times: int = 1
    ) -> None:
        """Sets fields in the ``data`` of the next successful answers, or leaves them out; all else is as usual."""
        with self.lock:
            self._overrides += [(call, fields or {}, omit)] * times

    def clear_overrides(self) -> None:
        """Forgets the changes of answers that did not come yet."""
        with self.lock:
            self._overrides.clear()

    def reset(self) -> None:
        """Nothing is recorded or goes wrong any more, and the behaviour is the usual one; grants stay."""
        self.clear_faults()
        self.clear_overrides()
        self.forget_calls()
        self.spent.clear()
        self.reused.clear()
        self._failures.clear()
        self.options = Options()

    # What was called.

    @property
    def token_calls(self) -> list[Call]:
        """Recorded calls that made or ended tokens."""
        return [call for call in self.calls if call.name in _TOKEN_CALLS]

    def requests_of(self, name: str) -> list[dict[str, Any]]:
        """What the calls of that name brought: the JSON body or the query, with the Access-Token header if any."""
        return [dict(fields) for called, fields in list(self._requests) if called == name]

    def forget_calls(self) -> None:
        super().forget_calls()
        self._requests.clear()

    # Serving.

    def identify(self, request: Request) -> tuple[str, str]:
        name, fields = _brought(request)
        self._requests.append((name, fields))
        return name, request.path

    def fault_body(self, status: int) -> Mapping[str, Any]:  # noqa: ARG002
        return refused(50000)

    def perform(self, request: Request) -> Answer:
        name, fields = _brought(request)
        tokens = [str(fields[key]) for key in ("Access-Token", "refresh_token", "access_token") if key in fields]
        for token in tokens:
            if token in self._failures:
                return Answer(200, self._failures[token], "application/json")
        answer = super().perform(request)
        if not isinstance(answer.body, Mapping) or answer.body["code"] != 0:
            return answer
        with self.lock:
            override = next((one for one in self._overrides if one[0] == name), None)
            if override is None:
                return answer
            self._overrides.remove(override)
        _, more, omit = override
        data = {key: value for key, value in (answer.body["data"] | more).items() if key not in omit}
        return replace(answer, body={**answer.body, "data": data})

    def use(self, refresh_token: str, family: Family, unknown: int) -> Grant:
        with self.lock:
            known = self.records.refresh.get(refresh_token)
            if known is not None and not known.valid:
                self.spent[refresh_token] += 1
                self.reused.append(refresh_token)
            grant = super().use(refresh_token, family, unknown)
            self.spent[refresh_token] += 1
            return grant


def _brought(request: Request) -> tuple[str, dict[str, Any]]:
    """The name of the call that a request is, and what it brought."""
    name, fields = "unknown", _first(request.parameters)
    if request.path in PAGES and request.method in ("GET", "HEAD"):
        name = "consent_page"
    elif request.path in PAGES and request.method == "POST":
        fields = _first(request.form())
        name = _DECISIONS.get(fields.get("decision", ""), "unknown")
    elif request.path in ENDPOINTS and ENDPOINTS[request.path][0] == request.method:
        name = ENDPOINTS[request.path][1]
        if request.method == "POST":
            fields = json_object(request.body) or {}
    token = request.headers.get("Access-Token")
    return name, fields if token is None else fields | {"Access-Token": token}


def _first(fields: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    return {name: values[0] for name, values in fields.items()}
