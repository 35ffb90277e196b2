"""What runs at Google, read from the two functions themselves; and what the command line gets to know of it."""

from __future__ import annotations

import json
from typing import Any

from gcp.deploy.prepare import Target
from gcp.deploy.programs import ROOT, SAVED, gcloud, write_private
from gcp.deploy.refusals import Refused
from tokenkeeper.cli.doctor.deployment import source_hash, source_of


def functions(target: Target) -> dict[str, Any]:
    """Those of the two that there are, as Google describes them; raises `Refused` where one cannot be looked up."""
    found = {}
    for name in ("connect", "refresh"):
        which = (f"{target.name}-{name}", "--gen2", f"--region={target.region}")
        try:
            found[name] = json.loads(gcloud("functions", "describe", *which, "--format=json"))
        except Refused as refused:
            if not refused.refusals[0].means("nothing_there"):
                raise
    return found


def other_source(made: dict[str, Any]) -> list[str]:
    """What is wrong with functions that do not serve, or run another source, as `make doctor` finds it."""
    expected = source_hash(ROOT / "functions")
    found = {name: source_of(name, made.get(name, {}), expected) for name in ("connect", "refresh")}
    return [f"{name} does not run this source: {about.text}" for name, about in found.items() if about.verdict != "ok"]


def remember(made: dict[str, Any], target: Target) -> None:
    """Write down for the command line where everything is, and the settings of connect; no secret is in it."""
    service, url = made["connect"]["serviceConfig"], made["refresh"]["serviceConfig"]["uri"]
    secrets = {entry["key"]: entry["secret"] for entry in service["secretEnvironmentVariables"]}
    values = {
        **service["environmentVariables"],
        **{f"{key}_SECRET": f"projects/{target.project}/secrets/{secret}" for key, secret in secrets.items()},
        **{f"{name.upper()}_FUNCTION": function["name"] for name, function in made.items()},
        "REFRESH_URL": url,
        "REFRESH_AUDIENCE": url,
    }
    write_private(SAVED / "cloud.env", "".join(f"{key}={value}\n" for key, value in values.items()))
    write_private(SAVED / "current", "cloud\n")


def open_to_everybody(target: Target, access: str) -> None:
    """Switch Cloud Run's check of callers of connect off or on, as the variable `public_access` says."""
    service = (f"{target.name}-connect", f"--region={target.region}")
    annotation = 'metadata.annotations."run.googleapis.com/invoker-iam-disabled"'
    is_off = gcloud("run", "services", "describe", *service, f"--format=value({annotation})").lower() == "true"
    if is_off != (access == "no_invoker_check"):
        gcloud("run", "services", "update", *service, "--invoker-iam-check" if is_off else "--no-invoker-iam-check")
