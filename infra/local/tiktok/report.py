"""The synchronous reports over the simulated ad accounts' contents, the same at every run.

Parameters and limits are those of TikTok's pages "Run a synchronous report" and "Basic reports".
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import product
from typing import Any
from zlib import crc32

from local.tiktok import ads
from local.tiktok.answers import Refusal

DAYS_AT_MOST = {True: 30, False: 365}
"""Days of a report with a row for each day, and of one without."""
DATA_LEVELS = ("AUCTION_ADVERTISER", "AUCTION_CAMPAIGN", "AUCTION_ADGROUP", "AUCTION_AD")
DEFAULT_METRICS = ("spend", "impressions")

_DAY = "stat_time_day"
_LEVELS: Mapping[str, Callable[[str], Iterable[ads.Row]]] = {  # the deepest first
    "ad_id": ads.ads,
    "adgroup_id": ads.ad_groups,
    "campaign_id": ads.campaigns,
}
_DIMENSIONS = {"advertiser_id", *_LEVELS, _DAY}
_METRICS: Mapping[str, Callable[[int], str]] = {
    "spend": lambda seed: f"{seed % 9000 / 100 + 10:.2f}",
    "impressions": lambda seed: str(seed % 20000 + 1000),
    "reach": lambda seed: str(seed % 15000 + 800),
    "clicks": lambda seed: str(seed % 700 + 20),
    "conversion": lambda seed: str(seed % 40),
    "ctr": lambda seed: f"{seed % 500 / 100:.2f}",
    "cpc": lambda seed: f"{seed % 200 / 100 + 0.1:.2f}",
}


@dataclass(frozen=True)
class Wanted:
    """What a report is asked for.

    Attributes:
        report_type: BASIC, the only one that is simulated.
        data_level: AUCTION_CAMPAIGN and the like.
        dimensions: what a row is about.
        metrics: figures, and attributes of what the row is about; empty for spend and impressions.
        start: first day.
        end: last day, included.
    """

    report_type: str
    data_level: str
    dimensions: tuple[str, ...]
    metrics: tuple[str, ...]
    start: date | None
    end: date | None


def rows(advertiser_id: str, wanted: Wanted) -> list[dict[str, Any]]:
    """The rows of a report.

    Raises:
        Refusal: 40002 for what TikTok would not take either.
    """
    found = []
    for day, item in product(_days(wanted), _items(advertiser_id, wanted)):
        about = item | day
        dimensions = {name: about[name] for name in wanted.dimensions}
        seed = crc32(f"{advertiser_id} {dimensions} {'' if day else (wanted.start, wanted.end)}".encode())
        metrics = {name: _metric(name, item, seed) for name in wanted.metrics or DEFAULT_METRICS}
        found.append({"dimensions": dimensions, "metrics": metrics})
    return found


def _days(wanted: Wanted) -> list[dict[str, str]]:
    """The days that rows are about; one that is empty, where they are about the whole period."""
    if wanted.report_type != "BASIC":
        raise Refusal(40002, f"report_type: {wanted.report_type} is not supported.")
    if wanted.data_level not in DATA_LEVELS:
        raise Refusal(40002, f"data_level: Must be one of: {', '.join(DATA_LEVELS)}.")
    if unknown := [name for name in wanted.dimensions if name not in _DIMENSIONS]:
        raise Refusal(40002, f"dimensions: {unknown[0]} is not supported.")
    daily = _DAY in wanted.dimensions
    most = DAYS_AT_MOST[daily]
    if wanted.start is None or wanted.end is None or not 0 <= (wanted.end - wanted.start).days < most:
        raise Refusal(40002, f"start_date, end_date: a period of 1 to {most} days is needed.")
    count = (wanted.end - wanted.start).days + 1
    return [{_DAY: f"{wanted.start + timedelta(number)} 00:00:00"} for number in range(count)] if daily else [{}]


def _items(advertiser_id: str, wanted: Wanted) -> list[ads.Row]:
    """The campaigns, ad groups or ads that rows are about; or the account."""
    read = next((read for name, read in _LEVELS.items() if name in wanted.dimensions), None)
    return [{"advertiser_id": advertiser_id}] if read is None else list(read(advertiser_id))


def _metric(name: str, item: ads.Row, seed: int) -> str:
    if name in _METRICS:
        return _METRICS[name](seed)
    if name in item:
        return str(item[name]) if isinstance(item[name], str | int | float) else "-"
    return "0"
