"""The family of TikTok accounts: what is sent, what the answers mean, and whose token it is."""

import urllib.parse

import pytest

from emulators.tiktok import TikTokServer
from tokenkeeper import grant
from tokenkeeper.errors import Kind, TikTokRefused, TikTokSilent
from tokenkeeper.grant import RefreshableGrant
from tokenkeeper.secret import Secret
from tokenkeeper.tiktok.account import Accounts
from tokenkeeper.tiktok.families import TikTok
from unit import parts
from unit.parts import NOON, response


@pytest.fixture
def family(simulated: TikTokServer) -> Accounts:
    """The family, in front of the simulated TikTok."""
    return TikTok(parts.read(TIKTOK_API_URL=simulated.api_url)).accounts


@pytest.fixture
def mine(simulated: TikTokServer) -> RefreshableGrant:
    """A grant that TikTok knows."""
    given = simulated.grant_account("acme.shoes")
    answer = response(given.access_token, given.refresh_token, scope=given.scope, open_id=given.open_id)
    made = grant.first(answer, connection="acme", app_id=parts.APP_ID, family="account", asked_at=NOON)
    assert isinstance(made, RefreshableGrant)
    return made


def test_the_consent_page_is_given_all_that_it_needs() -> None:
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


def test_a_code_that_is_wrong(family: Accounts) -> None:
    """The code that says so means a dead token elsewhere; here it says to begin again."""
    with pytest.raises(TikTokRefused) as error:
        family.exchange(Secret("no-such-code"))
    assert (error.value.kind, error.value.code) == (Kind.RESTART, 40131)


def test_a_refresh_does_first_what_has_to_come_before_it(family: Accounts, mine: RefreshableGrant) -> None:
    """So that a lease is renewed right before a refresh token is sent."""
    done: list[str] = []
    family.refresh(mine, lambda: done.append("renewed"))
    assert done == ["renewed"]


def test_a_token_without_an_account_is_none(family: Accounts, simulated: TikTokServer, mine: RefreshableGrant) -> None:
    """A token that somebody imports is described by TikTok, or not at all."""
    simulated.override_answer("account_token_info", {"creator_id": "two words"})
    with pytest.raises(TikTokSilent, match="names no account"):
        family.describe(mine.access_token)


def test_the_name_of_the_account(family: Accounts, simulated: TikTokServer, mine: RefreshableGrant) -> None:
    """Its user name, else its display name, else none. It is asked for by the open id."""
    answers: list[dict[str, object]] = [{}, {"username": ""}, {"username": None, "display_name": None}]
    for told, shown in zip(answers, ("acme.shoes", "Acme Shoes", ""), strict=True):
        simulated.override_answer("account_profile", told)
        assert family.names(mine, 5).username == shown
    assert simulated.requests_of("account_profile")[0]["business_id"] == mine.open_id
