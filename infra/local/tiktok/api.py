"""The endpoints of TikTok's Business API 1.3: what each asks for, refuses and answers.

Each takes a request and returns the envelope's ``data`` or raises `Refusal`.
"""

import json
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, Literal

from local.serving import Request
from local.tiktok import ads
from local.tiktok.accounts import READ_ACCOUNTS, READ_CAMPAIGNS, READ_REPORTS, Accounts, Grant
from local.tiktok.answers import Refusal

API_PATH = "/open_api/v1.3"
MOST_ACCOUNTS_A_CALL = 100


class BusinessApi:
    """The endpoints, over the accounts they are about.

    Args:
        accounts: what TikTok knows.
        clock: seconds since the epoch.
        app_id: the app that calls count against which name none that exists.
        qps: calls that an app may make in a second; None for any number.
        per_minute: the same for a minute.
    """

    def __init__(
        self,
        accounts: Accounts,
        clock: Callable[[], float],
        *,
        app_id: str,
        qps: int | None = None,
        per_minute: int | None = None,
    ) -> None:
        self._accounts, self._clock, self._app_id = accounts, clock, app_id
        self._quota = _Quota(clock, {1: (qps, 40100), 60: (per_minute, 40133)})

    def count(self, request: Request) -> None:
        """Counts a call against its app's quota, or raises the Refusal of the limit that it would exceed."""
        self._quota.take(self._app_of(request))

    def access_token(self, request: Request) -> dict[str, Any]:
        """Exchanges an authorization code."""
        body = _required(request, "app_id", "secret", "auth_code")
        grant = self._accounts.exchange(body["app_id"], body["secret"], body["auth_code"])
        data = self._token_data(grant)
        if body.get("return_advertiser_ids") is False:
            del data["advertiser_ids"]
        return data

    def refresh_token(self, request: Request) -> dict[str, Any]:
        """Exchanges a refresh token."""
        body = _required(request, "app_id", "secret", "grant_type", "refresh_token")
        if body["grant_type"] != "refresh_token":
            raise Refusal(40108)
        data = self._token_data(self._accounts.refresh(body["app_id"], body["secret"], body["refresh_token"]))
        if self._accounts.rotation == "omitted":
            del data["refresh_token"], data["refresh_token_expires_in"]
        return data

    def revoke_token(self, request: Request) -> dict[str, Any]:
        """Takes a grant back."""
        body = _required(request, "app_id", "secret", "access_token")
        self._accounts.check_app(body["app_id"], body["secret"])
        self._accounts.authenticate(body["access_token"], app_id=body["app_id"])
        grant = self._accounts.revoke(body["access_token"])
        return {"app_id": grant.app_id, "advertiser_ids": list(grant.advertiser_ids)}

    def _token_data(self, grant: Grant) -> dict[str, Any]:
        data: dict[str, Any] = {
            "access_token": grant.access_token,
            "advertiser_ids": list(grant.advertiser_ids),
            "scope": list(grant.scope),
        }
        if grant.refresh_token is not None and grant.expires_at is not None and grant.refresh_expires_at is not None:
            data |= {
                "expires_in": self._accounts.access_seconds,
                "refresh_token": grant.refresh_token,
                "refresh_token_expires_in": round(grant.refresh_expires_at - self._clock()),
            }
        return data

    def advertiser_get(self, request: Request) -> dict[str, Any]:
        """The ad accounts that a token reaches."""
        token, app_id = _token(request), request.parameter("app_id")
        for name in ("app_id", "secret"):
            if not request.parameter(name):
                raise Refusal(40002, f"{name}: Missing data for required field.")
        self._accounts.check_app(app_id, request.parameter("secret"))
        grant = self._accounts.authenticate(token, app_id=app_id)
        _allowed(grant, READ_ACCOUNTS)
        names = self._accounts.name
        return {"list": [{"advertiser_id": one, "advertiser_name": names(one)} for one in grant.advertiser_ids]}

    def user_info(self, request: Request) -> dict[str, Any]:
        """The person who approved; needs no permission."""
        self._accounts.authenticate(_token(request))
        return {
            "core_user_id": "7000000000000000900",
            "display_name": "Simulated approver",
            "email": "s***r@example.com",
            "create_time": 1704067200,
        }

    def advertiser_info(self, request: Request) -> dict[str, Any]:
        """Details of up to a hundred ad accounts."""
        grant = self._accounts.authenticate(_token(request))
        _allowed(grant, READ_ACCOUNTS)
        ids, fields = _list_parameter(request, "advertiser_ids"), _list_parameter(request, "fields")
        if not 1 <= len(ids) <= MOST_ACCOUNTS_A_CALL:
            raise Refusal(40002, f"advertiser_ids: Length must be between 1 and {MOST_ACCOUNTS_A_CALL}.")
        for one in ids:
            _reaches(grant, one)
        rows = [
            {
                "advertiser_id": one,
                "name": self._accounts.name(one),
                "currency": "EUR",
                "timezone": "Europe/Berlin",
                "status": "STATUS_ENABLE",
                "company": "Acme",
                "country": "DE",
                "create_time": 1704067200,
            }
            for one in ids
        ]
        wanted = {*fields, "advertiser_id"} if fields else set(rows[0])
        return {"list": [{key: value for key, value in row.items() if key in wanted} for row in rows]}

    def campaign_get(self, request: Request) -> dict[str, Any]:
        """A page of an ad account's campaigns."""
        return _page(request, ads.campaigns(self._account(request, READ_CAMPAIGNS)))

    def report(self, request: Request) -> dict[str, Any]:
        """A page of a synchronous report."""
        advertiser_id = self._account(request, READ_REPORTS)
        dimensions = _list_parameter(request, "dimensions")
        if not request.parameter("report_type") or not dimensions:
            raise Refusal(40002, "report_type, dimensions: Missing data for required field.")
        metrics = _list_parameter(request, "metrics")
        start, end = _date_parameter(request, "start_date"), _date_parameter(request, "end_date")
        return _page(request, ads.report(advertiser_id, dimensions, metrics, start, end))

    def _account(self, request: Request, permissions: frozenset[int]) -> str:
        """The ad account that is read, which the token must reach."""
        grant = self._accounts.authenticate(_token(request))
        advertiser_id = request.parameter("advertiser_id")
        if not advertiser_id:
            raise Refusal(40002, "advertiser_id: Missing data for required field.")
        _allowed(grant, permissions)
        _reaches(grant, advertiser_id)
        return advertiser_id

    def _app_of(self, request: Request) -> str:
        """The app whose quota a call counts against."""
        token = request.headers.get("Access-Token", "")
        named = request.parameter("app_id") or str((json_object(request.body) or {}).get("app_id"))
        return self._accounts.app_of(token) or (named if self._accounts.has_app(named) else self._app_id)


Endpoint = tuple[Literal["GET", "POST"], str, Callable[[BusinessApi, Request], dict[str, Any]]]

ENDPOINTS: Mapping[str, Endpoint] = {
    f"{API_PATH}/oauth2/access_token/": ("POST", "access_token", BusinessApi.access_token),
    f"{API_PATH}/oauth2/refresh_token/": ("POST", "refresh_token", BusinessApi.refresh_token),
    f"{API_PATH}/oauth2/revoke_token/": ("POST", "revoke_token", BusinessApi.revoke_token),
    f"{API_PATH}/oauth2/advertiser/get/": ("GET", "advertiser_get", BusinessApi.advertiser_get),
    f"{API_PATH}/user/info/": ("GET", "user_info", BusinessApi.user_info),
    f"{API_PATH}/advertiser/info/": ("GET", "advertiser_info", BusinessApi.advertiser_info),
    f"{API_PATH}/campaign/get/": ("GET", "campaign_get", BusinessApi.campaign_get),
    f"{API_PATH}/report/integrated/get/": ("GET", "report", BusinessApi.report),
}
"""Method, the name that a call is recorded under, and what answers it, by path. The trailing slash is needed."""


def json_object(body: bytes) -> dict[str, Any] | None:
    """A body that is a JSON object, None for any other."""
    try:
        value = json.loads(body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


class _Quota:
    """Lets an app make so many calls in a sliding window; refused ones do not count."""

    def __init__(self, clock: Callable[[], float], limits: Mapping[int, tuple[int | None, int]]) -> None:
        self._clock = clock
        self._limits = {seconds: (most, code) for seconds, (most, code) in limits.items() if most is not None}
        self._taken: dict[tuple[str, int], deque[float]] = {}
        self._lock = threading.Lock()

    def take(self, app_id: str) -> None:
        """Counts a call, or raises the Refusal of the limit that it would exceed."""
        now = self._clock()
        with self._lock:
            windows = [self._taken.setdefault((app_id, seconds), deque()) for seconds in self._limits]
            for window, (seconds, (most, code)) in zip(windows, self._limits.items(), strict=True):
                while window and now - window[0] >= seconds:
                    window.popleft()
                if len(window) >= most:
                    raise Refusal(code)
            for window in windows:
                window.append(now)


def _required(request: Request, *names: str) -> dict[str, Any]:
    """The JSON body, in which these fields are strings that are not empty."""
    body = json_object(request.body)
    if body is None:
        raise Refusal(40002, "The body is not a JSON object.")
    for name in names:
        if not isinstance(body.get(name), str) or not body[name]:
            raise Refusal(
                40002, f"{name}: {'Not a valid string' if name in body else 'Missing data for required field'}."
            )
    return body


def _token(request: Request) -> str:
    token: str = request.headers.get("Access-Token", "")
    if not token:
        raise Refusal(40104)
    return token


def _allowed(grant: Grant, permissions: frozenset[int]) -> None:
    if not permissions & set(grant.scope):
        raise Refusal(40001)


def _reaches(grant: Grant, advertiser_id: str) -> None:
    if advertiser_id not in grant.advertiser_ids:
        raise Refusal(40001, f"No permission to operate advertiser {advertiser_id}.")


def _list_parameter(request: Request, name: str) -> list[str]:
    """A query parameter that is a JSON list of strings; empty where it is absent."""
    try:
        value = json.loads(request.parameter(name) or "[]")
    except ValueError:
        value = None
    if not isinstance(value, list) or not all(isinstance(one, str) and one.isascii() for one in value):
        raise Refusal(40002, f"{name}: Not a valid list.")
    return value


def _date_parameter(request: Request, name: str) -> date | None:
    value = request.parameter(name)
    try:
        return date.fromisoformat(value) if value else None
    except ValueError:
        raise Refusal(40002, f"{name}: Not a valid date.") from None


def _page(request: Request, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    try:
        number = int(request.parameter("page") or 1)
        size = int(request.parameter("page_size") or ads.PAGE_SIZE)
    except ValueError:
        raise Refusal(40002, "page, page_size: Not a valid integer.") from None
    return ads.page(rows, number, size)
