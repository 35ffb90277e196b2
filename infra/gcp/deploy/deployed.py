"""What runs at Google, read from the two functions themselves; and what the command line gets to know of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gcp.deploy.programs import SAVED, GcloudFailed, Stop, found, gcloud, write_private
from gcp.deploy.variables import Target

# Settings of connect that commands on another machine need as well, where they are set: the rest has defaults, or is
# connect's alone.
SHARED = (
    *("GOOGLE_CLOUD_PROJECT", "SECRET_PREFIX", "PUBLIC_URL", "TIKTOK_APP_ID", "KEEP_VERSIONS", "SECRET_LOCATIONS"),
    *("SECRET_KMS_KEY", "TIKTOK_API_URL", "TIKTOK_AUTHORIZE_URL", "TIKTOK_ACCOUNT_AUTHORIZE_URL"),
    "TIKTOK_ACCOUNT_SCOPES",
)


Function = Mapping[str, Any]  # as Google's API describes it


def source_of(function: Function) -> str:
    """Which source a function was built from: `buildConfig.environmentVariables.SOURCE_HASH`; empty: unknown."""
    return str(function.get("buildConfig", {}).get("environmentVariables", {}).get("SOURCE_HASH", ""))


def look_up(target: Target, name: str) -> Function | None:
    """One of the two functions, `connect` or `refresh`; None where there is none.

    Raises:
        GcloudFailed: it could not be looked up.
    """
    function: Function | None = found(
        *("functions", "describe", f"{target.name}-{name}", "--gen2"),
        *(f"--region={target.region}", f"--project={target.project}"),
    )
    return function


def both(target: Target) -> dict[str, Function]:
    """Both functions.

    Raises:
        Stop: one is not there, or they may not be looked at.
    """
    functions = {}
    for name in ("connect", "refresh"):
        try:
            function = look_up(target, name)
        except GcloudFailed as error:
            raise Stop(
                f"{error}\nReading a function's settings takes roles/cloudfunctions.viewer on the project."
            ) from None
        if function is None:
            raise Stop(
                f"There is no function {target.name}-{name} in {target.region} of {target.project}. Check PROJECT, "
                "REGION and, if another name was chosen (the variable name), NAME."
            )
        functions[name] = function
    return functions


def check_source(functions: Mapping[str, Function], expected: str) -> None:
    """Make sure that both functions serve, and run this source.

    Raises:
        Stop: one does not.
    """
    for name, function in functions.items():
        if function.get("state") != "ACTIVE":
            raise Stop(f"{name} does not serve (state {function.get('state')}): run make deploy again.")
        if source_of(function) != expected:
            raise Stop(
                f"{name} does not run this source: it was built from {source_of(function)[:12] or 'an unknown one'}, "
                f"and this is {expected[:12]}. Run make deploy again."
            )


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
    service = ("run", "services", "describe", f"{target.name}-connect")
    where = (f"--region={target.region}", f"--project={target.project}")
    annotations = (found(*service, *where) or {}).get("metadata", {}).get("annotations", {})
    is_off = annotations.get("run.googleapis.com/invoker-iam-disabled") == "true"
    if is_off != (access == "no_invoker_check"):
        flag = "--invoker-iam-check" if is_off else "--no-invoker-iam-check"
        gcloud("run", "services", "update", f"{target.name}-connect", *where, flag)
