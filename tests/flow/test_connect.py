"""The public function from outside, for advertisers: each step's good way, and what no other suite proves.

What the public address has to stand is in `security`, what goes wrong at TikTok and Secret Manager in
`reliability/test_callback_faults`, TikTok accounts are in `test_connect_account`.
"""

import html
import random
import re
import threading
import urllib.parse
from datetime import timedelta

import pytest
import requests

from emulators.serving import Fault
from flow.reading import assert_stored, nothing_was_used_or_written, refused, text_of
from security.raw import reference
from stage import APP_ID, PROJECT, REFRESH, TOKEN, Stage, free_port
from tiktok_client import Form
from tokenkeeper import clock

EUROPE, AMERICA, OUTLET = (f"700000000000000000{number}" for number in (1, 2, 3))
TRACE = "0af7651916cd43dd8448eb211c80319c"


class TestGoingToTikTok:
    def test_a_link_leads_to_tiktoks_consent_page(self, stage: Stage) -> None:
        """Its page shows the connection and until when; the button binds the flow to the browser, and no more."""
        before = clock.now()
        browser = stage.browser()
        assert "There is nothing to do here by itself." in text_of(browser.get("/"))
        page = browser.get(stage.link("acme-eu", timedelta(hours=2)))
        ends = {moment + timedelta(hours=2) for moment in (before, clock.now())}
        assert "Connect TikTok Ads to acme-eu" in text_of(page)
        assert any(f"{end.day} {end:%B %Y, %H:%M} UTC" in text_of(page) for end in ends)
        form = Form(page.text)
        assert form.action == f"{stage.connect.url}/start"
        sent = browser.post("/start", data=form.fields)
        assert (sent.status_code, len(page.cookies), len(sent.cookies)) == (303, 0, 1)
        address, _, query = sent.headers["Location"].partition("?")
        given = dict(urllib.parse.parse_qsl(query))
        assert address == stage.tiktok.authorize_url
        assert (given["app_id"], given["redirect_uri"], len(given)) == (APP_ID, stage.connect.url, 3)
        assert nothing_was_used_or_written(stage)

    @pytest.mark.parametrize("after", [".", "%22)%20", "%E2%80%9D"], ids=["a full stop", "a bracket", "a quote"])
    def test_what_follows_a_pasted_link_is_left_out(self, stage: Stage, after: str) -> None:
        """It is the sentence's around it."""
        link = stage.link()
        page = stage.browser().get(link + after)
        assert dict(Form(page.text).fields)["link"] == link.partition("=")[2]

    def test_a_button_that_does_nothing_has_a_link_beside_it_after_a_reload(self, stage: Stage) -> None:
        """A gateway may lead TikTok's page elsewhere, which browsers stop for a form and allow for a link."""
        browser, link = stage.browser(), stage.link()
        first = browser.get(link).text
        assert "If the button does nothing, reload this page" in first
        assert "<a href" not in first
        browser.begin(link)
        address = re.search(r'<a href="([^"]+)"', browser.get(link).text)
        assert address
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(html.unescape(address[1])).query)
        assert address[1].startswith(stage.tiktok.authorize_url)
        assert browser.come_back(stage.code(), query["state"][0]).status_code == 303
        browser.begin(stage.link("beta"))
        assert "<a href" not in browser.get(stage.link("gamma")).text  # begun with another link


class TestTheWholeWay:
    def test_a_long_lived_token_is_stored_byte_for_byte(self, stage: Stage) -> None:
        """The token secret holds what TikTok gave, and nothing else is made; `/done` may be reloaded.

        One notice in the log has the connection, its kind, how many advertisers, the link, the reference and the trace.
        """
        browser = stage.browser()
        browser.session.headers["traceparent"] = f"00-{TRACE}-b7ad6b7169203331-01"
        stage.approve(browser=browser)
        assert_stored(stage)
        assert set(stage.secrets.secrets()) == {TOKEN + "acme"}
        pages = [text_of(browser.get("/done")) for _ in range(2)]
        assert pages[0] == pages[1]
        assert re.search(r"TikTok Ads is connected to acme .* 3 ad accounts .* Acme Outlet", pages[0])
        entry = stage.connect.wait_for_event("connection.stored")
        assert re.fullmatch("[0-9a-f]{8}", entry.pop("reference"))
        assert entry == {
            "severity": "NOTICE",
            "message": "acme was connected.",
            "event": "connection.stored",
            "connection": "acme",
            "how": "connected",
            "family": "advertiser",
            "kind": "long-lived",
            "advertisers": 3,
            "link": stage.annotations()["last-link"],
            "logging.googleapis.com/trace": f"projects/{PROJECT}/traces/{TRACE}",
            "logging.googleapis.com/spanId": "b7ad6b7169203331",
        }

    def test_an_expiring_grant_is_stored_byte_for_byte(self, stage: Stage) -> None:
        """The refresh secret comes first, so that who is cut off has lost nothing; what was changed is not taken."""
        stage.approve(kind="expiring", advertisers=[EUROPE, AMERICA])
        assert_stored(stage, refresh_ends=clock.text(stage.time("acme", "obtained-at") + timedelta(days=365)))
        added = [call.resource for call in stage.secrets.calls if (call.name, call.status) == ("AddSecretVersion", 200)]
        assert [name.rpartition("/")[2] for name in added] == [REFRESH + "acme", TOKEN + "acme"]
        for name in added:
            version = requests.get(f"{stage.secrets.url}/v1/{name}/versions/1", timeout=10).json()
            assert version["clientSpecifiedPayloadChecksum"] is True

    def test_a_re_connection_is_the_next_version_of_the_same_secret(self, stage: Stage) -> None:
        """Readers change nothing; each call waits for the one before, and what need not be waited for runs beside."""
        browser, tokens = stage.browser(), []
        new = "GetSecret CreateSecret TestIamPermissions access_token AddSecretVersion UpdateSecret"
        again = "GetSecret UpdateSecret access_token AddSecretVersion UpdateSecret"
        for in_turn, beside in ((new, {"advertiser_get"}), (again, {"advertiser_get", "TestIamPermissions"})):
            state, code = browser.begin(stage.link()), stage.code()
            for server in (stage.secrets, stage.tiktok):
                server.forget_calls()
            assert browser.come_back(code, state).status_code == 303
            calls = sorted([*stage.secrets.calls, *stage.tiktok.calls], key=lambda call: call.at)
            assert [call.name for call in calls if call.name not in beside] == in_turn.split()
            tokens.append(stage.token())
        first, second = tokens
        assert len(stage.secrets.payloads(TOKEN + "acme")) == 2
        assert second["access_token"] != first["access_token"]
        assert second["obtained_at"] > first["obtained_at"]
        stored = stage.connect.entries("connection.stored")
        assert [entry["message"] for entry in stored] == ["acme was connected.", "acme was connected again."]


class TestNames:
    """Step 7: allowed to fail, and to take a few seconds at most."""

    def test_without_names_the_page_shows_ids(self, stage: Stage) -> None:
        """The connection is made, however long the names take."""
        stage.tiktok.add_fault(Fault("advertiser_get", do="hold", hold="x"))
        browser = stage.browser()
        stage.approve(advertisers=[EUROPE], browser=browser)
        page = text_of(browser.get("/done"))
        assert f"1 ad account {EUROPE} What to do next" in page
        assert stage.annotations()["advertiser-names"] == "{}"
        assert stage.alerts() == []

    def test_they_are_fetched_beside_storing(self, stage: Stage) -> None:
        """TikTok is asked before the token is stored, and one closing write has names, link and state together."""
        stage.tiktok.add_fault(Fault("advertiser_get", do="hold", hold="names"))
        stage.secrets.add_fault(Fault("AddSecretVersion", do="hold", hold="storing"))
        waiting = threading.Thread(target=stage.approve)
        waiting.start()
        stage.tiktok.wait_held("names")
        stage.secrets.wait_held("storing")
        stage.secrets.release("storing")
        stage.tiktok.release("names")
        waiting.join(30)
        assert stage.secrets.count("UpdateSecret") == 1
        assert {"connected-at", "last-link", "advertiser-names"} <= stage.annotations().keys()
        assert "lease" not in stage.annotations()


class TestTheExchange:
    def test_what_cannot_be_stored_is_not_exchanged(self, stage: Stage) -> None:
        """503 before anything is used up, and it says whom to tell; once it is permitted, the same code does it."""
        browser, state, code = stage.begun()
        stage.secrets.deny("secretmanager.versions.add")
        page = browser.come_back(code, state)
        assert (page.status_code, stage.tiktok.calls) == (503, [])
        assert "Tell the person who sent you the link" in text_of(page)
        entry = refused(stage.connect)
        expected = ("store_refused", "ERROR", reference(page.text))
        assert (entry["reason"], entry["severity"], entry["reference"]) == expected
        assert entry["message"].startswith("Permission denied: cannot ")
        stage.secrets.allow_all()
        assert browser.come_back(code, state).status_code == 303

    def test_of_two_codes_auth_code_is_read(self, stage: Stage) -> None:
        """The other one is left alone. TikTok's no has its request id, on the page and in the log."""
        browser, state, code = stage.begun()
        query = urllib.parse.urlencode({"code": "0" * 40, "auth_code": code, "state": state})
        stage.tiktok.fail_next("access_token", 40115)
        page = browser.get(f"/?{query}")
        assert stage.tiktok.requests_of("access_token")[0]["auth_code"] == code
        entry = refused(stage.connect)
        assert entry["request_id"] in text_of(page)
        assert (entry["reason"], entry["code"], entry["connection"]) == ("tiktok_refused", 40115, "acme")


def test_a_secret_that_somebody_made_by_hand_becomes_ours(stage: Stage) -> None:
    """Its own labels stay, ours are completed, and those that the link brings are set."""
    stage.secrets.create(TOKEN + "acme", project=PROJECT, labels={"team": "media", "holds": "nothing"})
    browser = stage.browser()
    letters, chosen = "abcdefghijklmnopqrstuvwxyz0123456789_-", random.Random(1)
    texts = ["a" + "".join(chosen.choices(letters, k=62)) for _ in range(16)]  # the most and the longest
    labels = dict(zip(texts[:8], texts[8:], strict=True))
    browser.come_back(stage.code(), browser.begin(stage.link(labels=labels)))
    ours = {"managed-by": "tiktok-token-keeper", "holds": "token", "connection": "acme"}
    grant = {"family": "advertiser", "kind": "long-lived", "health": "ok"}
    assert stage.labels() == {"team": "media", **labels, **ours, **grant}


def test_region_and_key_of_new_secrets_are_those_that_were_chosen(stage: Stage) -> None:
    """Of both secrets, as the settings say."""
    key = "projects/keys/locations/europe-west1/keyRings/ring/cryptoKeys/key"
    connect = stage.start("connect", SECRET_LOCATIONS="europe-west1", SECRET_KMS_KEY=key)
    assert stage.approve("acme", "expiring", function=connect).status_code == 303
    replica = {"location": "europe-west1", "customerManagedEncryption": {"kmsKeyName": key}}
    for secret_id in (TOKEN + "acme", REFRESH + "acme"):
        found = requests.get(f"{stage.secrets.url}/v1/projects/{PROJECT}/secrets/{secret_id}", timeout=10).json()
        assert found["replication"] == {"userManaged": {"replicas": [replica]}}


@pytest.mark.parametrize(("public", "asked"), [("localhost", "127.0.0.1"), ("127.0.0.1", "localhost")])
def test_another_name_of_this_machine_says_which_one_to_use(stage: Stage, public: str, asked: str) -> None:
    """Browsers keep the cookies of the two apart, so a flow that changes between them cannot end well."""
    port = free_port()
    function = stage.start("connect", PORT=str(port), PUBLIC_URL=f"http://{public}:{port}")
    of_a_browser = {"Host": f"{asked}:{port}", "Sec-Fetch-Site": "none"}
    for address in (stage.link(), f"/?auth_code=abc&state={'a' * 40}"):
        page = stage.browser(function).get(address, headers=of_a_browser)
        assert page.status_code == 400
        assert f"Open the same address with {public} as its first part." in text_of(page)
    for headers in ({**of_a_browser, "Host": f"{public}:{port}"}, {"Host": f"{asked}:{port}"}):
        assert stage.browser(function).get(stage.link(), headers=headers).status_code == 200


def test_an_address_with_a_path_is_understood_with_and_without_it(stage: Stage) -> None:
    """Behind a `cloudfunctions.net/NAME` or a load balancer the whole way works, whichever part arrives."""
    base = "http://localhost:9999/tik%20t%C3%B6k/connect"
    browser = stage.browser(stage.start("connect", PUBLIC_URL=base))
    link = stage.link()
    pages = [browser.get(address) for address in (link, "/tik%20t%C3%B6k/connect" + link)]
    assert [Form(page.text).action for page in pages] == [f"{base}/start"] * 2
    sent = browser.post("/tik%20t%C3%B6k/connect/start", data=Form(pages[0].text).fields)
    given = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(sent.headers["Location"]).query))
    assert given["redirect_uri"] == base
    query = urllib.parse.urlencode({"code": stage.code(), "state": given["state"]})
    answer = browser.get(f"/tik%20t%C3%B6k/connect?{query}")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{base}/done")
    assert "connected to acme" in text_of(browser.get("/tik%20t%C3%B6k/connect/done"))
    assert browser.get("/tik%20t%C3%B6k/connectother").status_code == 404
