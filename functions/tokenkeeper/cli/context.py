"""What a command acts on: the settings of what was started or deployed, ready for use."""

from __future__ import annotations

import re
import socket
from functools import cached_property

from tokenkeeper import settings
from tokenkeeper.cli import saved
from tokenkeeper.cli.saved import Saved
from tokenkeeper.clock import Deadline
from tokenkeeper.errors import SettingsError
from tokenkeeper.settings import Needs, Settings
from tokenkeeper.store.vault import Vault

LIST_SECONDS = 60.0
READ_SECONDS = 20.0
_SECRET_NAME = re.compile(r"projects/([^/]+)/secrets/([^/]+)", re.ASCII)
KEPT_AS_SECRETS = {"LINK_SIGNING_KEYS": Needs.LINKS, "TIKTOK_APP_SECRET": Needs.APP}
_NOTHING_SAVED = (
    "{name} is missing, and nothing is set up yet: start everything on this machine with `make run`, set it up in "
    "Google Cloud with `make deploy`, or set the variables yourself."
)


class Context:
    """One command's view of what it acts on."""

    def __init__(self, name: str = "") -> None:
        """Set up; nothing is read yet.

        Args:
            name: `local` or `cloud`; empty: the one that was started or deployed last.
        """
        self._name = name

    @cached_property
    def saved(self) -> Saved:
        """The environment with what is saved beneath it; raises `SettingsError` as `saved.read` does."""
        return saved.read(self._name)

    @property
    def is_cloud(self) -> bool:
        """Whether it is a deployment, where runs come by themselves."""
        return self.saved.name == "cloud"

    def variable(self, name: str) -> str:
        """A variable as it is set or saved, or empty."""
        return self.saved.environment.get(name, "")

    @property
    def refresh_url(self) -> str:
        """URL of the refresh function in the cloud; empty: runs are made in this process."""
        return self.variable("REFRESH_URL")

    def notice(self) -> str:
        """A sentence about what this acts on, if that is not obvious; else empty."""
        found = self.saved
        here = {"local": "what `make run` started on this machine", "cloud": "Google Cloud"}.get(found.name, "")
        if found.replaced:
            names = ", ".join(found.replaced)
            return f"Acting on {here}, with {names} from the environment instead of what is saved."
        if found.both:
            other = "cloud" if found.name == "local" else "local"
            return f"Acting on {here}; TARGET={other} (or --target {other}) chooses the other."
        return ""

    def settings(self, needs: Needs) -> Settings:
        """The settings that a command needs; what is kept as a secret is read with the operator's credentials.

        Raises:
            SettingsError: one is missing or invalid.
            StoreError: a secret could not be read.
        """
        environment = dict(self.saved.environment)
        for name, need in KEPT_AS_SECRETS.items():
            if need in needs and not environment.get(name) and environment.get(f"{name}_SECRET"):
                environment[name] = self.kept_as_secret(name)
        try:
            return settings.read(needs, environment)
        except SettingsError as error:
            name = str(error).partition(" ")[0]
            if self.saved.name or environment.get(name):
                raise
            raise SettingsError(_NOTHING_SAVED.format(name=name)) from None

    def kept_as_secret(self, name: str) -> str:
        """The value of a setting that is kept in Secret Manager.

        Raises:
            SettingsError: no such secret is named, or it holds no text.
            StoreError: it could not be read.
        """
        from tokenkeeper.store.secretmanager import SecretManager

        found = _SECRET_NAME.fullmatch(self.variable(f"{name}_SECRET"))
        if found is None:
            raise SettingsError(f"{name}_SECRET is no secret's name; write it like projects/my-project/secrets/name.")
        store = SecretManager(found[1], self.variable("SECRET_MANAGER_EMULATOR_HOST"))
        try:
            return store.access(found[2], "latest", Deadline(READ_SECONDS)).payload.decode()
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
        if self.saved.name != "local" or "SECRET_MANAGER_EMULATOR_HOST" in self.saved.replaced:
            advice = "start it, or unset SECRET_MANAGER_EMULATOR_HOST for the real one"
        elif self.saved.both:
            advice += ", or choose Google Cloud with TARGET=cloud"
        raise SettingsError(f"The local Secret Manager at {chosen.emulator_host} is not running: {advice}.")


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), 3).close()
    except (OSError, OverflowError):
        return False
    return True
