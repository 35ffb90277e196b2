"""Connect links and states: signed, dated texts that carry what the flow has to remember, since nothing else does.

A link is sent to an approver; a state goes to TikTok and comes back, and counts only together with the cookie of the
browser that it was made for. Each kind is signed with a salt of its own, so that one is never accepted as the other.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar, get_args

from itsdangerous import BadData, BadSignature, URLSafeSerializer
from itsdangerous.encoding import base64_decode, base64_encode

from tokenkeeper import clock
from tokenkeeper.checks import CONNECTION, LABEL_KEY, LABEL_VALUE, MOST_LABELS
from tokenkeeper.connection import Connection
from tokenkeeper.errors import LinkExpired, LinkInvalid
from tokenkeeper.grant import Family
from tokenkeeper.secret import Secret

USUAL_LIFE = timedelta(hours=72)
SHORTEST_LIFE = timedelta(minutes=5)
LONGEST_LIFE = timedelta(days=30)
STATE_LIFE = timedelta(hours=1)  # as long as TikTok's authorization code lives
_CLOCKS_DIFFER_BY = timedelta(minutes=15)  # a link is made on the operator's own machine
_INSTANCES_DIFFER_BY = timedelta(seconds=30)  # a state is made and read by the function, as Google's clocks differ
_FAMILIES: tuple[Family, ...] = get_args(Family)
T = TypeVar("T")


class Link(NamedTuple):
    """What a connect link says."""

    connection: str  # the connection that it makes
    id: str  # its own id; empty for the portal's own link, which works again and again
    issued_at: datetime  # when it was made, to the millisecond
    expires_at: datetime  # until when it is good
    # whether it may replace a connection's advertisers, or its account, by entirely different ones
    any_account: bool = False
    family: Family = "advertiser"  # what it authorizes
    # the operator's own labels, which the connection's secret gets
    labels: Mapping[str, str] = {}

    def is_used(self, connection: Connection) -> bool:
        """Whether it made the connection as it stands, or was issued before that was made."""
        made = connection.connected_at
        return bool(self.id) and (self.id == connection.last_link or (made is not None and self.issued_at <= made))


class State(NamedTuple):
    """What a state says."""

    link: Link  # the link that the flow began with
    flow: str  # names the flow's cookie
    binding: str  # hash of that cookie's value
    issued_at: datetime  # when the flow began


class Signer:
    """Makes and reads links, states and the result that a browser keeps for a while."""

    def __init__(self, keys: Sequence[Secret]) -> None:
        """Set up with the signing keys, newest first: the newest signs, all verify."""
        oldest_first = [key.reveal() for key in reversed(keys)]
        how = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
        self._links, self._states, self._results = (
            URLSafeSerializer(oldest_first, salt=f"tokenkeeper.{kind}", signer_kwargs=how)
            for kind in ("link", "state", "result")
        )

    def new_link(
        self,
        connection: str,
        life: timedelta = USUAL_LIFE,
        *,
        any_account: bool = False,
        family: Family = "advertiser",
        labels: Mapping[str, str] | None = None,
    ) -> tuple[Link, Secret]:
        """Make a link and its signed text; names and labels are checked ones.

        Raises:
            ValueError: the life is shorter than 5 minutes or longer than 30 days.
        """
        if not SHORTEST_LIFE <= life <= LONGEST_LIFE:
            raise ValueError("a link lives 5 minutes to 30 days")
        now = clock.from_milliseconds(clock.milliseconds(clock.now()))
        link = Link(connection, secrets.token_urlsafe(9), now, now + life, any_account, family, labels or {})
        return link, Secret(str(self._links.dumps(_packed(link))))

    def read_link(self, text: str) -> Link:
        """Read a link's text; raises as `read_state` does."""
        link = _read(self._links, text, "link", _unpacked)
        _check_time("link", link.issued_at, link.expires_at, _CLOCKS_DIFFER_BY)
        return link

    def new_state(self, link: Link) -> tuple[str, State, Secret]:
        """Begin a flow: the state's text, what it says, and the value of the cookie that binds it to a browser."""
        nonce = Secret(secrets.token_urlsafe(24))
        text, state = self.state_of(link, flow_prefix(link) + secrets.token_hex(2), nonce)
        return text, state, nonce

    def state_of(self, link: Link, flow: str, nonce: Secret) -> tuple[str, State]:
        """A state for a flow that a browser has begun, by its cookie's name and value, and what the state says."""
        state = State(link, flow, _hash(nonce.reveal()), clock.now())
        packed = [_packed(link), state.flow, state.binding, clock.milliseconds(state.issued_at)]
        return str(self._states.dumps(packed)), state

    def read_state(self, text: str) -> State:
        """Read a state's text; `bound_to` has to be asked as well.

        Raises:
            LinkInvalid: it is none of ours, was changed, or is dated in the future.
            LinkExpired: its time is over.
        """
        state = _read(self._states, text, "state", _unpacked_state)
        _check_time("state", state.issued_at, state.issued_at + STATE_LIFE, _INSTANCES_DIFFER_BY)
        return state

    def sign_result(self, result: object) -> str:
        """A text for the browser to keep; `read_result` gives back what went in."""
        return str(self._results.dumps(result))

    def read_result(self, text: str) -> object:
        """What `sign_result` was given, or None where the text is none of ours."""
        try:
            return _read(self._results, text, "result", lambda result: result)
        except LinkInvalid:
            return None


def flow_prefix(link: Link) -> str:
    """How the names of all flows of a link begin: four hexadecimal digits."""
    return hashlib.sha256(link.id.encode()).hexdigest()[:4]


def bound_to(state: State, cookie: str) -> bool:
    """Whether the cookie is that of the browser which began the flow."""
    return hmac.compare_digest(_hash(cookie), state.binding)


def _read(serializer: URLSafeSerializer, text: str, kind: str, unpacked: Callable[[Any], T]) -> T:
    signature = text.rpartition(".")[2]
    try:
        if base64_encode(base64_decode(signature)).decode() != signature:
            raise BadSignature("not the canonical base64 of a signature")  # the last letter has bits that are ignored
        return unpacked(serializer.loads(text))
    except (BadData, ValueError, TypeError, OverflowError, IndexError):
        raise LinkInvalid(f"the {kind} is not signed by this function") from None


def _check_time(kind: str, issued_at: datetime, expires_at: datetime, clocks_differ_by: timedelta) -> None:
    now = clock.now()
    if issued_at > now + clocks_differ_by:
        raise LinkInvalid(f"the {kind} is dated in the future")
    if now > expires_at:
        raise LinkExpired(f"the {kind} has expired")


def _hash(text: str) -> str:
    return base64_encode(hashlib.sha256(text.encode()).digest()[:16]).decode()


def _packed(link: Link) -> list[object]:
    issued, expires = clock.milliseconds(link.issued_at), clock.milliseconds(link.expires_at)
    packed: list[object] = [link.connection, link.id, issued, expires, int(link.any_account)]
    if link.labels or link.family != _FAMILIES[0]:  # most links are short
        packed += [_FAMILIES.index(link.family), dict(link.labels)]
    return packed


def _unpacked(packed: list[Any]) -> Link:
    connection, id_, issued, expires, any_account, *more = packed
    family, labels = more or (0, {})
    fitting = all(LABEL_KEY.fullmatch(key) and LABEL_VALUE.fullmatch(value) for key, value in dict(labels).items())
    if not CONNECTION.fullmatch(connection) or not fitting or len(labels) > MOST_LABELS:
        raise ValueError
    times = clock.from_milliseconds(issued), clock.from_milliseconds(expires)
    return Link(connection, str(id_), *times, any_account == 1, _FAMILIES[family], labels)


def _unpacked_state(packed: list[Any]) -> State:
    link, flow, binding, issued = packed
    return State(_unpacked(link), str(flow), str(binding), clock.from_milliseconds(issued))
