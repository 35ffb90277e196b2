"""What the command line acts on: the settings of the place that was started or deployed, ready for use."""

from __future__ import annotations

import re
import socket
from functools import cached_property

from tokenkeeper import settings
from tokenkeeper.clock import Deadline
from tokenkeeper.errors import SettingsError, VaultUnavailable
from tokenkeeper.settings import Needs, Place, Settings
from tokenkeeper.vault import Vault

READ_SECONDS = 20.0
_SECRET_NAME = re.compile(r"projects/([^/]+)/secrets/([^/]+)", re.ASCII)
_KEPT_AS_SECRETS = {"LINK_SIGNING_KEYS": Needs.LINKS, "TIKTOK_APP_SECRET": Needs.APP}
_NOTHING_SAVED = (
    "Nothing is set up yet: start everything on this machine with `make run`, set it up in Google Cloud with "
    "`make deploy`, or set the variables yourself, {name} first."
)


class Target:
    """One command's view of the place that it acts on."""

    def __init__(self, name: str = "") -> None:
        """Set up; nothing is read yet.

        Args:
            name: `local` or `cloud`; empty: the one that was started or deployed last.
        """
        self._name = name

    @cached_property
    def place(self) -> Place:
        """Where that is; raises `SettingsError` as `settings.place` does."""
        return settings.place(self._name)

    @property
    def refresh_url(self) -> str:
        """Address of the refresh function in the cloud; empty: runs are made in this process."""
        return self.place.environment.get("REFRESH_URL", "")

    @property
    def refresh_audience(self) -> str:
        """Whom an identity token for that address has to be made out to."""
        return self.place.environment.get("REFRESH_AUDIENCE", self.refresh_url)

    def notice(self) -> str:
        """A sentence about where this acts, if that is not obvious; else empty."""
        place = self.place
        here = {"local": "what `make run` started on this machine", "cloud": "Google Cloud"}.get(place.name, "")
        if place.replaced:
            names = ", ".join(place.replaced)
            return f"Acting on {here}, with {names} from the environment instead of what is saved."
        if place.another:
            other = "cloud" if place.name == "local" else "local"
            return f"Acting on {here}; TARGET={other} (or --target {other}) chooses the other."
        return ""

    def settings(self, needs: Needs) -> Settings:
        """The settings that a command needs; what is kept as a secret is read with the operator's credentials.

        Raises:
            SettingsError: one is missing or wrong.
            VaultError: a secret could not be read.
        """
        environment = dict(self.place.environment)
        for name, need in _KEPT_AS_SECRETS.items():
            if need in needs and not environment.get(name) and environment.get(f"{name}_SECRET"):
                environment[name] = self.kept_as_secret(name)
        try:
            return settings.read(needs, environment)
        except SettingsError as error:
            name = str(error).partition(" ")[0]
            if self.place.name or environment.get(name):
                raise
            raise SettingsError(_NOTHING_SAVED.format(name=name)) from None

    def kept_as_secret(self, name: str) -> str:
        """The value of a setting that is kept in Secret Manager.

        Raises:
            SettingsError: the place names no such secret, or it holds no text.
            VaultError: it could not be read.
        """
        from tokenkeeper.secretmanager import SecretManager

        found = _SECRET_NAME.fullmatch(self.place.environment.get(f"{name}_SECRET", ""))
        if found is None:
            raise SettingsError(f"{name}_SECRET is no secret's name; write it like projects/my-project/secrets/name.")
        store = SecretManager(found[1], self.place.environment.get("SECRET_MANAGER_EMULATOR_HOST", ""))
        try:
            return store.access(found[2], "latest", Deadline(READ_SECONDS)).payload.decode()
        except UnicodeDecodeError:
            raise SettingsError(f"{name} cannot be read: the secret {found[2]} holds no text.") from None

    def vault(self, needs: Needs = Needs.STORE) -> Vault:
        """The secrets; raises as `settings` does, and `VaultUnavailable` if a local Secret Manager is not running."""
        chosen = self.settings(needs)
        if chosen.emulator_host and not _listens(chosen.emulator_host):
            advice = "start it with `make run`"
            if self.place.name != "local" or "SECRET_MANAGER_EMULATOR_HOST" in self.place.replaced:
                advice = "start it, or unset SECRET_MANAGER_EMULATOR_HOST for the real one"
            elif self.place.another:
                advice += ", or choose Google Cloud with TARGET=cloud"
            raise VaultUnavailable(f"The local Secret Manager at {chosen.emulator_host} is not running: {advice}.")
        return Vault(chosen)


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), 3).close()
    except (OSError, OverflowError):
        return False
    return True
