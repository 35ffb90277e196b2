"""The simulated consent pages, opened and answered as a browser would."""

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from local.tiktok import APP_ID, Options, TikTokServer
from tiktok_client import CLIENT, CREDENTIALS, Form, post

REDIRECT = "http://localhost:8080"
SCOPE = "user.info.basic,video.list"
QUERIES: dict[str, dict[str, str]] = {
    "/portal/auth": {"app_id": APP_ID, "state": "st.ate", "redirect_uri": REDIRECT},
    "/v2/auth/authorize": {
        "client_key": APP_ID,
        "response_type": "code",
        "scope": SCOPE,
        "redirect_uri": REDIRECT + "/",
        "state": "st.ate",
        "disable_auto_auth": "1",
    },
}
ADVERTISER, ACCOUNT = QUERIES
both = pytest.mark.parametrize("path", list(QUERIES))


def opened(server: TikTokServer, path: str, **changes: str) -> requests.Response:
    return requests.get(server.url + path, params=QUERIES[path] | changes, allow_redirects=False, timeout=10)


def sent(server: TikTokServer, action: str, fields: list[tuple[str, str]], decision: str) -> requests.Response:
    return requests.post(server.url + action, data=[*fields, ("decision", decision)], allow_redirects=False, timeout=10)


def answered(response: requests.Response) -> tuple[str, dict[str, list[str]]]:
    """Where a redirect leads, and its query."""
    assert response.status_code == 302
    address, _, query = response.headers["Location"].partition("?")
    return address, parse_qs(query)


class TestBoth:
    @both
    def test_page(self, tiktok: TikTokServer, path: str) -> None:
        """A page says that it is a simulation, needs no script, and is not kept."""
        page = opened(tiktok, path)
        assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert page.headers["Cache-Control"] == "no-store"
        assert "Simulation" in page.text
        assert "<script" not in page.text
        assert Form(page.text).decisions == ["decline", "confirm"]

    @both
    def test_calls(self, tiktok: TikTokServer, path: str) -> None:
        """Every step is recorded under a name of its own."""
        form = Form(opened(tiktok, path).text)
        for decision in ("confirm", "decline", "x"):
            sent(tiktok, form.action, form.fields, decision)
        names = [call.name for call in tiktok.calls]
        assert names == ["consent_page", "consent_confirm", "consent_decline", "unknown"]

    @both
    def test_unknown_app(self, tiktok: TikTokServer, path: str) -> None:
        """An unknown app gets no consent page."""
        assert opened(tiktok, path, app_id="1", client_key="1").status_code == 400

    @both
    @pytest.mark.parametrize(
        "address", ["", "http://example.com/", "javascript:alert(1)", "http://localhost\r\nX: y", "https://[", "//x/"]
    )
    def test_bad_redirect(self, tiktok: TikTokServer, path: str, address: str) -> None:
        """An address that TikTok would never redirect to is refused, at the form too."""
        assert opened(tiktok, path, redirect_uri=address).status_code == 400
        fields = list((QUERIES[path] | {"redirect_uri": address}).items())
        assert sent(tiktok, path, fields, "confirm").status_code == 400

    @both
    @pytest.mark.parametrize("address", ["https://example.com/x/", "http://127.0.0.1:9/", "http://[::1]:9/"])
    def test_good_redirect(self, tiktok: TikTokServer, path: str, address: str) -> None:
        """Where nothing is registered, https and this machine are accepted."""
        form = Form(opened(tiktok, path, redirect_uri=address).text)
        assert answered(sent(tiktok, form.action, form.fields, "confirm"))[0] == address

    @both
    def test_registered(self, tiktok: TikTokServer, path: str) -> None:
        """Registered addresses are compared exactly."""
        address = QUERIES[path]["redirect_uri"]
        tiktok.options = Options(redirect_urls=(address,), account_redirect_urls=(address,))
        assert opened(tiktok, path).status_code == 200
        assert opened(tiktok, path, redirect_uri=address + "x/").status_code == 400

    @both
    def test_method(self, tiktok: TikTokServer, path: str) -> None:
        """A page is read or posted to, nothing else."""
        assert requests.put(tiktok.url + path, timeout=10).status_code == 405

    def test_addresses(self, tiktok: TikTokServer) -> None:
        """The addresses are those that the functions' settings take."""
        assert urlsplit(tiktok.authorize_url).path == ADVERTISER
        assert urlsplit(tiktok.account_authorize_url).path == ACCOUNT
        assert urlsplit(tiktok.api_url).path == "/open_api/v1.3"


class TestAdvertiser:
    @pytest.mark.parametrize("path", ["/portal/auth", "/marketing_api/auth"])
    def test_confirm(self, tiktok: TikTokServer, path: str) -> None:
        """Confirming leads back with the code twice and the state, at the old address of the page too."""
        page = requests.get(tiktok.url + path, params=QUERIES[ADVERTISER], timeout=10)
        form = Form(page.text)
        assert "Acme Shoes, Europe" in page.text
        assert form.action == path
        address, query = answered(sent(tiktok, form.action, form.fields, "confirm"))
        assert address == REDIRECT
        assert list(query) == ["auth_code", "code", "state"]
        assert query["auth_code"] == query["code"]
        assert re.fullmatch(r"[0-9a-f]{40}", query["code"][0])
        assert query["state"] == ["st.ate"]

    def test_what_was_chosen(self, tiktok: TikTokServer) -> None:
        """The ticked ad accounts, the chosen kind and the asked permissions are what is granted."""
        tiktok.options = Options(kind="expiring")
        form = Form(opened(tiktok, ADVERTISER, scope="[200,4]").text)
        assert ("kind", "expiring") in form.fields
        fields = form.changed(("advertiser_id", "7000000000000000002"))
        code = answered(sent(tiktok, form.action, fields, "confirm"))[1]["code"][0]
        data = post(tiktok, "/oauth2/access_token/", **CREDENTIALS, auth_code=code)["data"]
        assert (data["advertiser_ids"], data["scope"]) == (["7000000000000000002"], [200, 4])
        assert "refresh_token" in data

    def test_details(self, tiktok: TikTokServer) -> None:
        """No ad account may be ticked, a state may be missing, and a redirect URL may have a query."""
        form = Form(
            requests.get(tiktok.authorize_url, params={"app_id": APP_ID, "redirect_uri": "https://x/?a=1"}).text
        )
        fields = [field for field in form.fields if field[0] != "advertiser_id"]
        answer = sent(tiktok, form.action, fields, "confirm")
        assert answer.headers["Location"].startswith("https://x/?a=1&auth_code=")
        assert "state" not in answer.headers["Location"]

    @pytest.mark.parametrize("field", [("advertiser_id", "7000000000000000088"), ("kind", "x")])
    def test_foreign_form(self, tiktok: TikTokServer, field: tuple[str, str]) -> None:
        """What the page did not offer cannot be granted."""
        form = Form(opened(tiktok, ADVERTISER).text)
        assert sent(tiktok, form.action, form.changed(field), "confirm").status_code == 400

    def test_decline(self, tiktok: TikTokServer) -> None:
        """After a refusal TikTok stays on its own page, from which one can choose again or return with an error."""
        form = Form(opened(tiktok, ADVERTISER).text)
        page = sent(tiktok, form.action, form.fields, "decline")
        assert (page.status_code, "Nothing was shared" in page.text) == (200, True)
        again = re.search(r'href="([^"]+)"', page.text)
        assert again is not None
        assert requests.get(tiktok.url + again[1].replace("&amp;", "&"), timeout=10).status_code == 200
        declined = Form(page.text)
        address, query = answered(sent(tiktok, declined.action, declined.fields, "return"))
        assert (address, query["error"], query["state"]) == (REDIRECT, ["access_denied"], ["st.ate"])
        assert "error_description" in query
        assert "code" not in query


class TestAccount:
    def confirmed(self, tiktok: TikTokServer, **changes: str) -> dict[str, list[str]]:
        form = Form(opened(tiktok, ACCOUNT, **changes).text)
        return answered(sent(tiktok, form.action, form.fields, "confirm"))[1]

    def exchanged(self, tiktok: TikTokServer, code: str) -> dict[str, Any]:
        body = CLIENT | {"grant_type": "authorization_code", "auth_code": code, "redirect_uri": REDIRECT + "/"}
        return post(tiktok, "/tt_user/oauth2/token/", **body)

    def test_shows(self, tiktok: TikTokServer) -> None:
        """The page offers two accounts and says which scopes are asked for."""
        page = opened(tiktok, ACCOUNT).text
        assert page.count('type="radio"') == 2
        assert all(text in page for text in ("@acme.shoes", "@acme.outlet", "Read your public videos (video.list)"))

    def test_confirm(self, tiktok: TikTokServer) -> None:
        """Confirming leads back with a code, the scopes and the state; the grant is the chosen account's."""
        form = Form(opened(tiktok, ACCOUNT).text)
        answer = sent(tiktok, form.action, form.changed(("account", "acme.outlet")), "confirm")
        address, query = answered(answer)
        assert address == REDIRECT + "/"
        assert list(query) == ["code", "scopes", "state"]
        assert (query["scopes"], query["state"]) == ([SCOPE], ["st.ate"])
        assert "%2A0%21" in answer.headers["Location"]
        assert self.exchanged(tiktok, query["code"][0])["data"]["scope"] == SCOPE
        assert tiktok.grants[0].username == "acme.outlet"

    def test_redirect_uri_is_remembered(self, tiktok: TikTokServer) -> None:
        """A code of the page is exchanged only with the redirect URL that it was sent to."""
        code = self.confirmed(tiktok, redirect_uri="http://127.0.0.1:8080/")["code"][0]
        assert self.exchanged(tiktok, code)["code"] == 40002

    def test_decline(self, tiktok: TikTokServer) -> None:
        """Declining leads back with an error."""
        form = Form(opened(tiktok, ACCOUNT).text)
        query = answered(sent(tiktok, form.action, form.fields, "decline"))[1]
        assert list(query) == ["error", "error_description", "state"]
        assert query["error"] == ["access_denied"]

    def test_invalid_scope(self, tiktok: TikTokServer) -> None:
        """One scope that the app does not hold fails the request, which does not say which."""
        tiktok.options = Options(account_scopes=frozenset({"user.info.basic"}))
        query = answered(opened(tiktok, ACCOUNT))[1]
        assert (query["error"], query["state"]) == (["invalid_scope"], ["st.ate"])
        assert "video.list" not in str(query)

    @pytest.mark.parametrize("wrong", [{"scope": ""}, {"scope": ","}, {"response_type": ""}])
    def test_incomplete(self, tiktok: TikTokServer, wrong: dict[str, str]) -> None:
        """Scope and response type are required."""
        assert opened(tiktok, ACCOUNT, **wrong).status_code == 400

    @pytest.mark.parametrize(
        "address", ["https://example.com", "https://example.com:8443/", "https://example.com/?a=/"]
    )
    def test_redirect_form(self, tiktok: TikTokServer, address: str) -> None:
        """This family's redirect URLs end with a slash and have neither port nor query."""
        assert opened(tiktok, ACCOUNT, redirect_uri=address).status_code == 400

    def test_auto_auth(self, tiktok: TikTokServer) -> None:
        """Without disable_auto_auth a holder who granted the same before is sent on without a page."""
        assert opened(tiktok, ACCOUNT, disable_auto_auth="").status_code == 200
        grant = tiktok.grant_account("acme.outlet", SCOPE.split(","))
        code = answered(opened(tiktok, ACCOUNT, disable_auto_auth=""))[1]["code"][0]
        assert self.exchanged(tiktok, code)["data"]["open_id"] == grant.open_id
        assert opened(tiktok, ACCOUNT).status_code == 200
        tiktok.revoke(grant.access_token)
        tiktok.revoke(tiktok.grants[1].access_token)
        assert opened(tiktok, ACCOUNT, disable_auto_auth="").status_code == 200

    def test_foreign_form(self, tiktok: TikTokServer) -> None:
        """An account that the page did not offer cannot be granted."""
        form = Form(opened(tiktok, ACCOUNT).text)
        assert sent(tiktok, form.action, form.changed(("account", "x")), "confirm").status_code == 400
