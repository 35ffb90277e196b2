"""The synchronous reports over the simulated ad accounts' contents, the same at every run.

Parameters and limits are those of TikTok's pages "Run a synchronous report", "Basic reports" and "Audience reports".
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import product
from typing import Any
from zlib import crc32

from local.tiktok import ads
from local.tiktok.answers import Refusal

DAYS_AT_MOST = {"stat_time_day": 30, "stat_time_hour": 1, None: 365}
DATA_LEVELS = tuple(
    f"{service}_{level}"
    for service, level in product(("AUCTION", "RESERVATION"), ("ADVERTISER", "CAMPAIGN", "ADGROUP", "AD"))
)
DEFAULT_METRICS = ("spend", "impressions")

_TIMES = ("stat_time_day", "stat_time_hour")
_BREAKDOWNS: Mapping[str, tuple[str, ...]] = {
    "country_code": ("DE", "FR"),
    "gender": ("FEMALE", "MALE"),
    "age": ("AGE_18_24", "AGE_25_34"),
    "platform": ("ANDROID", "IPHONE"),
    "province_id": ("2921044", "2950157"),
    "language": ("de", "en"),
    "ac": ("4G", "WIFI"),
}
_LEVELS: Mapping[str, tuple[str, Callable[[str, Mapping[str, Any]], list[ads.Row]]]] = {
    "campaign_id": ("CAMPAIGN", ads.campaigns),
    "adgroup_id": ("ADGROUP", ads.ad_groups),
    "ad_id": ("AD", ads.ads),
}
_DIMENSIONS = {
    "BASIC": {"advertiser_id", *_LEVELS, *_TIMES, "country_code"},
    "AUDIENCE": {"advertiser_id", *_LEVELS, "stat_time_day", *_BREAKDOWNS},
}
_METRICS: Mapping[str, Callable[[int], str]] = {
    "spend": lambda seed: f"{seed % 9000 / 100 + 10:.2f}",
    "cash_spend": lambda seed: f"{seed % 9000 / 100 + 10:.2f}",
    "impressions": lambda seed: str(seed % 20000 + 1000),
    "reach": lambda seed: str(seed % 15000 + 800),
    "frequency": lambda seed: f"{seed % 300 / 100 + 1:.2f}",
    "clicks": lambda seed: str(seed % 700 + 20),
    "conversion": lambda seed: str(seed % 40),
    "cost_per_conversion": lambda seed: f"{seed % 2000 / 100 + 1:.2f}",
    "conversion_rate": lambda seed: f"{seed % 400 / 100:.2f}",
    "ctr": lambda seed: f"{seed % 500 / 100:.2f}",
    "cpc": lambda seed: f"{seed % 200 / 100 + 0.1:.2f}",
    "cpm": lambda seed: f"{seed % 900 / 100 + 1:.2f}",
    "secondary_goal_result": lambda _: "-",
    "cost_per_secondary_goal_result": lambda _: "-",
    "secondary_goal_result_rate": lambda _: "-",
}
_OF_ACCOUNTS_ONLY = {"cash_spend", "voucher_spend"}


@dataclass(frozen=True)
class Wanted:
    """What a report is asked for.

    Attributes:
        report_type: BASIC or AUDIENCE.
        data_level: AUCTION_CAMPAIGN and the like.
        dimensions: what a row is about.
        metrics: figures, and attributes of what the row is about; empty for spend and impressions.
        start: first day.
        end: last day, included.
        lifetime: whether the figures are those since the beginning; `start` and `end` do not count then.
        filtering: conditions, each with a field's name, a type and a value.
    """

    report_type: str
    data_level: str
    dimensions: tuple[str, ...]
    metrics: tuple[str, ...] = ()
    start: date | None = None
    end: date | None = None
    lifetime: bool = False
    filtering: tuple[Mapping[str, Any], ...] = ()


def rows(advertiser_id: str, wanted: Wanted) -> list[dict[str, Any]]:
    """The rows of a report, without those of deleted campaigns unless they are asked for.

    Raises:
        Refusal: 40002 for what TikTok would not take either.
    """
    _check(wanted)
    times = list(_times(wanted))
    breakdowns = [name for name in wanted.dimensions if name in _BREAKDOWNS]
    period = "lifetime" if wanted.lifetime else f"{wanted.start} {wanted.end}"
    found = []
    for time, item, values in product(
        times, _items(advertiser_id, wanted), product(*(_BREAKDOWNS[name] for name in breakdowns))
    ):
        about = item | time | dict(zip(breakdowns, values, strict=True))
        dimensions = {name: about[name] for name in wanted.dimensions}
        seed = crc32(f"{advertiser_id} {dimensions} {'' if time else period}".encode())
        metrics = {name: _metric(name, item, seed) for name in wanted.metrics or DEFAULT_METRICS}
        found.append({"dimensions": dimensions, "metrics": metrics})
    return found


def _check(wanted: Wanted) -> None:
    if wanted.report_type not in _DIMENSIONS:
        raise Refusal(40002, f"report_type: {wanted.report_type} is not supported.")
    if wanted.data_level not in DATA_LEVELS:
        raise Refusal(40002, f"data_level: Must be one of: {', '.join(DATA_LEVELS)}.")
    if unknown := [name for name in wanted.dimensions if name not in _DIMENSIONS[wanted.report_type]]:
        raise Refusal(40002, f"dimensions: {unknown[0]} is not supported.")
    of_accounts = wanted.data_level.endswith("_ADVERTISER") and not wanted.lifetime
    if not of_accounts and (invalid := sorted(_OF_ACCOUNTS_ONLY & set(wanted.metrics))):
        said = "Please correct the information in invalid metric fields and try again."
        raise Refusal(40002, f"{said} Invalid metric fields: {invalid}. ")


def _times(wanted: Wanted) -> Iterator[dict[str, str]]:
    """The days or hours that rows are about; one that is empty, where they are about the whole period."""
    unit = next((name for name in _TIMES if name in wanted.dimensions), None)
    if wanted.lifetime:
        if unit is not None:
            raise Refusal(40002, f"query_lifetime: {unit} is not supported.")
        yield {}
        return
    most = DAYS_AT_MOST[unit]
    if wanted.start is None or wanted.end is None or not 0 <= (wanted.end - wanted.start).days < most:
        raise Refusal(40002, f"start_date, end_date: a period of 1 to {most} days is needed.")
    if unit is None:
        yield {}
        return
    for day in range((wanted.end - wanted.start).days + 1):
        for hour in range(24 if unit == "stat_time_hour" else 1):
            yield {unit: f"{wanted.start + timedelta(days=day)} {hour:02d}:00:00"}


def _items(advertiser_id: str, wanted: Wanted) -> list[ads.Row]:
    """The campaigns, ad groups or ads that rows are about, with what is known of those above; or the account."""
    deepest = max((number for number, name in enumerate(_LEVELS, 1) if name in wanted.dimensions), default=0)
    key, found = "advertiser_id", [{"advertiser_id": advertiser_id}]
    for name, (level, read) in list(_LEVELS.items())[:deepest]:
        above = {row[key]: row for row in found}
        rows_here = read(advertiser_id, _conditions(level, wanted))
        found = [above[row[key]] | row for row in rows_here if row[key] in above]
        key = name
    return found


def _conditions(level: str, wanted: Wanted) -> dict[str, Any]:
    """The report's filters as those of the list of campaigns, ad groups or ads."""
    found: dict[str, Any] = {}
    for condition in wanted.filtering:
        name, kind = condition.get("field_name"), condition.get("filter_type")
        try:
            value = json.loads(str(condition.get("filter_value")))
        except ValueError:
            value = None
        if kind != "IN" or not isinstance(value, list):
            raise Refusal(40002, "filtering: a filter_type IN with a list as filter_value is what is supported.")
        if name in ("campaign_ids", "adgroup_ids", "ad_ids"):
            if f"{level.lower()}_ids" == name:
                found[name] = [str(one) for one in value]
        elif name in ("campaign_status", "adgroup_status", "ad_status") and value == ["STATUS_ALL"]:
            found["primary_status"] = "STATUS_ALL"
        else:
            raise Refusal(40002, f"filtering: {name} is not supported, or not with this value.")
    return found


def _metric(name: str, item: ads.Row, seed: int) -> str:
    if name in _METRICS:
        return _METRICS[name](seed)
    if name in item:
        return str(item[name]) if isinstance(item[name], str | int | float) else "-"
    return "0"
