"""The simulated ad accounts' contents: campaigns, their ad groups and ads, the same at every run.

Fields are some of those of TikTok's pages "Get campaigns", "Get ad groups", "Get ads" and "Get ad account details".
Each account has three campaigns; each campaign has two ad groups, and each of these two ads.
"""

from collections.abc import Iterator
from typing import Any

CAMPAIGNS = (("Spring launch", "TRAFFIC"), ("Always on", "WEB_CONVERSIONS"), ("App installs", "APP_PROMOTION"))
AD_GROUPS = ("Broad", "Retargeting")
ADS = ("Video", "Carousel")

Row = dict[str, Any]


def account(advertiser_id: str, name: str) -> Row:
    """The details of an ad account."""
    return {
        "advertiser_id": advertiser_id,
        "name": name,
        "company": "Acme",
        "country": "DE",
        "currency": "EUR",
        "timezone": "Europe/Berlin",
        "status": "STATUS_ENABLE",
        "role": "ROLE_ADVERTISER",
        "advertiser_account_type": "AUCTION",
        "balance": 1250.5,
        "create_time": 1704067200,
    }


def campaigns(advertiser_id: str) -> Iterator[Row]:
    """The campaigns of an ad account."""
    for number, (name, objective) in enumerate(CAMPAIGNS, 1):
        yield {
            "advertiser_id": advertiser_id,
            "campaign_id": _id(16, advertiser_id, number),
            "campaign_name": name,
            "campaign_type": "REGULAR_CAMPAIGN",
            "objective_type": objective,
            "budget": 50.0 * number,
            "budget_mode": "BUDGET_MODE_DAY",
            **_state("CAMPAIGN_STATUS_ENABLE", number),
        }


def ad_groups(advertiser_id: str) -> Iterator[Row]:
    """The ad groups of all its campaigns."""
    for above, campaign in enumerate(campaigns(advertiser_id), 1):
        for number, name in enumerate(AD_GROUPS, 1):
            yield {
                "advertiser_id": advertiser_id,
                "campaign_id": campaign["campaign_id"],
                "campaign_name": campaign["campaign_name"],
                "adgroup_id": _id(17, advertiser_id, 10 * above + number),
                "adgroup_name": name,
                "placements": ["PLACEMENT_TIKTOK"],
                "location_ids": ["2921044"],
                "age_groups": ["AGE_18_24", "AGE_25_34"],
                "budget": 20.0 * number,
                "budget_mode": "BUDGET_MODE_DAY",
                "optimization_goal": "CLICK",
                "billing_event": "CPC",
                **_state("ADGROUP_STATUS_DELIVERY_OK", above),
            }


def ads(advertiser_id: str) -> Iterator[Row]:
    """The ads of all its ad groups."""
    for above, group in enumerate(ad_groups(advertiser_id), 1):
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
                "ad_format": "SINGLE_VIDEO" if name == "Video" else "CAROUSEL_ADS",
                "landing_page_url": "https://example.com/shoes",
                "call_to_action": "SHOP_NOW",
                **_state("AD_STATUS_DELIVERY_OK", above),
            }


def _state(status: str, number: int) -> Row:
    day = f"{4 + number % 20:02d} 09:00:00"
    times = {"create_time": f"2026-01-{day}", "modify_time": f"2026-02-{day}"}
    return {"operation_status": "ENABLE", "secondary_status": status, **times}


def _id(first: int, advertiser_id: str, number: int) -> str:
    """Nineteen digits that no other level and no other account has."""
    return f"{first}{advertiser_id[-12:]}{number:05d}"
