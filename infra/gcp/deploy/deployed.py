"""What runs at Google, read from the two functions themselves; and what the command line gets to know of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gcp.deploy.programs import ROOT, SAVED, described, gcloud, write_private
from gcp.deploy.variables import Target
from tokenkeeper.cli.doctor.deployment import source_hash, source_of

# Settings of connect that commands on another machine need as well, where they are set: the rest has defaults, or is
# connect's alone.
SHARED = (
    *("GOOGLE_CLOUD_PROJECT", "SECRET_PREFIX", "PUBLIC_URL", "TIKTOK_APP_ID", "KEEP_VERSIONS", "SECRET_LOCATIONS"),
    *("SECRET_KMS_KEY", "TIKTOK_API_URL", "TIKTOK_AUTHORIZE_URL", "TIKTOK_ACCOUNT_AUTHORIZE_URL"),
    "TIKTOK_ACCOUNT_SCOPES",
)

Function = Mapping[str, Any]  # as Google's API describes it


def functions(target: Target) -> dict[str, Function]:
    """Those of the two functions, `connect` and `refresh`, that there are."""
    where = ("--gen2", f"--region={target.region}")
    names = {name: f"{target.name}-{name}" for name in ("connect", "refresh")}
    found = {name: described("functions", "describe", full, *where) for name, full in names.items()}
    return {name: function for name, function in found.items() if function}


def other_source(made: Mapping[str, Function]) -> list[str]:
    """What is wrong with functions that do not serve, or run another source, as `make doctor` finds it."""
    expected = source_hash(ROOT / "functions")
    found = {name: source_of(name, made.get(name, {}), expected) for name in ("connect", "refresh")}
    return [f"{name} does not run this source: {about.text}" for name, about in found.items() if about.verdict != "ok"]


def remember(made: Mapping[str, Function], target: Target) -> None:
    """Write down for the command line where everything is; no secret is in it."""
    connect, refresh = (made[name]["serviceConfig"] for name in ("connect", "refresh"))
    settings = connect["environmentVariables"]
    names = {entry["key"]: entry["secret"] for entry in connect["secretEnvironmentVariables"]}
    values = {
        **{key: settings[key] for key in SHARED if settings.get(key)},
        "LINK_SIGNING_KEYS_SECRET": f"projects/{target.project}/secrets/{names['LINK_SIGNING_KEYS']}",
        "TIKTOK_APP_SECRET_SECRET": f"projects/{target.project}/secrets/{names['TIKTOK_APP_SECRET']}",
        "REFRESH_URL": refresh["uri"],
        "REFRESH_AUDIENCE": refresh["uri"],
        "CONNECT_FUNCTION": target.function("connect"),
        "REFRESH_FUNCTION": target.function("refresh"),
    }
    write_private(SAVED / "cloud.env", "".join(f"{key}={value}\n" for key, value in values.items()))
    write_private(SAVED / "current", "cloud\n")


def forget() -> None:
    """Undo `remember`."""
    (SAVED / "cloud.env").unlink(missing_ok=True)
    current = SAVED / "current"
    if current.exists() and current.read_text(encoding="utf-8").strip() == "cloud":
        current.unlink()


def open_to_everybody(target: Target, access: str) -> None:
    """Switch Cloud Run's check of callers of connect off or on, as the variable `public_access` says."""
    service = (f"{target.name}-connect", f"--region={target.region}")
    annotations = (described("run", "services", "describe", *service) or {}).get("metadata", {}).get("annotations", {})
    is_off = annotations.get("run.googleapis.com/invoker-iam-disabled") == "true"
    if is_off != (access == "no_invoker_check"):
        gcloud("run", "services", "update", *service, "--invoker-iam-check" if is_off else "--no-invoker-iam-check")
