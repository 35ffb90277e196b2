"""What runs at Google, read from the two functions themselves; and what the command line gets to know of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gcp.deploy.programs import ROOT, SAVED, Stop, described, gcloud, write_private
from gcp.deploy.variables import Target
from tokenkeeper.cli.doctor.deployment import source_hash, source_of
from tokenkeeper.cli.doctor.finding import Finding

# Settings of connect that commands on another machine need as well, where they are set: the rest has defaults, or is
# connect's alone.
SHARED = (
    *("GOOGLE_CLOUD_PROJECT", "SECRET_PREFIX", "PUBLIC_URL", "TIKTOK_APP_ID", "KEEP_VERSIONS", "SECRET_LOCATIONS"),
    *("SECRET_KMS_KEY", "TIKTOK_API_URL", "TIKTOK_AUTHORIZE_URL", "TIKTOK_ACCOUNT_AUTHORIZE_URL"),
    "TIKTOK_ACCOUNT_SCOPES",
)

Function = Mapping[str, Any]  # as Google's API describes it


def look_up(target: Target, name: str) -> Function | None:
    """One of the two functions, `connect` or `refresh`; None where there is none.

    Raises:
        ProgramFailed: it could not be looked up.
    """
    return described("functions", "describe", f"{target.name}-{name}", "--gen2", f"--region={target.region}")


def both(target: Target) -> dict[str, Function]:
    """Both functions; raises `Stop` where one is not there, or where they may not be looked at."""
    functions = {}
    for name in ("connect", "refresh"):
        function = look_up(target, name)
        if function is None:
            raise Stop(
                f"There is no function {target.name}-{name} in {target.region} of {target.project}. Check PROJECT, "
                "REGION and, if another name was chosen (the variable name), NAME."
            )
        functions[name] = function
    return functions


def source(name: str, function: Function) -> Finding:
    """Whether a function serves, and runs the source of this checkout, as `make doctor` finds it."""
    return source_of(name, function, source_hash(ROOT / "functions"))


def remember(functions: Mapping[str, Function], target: Target) -> None:
    """Write down for the command line where everything is; no secret is in it."""
    connect, refresh = (functions[name]["serviceConfig"] for name in ("connect", "refresh"))
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
