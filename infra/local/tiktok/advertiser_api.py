"""The endpoints that tell what an advertiser's token reaches, and with which readers read it.

Each takes what TikTok knows and a request, and returns the envelope's ``data`` or raises `Refusal`.
"""

from collections.abc import Callable, Iterable
from typing import Any

from local.exchange import Request
from local.tiktok import ads, report
from local.tiktok.answers import Refusal
from local.tiktok.authorizations import Authorizations
from local.tiktok.options import advertiser_name
from local.tiktok.parameters import access_token, date_parameter, list_parameter, page
from local.tiktok.records import Grant

READ_ACCOUNTS = frozenset({100, 10, 1})
READ_CAMPAIGNS = frozenset({200, 20, 2})
READ_AD_GROUPS = frozenset({210, 21, 2})
READ_ADS = frozenset({220, 22, 2})
READ_REPORTS = frozenset({4, 40, 41, 42, 43, 44})
MOST_ACCOUNTS_A_CALL = 100
MOST_ACCOUNTS_A_REPORT = 5


def advertisers(tiktok: Authorizations, request: Request) -> dict[str, Any]:
    """The ad accounts that a token reaches."""
    token, app_id = access_token(request), request.parameter("app_id")
    for name in ("app_id", "secret"):
        if not request.parameter(name):
            raise Refusal(40002, f"{name}: Missing data for required field.")
    tiktok.check_app(app_id, request.parameter("secret"))
    grant = tiktok.authenticate(token)
    _check_scope(grant, READ_ACCOUNTS)
    return {"list": [{"advertiser_id": one, "advertiser_name": advertiser_name(one)} for one in grant.advertiser_ids]}


def user_info(tiktok: Authorizations, request: Request) -> dict[str, Any]:
    """The person who approved; needs no permission."""
    tiktok.authenticate(access_token(request))
    return {
        "core_user_id": "7000000000000000900",
        "display_name": "Simulated approver",
        "email": "s***r@example.com",
        "create_time": 1704067200,
    }


def advertiser_info(tiktok: Authorizations, request: Request) -> dict[str, Any]:
    """Details of up to a hundred ad accounts."""
    grant = tiktok.authenticate(access_token(request))
    _check_scope(grant, READ_ACCOUNTS)
    ids = list_parameter(request, "advertiser_ids")
    if not 1 <= len(ids) <= MOST_ACCOUNTS_A_CALL:
        raise Refusal(40002, f"advertiser_ids: Length must be between 1 and {MOST_ACCOUNTS_A_CALL}.")
    _check_reached(grant, ids)
    return {"list": [ads.account(one, advertiser_name(one)) for one in ids]}


def campaigns(tiktok: Authorizations, request: Request) -> dict[str, Any]:
    """A page of an ad account's campaigns."""
    return _listed(tiktok, request, READ_CAMPAIGNS, ads.campaigns)


def ad_groups(tiktok: Authorizations, request: Request) -> dict[str, Any]:
    """A page of its ad groups."""
    return _listed(tiktok, request, READ_AD_GROUPS, ads.ad_groups)


def ads_of(tiktok: Authorizations, request: Request) -> dict[str, Any]:
    """A page of its ads."""
    return _listed(tiktok, request, READ_ADS, ads.ads)


def integrated_report(tiktok: Authorizations, request: Request) -> dict[str, Any]:
    """A page of a synchronous report, of one ad account or of several."""
    several = list_parameter(request, "advertiser_ids")
    if len(several) > MOST_ACCOUNTS_A_REPORT:
        raise Refusal(40002, f"advertiser_ids: Length must be between 1 and {MOST_ACCOUNTS_A_REPORT}.")
    reached = several or [request.parameter("advertiser_id")]
    _check_read(tiktok, request, READ_REPORTS, reached)
    dimensions = list_parameter(request, "dimensions")
    if not request.parameter("report_type") or not dimensions:
        raise Refusal(40002, "report_type, dimensions: Missing data for required field.")
    wanted = report.Wanted(
        report_type=request.parameter("report_type"),
        data_level=request.parameter("data_level"),
        dimensions=tuple(dimensions),
        metrics=tuple(list_parameter(request, "metrics")),
        start=date_parameter(request, "start_date"),
        end=date_parameter(request, "end_date"),
    )
    found = []
    for one in reached:
        rows, account = report.rows(one, wanted), ads.account(one, advertiser_name(one))
        of_whom = {name: account[name] for name in ("advertiser_id", "currency", "timezone") if several}
        found += [row | {"metrics": row["metrics"] | of_whom} for row in rows]
    return page(request, found)


def _listed(
    tiktok: Authorizations,
    request: Request,
    permissions: frozenset[int],
    read: Callable[[str], Iterable[dict[str, Any]]],
) -> dict[str, Any]:
    advertiser_id = request.parameter("advertiser_id")
    _check_read(tiktok, request, permissions, [advertiser_id])
    return page(request, list(read(advertiser_id)))


def _check_read(tiktok: Authorizations, request: Request, permissions: frozenset[int], ids: list[str]) -> None:
    """Raises Refusal unless the token may read that of all these ad accounts."""
    grant = tiktok.authenticate(access_token(request))
    if not all(ids):
        raise Refusal(40002, "advertiser_id: Missing data for required field.")
    _check_scope(grant, permissions)
    _check_reached(grant, ids)


def _check_scope(grant: Grant, permissions: frozenset[int]) -> None:
    if not permissions & set(grant.scope):
        raise Refusal(40001)


def _check_reached(grant: Grant, advertiser_ids: list[str]) -> None:
    for one in advertiser_ids:
        if one not in grant.advertiser_ids:
            raise Refusal(40001, f"No permission to operate advertiser {one}.")
