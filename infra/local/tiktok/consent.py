"""The simulated consent pages: what a person sees between the connect link and the callback.

One is for advertisers, with ad accounts to tick, one for holders of TikTok accounts, with accounts to choose from.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import get_args
from urllib.parse import urlencode

from local.exchange import Answer, Request
from local.tiktok import page, redirects
from local.tiktok.authorizations import Authorizations
from local.tiktok.options import ACCOUNT_SCOPES, ACCOUNTS, ADVERTISERS, DEFAULT_SCOPE, Kind

CONSENT_PATH, ACCOUNT_CONSENT_PATH = "/portal/auth", "/v2/auth/authorize"
PERMISSIONS: Mapping[int, str] = {
    4: "Reporting",
    10: "Read ad accounts",
    200: "Read campaigns",
    210: "Read ad groups",
    220: "Read ads",
    30: "Read custom audiences",
}
KINDS: Mapping[Kind, tuple[str, str]] = {
    "long-lived": ("Long-lived", "as TikTok answers today: a token that lives until it is revoked"),
    "expiring": ("Expiring, with a refresh token", "as older versions answer, and newer ones may again"),
}
_PARAMETERS = ("app_id", "client_key", "response_type", "redirect_uri", "scope", "disable_auto_auth", "state")
_NO_DECISION, _FOREIGN = "The form holds no decision.", "The form does not come from this page."


@dataclass(frozen=True)
class _Asked:
    """What a page was opened with, and what was decided on it. Of a doubled field the first counts."""

    path: str
    sent: bool
    fields: Mapping[str, Sequence[str]]

    def first(self, name: str, otherwise: str = "") -> str:
        return self.fields.get(name, (otherwise,))[0]

    @property
    def handed_on(self) -> dict[str, str]:
        """The parameters that the form sends again."""
        return {name: self.first(name) for name in _PARAMETERS if name in self.fields}

    def redirect(self, **answer: str) -> Answer:
        state = {"state": self.first("state")} if "state" in self.fields else {}
        return page.sent_back(redirects.with_answer(self.first("redirect_uri"), answer | state))

    def declined(self) -> Answer:
        return self.redirect(error="access_denied", error_description="The user declined the authorization.")

    def page(self, title: str, sentence: str, content: str) -> Answer:
        """The page that asks."""
        form = page.form(self.path, self.handed_on, content, page.DECLINE + page.CONFIRM)
        where = escape(self.first("redirect_uri"))
        return page.shown(title, f'<p>{sentence}</p>\n{form}<p class="quiet">Afterwards you are sent to {where}</p>')


def answer(tiktok: Authorizations, request: Request) -> Answer:
    """Shows the page of the request's path, or carries out what was decided on it."""
    sent = request.method == "POST"
    asked = _Asked(request.path, sent, request.form() if sent else request.parameters)
    app, fits, decided = PAGES[request.path]
    if asked.first(app) != tiktok.app_id:
        return page.refused(f"No app has the {app} of this address.")
    if not fits(asked.first("redirect_uri")):
        return page.refused("The redirect_uri of this address is not registered for the app.")
    return decided(tiktok, asked)


def _for_advertisers(tiktok: Authorizations, asked: _Asked) -> Answer:
    scope = tuple(int(digits) for digits in re.findall(r"\d+", asked.first("scope"))) or DEFAULT_SCOPE
    asked = replace(asked, fields={**asked.fields, "scope": (",".join(map(str, scope)),)})
    if not asked.sent:
        return _choice_of_advertisers(tiktok, asked, scope)
    match asked.first("decision"):
        case "confirm":
            chosen, ticked = asked.first("kind", tiktok.options.kind), asked.fields.get("advertiser_id", ())
            kind = next((kind for kind in get_args(Kind) if kind == chosen), None)
            if kind is None or not set(ticked) <= set(ADVERTISERS):
                return page.refused(_FOREIGN)
            code = tiktok.authorize(kind, [one for one in ADVERTISERS if one in ticked], scope)
            return asked.redirect(auth_code=code, code=code)
        case "decline":
            return _nothing_shared(asked)
        case "return":
            return asked.declined()
        case _:
            return page.refused(_NO_DECISION)


def _for_accounts(tiktok: Authorizations, asked: _Asked) -> Answer:
    scope = tuple(filter(None, asked.first("scope").split(",")))
    if asked.first("response_type") != "code" or not scope:
        return page.refused("This address needs response_type=code and a scope.")
    if not set(scope) <= set(ACCOUNT_SCOPES):
        return asked.redirect(error="invalid_scope", error_description="A scope is not granted to the app.")
    if not asked.sent:
        return _choice_of_accounts(asked, scope)
    if asked.first("decision") == "decline":
        return asked.declined()
    if asked.first("decision") != "confirm":
        return page.refused(_NO_DECISION)
    if asked.first("account") not in ACCOUNTS:
        return page.refused(_FOREIGN)
    code = tiktok.authorize_account(asked.first("account"), scope, asked.first("redirect_uri"))
    return asked.redirect(code=code, scopes=",".join(scope))


_ADVERTISERS = ("app_id", redirects.for_advertisers, _for_advertisers)
_ACCOUNTS = ("client_key", redirects.for_accounts, _for_accounts)
PAGES: Mapping[str, tuple[str, Callable[[str], bool], Callable[[Authorizations, _Asked], Answer]]] = {
    CONSENT_PATH: _ADVERTISERS,
    ACCOUNT_CONSENT_PATH: _ACCOUNTS,
}
"""By address: the parameter that names the app, which redirect URLs it takes, and what answers then."""


def _choice_of_advertisers(tiktok: Authorizations, asked: _Asked, scope: Iterable[int]) -> Answer:
    accounts = "".join(
        page.row("checkbox", "advertiser_id", advertiser_id, name, advertiser_id, checked=True)
        for advertiser_id, name in ADVERTISERS.items()
    )
    permissions = "".join(f"<li>{escape(PERMISSIONS.get(one, f'Permission {one}'))}</li>" for one in scope)
    kinds = "".join(
        page.row("radio", "kind", value, title, detail, checked=value == tiktok.options.kind)
        for value, (title, detail) in KINDS.items()
    )
    return asked.page(
        "Share your ad accounts?",
        f"The app <b>{escape(tiktok.app_id)}</b> asks to read the ad accounts you choose.",
        f"""<fieldset><legend>Ad accounts</legend><div class="accounts">{accounts}</div></fieldset>
<section><h2>What it may do</h2><ul>{permissions}</ul></section>
<fieldset class="simulated"><legend>Simulation: kind of grant</legend>{kinds}</fieldset>
""",
    )


def _choice_of_accounts(asked: _Asked, scope: Iterable[str]) -> Answer:
    accounts = "".join(
        page.row("radio", "account", username, display_name, f"@{username}", checked=number == 0)
        for number, (username, display_name) in enumerate(ACCOUNTS.items())
    )
    scopes = "".join(f"<li>{escape(ACCOUNT_SCOPES[name])} ({escape(name)})</li>" for name in scope)
    return asked.page(
        "Share your TikTok account?",
        f"The app <b>{escape(asked.first('client_key'))}</b> asks for access to a TikTok account of yours.",
        f"""<fieldset><legend>Your TikTok account</legend><div class="accounts">{accounts}</div></fieldset>
<section><h2>What it may do</h2><ul class="long">{scopes}</ul></section>
""",
    )


def _nothing_shared(asked: _Asked) -> Answer:
    """What TikTok shows to an advertiser after a refusal: it stays on its own page, and no callback happens."""
    again = f"{asked.path}?{urlencode(asked.handed_on)}"
    buttons = (
        '<button name="decision" value="return">Return with an error</button>'
        f'<a class="button main" href="{escape(again)}">Choose again</a>'
    )
    return page.shown(
        "Nothing was shared",
        f"""<p>You declined. TikTok does not tell the app; this page can be closed.</p>
<p>To see what the app makes of an error, the simulation can send it one.</p>
{page.form(asked.path, asked.handed_on, "", buttons)}""",
    )
