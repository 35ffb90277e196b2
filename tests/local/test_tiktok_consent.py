"""The simulated consent page, opened and answered as a browser would."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from local.tiktok import APP_ID, APP_SECRET, TikTokServer

REDIRECT = "http://localhost:8080"


class Form(HTMLParser):
    """The fields that a browser would send if nothing was changed, and where to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action = ""
        self.fields: list[tuple[str, str]] = []
        self.decisions: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action = given["action"]
        elif tag == "button":
            self.decisions.append(given["value"])
        elif tag == "input" and (given["type"] == "hidden" or "checked" in given):
            self.fields.append((given["name"], given["value"]))

    def without(self, *names: str) -> list[tuple[str, str]]:
        return [(name, value) for name, value in self.fields if name not in names]


@pytest.fixture
def tiktok() -> Iterator[TikTokServer]:
    with TikTokServer() as server:
        yield server


def opened(server: TikTokServer, path: str = "/portal/auth", **changes: str) -> requests.Response:
    query = {"app_id": APP_ID, "state": "st.ate", "redirect_uri": REDIRECT} | changes
    return requests.get(server.url + path, params=query, timeout=10)


def sent(server: TikTokServer, action: str, fields: list[tuple[str, str]], decision: str) -> requests.Response:
    return requests.post(server.url + action, data=[*fields, ("decision", decision)], allow_redirects=False, timeout=10)


def exchanged(server: TikTokServer, code: str) -> dict[str, Any]:
    body = {"app_id": APP_ID, "secret": APP_SECRET, "auth_code": code}
    data: dict[str, Any] = requests.post(f"{server.api_url}/oauth2/access_token/", json=body, timeout=10).json()["data"]
    return data


def answered(response: requests.Response) -> tuple[str, dict[str, list[str]]]:
    assert response.status_code == 302
    address, _, query = response.headers["Location"].partition("?")
    return address, parse_qs(query)


class TestChoice:
    def test_shows(self, tiktok: TikTokServer) -> None:
        """The page says that it is a simulation and lists every ad account and the kinds of grant."""
        page = opened(tiktok)
        assert page.status_code == 200
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert page.headers["Cache-Control"] == "no-store"
        assert "Simulation" in page.text
        assert "Acme Shoes, Europe" in page.text
        assert "<script" not in page.text
        form = Form(page.text)
        assert [value for name, value in form.fields if name == "advertiser_id"] == [
            "7000000000000000001",
            "7000000000000000002",
            "7000000000000000003",
        ]
        assert form.decisions == ["decline", "confirm"]

    @pytest.mark.parametrize("kind", ["long-lived", "expiring"])
    def test_kind_preset(self, tiktok: TikTokServer, kind: Any) -> None:
        """The server's kind of grant is chosen beforehand."""
        tiktok.kind = kind
        assert ("kind", kind) in Form(opened(tiktok).text).fields

    @pytest.mark.parametrize("path", ["/portal/auth", "/marketing_api/auth"])
    def test_confirm(self, tiktok: TikTokServer, path: str) -> None:
        """Confirming leads back with the code twice and the state, at the old address of the page too."""
        form = Form(opened(tiktok, path).text)
        assert form.action == path
        address, query = answered(sent(tiktok, form.action, form.fields, "confirm"))
        assert address == REDIRECT
        assert list(query) == ["auth_code", "code", "state"]
        assert query["auth_code"] == query["code"]
        assert re.fullmatch(r"[0-9a-f]{40}", query["code"][0])
        assert query["state"] == ["st.ate"]
        assert len(exchanged(tiktok, query["code"][0])["advertiser_ids"]) == 3

    def test_what_was_chosen(self, tiktok: TikTokServer) -> None:
        """The ticked ad accounts, the chosen kind and the asked permissions are what is granted."""
        form = Form(opened(tiktok, scope="[200,4]").text)
        fields = [
            *form.without("advertiser_id", "kind"),
            ("advertiser_id", "7000000000000000002"),
            ("kind", "expiring"),
        ]
        _, query = answered(sent(tiktok, form.action, fields, "confirm"))
        data = exchanged(tiktok, query["code"][0])
        assert (data["advertiser_ids"], data["scope"]) == (["7000000000000000002"], [200, 4])
        assert "refresh_token" in data

    def test_none_ticked(self, tiktok: TikTokServer) -> None:
        """With no ad account ticked there is a code all the same."""
        form = Form(opened(tiktok).text)
        _, query = answered(sent(tiktok, form.action, form.without("advertiser_id"), "confirm"))
        assert exchanged(tiktok, query["code"][0])["advertiser_ids"] == []

    def test_state_echoed(self, tiktok: TikTokServer) -> None:
        """Whatever the state holds, it comes back as it was and cannot break the page."""
        state = '"><b>&x=1#é +%'
        page = opened(tiktok, state=state)
        assert "<b>&x" not in page.text
        form = Form(page.text)
        _, query = answered(sent(tiktok, form.action, form.fields, "confirm"))
        assert query["state"] == [state]

    def test_no_state(self, tiktok: TikTokServer) -> None:
        """Without a state none comes back."""
        query = {"app_id": APP_ID, "redirect_uri": REDIRECT}
        form = Form(requests.get(tiktok.authorize_url, params=query, timeout=10).text)
        _, found = answered(sent(tiktok, form.action, form.fields, "confirm"))
        assert set(found) == {"auth_code", "code"}

    def test_calls(self, tiktok: TikTokServer) -> None:
        """Opening, confirming, declining and returning are recorded under names of their own."""
        form = Form(opened(tiktok).text)
        for decision in ("confirm", "decline", "return", "nonsense"):
            sent(tiktok, form.action, form.fields, decision)
        names = [call.name for call in tiktok.calls]
        assert names == ["consent_page", "consent_confirm", "consent_decline", "consent_return", "unknown"]

    def test_foreign_account(self, tiktok: TikTokServer) -> None:
        """An ad account that the page did not offer cannot be granted."""
        form = Form(opened(tiktok).text)
        fields = [*form.fields, ("advertiser_id", "7000000000000000088")]
        assert sent(tiktok, form.action, fields, "confirm").status_code == 400
        assert sent(tiktok, form.action, [*form.without("kind"), ("kind", "x")], "confirm").status_code == 400


class TestDecline:
    def test_stays(self, tiktok: TikTokServer) -> None:
        """After a refusal TikTok stays on its own page, from which one can choose again."""
        form = Form(opened(tiktok).text)
        page = sent(tiktok, form.action, form.fields, "decline")
        assert page.status_code == 200
        assert "Nothing was shared" in page.text
        again = re.search(r'href="([^"]+)"', page.text)
        assert again is not None
        assert requests.get(tiktok.url + again[1].replace("&amp;", "&"), timeout=10).status_code == 200

    def test_returns_with_an_error(self, tiktok: TikTokServer) -> None:
        """The simulation can lead back with an error instead of a code."""
        form = Form(opened(tiktok).text)
        declined = Form(sent(tiktok, form.action, form.fields, "decline").text)
        address, query = answered(sent(tiktok, declined.action, declined.fields, "return"))
        assert address == REDIRECT
        assert query["error"] == ["access_denied"]
        assert query["state"] == ["st.ate"]
        assert "error_description" in query
        assert "code" not in query


class TestRefused:
    def test_unknown_app(self, tiktok: TikTokServer) -> None:
        """An unknown app gets no consent page."""
        assert opened(tiktok, app_id="1").status_code == 400

    @pytest.mark.parametrize(
        "address",
        [
            "",
            "http://example.com/",
            "javascript:alert(1)",
            "http://localhost\r\nX: y",
            "https://é/",
            "https://[",
            "//x",
        ],
    )
    def test_bad_redirect(self, tiktok: TikTokServer, address: str) -> None:
        """An address that TikTok would never redirect to is refused, at the form too."""
        assert opened(tiktok, redirect_uri=address).status_code == 400
        fields = [("app_id", APP_ID), ("redirect_uri", address)]
        assert sent(tiktok, "/portal/auth", fields, "confirm").status_code == 400

    @pytest.mark.parametrize("address", ["https://example.com/x", "http://127.0.0.1:9", "http://[::1]:9/", REDIRECT])
    def test_good_redirect(self, tiktok: TikTokServer, address: str) -> None:
        """Where nothing is registered, https and this machine are accepted."""
        form = Form(opened(tiktok, redirect_uri=address).text)
        assert answered(sent(tiktok, form.action, form.fields, "confirm"))[0] == address

    @pytest.mark.parametrize(("address", "status"), [(REDIRECT, 200), (REDIRECT + "/", 400), ("https://x.test", 400)])
    def test_registered(self, address: str, status: int) -> None:
        """Registered addresses are compared exactly."""
        with TikTokServer(redirect_urls=[REDIRECT]) as server:
            assert opened(server, redirect_uri=address).status_code == status

    def test_method(self, tiktok: TikTokServer) -> None:
        """The page is read or posted to, nothing else."""
        assert requests.put(tiktok.authorize_url, timeout=10).status_code == 405


def test_addresses(tiktok: TikTokServer) -> None:
    """The two addresses are those that the functions' settings take."""
    assert urlsplit(tiktok.authorize_url).path == "/portal/auth"
    assert urlsplit(tiktok.api_url).path == "/open_api/v1.3"
