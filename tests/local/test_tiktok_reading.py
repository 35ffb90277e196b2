"""What the simulated ad accounts and TikTok accounts contain, read as the connectors of pipelines read it.

That the recipes' own tools find all of it, page by page, is proved in `readers`.
"""

from typing import Any

import pytest

from emulators.tiktok import Grant, TikTokServer
from tiktok_client import get

ACCOUNT, OTHER, FOREIGN = "7000000000000000001", "7000000000000000002", "7000000000000000088"
REPORT = "/report/integrated/get/"
DAILY: dict[str, Any] = {
    "advertiser_id": ACCOUNT,
    "report_type": "BASIC",
    "data_level": "AUCTION_CAMPAIGN",
    "dimensions": ["campaign_id", "stat_time_day"],
    "metrics": ["spend", "campaign_name"],
    "start_date": "2026-05-01",
    "end_date": "2026-05-02",
    "page_size": 1000,
}


def ask(server: TikTokServer, path: str, query: dict[str, Any], scope: list[int] | None = None) -> dict[str, Any]:
    """A pipeline's call, with a token of this scope."""
    return get(server, path, server.grant(scope=scope).access_token, **query)


def test_a_daily_report(tiktok: TikTokServer) -> None:
    """It has a row for each campaign and day, the same at every call, of up to five ad accounts; or one for each ad."""

    def report(**changes: object) -> list[dict[str, Any]]:
        return list(ask(tiktok, REPORT, DAILY | changes)["data"]["list"])

    rows = report()
    assert len(rows) == 6
    assert rows[0]["dimensions"]["stat_time_day"] == "2026-05-01 00:00:00"
    assert float(rows[0]["metrics"]["spend"]) > 0
    assert report(start_date="2026-05-02")[0] in rows
    several = report(advertiser_ids=[OTHER, ACCOUNT])
    assert [row["metrics"]["advertiser_id"] for row in several] == [OTHER] * 6 + [ACCOUNT] * 6
    assert len(report(data_level="AUCTION_AD", dimensions=["ad_id"])) == 12
    refused: list[dict[str, object]] = [
        {"advertiser_ids": [ACCOUNT] * 6},
        {"dimensions": ["campaign_id", "gender"]},
        {"start_date": "2026-01-01", "end_date": "2026-02-01"},
        {"page_size": 1001},
    ]
    assert [ask(tiktok, REPORT, DAILY | wrong)["code"] for wrong in refused] == [40002] * len(refused)


def test_what_an_advertisers_token_does_not_allow(tiktok: TikTokServer) -> None:
    """Each list, and a report, needs ad accounts that the token reaches, and a permission of its own or one above."""
    for wrong, code in (({}, 40002), ({"advertiser_id": FOREIGN}, 40001)):
        assert ask(tiktok, "/adgroup/get/", wrong)["code"] == code
    asked: list[list[str]] = [[ACCOUNT], [], [ACCOUNT] * 101, [FOREIGN]]
    codes = [ask(tiktok, "/advertiser/info/", {"advertiser_ids": ids})["code"] for ids in asked]
    assert codes == [0, 40002, 40002, 40001]
    for path, scope in {"/campaign/get/": 200, "/adgroup/get/": 210, "/ad/get/": 220, REPORT: 4}.items():
        others = sorted({4, 100, 200, 210, 220} - {scope})
        assert [ask(tiktok, path, DAILY, one)["code"] for one in (others, [scope])] == [40001, 0]
    assert ask(tiktok, "/campaign/get/", {"advertiser_id": ACCOUNT}, [2])["code"] == 0


@pytest.mark.parametrize(
    ("path", "fields"),
    [("/business/get/", ["username", "display_name", "followers_count"]), ("/business/video/list/", ["item_id"])],
)
def test_what_an_accounts_token_does_not_allow(tiktok: TikTokServer, path: str, fields: list[str]) -> None:
    """Reading needs the account's own id, its scopes, a token and fields that exist."""

    def code(grant: Grant, **changes: object) -> int:
        query = {"business_id": grant.open_id, "fields": fields} | changes
        return int(get(tiktok, path, grant.access_token, **query)["code"])

    grant = tiktok.grant_account()
    wrong: list[dict[str, object]] = [{}, {"business_id": ""}, {"business_id": "x"}, {"fields": ["x"]}]
    assert [code(grant, **changes) for changes in wrong] == [0, 40002, 40001, 40002]
    assert [code(other) for other in (tiktok.grant_account(scope=["user.info.basic"]), tiktok.grant())] == [
        40130,
        40105,
    ]
