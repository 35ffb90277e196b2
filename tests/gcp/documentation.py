"""Writes the tables of `infra/gcp/README.md` that say what stands in the Terraform files.

python -m gcp.documentation      (with tests/ and infra/ on the path; `make` has no need of it: a test compares)
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from gcp.configuration import INFRA, blocks, local

README = INFRA / "README.md"
OF_ACCOUNTS = ["`connect`", "`refresh`", "`scheduler`", "readers", "everybody", "`build`"]
# What is given by Google's own roles, one row each: account, on, role or permission of it, for.
GIVEN = [
    ("`connect`", "`…-app-secret`, `…-link-signing-keys`", "`versions.access`", "Its own credentials."),
    ("`refresh`", "`…-app-secret`", "`versions.access`", "Its own credentials."),
    ("readers", "`…-token-*`, or some of them", "`versions.access`", "Tokens, and nothing else."),
    ("`scheduler`", "the service of `refresh`", "`run.invoker`", "Call it, and nothing else."),
    ("everybody", "the service of `connect`", "`run.invoker`", "Links are signed; states are checked."),
    (
        "`build`",
        "source buckets, the repository of images, the project",
        "`storage.objectViewer`, `artifactregistry.writer`, `logging.logWriter`",
        "Build both functions.",
    ),
]


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in lines)


def variables() -> str:
    """Every variable with what it means and its default."""
    rows = ((f"`{name}`", body["description"], _default(body)) for name, body in blocks("variable"))
    return table(("variable", "meaning", "default"), rows)


def outputs() -> str:
    """Every output with what it means."""
    return table(("output", "meaning"), ((f"`{name}`", body["description"]) for name, body in blocks("output")))


def permissions() -> str:
    """Who may do what on which secrets."""
    names = {"${local.token_secrets}": "`…-token-*`", "${local.refresh_secrets}": "`…-refresh-*`"}
    made = [
        (grant["account"], " and ".join(names[prefix] for prefix in grant["prefixes"]) or "the project", grant["role"])
        for grant in local("grants").values()
    ]
    rows = []
    for account, where, name in [*made, ("refresh", "`…-keeper`", "note")]:
        role = local("roles")[name]
        short = ", ".join(f"`{permission.removeprefix('secretmanager.')}`" for permission in role["permissions"])
        rows.append((f"`{account}`", where, short, role["description"]))
    rows = sorted([*rows, *GIVEN], key=lambda row: OF_ACCOUNTS.index(row[0]))
    return table(("account", "on", "permissions or role", "for"), rows)


def alerts() -> str:
    """Every alert with its severity."""
    rows = [(alert["title"], alert["severity"], _when(alert)) for alert in local("alerts").values()]
    rows.append(("a run did not happen", "ERROR", "no finished run in `missed_run_hours`"))
    return table(("what", "severity", "when"), rows)


def _when(alert: dict[str, Any]) -> str:
    if alert["above"] == 0:
        return "at once" + (", for each connection" if "metric.label.connection" in alert["by"] else "")
    number = re.sub(r"^\$\{var\.(\w+)\}$", r"`\1`", str(alert["above"]))
    return f"more than {number} in {alert['minutes']} minutes"


def _default(body: dict[str, Any]) -> str:
    default = body.get("default", "required")
    if default in (None, "null", "${null}"):
        return "unset"
    return f"`{json.dumps(default)}`" if "default" in body else default


TABLES: tuple[Callable[[], str], ...] = (permissions, variables, outputs, alerts)


def documented() -> str:
    """The page with its tables as they should be."""
    text = README.read_text()
    for made in TABLES:
        begin, end = f"<!-- {made.__name__}: begin -->", f"<!-- {made.__name__}: end -->"
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n{made()}\n{end}{rest.partition(end)[2]}"
    return text


if __name__ == "__main__":
    README.write_text(documented())
