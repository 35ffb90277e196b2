"""The simulated ad accounts' contents: campaigns, their ad groups and ads, the same at every run.

Fields are those of TikTok's pages "Get campaigns", "Get ad groups", "Get ads" and "Get ad account details", as far as
the schemas of readers name them. Each account has three campaigns and one that was deleted; each campaign has two ad
groups, and each of these two ads.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from local.tiktok.answers import Refusal

CAMPAIGNS = (
    ("Spring launch", "TRAFFIC"),
    ("Always on", "WEB_CONVERSIONS"),
    ("App installs", "APP_PROMOTION"),
    ("Winter sale", "TRAFFIC"),
)
DELETED = "Winter sale"
AD_GROUPS = ("Broad", "Retargeting")
ADS = ("Video", "Carousel")
PAGE_SIZE, LARGEST_PAGE = 10, 1000
MOST_IDS = 100

NO_FILTER: Mapping[str, Any] = MappingProxyType({})

Row = dict[str, Any]


def account(advertiser_id: str, name: str) -> Row:
    """The details of an ad account."""
    return {
        "advertiser_id": advertiser_id,
        "name": name,
        "company": "Acme",
        "brand": "Acme",
        "description": "",
        "industry": "290501",
        "country": "DE",
        "address": "",
        "currency": "EUR",
        "timezone": "Europe/Berlin",
        "display_timezone": "Europe/Berlin",
        "language": "de",
        "status": "STATUS_ENABLE",
        "rejection_reason": "",
        "role": "ROLE_ADVERTISER",
        "advertiser_account_type": "AUCTION",
        "balance": 1250.5,
        "contacter": "S***r",
        "email": "s***r@example.com",
        "cellphone_number": "",
        "telephone_number": "",
        "license_no": "",
        "license_url": None,
        "license_city": None,
        "license_province": None,
        "promotion_area": "0",
        "promotion_center_city": None,
        "promotion_center_province": None,
        "create_time": 1704067200,
    }


def campaigns(advertiser_id: str, filtering: Mapping[str, Any] = NO_FILTER) -> list[Row]:
    """The campaigns of an ad account, without the deleted one unless it is asked for.

    Args:
        advertiser_id: the ad account.
        filtering: what the parameter of this name holds.

    Raises:
        Refusal: 40002 for a filter that is not known.
    """
    return _kept(_campaigns(advertiser_id), "CAMPAIGN", filtering)


def ad_groups(advertiser_id: str, filtering: Mapping[str, Any] = NO_FILTER) -> list[Row]:
    """The same of ad groups."""
    return _kept(_ad_groups(advertiser_id), "ADGROUP", filtering)


def ads(advertiser_id: str, filtering: Mapping[str, Any] = NO_FILTER) -> list[Row]:
    """The same of ads."""
    return _kept(_ads(advertiser_id), "AD", filtering)


def page(rows: Sequence[Mapping[str, Any]], number: int, size: int) -> dict[str, Any]:
    """One page of a list, with what TikTok says about the pages.

    Raises:
        Refusal: 40002 for a page number below 1 or a size TikTok does not serve.
    """
    if number < 1 or not 1 <= size <= LARGEST_PAGE:
        raise Refusal(40002, f"page: at least 1, page_size: 1 to {LARGEST_PAGE}.")
    return {
        "list": list(rows[(number - 1) * size : number * size]),
        "page_info": {
            "page": number,
            "page_size": size,
            "total_number": len(rows),
            "total_page": -(-len(rows) // size),
        },
    }


def _campaigns(advertiser_id: str) -> Iterator[Row]:
    for number, (name, objective) in enumerate(CAMPAIGNS, 1):
        apps = objective == "APP_PROMOTION"
        yield {
            "advertiser_id": advertiser_id,
            "campaign_id": _id(16, advertiser_id, number),
            "campaign_name": name,
            "campaign_type": "REGULAR_CAMPAIGN",
            "objective": "APP" if apps else "LANDING_PAGE",
            "objective_type": objective,
            "app_promotion_type": "APP_INSTALL" if apps else "UNSET",
            "app_id": None,
            "budget": 50.0 * number,
            "budget_mode": "BUDGET_MODE_DAY",
            "budget_optimize_on": False,
            "bid_type": None,
            "deep_bid_type": None,
            "optimization_goal": None,
            "roas_bid": 0.0,
            "rf_campaign_type": "STANDARD",
            "split_test_variable": None,
            "special_industries": [],
            "operation_status": "DELETE" if name == DELETED else "ENABLE",
            "secondary_status": "CAMPAIGN_STATUS_DELETE" if name == DELETED else "CAMPAIGN_STATUS_ENABLE",
            "is_new_structure": True,
            "is_smart_performance_campaign": False,
            "is_search_campaign": False,
            "create_time": f"2026-01-{4 + number:02d} 09:00:00",
            "modify_time": f"2026-02-{4 + number:02d} 09:00:00",
        }


def _ad_groups(advertiser_id: str) -> Iterator[Row]:
    for above, campaign in enumerate(_campaigns(advertiser_id), 1):
        deleted = campaign["campaign_name"] == DELETED
        for number, name in enumerate(AD_GROUPS, 1):
            yield {
                "advertiser_id": advertiser_id,
                "campaign_id": campaign["campaign_id"],
                "campaign_name": campaign["campaign_name"],
                "adgroup_id": _id(17, advertiser_id, 10 * above + number),
                "adgroup_name": name,
                "placement_type": "PLACEMENT_TYPE_NORMAL",
                "placements": ["PLACEMENT_TIKTOK"],
                "promotion_type": "APP_ANDROID" if campaign["objective"] == "APP" else "WEBSITE",
                "creative_material_mode": "CUSTOM",
                "app_id": None,
                "app_download_url": None,
                "pixel_id": None,
                "audience_ids": [],
                "excluded_audience_ids": [],
                "location_ids": ["2921044"],
                "languages": ["de", "en"],
                "gender": "GENDER_UNLIMITED",
                "age_groups": ["AGE_18_24", "AGE_25_34"],
                "operating_systems": [],
                "network_types": [],
                "device_model_ids": [],
                "device_price_ranges": [],
                "carrier_ids": [],
                "interest_category_ids": [],
                "interest_keyword_ids": [],
                "is_hfss": False,
                "comment_disabled": False,
                "share_disabled": False,
                "video_download_disabled": False,
                "inventory_filter_enabled": False,
                "budget": 20.0 * number,
                "budget_mode": "BUDGET_MODE_DAY",
                "scheduled_budget": 0.0,
                "schedule_type": "SCHEDULE_FROM_NOW",
                "schedule_start_time": campaign["create_time"],
                "schedule_end_time": "2036-01-01 09:00:00",
                "dayparting": None,
                "optimization_goal": "CLICK",
                "optimization_event": None,
                "secondary_optimization_event": None,
                "billing_event": "CPC",
                "bid_type": "BID_TYPE_NO_BID",
                "bid_price": 0.0,
                "conversion_bid_price": 0.0,
                "deep_bid_type": None,
                "deep_cpa_bid": 0.0,
                "roas_bid": 0.0,
                "pacing": "PACING_MODE_SMOOTH",
                "skip_learning_phase": 0,
                "operation_status": "ENABLE",
                "secondary_status": "ADGROUP_STATUS_CAMPAIGN_DELETE" if deleted else "ADGROUP_STATUS_DELIVERY_OK",
                "is_new_structure": True,
                "is_smart_performance_campaign": False,
                "create_time": campaign["create_time"],
                "modify_time": campaign["modify_time"],
            }


def _ads(advertiser_id: str) -> Iterator[Row]:
    for above, group in enumerate(_ad_groups(advertiser_id), 1):
        deleted = group["campaign_name"] == DELETED
        for number, name in enumerate(ADS, 1):
            yield {
                "advertiser_id": advertiser_id,
                "campaign_id": group["campaign_id"],
                "campaign_name": group["campaign_name"],
                "adgroup_id": group["adgroup_id"],
                "adgroup_name": group["adgroup_name"],
                "ad_id": _id(18, advertiser_id, 10 * above + number),
                "ad_name": name,
                "ad_text": "Shoes for every weather",
                "ad_texts": None,
                "ad_format": "SINGLE_VIDEO" if name == "Video" else "CAROUSEL_ADS",
                "creative_type": None,
                "display_name": "Acme",
                "call_to_action": "SHOP_NOW",
                "call_to_action_id": None,
                "landing_page_url": "https://example.com/shoes",
                "landing_page_urls": None,
                "image_ids": [],
                "image_mode": None,
                "video_id": "v10033g50000c00000000000000000000" if name == "Video" else None,
                "music_id": None,
                "identity_id": None,
                "identity_type": "CUSTOMIZED_USER",
                "is_aco": False,
                "page_id": None,
                "card_id": None,
                "deeplink": "",
                "deeplink_type": "NORMAL",
                "impression_tracking_url": None,
                "click_tracking_url": None,
                "tracking_pixel_id": None,
                "tracking_app_id": None,
                "vast_moat_enabled": False,
                "creative_authorized": False,
                "utm_params": [],
                "operation_status": "ENABLE",
                "secondary_status": "AD_STATUS_CAMPAIGN_DELETE" if deleted else "AD_STATUS_DELIVERY_OK",
                "is_new_structure": True,
                "create_time": group["create_time"],
                "modify_time": group["modify_time"],
            }


def _id(first: int, advertiser_id: str, number: int) -> str:
    """Nineteen digits that no other level and no other account has."""
    return f"{first}{advertiser_id[-12:]}{number:05d}"


def _kept(rows: Iterator[Row], level: str, filtering: Mapping[str, Any]) -> list[Row]:
    tests = [_filter(level, name, value) for name, value in filtering.items()]
    if not {"primary_status", "secondary_status"} & set(filtering):
        tests.append(_filter(level, "primary_status", "STATUS_NOT_DELETE"))
    return [row for row in rows if all(test(row) for test in tests)]


def _filter(level: str, name: str, value: object) -> Callable[[Row], bool]:
    match name, value:
        case "campaign_ids" | "adgroup_ids" | "ad_ids", [*ids] if 1 <= len(ids) <= MOST_IDS:
            return lambda row: row.get(name[:-1]) in ids
        case "primary_status", "STATUS_ALL":
            return lambda _: True
        case "primary_status", "STATUS_NOT_DELETE":
            return lambda row: not _deleted(row)
        case "primary_status", "STATUS_DELETE":
            return _deleted
        case "secondary_status", str(status) if status == f"{level}_STATUS_ALL":
            return lambda _: True
        case "secondary_status", str(status) if status == f"{level}_STATUS_NOT_DELETE":
            return lambda row: not _deleted(row)
        case "secondary_status", str(status) if status.startswith(f"{level}_STATUS_"):
            return lambda row: bool(row["secondary_status"] == status)
        case "creation_filter_start_time", str(time):
            return lambda row: bool(row["create_time"] >= time)
        case "creation_filter_end_time", str(time):
            return lambda row: bool(row["create_time"] <= time)
        case _:
            raise Refusal(40002, f"filtering: {name} is not supported, or not with this value.")


def _deleted(row: Row) -> bool:
    status: str = row["secondary_status"]
    return status.endswith("_DELETE")
