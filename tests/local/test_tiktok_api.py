"""The simulated TikTok's API, asked over its socket as any program would ask it."""

import json
import re
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from local.serving import CannotStart
from local.tiktok import APP_ID, APP_SECRET, TikTokServer

ACCOUNTS = ["7000000000000000001", "7000000000000000002", "7000000000000000003"]
NOW = 1_780_000_000.0


@pytest.fixture
def tiktok() -> Iterator[TikTokServer]:
    with TikTokServer() as server:
        server.clock = lambda: NOW
        yield server


def post(server: TikTokServer, path: str, **fields: object) -> dict[str, Any]:
    body = {"app_id": APP_ID, "secret": APP_SECRET} | fields
    answer = requests.post(server.api_url + path, json=body, timeout=10)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def get(server: TikTokServer, path: str, token: str | None = None, **parameters: object) -> dict[str, Any]:
    headers = {} if token is None else {"Access-Token": token}
    query = {name: value if isinstance(value, str) else json.dumps(value) for name, value in parameters.items()}
    answer = requests.get(server.api_url + path, params=query, headers=headers, timeout=10)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def exchange(server: TikTokServer, code: str, **fields: object) -> dict[str, Any]:
    return post(server, "/oauth2/access_token/", auth_code=code, **fields)


def refresh(server: TikTokServer, token: str | None, **fields: object) -> dict[str, Any]:
    return post(server, "/oauth2/refresh_token/", **{"grant_type": "refresh_token", "refresh_token": token} | fields)


def accounts(server: TikTokServer, token: str | None, **parameters: object) -> dict[str, Any]:
    query = {"app_id": APP_ID, "secret": APP_SECRET} | parameters
    return get(server, "/oauth2/advertiser/get/", token, **query)


class TestEnvelope:
    def test_success(self, tiktok: TikTokServer) -> None:
        """An answer has exactly TikTok's four fields and a request id of its form."""
        answer = exchange(tiktok, tiktok.authorize())
        assert list(answer) == ["code", "message", "request_id", "data"]
        assert (answer["code"], answer["message"]) == (0, "OK")
        assert re.fullmatch(r"20\d{12}[0-9A-F]{20}", answer["request_id"])

    def test_refusal(self, tiktok: TikTokServer) -> None:
        """A refusal is HTTP 200 with another code and empty data."""
        answer = exchange(tiktok, "0" * 40)
        assert (answer["code"], answer["data"]) == (40110, {})

    @pytest.mark.parametrize("path", ["/oauth2/access_token", "/oauth2/advertiser/get", "/nothing/", "/"])
    def test_slash(self, tiktok: TikTokServer, path: str) -> None:
        """Without the trailing slash, and anywhere else, the answer is a plain-text 404."""
        answer = requests.post(tiktok.api_url + path, json={}, timeout=10)
        assert answer.status_code == 404
        assert answer.headers["Content-Type"].startswith("text/plain")

    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [("GET", "/oauth2/access_token/", "POST"), ("POST", "/user/info/", "GET"), ("PUT", "/campaign/get/", "GET")],
    )
    def test_method(self, tiktok: TikTokServer, method: str, path: str, allowed: str) -> None:
        """A wrong method is a 405 that names the right one."""
        answer = requests.request(method, tiktok.api_url + path, timeout=10)
        assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)


class TestExchange:
    def test_long_lived(self, tiktok: TikTokServer) -> None:
        """A long-lived grant holds a token, the ad accounts and the scope, and nothing about a refresh."""
        data = exchange(tiktok, tiktok.authorize())["data"]
        assert set(data) == {"access_token", "advertiser_ids", "scope"}
        assert re.fullmatch(r"[0-9a-f]{40}", data["access_token"])
        assert data["advertiser_ids"] == ACCOUNTS
        assert data["scope"] == [4, 10, 200, 210, 220, 30]

    def test_expiring(self, tiktok: TikTokServer) -> None:
        """An expiring grant also holds a refresh token and both lifetimes in seconds."""
        data = exchange(tiktok, tiktok.authorize("expiring"))["data"]
        assert (data["expires_in"], data["refresh_token_expires_in"]) == (86400, 31536000)
        assert re.fullmatch(r"[0-9a-f]{40}", data["refresh_token"])

    def test_server_kind(self, tiktok: TikTokServer) -> None:
        """The server's setting decides where the approval says nothing."""
        tiktok.kind = "expiring"
        assert "refresh_token" in exchange(tiktok, tiktok.authorize())["data"]

    def test_accounts_and_scope(self, tiktok: TikTokServer) -> None:
        """The ticked ad accounts, none included, and the granted permissions come back."""
        data = exchange(tiktok, tiktok.authorize(advertisers=[], scope=[200]))["data"]
        assert (data["advertiser_ids"], data["scope"]) == ([], [200])

    def test_without_accounts(self, tiktok: TikTokServer) -> None:
        """With return_advertiser_ids false the ad accounts are left out."""
        assert "advertiser_ids" not in exchange(tiktok, tiktok.authorize(), return_advertiser_ids=False)["data"]

    def test_code_twice(self, tiktok: TikTokServer) -> None:
        """A code is good once."""
        code = tiktok.authorize()
        exchange(tiktok, code)
        assert exchange(tiktok, code)["code"] == 40110

    @pytest.mark.parametrize(("seconds", "code"), [(3599, 0), (3600, 40110)])
    def test_code_expires(self, tiktok: TikTokServer, seconds: int, code: int) -> None:
        """A code is good for an hour."""
        approved = tiktok.authorize()
        tiktok.set_time_offset(seconds)
        assert exchange(tiktok, approved)["code"] == code

    def test_other_app(self, tiktok: TikTokServer) -> None:
        """A code is good only for the app that was approved."""
        tiktok.add_app("7000000000000000099", "another secret")
        code = tiktok.authorize()
        assert exchange(tiktok, code, app_id="7000000000000000099", secret="another secret")["code"] == 40110
        assert exchange(tiktok, code)["code"] == 0

    @pytest.mark.parametrize("wrong", [{"secret": "wrong"}, {"app_id": "7000000000000000001"}, {"secret": "\ud800"}])
    def test_app_credentials(self, tiktok: TikTokServer, wrong: dict[str, str]) -> None:
        """A wrong app id or secret is refused and leaves the code good."""
        code = tiktok.authorize()
        assert exchange(tiktok, code, **wrong)["code"] == 40101
        assert exchange(tiktok, code)["code"] == 0

    @pytest.mark.parametrize(
        "fields", [{"auth_code": "short"}, {"auth_code": "G" * 40}, {"auth_code": 1}, {"auth_code": ""}, {"app_id": 7}]
    )
    def test_malformed(self, tiktok: TikTokServer, fields: dict[str, object]) -> None:
        """Missing, malformed and mistyped fields are parameter errors."""
        assert post(tiktok, "/oauth2/access_token/", **{"auth_code": "0" * 40, **fields})["code"] == 40002

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b"app_id=1"])
    def test_body(self, tiktok: TikTokServer, body: bytes) -> None:
        """A body that is no JSON object is a parameter error."""
        answer = requests.post(tiktok.api_url + "/oauth2/access_token/", data=body, timeout=10)
        assert (answer.status_code, answer.json()["code"]) == (200, 40002)


class TestRefresh:
    def test_rotates(self, tiktok: TikTokServer) -> None:
        """Both tokens are new, and the old access token works until its own end."""
        before = tiktok.grant("expiring")
        tiktok.set_time_offset(43200)
        data = refresh(tiktok, before.refresh_token)["data"]
        assert data["access_token"] != before.access_token
        assert data["refresh_token"] != before.refresh_token
        assert accounts(tiktok, before.access_token)["code"] == 0
        tiktok.set_time_offset(86400)
        assert accounts(tiktok, before.access_token)["code"] == 40102
        assert accounts(tiktok, data["access_token"])["code"] == 0
        assert tiktok.spent == {before.refresh_token: 1}
        assert tiktok.reused == []

    def test_refresh_life(self, tiktok: TikTokServer) -> None:
        """Refreshing does not extend the refresh token's year."""
        before = tiktok.grant("expiring")
        tiktok.set_time_offset(1000)
        assert refresh(tiktok, before.refresh_token)["data"]["refresh_token_expires_in"] == 31535000

    def test_refresh_life_extended(self) -> None:
        """Where it is told to, every refresh starts the year anew."""
        with TikTokServer(refresh_extends=True) as server:
            before = server.grant("expiring")
            server.set_time_offset(1000)
            assert refresh(server, before.refresh_token)["data"]["refresh_token_expires_in"] == 31536000

    def test_old_token_dies(self) -> None:
        """Where it is told to, the old access token dies with the refresh."""
        with TikTokServer(keep_old_access_token=False) as server:
            before = server.grant("expiring")
            data = refresh(server, before.refresh_token)["data"]
            assert accounts(server, before.access_token)["code"] == 40105
            assert server.is_alive(data["access_token"])

    def test_reuse(self, tiktok: TikTokServer) -> None:
        """A spent refresh token is refused and recorded, and the grant lives on."""
        before = tiktok.grant("expiring")
        after = refresh(tiktok, before.refresh_token)["data"]
        assert refresh(tiktok, before.refresh_token)["code"] == 40107
        assert tiktok.reused == [before.refresh_token]
        assert tiktok.spent[str(before.refresh_token)] == 2
        assert refresh(tiktok, after["refresh_token"])["code"] == 0

    def test_reuse_punished(self) -> None:
        """Where reuse is punished, it costs the whole grant."""
        with TikTokServer(punish_reuse=True) as server:
            before = server.grant("expiring")
            after = refresh(server, before.refresh_token)["data"]
            assert refresh(server, before.refresh_token)["code"] == 40107
            assert refresh(server, after["refresh_token"])["code"] == 40107
            assert accounts(server, after["access_token"])["code"] == 40105
            assert server.reused == [before.refresh_token]

    @pytest.mark.parametrize(("rotation", "answered"), [("same", True), ("omitted", False)])
    def test_same_refresh_token(self, rotation: Any, answered: bool) -> None:
        """A refresh that answers without a new refresh token leaves the old one good."""
        with TikTokServer(rotation=rotation) as server:
            before = server.grant("expiring")
            data = refresh(server, before.refresh_token)["data"]
            assert data.get("refresh_token") == (before.refresh_token if answered else None)
            assert data["access_token"] != before.access_token
            assert refresh(server, before.refresh_token)["code"] == 0
            assert server.reused == []

    def test_at_once(self, tiktok: TikTokServer) -> None:
        """Of many who present the same refresh token at once exactly one is served."""
        grant = tiktok.grant("expiring")
        with ThreadPoolExecutor(8) as threads:
            codes = list(threads.map(lambda _: refresh(tiktok, grant.refresh_token)["code"], range(8)))
        assert sorted(codes) == [0] + [40107] * 7
        assert len(tiktok.reused) == 7

    @pytest.mark.parametrize(("seconds", "code"), [(31535999, 0), (31536000, 40103)])
    def test_expired(self, tiktok: TikTokServer, seconds: int, code: int) -> None:
        """A refresh token ends after its year."""
        grant = tiktok.grant("expiring")
        tiktok.set_time_offset(seconds)
        assert refresh(tiktok, grant.refresh_token)["code"] == code

    def test_long_lived(self, tiktok: TikTokServer) -> None:
        """A long-lived token cannot be refreshed."""
        assert refresh(tiktok, tiktok.grant().access_token)["code"] == 40107

    def test_grant_type(self, tiktok: TikTokServer) -> None:
        """Another grant type is refused and spends nothing."""
        grant = tiktok.grant("expiring")
        assert refresh(tiktok, grant.refresh_token, grant_type="password")["code"] == 40108
        assert refresh(tiktok, grant.refresh_token)["code"] == 0

    def test_other_app(self, tiktok: TikTokServer) -> None:
        """Another app's refresh token is invalid."""
        tiktok.add_app("7000000000000000099", "another secret")
        grant = tiktok.grant("expiring", app_id="7000000000000000099")
        assert refresh(tiktok, grant.refresh_token)["code"] == 40107

    def test_wrong_secret(self, tiktok: TikTokServer) -> None:
        """A wrong secret spends nothing."""
        grant = tiktok.grant("expiring")
        assert refresh(tiktok, grant.refresh_token, secret="wrong")["code"] == 40101
        assert refresh(tiktok, grant.refresh_token)["code"] == 0


class TestRevoke:
    def test_call(self, tiktok: TikTokServer) -> None:
        """Revoking says what is no longer reached and ends both tokens."""
        grant = tiktok.grant("expiring")
        answer = post(tiktok, "/oauth2/revoke_token/", access_token=grant.access_token)
        assert answer["data"] == {"app_id": APP_ID, "advertiser_ids": ACCOUNTS}
        assert accounts(tiktok, grant.access_token)["code"] == 40105
        assert refresh(tiktok, grant.refresh_token)["code"] == 40107
        assert post(tiktok, "/oauth2/revoke_token/", access_token=grant.access_token)["code"] == 40105

    def test_by_the_advertiser(self, tiktok: TikTokServer) -> None:
        """What an advertiser takes back is dead at once."""
        grant = tiktok.grant()
        assert tiktok.is_alive(grant.access_token)
        tiktok.revoke(grant.access_token)
        assert not tiktok.is_alive(grant.access_token)
        assert tiktok.grants[0].revoked
        assert get(tiktok, "/user/info/", grant.access_token)["code"] == 40105

    def test_other_app(self, tiktok: TikTokServer) -> None:
        """An app cannot revoke another one's token."""
        tiktok.add_app("7000000000000000099", "another secret")
        grant = tiktok.grant(app_id="7000000000000000099")
        answer = post(tiktok, "/oauth2/revoke_token/", access_token=grant.access_token)
        assert (answer["code"], tiktok.is_alive(grant.access_token)) == (40000, True)


class TestReading:
    def test_accounts(self, tiktok: TikTokServer) -> None:
        """The ad accounts come with their names, and follow what the grant reaches now."""
        grant = tiktok.grant()
        assert accounts(tiktok, grant.access_token)["data"]["list"][0] == {
            "advertiser_id": "7000000000000000001",
            "advertiser_name": "Acme Shoes, Europe",
        }
        tiktok.set_advertisers(grant.access_token, ["7000000000000000077"])
        listed = accounts(tiktok, grant.access_token)["data"]["list"]
        assert [row["advertiser_id"] for row in listed] == ["7000000000000000077"]

    def test_token_needed(self, tiktok: TikTokServer) -> None:
        """A missing token and an unknown one are told apart."""
        assert accounts(tiktok, None)["code"] == 40104
        assert accounts(tiktok, "0" * 40)["code"] == 40105

    def test_app_needed(self, tiktok: TikTokServer) -> None:
        """The list of ad accounts needs the app's credentials."""
        token = tiktok.grant().access_token
        assert get(tiktok, "/oauth2/advertiser/get/", token)["code"] == 40002
        assert accounts(tiktok, token, secret="wrong")["code"] == 40101

    def test_app_mismatch(self, tiktok: TikTokServer) -> None:
        """A token of another app is a parameter error that says so."""
        tiktok.add_app("7000000000000000099", "another secret")
        answer = accounts(tiktok, tiktok.grant(app_id="7000000000000000099").access_token)
        assert answer["code"] == 40000
        assert "app_id is inconsistent with the token's app information" in answer["message"]

    @pytest.mark.parametrize(("scope", "code"), [([100], 0), ([10], 0), ([1], 0), ([4, 200], 40001)])
    def test_permission(self, tiktok: TikTokServer, scope: list[int], code: int) -> None:
        """Without the permission the list is refused while the token still tells who approved."""
        token = tiktok.grant(scope=scope).access_token
        assert accounts(tiktok, token)["code"] == code
        user = get(tiktok, "/user/info/", token)
        assert set(user["data"]) == {"core_user_id", "display_name", "email", "create_time"}

    def test_details(self, tiktok: TikTokServer) -> None:
        """Details of ad accounts hold the fields that were asked for."""
        token = tiktok.grant().access_token
        answer = get(tiktok, "/advertiser/info/", token, advertiser_ids=ACCOUNTS[:1], fields=["name", "currency"])
        assert answer["data"]["list"] == [
            {"advertiser_id": ACCOUNTS[0], "name": "Acme Shoes, Europe", "currency": "EUR"}
        ]

    @pytest.mark.parametrize(
        ("ids", "code"), [([], 40002), (["7"] * 101, 40002), (["7000000000000000088"], 40001), ("7", 40002)]
    )
    def test_details_refused(self, tiktok: TikTokServer, ids: object, code: int) -> None:
        """No ids, over a hundred, foreign ones and what is no list are refused."""
        assert get(tiktok, "/advertiser/info/", tiktok.grant().access_token, advertiser_ids=ids)["code"] == code


class TestQuota:
    def test_second(self) -> None:
        """Calls beyond the quota of a second are refused until the second is over."""
        with TikTokServer(qps=3) as server:
            server.clock = lambda: NOW
            token = server.grant().access_token
            assert [get(server, "/user/info/", token)["code"] for _ in range(5)] == [0, 0, 0, 40100, 40100]
            server.set_time_offset(1)
            assert get(server, "/user/info/", token)["code"] == 0

    def test_minute(self) -> None:
        """The minute's quota has a code of its own and counts for each app alone."""
        with TikTokServer(per_minute=2) as server:
            server.clock = lambda: NOW
            server.add_app("7000000000000000099", "another secret")
            token, other = server.grant().access_token, server.grant(app_id="7000000000000000099").access_token
            assert [get(server, "/user/info/", token)["code"] for _ in range(3)] == [0, 0, 40133]
            assert get(server, "/user/info/", other)["code"] == 0
            server.set_time_offset(60)
            assert get(server, "/user/info/", token)["code"] == 0

    def test_refused_exchange(self) -> None:
        """A call that the quota refuses takes no effect."""
        with TikTokServer(qps=1) as server:
            server.clock = lambda: NOW
            grant = server.grant("expiring")
            get(server, "/user/info/", grant.access_token)
            assert refresh(server, grant.refresh_token)["code"] == 40100
            assert server.spent == {}

    def test_most_in_a_window(self, tiktok: TikTokServer) -> None:
        """The most calls in any window can be told, by name too, pages left out."""
        token = tiktok.grant().access_token
        for _ in range(4):
            get(tiktok, "/user/info/", token)
        accounts(tiktok, token)
        requests.get(tiktok.authorize_url, timeout=10)
        assert tiktok.max_in_window(60) == 5
        assert tiktok.max_in_window(60, "user_info") == 4
        assert tiktok.max_in_window(1e-9) == 1


class TestRecord:
    def test_calls(self, tiktok: TikTokServer) -> None:
        """Calls are recorded with name and path, and what they brought is kept beside them."""
        grant = tiktok.grant("expiring")
        refresh(tiktok, grant.refresh_token)
        accounts(tiktok, grant.access_token)
        assert [(call.name, call.resource) for call in tiktok.calls] == [
            ("refresh_token", "/open_api/v1.3/oauth2/refresh_token/"),
            ("advertiser_get", "/open_api/v1.3/oauth2/advertiser/get/"),
        ]
        assert [call.name for call in tiktok.token_calls] == ["refresh_token"]
        assert tiktok.requests_of("refresh_token")[0]["refresh_token"] == grant.refresh_token
        assert tiktok.requests_of("advertiser_get") == [
            {"app_id": APP_ID, "secret": APP_SECRET, "Access-Token": grant.access_token}
        ]
        tiktok.forget_calls()
        assert tiktok.requests_of("refresh_token") == []

    def test_log(self) -> None:
        """A log line tells method, path and TikTok's code, and never what is in the query or a body."""
        lines: list[str] = []
        with TikTokServer(log=lines.append) as server:
            grant = server.grant("expiring")
            accounts(server, grant.access_token)
            refresh(server, grant.refresh_token)
            exchange(server, "0" * 40)
            requests.get(server.authorize_url, params={"app_id": APP_ID, "state": "marked-state"}, timeout=10)
        assert lines[0] == "GET /open_api/v1.3/oauth2/advertiser/get/ advertiser_get 0 OK"
        assert "access_token 40110" in lines[2]
        secret = (APP_SECRET, grant.access_token, str(grant.refresh_token), "marked-state")
        assert not [line for line in lines for word in secret if word in line]

    def test_repr(self, tiktok: TikTokServer) -> None:
        """A grant's repr holds no token."""
        grant = tiktok.grant("expiring")
        assert grant.access_token not in repr(grant)
        assert str(grant.refresh_token) not in repr(grant)


class TestControl:
    def control(self, server: TikTokServer, path: str, **body: object) -> requests.Response:
        return requests.post(f"{server.url}/_control/{path}", json=body, timeout=10)

    def test_kind(self, tiktok: TikTokServer) -> None:
        """The kind of grant can be changed from outside."""
        assert self.control(tiktok, "grant-kind", kind="expiring").status_code == 200
        assert tiktok.kind == "expiring"

    def test_authorize(self, tiktok: TikTokServer) -> None:
        """A code can be had without the page."""
        made = self.control(tiktok, "authorize", kind="expiring", advertisers=ACCOUNTS[1:], scope=[10]).json()
        data = exchange(tiktok, made["auth_code"])["data"]
        assert (data["advertiser_ids"], data["scope"]) == (ACCOUNTS[1:], [10])
        assert "refresh_token" in data

    def test_revoke(self, tiktok: TikTokServer) -> None:
        """A grant can be taken back by its token or by an ad account of it."""
        first, second = tiktok.grant(advertisers=ACCOUNTS[:1]), tiktok.grant(advertisers=ACCOUNTS[1:])
        self.control(tiktok, "revoke", access_token=first.access_token)
        assert [grant.revoked for grant in tiktok.grants] == [True, False]
        self.control(tiktok, "revoke", advertiser_id=ACCOUNTS[2])
        assert not tiktok.is_alive(second.access_token)

    def test_advertisers(self, tiktok: TikTokServer) -> None:
        """A grant's ad accounts can be changed from outside."""
        grant = tiktok.grant()
        self.control(tiktok, "advertisers", access_token=grant.access_token, advertiser_ids=ACCOUNTS[:1])
        assert tiktok.grants[0].advertiser_ids == (ACCOUNTS[0],)

    def test_grants(self, tiktok: TikTokServer) -> None:
        """Grants are listed with masked tokens unless the tokens are asked for."""
        grant = tiktok.grant("expiring")
        masked = requests.get(f"{tiktok.url}/_control/grants", timeout=10)
        assert grant.access_token not in masked.text
        assert masked.json()["grants"][0]["kind"] == "expiring"
        shown = requests.get(f"{tiktok.url}/_control/grants?reveal=1", timeout=10).json()["grants"][0]
        assert (shown["access_token"], shown["refresh_token"]) == (grant.access_token, grant.refresh_token)
        assert shown["alive"] is True

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("grant-kind", {"kind": "eternal"}),
            ("authorize", {"advertisers": "all"}),
            ("authorize", {"scope": ["10"]}),
            ("revoke", {}),
            ("advertisers", {"advertiser_ids": [1]}),
        ],
    )
    def test_bad(self, tiktok: TikTokServer, path: str, body: dict[str, object]) -> None:
        """A control that cannot be understood is a 400 that says why."""
        answer = self.control(tiktok, path, **body)
        assert answer.status_code == 400
        assert answer.json()["message"]


class TestState:
    def test_restart(self, tmp_path: Path) -> None:
        """Codes, grants and spent refresh tokens are there again after a restart, in a file only its owner reads."""
        path = tmp_path / "state" / "tiktok.json"
        with TikTokServer(path=path) as server:
            code, spent = server.authorize(), server.grant("expiring")
            kept = refresh(server, spent.refresh_token)["data"]
            revoked = server.grant()
            server.revoke(revoked.access_token)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert APP_SECRET not in path.read_text()
        with TikTokServer(path=path) as server:
            assert exchange(server, code)["code"] == 0
            assert accounts(server, kept["access_token"])["code"] == 0
            assert accounts(server, revoked.access_token)["code"] == 40105
            assert refresh(server, spent.refresh_token)["code"] == 40107
            assert refresh(server, kept["refresh_token"])["code"] == 0
        assert [file.name for file in path.parent.iterdir()] == ["tiktok.json"]

    @pytest.mark.parametrize("content", ["", "[]", "{}", '{"codes": {"x": 1}}'])
    def test_damaged(self, tmp_path: Path, content: str) -> None:
        """A file that is no state stops the start with a sentence that says what to do."""
        path = tmp_path / "tiktok.json"
        path.write_text(content)
        with pytest.raises(CannotStart, match="remove it to start afresh"):
            TikTokServer(path=path)
