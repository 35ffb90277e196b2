"""Checks the app at TikTok, as far as TikTok's API tells; the rest is named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tokenkeeper import clock, grant
from tokenkeeper.cli.context import Context
from tokenkeeper.cli.doctor.finding import NOT_CHECKED, Finding
from tokenkeeper.errors import KeeperError, Kind, SettingsError, StoreError, TikTokRefused, TikTokUnreachable
from tokenkeeper.grant import TokenResponse
from tokenkeeper.secret import Secret
from tokenkeeper.settings import Needs
from tokenkeeper.tiktok.families import TikTok

_NO_TOKEN = Secret("0" * 40)  # of the form that TikTok's tokens have, and certainly none
_OTHERWISE = "see the app's state in TikTok's portal"
_BY_CODE: Mapping[int, str] = {
    40101: "TIKTOK_APP_SECRET does not belong to TIKTOK_APP_ID; copy both from the app's page in TikTok's portal again",
    -1: "TikTok does not serve callers from this country; call from elsewhere",
    41000: "TikTok does not serve callers from this country; call from elsewhere",
}


def credentials(context: Context) -> Finding:
    """Asks TikTok to refresh a token that does not exist: it says whether it knows the app before it says no."""
    thing = "the app at TikTok"
    try:
        chosen = context.settings(Needs.STORE | Needs.APP)
        response = TokenResponse(_NO_TOKEN)
        nobody = grant.first(
            response, connection="nobody", app_id=chosen.app_id, family="advertiser", asked_at=clock.now()
        )
        TikTok(chosen).family("advertiser").refresh(grant.with_refresh_token(nobody, _NO_TOKEN, None))
    except (SettingsError, StoreError):
        return Finding(thing, "unknown", NOT_CHECKED)
    except TikTokRefused as error:
        if error.kind in {Kind.REAUTHORIZE, Kind.EXPIRED, Kind.RESTART}:
            return Finding(thing, "ok", "TikTok knows the app id and the app secret")
        if error.kind is Kind.OPERATOR:
            return Finding(thing, "problem", f"{error}: {_BY_CODE.get(error.code, _OTHERWISE)}")
        return Finding(thing, "unknown", f"{error}, which says nothing about the app: try again in a minute")
    except TikTokUnreachable as error:
        return Finding(thing, "problem", f"{error}: check the network, and TIKTOK_API_URL if it is set")
    except KeeperError as error:
        return Finding(thing, "unknown", f"{error}: try again in a minute")
    return Finding(thing, "unknown", "TikTok issued a token for none, which makes no sense")


def accounts(context: Context) -> Iterator[Finding]:
    """The scopes that account holders are asked for, and what only TikTok's portal shows."""
    try:
        scopes = ", ".join(context.settings(Needs.STORE | Needs.CALLBACK).account_scopes)
    except SettingsError:
        yield Finding("account scopes", "unknown", NOT_CHECKED)
        return
    yield Finding("account scopes", "ok", f"{scopes}; one that the app does not hold makes TikTok refuse them all")
    yield Finding(
        "cannot be checked",
        "note",
        "the app's logo and its Accounts API form: without the logo, account holders get an error page; without the "
        "approved form, the app holds none of these scopes. Both are on the app's page in TikTok's portal",
    )
