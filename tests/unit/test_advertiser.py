"""The family of ad accounts: what is sent, what the answers mean, and which permissions are missing."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping

import pytest

from emulators.serving import Fault
from emulators.tiktok import TikTokServer
from tokenkeeper.errors import Kind, TikTokRefused, TikTokSilent
from tokenkeeper.grant import Grant
from tokenkeeper.secret import Secret
from tokenkeeper.tiktok.families import TikTok, TokenFamily
from tokenkeeper.tiktok.reach import Advertiser, Reach
from unit import parts
from unit.parts import granted, refreshable, response

CREDENTIALS = {"app_id": parts.APP_ID, "secret": parts.APP_SECRET}
FIRST, SECOND, THIRD = "7000000000000000001", "7000000000000000002", "7000000000000000003"


@pytest.fixture
def family(simulated: TikTokServer) -> TokenFamily:
    """The family, in front of the simulated TikTok."""
    return TikTok(parts.read(TIKTOK_API_URL=simulated.api_url)).family("advertiser")


def of(access_token: str) -> Grant:
    """A grant with that token."""
    return granted(response(access_token))


class TestConsent:
    def test_the_page_is_given_app_state_and_redirect(self) -> None:
        """Every part is quoted, so that the address means what was put in."""
        chosen = parts.read(TIKTOK_AUTHORIZE_URL="https://example.com/portal/auth", PUBLIC_URL="https://x.example/c")
        address = TikTok(chosen).family("advertiser").consent_url("a.b-c_d~&=")
        assert address.startswith("https://example.com/portal/auth?")
        assert urllib.parse.parse_qs(urllib.parse.urlsplit(address).query) == {
            "app_id": [parts.APP_ID],
            "state": ["a.b-c_d~&="],
            "redirect_uri": ["https://x.example/c"],
        }


class TestExchange:
    def test_of_a_code_for_a_long_lived_grant(self, family: TokenFamily, simulated: TikTokServer) -> None:
        """Today's answer has no refresh token and no lifetime; credentials and code travel in the body."""
        code = simulated.authorize("long-lived", [FIRST], [4, 10])
        found = family.exchange(Secret(code))
        assert simulated.requests_of("access_token") == [CREDENTIALS | {"auth_code": code}]
        assert simulated.is_alive(found.access_token.reveal())
        assert (found.refresh_token, found.expires_in, found.refresh_expires_in) == (None, None, None)
        assert (found.advertiser_ids, found.scope, found.open_id) == ((FIRST,), (4, 10), "")

    def test_of_a_code_for_an_expiring_grant(self, family: TokenFamily, simulated: TikTokServer) -> None:
        """What the answer holds is taken, refresh token and lifetimes included."""
        found = family.exchange(Secret(simulated.authorize("expiring")))
        assert found.refresh_token
        assert (found.expires_in, found.refresh_expires_in) == (86_400, 31_536_000)

    def test_an_answer_that_does_not_say_is_told_from_one_that_says_none(
        self, family: TokenFamily, simulated: TikTokServer
    ) -> None:
        """No field is not an empty list."""
        simulated.override_answer("access_token", omit=["advertiser_ids", "scope"])
        silent = family.exchange(Secret(simulated.authorize()))
        nobody = family.exchange(Secret(simulated.authorize(advertisers=[])))
        assert (silent.advertiser_ids, silent.scope) == (None, None)
        assert nobody.advertiser_ids == ()

    def test_of_a_used_code(self, family: TokenFamily, simulated: TikTokServer) -> None:
        """It says to begin again."""
        code = Secret(simulated.authorize())
        family.exchange(code)
        with pytest.raises(TikTokRefused) as error:
            family.exchange(code)
        assert error.value.kind is Kind.RESTART


class TestRefresh:
    def test_brings_new_tokens(self, family: TokenFamily, simulated: TikTokServer) -> None:
        """Access and refresh token of the answer are both new; it is sent once, after the last preparation."""
        given = simulated.grant("expiring")
        assert given.refresh_token
        prepared: list[int] = []
        grant = refreshable(response(given.access_token, given.refresh_token))
        found = family.refresh(grant, lambda: prepared.append(simulated.count("refresh_token")))
        assert prepared == [0]
        assert found.refresh_token not in {None, Secret(given.refresh_token)}
        assert found.access_token != Secret(given.access_token)
        assert simulated.requests_of("refresh_token") == [
            CREDENTIALS | {"grant_type": "refresh_token", "refresh_token": given.refresh_token}
        ]


class TestRevoke:
    def test_ends_the_grant(self, family: TokenFamily, simulated: TikTokServer) -> None:
        """The token is dead afterwards."""
        given = simulated.grant()
        family.revoke(of(given.access_token))
        assert not simulated.is_alive(given.access_token)


class TestCheck:
    def test_lists_what_the_token_reaches(self, family: TokenFamily, simulated: TikTokServer) -> None:
        """By id and name, in TikTok's order; names can be had alone, too."""
        given = simulated.grant(advertisers=[THIRD, FIRST])
        listed = Reach((Advertiser(THIRD, "Acme Outlet"), Advertiser(FIRST, "Acme Shoes, Europe")))
        assert family.check(of(given.access_token)) == listed
        assert family.names(of(given.access_token), 5) == listed

    def test_none_is_an_answer_too(self, family: TokenFamily, simulated: TikTokServer) -> None:
        """A token that works may reach nobody."""
        assert family.check(of(simulated.grant(advertisers=[]).access_token)).advertisers == ()

    def test_a_token_that_may_not_list_is_seen_to_be_alive(self, family: TokenFamily, simulated: TikTokServer) -> None:
        """Asking for the user needs no permission; what it reaches is not known."""
        assert family.check(of(simulated.grant(scope=[4]).access_token)) == Reach()
        assert [call.name for call in simulated.calls] == ["advertiser_get", "user_info"]

    @pytest.mark.parametrize(
        ("second", "kind", "code"),
        [
            (40105, Kind.REAUTHORIZE, 40001),
            (40102, Kind.REAUTHORIZE, 40001),
            (40001, Kind.REAUTHORIZE, 40001),
            (50000, Kind.TRANSIENT, 50000),
            (40100, Kind.THROTTLED, 40100),
            (40113, Kind.OPERATOR, 40113),
        ],
        ids=[
            "the token is dead",
            "the token is over",
            "not even that is allowed",
            "a system error",
            "too many calls",
            "the app's trouble",
        ],
    )
    def test_a_missing_permission_is_believed_after_a_second_refusal(
        self, family: TokenFamily, simulated: TikTokServer, second: int, kind: Kind, code: int
    ) -> None:
        """Only one that says that the token is dead makes the first one final."""
        token = simulated.grant().access_token
        simulated.fail_next("advertiser_get", 40001)
        simulated.fail_next("user_info", second)
        with pytest.raises(TikTokRefused) as error:
            family.check(of(token))
        assert (error.value.kind, error.value.code) == (kind, code)

    @pytest.mark.parametrize(
        "data",
        [{}, {"list": None}, {"list": "none"}, {"list": ["7001"]}, {"list": [{}]}, {"list": [{"advertiser_id": "x"}]}],
        ids=["no list", "null", "a text", "ids only", "an account without an id", "an id that is none"],
    )
    def test_a_list_that_is_none_is_silence(
        self, family: TokenFamily, simulated: TikTokServer, data: Mapping[str, object]
    ) -> None:
        """A list with anything in it that is no id is not believed."""
        simulated.add_fault(Fault(status=200, body={"code": 0, "data": dict(data)}))
        with pytest.raises(TikTokSilent):
            family.check(of("any"))

    def test_no_other_call_takes_the_app_secret_in_its_address(
        self, family: TokenFamily, simulated: TikTokServer
    ) -> None:
        """TikTok's list wants it there; asking for the user does not."""
        family.check(of(simulated.grant(scope=[4]).access_token))
        assert "secret" in simulated.requests_of("advertiser_get")[0]
        assert "secret" not in simulated.requests_of("user_info")[0]


class TestDescribe:
    def test_a_token_made_elsewhere(self, family: TokenFamily, simulated: TikTokServer) -> None:
        """Its advertisers can be asked for, its permissions not."""
        found = family.describe(Secret(simulated.grant(advertisers=[FIRST]).access_token))
        assert (found.advertiser_ids, found.scope, found.refresh_token) == ((FIRST,), None, None)


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
    assert TikTok(parts.read()).family("advertiser").missing_permissions(granted(response(scope=scope))) == missing


@pytest.mark.parametrize(
    ("ids", "names"),
    [
        ((SECOND, FIRST, THIRD), [(SECOND, "B"), (FIRST, "A")]),
        ((FIRST,), [(FIRST, "A")]),
        (None, [(FIRST, "A"), (SECOND, "B")]),
    ],
    ids=["in the order that is asked for", "some of them", "by id"],
)
def test_names_of_what_is_reached(ids: tuple[str, ...] | None, names: list[tuple[str, str]]) -> None:
    """Accounts without a name have none; TikTok's order, which changes from call to call, does not matter."""
    reach = Reach((Advertiser(SECOND, "B"), Advertiser(THIRD, ""), Advertiser(FIRST, "A")))
    assert list(reach.names(ids).items()) == names
