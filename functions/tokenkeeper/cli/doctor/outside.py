"""Checks what is outside: the way out of this machine, its clock, the redirect URLs, and the app at TikTok."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from tokenkeeper import checks, clock, grant, http, settings
from tokenkeeper.checks import is_this_machine
from tokenkeeper.cli import web
from tokenkeeper.cli.context import Context
from tokenkeeper.cli.doctor.finding import CALL_SECONDS, NOT_CHECKED, Finding
from tokenkeeper.errors import KeeperError, Kind, SettingsError, StoreError, TikTokRefused, TikTokUnreachable
from tokenkeeper.grant import TokenResponse
from tokenkeeper.secret import Secret
from tokenkeeper.settings import Needs
from tokenkeeper.tiktok.codes import SECRET_OR_CODE
from tokenkeeper.tiktok.families import TikTok

_ABOUT = "TikTok connections"  # what connect shows at its address
_NO_TOKEN = Secret("0" * 40)  # of the form that TikTok's tokens have, and certainly none
_BY_CODE = {
    SECRET_OR_CODE: "TIKTOK_APP_SECRET does not belong to TIKTOK_APP_ID; copy both from the app's page in TikTok's "
    "portal again",
    **dict.fromkeys((-1, 41000), "TikTok does not serve callers from this country; call from elsewhere"),
}


def ways_out(context: Context) -> Iterator[Finding]:
    """The proxy for calls to TikTok, and the CA file that certificates are checked with; nothing for this machine."""
    url = _api_url(context)
    if is_this_machine(urlsplit(url).hostname or ""):
        return
    way = http.way_to(url)
    proxy = urlsplit(way.proxy)
    without_password = f"{proxy.scheme}://{proxy.netloc.rpartition('@')[2]}"
    yield Finding("the proxy", "ok", f"calls go through {without_password}" if way.proxy else "none is used")
    if not way.ca or Path(way.ca).exists():
        yield Finding("the CA", "ok", f"certificates are checked with {way.ca or 'the usual CAs'}")
    else:
        text = f"{way.ca} does not exist: correct REQUESTS_CA_BUNDLE or SSL_CERT_FILE, or unset them"
        yield Finding("the CA", "problem", text)


def this_clock(context: Context) -> Finding:
    """This machine's clock, by that of `connect`, or of TikTok."""
    thing = "the clock"
    off = web.clock_off([context.variable("PUBLIC_URL"), _api_url(context)], CALL_SECONDS)
    if off is None:
        return Finding(thing, "unknown", "neither connect nor TikTok answered with the time")
    if off:
        return Finding(thing, "problem", f"is {off}: set it over the network, since links and tokens carry the time")
    return Finding(thing, "ok", "agrees with the others'")


def redirect_urls(context: Context) -> Iterator[Finding]:
    """Both, of which the one for TikTok accounts ends with a slash."""
    url = context.variable("PUBLIC_URL")
    if not url or settings.survey(Needs.LINKS, context.environment).get("PUBLIC_URL"):
        yield Finding("the redirect URL", "unknown", NOT_CHECKED)
        return
    yield _answers(url, is_local=context.place == "local")
    thing = "the redirect URL for accounts"
    unfit = checks.unfit_for_accounts(url)
    if unfit:
        yield Finding(thing, "note", f"{unfit}: FAMILY=account works only with the simulated TikTok here")
    else:
        yield Finding(thing, "ok", f"register exactly this as TikTok account holder redirect URL: {url}/")


def credentials(context: Context) -> Finding:
    """Asks TikTok to refresh a token that does not exist: it says whether it knows the app before it says no."""
    thing = "the app at TikTok"
    try:
        chosen = context.settings(Needs.STORE | Needs.APP)
        nobody = grant.first(
            TokenResponse(_NO_TOKEN),
            connection="nobody",
            app_id=chosen.app_id,
            family="advertiser",
            asked_at=clock.now(),
        )
        TikTok(chosen).advertisers.refresh(grant.with_refresh_token(nobody, _NO_TOKEN, None))
    except (SettingsError, StoreError):
        return Finding(thing, "unknown", NOT_CHECKED)
    except TikTokRefused as error:
        if error.kind in {Kind.REAUTHORIZE, Kind.EXPIRED, Kind.RESTART}:
            return Finding(thing, "ok", "TikTok knows the app id and the app secret")
        if error.kind is Kind.OPERATOR:
            what = _BY_CODE.get(error.code, "see the app's state in TikTok's portal")
            return Finding(thing, "problem", f"{error}: {what}")
        return Finding(thing, "unknown", f"{error}, which says nothing about the app: try again in a minute")
    except TikTokUnreachable as error:
        simulated = is_this_machine(urlsplit(_api_url(context)).hostname or "")
        what = "start it with make run" if simulated else "check the network, and TIKTOK_API_URL if it is set"
        return Finding(thing, "problem", f"{error}: {what}")
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


def _answers(url: str, *, is_local: bool) -> Finding:
    answer = web.get(url, CALL_SECONDS)
    if answer is None:
        what = "start it with make run" if is_local else "see whether it is deployed"
        problem = f"connect does not answer at {url}: {what}"
    elif answer.get_redirect_location():
        problem = f"{url} leads to another address: register the one that it leads to, and set PUBLIC_URL to that"
    elif answer.status != 200 or _ABOUT.encode() not in answer.data[:10_000]:
        problem = (
            f"something else than connect answers at {url} (HTTP {answer.status}): correct PUBLIC_URL, or what "
            "stands in front of the function"
        )
    else:
        text = f"connect answers; register exactly this as Advertiser redirect URL: {url}"
        return Finding("the redirect URL", "ok", text)
    return Finding("the redirect URL", "problem", problem)


def _api_url(context: Context) -> str:
    return context.variable("TIKTOK_API_URL") or checks.API_URL
