"""The simulated TikTok's endpoints for advertisers."""

import re
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from local.serving import CannotStart
from local.tiktok import APP_ID, APP_SECRET, Options, TikTokServer
from tiktok_client import CREDENTIALS, OTHER_APP, OTHER_SECRET, get, post

ADVERTISERS = ["7000000000000000001", "7000000000000000002", "7000000000000000003"]


def exchange(server: TikTokServer, code: str, **fields: object) -> dict[str, Any]:
    return post(server, "/oauth2/access_token/", **CREDENTIALS | {"auth_code": code} | fields)


def refresh(server: TikTokServer, token: str | None, **fields: object) -> dict[str, Any]:
    body = CREDENTIALS | {"grant_type": "refresh_token", "refresh_token": token} | fields
    return post(server, "/oauth2/refresh_token/", **body)


def advertisers(server: TikTokServer, token: str | None, **parameters: object) -> dict[str, Any]:
    return get(server, "/oauth2/advertiser/get/", token, **CREDENTIALS | parameters)


class TestEnvelope:
    def test_success(self, tiktok: TikTokServer) -> None:
        """An answer has exactly TikTok's four fields and a request id of its form."""
        answer = exchange(tiktok, tiktok.authorize())
        assert list(answer) == ["code", "message", "request_id", "data"]
        assert (answer["code"], answer["message"]) == (0, "OK")
        assert re.fullmatch(r"20\d{12}[0-9A-F]{20}", answer["request_id"])

    @pytest.mark.parametrize("path", ["/oauth2/access_token", "/oauth2/advertiser/get", "/nothing/", "/"])
    def test_path(self, tiktok: TikTokServer, path: str) -> None:
        """Without the trailing slash, and anywhere else, the answer is a plain-text 404."""
        answer = requests.post(tiktok.api_url + path, json={}, timeout=10)
        assert (answer.status_code, answer.headers["Content-Type"]) == (404, "text/plain; charset=utf-8")

    @pytest.mark.parametrize(
        ("method", "path", "allowed"), [("GET", "/oauth2/access_token/", "POST"), ("POST", "/user/info/", "GET")]
    )
    def test_method(self, tiktok: TikTokServer, method: str, path: str, allowed: str) -> None:
        """A wrong method is a 405 that names the right one."""
        answer = requests.request(method, tiktok.api_url + path, timeout=10)
        assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"app_id=1"])
    def test_body(self, tiktok: TikTokServer, body: bytes) -> None:
        """A body that is no JSON object is a parameter error."""
        answer = requests.post(tiktok.api_url + "/oauth2/access_token/", data=body, timeout=10)
        assert (answer.status_code, answer.json()["code"], answer.json()["data"]) == (200, 40002, {})


class TestExchange:
    def test_long_lived(self, tiktok: TikTokServer) -> None:
        """A long-lived grant holds a token, the ad accounts and the scope, and nothing about a refresh."""
        data = exchange(tiktok, tiktok.authorize())["data"]
        assert set(data) == {"access_token", "advertiser_ids", "scope"}
        assert re.fullmatch(r"[0-9a-f]{40}", data["access_token"])
        assert (data["advertiser_ids"], data["scope"]) == (ADVERTISERS, [4, 10, 200, 210, 220, 30])

    def test_expiring(self, tiktok: TikTokServer) -> None:
        """An expiring grant, by option or by approval, also holds a refresh token and lifetimes in seconds."""
        by_approval = exchange(tiktok, tiktok.authorize("expiring"))["data"]
        tiktok.options = Options(kind="expiring", access_seconds=60)
        by_option = exchange(tiktok, tiktok.authorize())["data"]
        assert (by_approval["expires_in"], by_approval["refresh_token_expires_in"]) == (86400, 31536000)
        assert (by_option["expires_in"], by_option["refresh_token_expires_in"]) == (60, 31536000)
        assert re.fullmatch(r"[0-9a-f]{40}", by_option["refresh_token"])

    def test_what_was_approved(self, tiktok: TikTokServer) -> None:
        """The ticked ad accounts, none included, come back unless they are not wanted, and so do the permissions."""
        data = exchange(tiktok, tiktok.authorize(advertisers=[], scope=[200]))["data"]
        assert (data["advertiser_ids"], data["scope"]) == ([], [200])
        assert "advertiser_ids" not in exchange(tiktok, tiktok.authorize(), return_advertiser_ids=False)["data"]

    @pytest.mark.parametrize(("seconds", "code"), [(3599, 0), (3600, 40110)])
    def test_code_ends(self, tiktok: TikTokServer, seconds: int, code: int) -> None:
        """A code is good once, within an hour."""
        approved = tiktok.authorize()
        tiktok.set_time_offset(seconds)
        assert exchange(tiktok, approved)["code"] == code
        assert exchange(tiktok, approved)["code"] == 40110

    def test_app(self, tiktok: TikTokServer) -> None:
        """A code is good only for the app that was approved, with its secret; a refusal leaves it good."""
        tiktok.add_app(OTHER_APP, OTHER_SECRET)
        code = tiktok.authorize()
        assert exchange(tiktok, code, app_id=OTHER_APP, secret=OTHER_SECRET)["code"] == 40110
        assert exchange(tiktok, code, secret="\ud800")["code"] == 40101
        assert exchange(tiktok, code, app_id="7")["code"] == 40101
        assert exchange(tiktok, code)["code"] == 0

    @pytest.mark.parametrize("fields", [{"auth_code": "G" * 40}, {"auth_code": 1}, {"auth_code": ""}, {"app_id": 7}])
    def test_malformed(self, tiktok: TikTokServer, fields: dict[str, object]) -> None:
        """Missing, malformed and mistyped fields are parameter errors."""
        assert exchange(tiktok, "0" * 40, **fields)["code"] == 40002


class TestRefresh:
    def test_rotates(self, tiktok: TikTokServer) -> None:
        """Both tokens are new, the year counts down, and the old access token works until its own end."""
        before = tiktok.grant("expiring")
        tiktok.set_time_offset(43200)
        data = refresh(tiktok, before.refresh_token)["data"]
        assert data["access_token"] != before.access_token
        assert data["refresh_token"] != before.refresh_token
        assert data["refresh_token_expires_in"] == 31536000 - 43200
        assert advertisers(tiktok, before.access_token)["code"] == 0
        tiktok.set_time_offset(86400)
        assert advertisers(tiktok, before.access_token)["code"] == 40102
        assert advertisers(tiktok, data["access_token"])["code"] == 0
        assert (tiktok.spent, tiktok.reused) == ({before.refresh_token: 1}, [])

    def test_options(self, tiktok: TikTokServer) -> None:
        """By option the year starts anew with each refresh, and the old access token dies with it."""
        tiktok.options = Options(refresh_extends=True, keep_old_access_token=False)
        before = tiktok.grant("expiring")
        tiktok.set_time_offset(1000)
        data = refresh(tiktok, before.refresh_token)["data"]
        assert data["refresh_token_expires_in"] == 31536000
        assert advertisers(tiktok, before.access_token)["code"] == 40105
        assert tiktok.is_alive(data["access_token"])

    @pytest.mark.parametrize("punished", [False, True])
    def test_reuse(self, tiktok: TikTokServer, punished: bool) -> None:
        """A used refresh token is refused and recorded; by option that costs the whole grant."""
        tiktok.options = Options(punish_reuse=punished)
        before = tiktok.grant("expiring")
        after = refresh(tiktok, before.refresh_token)["data"]
        assert refresh(tiktok, before.refresh_token)["code"] == 40107
        assert (tiktok.reused, tiktok.spent[str(before.refresh_token)]) == ([before.refresh_token], 2)
        assert tiktok.is_alive(after["access_token"]) is not punished
        assert refresh(tiktok, after["refresh_token"])["code"] == (40107 if punished else 0)

    @pytest.mark.parametrize(("rotation", "answered"), [("same", True), ("omitted", False)])
    def test_without_rotation(self, tiktok: TikTokServer, rotation: Any, answered: bool) -> None:
        """A refresh that answers without a new refresh token leaves the old one good."""
        tiktok.options = Options(rotation=rotation)
        before = tiktok.grant("expiring")
        data = refresh(tiktok, before.refresh_token)["data"]
        assert data.get("refresh_token") == (before.refresh_token if answered else None)
        assert data["access_token"] != before.access_token
        assert refresh(tiktok, before.refresh_token)["code"] == 0
        assert tiktok.reused == []

    def test_at_once(self, tiktok: TikTokServer) -> None:
        """Of many who present the same refresh token at once exactly one is served."""
        token = tiktok.grant("expiring").refresh_token
        with ThreadPoolExecutor(8) as threads:
            codes = list(threads.map(lambda _: refresh(tiktok, token)["code"], range(8)))
        assert sorted(codes) == [0] + [40107] * 7
        assert len(tiktok.reused) == 7

    def test_refused(self, tiktok: TikTokServer) -> None:
        """A long-lived token, another grant type, another app and a wrong secret are refused and use nothing up."""
        tiktok.add_app(OTHER_APP, OTHER_SECRET)
        grant = tiktok.grant("expiring")
        assert refresh(tiktok, tiktok.grant().access_token)["code"] == 40107
        assert refresh(tiktok, grant.refresh_token, grant_type="password")["code"] == 40108
        assert refresh(tiktok, grant.refresh_token, app_id=OTHER_APP, secret=OTHER_SECRET)["code"] == 40107
        assert refresh(tiktok, grant.refresh_token, secret="wrong")["code"] == 40101
        tiktok.set_time_offset(31536000 - 1)
        assert refresh(tiktok, grant.refresh_token)["code"] == 0
        tiktok.set_time_offset(31536000)
        assert refresh(tiktok, tiktok.grants[0].refresh_token)["code"] == 40103


class TestRevoke:
    def test_call(self, tiktok: TikTokServer) -> None:
        """Revoking says what is no longer reached and ends both tokens."""
        grant = tiktok.grant("expiring")
        body = CREDENTIALS | {"access_token": grant.access_token}
        assert post(tiktok, "/oauth2/revoke_token/", **body)["data"] == {
            "app_id": APP_ID,
            "advertiser_ids": ADVERTISERS,
        }
        assert advertisers(tiktok, grant.access_token)["code"] == 40105
        assert refresh(tiktok, grant.refresh_token)["code"] == 40107
        assert post(tiktok, "/oauth2/revoke_token/", **body)["code"] == 40105

    def test_by_the_advertiser(self, tiktok: TikTokServer) -> None:
        """What an advertiser takes back is dead at once."""
        grant = tiktok.grant()
        assert tiktok.is_alive(grant.access_token)
        tiktok.revoke(grant.access_token)
        assert tiktok.grants[0].revoked
        assert get(tiktok, "/user/info/", grant.access_token)["code"] == 40105


class TestReading:
    def test_advertisers(self, tiktok: TikTokServer) -> None:
        """The ad accounts come with their names, and follow what the grant reaches now."""
        grant = tiktok.grant()
        assert advertisers(tiktok, grant.access_token)["data"]["list"][0] == {
            "advertiser_id": "7000000000000000001",
            "advertiser_name": "Acme Shoes, Europe",
        }
        tiktok.set_advertisers(grant.access_token, ["7000000000000000077"])
        listed = advertisers(tiktok, grant.access_token)["data"]["list"]
        assert [row["advertiser_id"] for row in listed] == ["7000000000000000077"]

    def test_refused(self, tiktok: TikTokServer) -> None:
        """A missing token, an unknown one, missing or wrong credentials and another app's token have their codes."""
        tiktok.add_app(OTHER_APP, OTHER_SECRET)
        token = tiktok.grant().access_token
        assert advertisers(tiktok, None)["code"] == 40104
        assert advertisers(tiktok, "0" * 40)["code"] == 40105
        assert get(tiktok, "/oauth2/advertiser/get/", token)["code"] == 40002
        assert advertisers(tiktok, token, secret="wrong")["code"] == 40101
        answer = advertisers(tiktok, tiktok.grant(app_id=OTHER_APP).access_token)
        assert answer["code"] == 40000
        assert "app_id is inconsistent with the token's app information" in answer["message"]

    @pytest.mark.parametrize(("scope", "code"), [([100], 0), ([10], 0), ([1], 0), ([4, 200], 40001)])
    def test_permission(self, tiktok: TikTokServer, scope: list[int], code: int) -> None:
        """Without the permission the list is refused while the token still tells who approved."""
        token = tiktok.grant(scope=scope).access_token
        assert advertisers(tiktok, token)["code"] == code
        user = get(tiktok, "/user/info/", token)
        assert set(user["data"]) == {"core_user_id", "display_name", "email", "create_time"}

    def test_details(self, tiktok: TikTokServer) -> None:
        """Details of ad accounts hold the fields that were asked for; up to 100 of the grant's own can be had."""
        token = tiktok.grant().access_token
        answer = get(tiktok, "/advertiser/info/", token, advertiser_ids=ADVERTISERS[:1], fields=["name", "currency"])
        assert answer["data"]["list"] == [
            {"advertiser_id": ADVERTISERS[0], "name": "Acme Shoes, Europe", "currency": "EUR"}
        ]
        for ids, code in (([], 40002), (["7"] * 101, 40002), (["7000000000000000088"], 40001), ("7", 40002)):
            assert get(tiktok, "/advertiser/info/", token, advertiser_ids=ids)["code"] == code


class TestQuota:
    def test_second(self, tiktok: TikTokServer) -> None:
        """Calls beyond the quota of a second are refused until it is over, and take no effect."""
        tiktok.options = Options(qps=3)
        grant = tiktok.grant("expiring")
        codes = [get(tiktok, "/user/info/", grant.access_token)["code"] for _ in range(4)]
        assert codes == [0, 0, 0, 40100]
        assert refresh(tiktok, grant.refresh_token)["code"] == 40100
        assert tiktok.spent == {}
        tiktok.set_time_offset(1)
        assert get(tiktok, "/user/info/", grant.access_token)["code"] == 0

    def test_minute(self, tiktok: TikTokServer) -> None:
        """The minute's quota has a code of its own and counts for each app alone."""
        tiktok.options = Options(per_minute=2)
        tiktok.add_app(OTHER_APP, OTHER_SECRET)
        token, other = tiktok.grant().access_token, tiktok.grant(app_id=OTHER_APP).access_token
        assert [get(tiktok, "/user/info/", token)["code"] for _ in range(3)] == [0, 0, 40133]
        assert get(tiktok, "/user/info/", other)["code"] == 0
        tiktok.set_time_offset(60)
        assert get(tiktok, "/user/info/", token)["code"] == 0


class TestRecord:
    def test_calls(self, tiktok: TikTokServer) -> None:
        """Calls are recorded with name and path, and what they brought is kept beside them."""
        grant = tiktok.grant("expiring")
        refresh(tiktok, grant.refresh_token)
        advertisers(tiktok, grant.access_token)
        assert [(call.name, call.resource) for call in tiktok.calls] == [
            ("refresh_token", "/open_api/v1.3/oauth2/refresh_token/"),
            ("advertiser_get", "/open_api/v1.3/oauth2/advertiser/get/"),
        ]
        assert [call.name for call in tiktok.token_calls] == ["refresh_token"]
        assert tiktok.requests_of("refresh_token")[0]["refresh_token"] == grant.refresh_token
        assert tiktok.requests_of("advertiser_get") == [CREDENTIALS | {"Access-Token": grant.access_token}]
        assert (tiktok.max_in_window(60), tiktok.max_in_window(60, "advertiser_get")) == (2, 1)
        assert tiktok.max_in_window(1e-9) == 1
        tiktok.forget_calls()
        assert tiktok.requests_of("refresh_token") == []

    def test_log(self) -> None:
        """A log line tells method, path and TikTok's code, and never what is in the query or a body."""
        lines: list[str] = []
        with TikTokServer(log=lines.append) as server:
            grant = server.grant("expiring")
            advertisers(server, grant.access_token)
            refresh(server, grant.refresh_token)
            exchange(server, "0" * 40)
            requests.get(server.authorize_url, params={"app_id": APP_ID, "state": "marked-state"}, timeout=10)
        assert lines[0] == "GET /open_api/v1.3/oauth2/advertiser/get/ advertiser_get 0 OK"
        assert "access_token 40110" in lines[2]
        assert lines[3] == "GET /portal/auth 400"
        secret = (APP_SECRET, grant.access_token, str(grant.refresh_token), "marked-state")
        assert not [word for word in secret if word in f"{lines}{grant}"]


class TestState:
    def test_restart(self, tmp_path: Path) -> None:
        """Codes, grants and used refresh tokens are there again after a restart, in a file only its owner reads."""
        path = tmp_path / "state" / "tiktok.json"
        with TikTokServer(path=path) as server:
            code, spent = server.authorize(), server.grant("expiring")
            kept = refresh(server, spent.refresh_token)["data"]
            revoked, account = server.grant(), server.grant_account()
            server.revoke(revoked.access_token)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert APP_SECRET not in path.read_text()
        with TikTokServer(path=path) as server:
            assert server.grants[2] == account
            assert exchange(server, code)["code"] == 0
            assert advertisers(server, kept["access_token"])["code"] == 0
            assert advertisers(server, revoked.access_token)["code"] == 40105
            assert refresh(server, spent.refresh_token)["code"] == 40107
            assert refresh(server, kept["refresh_token"])["code"] == 0
        assert [file.name for file in path.parent.iterdir()] == ["tiktok.json"]

    @pytest.mark.parametrize("content", ["", "[]", "{}", '{"codes": {"x": 1}}'])
    def test_damaged(self, tmp_path: Path, content: str) -> None:
        """A file that is no state stops the start with a sentence that says what to do."""
        path = tmp_path / "tiktok.json"
        path.write_text(content)
        with pytest.raises(CannotStart, match="remove the file"):
            TikTokServer(path=path)
