"""Takes over what exists at Google but is not in the state: made by a Terraform that was killed, or by another one."""

from __future__ import annotations

import json
from collections.abc import Iterable

from gcp.deploy.programs import HERE, say, try_gcloud
from gcp.deploy.refusals import EXISTS, text_of
from gcp.deploy.screen import RESOURCES
from gcp.deploy.terraform import Event, Plan
from gcp.deploy.variables import Target

FILE = HERE / "take_over.tf"  # which somebody has to remove afterwards


def existing(errors: Iterable[Event], plan: Plan, target: Target) -> dict[str, str]:
    """Addresses of what Google said exists already, with the ids by which to take it over."""
    there = {error.get("address") for error in errors if EXISTS.search(text_of(error))}
    domain = ".".join(reversed(target.project.split(":")))
    known = {"project": target.project, "region": target.region, "domain": domain}
    return {
        change["address"]: RESOURCES[change["type"]]["id"].format_map({**change["after"], **known})
        for change in plan.changes
        if change["address"] in there and "id" in RESOURCES.get(change["type"], {})
    }


def doubles(plan: Plan) -> dict[str, str]:
    """Alerts, channels and dashboards that a plan would make although one of that name is there."""
    found = {}
    for kind, entry in RESOURCES.items():
        made = [change for change in plan.changes if change["type"] == kind and change["actions"] == ["create"]]
        if not made or "listed" not in entry:
            continue
        listed = json.loads(try_gcloud(*entry["listed"].split(), "--format=json") or "[]")
        ids = {thing.get("displayName"): thing["name"] for thing in listed}
        for change in made:
            after = change["after"]
            name = after.get("display_name") or json.loads(after.get("dashboard_json") or "{}").get("displayName")
            if name and name in ids:
                found[change["address"]] = ids[name]
    return found


def write(found: dict[str, str]) -> None:
    """Let the next plan take these over, and say so."""
    kinds = sorted({address.partition(".")[0].removeprefix("google_") for address in found})
    say(f"{len(found)} things exist already without being in the state; they are taken over: {', '.join(kinds)}.")
    blocks = (f"import {{\n  to = {address}\n  id = {json.dumps(id_)}\n}}\n" for address, id_ in found.items())
    FILE.write_text("\n".join(blocks), encoding="utf-8")
