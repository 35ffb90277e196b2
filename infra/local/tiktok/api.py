"""The endpoints of TikTok's Business API 1.3: what each asks for, refuses and answers.

Each takes a request and returns the envelope's ``data`` or raises `Refusal`.
"""

import json
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, Literal, TypeVar

from local.serving import Request
from local.tiktok import ads, report
from local.tiktok.accounts import (
    READ_ACCOUNTS,
    READ_AD_GROUPS,
    READ_ADS,
    READ_CAMPAIGNS,
    READ_REPORTS,
    Accounts,
    Grant,
)
from local.tiktok.answers import Refusal

API_PATH = "/open_api/v1.3"
MOST_ACCOUNTS_A_CALL = 100
MOST_ACCOUNTS_A_REPORT = 5

C = TypeVar("C", dict[str, Any], list[Any])


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
        return {"list": _only([ads.account(one, self._accounts.name(one)) for one in ids], fields)}

    def campaign_get(self, request: Request) -> dict[str, Any]:
        """A page of an ad account's campaigns."""
        return self._listed(request, READ_CAMPAIGNS, ads.campaigns)

    def adgroup_get(self, request: Request) -> dict[str, Any]:
        """A page of its ad groups."""
        return self._listed(request, READ_AD_GROUPS, ads.ad_groups)

    def ad_get(self, request: Request) -> dict[str, Any]:
        """A page of its ads."""
        return self._listed(request, READ_ADS, ads.ads)

    def report(self, request: Request) -> dict[str, Any]:
        """A page of a synchronous report, of one ad account or of several."""
        several = _list_parameter(request, "advertiser_ids")
        if len(several) > MOST_ACCOUNTS_A_REPORT:
            raise Refusal(40002, f"advertiser_ids: Length must be between 1 and {MOST_ACCOUNTS_A_REPORT}.")
        reached = self._reached(request, READ_REPORTS, several or [request.parameter("advertiser_id")])
        dimensions = _list_parameter(request, "dimensions")
        if not request.parameter("report_type") or not dimensions:
            raise Refusal(40002, "report_type, dimensions: Missing data for required field.")
        wanted = report.Wanted(
            report_type=request.parameter("report_type"),
            data_level=request.parameter("data_level"),
            dimensions=tuple(dimensions),
            metrics=tuple(_list_parameter(request, "metrics")),
            start=_date_parameter(request, "start_date"),
            end=_date_parameter(request, "end_date"),
            lifetime=request.parameter("query_lifetime").lower() == "true",
            filtering=tuple(_json_parameter(request, "filtering", list, dict)),
        )
        found = []
        for one in reached:
            rows, account = report.rows(one, wanted), ads.account(one, self._accounts.name(one))
            of_whom = {name: account[name] for name in ("advertiser_id", "currency", "timezone") if several}
            found += [row | {"metrics": row["metrics"] | of_whom} for row in rows]
        return _page(request, found)

    def _listed(
        self, request: Request, permissions: frozenset[int], read: Callable[[str, dict[str, Any]], list[dict[str, Any]]]
    ) -> dict[str, Any]:
        [reached] = self._reached(request, permissions, [request.parameter("advertiser_id")])
        rows = read(reached, _json_parameter(request, "filtering", dict, object))
        return _page(request, _only(rows, _list_parameter(request, "fields")))

    def _reached(self, request: Request, permissions: frozenset[int], advertiser_ids: list[str]) -> list[str]:
        """The ad accounts that are read, all of which the token must reach."""
        grant = self._accounts.authenticate(_token(request))
        if not all(advertiser_ids):
            raise Refusal(40002, "advertiser_id: Missing data for required field.")
        _allowed(grant, permissions)
        for one in advertiser_ids:
            _reaches(grant, one)
        return advertiser_ids

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
    f"{API_PATH}/user/info": ("GET", "user_info", BusinessApi.user_info),
    f"{API_PATH}/advertiser/info/": ("GET", "advertiser_info", BusinessApi.advertiser_info),
    f"{API_PATH}/campaign/get/": ("GET", "campaign_get", BusinessApi.campaign_get),
    f"{API_PATH}/adgroup/get/": ("GET", "adgroup_get", BusinessApi.adgroup_get),
    f"{API_PATH}/ad/get/": ("GET", "ad_get", BusinessApi.ad_get),
    f"{API_PATH}/report/integrated/get/": ("GET", "report", BusinessApi.report),
}
"""Method, the name that a call is recorded under, and what answers it, by path. The trailing slash is needed; only who
approved can be asked for without it, as singer-io's tap does."""


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


def _json_parameter(request: Request, name: str, kind: type[C], item: type) -> C:
    """A query parameter that is a JSON list or object of so typed values; empty where it is absent."""
    text = request.parameter(name)
    try:
        value = json.loads(text) if text else kind()
    except ValueError:
        value = None
    items = value.values() if isinstance(value, dict) else value
    if not isinstance(value, kind) or not all(isinstance(one, item) for one in items or ()):
        raise Refusal(40002, f"{name}: Not a valid {'object' if kind is dict else 'list'}.")
    return value


def _list_parameter(request: Request, name: str) -> list[str]:
    """A query parameter that is a JSON list of strings; empty where it is absent."""
    value: list[str] = _json_parameter(request, name, list, str)
    if not all(one.isascii() for one in value):
        raise Refusal(40002, f"{name}: Not a valid list.")
    return value


def _only(rows: list[dict[str, Any]], fields: Sequence[str]) -> list[dict[str, Any]]:
    """The rows with these fields only, and with the account's id; with no fields, as they are."""
    if not fields:
        return rows
    wanted = {*fields, "advertiser_id"}
    return [{key: value for key, value in row.items() if key in wanted} for row in rows]


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
