"""Connect links, states and results: what they carry, how long they are good, and that one is not the other."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from tokenkeeper import transitions
from tokenkeeper.connect.links import Link, Signer, bound_to, flow_prefix
from tokenkeeper.connection import Connection
from tokenkeeper.errors import LinkExpired, LinkInvalid
from tokenkeeper.secret import Secret
from unit.parts import KEY, NOON, HandClock, long_lived

OLD_KEY = "key-old-0123456789abcdef0123456789abcdef"
OTHER_KEY = "key-two-0123456789abcdef0123456789abcdef"
EMPTY = Connection("acme", {}, {})


def made_at(moment: datetime, link: str) -> Connection:
    """The connection, made at that moment with the link of that id."""
    return transitions.connected(EMPTY, long_lived(), moment, link, {}).connection


pytestmark = pytest.mark.usefixtures("hand_clock")


@pytest.fixture
def signer() -> Signer:
    """Signs with one key."""
    return Signer([Secret(KEY)])


class TestLinks:
    def test_a_link_says_what_it_was_made_for(self, signer: Signer) -> None:
        """Connection, own id, time of issue in milliseconds, expiry and options come back as they went in."""
        made, text = signer.new_link("acme-eu", timedelta(hours=72), any_account=True)
        assert signer.read_link(text.reveal()) == made
        assert (made.connection, made.any_account, made.family) == ("acme-eu", True, "advertiser")
        assert made.expires_at - made.issued_at == timedelta(hours=72)

    def test_family_and_labels_travel_with_it(self, signer: Signer) -> None:
        """What the connection's secret gets, and which consent page the approver is sent to."""
        made, text = signer.new_link("acme", family="account", labels={"client": "shoes", "team": "media"})
        assert signer.read_link(text.reveal()) == made
        assert (made.family, made.labels) == ("account", {"client": "shoes", "team": "media"})

    @pytest.mark.parametrize("labels", [{"Client": "a"}, {"client": "A b"}, {f"a{number}": "" for number in range(9)}])
    def test_labels_that_no_secret_takes_are_no_link(self, signer: Signer, labels: dict[str, str]) -> None:
        """Even if our own key signed them."""
        _, text = signer.new_link("acme", labels=labels)
        with pytest.raises(LinkInvalid):
            signer.read_link(text.reveal())

    def test_72_hours_are_usual(self, signer: Signer) -> None:
        """Without another wish a link is good for three days, and only for the same accounts."""
        made, _ = signer.new_link("acme")
        assert made.expires_at == NOON + timedelta(hours=72)
        assert not made.any_account

    def test_every_link_has_an_id_of_its_own(self, signer: Signer) -> None:
        """Two links of the same moment differ."""
        assert signer.new_link("acme")[0].id != signer.new_link("acme")[0].id

    @pytest.mark.parametrize("life", [timedelta(minutes=5), timedelta(days=30)])
    def test_five_minutes_to_thirty_days(self, signer: Signer, life: timedelta) -> None:
        """The bounds of a link's life belong to it."""
        signer.new_link("acme", life)

    @pytest.mark.parametrize("life", [timedelta(minutes=4, seconds=59), timedelta(days=30, seconds=1), timedelta(-1)])
    def test_no_other_life(self, signer: Signer, life: timedelta) -> None:
        """A life out of bounds is refused."""
        with pytest.raises(ValueError, match="5 minutes to 30 days"):
            signer.new_link("acme", life)

    def test_a_link_is_fit_for_an_address(self, signer: Signer) -> None:
        """It needs no quoting, and stays short."""
        text = signer.new_link("a" * 63, timedelta(days=30), any_account=True)[1].reveal()
        assert set(text) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
        assert len(text) < 300

    def test_the_older_keys_still_verify(self, signer: Signer) -> None:
        """After a key was put in front, links of the old one go on working, and new ones need the new one."""
        rotated = Signer([Secret(OTHER_KEY), Secret(OLD_KEY), Secret(KEY)])
        _, old = signer.new_link("acme")
        _, new = rotated.new_link("acme")
        assert rotated.read_link(old.reveal()).connection == "acme"
        assert Signer([Secret(OTHER_KEY)]).read_link(new.reveal()).connection == "acme"
        with pytest.raises(LinkInvalid):
            signer.read_link(new.reveal())

    def test_it_is_good_until_its_last_moment(self, signer: Signer, hand_clock: HandClock) -> None:
        """At its expiry it is good, a moment later it has expired."""
        _, text = signer.new_link("acme", timedelta(minutes=5))
        hand_clock.pass_by(minutes=5)
        signer.read_link(text.reveal())
        hand_clock.pass_by(milliseconds=1)
        with pytest.raises(LinkExpired):
            signer.read_link(text.reveal())

    def test_an_operators_clock_may_be_a_little_ahead(self, signer: Signer, hand_clock: HandClock) -> None:
        """A link made ten minutes in the future works, one from tomorrow does not."""
        hand_clock.pass_by(minutes=10)
        _, soon = signer.new_link("acme")
        hand_clock.pass_by(days=1)
        _, tomorrow = signer.new_link("acme")
        hand_clock.pass_by(days=-1, minutes=-10)
        signer.read_link(soon.reveal())
        with pytest.raises(LinkInvalid, match="future"):
            signer.read_link(tomorrow.reveal())


class TestUse:
    def test_the_link_that_made_the_connection_is_used(self, signer: Signer, hand_clock: HandClock) -> None:
        """It is known by its id, whatever the clocks say; what was never connected has used none."""
        link, _ = signer.new_link("acme")
        hand_clock.pass_by(days=-1)
        assert link.is_used(made_at(hand_clock.now(), link.id))
        assert not link.is_used(EMPTY)

    def test_every_link_from_before_is_used_as_well(self, signer: Signer, hand_clock: HandClock) -> None:
        """A link that was issued up to the moment of connecting is used, one from after it is not."""
        earlier, _ = signer.new_link("acme")
        hand_clock.pass_by(minutes=1)
        same_moment, _ = signer.new_link("acme")
        made = made_at(hand_clock.now(), "another")
        hand_clock.pass_by(milliseconds=1)
        later, _ = signer.new_link("acme")
        assert [link.is_used(made) for link in (earlier, same_moment, later)] == [True, True, False]

    def test_the_portals_own_link_is_never_used_up(self) -> None:
        """It has no id, and makes its connection again and again."""
        assert not Link("acme", "", NOON, NOON).is_used(made_at(NOON, ""))


class TestStates:
    def test_a_state_carries_the_link_and_its_own_flow(self, signer: Signer) -> None:
        """What the flow needs on its way back is all in the state."""
        link, _ = signer.new_link("acme", any_account=True)
        text, made, _ = signer.new_state(link)
        assert signer.read_state(text) == made
        assert made.link == link
        assert made.issued_at == NOON

    def test_it_belongs_to_one_browser(self, signer: Signer) -> None:
        """Only the cookie that was made with it fits."""
        link, _ = signer.new_link("acme")
        text, _, cookie = signer.new_state(link)
        _, _, other = signer.new_state(link)
        state = signer.read_state(text)
        assert bound_to(state, cookie.reveal())
        assert not bound_to(state, other.reveal())
        assert not bound_to(state, "")
        assert cookie.reveal() not in text

    def test_a_flow_that_was_begun_can_be_gone_on_with(self, signer: Signer) -> None:
        """Another state for the same cookie, which is known by its name as one of the link's."""
        link, _ = signer.new_link("acme")
        _, begun, nonce = signer.new_state(link)
        again, state = signer.state_of(link, begun.flow, nonce)
        assert signer.read_state(again) == state == begun
        assert begun.flow.startswith(flow_prefix(link))
        assert flow_prefix(signer.new_link("acme")[0]) != flow_prefix(link)

    def test_it_outlives_its_link(self, signer: Signer, hand_clock: HandClock) -> None:
        """Who began in time may finish although the link has expired by then."""
        text, _, _ = signer.new_state(signer.new_link("acme", timedelta(minutes=5))[0])
        hand_clock.pass_by(minutes=30)
        assert signer.read_state(text).link.connection == "acme"

    def test_a_result_is_none_that_was_signed_as_something_else(self, signer: Signer) -> None:
        """Each kind is signed for itself."""
        link, text = signer.new_link("acme")
        for other in (text.reveal(), signer.new_state(link)[0]):
            assert signer.read_result(other) is None

    def test_a_result_comes_back_as_it_went_in(self, signer: Signer) -> None:
        """What a browser keeps for a while is read again, if it was not changed."""
        text = signer.sign_result(["acme", [["7001", "Ä & Co"]], 1])
        assert signer.read_result(text) == ["acme", [["7001", "Ä & Co"]], 1]
        assert signer.read_result(text[:-1]) is None
