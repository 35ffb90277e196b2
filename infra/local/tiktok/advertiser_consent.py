"""The simulated consent page for advertisers: what a person sees between the connect link and the callback."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import get_args
from urllib.parse import urlencode

from local.serving import Answer, Request
from local.tiktok import page, redirects
from local.tiktok.authorizations import Authorizations
from local.tiktok.options import DEFAULT_SCOPE, Kind

PATHS = ("/portal/auth", "/marketing_api/auth")
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


@dataclass(frozen=True)
class _Asked:
    """What the page was opened with."""

    app_id: str
    redirect_uri: str
    state: str | None
    scope: tuple[int, ...]

    @classmethod
    def read(cls, fields: Mapping[str, Sequence[str]]) -> "_Asked":
        """Takes a query or a form apart; of a doubled field the first counts."""
        first = {name: values[0] for name, values in fields.items() if values}
        scope = tuple(int(digits) for digits in re.findall(r"\d+", first.get("scope", "")))
        return cls(first.get("app_id", ""), first.get("redirect_uri", ""), first.get("state"), scope or DEFAULT_SCOPE)

    def fields(self) -> dict[str, str]:
        fields = {"app_id": self.app_id, "redirect_uri": self.redirect_uri, "scope": ",".join(map(str, self.scope))}
        return fields if self.state is None else fields | {"state": self.state}

    def redirect(self, **answer: str) -> Answer:
        return page.sent_back(redirects.with_answer(self.redirect_uri, self.state, answer))


def answer(tiktok: Authorizations, request: Request) -> Answer:
    """Shows the page, or carries out what was decided on it."""
    fields = request.form() if request.method == "POST" else request.parameters
    asked = _Asked.read(fields)
    if not tiktok.has_app(asked.app_id):
        return page.refused("No app has the app_id of this address.")
    if not redirects.for_advertisers(asked.redirect_uri, tiktok.options.redirect_urls):
        return page.refused("The redirect_uri of this address is not registered for the app.")
    if request.method != "POST":
        return _choice(tiktok, asked, request.path)
    match fields.get("decision", [""])[0]:
        case "confirm":
            return _confirmed(tiktok, asked, fields)
        case "decline":
            return _declined(asked, request.path)
        case "return":
            return asked.redirect(error="access_denied", error_description="The user declined the authorization.")
        case _:
            return page.refused("The form holds no decision.")


def _confirmed(tiktok: Authorizations, asked: _Asked, fields: Mapping[str, Sequence[str]]) -> Answer:
    chosen = fields.get("kind", [tiktok.options.kind])[0]
    kind = next((kind for kind in get_args(Kind) if kind == chosen), None)
    ticked = fields.get("advertiser_id", [])
    offered = [one for one, _ in tiktok.options.advertisers]
    if kind is None or not set(ticked) <= set(offered):
        return page.refused("The form does not come from this page.")
    code = tiktok.authorize(kind, [one for one in offered if one in ticked], asked.scope, asked.app_id)
    return asked.redirect(auth_code=code, code=code)


def _choice(tiktok: Authorizations, asked: _Asked, action: str) -> Answer:
    accounts = "".join(
        page.row("checkbox", "advertiser_id", advertiser_id, name, advertiser_id, checked=True)
        for advertiser_id, name in tiktok.options.advertisers
    )
    permissions = "".join(f"<li>{escape(PERMISSIONS.get(one, f'Permission {one}'))}</li>" for one in asked.scope)
    kinds = "".join(
        page.row("radio", "kind", value, title, detail, checked=value == tiktok.options.kind)
        for value, (title, detail) in KINDS.items()
    )
    content = f"""<fieldset><legend>Ad accounts</legend><div class="accounts">{accounts}</div></fieldset>
<section><h2>What it may do</h2><ul>{permissions}</ul></section>
<fieldset class="simulated"><legend>Simulation: kind of grant</legend>{kinds}</fieldset>
"""
    form = page.form(action, asked.fields(), content, page.DECLINE + page.CONFIRM)
    return page.shown(
        "Share your ad accounts?",
        f"""<p>The app <b>{escape(asked.app_id)}</b> asks to read the ad accounts you choose.</p>
{form}<p class="quiet">Afterwards you are sent to {escape(asked.redirect_uri)}</p>""",
    )


def _declined(asked: _Asked, action: str) -> Answer:
    """What TikTok shows after a refusal: it stays on its own page, and no callback happens."""
    again = f"{action}?{urlencode(asked.fields())}"
    buttons = (
        '<button name="decision" value="return">Return with an error</button>'
        f'<a class="button main" href="{escape(again)}">Choose again</a>'
    )
    return page.shown(
        "Nothing was shared",
        f"""<p>You declined. TikTok does not tell the app; this page can be closed.</p>
<p>To see what the app makes of an error, the simulation can send it one.</p>
{page.form(action, asked.fields(), "", buttons)}""",
    )
