"""What the simulated ad accounts contain, read as the connectors of pipelines read it."""

import json
from typing import Any

import pytest

from local.tiktok import TikTokServer, ads
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
        """Lists come in pages that say how many rows there are, and hold what tests can have without asking."""
        for path, rows in zip(LISTS, [ads.campaigns(ACCOUNT), ads.ad_groups(ACCOUNT), ads.ads(ACCOUNT)], strict=True):
            count = len(rows)
            first, second = (
                reader.ask(path, advertiser_id=ACCOUNT, page=page, page_size=count - 1)["data"] for page in (1, 2)
            )
            assert first["list"] + second["list"] == rows == reader.rows(path)
            assert first["page_info"] == {"page": 1, "page_size": count - 1, "total_number": count, "total_page": 2}

    def test_ids(self, reader: Reader) -> None:
        """An ad names its ad group and this its campaign; an id is one row's alone, over levels and ad accounts."""
        campaigns, groups, rows = (reader.rows(path) for path in LISTS)
        above = {row["adgroup_id"]: row["campaign_id"] for row in groups}
        assert set(above.values()) == {row["campaign_id"] for row in campaigns}
        assert all(above[row["adgroup_id"]] == row["campaign_id"] for row in rows)
        names = dict(zip(LISTS, ["campaign_id", "adgroup_id", "ad_id"], strict=True))
        ids = [
            row[names[path]]
            for one in (ACCOUNT, OTHER)
            for path in LISTS
            for row in reader.rows(path, advertiser_id=one)
        ]
        assert len(set(ids)) == len(ids) == 42

    @pytest.mark.parametrize(
        ("parameters", "code"),
        [
            ({}, 40002),
            ({"advertiser_id": FOREIGN}, 40001),
            ({"advertiser_id": ACCOUNT, "page": "x"}, 40002),
            ({"advertiser_id": ACCOUNT, "page": 0}, 40002),
            ({"advertiser_id": ACCOUNT, "filtering": []}, 40002),
            ({"advertiser_id": ACCOUNT, "filtering": "{"}, 40002),
            ({"advertiser_id": ACCOUNT, "filtering": {"weather": "fine"}}, 40002),
            ({"advertiser_id": ACCOUNT, "filtering": {"campaign_ids": ["1"] * 101}}, 40002),
            ({"advertiser_id": ACCOUNT, "fields": "campaign_id"}, 40002),
            ({"advertiser_id": ACCOUNT, "fields": ["é"]}, 40002),
        ],
    )
    def test_refused(self, reader: Reader, parameters: dict[str, object], code: int) -> None:
        """Lists need an ad account that the token reaches, a page that exists and filters that are known."""
        assert reader.ask("/adgroup/get/", **parameters)["code"] == code

    @pytest.mark.parametrize(("path", "scope"), list(zip(LISTS, [200, 210, 220], strict=True)))
    def test_permission(self, tiktok: TikTokServer, path: str, scope: int) -> None:
        """Each list needs a permission of its own, or the one above it."""
        others = {4, 100, 200, 210, 220} - {scope}
        assert Reader(tiktok, sorted(others)).ask(path, advertiser_id=ACCOUNT)["code"] == 40001
        assert Reader(tiktok, [scope]).ask(path, advertiser_id=ACCOUNT)["code"] == 0
        assert Reader(tiktok, [2]).ask(path, advertiser_id=ACCOUNT)["code"] == 0

    @pytest.mark.parametrize(("path", "level"), list(zip(LISTS, ["CAMPAIGN", "ADGROUP", "AD"], strict=True)))
    def test_filters(self, reader: Reader, path: str, level: str) -> None:
        """Lists can be of what was deleted, of some campaigns, and of those created in some time."""
        usual = reader.rows(path)
        gone = reader.rows(path, filtering={"primary_status": "STATUS_DELETE"})
        assert gone
        assert all(row["secondary_status"].endswith("_DELETE") for row in gone)
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
        """Rows can be had with some fields only."""
        rows = reader.rows("/campaign/get/", fields=["campaign_id", "campaign_name"])
        assert {tuple(sorted(row)) for row in rows} == {("advertiser_id", "campaign_id", "campaign_name")}


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
            ({"dimensions": ["campaign_id"]}, 3),
            ({"dimensions": ["campaign_id", "stat_time_hour"], "end_date": "2026-05-01"}, 72),
            ({"data_level": "AUCTION_AD", "dimensions": ["ad_id", "country_code", "stat_time_day"]}, 48),
            (
                {
                    "report_type": "AUDIENCE",
                    "data_level": "AUCTION_AD",
                    "dimensions": ["ad_id", "stat_time_day", "gender", "age"],
                },
                96,
            ),
        ],
    )
    def test_levels(self, reader: Reader, changes: dict[str, Any], count: int) -> None:
        """A report has a row for each of what its dimensions name."""
        rows = reader.report(**changes)
        assert len(rows) == len({json.dumps(row["dimensions"]) for row in rows}) == count
        assert {tuple(row["dimensions"]) for row in rows} == {tuple(changes["dimensions"])}

    def test_lifetime(self, reader: Reader) -> None:
        """A report over the whole life needs no dates and heeds none."""
        asked = {"dimensions": ["campaign_id"], "query_lifetime": "true"}
        rows = reader.report(**asked, start_date="", end_date="")
        assert len(rows) == 3
        assert reader.report(**asked, start_date="2020-01-01", end_date="2026-01-01") == rows

    def test_attributes(self, reader: Reader) -> None:
        """Beside figures a row tells, if asked, what its ad, the ad group and the campaign are."""
        metrics = ["campaign_id", "adgroup_name", "ad_text", "tt_app_id", "secondary_goal_result"]
        asked = {"data_level": "AUCTION_AD", "dimensions": ["ad_id", "stat_time_day"], "metrics": metrics}
        row, ad = reader.report(**asked)[0], ads.ads(ACCOUNT)[0]
        assert row["dimensions"]["ad_id"] == ad["ad_id"]
        expected = [ad["campaign_id"], ad["adgroup_name"], ad["ad_text"], "0", "-"]
        assert row["metrics"] == dict(zip(metrics, expected, strict=True))

    def test_chosen(self, reader: Reader) -> None:
        """A report can be of some campaigns, and of deleted ones too."""
        rows = reader.report()
        first = rows[0]["dimensions"]["campaign_id"]
        chosen = [{"field_name": "campaign_ids", "filter_type": "IN", "filter_value": json.dumps([first])}]
        assert reader.report(filtering=chosen) == [row for row in rows if row["dimensions"]["campaign_id"] == first]
        every = [{"field_name": "campaign_status", "filter_type": "IN", "filter_value": '["STATUS_ALL"]'}]
        assert len(reader.report(filtering=every)) == 8

    def test_several(self, reader: Reader) -> None:
        """A report can be of up to five ad accounts at once, and its rows then tell of whom they are."""
        rows = reader.report(advertiser_ids=[OTHER, ACCOUNT])
        assert [row["metrics"].pop("advertiser_id") for row in rows] == [OTHER] * 6 + [ACCOUNT] * 6
        assert {(row["metrics"].pop("currency"), row["metrics"].pop("timezone")) for row in rows} == {
            ("EUR", "Europe/Berlin")
        }
        assert rows == reader.report(advertiser_id=OTHER) + reader.report()

    def test_permission(self, tiktok: TikTokServer) -> None:
        """A report needs its own permission."""
        assert Reader(tiktok, [100, 200]).ask("/report/integrated/get/", **DAILY)["code"] == 40001
        assert Reader(tiktok, [4]).ask("/report/integrated/get/", **DAILY)["code"] == 0

    @pytest.mark.parametrize(
        "wrong",
        [
            {"advertiser_ids": [ACCOUNT] * 6},
            {"advertiser_ids": [""]},
            {"dimensions": ["planet"]},
            {"dimensions": []},
            {"dimensions": ["campaign_id", "gender"]},
            {"report_type": "WEATHER"},
            {"data_level": "PLANET"},
            {"start_date": "2026-01-01", "end_date": "2026-02-01"},
            {"start_date": "2026-05-03", "end_date": "2026-05-02"},
            {"start_date": "yesterday"},
            {"start_date": ""},
            {"dimensions": ["campaign_id", "stat_time_hour"]},
            {"query_lifetime": "true"},
            {"metrics": ["cash_spend"]},
            {"filtering": [{"field_name": "campaign_ids", "filter_type": "EQUALS", "filter_value": "1"}]},
            {"filtering": [{"field_name": "campaign_ids", "filter_type": "IN", "filter_value": "x"}]},
            {"filtering": [{"field_name": "weather", "filter_type": "IN", "filter_value": '["fine"]'}]},
        ],
    )
    def test_refused(self, reader: Reader, wrong: dict[str, object]) -> None:
        """What TikTok would not take is a parameter error."""
        assert reader.ask("/report/integrated/get/", **{**DAILY, **wrong})["code"] == 40002
