"""What `make run` starts, and with which settings."""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from local import ROOT, addresses
from local.addresses import LOOPBACK
from local.processes import Program, taken
from local.serving import CannotStart
from local.tiktok import APP_ID, APP_SECRET
from local.tiktok.api import API_PATH
from tokenkeeper import settings
from tokenkeeper.settings import CONNECT, REFRESH

PROJECTS = {"simulated": "local-simulation", "real": "local-real"}  # so that tokens of the two are never mixed up
CONNECT_NAME, REFRESH_NAME, STORE_NAME, TIKTOK_NAME = "connect", "refresh", "secret manager", "tiktok"
_OF_THE_SERVER = re.compile(r"FUNCTION_.*|K_.*|PORT|HOST|DEBUG|WORKERS|THREADS|GUNICORN_.*|LOG_EXECUTION_ID|PYTHONPATH")


@dataclass(frozen=True)
class Ports:
    """Where each serves; their names are the variables that change them."""

    port: int
    refresh_port: int
    secret_manager_port: int
    tiktok_port: int


class Setup:
    """The programs and their settings.

    Args:
        environment: What the operator has set.
        ports: Where each program serves.
        folder: Where everything is kept.

    Attributes:
        real_app: Whether a real TikTok app is used, and nothing simulated.
        ports: As given.
        folder: As given.
        found: The addresses that a browser uses.

    Raises:
        CannotStart: Settings contradict each other, or an address cannot be found.
    """

    def __init__(self, environment: Mapping[str, str], ports: Ports, folder: Path) -> None:
        given = {key: value for key, value in environment.items() if value.strip()}
        app = [name for name in ("TIKTOK_APP_ID", "TIKTOK_APP_SECRET") if name in given]
        if len(app) == 1:
            missing = "TIKTOK_APP_SECRET" if app == ["TIKTOK_APP_ID"] else "TIKTOK_APP_ID"
            raise CannotStart(
                f"{app[0]} is set and {missing} is not: set both to use a real app, or neither to use the simulated "
                "TikTok."
            )
        self.real_app = bool(app)
        self.ports = ports
        self.folder = folder
        self.found = addresses.find(environment, ports.port, ports.tiktok_port)
        self._base = {key: value for key, value in environment.items() if not _OF_THE_SERVER.fullmatch(key)}
        simulated = {
            "TIKTOK_APP_ID": APP_ID,
            "TIKTOK_APP_SECRET": APP_SECRET,
            "TIKTOK_API_URL": f"http://127.0.0.1:{ports.tiktok_port}{API_PATH}",
            "TIKTOK_AUTHORIZE_URL": self.found.authorize_url,
            "TIKTOK_ACCOUNT_AUTHORIZE_URL": self.found.account_authorize_url,
        }
        self._set = {
            "GOOGLE_CLOUD_PROJECT": PROJECTS["real" if self.real_app else "simulated"],
            "SECRET_MANAGER_EMULATOR_HOST": f"127.0.0.1:{ports.secret_manager_port}",
            "PUBLIC_URL": self.found.public_url,
            "LINK_SIGNING_KEYS": given.get("LINK_SIGNING_KEYS") or "",
        } | ({} if self.real_app else simulated)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of both functions."""
        return self._base | self._set

    def check(self) -> None:
        """Checks whether it can be started, and makes the signing key where there is none.

        Raises:
            CannotStart: It cannot.
            SettingsError: A setting of the functions is invalid.
        """
        needed = {
            "port": CONNECT_NAME,
            "refresh_port": REFRESH_NAME,
            "secret_manager_port": "the embedded Secret Manager",
        } | ({} if self.real_app else {"tiktok_port": "the simulated TikTok"})
        seen: dict[int, str] = {}
        for option, who in needed.items():
            port = getattr(self.ports, option)
            if port in seen:
                raise CannotStart(
                    f"Port {port} is meant for both {seen[port]} and {who}: choose {option.upper()}=another."
                )
            seen[port] = who
            if taken(port):
                raise CannotStart(
                    f"Port {port}, where {who} is to serve, is taken: stop what uses it (another make run, perhaps), "
                    f"or choose another with make run {option.upper()}={port + (1000 if port < 60000 else -1000)}."
                )
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._set["LINK_SIGNING_KEYS"] = self._set["LINK_SIGNING_KEYS"] or _kept_key(self.folder / "signing-key")
        except OSError as error:
            raise CannotStart(
                f"{error.filename} cannot be written ({error.strerror}): make {self.folder} a folder of your own."
            ) from None
        settings.read(CONNECT | REFRESH, self.environment)

    def programs(self) -> list[Program]:
        """All that is started."""
        emulator = {**self._base, "PYTHONPATH": str(ROOT / "infra"), "PYTHONUNBUFFERED": "1"}
        for name in ("TIKTOK_APP_SECRET", "LINK_SIGNING_KEYS"):
            emulator.pop(name, None)  # whoever has no use for it does not get it
        store, state, ports = self.folder / "secrets.db", self.folder / "tiktok.json", self.ports
        python = [sys.executable, "-m"]
        programs = [
            Program(
                STORE_NAME,
                [*python, "local.secret_manager", f"--port={ports.secret_manager_port}", f"--store={store}", "--log"],
                emulator,
                ports.secret_manager_port,
            ),
            self._function(CONNECT_NAME, ports.port, self.found.host),
            self._function(REFRESH_NAME, ports.refresh_port, LOOPBACK),
        ]
        if not self.real_app:
            own_name = urlsplit(self.found.authorize_url).hostname
            where = [f"--host={self.found.host}", f"--port={ports.tiktok_port}", f"--name={own_name}"]
            tiktok = [*python, "local.tiktok", *where, f"--state={state}", "--log"]
            programs.append(Program(TIKTOK_NAME, tiktok, emulator, ports.tiktok_port))
        return programs

    def _function(self, name: str, port: int, host: str) -> Program:
        source = str(ROOT / "functions" / "main.py")
        command = [sys.executable, "-m", "functions_framework", f"--target={name}", f"--source={source}"]
        environment = self.environment | {"FUNCTION_TARGET": name, "PYTHONUNBUFFERED": "1"}
        return Program(name, [*command, f"--host={host}", f"--port={port}"], environment, port, "/")

    def save(self) -> None:
        """Writes the settings down for the command line, for this user's eyes only."""
        environment = self.environment
        values = {name: environment.get(name, "") for name in settings.survey(CONNECT | REFRESH, environment)}
        lines = [f"{name}={' '.join(value.split())}\n" for name, value in sorted(values.items()) if value.strip()]
        _write_private(self.folder / "local.env", "".join(lines))
        _write_private(self.folder / "current", "local\n")


def _kept_key(file: Path) -> str:
    """The signing key of this machine, made the first time."""
    if not file.exists():
        _write_private(file, secrets.token_urlsafe(48) + "\n")
    return file.read_text(encoding="utf-8").strip()


def _write_private(file: Path, text: str) -> None:
    """Writes a file that nobody else may read, whole or not at all."""
    temporary = file.with_name(f"{file.name}.{os.getpid()}.new")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text)
    temporary.replace(file)
