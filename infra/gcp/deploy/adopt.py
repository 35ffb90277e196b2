"""Takes over what exists at Google but is not in the state: made by a Terraform that was killed, or by another one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from gcp.deploy.programs import HERE, say, table, try_gcloud
from gcp.deploy.refusals import EXISTS, text_of
from gcp.deploy.terraform import Event, Plan
from gcp.deploy.variables import Target

FILE = HERE / "take_over.tf"

RESOURCES = table("resources")


def existing(errors: Iterable[Event], plan: Plan, target: Target) -> dict[str, str]:
    """Addresses of what Google said exists already, with the ids by which to take it over."""
    there = {error.get("address") for error in errors if EXISTS.search(text_of(error))}
    found = {}
    for change in plan.changes:
        pattern = RESOURCES.get(change["type"], {}).get("id")
        if pattern and change["address"] in there:
            project = target.project
            domain = ".".join(reversed(project.split(":")))
            values = {**change["change"]["after"], "project": project, "region": target.region, "domain": domain}
            found[change["address"]] = pattern.format_map(values)
    return found


def doubles(plan: Plan, target: Target) -> dict[str, str]:
    """Alerts, channels and dashboards that a plan would make although one of that name is there."""
    found = {}
    names: dict[str, dict[str, str]] = {}
    for change in plan.changes:
        kind, after = change["type"], change["change"]["after"]
        if change["change"]["actions"] != ["create"] or "listed" not in RESOURCES.get(kind, {}):
            continue
        if kind not in names:
            names[kind] = dict(_listed(kind, target))
        called = after.get("display_name") or _title(after.get("dashboard_json") or "")
        if names[kind].get(called):
            found[change["address"]] = names[kind][called]
    return found


def write(found: dict[str, str]) -> None:
    """Let the next plan take these over, and say so."""
    say(f"{len(found)} things exist already without being in the state; they are taken over: {_kinds(found)}.")
    blocks = (f"import {{\n  to = {address}\n  id = {json.dumps(id_)}\n}}\n" for address, id_ in found.items())
    FILE.write_text("\n".join(blocks), encoding="utf-8")


def clear() -> None:
    """Remove the file that `write` left."""
    FILE.unlink(missing_ok=True)


def _listed(kind: str, target: Target) -> Iterator[tuple[str, str]]:
    listed = try_gcloud(*RESOURCES[kind]["listed"].split(), f"--project={target.project}", "--format=json")
    for entry in json.loads(listed or "[]"):
        yield entry.get("displayName", ""), entry["name"]


def _title(dashboard: str) -> str:
    found = re.search(r'"displayName":"([^"]*)"', dashboard)
    return found[1] if found else ""


def _kinds(found: Iterable[str]) -> str:
    return ", ".join(sorted({address.partition(".")[0].removeprefix("google_") for address in found}))
