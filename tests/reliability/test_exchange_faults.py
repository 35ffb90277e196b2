"""What TikTok can answer to an authorization code, and what comes of it: page, stored bytes, calls, events.

A code is good for one exchange, so whatever happens it is sent once; whoever approves again brings a new one.
"""

from __future__ import annotations

from typing import Any

import pytest

from reliability.answers import (
    ANSWERS,
    ERROR_PAGE,
    TOKEN_ANSWERS,
    Answer,
    Trouble,
    answered,
    code,
    fault,
    not_permitted,
    over,
)
from reliability.quick import QuickStage, each
from stage import REFRESH

WARNING, ERROR = "WARNING connection.refused", "ERROR connection.refused"
STORED = "NOTICE connection.stored"
TOLD = {"unreachable": ERROR, "silent": ERROR, "lost": ERROR, "ours": ERROR, "person": ERROR,
        "throttled": WARNING, "passing": WARNING}  # fmt: skip
ALL = [
    *ANSWERS,
    *TOKEN_ANSWERS,
    Answer("TikTok says that a token expired", "person", code(40102)),
    Answer("TikTok refuses permission", "person", not_permitted()),
]
REFUSALS = [answer for answer in ALL if answer.kind != "good"]
ONE_OF_EACH = list({answer.kind: answer for answer in reversed(REFUSALS)}.values())
SENT = [answer for answer in ONE_OF_EACH if answer.kind != "unreachable"]
HICCUPS = {
    "a gateway answers with HTTP 502": answered(ERROR_PAGE, 502, times=1),
    "the connection is closed without an answer": fault(do="drop", times=1),
    "the answer is cut off": fault(do="truncate", when="after", times=1),
    "TikTok has a passing problem": code(50000, times=1),
    "TikTok gets too many calls": code(40100, times=1),
}

STORED_BEFORE = {
    "nothing is stored": "nothing",
    "a long-lived grant is stored": "long-lived",
    "an expiring grant is stored": "expiring",
}
over_what = each("stored", STORED_BEFORE)


@pytest.fixture(autouse=True)
def short(quick: QuickStage) -> None:
    """A callback gives up soon on what cannot be reached."""
    quick.new_instances(CALLBACK_BUDGET_SECONDS="10")


def when(answers: list[Answer]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("answer", answers, ids=lambda answer: answer.sentence)


def plant(stage: QuickStage, stored: str) -> str:
    """Store a grant of that kind, or nothing; returns the kind to connect with."""
    if stored == "nothing":
        return "long-lived"
    stage.plant("acme", stored, age_hours=1)
    return stored


def kept(stage: QuickStage) -> dict[str, Any]:
    """All that is stored; a secret without a version is nothing. No lease may be left behind."""
    secrets = stage.secrets.secrets()
    assert all("lease" not in secret.annotations for secret in secrets.values())
    found = {
        name: (stage.secrets.payloads(name), secret.labels, secret.annotations) for name, secret in secrets.items()
    }
    return {name: secret for name, secret in found.items() if secret[0]}


def calls(stage: QuickStage) -> list[str]:
    """What TikTok was asked since this was asked last."""
    names = [call.name for call in stage.tiktok.calls]
    stage.tiktok.forget_calls()
    return names


def assert_connected(stage: QuickStage) -> None:
    """What TikTok gave last is stored."""
    given = stage.tiktok.grants[-1]
    assert stage.token()["access_token"] == given.access_token
    assert stage.token()["advertiser_ids"] == list(given.advertiser_ids)
    assert (REFRESH + "acme" in kept(stage)) == (given.kind == "expiring")
    if given.refresh_token:
        assert stage.whole_grant()["refresh_token"] == given.refresh_token
    assert (stage.labels()["kind"], stage.labels()["health"]) == (given.kind, "ok")
    assert stage.annotations()["obtained-at"] == stage.token()["obtained_at"]
    assert stage.told() == [STORED]


@over_what
@when(REFUSALS)
def test_no_connection_is_made_when(quick: QuickStage, answer: Answer, stored: str) -> None:
    """The code is sent once, if at all; there is one page and one entry in the log, and what was stored stays."""
    kind = plant(quick, stored)
    before = kept(quick)
    answer.happens(quick, "access_token")
    assert quick.approve("acme", kind).status_code == 502
    assert calls(quick) == ([] if answer.kind == "unreachable" else ["access_token"])
    assert quick.told() == [TOLD[answer.kind]]
    assert kept(quick) == before


@over_what
@when([answer for answer in ALL if answer.kind == "good"])
def test_a_connection_is_made_when(quick: QuickStage, answer: Answer, stored: str) -> None:
    """A usable token came, so it is stored."""
    kind = plant(quick, stored)
    answer.happens(quick, "access_token")
    assert quick.approve("acme", kind).status_code == 303
    assert calls(quick).count("access_token") == 1
    assert_connected(quick)


class TestApprovingAgain:
    @over_what
    @when(ONE_OF_EACH)
    def test_in_the_same_flow(self, quick: QuickStage, answer: Answer, stored: str) -> None:
        """Within the hour whoever goes back and approves again makes the connection."""
        kind = plant(quick, stored)
        browser = quick.browser()
        state = browser.begin(quick.link())
        answer.happens(quick, "access_token")
        assert browser.come_back(quick.code(kind), state).status_code == 502
        over(quick)
        quick.told()
        quick.later(minutes=55)
        assert browser.come_back(quick.code(kind), state).status_code == 303
        assert_connected(quick)

    @when(ONE_OF_EACH)
    def test_with_the_same_link_or_a_new_one(self, quick: QuickStage, answer: Answer) -> None:
        """A link that failed is still good, until another one has made the connection."""
        link = quick.link()
        browser = quick.browser()
        answer.happens(quick, "access_token")
        assert browser.come_back(quick.code(), browser.begin(link)).status_code == 502
        over(quick)
        quick.told()
        assert quick.browser().get(link).status_code == 200
        assert quick.approve().status_code == 303
        assert_connected(quick)
        assert quick.browser().get(link).status_code == 409

    @when([answer for answer in ANSWERS if answer.kind == "unreachable"])
    def test_with_the_same_code_after_nothing_was_sent(self, quick: QuickStage, answer: Answer) -> None:
        """The very same page may be reloaded, as it says."""
        browser = quick.browser()
        state, code_ = browser.begin(quick.link()), quick.code()
        answer.happens(quick, "access_token")
        assert "Nothing was used up" in browser.come_back(code_, state).text
        over(quick)
        quick.told()
        assert browser.come_back(code_, state).status_code == 303
        assert_connected(quick)

    @when([answer for answer in ONE_OF_EACH if answer.kind == "lost"])
    def test_with_the_same_code_after_it_took_effect(self, quick: QuickStage, answer: Answer) -> None:
        """A code is worthless once it was exchanged: a reloaded page says so, and nothing is stored."""
        browser = quick.browser()
        state, code_ = browser.begin(quick.link()), quick.code()
        answer.happens(quick, "access_token")
        browser.come_back(code_, state)
        over(quick)
        quick.told()
        page = browser.come_back(code_, state)
        assert page.status_code == 502
        assert "This confirmation was used already" in page.text
        assert calls(quick) == ["access_token", "access_token"]
        assert quick.told() == [WARNING]
        assert kept(quick) == {}


class TestAskingForTheAdvertisers:
    """Step 5, where the answer does not name them, and step 7, for their names."""

    @over_what
    @when([answer for answer in SENT if answer.kind != "lost"])
    def test_what_cannot_be_judged_is_not_stored(self, quick: QuickStage, answer: Answer, stored: str) -> None:
        """Where nobody says for whom access was granted, nothing changes, and the same flow can be finished."""
        kind = plant(quick, stored)
        before = kept(quick)
        browser = quick.browser()
        state = browser.begin(quick.link())
        quick.tiktok.override_answer("access_token", omit=["advertiser_ids"])
        answer.happens(quick, "advertiser_get")
        assert browser.come_back(quick.code(kind), state).status_code == 502
        asked = 2 if answer.kind in {"silent", "passing", "throttled"} else 1
        assert calls(quick) == ["access_token", *["advertiser_get"] * asked]
        assert quick.told() == [TOLD[answer.kind]]
        assert kept(quick) == before
        over(quick)
        quick.later(minutes=55)
        assert browser.come_back(quick.code(kind), state).status_code == 303
        assert_connected(quick)

    @each("hiccup", HICCUPS)
    def test_one_hiccup_costs_nobody_an_approval(self, quick: QuickStage, hiccup: Trouble) -> None:
        """Asking is safe to repeat, so it is asked once more, and the connection is made."""
        quick.tiktok.override_answer("access_token", omit=["advertiser_ids"])
        hiccup(quick, "advertiser_get")
        assert quick.approve().status_code == 303
        assert calls(quick)[:3] == ["access_token", "advertiser_get", "advertiser_get"]
        assert_connected(quick)

    @when(SENT)
    def test_names_may_be_missing(self, quick: QuickStage, answer: Answer) -> None:
        """Whatever becomes of the names, they are asked for once, and the token is stored."""
        answer.happens(quick, "advertiser_get")
        assert quick.approve().status_code == 303
        assert calls(quick) == ["access_token", "advertiser_get"]
        assert_connected(quick)
        assert quick.annotations()["advertiser-names"] == "{}"
