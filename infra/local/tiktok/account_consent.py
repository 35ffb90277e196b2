"""The simulated consent page for holders of TikTok accounts: accounts to choose from, scopes that are asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from local.serving import Answer, Request
from local.tiktok import page, redirects
from local.tiktok.authorizations import Authorizations
from local.tiktok.options import ACCOUNT_SCOPES

PATHS = ("/v2/auth/authorize", "/v2/auth/authorize/")


@dataclass(frozen=True)
class _Asked:
    """What the page was opened with."""

    client_key: str
    response_type: str
    redirect_uri: str
    state: str | None
    scope: tuple[str, ...]
    disable_auto_auth: str

    @classmethod
    def read(cls, fields: Mapping[str, Sequence[str]]) -> "_Asked":
        """Takes a query or a form apart; of a doubled field the first counts."""
        first = {name: values[0] for name, values in fields.items() if values}
        return cls(
            first.get("client_key", ""),
            first.get("response_type", ""),
            first.get("redirect_uri", ""),
            first.get("state"),
            tuple(name for name in first.get("scope", "").split(",") if name),
            first.get("disable_auto_auth", ""),
        )

    def fields(self) -> dict[str, str]:
        fields = {
            "client_key": self.client_key,
            "response_type": self.response_type,
            "redirect_uri": self.redirect_uri,
            "scope": ",".join(self.scope),
            "disable_auto_auth": self.disable_auto_auth,
        }
        return fields if self.state is None else fields | {"state": self.state}

    def redirect(self, **answer: str) -> Answer:
        return page.sent_back(redirects.with_answer(self.redirect_uri, self.state, answer))


def answer(tiktok: Authorizations, request: Request) -> Answer:
    """Shows the page, or carries out what was decided on it."""
    fields = request.form() if request.method == "POST" else request.parameters
    asked = _Asked.read(fields)
    if not tiktok.has_app(asked.client_key):
        return page.refused("No app has the client_key of this address.")
    if not redirects.for_accounts(asked.redirect_uri, tiktok.options.account_redirect_urls):
        return page.refused("The redirect_uri of this address is not registered for the app.")
    if asked.response_type != "code" or not asked.scope:
        return page.refused("This address needs response_type=code and a scope.")
    if not set(asked.scope) <= tiktok.options.account_scopes:
        return asked.redirect(error="invalid_scope", error_description="A scope is not granted to the app.")
    if request.method != "POST":
        earlier = None if asked.disable_auto_auth == "1" else _earlier(tiktok, asked)
        return _choice(tiktok, asked, request.path) if earlier is None else _approved(tiktok, asked, earlier)
    match fields.get("decision", [""])[0]:
        case "confirm":
            account = fields.get("account", [""])[0]
            if account not in dict(tiktok.options.accounts):
                return page.refused("The form does not come from this page.")
            return _approved(tiktok, asked, account)
        case "decline":
            return asked.redirect(error="access_denied", error_description="The user declined the authorization.")
        case _:
            return page.refused("The form holds no decision.")


def _approved(tiktok: Authorizations, asked: _Asked, account: str) -> Answer:
    code = tiktok.authorize_account(account, asked.scope, redirect_uri=asked.redirect_uri, app_id=asked.client_key)
    return asked.redirect(code=code, scopes=",".join(asked.scope))


def _earlier(tiktok: Authorizations, asked: _Asked) -> str | None:
    """The account that granted the app the same before: TikTok does not ask its holder again."""
    for grant in reversed(tiktok.grants):
        same = grant.family == "account" and grant.app_id == asked.client_key and set(grant.scope) == set(asked.scope)
        if same and not grant.revoked:
            return grant.username
    return None


def _choice(tiktok: Authorizations, asked: _Asked, action: str) -> Answer:
    accounts = "".join(
        page.row("radio", "account", username, display_name, f"@{username}", checked=number == 0)
        for number, (username, display_name) in enumerate(tiktok.options.accounts)
    )
    scopes = "".join(f"<li>{escape(ACCOUNT_SCOPES.get(name, ''))} ({escape(name)})</li>" for name in asked.scope)
    content = f"""<fieldset><legend>Your TikTok account</legend><div class="accounts">{accounts}</div></fieldset>
<section><h2>What it may do</h2><ul class="long">{scopes}</ul></section>
"""
    form = page.form(action, asked.fields(), content, page.DECLINE + page.CONFIRM)
    return page.shown(
        "Share your TikTok account?",
        f"""<p>The app <b>{escape(asked.client_key)}</b> asks for access to a TikTok account of yours.</p>
{form}<p class="quiet">Afterwards you are sent to {escape(asked.redirect_uri)}</p>""",
    )
