"""The family of TikTok accounts: what is sent, what the answers mean, and whose token it is."""

from __future__ import annotations

import urllib.parse
from dataclasses import replace

import pytest

from emulators.tiktok import TikTokServer
from tokenkeeper import grant
from tokenkeeper.errors import Kind, TikTokRefused, TikTokSilent
from tokenkeeper.grant import RefreshableGrant
from tokenkeeper.secret import Secret
from tokenkeeper.tiktok.families import TikTok, TokenFamily
from tokenkeeper.tiktok.reach import Reach
from unit import parts
from unit.parts import NOON, of_account, response

CREDENTIALS = {"client_id": parts.APP_ID, "client_secret": parts.APP_SECRET}
SCOPES = ("user.info.basic", "user.info.profile", "user.info.stats", "video.list")


@pytest.fixture
def family(simulated: TikTokServer) -> TokenFamily:
    """The family, in front of the simulated TikTok."""
    return TikTok(parts.read(TIKTOK_API_URL=simulated.api_url)).family("account")


@pytest.fixture
def mine(simulated: TikTokServer) -> RefreshableGrant:
    """A grant that TikTok knows."""
    given = simulated.grant_account("acme.shoes")
    answer = response(given.access_token, given.refresh_token, scope=given.scope, open_id=given.open_id)
    made = grant.first(answer, connection="acme", app_id=parts.APP_ID, family="account", asked_at=NOON)
    assert isinstance(made, RefreshableGrant)
    return made


class TestConsent:
    def test_the_page_is_given_all_that_it_needs(self) -> None:
        """Scopes are required, another account can be chosen, and the redirect URL ends with a slash."""
        chosen = parts.read(PUBLIC_URL="https://x.example/c", TIKTOK_ACCOUNT_SCOPES="user.info.basic,video.list")
        address = TikTok(chosen).family("account").consent_url("a.b-c_d~")
        assert address.startswith("https://www.tiktok.com/v2/auth/authorize?")
        assert urllib.parse.parse_qs(urllib.parse.urlsplit(address).query) == {
            "client_key": [parts.APP_ID],
            "response_type": ["code"],
            "scope": ["user.info.basic,video.list"],
            "redirect_uri": ["https://x.example/c/"],
            "state": ["a.b-c_d~"],
            "disable_auto_auth": ["1"],
        }


class TestExchange:
    def test_of_a_code(self, family: TokenFamily, simulated: TikTokServer) -> None:
        """The redirect URL is sent once more, as it was registered; the code goes as it came."""
        code = simulated.authorize_account(redirect_uri="https://connect.example.com/")
        found = family.exchange(Secret(code))
        assert simulated.requests_of("account_token") == [
            CREDENTIALS
            | {
                "grant_type": "authorization_code",
                "auth_code": code,
                "redirect_uri": "https://connect.example.com/",
            }
        ]
        assert found.refresh_token
        assert found.open_id
        assert (found.expires_in, found.refresh_expires_in) == (86_400, 31_536_000)
        assert (found.scope, found.advertiser_ids) == (SCOPES, ())

    def test_of_a_code_that_is_wrong(self, family: TokenFamily) -> None:
        """The code that says so means a dead token elsewhere; here it says to begin again."""
        with pytest.raises(TikTokRefused) as error:
            family.exchange(Secret("no-such-code"))
        assert (error.value.kind, error.value.code) == (Kind.RESTART, 40131)

    def test_an_answer_without_an_account_names_none(self, family: TokenFamily, simulated: TikTokServer) -> None:
        """The callback refuses it."""
        simulated.override_answer("account_token", omit=["open_id"])
        code = simulated.authorize_account(redirect_uri="https://connect.example.com/")
        assert family.exchange(Secret(code)).open_id == ""


class TestRefresh:
    def test_brings_a_new_token(self, family: TokenFamily, simulated: TikTokServer, mine: RefreshableGrant) -> None:
        """No redirect URL is sent."""
        found = family.refresh(mine)
        assert found.access_token != mine.access_token
        assert found.open_id == mine.open_id
        assert simulated.requests_of("account_refresh_token") == [
            CREDENTIALS | {"grant_type": "refresh_token", "refresh_token": mine.refresh_token.reveal()}
        ]

    def test_for_another_account_is_no_answer(
        self, family: TokenFamily, simulated: TikTokServer, mine: RefreshableGrant
    ) -> None:
        """Nobody's token is put in the place of another's."""
        simulated.override_answer("account_refresh_token", {"open_id": "somebody-else"})
        with pytest.raises(TikTokSilent, match="another account's token"):
            family.refresh(mine)

    @pytest.mark.parametrize("code", [40131, 40103, 40107])
    def test_a_refresh_token_that_is_dead_needs_a_person(
        self, family: TokenFamily, simulated: TikTokServer, mine: RefreshableGrant, code: int
    ) -> None:
        """Here 40131 is about the token."""
        simulated.fail_next("account_refresh_token", code)
        with pytest.raises(TikTokRefused) as error:
            family.refresh(mine)
        assert error.value.kind is Kind.REAUTHORIZE


class TestCheck:
    def test_asks_for_the_tokens_account(
        self, family: TokenFamily, simulated: TikTokServer, mine: RefreshableGrant
    ) -> None:
        """Without the app secret; the family has no advertisers."""
        assert family.check(mine) == Reach()
        assert simulated.requests_of("account_token_info") == [
            {"app_id": parts.APP_ID, "access_token": mine.access_token.reveal()}
        ]

    def test_another_account_is_no_answer(self, family: TokenFamily, mine: RefreshableGrant) -> None:
        """A token of somebody else's is not taken for this one's."""
        with pytest.raises(TikTokSilent, match="another account"):
            family.check(replace(mine, open_id="somebody-else"))

    def test_a_missing_permission_does_not_mean_that_it_is_dead(
        self, family: TokenFamily, simulated: TikTokServer, mine: RefreshableGrant
    ) -> None:
        """40130 is about a scope."""
        simulated.fail_next("account_token_info", 40130)
        assert family.check(mine) == Reach()

    def test_a_revoked_token_is_dead(
        self, family: TokenFamily, simulated: TikTokServer, mine: RefreshableGrant
    ) -> None:
        """Which is what revoking is for."""
        family.revoke(mine)
        assert not simulated.is_alive(mine.access_token.reveal())
        with pytest.raises(TikTokRefused) as error:
            family.check(mine)
        assert error.value.kind is Kind.REAUTHORIZE


class TestDescribe:
    def test_a_token_made_elsewhere(self, family: TokenFamily, mine: RefreshableGrant) -> None:
        """Its account and scopes can be asked for."""
        found = family.describe(mine.access_token)
        assert (found.open_id, found.scope) == (mine.open_id, SCOPES)

    @pytest.mark.parametrize("creator_id", [None, "", "two words", 5])
    def test_an_answer_without_an_account_is_silence(
        self, family: TokenFamily, simulated: TikTokServer, mine: RefreshableGrant, creator_id: object
    ) -> None:
        """Nobody knows whose it is."""
        simulated.override_answer("account_token_info", {"creator_id": creator_id})
        with pytest.raises(TikTokSilent, match="names no account"):
            family.describe(mine.access_token)


class TestNames:
    @pytest.mark.parametrize(
        ("told", "shown"),
        [
            ({}, "acme.shoes"),
            ({"username": ""}, "Acme Shoes"),
            ({"username": None, "display_name": None}, ""),
        ],
        ids=["its user name", "else its display name", "else none"],
    )
    def test_of_the_account(
        self,
        family: TokenFamily,
        simulated: TikTokServer,
        mine: RefreshableGrant,
        told: dict[str, object],
        shown: str,
    ) -> None:
        """It is asked for by the open id."""
        simulated.override_answer("account_profile", told)
        assert family.names(mine, 5).username == shown
        assert simulated.requests_of("account_profile")[0]["business_id"] == mine.open_id


def test_a_scope_that_was_asked_for_and_not_granted_is_missing() -> None:
    """By the names of the settings; what came beside does not matter."""
    family = TikTok(parts.read()).family("account")
    assert family.missing_permissions(of_account()) == ("user.info.profile", "user.info.stats")
