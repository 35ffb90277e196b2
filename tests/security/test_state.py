"""States and connect links: who may come back from TikTok, and what of it counts. [n]: line n of `tests/README.md`."""

from __future__ import annotations

import hmac
import string
from collections.abc import Callable
from datetime import timedelta

import pytest
import requests

from stage import LINK_KEY, Browser, Stage
from tokenkeeper import clock
from tokenkeeper.connect.links import STATE_LIFE, Signer, bound_to
from tokenkeeper.errors import LinkExpired, LinkInvalid
from tokenkeeper.secret import Secret

OTHER_KEY = "canary-another-key-abcdefabcdefabcdefabcdefabcdef"


def signer(*keys: str) -> Signer:
    return Signer([Secret(key) for key in keys or (LINK_KEY,)])


def own_state(stage: Stage, by: Signer, browser: Browser, connection: str = "acme") -> str:
    """A state that `by` signed, whose cookie the browser has."""
    link, _ = by.new_link(connection)
    text, state, nonce = by.new_state(link)
    browser.session.cookies.set(f"tk-{state.flow}", nonce.reveal(), domain="127.0.0.1", path="/")
    stage.canaries.keep("a state", text)
    stage.canaries.keep("a flow's cookie", nonce.reveal())
    return text


def assert_refused(stage: Stage, answer: requests.Response, status: int = 400) -> None:
    """The answer is a page, TikTok was asked nothing, and nothing was written."""
    assert answer.status_code == status, answer.text
    assert stage.tiktok.calls == []
    assert stage.writes() == []
    assert "Was anything stored?" in answer.text


def flipped(text: str, at: int) -> str:
    return text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]


def _twin(letter: str) -> str:
    """Another letter that base64 takes for the same at the end of 32 bytes, where two bits of it count for nothing."""
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    return alphabet[alphabet.index(letter) ^ 1]


SPOILT: dict[str, Callable[[str], str]] = {
    "missing [1]": lambda _: "",
    "garbage [2]": lambda _: "garbage",
    "garbage that looks signed [2]": lambda _: "WyJhY21lIl0.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "a payload with another letter [3]": lambda state: flipped(state, 4),
    "a payload that is cut off [3]": lambda state: state[3:],
    "a signature with another letter [4]": lambda state: flipped(state, len(state) - 6),
    "a signature that is cut off [4]": lambda state: state[:-1],
    "a signature whose last letter codes the same bytes [4]": lambda state: state[:-1] + _twin(state[-1]),
    "no signature [4]": lambda state: state.rpartition(".")[0] + ".",
    "two signatures [4]": lambda state: f"{state}.{state.rpartition('.')[2]}",
    "a compressed payload that is none [3]": lambda state: f".{state}",
    "longer than any state [12]": lambda state: state + "A" * 1025,
    "3,000 letters [12]": lambda _: "A" * 3000,
    "not ASCII [13]": lambda state: f"{state}é",
    "digits that are not ASCII [13]": lambda _: "١٢٣",
    "a NUL [13]": lambda state: f"{state}\0",
    "a line break at the end [13]": lambda state: f"{state}\n",
    "a header in it [13]": lambda state: f"{state}\r\nSet-Cookie: a=b",
    "a blank in front [13]": lambda state: f" {state}",
}


class TestWhatIsNoState:
    @pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
    def test_is_refused_before_anything_happens(self, stage: Stage, spoil: Callable[[str], str]) -> None:
        """A state that is not exactly as it was signed is worth nothing [1] [2] [3] [4] [12] [13]."""
        browser = stage.browser()
        state = browser.begin(stage.link())
        answer = browser.come_back(stage.code(), spoil(state))
        assert_refused(stage, answer, 400 if spoil(state) else 403)

    def test_is_one_without_its_parameter(self, stage: Stage) -> None:
        """A callback without any state is the portal's own link, which is refused as long as nobody set it up [1]."""
        browser = stage.browser()
        browser.begin(stage.link())
        assert_refused(stage, browser.get(f"/?auth_code={stage.code()}"), 403)

    def test_is_one_that_another_key_signed(self, stage: Stage) -> None:
        """Knowing how states look is not enough to make one [5]."""
        browser = stage.browser()
        assert_refused(stage, browser.come_back(stage.code(), own_state(stage, signer(OTHER_KEY), browser)))

    def test_is_a_link(self, stage: Stage) -> None:
        """A connect link is not taken for a state [16]."""
        browser = stage.browser()
        browser.begin(stage.link())
        link = stage.link().partition("=")[2]
        assert_refused(stage, browser.come_back(stage.code(), link))


class TestKeys:
    def test_an_older_key_that_is_still_listed_verifies(self, stage: Stage) -> None:
        """After a change of keys, links and states made before still work [5]."""
        stage.canaries.keep("a signing key", OTHER_KEY)
        function = stage.start("connect", LINK_SIGNING_KEYS=f"{OTHER_KEY} {LINK_KEY}")
        browser = stage.browser(function)
        state = own_state(stage, signer(), browser)
        assert browser.come_back(stage.code(), state).status_code == 303

    def test_the_newest_key_signs(self, stage: Stage) -> None:
        """What a function makes after a change of keys outlives the removal of the old one [5]."""
        stage.canaries.keep("a signing key", OTHER_KEY)
        function = stage.start("connect", LINK_SIGNING_KEYS=f"{OTHER_KEY}\n{LINK_KEY}")
        state = stage.browser(function).begin(stage.link())
        assert signer(OTHER_KEY).read_state(state).link.connection == "acme"

    def test_a_key_that_is_no_longer_listed_does_not(self, stage: Stage) -> None:
        """Taking a key off the list ends everything that it signed [5]."""
        stage.canaries.keep("a signing key", OTHER_KEY)
        function = stage.start("connect", LINK_SIGNING_KEYS=OTHER_KEY)
        browser = stage.browser(function)
        assert_refused(stage, browser.come_back(stage.code(), own_state(stage, signer(), browser)))
        assert_refused(stage, browser.get(stage.link()))


class TestAge:
    def test_just_before_the_limit_it_is_good(self, stage: Stage) -> None:
        """Whoever takes nearly an hour at TikTok is still welcome [6]."""
        browser = stage.browser()
        state = browser.begin(stage.link(life=timedelta(days=1)))
        stage.set_clock(functions=STATE_LIFE.total_seconds() - 30)
        assert browser.come_back(stage.code(), state).status_code == 303

    def test_past_the_limit_it_is_not(self, stage: Stage) -> None:
        """After an hour the flow has to begin again, even with the right cookie [6]."""
        browser = stage.browser()
        state = browser.begin(stage.link(life=timedelta(days=1)))
        stage.set_clock(functions=STATE_LIFE.total_seconds() + 1)
        query = f"/?auth_code={stage.code()}&state={state}"
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in browser.session.cookies)
        assert_refused(stage, browser.get(query, headers={"Cookie": cookies}))

    def test_the_limit_is_one_hour_exactly(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """At the limit a state is good, one second past it is not, and neither is one from the future [6]."""
        start = clock.now()
        monkeypatch.setattr(clock, "now", lambda: start)
        by = signer()
        text, state, _ = by.new_state(by.new_link("acme")[0])
        issued = clock.from_milliseconds(clock.milliseconds(state.issued_at))
        monkeypatch.setattr(clock, "now", lambda: issued + STATE_LIFE)
        assert by.read_state(text).flow == state.flow
        monkeypatch.setattr(clock, "now", lambda: issued + STATE_LIFE + timedelta(seconds=1))
        with pytest.raises(LinkExpired):
            by.read_state(text)
        monkeypatch.setattr(clock, "now", lambda: issued - timedelta(seconds=31))
        with pytest.raises(LinkInvalid):
            by.read_state(text)

    def test_one_from_the_future_is_refused(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        """A date ahead of the function's clock does not buy a longer life [6]."""
        true = clock.now
        monkeypatch.setattr(clock, "now", lambda: true() + timedelta(minutes=5))
        browser = stage.browser()
        state = own_state(stage, signer(), browser)
        assert_refused(stage, browser.come_back(stage.code(), state))

    def test_a_link_past_its_expiry_is_told_so(self, stage: Stage) -> None:
        """An expired link gets 410, a forged one 400; opening or continuing makes no difference [6]."""
        link = stage.link(life=timedelta(minutes=5))
        stage.set_clock(functions=301)
        assert_refused(stage, stage.browser().get(link), 410)
        assert_refused(stage, stage.browser().post("/start", data={"link": link.partition("=")[2]}), 410)
        assert_refused(stage, stage.browser().get(flipped(link, len(link) - 5)), 400)

    def test_a_link_from_the_future_is_refused(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        """A link that the operator's clock dates more than a quarter of an hour ahead is not good yet [6]."""
        true = clock.now
        monkeypatch.setattr(clock, "now", lambda: true() + timedelta(minutes=16))
        assert_refused(stage, stage.browser().get(stage.link()), 400)


class TestReplay:
    def test_after_success_in_the_same_browser(self, stage: Stage) -> None:
        """The flow's cookie is gone, and the browser keeps the flow's result: the link was used [7]."""
        browser = stage.browser()
        state = browser.begin(stage.link())
        assert browser.come_back(stage.code(), state).status_code == 303
        stage.tiktok.forget_calls()
        stage.secrets.forget_calls()
        assert_refused(stage, browser.come_back(stage.code(), state), 409)
        assert stage.secrets.calls == []

    def test_after_success_with_the_cookie_kept(self, stage: Stage) -> None:
        """Whoever kept the cookie learns that the link was used, and no code is exchanged [7]."""
        browser = stage.browser()
        state = browser.begin(stage.link())
        kept = browser.session.cookies.copy()
        assert browser.come_back(stage.code(), state).status_code == 303
        before = stage.token()
        stage.tiktok.forget_calls()
        stage.secrets.forget_calls()
        browser.session.cookies = kept
        assert_refused(stage, browser.come_back(stage.code(), state), 409)
        assert stage.token() == before

    def test_of_a_second_flow_of_the_same_link(self, stage: Stage) -> None:
        """Two people began with one link: the second to come back is told that it was used [7]."""
        link = stage.link()
        first, second = stage.browser(), stage.browser()
        state, other = first.begin(link), second.begin(link)
        assert first.come_back(stage.code(), state).status_code == 303
        stage.tiktok.forget_calls()
        stage.secrets.forget_calls()
        assert_refused(stage, second.come_back(stage.code(), other), 409)

    def test_after_a_failure(self, stage: Stage) -> None:
        """A state whose exchange TikTok refused is good for another try [8]."""
        browser = stage.browser()
        state = browser.begin(stage.link())
        stage.tiktok.fail_next("access_token", 50000)
        assert browser.come_back(stage.code(), state).status_code == 502
        assert browser.come_back(stage.code(), state).status_code == 303

    def test_after_no_ad_account_was_ticked(self, stage: Stage) -> None:
        """Going back and ticking one works without a new link [8]."""
        browser = stage.browser()
        state = browser.begin(stage.link())
        assert browser.come_back(stage.code(advertisers=[]), state).status_code == 422
        assert browser.come_back(stage.code(), state).status_code == 303


class TestBrowser:
    def test_without_the_cookie(self, stage: Stage) -> None:
        """The right state in a browser that did not begin the flow is worth nothing [9]."""
        state = stage.browser().begin(stage.link())
        assert_refused(stage, stage.browser().come_back(stage.code(), state))

    def test_with_another_browsers_cookie(self, stage: Stage) -> None:
        """A cookie of a flow of one's own does not open somebody else's [10]."""
        state = stage.browser().begin(stage.link())
        other = stage.browser()
        other.begin(stage.link("other"))
        assert_refused(stage, other.come_back(stage.code(), state))

    def test_with_another_flows_cookie_under_the_right_name(self, stage: Stage) -> None:
        """The cookie's value counts, not its name: a state of one connection is not used for another [10] [11]."""
        victim, attacker = stage.browser(), stage.browser()
        state = victim.begin(stage.link("victim"))
        attacker.begin(stage.link("attacker"))
        (name,) = (cookie.name for cookie in victim.session.cookies)
        (value,) = (cookie.value or "" for cookie in attacker.session.cookies)
        forged = stage.browser()
        forged.session.cookies.set(name, value, domain="127.0.0.1", path="/")
        assert_refused(stage, forged.come_back(stage.code(), state))

    @pytest.mark.parametrize("value", ["", "x", "A" * 32, "A" * 5000, '"', "a b", "\u00e9".encode().decode("latin-1")])
    def test_with_a_cookie_that_is_none(self, stage: Stage, value: str) -> None:
        """Anything else under the cookie's name is as good as no cookie [9] [10]."""
        victim = stage.browser()
        state = victim.begin(stage.link())
        (name,) = (cookie.name for cookie in victim.session.cookies)
        answer = stage.browser().get(
            f"/?auth_code={stage.code()}&state={state}", headers={"Cookie": f"{name}={value}".encode("latin-1")}
        )
        assert_refused(stage, answer)

    def test_the_state_decides_which_connection_is_made(self, stage: Stage) -> None:
        """With two flows open, each state makes its own connection and no other [11]."""
        browser = stage.browser()
        states = {name: browser.begin(stage.link(name)) for name in ("one", "two")}
        assert browser.come_back(stage.code(), states["two"]).status_code == 303
        assert set(stage.secrets.secrets()) == {"tiktok-ads-token-two"}
        assert browser.come_back(stage.code(), states["one"]).status_code == 303
        assert set(stage.secrets.secrets()) == {"tiktok-ads-token-one", "tiktok-ads-token-two"}


class TestComparison:
    def test_takes_the_same_time_wherever_two_differ(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Signatures and cookies are compared by `hmac.compare_digest`, in constant time [14]."""
        compared: list[tuple[object, object]] = []
        true = hmac.compare_digest

        def recorded(a: bytes, b: bytes) -> bool:
            compared.append((a, b))
            return true(a, b)

        by = signer()
        text, state, nonce = by.new_state(by.new_link("acme")[0])
        monkeypatch.setattr(hmac, "compare_digest", recorded)
        with pytest.raises(LinkInvalid):
            by.read_state(flipped(text, len(text) - 6))
        assert len(compared) == 1
        assert not bound_to(state, "wrong")
        assert bound_to(state, nonce.reveal())
        assert len(compared) == 3


class TestLink:
    def test_previews_leave_it_good(self, stage: Stage) -> None:
        """Chat and mail programs open a link many times before a person does [15]."""
        link = stage.link()
        for _ in range(10):
            assert stage.browser().get(link).status_code == 200
            assert stage.browser().request("HEAD", link).status_code == 200
        assert stage.writes() == []
        browser = stage.browser()
        assert browser.come_back(stage.code(), browser.begin(link)).status_code == 303

    def test_opening_it_sets_no_cookie(self, stage: Stage) -> None:
        """Only continuing binds the flow to a browser [15]."""
        assert "Set-Cookie" not in stage.browser().get(stage.link()).headers

    def test_a_state_is_not_taken_for_one(self, stage: Stage) -> None:
        """What TikTok gets to see cannot be opened as a link [16]."""
        state = stage.browser().begin(stage.link())
        assert_refused(stage, stage.browser().get(f"/start?link={state}"))
        assert_refused(stage, stage.browser().post("/start", data={"link": state}))

    @pytest.mark.parametrize("spoil", [spoil for name, spoil in SPOILT.items() if "[1]" not in name])
    def test_one_that_was_changed_is_refused(self, stage: Stage, spoil: Callable[[str], str]) -> None:
        """The same holds for links as for states [2] [3] [4] [12] [13]."""
        text = spoil(stage.link().partition("=")[2])
        assert_refused(stage, stage.browser().post("/start", data={"link": text}))
        assert_refused(stage, stage.browser().get("/start", params={"link": text}))

    def test_a_result_is_taken_for_neither(self, stage: Stage) -> None:
        """What a browser keeps for the result page opens nothing [16]."""
        result = signer().sign_result(["acme", "id", 1, 2, 0])
        assert_refused(stage, stage.browser().get(f"/start?link={result}"))
        assert_refused(stage, stage.browser().come_back(stage.code(), result))
