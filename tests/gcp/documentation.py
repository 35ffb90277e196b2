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


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in lines)


def variables() -> str:
    """Every variable with what it means and its default."""
    return table(
        ("variable", "meaning", "default"),
        ((f"`{name}`", body["description"], _default(body)) for name, body in blocks("variable")),
    )


def outputs() -> str:
    """Every output with what it means."""
    return table(("output", "meaning"), ((f"`{name}`", body["description"]) for name, body in blocks("output")))


def permissions() -> str:
    """Who may do what on which secrets."""
    names = {"${local.token_secrets}": "`…-token-*`", "${local.refresh_secrets}": "`…-refresh-*`"}
    rows = []
    for grant in local("grants").values():
        role = local("roles")[grant["role"]]
        where = " and ".join(names[prefix] for prefix in grant["prefixes"]) or "the project"
        rows.append((f"`{grant['account']}`", where, _short(role["permissions"]), role["description"]))
    note = local("roles")["note"]
    rows.append(("`refresh`", "`…-keeper`", _short(note["permissions"]), note["description"]))
    rows.append(("`connect`", "`…-app-secret`, `…-link-signing-keys`", "`versions.access`", "Its own credentials."))
    rows.append(("`refresh`", "`…-app-secret`", "`versions.access`", "Its own credentials."))
    rows.append(("readers", "`…-token-*`, or some of them", "`versions.access`", "Tokens, and nothing else."))
    rows.append(("`scheduler`", "the service of `refresh`", "`run.invoker`", "Call it, and nothing else."))
    rows.append(("everybody", "the service of `connect`", "`run.invoker`", "Links are signed; states are checked."))
    rows.append(
        (
            "`build`",
            "source buckets, the repository of images, the project",
            "`storage.objectViewer`, `artifactregistry.writer`, `logging.logWriter`",
            "Build both functions.",
        )
    )
    return table(("account", "on", "permissions or role", "for"), sorted(rows, key=lambda row: _ORDER.index(row[0])))


_ORDER = ["`connect`", "`refresh`", "`scheduler`", "readers", "everybody", "`build`"]


def alerts() -> str:
    """Every alert with its severity."""
    rows = [(alert["title"], alert["severity"], _when(alert)) for alert in local("alerts").values()]
    rows.append(("a run did not happen", "ERROR", "no finished run in `missed_run_hours`"))
    return table(("what", "severity", "when"), rows)


def _when(alert: dict[str, Any]) -> str:
    above = alert["above"]
    if above == 0:
        return "at once" + (", for each connection" if "metric.label.connection" in alert["by"] else "")
    number = re.sub(r"^\$\{var\.(\w+)\}$", r"`\1`", str(above))
    return f"more than {number} in {alert['minutes']} minutes"


def _short(names: Iterable[str]) -> str:
    return ", ".join(f"`{name.removeprefix('secretmanager.')}`" for name in names)


def _default(body: dict[str, Any]) -> str:
    if "default" not in body:
        return "required"
    default = body["default"]
    return "unset" if default in (None, "null", "${null}") else f"`{json.dumps(default)}`"


TABLES: dict[str, Callable[[], str]] = {
    "permissions": permissions,
    "variables": variables,
    "outputs": outputs,
    "alerts": alerts,
}


def documented() -> str:
    """The page with its tables as they should be."""
    text = README.read_text()
    for name, made in TABLES.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n{made()}\n{end}{rest.partition(end)[2]}"
    return text


if __name__ == "__main__":
    README.write_text(documented())
