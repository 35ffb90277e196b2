"""The frame of the simulated consent pages. They work without scripts."""

from collections.abc import Mapping
from html import escape

from local.exchange import Answer

HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
}


def shown(title: str, content: str, status: int = 200) -> Answer:
    """A page with this title and this HTML below it."""
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} (simulated TikTok)</title><style>{_STYLE}</style></head>
<body><header role="banner"><b>Simulation</b> This is not TikTok, and no real account is touched.</header>
<main><h1>{title}</h1>
{content}</main></body></html>
"""
    return Answer(status, page.encode(), "text/html; charset=utf-8", HEADERS)


def refused(sentence: str) -> Answer:
    """The page for an address that TikTok would not show its consent page for."""
    return shown("This address cannot be used", f"<p>{escape(sentence)}</p>", 400)


def sent_back(location: str) -> Answer:
    """The redirect to the app."""
    return Answer(302, b"", "text/plain; charset=utf-8", {**HEADERS, "Location": location})


def form(action: str, hidden: Mapping[str, str], content: str, buttons: str) -> str:
    """A form that posts these hidden fields, this content and the decision of the button that is clicked."""
    fields = "".join(f'<input type="hidden" name="{name}" value="{escape(value)}">' for name, value in hidden.items())
    return (
        f'<form method="post" action="{escape(action)}">{fields}\n{content}<div class="buttons">{buttons}</div></form>'
    )


def row(kind: str, name: str, value: str, title: str, detail: str, *, checked: bool) -> str:
    """A checkbox or radio button with a title and a line below it."""
    return (
        f'<label class="row"><input type="{kind}" name="{name}" value="{escape(value)}"{" checked" if checked else ""}>'
        f"<span>{escape(title)}<small>{escape(detail)}</small></span></label>"
    )


CONFIRM = '<button class="main" name="decision" value="confirm">Confirm</button>'
DECLINE = '<button name="decision" value="decline">Decline</button>'

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
ul.long{columns:1}
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
