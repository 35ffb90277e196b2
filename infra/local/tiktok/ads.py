"""The simulated ad accounts' contents: a few campaigns each and their daily figures, the same at every run.

Fields are those of TikTok's pages "Get campaigns" and "Run a synchronous report".
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from itertools import product
from typing import Any
from zlib import crc32

from local.tiktok.answers import Refusal

CAMPAIGNS = (("Spring launch", "TRAFFIC"), ("Always on", "WEB_CONVERSIONS"), ("App installs", "APP_PROMOTION"))
PAGE_SIZE, LARGEST_PAGE = 10, 1000
DAYS_AT_MOST = 30

_LEVELS = ("campaign_id", "adgroup_id", "ad_id")
_DIMENSIONS = ("advertiser_id", *_LEVELS, "stat_time_day")
_METRICS: Mapping[str, Callable[[int], str]] = {
    "spend": lambda seed: f"{seed % 9000 / 100 + 10:.2f}",
    "impressions": lambda seed: str(seed % 20000 + 1000),
    "reach": lambda seed: str(seed % 15000 + 800),
    "clicks": lambda seed: str(seed % 700 + 20),
    "conversion": lambda seed: str(seed % 40),
    "ctr": lambda seed: f"{seed % 500 / 100:.2f}",
    "cpc": lambda seed: f"{seed % 200 / 100 + 0.1:.2f}",
    "cpm": lambda seed: f"{seed % 900 / 100 + 1:.2f}",
}


def campaigns(advertiser_id: str) -> list[dict[str, Any]]:
    """The campaigns of an ad account."""
    return [
        {
            "advertiser_id": advertiser_id,
            "campaign_id": f"18{advertiser_id[-12:]}{number:03d}",
            "campaign_name": name,
            "campaign_type": "REGULAR_CAMPAIGN",
            "objective_type": objective,
            "budget": 50.0 * number,
            "budget_mode": "BUDGET_MODE_DAY",
            "operation_status": "ENABLE",
            "secondary_status": "CAMPAIGN_STATUS_ENABLE",
            "is_smart_performance_campaign": False,
            "is_search_campaign": False,
            "create_time": f"2026-01-{4 + number:02d} 09:00:00",
            "modify_time": f"2026-02-{4 + number:02d} 09:00:00",
        }
        for number, (name, objective) in enumerate(CAMPAIGNS, 1)
    ]


def report(
    advertiser_id: str, dimensions: Sequence[str], metrics: Sequence[str], start: date | None, end: date | None
) -> list[dict[str, Any]]:
    """The rows of a report.

    Args:
        advertiser_id: the ad account.
        dimensions: what a row is about; each campaign has one ad group with one ad.
        metrics: figures wanted; empty for spend and impressions.
        start: first day; None for a lifetime report.
        end: last day, included.

    Raises:
        Refusal: 40002 for a dimension or a period that TikTok would not take either.
    """
    if unknown := [name for name in dimensions if name not in _DIMENSIONS]:
        raise Refusal(40002, f"dimensions: {unknown[0]} is not supported.")
    days = list(_days(start, end)) if "stat_time_day" in dimensions else [None]
    deepest = [name for name in _LEVELS if name in dimensions]
    rows = []
    for day, campaign in product(days, campaigns(advertiser_id) if deepest else [None]):
        ids = {"advertiser_id": advertiser_id, "stat_time_day": f"{day} 00:00:00"}
        if campaign is not None:
            base = int(campaign["campaign_id"])
            ids |= {name: str(base + 100_000 * depth) for depth, name in enumerate(_LEVELS)}
        seed = crc32(f"{ids} {day or (start, end)}".encode())
        names = {"campaign_name": campaign["campaign_name"]} if campaign is not None else {}
        rows.append(
            {
                "dimensions": {name: ids[name] for name in dimensions},
                "metrics": {
                    name: names.get(name) or _figure(name, seed) for name in metrics or ("spend", "impressions")
                },
            }
        )
    return rows


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


def _figure(metric: str, seed: int) -> str:
    figure = _METRICS.get(metric)
    return "0" if figure is None else figure(seed)


def _days(start: date | None, end: date | None) -> Iterator[date]:
    if start is None or end is None or not 0 <= (end - start).days < DAYS_AT_MOST:
        raise Refusal(40002, f"start_date, end_date: a period of 1 to {DAYS_AT_MOST} days is needed for stat_time_day.")
    for number in range((end - start).days + 1):
        yield start + timedelta(days=number)
