"""The simulated consent page: what a person sees between the connect link and the callback. Works without scripts."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import urlencode, urlsplit

from local.tiktok.accounts import DEFAULT_SCOPE, Kind

PERMISSIONS: Mapping[int, str] = {
    4: "Reporting",
    10: "Read ad accounts",
    200: "Read campaigns",
    210: "Read ad groups",
    220: "Read ads",
    30: "Read custom audiences",
}
LOOPBACK = ("localhost", "127.0.0.1", "::1")

HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
}


@dataclass(frozen=True)
class Asked:
    """What the page was opened with.

    Attributes:
        app_id: the app that asks.
        redirect_uri: where the answer goes.
        state: echoed; None where there was none.
        scope: permissions asked for.
    """

    app_id: str
    redirect_uri: str
    state: str | None
    scope: tuple[int, ...]

    @classmethod
    def read(cls, fields: Mapping[str, Sequence[str]]) -> "Asked":
        """Takes a query or a form apart; of a doubled field the first counts."""
        first = {name: values[0] for name, values in fields.items() if values}
        scope = tuple(int(digits) for digits in re.findall(r"\d+", first.get("scope", "")))
        return cls(
            first.get("app_id", ""), first.get("redirect_uri", ""), first.get("state"), scope or tuple(DEFAULT_SCOPE)
        )

    def fields(self) -> dict[str, str]:
        """The same as form or query fields."""
        fields = {"app_id": self.app_id, "redirect_uri": self.redirect_uri, "scope": ",".join(map(str, self.scope))}
        return fields if self.state is None else fields | {"state": self.state}

    def redirect(self, **answer: str) -> str:
        """Where to send the browser: the redirect address with the answer and the state."""
        state = {} if self.state is None else {"state": self.state}
        joint = "&" if urlsplit(self.redirect_uri).query else "?"
        return self.redirect_uri + joint + urlencode(answer | state)


def acceptable(redirect_uri: str, registered: Sequence[str] | None) -> bool:
    """Whether TikTok would redirect there: exactly as registered, or, where nothing is, https or this machine."""
    if registered is not None:
        return redirect_uri in registered
    if not re.fullmatch(r"https?://[!-~]+", redirect_uri) or "#" in redirect_uri:
        return False
    try:
        parts = urlsplit(redirect_uri)
    except ValueError:
        return False
    return bool(parts.hostname) and (parts.scheme == "https" or parts.hostname in LOOPBACK)


def choice(asked: Asked, advertisers: Iterable[tuple[str, str]], kind: Kind, action: str) -> bytes:
    """The page that asks which ad accounts to share."""
    accounts = "".join(
        f'<label class="row"><input type="checkbox" name="advertiser_id" value="{escape(advertiser_id)}" checked>'
        f"<span>{escape(name)}<small>{escape(advertiser_id)}</small></span></label>"
        for advertiser_id, name in advertisers
    )
    permissions = "".join(f"<li>{escape(PERMISSIONS.get(one, f'Permission {one}'))}</li>" for one in asked.scope)
    kinds = "".join(
        f'<label class="row"><input type="radio" name="kind" value="{value}"{" checked" if value == kind else ""}>'
        f"<span>{title}<small>{what}</small></span></label>"
        for value, title, what in (
            ("long-lived", "Long-lived", "as TikTok answers today: a token that lives until it is revoked"),
            ("expiring", "Expiring, with a refresh token", "as older versions answer, and newer ones may again"),
        )
    )
    return _page(
        "Share your ad accounts?",
        f"""<p>The app <b>{escape(asked.app_id)}</b> asks to read the ad accounts you choose.</p>
<form method="post" action="{escape(action)}">{_hidden(asked)}
<fieldset><legend>Ad accounts</legend><div class="accounts">{accounts}</div></fieldset>
<section><h2>What it may do</h2><ul>{permissions}</ul></section>
<fieldset class="simulated"><legend>Simulation: kind of grant</legend>{kinds}</fieldset>
<div class="buttons"><button name="decision" value="decline">Decline</button>
<button class="main" name="decision" value="confirm">Confirm</button></div></form>
<p class="quiet">Afterwards you are sent to {escape(asked.redirect_uri)}</p>""",
    )


def declined(asked: Asked, action: str) -> bytes:
    """What TikTok shows after a refusal: it stays on its own page, and no callback happens."""
    back = f"{action}?{urlencode(asked.fields())}"
    return _page(
        "Nothing was shared",
        f"""<p>You declined. TikTok does not tell the app; this page can be closed.</p>
<p>To see what the app makes of an error, the simulation can send it one.</p>
<form method="post" action="{escape(action)}">{_hidden(asked)}
<div class="buttons"><button name="decision" value="return">Return with an error</button>
<a class="button main" href="{escape(back)}">Choose again</a></div></form>""",
    )


def wrong(sentence: str) -> bytes:
    """The page for an address that TikTok would not show its consent page for."""
    return _page("This address cannot be used", f"<p>{escape(sentence)}</p>")


def _hidden(asked: Asked) -> str:
    return "".join(
        f'<input type="hidden" name="{name}" value="{escape(value)}">' for name, value in asked.fields().items()
    )


def _page(title: str, content: str) -> bytes:
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} (simulated TikTok)</title><style>{_STYLE}</style></head>
<body><header role="banner"><b>Simulation</b> This is not TikTok, and no real account is touched.</header>
<main><h1>{title}</h1>
{content}</main></body></html>
""".encode()


_STYLE = """
:root{color-scheme:light dark;--back:#f3f4f6;--card:#fff;--text:#1b1f24;--quiet:#59636e;--line:#d5dae0;
--main:#0f6b62;--on-main:#fff;--hover:#f0f5f4;--flag:#fff2cc;--on-flag:#5a4100}
@media (prefers-color-scheme:dark){:root{--back:#101316;--card:#191d21;--text:#e8ebee;--quiet:#9da7b1;--line:#343b43;
--main:#5cc9bb;--on-main:#06211e;--hover:#212a2b;--flag:#3b3000;--on-flag:#ffe08a}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;background:var(--back);color:var(--text);font:16px/1.5 system-ui,sans-serif}
header{background:var(--flag);color:var(--on-flag);padding:.6rem 1rem;text-align:center;font-size:.9rem}
header b{margin-right:.35rem}
main{max-width:34rem;margin:1.25rem auto;padding:1.5rem 2rem;background:var(--card);border:1px solid var(--line);
border-radius:14px}
h1{font-size:1.5rem;line-height:1.25;margin:0 0 .5rem}
h2,legend{font-size:.95rem;font-weight:600;margin:0;padding:0}
p{margin:0 0 1.25rem;overflow-wrap:anywhere}
fieldset{border:0;margin:0 0 1.25rem;padding:0;min-width:0}
.accounts{max-height:19rem;overflow:auto}
.row{display:flex;gap:.75rem;align-items:flex-start;padding:.65rem .75rem;margin-top:.5rem;border:1px solid var(--line);
border-radius:10px;cursor:pointer}
.row:hover{background:var(--hover)}
.row input{flex:none;width:1.15rem;height:1.15rem;margin:.2rem 0 0;accent-color:var(--main)}
small{display:block;color:var(--quiet);font-size:.85rem;overflow-wrap:anywhere}
section{margin-bottom:1.25rem}
ul{margin:.5rem 0 0;padding-left:1.2rem;color:var(--quiet);columns:2;column-gap:2rem}
.simulated{padding-top:1.25rem;border-top:1px dashed var(--line)}
.simulated legend{float:left;width:100%;margin-bottom:.5rem}
.simulated legend+.row{margin-top:0}
.simulated .row{clear:both}
.buttons{display:flex;gap:.75rem;justify-content:flex-end;flex-wrap:wrap}
button,.button{font:inherit;font-weight:600;min-height:2.75rem;padding:.6rem 1.4rem;border-radius:10px;
border:1px solid var(--line);background:transparent;color:inherit;cursor:pointer;text-align:center;text-decoration:none}
.main{background:var(--main);border-color:var(--main);color:var(--on-main)}
.button{display:inline-flex;align-items:center;justify-content:center}
button:hover,.button:hover{filter:brightness(1.08)}
:focus-visible{outline:3px solid var(--main);outline-offset:2px}
.quiet{color:var(--quiet);font-size:.85rem;margin:1.25rem 0 0}
@media (max-width:36rem){main{margin:0;border:0;border-radius:0;padding:1.5rem 1.1rem}body{background:var(--card)}
ul{columns:1}.buttons>*{flex:1}}
"""
