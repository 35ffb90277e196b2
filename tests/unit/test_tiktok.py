"""TikTok's Business API: what is sent, what its answers mean, and which kind of failure each code is."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping

import pytest

import faults
from local.serving import Fault
from local.tiktok import TikTokServer, answers
from tokenkeeper.errors import Kind, TikTokRefused, TikTokSilent
from tokenkeeper.secrecy import Secret
from tokenkeeper.tiktok import TikTok, consent_address, missing_permissions
from unit import parts


@pytest.fixture
def tiktok(simulated: TikTokServer) -> TikTok:
    """The product's view of the simulated TikTok."""
    return TikTok(simulated.api_url, parts.APP_ID, Secret(parts.APP_SECRET))


def refusal(tiktok: TikTok, token: str = "any") -> TikTokRefused:
    """What TikTok refuses a refresh with."""
    with pytest.raises(TikTokRefused) as error:
        tiktok.refresh(Secret(token))
    return error.value


class TestCalls:
    def test_a_code_is_exchanged_for_a_long_lived_grant(self, tiktok: TikTok, simulated: TikTokServer) -> None:
        """Today's answer has no refresh token and no lifetime; credentials and code travel in the body."""
        code = simulated.authorize("long-lived", ["7000000000000000001"], [4, 10])
        handout = tiktok.exchange(Secret(code))
        assert simulated.requests_of("access_token") == [
            {"app_id": parts.APP_ID, "secret": parts.APP_SECRET, "auth_code": code}
        ]
        assert simulated.is_alive(handout.access_token.reveal())
        assert (handout.refresh_token, handout.expires_in, handout.refresh_expires_in) == (None, None, None)
        assert (handout.advertiser_ids, handout.scope) == (("7000000000000000001",), (4, 10))

    def test_a_code_is_exchanged_for_an_expiring_grant(self, tiktok: TikTok, simulated: TikTokServer) -> None:
        """What the answer holds is taken, refresh token and lifetimes included."""
        handout = tiktok.exchange(Secret(simulated.authorize("expiring")))
        assert handout.refresh_token
        assert (handout.expires_in, handout.refresh_expires_in) == (86_400, 31_536_000)

    def test_a_refresh_token_is_spent(self, tiktok: TikTok, simulated: TikTokServer) -> None:
        """Access and refresh token of the answer are both new."""
        given = simulated.grant("expiring")
        assert given.refresh_token
        handout = tiktok.refresh(Secret(given.refresh_token))
        assert handout.refresh_token
        assert handout.refresh_token.reveal() != given.refresh_token
        assert handout.access_token.reveal() != given.access_token
        assert simulated.spent[given.refresh_token] == 1

    @pytest.mark.parametrize(
        ("told", "name"),
        [
            ("Acme  Shoes\n", "Acme Shoes"),
            ("\u202eseohS", "seohS"),
            ("a\0\x7fb", "ab"),
            ("靴" * 200, "靴" * 100),
            (7, ""),
            (None, ""),
        ],
        ids=["white space", "turned round", "what no page can show", "too long", "a number", "null"],
    )
    def test_names_of_ad_accounts_fit_into_a_line(
        self, tiktok: TikTok, simulated: TikTokServer, told: object, name: str
    ) -> None:
        """Whatever somebody called an ad account, it can be shown and written down."""
        listed = [{"advertiser_id": "7000000000000000001", "advertiser_name": told}]
        simulated.override_answer("advertiser_get", {"list": listed})
        (found,) = tiktok.advertisers(Secret(simulated.grant("long-lived").access_token))
        assert found.name == name

    def test_a_grant_is_revoked(self, tiktok: TikTok, simulated: TikTokServer) -> None:
        """The token is dead afterwards."""
        given = simulated.grant()
        tiktok.revoke(Secret(given.access_token))
        assert not simulated.is_alive(given.access_token)

    def test_advertisers_have_ids_and_names(self, tiktok: TikTok, simulated: TikTokServer) -> None:
        """The list is the one of now, in TikTok's order."""
        given = simulated.grant(advertisers=["7000000000000000003", "7000000000000000001"])
        found = tiktok.advertisers(Secret(given.access_token))
        assert [(one.id, one.name) for one in found] == [
            ("7000000000000000003", "Acme Outlet"),
            ("7000000000000000001", "Acme Shoes, Europe"),
        ]

    def test_a_token_without_the_permission_can_still_be_seen_to_live(
        self, tiktok: TikTok, simulated: TikTokServer
    ) -> None:
        """Asking for the user needs no permission, asking for advertisers does."""
        given = simulated.grant(scope=[4])
        with pytest.raises(TikTokRefused) as error:
            tiktok.advertisers(Secret(given.access_token))
        assert error.value.kind is Kind.PERMISSION
        tiktok.check_alive(Secret(given.access_token))
        simulated.revoke(given.access_token)
        with pytest.raises(TikTokRefused) as error:
            tiktok.check_alive(Secret(given.access_token))
        assert error.value.kind is Kind.PERSON


class TestCodes:
    @pytest.mark.parametrize(
        ("code", "kind"),
        [
            *((code, Kind.THROTTLED) for code in (40100, 40016, 40132, 40133, 61000)),
            *((code, Kind.PASSING) for code in (50000, 50002, 51000, 51010, 60001, 40202, 12345, 40002, 40000)),
            *((code, Kind.OURS) for code in (40101, 40113, 40108, 40118, 40119, 40124, 40125, -1, 41000)),
            *((code, Kind.PERSON) for code in (40105, 40106, 40103, 40107)),
            *((code, Kind.RESTART) for code in (40110, 40115)),
            (40001, Kind.PERMISSION),
            (40102, Kind.EXPIRED),
        ],
    )
    def test_every_code_has_its_kind(self, tiktok: TikTok, simulated: TikTokServer, code: int, kind: Kind) -> None:
        """The kind decides what happens; an unknown code is taken as passing."""
        simulated.fail_next("refresh_token", code)
        refused = refusal(tiktok)
        assert (refused.kind, refused.code) == (kind, code)

    def test_another_apps_token_needs_a_person(self, tiktok: TikTok, simulated: TikTokServer) -> None:
        """40000 is a defect of ours, unless TikTok says that the token is another app's."""
        simulated.fail_next("refresh_token", 40000, answers.APP_MISMATCH)
        assert refusal(tiktok).kind is Kind.PERSON

    def test_http_429_is_throttling_whatever_the_body_says(self, tiktok: TikTok, simulated: TikTokServer) -> None:
        """A gateway's 429 counts like TikTok's own code."""
        simulated.add_fault(Fault(status=429, body=b"slow down", content_type="text/plain"))
        assert refusal(tiktok).kind is Kind.THROTTLED

    def test_a_code_with_an_http_error_is_still_tiktoks_answer(self, tiktok: TikTok, simulated: TikTokServer) -> None:
        """An envelope that comes with HTTP 400 says no like one with 200."""
        simulated.fail_next("refresh_token", 40107, http_status=400)
        assert refusal(tiktok).kind is Kind.PERSON

    @pytest.mark.parametrize("status", [500, 502, 503, 504, 302])
    def test_a_code_with_a_server_error_is_silence(self, tiktok: TikTok, simulated: TikTokServer, status: int) -> None:
        """Whoever answers with a server error or a redirect has not said what became of the call."""
        simulated.fail_next("refresh_token", 40107, http_status=status)
        with pytest.raises(TikTokSilent, match=f"HTTP {status}"):
            tiktok.refresh(Secret("any"))

    def test_the_request_id_is_kept(self, tiktok: TikTok, simulated: TikTokServer) -> None:
        """TikTok's support asks for it, so errors carry it; TikTok's message, which may echo what was sent, is not."""
        body = {"code": 40107, "message": "bad token any-token-sent", "request_id": "2026ABC", "data": {}}
        simulated.add_fault(Fault(status=200, body=body))
        refused = refusal(tiktok)
        assert refused.request_id == "2026ABC"
        assert str(refused) == "TikTok answered with code 40107 (request 2026ABC)"

    @pytest.mark.parametrize("request_id", [None, 5, "", "two words", "<script>", "x" * 65, "ümlaut"])
    def test_an_odd_request_id_is_left_out(self, tiktok: TikTok, simulated: TikTokServer, request_id: object) -> None:
        """Only letters and digits get into a log."""
        simulated.add_fault(Fault(status=200, body={"code": 40107, "request_id": request_id}))
        assert refusal(tiktok).request_id == ""

    @pytest.mark.parametrize(("code", "kind"), [("40107", Kind.PERSON), ("-1", Kind.OURS)])
    def test_a_code_as_text_is_a_code(self, tiktok: TikTok, simulated: TikTokServer, code: str, kind: Kind) -> None:
        """Digits in quotes mean the same."""
        simulated.add_fault(Fault(status=200, body={"code": code}))
        assert refusal(tiktok).kind is kind


class TestSilence:
    @pytest.mark.parametrize(
        "fault",
        [
            faults.not_json(),
            faults.empty(),
            faults.html(),
            faults.html(status=404),
            faults.null_data(),
            faults.without_token(),
            faults.wrong_types(),
            faults.truncated(),
            Fault(status=200, body={}),
            Fault(status=200, body={"code": None, "data": {}}),
            Fault(status=200, body={"code": True, "data": {}}),
            Fault(status=200, body={"code": "0x0", "data": {}}),
            Fault(status=200, body={"code": 0}),
            Fault(status=200, body={"code": 0, "data": {"access_token": ""}}),
            Fault(status=200, body={"code": 0, "data": {"access_token": "two words"}}),
            Fault(status=200, body={"code": 0, "data": {"access_token": "x" * 5000}}),
        ],
        ids=[
            "plain text",
            "nothing",
            "HTML",
            "HTML with a 404",
            "success without data",
            "success without a token",
            "success with wrong types",
            "half an answer",
            "an empty object",
            "a code that is null",
            "a code that is true",
            "a code that is no number",
            "success and nothing else",
            "an empty token",
            "a token of two words",
            "a token of 5000 characters",
        ],
    )
    def test_what_is_no_answer_of_tiktoks_is_silence(
        self, tiktok: TikTok, simulated: TikTokServer, fault: Fault
    ) -> None:
        """Nobody knows what became of the call, and a success without a usable token is no success."""
        simulated.add_fault(fault)
        given = simulated.grant("expiring")
        assert given.refresh_token
        with pytest.raises(TikTokSilent):
            tiktok.refresh(Secret(given.refresh_token))

    @pytest.mark.parametrize(
        "data",
        [{}, {"list": None}, {"list": "none"}, {"list": ["7001"]}, {"list": [{}]}, {"list": [{"advertiser_id": "x"}]}],
    )
    def test_a_list_of_advertisers_that_is_none(
        self, tiktok: TikTok, simulated: TikTokServer, data: Mapping[str, object]
    ) -> None:
        """A list with anything in it that is no id is not believed."""
        simulated.add_fault(Fault(status=200, body={"code": 0, "data": dict(data)}))
        with pytest.raises(TikTokSilent):
            tiktok.advertisers(Secret("any"))


class TestOptionalFields:
    @pytest.mark.parametrize(
        ("fields", "expires_in"),
        [
            ({"expires_in": "3600"}, 3600),
            ({"expires_in": 0}, None),
            ({"expires_in": -1}, None),
            ({"expires_in": None}, None),
            ({"expires_in": 10**30}, 1e30),
            ({"expires_in": [1]}, None),
        ],
    )
    def test_odd_lifetimes(
        self, tiktok: TikTok, simulated: TikTokServer, fields: Mapping[str, object], expires_in: float | None
    ) -> None:
        """A lifetime that cannot be one is none; the token is kept all the same."""
        simulated.override_answer("access_token", fields)
        handout = tiktok.exchange(Secret(simulated.authorize("expiring")))
        assert handout.expires_in == expires_in
        assert handout.access_token

    def test_unknown_fields_do_not_matter(self, tiktok: TikTok, simulated: TikTokServer) -> None:
        """TikTok may add to its answers."""
        simulated.override_answer("access_token", {"added": {"later": [1]}})
        assert tiktok.exchange(Secret(simulated.authorize())).access_token

    def test_a_partial_success_is_one(self, tiktok: TikTok, simulated: TikTokServer) -> None:
        """Code 20001 with a token is as good as 0."""
        simulated.add_fault(Fault(status=200, body={"code": 20001, "data": {"access_token": "a"}}))
        assert tiktok.exchange(Secret("any")).access_token.reveal() == "a"

    def test_an_answer_that_does_not_say_is_told_from_one_that_says_none(
        self, tiktok: TikTok, simulated: TikTokServer
    ) -> None:
        """No field is not an empty list."""
        simulated.override_answer("access_token", omit=["advertiser_ids", "scope"])
        silent = tiktok.exchange(Secret(simulated.authorize()))
        nobody = tiktok.exchange(Secret(simulated.authorize(advertisers=[])))
        assert (silent.advertiser_ids, silent.scope) == (None, None)
        assert nobody.advertiser_ids == ()


def test_the_consent_page_is_given_app_state_and_redirect() -> None:
    """Every part is quoted, so that the address means what was put in."""
    address = consent_address("https://example.com/portal/auth", "7001", "a.b-c_d~", "https://x.example/c?d=e&f")
    parts_of = urllib.parse.urlsplit(address)
    assert address.startswith("https://example.com/portal/auth?")
    assert urllib.parse.parse_qs(parts_of.query) == {
        "app_id": ["7001"],
        "state": ["a.b-c_d~"],
        "redirect_uri": ["https://x.example/c?d=e&f"],
    }


@pytest.mark.parametrize(
    ("scope", "missing"),
    [
        ((4, 10, 200, 210, 220, 30), ()),
        ((1, 2, 3, 4), ()),
        ((100, 200, 210, 220, 30, 7043626160646815746), ()),
        ((4, 10, 999_999), ("Read Campaigns", "Read Ad Groups", "Read Ads", "Read Custom Audiences")),
        ((10, 200, 210, 220, 30), ("Reporting",)),
    ],
    ids=[
        "as TikTok answers today",
        "collapsed to parents",
        "single ids",
        "with an id that no list knows",
        "no reports",
    ],
)
def test_an_id_or_one_that_contains_it_is_the_permission(scope: tuple[int, ...], missing: tuple[str, ...]) -> None:
    """Real grants come back collapsed to parents, so each permission is known by several ids."""
    assert missing_permissions(scope) == missing
