"""The public function from outside, for advertisers: each step's good way, and what no other suite proves.

What the public address has to stand is in `security`, what goes wrong at TikTok and Secret Manager in
`reliability/test_callback_faults`, TikTok accounts are in `test_connect_account`.
"""

from __future__ import annotations

import html
import json
import re
import threading
import urllib.parse
from collections.abc import Mapping
from datetime import timedelta

import pytest
import requests
from flask import Flask, request

import faults
from emulators.serving import Fault
from flow.reading import nothing_was_used_or_written, reference_on, refused, text_of
from stage import APP_ID, PROJECT, REFRESH, TOKEN, Browser, Form, Stage, free_port
from tokenkeeper import clock, settings
from tokenkeeper.connect.app import Connect
from tokenkeeper.connect.links import Signer
from tokenkeeper.tiktok.families import TikTok
from tokenkeeper.tiktok.transport import Answer, Transport

EUROPE, AMERICA, OUTLET = (f"700000000000000000{number}" for number in (1, 2, 3))
TRACE = "0af7651916cd43dd8448eb211c80319c"


class Recording(Transport):
    """Sends what it is given, and notes how long each POST might take."""

    def __init__(self, base_url: str) -> None:
        super().__init__(base_url)
        self.seconds: list[float] = []

    def post(
        self, path: str, body: Mapping[str, object], seconds: float, largest: int, *, fresh: bool = False
    ) -> Answer:
        self.seconds.append(seconds)
        return super().post(path, body, seconds, largest, fresh=fresh)


class TestRoutes:
    def test_each_address_answers_with_a_page(self, stage: Stage) -> None:
        """Other addresses are 404 and other methods 405, as `security/test_request` has it."""
        statuses = {
            ("GET", "/?utm_source=mail"): 200,
            ("HEAD", "/"): 200,
            ("GET", "/start"): 400,
            ("GET", "/done"): 200,
        }
        answers = {(method, path): stage.browser().request(method, path) for method, path in statuses}
        assert {asked: answer.status_code for asked, answer in answers.items()} == statuses
        assert {asked for asked, answer in answers.items() if answer.text == ""} == {("HEAD", "/")}
        assert {answer.headers["Content-Type"] for answer in answers.values()} == {"text/html; charset=utf-8"}

    def test_the_bare_address_says_what_it_is(self, stage: Stage) -> None:
        """Nothing secret and nothing to click."""
        page = stage.browser().get("/")
        assert "There is nothing to do here by itself." in text_of(page)
        assert "<a" not in page.text
        assert "<form" not in page.text
        assert stage.secrets.calls == []

    def test_start_shows_the_connection_and_until_when(self, stage: Stage) -> None:
        """A connect link opens a page with a button, and opening it changes nothing."""
        before = clock.now()
        page = stage.browser().get(stage.link("acme-eu", timedelta(hours=2)))
        ends = {moment + timedelta(hours=2) for moment in (before, clock.now())}
        assert page.status_code == 200
        assert "Connect TikTok Ads to acme-eu" in text_of(page)
        assert any(f"{end.day} {end:%B %Y, %H:%M} UTC" in text_of(page) for end in ends)
        assert Form(page.text).action == f"{stage.connect.url}/start"
        assert not page.cookies
        assert nothing_was_used_or_written(stage)

    def test_continuing_leads_to_tiktoks_consent_page(self, stage: Stage) -> None:
        """The form answers 303 to TikTok with app, state and redirect address, and binds the flow with a cookie."""
        browser = stage.browser()
        form = Form(browser.get(stage.link()).text)
        sent = browser.post("/start", data=form.fields)
        assert sent.status_code == 303
        address, _, query = sent.headers["Location"].partition("?")
        given = urllib.parse.parse_qs(query)
        assert address == stage.tiktok.authorize_url
        assert given["app_id"] == [APP_ID]
        assert given["redirect_uri"] == [stage.connect.url]
        assert list(given) == ["app_id", "state", "redirect_uri"]
        assert len(sent.cookies) == 1
        assert nothing_was_used_or_written(stage)


class TestTheWholeWay:
    def test_a_long_lived_token_is_stored_byte_for_byte(self, stage: Stage) -> None:
        """The token secret holds the payload of the contract, its keys in their order, and nothing else is made."""
        stage.approve(advertisers=[EUROPE, AMERICA])
        (given,) = stage.tiktok.grants[-1:]
        obtained = clock.text(stage.time("acme", "obtained-at"))
        assert stage.secrets.payloads(TOKEN + "acme") == [
            b'{"schema": 1, "connection": "acme", "app_id": "7000000000000000000", "access_token": "%b", '
            b'"expires_at": null, "advertiser_ids": ["7000000000000000001", "7000000000000000002"], '
            b'"scope": [4, 10, 200, 210, 220, 30], "obtained_at": "%b"}'
            % (given.access_token.encode(), obtained.encode())
        ]
        assert set(stage.secrets.secrets()) == {TOKEN + "acme"}

    def test_an_expiring_grant_is_stored_byte_for_byte(self, stage: Stage) -> None:
        """Readers get the token and its end; the refresh secret has the same keys, then refresh token and its end."""
        stage.approve(kind="expiring", advertisers=[EUROPE])
        (given,) = stage.tiktok.grants[-1:]
        assert given.refresh_token
        obtained = stage.time("acme", "obtained-at")
        shared = (
            '{"schema": 1, "connection": "acme", "app_id": "7000000000000000000", '
            f'"access_token": "{given.access_token}", "expires_at": "{clock.text(obtained + timedelta(days=1))}", '
            '"advertiser_ids": ["7000000000000000001"], "scope": [4, 10, 200, 210, 220, 30], '
            f'"obtained_at": "{clock.text(obtained)}"'
        )
        more = (
            f', "refresh_token": "{given.refresh_token}", '
            f'"refresh_expires_at": "{clock.text(obtained + timedelta(days=365))}"'
        )
        assert stage.secrets.payloads(TOKEN + "acme") == [f"{shared}}}".encode()]
        assert stage.secrets.payloads(REFRESH + "acme") == [f"{shared}{more}}}".encode()]

    def test_versions_are_added_in_order_and_with_their_checksums(self, stage: Stage) -> None:
        """The refresh secret comes first, so that who is cut off has lost nothing; what was changed is not taken."""
        stage.connected(kind="expiring")
        added = [call.resource for call in stage.secrets.calls if (call.name, call.status) == ("AddSecretVersion", 200)]
        assert [name.rpartition("/")[2] for name in added] == [REFRESH + "acme", TOKEN + "acme"]
        for secret_id in (TOKEN + "acme", REFRESH + "acme"):
            address = f"{stage.secrets.url}/v1/projects/{PROJECT}/secrets/{secret_id}/versions/1"
            assert requests.get(address, timeout=10).json()["clientSpecifiedPayloadChecksum"] is True

    def test_labels_and_annotations(self, stage: Stage) -> None:
        """What the keeper has to know of a connection is in them: who was granted, which link, since when."""
        before = clock.now()
        stage.connected(kind="expiring", advertisers=[EUROPE, AMERICA])
        shared = {"managed-by": "tiktok-token-keeper", "connection": "acme"}
        grant = {"family": "advertiser", "kind": "expiring", "health": "ok"}
        assert stage.labels() == {**shared, "holds": "token", **grant}
        assert stage.secrets.labels(REFRESH + "acme") == {**shared, "holds": "refresh"}
        assert stage.secrets.annotations(REFRESH + "acme") == {}
        annotations = stage.annotations()
        times = {"connected-at", "obtained-at", "expires-at", "refresh-expires-at"}
        assert set(annotations) == times | {"advertisers", "advertiser-names", "last-link"}
        assert annotations["advertisers"] == f"{EUROPE},{AMERICA}"
        names = {EUROPE: "Acme Shoes, Europe", AMERICA: "Acme Shoes, North America"}
        assert json.loads(annotations["advertiser-names"]) == names
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", annotations["connected-at"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", annotations["obtained-at"])
        assert stage.time("acme", "connected-at") >= before - timedelta(milliseconds=1)

    def test_the_browser_ends_at_an_address_without_a_code(self, stage: Stage) -> None:
        """303 to the function's own `/done`, which may be reloaded."""
        browser = stage.browser()
        answer = browser.come_back(stage.code(), browser.begin(stage.link()))
        assert answer.status_code == 303
        assert answer.headers["Location"] == f"{stage.connect.url}/done"
        pages = [text_of(browser.get("/done")) for _ in range(2)]
        assert pages[0] == pages[1]
        assert "TikTok Ads is connected to acme" in pages[0]
        assert "3 ad accounts" in pages[0]
        assert "Acme Outlet" in pages[0]

    def test_the_log_says_who_was_connected(self, stage: Stage) -> None:
        """One notice with the connection, its kind, how many advertisers, the link, the reference and the trace."""
        browser = stage.browser()
        browser.session.headers["traceparent"] = f"00-{TRACE}-b7ad6b7169203331-01"
        browser.come_back(stage.code(), browser.begin(stage.link()))
        entry = stage.connect.wait_for_event("connection.stored")
        assert entry.pop("message") == "acme was connected."
        assert re.fullmatch("[0-9a-f]{8}", entry.pop("reference"))
        assert entry == {
            "severity": "NOTICE",
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

    def test_missing_permissions_are_a_warning_not_an_obstacle(self, stage: Stage) -> None:
        """Who grants fewer permissions is connected and told which are missing, on the page and in the log."""
        browser = stage.browser()
        answer = browser.come_back(stage.code(scope=[10, 200, 210, 220, 30]), browser.begin(stage.link()))
        assert answer.status_code == 303
        assert "Reporting (all reports and insights)" in text_of(browser.get("/done"))
        assert stage.connect.wait_for_event("connection.stored")["missing_permissions"] == ["Reporting"]
        assert stage.token()["scope"] == [10, 200, 210, 220, 30]


class TestNames:
    """Step 7: allowed to fail, and to take a few seconds at most."""

    def test_without_names_the_page_shows_ids(self, stage: Stage) -> None:
        """The connection is made, however long the names take."""
        stage.tiktok.add_fault(Fault("advertiser_get", do="hold", hold="x"))
        browser = stage.browser()
        answer = browser.come_back(stage.code(advertisers=[EUROPE]), browser.begin(stage.link()))
        assert answer.status_code == 303
        page = text_of(browser.get("/done"))
        assert EUROPE in page
        assert "Acme Shoes" not in page
        assert stage.annotations()["advertiser-names"] == "{}"
        assert stage.alerts() == []

    def test_they_are_fetched_beside_storing(self, stage: Stage) -> None:
        """TikTok is asked before the token is stored, and one closing write has names, link and state together."""
        stage.tiktok.add_fault(Fault("advertiser_get", do="hold", hold="names"))
        stage.secrets.add_fault(Fault("AddSecretVersion", do="hold", hold="storing"))
        browser = stage.browser()
        state, code = browser.begin(stage.link()), stage.code()
        waiting = threading.Thread(target=lambda: browser.come_back(code, state))
        waiting.start()
        stage.tiktok.wait_held("names")
        stage.secrets.wait_held("storing")
        stage.secrets.release("storing")
        stage.tiktok.release("names")
        waiting.join(30)
        assert stage.secrets.count("UpdateSecret") == 1
        assert {"connected-at", "last-link", "advertiser-names"} <= stage.annotations().keys()
        assert "lease" not in stage.annotations()


class TestStep1TheQuery:
    def test_declined_at_tiktok(self, stage: Stage) -> None:
        """A page that says so, with status 200, and no call; whoever changes their mind goes back and confirms."""
        browser = stage.browser()
        state = browser.begin(stage.link())
        stage.secrets.forget_calls()
        for query in ("error=access_denied", f"error=&state={state}"):
            page = browser.get(f"/?{query}")
            assert page.status_code == 200
            assert "Access was declined" in text_of(page)
        assert stage.secrets.calls == []
        assert nothing_was_used_or_written(stage)
        assert {event["reason"] for event in stage.connect.events if "reason" in event} == {"declined"}
        assert browser.come_back(stage.code(), state).status_code == 303

    def test_of_two_codes_auth_code_is_read(self, stage: Stage) -> None:
        """The other one is left alone."""
        browser = stage.browser()
        state, code = browser.begin(stage.link()), stage.code()
        query = urllib.parse.urlencode({"code": "0" * 40, "auth_code": code, "state": state})
        assert browser.get(f"/?{query}").status_code == 303
        assert stage.tiktok.requests_of("access_token")[0]["auth_code"] == code


class TestStep3WhetherItCanBeStored:
    @pytest.mark.parametrize("permission", ["secretmanager.secrets.create", "secretmanager.versions.add"])
    def test_what_cannot_be_stored_is_not_exchanged(self, stage: Stage, permission: str) -> None:
        """503 before anything is used up, and it says whom to tell; once it is permitted, the same code does it."""
        browser = stage.browser()
        state, code = browser.begin(stage.link()), stage.code()
        stage.secrets.deny(permission)
        page = browser.come_back(code, state)
        assert page.status_code == 503
        assert "Tell the person who sent you the link" in text_of(page)
        assert "Nothing was used up" in text_of(page)
        assert not stage.tiktok.calls
        entry = refused(stage.connect)
        assert (entry["reason"], entry["severity"], entry["reference"]) == (
            "store_refused",
            "ERROR",
            reference_on(page),
        )
        assert entry["message"].startswith("Permission denied: cannot ")
        stage.secrets.allow_all()
        assert browser.come_back(code, state).status_code == 303

    def test_googles_own_reason_is_in_the_log(self, stage: Stage) -> None:
        """A policy does not pass by itself: nobody is told to reload, and the ERROR has Google's sentence."""
        sentence = "Constraint constraints/gcp.resourceLocations violated for projects/test-project."
        stage.secrets.add_fault(faults.google_error("FAILED_PRECONDITION", sentence, call="CreateSecret", times=None))
        page = stage.approve()
        assert page.status_code == 503
        assert "Tell the person who sent you the link" in text_of(page)
        entry = refused(stage.connect)
        assert (entry["reason"], entry["severity"]) == ("store_refused", "ERROR")
        assert sentence in entry["message"]
        assert "SECRET_LOCATIONS" in entry["message"]

    def test_a_reconnection_takes_five_calls_one_after_the_other(self, stage: Stage) -> None:
        """Reading the connection, the lease, the exchange, the version, the closing write; all else runs beside."""
        stage.connected()
        for server in (stage.secrets, stage.tiktok):
            server.forget_calls()
        stage.connected()
        start_page = ["GetSecret"] * 2  # of the link that was opened, and continued with
        names = [call.name for call in (*stage.secrets.calls, *stage.tiktok.calls)]
        beside = ["TestIamPermissions", "advertiser_get"]
        one_after_the_other = ["GetSecret", "UpdateSecret", "access_token", "AddSecretVersion", "UpdateSecret"]
        assert sorted(names) == sorted([*start_page, *beside, *one_after_the_other])

    def test_a_new_connection_takes_six_calls_one_after_the_other(self, stage: Stage) -> None:
        """Its secret is created with the lease in it, and can be asked about only then."""
        browser = stage.browser()
        state, code = browser.begin(stage.link()), stage.code()
        for server in (stage.secrets, stage.tiktok):
            server.forget_calls()
        assert browser.come_back(code, state).status_code == 303
        calls = sorted([*stage.secrets.calls, *stage.tiktok.calls], key=lambda call: call.at)
        beside = ["advertiser_get"]
        assert [call.name for call in calls if call.name not in beside] == [
            "GetSecret",
            "CreateSecret",
            "TestIamPermissions",
            "access_token",
            "AddSecretVersion",
            "UpdateSecret",
        ]


class TestStep4TheExchange:
    def test_tiktok_says_no(self, stage: Stage) -> None:
        """502 with the reason in plain words and TikTok's request id, which the log has as well."""
        stage.tiktok.fail_next("access_token", 40115)
        page = stage.approve()
        assert page.status_code == 502
        assert "cancelled or is of another kind. (TikTok's code 40115)" in text_of(page)
        entry = refused(stage.connect)
        assert entry["request_id"] in text_of(page)
        assert (entry["reason"], entry["code"], entry["severity"]) == ("tiktok_refused", 40115, "WARNING")
        assert stage.secrets.payloads(TOKEN + "acme") == []

    def test_it_may_take_as_long_as_the_budget_allows(self, stage: Stage) -> None:
        """An approver of thousands of ad accounts waits for TikTok; only storing has 20 seconds of its own."""
        chosen = settings.read(settings.CONNECT, stage.environment(8080, CALLBACK_BUDGET_SECONDS="300"))
        transport = Recording(chosen.api_url)
        state, begun, nonce = Signer(chosen.link_keys).new_state(Signer(chosen.link_keys).new_link("acme")[0])
        query = {"auth_code": stage.code(), "state": state}
        cookie = {"Cookie": f"tk-{begun.flow}={nonce.reveal()}"}
        with Flask("test").test_request_context("/", query_string=query, headers=cookie):
            answer = Connect(chosen, tiktok=TikTok(chosen, transport=transport)).answer(request)
        assert answer.status_code == 303
        assert 250 < transport.seconds[0] <= 280


class TestStep5TheAnswer:
    def test_nobody_was_ticked(self, stage: Stage) -> None:
        """422, nothing stored, and the page says how to go back."""
        page = stage.approve(advertisers=[])
        assert page.status_code == 422
        assert "tick at least one ad account" in text_of(page)
        assert stage.secrets.payloads(TOKEN + "acme") == []
        assert refused(stage.connect)["reason"] == "no_advertiser"

    def test_one_account_in_common_is_enough(self, stage: Stage) -> None:
        """A re-connection may add and leave out accounts."""
        stage.connected(advertisers=[EUROPE, OUTLET])
        assert stage.connected(advertisers=[AMERICA, EUROPE])["advertiser_ids"] == [AMERICA, EUROPE]

    def test_the_guard_rests_on_what_was_approved(self, stage: Stage) -> None:
        """Not on what the token reached last: accounts that TikTok took away in the meantime may come back."""
        stage.connected(advertisers=[EUROPE])
        stage.secrets.edit(TOKEN + "acme", annotations={"advertisers": OUTLET, "approved": EUROPE})
        assert stage.approve(advertisers=[OUTLET]).status_code == 403
        assert stage.approve(advertisers=[EUROPE]).status_code == 303
        assert "approved" not in stage.annotations()

    def test_thousands_of_accounts(self, stage: Stage) -> None:
        """Ids that do not fit are counted, in the payload and on the page; as many as fit are in the annotation."""
        ids = [str(7_100_000_000_000_000_000 + number) for number in range(4000)]
        browser = stage.browser()
        assert browser.come_back(stage.code(advertisers=ids), browser.begin(stage.link())).status_code == 303
        assert re.search(r"4000 ad accounts .* and 3\d\d\d more", text_of(browser.get("/done")))
        stored = stage.token()
        assert (stored["advertiser_ids"], stored["advertiser_count"]) == (None, 4000)
        assert len(stage.secrets.payloads(TOKEN + "acme")[0]) <= 64 * 1024
        kept = stage.annotations()["advertisers"].split(",")
        assert kept == ids[: len(kept)]
        assert len(kept) > 500


class TestStep6Storing:
    def test_a_secret_that_somebody_made_by_hand_becomes_ours(self, stage: Stage) -> None:
        """Its own labels stay, ours are completed, and those that the link brings are set."""
        stage.secrets.create(TOKEN + "acme", project=PROJECT, labels={"team": "media", "holds": "nothing"})
        browser = stage.browser()
        state = browser.begin(stage.link(labels={"client": "shoes"}))
        assert browser.come_back(stage.code(), state).status_code == 303
        assert stage.labels() == {
            "team": "media",
            "client": "shoes",
            "managed-by": "tiktok-token-keeper",
            "holds": "token",
            "connection": "acme",
            "family": "advertiser",
            "kind": "long-lived",
            "health": "ok",
        }


class TestLinks:
    @pytest.mark.parametrize(
        "after", [".", "%22)%20", "%E2%80%9D"], ids=["a full stop", "a bracket", "a quotation mark"]
    )
    def test_what_follows_a_pasted_link_is_left_out(self, stage: Stage, after: str) -> None:
        """It is the sentence's around it."""
        link = stage.link()
        page = stage.browser().get(link + after)
        assert page.status_code == 200
        assert Form(page.text).fields["link"] == link.partition("=")[2]

    def test_a_link_works_once(self, stage: Stage) -> None:
        """After it made the connection it is 409, opened or sent on; a failure before that does not use it up."""
        browser, link = stage.browser(), stage.link()
        form = Form(browser.get(link).text)
        stage.tiktok.fail_next("access_token", 40110)
        assert browser.come_back(stage.code(), browser.begin(link)).status_code == 502
        assert browser.come_back(stage.code(), browser.begin(link)).status_code == 303
        assert browser.get(link).status_code == 409
        assert browser.post("/start", data=form.fields).status_code == 409

    def test_links_from_before_the_connection_are_used_too(self, stage: Stage) -> None:
        """Of several links that were sent, the first to connect ends the others."""
        earlier = stage.link()
        stage.connected()
        assert stage.browser().get(earlier).status_code == 409
        assert stage.browser().get(stage.link()).status_code == 200

    def test_reconnecting_keeps_the_name(self, stage: Stage) -> None:
        """Readers change nothing: the new token is the next version of the same secret."""
        first = stage.connected()
        second = stage.connected()
        assert len(stage.secrets.payloads(TOKEN + "acme")) == 2
        assert second["access_token"] != first["access_token"]
        assert second["obtained_at"] > first["obtained_at"]
        stored = [event for event in stage.connect.events if event["event"] == "connection.stored"]
        assert stored[1]["message"] == "acme was connected again."


class TestThePortalsOwnLink:
    """The address that TikTok's app page shows, with a fixed state."""

    def test_by_default_it_is_refused(self, stage: Stage) -> None:
        """403 and how to get a connect link; nothing is used up."""
        page = stage.browser().get(f"/?code={stage.code()}&state=your_custom_params")
        assert page.status_code == 403
        assert "Ask the person who looks after your reports for a connect link" in text_of(page)
        assert nothing_was_used_or_written(stage)

    @pytest.fixture
    def portal(self, stage: Stage) -> Browser:
        """A browser at a function that accepts the portal's link for two advertisers."""
        settings = {"PORTAL_CONNECTION": "main", "PORTAL_ADVERTISER_IDS": f"{EUROPE},{AMERICA}"}
        return stage.browser(stage.start("connect", **settings))

    def test_for_the_listed_advertisers_it_is_accepted(self, stage: Stage, portal: Browser) -> None:
        """A state that is exactly the fixed one, or absent, makes that one connection, again and again."""
        assert portal.get(f"/?code={stage.code(advertisers=[EUROPE])}&state=your_custom_params").status_code == 303
        assert stage.token("main")["advertiser_ids"] == [EUROPE]
        both = stage.code(advertisers=[AMERICA, EUROPE])
        assert portal.get(f"/?auth_code={both}").status_code == 303
        assert stage.token("main")["advertiser_ids"] == [AMERICA, EUROPE]
        assert "last-link" not in stage.annotations("main")
        assert "TikTok Ads is connected to main" in text_of(portal.get("/done"))

    def test_entirely_different_advertisers_do_not_replace_the_stored_ones(self, stage: Stage, portal: Browser) -> None:
        """The list does not lift the guard of every re-connection."""
        assert portal.get(f"/?code={stage.code(advertisers=[EUROPE])}").status_code == 303
        assert portal.get(f"/?code={stage.code(advertisers=[AMERICA])}").status_code == 403
        assert stage.token("main")["advertiser_ids"] == [EUROPE]

    def test_nearly_the_fixed_state_is_not_it(self, stage: Stage, portal: Browser) -> None:
        """It is a state like any other, which nobody signed."""
        for state in ("your_custom_param", "your_custom_params2", "YOUR_CUSTOM_PARAMS"):
            assert portal.get(f"/?code={stage.code(advertisers=[EUROPE])}&state={state}").status_code == 400
        assert not stage.tiktok.calls


class TestGoingBack:
    def test_a_button_that_does_nothing_has_a_link_beside_it_after_a_reload(self, stage: Stage) -> None:
        """A gateway may lead TikTok's page elsewhere, which browsers stop for a form and allow for a link."""
        browser, link = stage.browser(), stage.link()
        assert "<a href" not in browser.get(link).text
        browser.begin(link)
        page = browser.get(link)
        address = re.search(r'<a href="([^"]+)"', page.text)
        assert address
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(html.unescape(address[1])).query)
        assert address[1].startswith(stage.tiktok.authorize_url)
        assert browser.come_back(stage.code(), query["state"][0]).status_code == 303
        browser.begin(stage.link("beta"))
        assert "<a href" not in browser.get(stage.link("gamma")).text  # begun with another link


class TestOtherNamesOfThisMachine:
    @pytest.mark.parametrize(("public", "asked"), [("localhost", "127.0.0.1"), ("127.0.0.1", "localhost")])
    def test_the_page_says_which_one_to_use(self, stage: Stage, public: str, asked: str) -> None:
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


class TestAnAddressWithAPath:
    def test_requests_are_understood_with_and_without_it(self, stage: Stage) -> None:
        """Behind a `cloudfunctions.net/NAME` or a load balancer the whole way works, whichever part arrives."""
        function = stage.start("connect", PUBLIC_URL="http://localhost:9999/tiktok/connect")
        browser = stage.browser(function)
        link = stage.link()
        for address in (link, "/tiktok/connect" + link):
            page = browser.get(address)
            assert page.status_code == 200
            assert Form(page.text).action == "http://localhost:9999/tiktok/connect/start"
        sent = browser.post("/tiktok/connect/start", data=Form(page.text).fields)
        given = urllib.parse.parse_qs(urllib.parse.urlsplit(sent.headers["Location"]).query)
        assert given["redirect_uri"] == ["http://localhost:9999/tiktok/connect"]
        query = urllib.parse.urlencode({"code": stage.code(), "state": given["state"][0]})
        answer = browser.get(f"/tiktok/connect?{query}")
        assert answer.status_code == 303
        assert answer.headers["Location"] == "http://localhost:9999/tiktok/connect/done"
        assert "connected to acme" in text_of(browser.get("/tiktok/connect/done"))
        assert browser.get("/tiktok/connectother").status_code == 404
