"""The simulated consent pages, opened and answered as a browser would.

That people can tick, choose, decline and go back is proved in `browser`, in front of the product.
"""

from urllib.parse import parse_qs

import pytest
import requests

from emulators.tiktok import APP_ID, TikTokServer
from tiktok_client import CLIENT, Form, post

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


def answered(response: requests.Response) -> dict[str, list[str]]:
    """The query of a redirect to the app."""
    address, _, query = response.headers["Location"].partition("?")
    assert (response.status_code, address) == (302, REDIRECT)
    return parse_qs(query)


@both
def test_a_page_says_that_it_is_a_simulation(tiktok: TikTokServer, path: str) -> None:
    """It needs no script, and is not kept; each step has a name of its own in the record of calls."""
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


class TestRefused:
    @both
    @pytest.mark.parametrize("address", ["http://example.com/", "https://["])
    def test_an_address_that_tiktok_would_never_redirect_to(
        self, tiktok: TikTokServer, path: str, address: str
    ) -> None:
        """It gets no page, and no form works; nor does an unknown app."""
        assert opened(tiktok, path, redirect_uri=address).status_code == 400
        fields = {**QUERIES[path], "redirect_uri": address, "decision": "confirm"}
        assert requests.post(tiktok.url + path, data=fields, timeout=10).status_code == 400
        assert opened(tiktok, path, app_id="1", client_key="1").status_code == 400

    def test_what_the_page_did_not_offer(self, tiktok: TikTokServer) -> None:
        """It cannot be granted."""
        for path, field in ((ADVERTISER, "advertiser_id"), (ADVERTISER, "kind"), (ACCOUNT, "account")):
            assert sent(tiktok, Form(opened(tiktok, path).text), "confirm", (field, "7088")).status_code == 400, field

    def test_an_accounts_page_that_lacks_something(self, tiktok: TikTokServer) -> None:
        """Scope and response type are required; redirect URLs end with a slash and have neither port nor query."""
        addresses = [f"https://example.com{end}" for end in ("", ":8443/", "/?a=/")]
        wrong = [{"scope": ","}, {"response_type": ""}, *({"redirect_uri": address} for address in addresses)]
        assert [opened(tiktok, ACCOUNT, **one).status_code for one in wrong] == [400] * 5


def test_confirmed_by_an_account_holder(tiktok: TikTokServer) -> None:
    """The code comes back with the scopes and the state, and is exchanged only with the redirect URL it went to."""
    page = opened(tiktok, ACCOUNT).text
    assert "Read your public videos (video.list)" in page
    query = answered(sent(tiktok, Form(page), "confirm", ("account", "acme.outlet")))
    assert (list(query), query["scopes"], query["state"]) == (["code", "scopes", "state"], [SCOPE], ["st.ate"])
    body = CLIENT | {"grant_type": "authorization_code", "auth_code": query["code"][0]}
    addresses = ("http://127.0.0.1:8080/", REDIRECT)
    codes = [post(tiktok, "/tt_user/oauth2/token/", **body, redirect_uri=address)["code"] for address in addresses]
    assert codes == [40002, 0]
    assert (tiktok.grants[0].username, tiktok.grants[0].scope) == ("acme.outlet", tuple(SCOPE.split(",")))


def test_an_account_holders_no_and_a_scope_that_the_app_does_not_hold(tiktok: TikTokServer) -> None:
    """Both lead back with an error; the scope is not named."""
    query = answered(sent(tiktok, Form(opened(tiktok, ACCOUNT).text), "decline"))
    assert (list(query), query["error"]) == (["error", "error_description", "state"], ["access_denied"])
    query = answered(opened(tiktok, ACCOUNT, scope="user.info.basic,other"))
    assert (query["error"], "other" in str(query)) == (["invalid_scope"], False)
