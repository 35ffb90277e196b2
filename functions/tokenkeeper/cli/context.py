"""What a command acts on: the environment, and beneath it what `make run` or `make deploy` saved for the command line.

The functions never read what is saved.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tokenkeeper import settings
from tokenkeeper.clock import Deadline
from tokenkeeper.errors import SettingsError
from tokenkeeper.settings import Needs, Settings
from tokenkeeper.store.vault import Vault

PLACES = ("local", "cloud")
LIST_SECONDS = 60.0
READ_SECONDS = 20.0
KEPT_AS_SECRETS = {"LINK_SIGNING_KEYS": Needs.LINKS, "TIKTOK_APP_SECRET": Needs.APP}
_FOLDER = Path(__file__).parents[3] / ".tokenkeeper"
_LINE = re.compile(r"([A-Z][A-Z0-9_]*)=(.*)", re.ASCII)
_SECRET_NAME = re.compile(r"projects/([^/]+)/secrets/([^/]+)", re.ASCII)
_HOW_TO_SAVE = {
    "local": "run `make run` first",
    "cloud": "run `make deploy` first, or `make attach` where it was deployed elsewhere",
}


@dataclass(frozen=True)
class Context:
    """One command's view of what it acts on."""

    place: str  # `local` (of `make run`), `cloud` (of `make deploy`: runs come by themselves), or empty: nothing saved
    environment: Mapping[str, str]  # all settings together
    replaced: tuple[str, ...] = ()  # names of saved settings that the environment has another value for
    both: bool = False  # whether settings are saved for local and for cloud

    def variable(self, name: str) -> str:
        """A variable as it is set or saved, or empty."""
        return self.environment.get(name, "")

    def notice(self) -> str:
        """A sentence about what this acts on, if that is not obvious; else empty."""
        here, other = "what `make run` started on this machine", "cloud"
        if self.place == "cloud":
            here, other = "Google Cloud", "local"
        if self.replaced:
            names = ", ".join(self.replaced)
            return f"Acting on {here}, with {names} from the environment instead of what is saved."
        if self.both and self.place:
            return f"Acting on {here}; TARGET={other} (or --target {other}) chooses the other."
        return ""

    def settings(self, needs: Needs) -> Settings:
        """The settings that a command needs; what is kept as a secret is read with the operator's credentials.

        Raises:
            SettingsError: one is missing or invalid.
            StoreError: a secret could not be read.
        """
        secret = {name: self.kept_as_secret(name) for name, need in KEPT_AS_SECRETS.items() if need in needs}
        environment = {**self.environment, **secret}
        try:
            return settings.read(needs, environment)
        except SettingsError as error:
            name = str(error).partition(" ")[0]
            if self.place or environment.get(name):
                raise
            raise SettingsError(
                f"{name} is missing, and nothing is set up yet: start everything on this machine with `make run`, set "
                "it up in Google Cloud with `make deploy`, or set the variables yourself."
            ) from None

    def kept_as_secret(self, name: str) -> str:
        """One of `KEPT_AS_SECRETS` as it is set, else from the secret in Secret Manager that is named, or empty.

        Raises:
            SettingsError: what is named is no secret, or holds no text.
            StoreError: it could not be read.
        """
        given, full_name = self.variable(name), self.variable(f"{name}_SECRET")
        if given or not full_name:
            return given
        from tokenkeeper.store.secretmanager import SecretManager  # slow to import

        found = _SECRET_NAME.fullmatch(full_name)
        if found is None:
            raise SettingsError(f"{name}_SECRET is no secret's name; write it like projects/my-project/secrets/name.")
        store = SecretManager(found[1], self.variable("SECRET_MANAGER_EMULATOR_HOST"))
        try:
            return (store.access(found[2], "latest", Deadline(READ_SECONDS)).payload or b"").decode()
        except UnicodeDecodeError:
            raise SettingsError(f"{name} cannot be read: the secret {found[2]} holds no text.") from None

    def vault(self, chosen: Settings | None = None) -> Vault:
        """The secrets that settings name; None: those of `Needs.STORE`.

        Raises:
            SettingsError: one is missing or invalid, or a local Secret Manager is not running.
        """
        chosen = chosen or self.settings(Needs.STORE)
        if not chosen.emulator_host or _listens(chosen.emulator_host):
            return Vault(chosen)
        advice = "start it with `make run`"
        if self.place != "local" or "SECRET_MANAGER_EMULATOR_HOST" in self.replaced:
            advice = "start it, or unset SECRET_MANAGER_EMULATOR_HOST for the real one"
        elif self.both:
            advice += ", or choose Google Cloud with TARGET=cloud"
        raise SettingsError(f"The local Secret Manager at {chosen.emulator_host} is not running: {advice}.")


def read(place: str = "", environment: Mapping[str, str] | None = None) -> Context:
    """Read what is saved.

    Args:
        place: `local` or `cloud`; empty: the one that was started or deployed last.
        environment: What to put above it; None: this process's. Its `TOKENKEEPER_STATE` names another folder than
            `.tokenkeeper` of the checkout.

    Raises:
        SettingsError: nothing is saved for that place, or what is saved cannot be read.
    """
    whole = settings.environment() if environment is None else environment
    given = {key: value for key, value in whole.items() if value.strip()}
    folder = Path(given.get("TOKENKEEPER_STATE", _FOLDER))
    try:
        known = [one for one in PLACES if (folder / f"{one}.env").is_file()]
        current = folder / "current"
        wanted = place or (current.read_text(encoding="utf-8").strip() if current.is_file() else "")
        lines = (folder / f"{wanted}.env").read_text(encoding="utf-8").splitlines() if wanted in known else []
    except (OSError, UnicodeDecodeError):
        raise SettingsError(
            f"The saved settings in {folder} cannot be read: remove them; `make run` and `make deploy` write them "
            "again."
        ) from None
    if place and place not in known:
        raise SettingsError(f"Nothing is saved for {place} yet: {_HOW_TO_SAVE[place]}.")
    saved = {found[1]: found[2] for line in lines if (found := _LINE.fullmatch(line))}
    if "SECRET_MANAGER_EMULATOR_HOST" in saved and "SECRET_MANAGER_EMULATOR_HOST" not in given:
        given.pop("GOOGLE_CLOUD_PROJECT", None)  # names a project at Google, and the secrets are not there
    return Context(
        wanted if wanted in known else "",
        {**saved, **given},
        tuple(sorted(key for key, value in saved.items() if given.get(key, value) != value)),
        both=len(known) > 1,
    )


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with suppress(OSError, OverflowError), socket.create_connection((host.strip("[]"), int(port)), 3):
        return True
    return False
