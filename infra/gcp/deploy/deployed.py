"""What runs at Google, read from the two functions themselves; and what the command line is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gcp.deploy.programs import SAVED, GcloudFailed, Stop, found, gcloud, write_private
from gcp.deploy.variables import Target

# Settings of connect that commands on another machine need as well, where they are set: the rest has defaults, or is
# connect's alone.
SHARED = (
    *("GOOGLE_CLOUD_PROJECT", "SECRET_PREFIX", "PUBLIC_URL", "TIKTOK_APP_ID", "KEEP_VERSIONS", "SECRET_LOCATIONS"),
    *(
        "SECRET_KMS_KEY",
        "TIKTOK_API_URL",
        "TIKTOK_AUTHORIZE_URL",
        "TIKTOK_ACCOUNT_AUTHORIZE_URL",
        "TIKTOK_ACCOUNT_SCOPES",
    ),
)


@dataclass(frozen=True)
class Function:
    """One function, as Google tells of it."""

    name: str
    told: Mapping[str, Any]

    @property
    def source_hash(self) -> str:
        """Which source it was built from: `buildConfig.environmentVariables.SOURCE_HASH`."""
        return str(self.told.get("buildConfig", {}).get("environmentVariables", {}).get("SOURCE_HASH", ""))

    @property
    def active(self) -> bool:
        """Whether it serves."""
        return self.told.get("state") == "ACTIVE"

    @property
    def environment(self) -> dict[str, str]:
        """Its settings, without secret ones."""
        return dict(self.told.get("serviceConfig", {}).get("environmentVariables", {}))

    def secret(self, variable: str, project: str) -> str:
        """Full name of the secret behind a setting."""
        for entry in self.told.get("serviceConfig", {}).get("secretEnvironmentVariables", []):
            if entry["key"] == variable:
                return f"projects/{project}/secrets/{entry['secret']}"
        return ""


def look_up(target: Target, name: str) -> Function | None:
    """One of the two functions, `connect` or `refresh`; None where there is none.

    Raises:
        GcloudFailed: it could not be looked up.
    """
    told = found(
        *("functions", "describe", f"{target.name}-{name}", "--gen2"),
        *(f"--region={target.region}", f"--project={target.project}"),
    )
    return Function(target.function(name), told) if told else None


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
    """Make sure that both functions run this source.

    Raises:
        Stop: one does not.
    """
    for function in functions.values():
        name = function.name.rpartition("/")[2]
        if not function.active:
            raise Stop(f"{name} does not serve (state {function.told.get('state')}): run make deploy again.")
        if function.source_hash != expected:
            raise Stop(
                f"{name} does not run this source: it was built from {function.source_hash[:12] or 'an unknown one'}, "
                f"and this is {expected[:12]}. Run make deploy again."
            )


def remember(functions: Mapping[str, Function], target: Target) -> None:
    """Write down for the command line where everything is; no secret is in it."""
    connect, refresh = functions["connect"], functions["refresh"]
    address = refresh.told["serviceConfig"]["uri"]
    values = {
        **{key: connect.environment[key] for key in SHARED if connect.environment.get(key)},
        "LINK_SIGNING_KEYS_SECRET": connect.secret("LINK_SIGNING_KEYS", target.project),
        "TIKTOK_APP_SECRET_SECRET": connect.secret("TIKTOK_APP_SECRET", target.project),
        "REFRESH_URL": address,
        "REFRESH_AUDIENCE": address,
        "CONNECT_FUNCTION": connect.name,
        "REFRESH_FUNCTION": refresh.name,
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
    annotations = found(*service, *where)["metadata"].get("annotations", {})
    is_off = annotations.get("run.googleapis.com/invoker-iam-disabled") == "true"
    if is_off != (access == "no_invoker_check"):
        flag = "--invoker-iam-check" if is_off else "--no-invoker-iam-check"
        gcloud("run", "services", "update", f"{target.name}-connect", *where, flag)
