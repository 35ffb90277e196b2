"""The family of ad accounts: what is sent, what the answers mean, and which permissions are missing."""

import pytest

from emulators.serving import Fault
from emulators.tiktok import TikTokServer
from tokenkeeper.errors import Kind, TikTokRefused, TikTokSilent
from tokenkeeper.grant import Grant
from tokenkeeper.tiktok.coverage import missing_permissions
from tokenkeeper.tiktok.families import TikTok, TokenFamily
from tokenkeeper.tiktok.reach import Reach
from unit import parts
from unit.parts import granted, response

FIRST, SECOND, THIRD = "7000000000000000001", "7000000000000000002", "7000000000000000003"


@pytest.fixture
def family(simulated: TikTokServer) -> TokenFamily:
    """The family, in front of the simulated TikTok."""
    return TikTok(parts.read(TIKTOK_API_URL=simulated.api_url)).family("advertiser")


def of(access_token: str) -> Grant:
    """A grant with that token."""
    return granted(response(access_token))


SECOND_REFUSALS = {
    "the token is dead": (40105, Kind.REAUTHORIZE, 40001),
    "the token is over": (40102, Kind.REAUTHORIZE, 40001),
    "not even that is allowed": (40001, Kind.REAUTHORIZE, 40001),
    "a system error": (50000, Kind.TRANSIENT, 50000),
}


class TestCheck:
    def test_a_token_that_may_not_list_is_seen_to_be_alive(self, family: TokenFamily, simulated: TikTokServer) -> None:
        """Asking for the user needs no permission; one that may list may reach nobody."""
        assert family.check(of(simulated.grant(scope=[4]).access_token)) == Reach()
        assert [call.name for call in simulated.calls] == ["advertiser_get", "user_info"]
        assert family.check(of(simulated.grant(advertisers=[]).access_token)).advertisers == {}

    @pytest.mark.parametrize(("second", "kind", "code"), SECOND_REFUSALS.values(), ids=SECOND_REFUSALS)
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

    def test_a_list_that_is_none_is_silence(self, family: TokenFamily, simulated: TikTokServer) -> None:
        """A list is not believed with anything in it that is no account, or has no id."""
        lists: list[object] = [["7001"], [{}], [{"advertiser_id": "x"}], None]
        for listed in lists:
            simulated.add_fault(Fault(status=200, body={"code": 0, "data": {"list": listed}}))
            with pytest.raises(TikTokSilent):
                family.check(of("any"))


def test_an_id_or_one_that_contains_it_is_the_permission() -> None:
    """Real grants come back collapsed to parents, so each permission is known by several ids."""
    few = ("Read Campaigns", "Read Ad Groups", "Read Ads", "Read Custom Audiences")
    complete = [(1, 2, 3, 4), (10, 20, 21, 22, 3, 41), (100, 200, 210, 220, 30, 7043626160646815746)]
    missing = {**dict.fromkeys(complete, ()), (4, 10, 999_999): few}
    assert {scope: missing_permissions(granted(response(scope=scope))) for scope in missing} == missing


def test_names_of_what_is_reached() -> None:
    """In the order that is asked for, else by id, since TikTok's changes; accounts without a name have none."""
    reach = Reach({SECOND: "B", THIRD: "", FIRST: "A"})
    assert list((reach.names((SECOND, FIRST, THIRD)) or {}).items()) == [(SECOND, "B"), (FIRST, "A")]
    assert list(reach.names(None) or ()) == [FIRST, SECOND]
    assert Reach().names((FIRST,)) is None
