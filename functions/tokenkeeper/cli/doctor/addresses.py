"""Checks the two redirect URLs that are registered with TikTok: whether `connect` answers, and whether each is fit."""

from __future__ import annotations

from collections.abc import Iterator

from tokenkeeper import checks, settings
from tokenkeeper.cli import web
from tokenkeeper.cli.doctor.finding import CALL_SECONDS, NOT_CHECKED, Finding, Subject
from tokenkeeper.settings import Needs

_ABOUT = "TikTok connections"  # what connect shows at its address


def redirect_urls(examined: Subject) -> Iterator[Finding]:
    """Both, of which the one for TikTok accounts ends with a slash."""
    url = examined.environment.get("PUBLIC_URL", "")
    if not url or settings.survey(Needs.LINKS, examined.environment).get("PUBLIC_URL"):
        yield Finding("the redirect URL", "unknown", NOT_CHECKED)
        return
    yield _advertisers(url, is_local=examined.context.saved.name == "local")
    thing = "the redirect URL for accounts"
    unfit = checks.unfit_for_accounts(url)
    if unfit:
        yield Finding(thing, "note", f"{unfit}: FAMILY=account works only with the simulated TikTok here")
    else:
        yield Finding(thing, "ok", f"register exactly this as TikTok account holder redirect URL: {url}/")


def _advertisers(url: str, *, is_local: bool) -> Finding:
    thing = "the redirect URL"
    answer = web.get(url, CALL_SECONDS)
    if answer is None:
        what = "start it with make run" if is_local else "see whether it is deployed"
        return Finding(thing, "problem", f"connect does not answer at {url}: {what}")
    if answer.is_redirect:
        text = f"{url} leads to another address: register the one that it leads to, and set PUBLIC_URL to that"
        return Finding(thing, "problem", text)
    if answer.status_code != 200 or _ABOUT not in answer.text[:10_000]:
        return Finding(
            thing,
            "problem",
            f"something else than connect answers at {url} (HTTP {answer.status_code}): correct PUBLIC_URL, or what "
            "stands in front of the function",
        )
    return Finding(thing, "ok", f"connect answers; register exactly this as Advertiser redirect URL: {url}")
