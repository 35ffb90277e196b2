"""The simulated consent pages, opened and answered as a browser would."""

import re
from urllib.parse import parse_qs

import pytest
import requests

from emulators.tiktok import APP_ID, Options, TikTokServer
from tiktok_client import CLIENT, CREDENTIALS, Form, post

REDIRECT = "http://localhost:8080/"
SCOPE = "user.info.basic,video.list"
QUERIES: dict[str, dict[str, str]] = {
    "/portal/auth": {"app_id": APP_ID, "state": "st.ate", "redirect_uri": REDIRECT},
    "/v2/auth/authorize": {
        "client_key": APP_ID,
        "response_type": "code",
        "scope": SCOPE,
        "redirect_uri": REDIRECT,
        "state": "st.ate",
        "disable_auto_auth": "1",
    },
}
ADVERTISER, ACCOUNT = QUERIES
both = pytest.mark.parametrize("path", list(QUERIES))


def opened(server: TikTokServer, path: str, **changes: str) -> requests.Response:
    return requests.get(server.url + path, params=QUERIES[path] | changes, allow_redirects=False, timeout=10)


def sent(server: TikTokServer, form: Form, decision: str, *changes: tuple[str, str]) -> requests.Response:
    fields = [*form.changed(*changes), ("decision", decision)]
    return requests.post(server.url + form.action, data=fields, allow_redirects=False, timeout=10)


def answered(response: requests.Response) -> tuple[str, dict[str, list[str]]]:
    """Where a redirect leads, and its query."""
    assert response.status_code == 302
    address, _, query = response.headers["Location"].partition("?")
    return address, parse_qs(query)


class TestBoth:
    @both
    def test_page(self, tiktok: TikTokServer, path: str) -> None:
        """A page says that it is a simulation, needs no script, and is not kept; each step has a name of its own."""
        page = opened(tiktok, path)
        assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert page.headers["Cache-Control"] == "no-store"
        assert "Simulation" in page.text
        assert "<script" not in page.text
        form = Form(page.text)
        assert form.decisions == ["decline", "confirm"]
        for decision in ("confirm", "decline", "x"):
            sent(tiktok, form, decision)
        assert [call.name for call in tiktok.calls] == ["consent_page", "consent_confirm", "consent_decline", "unknown"]

    @both
    @pytest.mark.parametrize("address", ["http://example.com/", "https://["])
    def test_refused(self, tiktok: TikTokServer, path: str, address: str) -> None:
        """An address that TikTok would never redirect to gets no page, and no form works; nor does an unknown app."""
        assert opened(tiktok, path, redirect_uri=address).status_code == 400
        fields = {**QUERIES[path], "redirect_uri": address, "decision": "confirm"}
        assert requests.post(tiktok.url + path, data=fields, timeout=10).status_code == 400
        assert opened(tiktok, path, app_id="1", client_key="1").status_code == 400

    @pytest.mark.parametrize(
        ("path", "field"),
        [
            (ADVERTISER, ("advertiser_id", "7000000000000000088")),
            (ADVERTISER, ("kind", "x")),
            (ACCOUNT, ("account", "x")),
        ],
    )
    def test_foreign_form(self, tiktok: TikTokServer, path: str, field: tuple[str, str]) -> None:
        """What the page did not offer cannot be granted."""
        assert sent(tiktok, Form(opened(tiktok, path).text), "confirm", field).status_code == 400


class TestAdvertiser:
    @pytest.mark.parametrize("path", ["/portal/auth", "/marketing_api/auth"])
    def test_confirm(self, tiktok: TikTokServer, path: str) -> None:
        """Confirming leads back with the code twice and the state, at the old address of the page too."""
        form = Form(requests.get(tiktok.url + path, params=QUERIES[ADVERTISER], timeout=10).text)
        assert form.action == path
        address, query = answered(sent(tiktok, form, "confirm"))
        assert (address, list(query), query["state"]) == (REDIRECT, ["auth_code", "code", "state"], ["st.ate"])
        assert query["auth_code"] == query["code"]

    def test_what_was_chosen(self, tiktok: TikTokServer) -> None:
        """The ticked ad accounts, the chosen kind and the asked permissions are what is granted."""
        tiktok.options = Options(kind="expiring")
        form = Form(opened(tiktok, ADVERTISER, scope="[200,4]").text)
        code = answered(sent(tiktok, form, "confirm", ("advertiser_id", "7000000000000000002")))[1]["code"][0]
        data = post(tiktok, "/oauth2/access_token/", **CREDENTIALS, auth_code=code)["data"]
        assert (data["advertiser_ids"], data["scope"]) == (["7000000000000000002"], [200, 4])
        assert "refresh_token" in data

    def test_decline(self, tiktok: TikTokServer) -> None:
        """After a refusal TikTok stays on its own page, from which one can choose again or return with an error."""
        page = sent(tiktok, Form(opened(tiktok, ADVERTISER).text), "decline")
        assert (page.status_code, "Nothing was shared" in page.text) == (200, True)
        again = re.search(r'href="([^"]+)"', page.text)
        assert again is not None
        assert requests.get(tiktok.url + again[1].replace("&amp;", "&"), timeout=10).status_code == 200
        address, query = answered(sent(tiktok, Form(page.text), "return"))
        assert (address, query["error"], query["state"]) == (REDIRECT, ["access_denied"], ["st.ate"])
        assert "code" not in query


class TestAccount:
    def exchanged(self, tiktok: TikTokServer, code: str) -> int:
        body = CLIENT | {"grant_type": "authorization_code", "auth_code": code, "redirect_uri": REDIRECT}
        return int(post(tiktok, "/tt_user/oauth2/token/", **body)["code"])

    def test_confirm(self, tiktok: TikTokServer) -> None:
        """Confirming leads back with a code, the scopes and the state; the grant is the chosen account's."""
        page = opened(tiktok, ACCOUNT).text
        assert "Read your public videos (video.list)" in page
        answer = sent(tiktok, Form(page), "confirm", ("account", "acme.outlet"))
        address, query = answered(answer)
        assert (address, list(query)) == (REDIRECT, ["code", "scopes", "state"])
        assert (query["scopes"], query["state"]) == ([SCOPE], ["st.ate"])
        assert self.exchanged(tiktok, query["code"][0]) == 0
        assert (tiktok.grants[0].username, tiktok.grants[0].scope) == ("acme.outlet", tuple(SCOPE.split(",")))

    def test_redirect_uri_is_remembered(self, tiktok: TikTokServer) -> None:
        """A code of the page is exchanged only with the redirect URL that it was sent to."""
        form = Form(opened(tiktok, ACCOUNT, redirect_uri="http://127.0.0.1:8080/").text)
        assert self.exchanged(tiktok, answered(sent(tiktok, form, "confirm"))[1]["code"][0]) == 40002

    def test_errors(self, tiktok: TikTokServer) -> None:
        """Declining leads back with an error, and so does a scope that the app does not hold, unnamed."""
        query = answered(sent(tiktok, Form(opened(tiktok, ACCOUNT).text), "decline"))[1]
        assert (list(query), query["error"]) == (["error", "error_description", "state"], ["access_denied"])
        query = answered(opened(tiktok, ACCOUNT, scope="user.info.basic,other"))[1]
        assert (query["error"], "other" in str(query)) == (["invalid_scope"], False)

    def test_incomplete(self, tiktok: TikTokServer) -> None:
        """Scope and response type are required; redirect URLs end with a slash and have neither port nor query."""
        addresses = [f"https://example.com{end}" for end in ("", ":8443/", "/?a=/")]
        wrong = [{"scope": ","}, {"response_type": ""}, *({"redirect_uri": address} for address in addresses)]
        assert [opened(tiktok, ACCOUNT, **one).status_code for one in wrong] == [400] * 5

    def test_auto_auth(self, tiktok: TikTokServer) -> None:
        """Without disable_auto_auth a holder who granted the same before is sent on without a page."""
        assert opened(tiktok, ACCOUNT, disable_auto_auth="").status_code == 200
        grant = tiktok.grant_account("acme.outlet", SCOPE.split(","))
        assert opened(tiktok, ACCOUNT).status_code == 200
        assert "code" in answered(opened(tiktok, ACCOUNT, disable_auto_auth=""))[1]
        tiktok.revoke(grant.access_token)
        assert opened(tiktok, ACCOUNT, disable_auto_auth="").status_code == 200
