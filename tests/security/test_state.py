"""States and connect links: who may come back from TikTok, and what of it counts. [n]: line n of `tests/README.md`."""

import hmac
import string
from collections.abc import Callable, Iterable
from datetime import timedelta

import pytest
import requests

from security.raw import NEW_KEY
from stage import LINK_KEY, Browser, Function, Stage
from tokenkeeper import clock
from tokenkeeper.connect.links import STATE_LIFE, Signer, bound_to
from tokenkeeper.errors import LinkExpired, LinkInvalid
from tokenkeeper.secret import Secret


def signer(key: str = LINK_KEY) -> Signer:
    return Signer([Secret(key)])


def own_state(stage: Stage, by: Signer, browser: Browser, prefix: str = "tk-") -> str:
    """A state that `by` signed, whose cookie the browser has."""
    text, state, nonce = by.new_state(by.new_link("acme")[0])
    browser.session.cookies.set(prefix + state.flow, nonce.reveal(), domain="127.0.0.1", path="/")
    stage.canaries.keep("a state", text)
    stage.canaries.keep("a flow's cookie", nonce.reveal())
    return text


def assert_refused(stage: Stage, answers: requests.Response | Iterable[requests.Response], status: int = 400) -> None:
    """Each answer is a page with that status, TikTok was asked nothing, and nothing was written."""
    for answer in [answers] if isinstance(answers, requests.Response) else answers:
        assert answer.status_code == status, answer.text
        assert "Was anything stored?" in answer.text
    assert stage.tiktok.calls == []
    assert stage.writes() == []


def flipped(text: str, at: int) -> str:
    return text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]


def _twin(letter: str) -> str:
    """Another letter that base64 takes for the same at the end of 32 bytes, where two bits of it count for nothing."""
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    return alphabet[alphabet.index(letter) ^ 1]


SPOILT: dict[str, Callable[[str], str]] = {
    "garbage [2]": lambda _: "garbage",
    "garbage that looks signed [2]": lambda _: "WyJhY21lIl0.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "a payload with another letter [3]": lambda text: flipped(text, 4),
    "a payload that is cut off [3]": lambda text: text[3:],
    "a compressed payload that is none [3]": lambda text: f".{text}",
    "a signature with another letter [4]": lambda text: flipped(text, len(text) - 6),
    "a signature that is cut off [4]": lambda text: text[:-1],
    "a signature whose last letter codes the same bytes [4]": lambda text: text[:-1] + _twin(text[-1]),
    "no signature [4]": lambda text: text.rpartition(".")[0] + ".",
    "two signatures [4]": lambda text: f"{text}.{text.rpartition('.')[2]}",
    "longer than any [12]": lambda text: text + "A" * 2049,
    "3,000 letters [12]": lambda _: "A" * 3000,
    "not ASCII [13]": lambda text: f"{text}é",
    "digits that are not ASCII [13]": lambda _: "١٢٣",
    "a NUL [13]": lambda text: f"{text}\0",
    "a line break at the end [13]": lambda text: f"{text}\n",
    "a header in it [13]": lambda text: f"{text}\r\nSet-Cookie: a=b",
    "a blank in front [13]": lambda text: f" {text}",
}


class TestWhatIsNoState:
    def test_is_refused_before_anything_happens(self, stage: Stage) -> None:
        """A state or a link that is not exactly as it was signed is worth nothing [2] [3] [4] [12] [13]."""
        browser = stage.browser()
        link = stage.link()
        state, text = browser.begin(link), link.partition("=")[2]
        answers = {}
        for name, spoil in SPOILT.items():
            answers[name, "come back"] = browser.come_back(stage.code(), spoil(state))
            answers[name, "open"] = stage.browser().get("/start", params={"link": spoil(text)})
            answers[name, "continue"] = stage.browser().post("/start", data={"link": spoil(text)})
        assert {asked: answer.status_code for asked, answer in answers.items()} == dict.fromkeys(answers, 400)
        assert_refused(stage, answers.values())

    def test_is_none_at_all(self, stage: Stage) -> None:
        """Without any, or with the fixed one, it is the portal's own link, refused as long as nobody set it up [1]."""
        browser = stage.browser()
        browser.begin(stage.link())
        queries = (f"auth_code={stage.code()}", f"code={stage.code()}&state=", "code=a&state=your_custom_params")
        assert_refused(stage, [browser.get(f"/?{query}") for query in queries], 403)

    def test_is_one_that_another_key_signed(self, stage: Stage) -> None:
        """What a key signed that is not listed, or no longer, is worth nothing, states and links alike [5]."""
        browser = stage.browser()
        _, link = signer(NEW_KEY).new_link("acme")
        asked = [browser.come_back(stage.code(), own_state(stage, signer(NEW_KEY), browser))]
        assert_refused(stage, [*asked, browser.get(f"/start?link={link.reveal()}")])

    def test_is_a_link(self, stage: Stage) -> None:
        """A connect link is not taken for a state [16]."""
        browser = stage.browser()
        browser.begin(stage.link())
        assert_refused(stage, browser.come_back(stage.code(), stage.link().partition("=")[2]))


def test_an_older_key_that_is_still_listed_verifies(stage: Stage, rotated: Function) -> None:
    """After a change of keys, what was signed before still works, and the newest key signs [5]."""
    browser = stage.browser(rotated)
    begun = browser.begin(stage.link())
    assert signer(NEW_KEY).read_state(begun).link.connection == "acme"
    state = own_state(stage, signer(), browser, "__Host-tk-")
    assert browser.come_back(stage.code(), state).status_code == 303


class TestAge:
    def test_past_the_limit_it_is_not(self, stage: Stage) -> None:
        """After an hour the flow has to begin again, even with the right cookie; a little before, it ends well [6]."""
        browser = stage.browser()
        state = browser.begin(stage.link(life=timedelta(days=1)))
        query = f"/?auth_code={stage.code()}&state={state}"
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in browser.session.cookies)
        stage.set_clock(functions=STATE_LIFE.total_seconds() + 1)
        assert_refused(stage, stage.browser().get(query, headers={"Cookie": cookies}))
        stage.set_clock(functions=STATE_LIFE.total_seconds() - 120)
        assert stage.browser().get(query, headers={"Cookie": cookies}).status_code == 303

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

    def test_a_link_past_its_expiry_is_told_so(self, stage: Stage) -> None:
        """An expired link gets 410, a forged one 400; opening or continuing makes no difference [6]."""
        link = stage.link(life=timedelta(minutes=5))
        stage.set_clock(functions=301)
        asked = [stage.browser().get(link), stage.browser().post("/start", data={"link": link.partition("=")[2]})]
        assert_refused(stage, asked, 410)
        assert_refused(stage, stage.browser().get(flipped(link, len(link) - 5)), 400)


class TestReplay:
    def test_after_success(self, stage: Stage) -> None:
        """Whoever comes back again learns that the link was used, even with the flow's cookie, and nothing more [7]."""
        browser, state, _ = stage.begun()
        kept = browser.session.cookies.copy()
        assert browser.come_back(stage.code(), state).status_code == 303
        before = stage.token()
        stage.tiktok.forget_calls()
        stage.secrets.forget_calls()
        assert_refused(stage, browser.come_back(stage.code(), state), 409)
        assert stage.secrets.calls == []  # the browser keeps the flow's result
        browser.session.cookies = kept
        assert_refused(stage, browser.come_back(stage.code(), state), 409)
        assert stage.token() == before

    def test_of_a_second_flow_of_the_same_link(self, stage: Stage) -> None:
        """The second to come back with one link is told that it was used, and so are earlier links, if opened [7]."""
        earlier, link = stage.link(), stage.link()
        first, second = stage.browser(), stage.browser()
        state, other = first.begin(link), second.begin(link)
        assert first.come_back(stage.code(), state).status_code == 303
        stage.tiktok.forget_calls()
        stage.secrets.forget_calls()
        assert_refused(stage, second.come_back(stage.code(), other), 409)
        assert_refused(stage, [first.get(used) for used in (link, earlier)], 409)
        assert_refused(stage, first.post("/start", data={"link": link.partition("=")[2]}), 409)
        assert first.get(stage.link()).status_code == 200

    def test_after_a_failure(self, stage: Stage) -> None:
        """A state is good for another try after TikTok refused, or when no ad account was ticked [8]."""
        browser, state, _ = stage.begun()
        stage.tiktok.fail_next("access_token", 50000)
        assert browser.come_back(stage.code(), state).status_code == 502
        assert browser.come_back(stage.code(advertisers=[]), state).status_code == 422
        assert browser.come_back(stage.code(), state).status_code == 303


class TestBrowser:
    def test_without_the_cookie(self, stage: Stage) -> None:
        """The right state without its cookie, or with anything else under its name, is worth nothing [9]."""
        victim = stage.browser()
        query = f"/?auth_code={stage.code()}&state={victim.begin(stage.link())}"
        (name,) = (cookie.name for cookie in victim.session.cookies)
        assert_refused(stage, stage.browser().get(query))
        for value in (b"", b"x", b"A" * 32, b"A" * 5000, b'"', b"a b", "é".encode()):
            assert_refused(stage, stage.browser().get(query, headers={"Cookie": name.encode() + b"=" + value}))

    def test_with_another_flows_cookie(self, stage: Stage) -> None:
        """A cookie of a flow of one's own does not open somebody else's, under whichever name it comes [10] [11]."""
        victim, attacker, forged = stage.browser(), stage.browser(), stage.browser()
        state = victim.begin(stage.link("victim"))
        attacker.begin(stage.link("attacker"))
        (name,) = (cookie.name for cookie in victim.session.cookies)
        (value,) = (cookie.value or "" for cookie in attacker.session.cookies)
        forged.session.cookies.set(name, value, domain="127.0.0.1", path="/")
        assert_refused(stage, [by.come_back(stage.code(), state) for by in (attacker, forged)])

    def test_the_state_decides_which_connection_is_made(self, stage: Stage) -> None:
        """With two flows open, each state makes its own connection and no other [11]."""
        browser = stage.browser()
        states = {name: browser.begin(stage.link(name)) for name in ("one", "two")}
        assert browser.come_back(stage.code(), states["two"]).status_code == 303
        assert set(stage.secrets.secrets()) == {"tiktok-ads-token-two"}
        assert browser.come_back(stage.code(), states["one"]).status_code == 303
        assert set(stage.secrets.secrets()) == {"tiktok-ads-token-one", "tiktok-ads-token-two"}


def test_comparing_takes_the_same_time_wherever_two_differ(monkeypatch: pytest.MonkeyPatch) -> None:
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
        """Chat and mail programs open a link before a person does; only continuing binds a flow to a browser [15]."""
        link = stage.link()
        for method in ("GET", "HEAD", "GET"):
            opened = stage.browser().request(method, link)
            assert (opened.status_code, "Set-Cookie" in opened.headers) == (200, False)
        assert stage.writes() == []
        browser = stage.browser()
        assert browser.come_back(stage.code(), browser.begin(link)).status_code == 303

    def test_is_nothing_else_that_was_signed(self, stage: Stage) -> None:
        """Neither a state, which TikTok gets to see, nor a browser's result opens as a link, or is a state [16]."""
        state = stage.browser().begin(stage.link())
        result = signer().sign_result(["acme", "id", 1, 2, 0])
        asked = [stage.browser().get(f"/start?link={text}") for text in (state, result)]
        asked.append(stage.browser().post("/start", data={"link": state}))
        asked.append(stage.browser().come_back(stage.code(), result))
        assert_refused(stage, asked)
