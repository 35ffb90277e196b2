"""What the simulated ad accounts and TikTok accounts contain, read as the connectors of pipelines read it."""

import json
from typing import Any

import pytest

from emulators.tiktok import Grant, TikTokServer
from local.tiktok import ads
from tiktok_client import get

ACCOUNT, OTHER, FOREIGN = "7000000000000000001", "7000000000000000002", "7000000000000000088"
LISTS = ["/campaign/get/", "/adgroup/get/", "/ad/get/"]
DAILY = {
    "advertiser_id": ACCOUNT,
    "report_type": "BASIC",
    "data_level": "AUCTION_CAMPAIGN",
    "dimensions": ["campaign_id", "stat_time_day"],
    "metrics": ["spend", "campaign_name"],
    "start_date": "2026-05-01",
    "end_date": "2026-05-02",
}


class Reader:
    """A pipeline with a token."""

    def __init__(self, server: TikTokServer, scope: list[int] | None = None) -> None:
        self._server = server
        self._token = server.grant(scope=scope).access_token

    def ask(self, path: str, **parameters: object) -> dict[str, Any]:
        return get(self._server, path, self._token, **parameters)

    def rows(self, path: str, **parameters: object) -> list[dict[str, Any]]:
        answer = self.ask(path, **{"advertiser_id": ACCOUNT, "page_size": 1000, **parameters})
        assert answer["code"] == 0, answer["message"]
        found: list[dict[str, Any]] = answer["data"]["list"]
        return found

    def report(self, **changes: object) -> list[dict[str, Any]]:
        return self.rows("/report/integrated/get/", **{**DAILY, **changes})


@pytest.fixture
def reader(tiktok: TikTokServer) -> Reader:
    return Reader(tiktok)


class TestLists:
    def test_pages(self, reader: Reader) -> None:
        """Lists come in pages that say how many rows there are; an ad names its ad group and this its campaign."""
        lists = [ads.campaigns(ACCOUNT), ads.ad_groups(ACCOUNT), ads.ads(ACCOUNT)]
        for path, rows in zip(LISTS, lists, strict=True):
            count = len(rows)
            first, second = (
                reader.ask(path, advertiser_id=ACCOUNT, page=page, page_size=count - 1)["data"] for page in (1, 2)
            )
            assert first["list"] + second["list"] == rows == reader.rows(path)
            assert first["page_info"] == {"page": 1, "page_size": count - 1, "total_number": count, "total_page": 2}
        above = {row["adgroup_id"]: row["campaign_id"] for row in lists[1]}
        assert all(above[row["adgroup_id"]] == row["campaign_id"] for row in lists[2])
        assert set(above.values()) == {row["campaign_id"] for row in lists[0]}
        assert not {row["ad_id"] for row in lists[2]} & {row["ad_id"] for row in ads.ads(OTHER)}

    def test_refused(self, reader: Reader) -> None:
        """Lists need an ad account that the token reaches, a page that exists and filters that are known."""
        wrong: list[dict[str, object]] = [
            {"page": 0},
            {"filtering": {"weather": "fine"}},
            {"fields": "campaign_id"},
            {"advertiser_id": FOREIGN},
        ]
        codes = [reader.ask("/adgroup/get/", **{"advertiser_id": ACCOUNT, **one})["code"] for one in wrong]
        assert codes == [40002, 40002, 40002, 40001]
        assert reader.ask("/adgroup/get/")["code"] == 40002

    def test_permission(self, tiktok: TikTokServer) -> None:
        """Each list, and a report, needs a permission of its own, or the one above it."""
        asked = {path: {"advertiser_id": ACCOUNT} for path in LISTS} | {"/report/integrated/get/": DAILY}
        for (path, query), scope in zip(asked.items(), [200, 210, 220, 4], strict=True):
            others = sorted({4, 100, 200, 210, 220} - {scope})
            assert [Reader(tiktok, one).ask(path, **query)["code"] for one in (others, [scope])] == [40001, 0]
        assert Reader(tiktok, [2]).ask(LISTS[0], advertiser_id=ACCOUNT)["code"] == 0

    def test_filters(self, reader: Reader) -> None:
        """Lists can be of what was deleted, of some campaigns, and of those created in some time."""
        path, level = "/adgroup/get/", "ADGROUP"
        usual = reader.rows(path)
        gone = reader.rows(path, filtering={"primary_status": "STATUS_DELETE"})
        assert gone
        assert reader.rows(path, filtering={"primary_status": "STATUS_ALL"}) == usual + gone
        assert reader.rows(path, filtering={"secondary_status": f"{level}_STATUS_ALL"}) == usual + gone
        assert reader.rows(path, filtering={"secondary_status": f"{level}_STATUS_NOT_DELETE"}) == usual
        assert reader.rows(path, filtering={"secondary_status": gone[0]["secondary_status"]}) == gone
        campaign, created = usual[0]["campaign_id"], usual[0]["create_time"]
        first = reader.rows(path, filtering={"campaign_ids": [campaign]})
        assert first == [row for row in usual if row["campaign_id"] == campaign]
        assert reader.rows(path, filtering={"creation_filter_end_time": created}) == first
        assert reader.rows(path, filtering={"creation_filter_start_time": created}) == usual

    def test_fields(self, reader: Reader) -> None:
        """Rows, and details of ad accounts, can be had with some fields only."""
        rows = reader.rows("/campaign/get/", fields=["campaign_id", "campaign_name"])
        assert {tuple(sorted(row)) for row in rows} == {("advertiser_id", "campaign_id", "campaign_name")}
        ids, path = [ACCOUNT], "/advertiser/info/"
        details = reader.ask(path, advertiser_ids=ids, fields=["name", "currency"])["data"]["list"]
        assert details == [{"advertiser_id": ACCOUNT, "name": "Acme Shoes, Europe", "currency": "EUR"}]
        codes = [reader.ask(path, advertiser_ids=wrong)["code"] for wrong in ([], ids * 101, [FOREIGN])]
        assert codes == [40002, 40002, 40001]


class TestReport:
    def test_daily(self, reader: Reader) -> None:
        """A daily report has a row for each campaign and day, the same at every call."""
        rows = reader.report()
        assert len(rows) == 6
        assert rows[0]["dimensions"]["stat_time_day"] == "2026-05-01 00:00:00"
        assert rows[0]["metrics"]["campaign_name"] == "Spring launch"
        assert float(rows[0]["metrics"]["spend"]) > 0
        assert reader.report() == rows
        assert reader.report(start_date="2026-05-02")[0] in rows

    @pytest.mark.parametrize(
        ("changes", "count"),
        [
            ({"data_level": "AUCTION_ADVERTISER", "dimensions": ["advertiser_id", "stat_time_day"]}, 2),
            ({"dimensions": ["campaign_id"], "query_lifetime": "true", "start_date": "", "end_date": ""}, 3),
            ({"dimensions": ["campaign_id", "stat_time_hour"], "end_date": "2026-05-01"}, 72),
            ({"report_type": "AUDIENCE", "data_level": "AUCTION_AD", "dimensions": ["ad_id", "gender", "age"]}, 48),
        ],
    )
    def test_levels(self, reader: Reader, changes: dict[str, Any], count: int) -> None:
        """A report has a row for each of what its dimensions name."""
        rows = reader.report(**changes)
        assert len(rows) == len({json.dumps(row["dimensions"]) for row in rows}) == count
        assert {tuple(row["dimensions"]) for row in rows} == {tuple(changes["dimensions"])}

    def test_chosen(self, reader: Reader) -> None:
        """A report can be of some campaigns, of deleted ones too, and of up to five ad accounts at once."""
        rows = reader.report()
        first = rows[0]["dimensions"]["campaign_id"]
        chosen = [{"field_name": "campaign_ids", "filter_type": "IN", "filter_value": json.dumps([first])}]
        assert reader.report(filtering=chosen) == [row for row in rows if row["dimensions"]["campaign_id"] == first]
        every = [{"field_name": "campaign_status", "filter_type": "IN", "filter_value": '["STATUS_ALL"]'}]
        assert len(reader.report(filtering=every)) == 8
        several = reader.report(advertiser_ids=[OTHER, ACCOUNT])
        assert [row["metrics"]["advertiser_id"] for row in several] == [OTHER] * 6 + [ACCOUNT] * 6

    def test_refused(self, reader: Reader) -> None:
        """What TikTok would not take is a parameter error."""
        condition = {"field_name": "campaign_ids", "filter_type": "IN", "filter_value": "[]"}
        wrong: dict[str, dict[str, object]] = {
            "six accounts": {"advertiser_ids": [ACCOUNT] * 6},
            "no dimension": {"dimensions": []},
            "a dimension of another report": {"dimensions": ["campaign_id", "gender"]},
            "an unknown report": {"report_type": "WEATHER"},
            "an unknown level": {"data_level": "PLANET"},
            "more than thirty days": {"start_date": "2026-01-01", "end_date": "2026-02-01"},
            "no date": {"start_date": "yesterday"},
            "days of a whole life": {"query_lifetime": "true"},
            "a metric of accounts only": {"metrics": ["cash_spend"]},
            "another kind of filter": {"filtering": [{**condition, "filter_type": "EQUALS"}]},
            "an unknown filter": {"filtering": [{**condition, "field_name": "weather"}]},
        }
        asked = {why: reader.ask("/report/integrated/get/", **{**DAILY, **one})["code"] for why, one in wrong.items()}
        assert asked == dict.fromkeys(wrong, 40002)


def profile(server: TikTokServer, grant: Grant, **changes: object) -> dict[str, Any]:
    query = {"business_id": grant.open_id, "fields": ["username", "display_name", "followers_count"]} | changes
    return get(server, "/business/get/", grant.access_token, **query)


def videos(server: TikTokServer, grant: Grant, **changes: object) -> dict[str, Any]:
    query = {"business_id": grant.open_id, "fields": ["item_id", "create_time", "likes"]} | changes
    return get(server, "/business/video/list/", grant.access_token, **query)


class TestAccount:
    def test_videos(self, tiktok: TikTokServer) -> None:
        """Videos come newest first in pages of twenty at most, their times as strings."""
        grant = tiktok.grant_account()
        first = videos(tiktok, grant, max_count=20)["data"]
        second = videos(tiktok, grant, max_count=20, cursor=first["cursor"])["data"]
        assert [(len(page["videos"]), page["has_more"]) for page in (first, second)] == [(20, True), (5, False)]
        rows = first["videos"] + second["videos"]
        assert all(set(row) == {"item_id", "create_time", "likes"} for row in rows)
        assert [row["create_time"] for row in rows] == sorted({row["create_time"] for row in rows}, reverse=True)
        assert videos(tiktok, grant, max_count=21)["code"] == 40002

    @pytest.mark.parametrize("ask", [profile, videos])
    def test_refused(self, tiktok: TikTokServer, ask: Any) -> None:
        """Reading needs the account's own id, its scopes, a token and fields that exist."""
        grant = tiktok.grant_account()
        assert ask(tiktok, grant, business_id="")["code"] == 40002
        assert ask(tiktok, grant, business_id="other")["code"] == 40001
        assert ask(tiktok, grant, fields=["weather"])["code"] == 40002
        assert ask(tiktok, tiktok.grant_account(scope=["user.info.basic"]))["code"] == 40130
        assert ask(tiktok, tiktok.grant())["code"] == 40105
