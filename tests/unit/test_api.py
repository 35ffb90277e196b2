"""The envelope of TikTok's answers: what is an answer, what is silence, and what the rate limit gets to know."""

import contextlib
from collections.abc import Mapping
from typing import Any

import pytest

from tokenkeeper.errors import Kind, TikTokRefused, TikTokSilent, TikTokUnreachable
from tokenkeeper.secret import Secret
from tokenkeeper.tiktok.api import Api, RateLimit, identifier, line, token_response
from tokenkeeper.tiktok.transport import Answer, Transport

Document = Mapping[str, Any] | None


class Canned(Transport):
    """Answers everything alike, without a network."""

    def __init__(self, status: int, document: Document) -> None:
        super().__init__("https://tiktok.invalid")
        self.sent: list[str] = []
        self._answer = Answer(status, document)

    def send(self, method: str, target: str, *_: object, fresh: bool = False) -> Answer:  # noqa: ARG002
        self.sent.append(target)
        return self._answer


class Noted(RateLimit):
    """A rate limit that lets everything through and notes what it is asked and told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def wait(self) -> None:
        self.notes.append("wait")

    def throttled(self) -> None:
        self.notes.append("throttled")

    def succeeded(self) -> None:
        self.notes.append("succeeded")


def answered(document: Document, status: int = 200) -> Mapping[str, Any]:
    """The `data` of an answer."""
    return Api("", transport=Canned(status, document)).post("/x/", {})


def refused(document: Document, status: int = 200) -> TikTokRefused:
    """The refusal that an answer is."""
    with pytest.raises(TikTokRefused) as error:
        answered(document, status)
    return error.value


class TestAnswers:
    def test_a_success_is_its_data_and_request_id(self) -> None:
        """What was done in part is done; unknown fields do not matter."""
        document = {"message": "OK", "request_id": "R1", "data": {"a": 1}, "later": [1]}
        for code in (0, 20001, "0"):
            assert answered({"code": code, **document}) == {"a": 1, "request_id": "R1"}, code

    @pytest.mark.parametrize(("code", "kind"), [(40105, Kind.REAUTHORIZE), ("-1", Kind.OPERATOR)])
    def test_any_other_code_is_a_refusal_of_its_kind(self, code: object, kind: Kind) -> None:
        """As a number or in quotes, with any HTTP status below 500; TikTok's message, which may echo, is left out."""
        error = refused({"code": code, "message": "bad token a-token", "request_id": "R1"}, 404)
        assert (error.kind, error.code, error.request_id) == (kind, int(str(code)), "R1")
        assert str(error) == f"TikTok answered with code {code} (request R1)"

    def test_http_429_is_throttling_whatever_the_body_says(self) -> None:
        """A gateway's 429 counts like TikTok's own code."""
        assert refused({"code": 0, "data": {}}, 429).kind is refused(None, 429).kind is Kind.THROTTLED

    def test_an_odd_request_id_is_left_out(self) -> None:
        """Only letters and digits get into a log."""
        odd = [None, 5, "two words", "x" * 65, "ümlaut"]
        assert [refused({"code": 40105, "request_id": one}).request_id for one in odd] == [""] * len(odd)


SILENCE: dict[str, tuple[int, Document]] = {
    "a server error, whatever its body": (500, {"code": 40107}),
    "a gateway's error": (502, None),
    "a redirect": (302, {"code": 0, "data": {}}),
    "no object": (200, None),
    "no code": (200, {}),
    "a code that is true": (200, {"code": True, "data": {}}),
    "a code with two signs": (200, {"code": "--1", "data": {}}),
    "a code in other digits": (200, {"code": "٣", "data": {}}),
    "a code with a fraction": (200, {"code": 1.5, "data": {}}),
    "success without data": (200, {"code": 0}),
    "success with a list": (200, {"code": 0, "data": []}),
}


@pytest.mark.parametrize(("status", "document"), SILENCE.values(), ids=SILENCE)
def test_what_is_no_envelope_of_tiktoks(status: int, document: Document) -> None:
    """Nobody knows what became of the call."""
    with pytest.raises(TikTokSilent, match="TikTok answered" if status != 200 else "TikTok's answer"):
        answered(document, status)


@pytest.mark.parametrize("token", [None, 12345, "two words", "tökén", "x" * 4097])
def test_a_success_without_a_usable_token_is_silence(token: object) -> None:
    """An access token has to be there; an unusable refresh token is none."""
    with pytest.raises(TikTokSilent, match="no usable token"):
        token_response({"access_token": token, "request_id": "R1"}, "advertiser")
    data = {"access_token": "a", "refresh_token": token, "request_id": ""}
    found = token_response(data, "advertiser")
    assert (found.access_token, found.refresh_token) == (Secret("a"), None)


class TestCalls:
    def test_every_answer_is_told_to_the_rate_limit(self) -> None:
        """It paces by what TikTok says, not by what a gateway says."""
        rate = Noted()
        answers: list[tuple[int, Document]] = [(200, {"code": 0, "data": {}}), (200, {"code": 40105}), (429, None)]
        for status, document in (*answers, (502, None)):
            api = Api("", rate, Canned(status, document))
            with contextlib.suppress(TikTokRefused, TikTokSilent):
                api.post("/x/", {})
        assert rate.notes == [*["wait", "succeeded"] * 2, "wait", "throttled", "wait"]

    def test_what_comes_before_sending_comes_after_waiting(self) -> None:
        """So that a lease is fresh when the call goes out; what it raises keeps it from going out."""
        rate, transport = Noted(), Canned(200, {"code": 0, "data": {}})

        def refuse() -> None:
            assert rate.notes == ["wait"]
            raise TikTokUnreachable("no")

        with pytest.raises(TikTokUnreachable):
            Api("", rate, transport).post("/x/", {}, before_sending=refuse)
        assert transport.sent == []


def test_names_and_ids_that_can_be_shown_and_written_down() -> None:
    """A name fits into a line, whatever somebody called an ad account; an id goes into annotations and addresses."""
    shown = {
        "Acme  Shoes\n": "Acme Shoes",
        "\u202ea\0\x7fb": "ab",
        "👩\u200d👧": "👩\u200d👧",
        "靴" * 200: "靴" * 100,
        7: "",
    }
    assert {told: line(told) for told in shown} == shown
    odd = ["", "a b", "a,b", 'a"b', "ä", "x" * 257, 5]
    assert [identifier(told) for told in ("_000-abc.D", *odd)] == ["_000-abc.D", *[""] * len(odd)]
