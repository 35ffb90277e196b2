"""What a connection's two secrets amount to: the whole table of cases, without a server."""

from datetime import timedelta

from tokenkeeper import payload
from tokenkeeper.grant import Grant, RefreshableGrant
from tokenkeeper.refresh.diagnosis import Diagnosis, NotRefreshable, Sound, TokenBehind, Unreadable, diagnose, read
from tokenkeeper.store.versions import Version
from unit.parts import NOON, expiring, long_lived, of_account, refreshable, response

NOTHING = Version(0, None)
BROKEN = Version(3, b"edited by hand")
DISABLED = Version(3, None)
OLD, NEW = expiring(), expiring(at=NOON + timedelta(hours=13))
LATER = long_lived(at=NOON + timedelta(days=1))
OTHER = refreshable(response("access-x", "refresh-x"))
MANY = tuple(str(7_000_000_000_000_000_000 + number) for number in range(2830))
NO_TOKEN, NO_REFRESH = "The token secret cannot be read.", "The refresh secret cannot be read."


def token(grant: Grant) -> Version:
    """The token secret's newest version."""
    return Version(3, payload.of_token(grant))


def refresh(grant: RefreshableGrant) -> Version:
    """The refresh secret's newest version."""
    return Version(2, payload.of_refresh(grant))


CASES: dict[str, tuple[Version, Version, Diagnosis]] = {
    "both hold the same grant": (token(NEW), refresh(NEW), Sound(NEW)),
    "a long-lived grant alone": (token(long_lived()), NOTHING, NotRefreshable(long_lived(), superseded=False)),
    "a later grant without a refresh token": (token(LATER), refresh(NEW), NotRefreshable(LATER, superseded=True)),
    "an earlier grant without a refresh token": (token(long_lived()), refresh(NEW), TokenBehind(NEW, unreadable=False)),
    "the token secret is behind": (token(OLD), refresh(NEW), TokenBehind(NEW, unreadable=False)),
    "the token secret is empty": (NOTHING, refresh(NEW), TokenBehind(NEW, unreadable=False)),
    "the token secret was edited by hand": (BROKEN, refresh(NEW), TokenBehind(NEW, unreadable=True)),
    "the token secret is disabled": (DISABLED, refresh(NEW), TokenBehind(NEW, unreadable=True)),
    "another token of the same second": (token(OTHER), refresh(OLD), TokenBehind(OLD, unreadable=False)),
    "neither has a version": (NOTHING, NOTHING, Unreadable("The token secret has no version.")),
    "the only secret cannot be read": (BROKEN, NOTHING, Unreadable(NO_TOKEN)),
    "the refresh secret cannot be read": (token(NEW), BROKEN, Unreadable(NO_REFRESH)),
    "no refresh token in its secret": (
        token(NEW),
        token(NEW),
        Unreadable("The refresh secret holds no refresh token."),
    ),
    "a payload of another connection": (token(expiring("beta")), NOTHING, Unreadable(NO_TOKEN)),
}


def test_every_case() -> None:
    """Of two grants the one obtained later counts, never what merely exists."""
    assert {case: diagnose(read(token, refresh, "acme")) for case, (token, refresh, _) in CASES.items()} == {
        case: diagnosis for case, (_, _, diagnosis) in CASES.items()
    }


def test_a_sound_grant_is_made_whole_from_both() -> None:
    """The larger payload may have had no room for the ids; a username is fetched beside storing, so it came later."""
    large = refreshable(response("a", "r" * 4000, advertiser_ids=MANY))
    stored = read(token(large), refresh(large), "acme")
    assert stored.from_refresh is not None
    assert stored.from_refresh.advertiser_ids is None
    assert diagnose(stored) == Sound(large)
    account = of_account("acme").with_username("acme.shoes")
    assert diagnose(read(token(account), refresh(of_account("acme")), "acme")) == Sound(account)
