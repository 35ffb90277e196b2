"""Connect links and states: what they carry, how long they are good, and which link is used.

That one is not taken for another, and what a state has to stand, is in `security/test_state`.
"""

from datetime import timedelta

import pytest

from tokenkeeper import transitions
from tokenkeeper.connect.links import Link, Signer
from tokenkeeper.connection import Connection
from tokenkeeper.errors import LinkExpired, LinkInvalid
from tokenkeeper.secret import Secret
from unit.parts import KEY, NOON, HandClock, long_lived

EMPTY = Connection("acme", {}, {})
SIGNER = Signer([Secret(KEY)])

pytestmark = pytest.mark.usefixtures("hand_clock")


class TestLinks:
    def test_a_link_says_what_it_was_made_for(self) -> None:
        """Connection, own id, time of issue in milliseconds, expiry, family and labels come back as they went in."""
        made, text = SIGNER.new_link("acme", any_account=True, family="account", labels={"client": "shoes"})
        assert SIGNER.read_link(text.reveal()) == made
        assert made == Link("acme", made.id, NOON, NOON + timedelta(hours=72), True, "account", {"client": "shoes"})
        assert made.id != SIGNER.new_link("acme")[0].id

    def test_labels_that_no_secret_takes_are_no_link(self) -> None:
        """Even if our own key signed them."""
        for labels in ({"Client": "a"}, {"client": "A b"}, {f"a{number}": "" for number in range(9)}):
            _, text = SIGNER.new_link("acme", labels=labels)
            with pytest.raises(LinkInvalid):
                SIGNER.read_link(text.reveal())

    def test_it_is_good_for_five_minutes_to_thirty_days(self, hand_clock: HandClock) -> None:
        """At its expiry it is good, a moment later it has expired; a life out of bounds is refused."""
        for life in (timedelta(minutes=4, seconds=59), timedelta(days=30, seconds=1)):
            with pytest.raises(ValueError, match="5 minutes to 30 days"):
                SIGNER.new_link("acme", life)
        _, text = SIGNER.new_link("acme", timedelta(minutes=5))
        hand_clock.pass_by(minutes=5)
        SIGNER.read_link(text.reveal())
        hand_clock.pass_by(milliseconds=1)
        with pytest.raises(LinkExpired):
            SIGNER.read_link(text.reveal())

    def test_an_operators_clock_may_be_ten_minutes_ahead(self, hand_clock: HandClock) -> None:
        """A link is made on the operator's own machine; one that is dated much later would outlive its use."""
        hand_clock.pass_by(minutes=10)
        _, text = SIGNER.new_link("acme")
        hand_clock.pass_by(minutes=-10)
        SIGNER.read_link(text.reveal())
        hand_clock.pass_by(minutes=-10)
        with pytest.raises(LinkInvalid):
            SIGNER.read_link(text.reveal())


def test_the_link_that_made_the_connection_is_used(hand_clock: HandClock) -> None:
    """It is known by its id, whatever the clocks say; what was never connected has used none."""
    link, _ = SIGNER.new_link("acme")
    hand_clock.pass_by(days=-1)
    assert link.is_used(transitions.connected(EMPTY, long_lived(), hand_clock.now(), link.id, {}).connection)
    assert not link.is_used(EMPTY)


def test_a_state_carries_its_link_and_outlives_it(hand_clock: HandClock) -> None:
    """What the flow needs on its way back is all in the state; who began in time may finish."""
    link, _ = SIGNER.new_link("acme", timedelta(minutes=5), any_account=True)
    text, made, nonce = SIGNER.new_state(link)
    hand_clock.pass_by(minutes=30)
    assert SIGNER.read_state(text) == made
    assert (made.link, made.issued_at) == (link, NOON)
    assert nonce.reveal() not in text
