"""The whole way in a real browser: connect link, consent page, callback, result."""

import pytest
from playwright.sync_api import Browser, Response, Route, expect

from browser.chromium import Open, Visit
from emulators.serving import Fault
from stage import Stage

pytestmark = pytest.mark.browser

EUROPE, AMERICA, OUTLET = "Acme Shoes, Europe", "Acme Shoes, North America", "Acme Outlet"


def assert_quiet(visit: Visit) -> None:
    """Nothing was asked for elsewhere, and the console is empty."""
    assert visit.elsewhere == []
    assert visit.complaints == []


class TestConnecting:
    def test_with_every_account_ticked(self, stage: Stage, tab: Open) -> None:
        """The result page names every ad account with its id, and the secret is there.

        Chromium holds `form-action` against the redirect after the form, and TikTok's page is on it [29].
        """
        visit = tab().open(stage.link())
        assert visit.heading == "Connect TikTok Ads to acme"
        visit.go_on().confirm()
        assert visit.page.url == f"{visit.address}/done"
        assert visit.heading == "TikTok Ads is connected to acme"
        for shown in (EUROPE, AMERICA, OUTLET, "7000000000000000001", "3 ad accounts", "Stored."):
            assert shown in visit.text
        assert len(stage.token()["advertiser_ids"]) == 3
        assert_quiet(visit)

    def test_with_none_ticked_can_be_repaired_by_going_back(self, stage: Stage, tab: Open) -> None:
        """The page says so; back at TikTok, ticking one and confirming connects, without a new link."""
        visit = tab().open(stage.link()).go_on().tick().confirm()
        assert visit.heading == "No ad account was ticked"
        assert stage.secrets.payloads("tiktok-ads-token-acme") == []
        visit.page.go_back()
        visit.tick(OUTLET).confirm()
        assert visit.heading == "TikTok Ads is connected to acme"

    def test_a_tiktok_account(self, stage: Stage, tab: Open) -> None:
        """The same way in the account holder's words, to the account that was chosen."""
        visit = tab().open(stage.link(family="account"))
        assert visit.heading == "Connect your TikTok account to acme"
        visit.go_on().choose("Acme Outlet").confirm()
        assert visit.page.url == f"{visit.address}/done"
        assert visit.heading == "Your TikTok account is connected to acme"
        assert "acme.outlet" in visit.text
        assert stage.token()["open_id"] == stage.annotations()["open-id"]
        assert_quiet(visit)

    def test_works_without_scripts(self, stage: Stage, chromium: Browser) -> None:
        """Nothing depends on JavaScript."""
        with chromium.new_context(java_script_enabled=False) as context:
            visit = Visit(stage, stage.connect.url, context.new_page()).open(stage.link()).go_on().confirm()
            assert visit.heading == "TikTok Ads is connected to acme"

    def test_works_by_keyboard(self, stage: Stage, tab: Open) -> None:
        """The first thing that Tab reaches is the button, it shows where the focus is, and Enter goes on."""
        visit = tab().open(stage.link())
        visit.page.keyboard.press("Tab")
        button = visit.page.get_by_role("button", name="Continue to TikTok")
        expect(button).to_be_focused()
        assert button.evaluate("element => getComputedStyle(element).outlineStyle") == "solid"
        visit.page.keyboard.press("Enter")
        visit.page.wait_for_url(stage.tiktok.authorize_url + "?**")


class TestGoingBackAndForth:
    def test_reload_of_a_callback_that_could_not_store_completes_it(self, stage: Stage, tab: Open) -> None:
        """The page says to reload in a minute, and that is all there is to do; a re-connection is told as one."""
        stage.connected("acme")
        stage.secrets.add_fault(Fault("TestIamPermissions", times=None, status=503))
        visit = tab().open(stage.link())
        assert "exists already" in visit.text
        visit.go_on().confirm()
        assert visit.heading == "Please reload this page in a minute"
        stage.secrets.clear_faults()
        visit.page.reload()
        assert visit.heading == "TikTok Ads is connected to acme"
        assert "was replaced" in visit.text

    def test_two_tabs_at_once_do_not_disturb_each_other(self, stage: Stage, tab: Open) -> None:
        """Two flows are begun before either ends, and both connect what was ticked and no more [37].

        The page shows the newest result first, and below it what this browser connected before.
        """
        first, second = tab().open(stage.link("one")).go_on(), tab().open(stage.link("two")).go_on()
        first.tick(EUROPE).confirm()
        assert first.heading == "TikTok Ads is connected to one"
        assert "1 ad account" in first.text
        assert EUROPE in first.text
        assert AMERICA not in first.text
        second.tick(OUTLET).confirm()
        assert second.heading == "TikTok Ads is connected to two"
        assert "Connected in this browser before: one" in second.text
        assert second.text.index(OUTLET) < second.text.index(EUROPE)
        assert stage.token("one")["advertiser_ids"] == ["7000000000000000001"]
        assert stage.token("two")["advertiser_ids"] == ["7000000000000000003"]


class TestWhatBrowsersDecide:
    def test_the_policy_is_what_decides(self, stage: Stage, tab: Open) -> None:
        """With TikTok's page off the list, the same click ends in a complaint and no request to TikTok [29]."""
        visit = tab()

        def without_tiktok(route: Route) -> None:
            response = route.fetch()
            policy = response.headers["content-security-policy"].replace(stage.tiktok.url, "")
            route.fulfill(response=response, headers={**response.headers, "content-security-policy": policy})

        visit.page.route("**/start?link=*", without_tiktok)
        visit.open(stage.link())
        with visit.page.expect_event("console", lambda message: "form-action" in message.text):
            visit.page.get_by_role("button", name="Continue to TikTok").click()
        assert stage.tiktok.count("consent_page") == 0

    def test_no_style_or_script_but_the_pages_own_runs(self, stage: Stage, tab: Open) -> None:
        """What somebody managed to put into a page would stay dead [29]."""
        visit = tab()

        def with_more(route: Route) -> None:
            response = route.fetch()
            more = '<script>document.title="x"</script><style>h1{color:red}</style><h1 style="color:red" onclick="1">'
            route.fulfill(response=response, body=response.text().replace("<h1>", more))

        visit.page.route("**/start?link=*", with_more)
        with visit.page.expect_event("console", lambda message: "Content Security Policy" in message.text):
            visit.open(stage.link())
        assert visit.page.title() == "Connect TikTok Ads to acme"
        colour = visit.page.locator("h1").first.evaluate("element => getComputedStyle(element).color")
        assert colour != "rgb(255, 0, 0)"

    @pytest.mark.parametrize("path", ["/", "/done", "link", "/?auth_code=a&state=a", "/nothing"])
    def test_no_page_is_shown_in_a_frame(self, stage: Stage, tab: Open, path: str) -> None:
        """Nobody can lay a page of their own over the button [29] [30]."""
        visit = tab()
        address = visit.address + (stage.link() if path == "link" else path)
        with visit.page.expect_event("console", lambda message: "frame" in message.text):
            visit.page.set_content(f'<iframe src="{address}"></iframe>')
        visit.page.wait_for_function("document.querySelector('iframe').contentDocument === null")
        (frame,) = visit.page.frames[1:]
        frame.wait_for_load_state()
        assert "TikTok" not in frame.content()

    def test_no_page_is_kept(self, stage: Stage, tab: Open) -> None:
        """Going back to a page asks the function again, so that nothing old is shown [27]."""
        visit = tab().open(stage.link())
        asked: list[Response] = []
        visit.page.on("response", lambda response: asked.append(response))
        visit.page.goto(visit.address + "/done")
        visit.page.go_back()
        assert [response.from_service_worker for response in asked] == [False, False]
        assert visit.heading == "Connect TikTok Ads to acme"

    def test_tiktok_does_not_learn_the_link(self, stage: Stage, tab: Open) -> None:
        """No referrer goes along, neither to TikTok nor from there on [28]."""
        visit = tab().open(stage.link())
        with visit.page.expect_request(stage.tiktok.authorize_url + "?**") as asked:
            visit.page.get_by_role("button", name="Continue to TikTok").click()
        assert "referer" not in asked.value.all_headers()
        visit.page.wait_for_url(stage.tiktok.authorize_url + "?**")
        assert visit.page.evaluate("document.referrer") == ""
        assert visit.page.evaluate("window.opener") is None
