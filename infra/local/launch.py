"""Starts everything on this machine: the embedded Secret Manager, a simulated TikTok, and both functions.

    python -m local.run --port 8080

Each is a process of its own; the functions run under the real functions-framework. With `TIKTOK_APP_ID` and
`TIKTOK_APP_SECRET` of a real app in the environment the functions talk to the real TikTok instead.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import re
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TextIO

import click

from local.processes import Ended, Line, Processes, Program, Ready, Stop, taken
from local.run import ROOT
from local.serving import CannotStart, refuse_in_the_cloud
from local.tiktok import APP_ID, APP_SECRET, CONSENT_PATH
from local.tiktok.api import API_PATH
from tokenkeeper import clock, links, log, settings
from tokenkeeper.errors import SettingsError
from tokenkeeper.settings import CONNECT, REFRESH

FIRST_CONNECTION = "main"
PROJECTS = {"simulated": "local-simulation", "real": "local-real"}  # so that tokens of the two are never mixed up
CONNECT_NAME, REFRESH_NAME, STORE_NAME, TIKTOK_NAME = "connect", "refresh", "secret manager", "tiktok"
_OF_THE_SERVER = re.compile(r"FUNCTION_.*|K_.*|PORT|HOST|DEBUG|WORKERS|THREADS|GUNICORN_.*|LOG_EXECUTION_ID|PYTHONPATH")
_COLOURS = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red", "NOTICE": "green"}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Problem(Exception):
    """Why it cannot be started; the text is one sentence that says what to do."""


@dataclass(frozen=True)
class Ports:
    """Where each serves; their names are the options that change them."""

    port: int
    refresh_port: int
    secret_manager_port: int
    tiktok_port: int


def launch(arguments: Sequence[str]) -> int:
    """Run everything until Ctrl-C or SIGTERM.

    Args:
        arguments: The command line's.

    Returns:
        The exit status: 0 after an end that was asked for, else 1.
    """
    try:
        ports, folder = _read(arguments, os.environ)
        refuse_in_the_cloud()
        setup = Setup(os.environ, ports, folder)
        setup.check()
    except (Problem, CannotStart, SettingsError) as problem:
        print(problem, file=sys.stderr)
        return 1
    processes = Processes(ROOT)
    processes.listen_to_signals()
    try:
        for program in setup.programs():
            processes.start(program)
        return Show(setup, processes).go()
    finally:
        processes.stop(first=(CONNECT_NAME, REFRESH_NAME))


class Setup:
    """What is started, with which settings."""

    def __init__(self, environment: Mapping[str, str], ports: Ports, folder: Path) -> None:
        given = {key: value for key, value in environment.items() if value.strip()}
        app = [name for name in ("TIKTOK_APP_ID", "TIKTOK_APP_SECRET") if name in given]
        if len(app) == 1:
            missing = "TIKTOK_APP_SECRET" if app == ["TIKTOK_APP_ID"] else "TIKTOK_APP_ID"
            raise Problem(
                f"{app[0]} is set and {missing} is not: set both to use a real app, or neither to use the simulated "
                "TikTok."
            )
        self.real_app = bool(app)
        self.ports = ports
        self._folder = folder
        self._base = {key: value for key, value in environment.items() if not _OF_THE_SERVER.fullmatch(key)}
        simulated = {
            "TIKTOK_APP_ID": APP_ID,
            "TIKTOK_APP_SECRET": APP_SECRET,
            "TIKTOK_API_URL": f"http://127.0.0.1:{ports.tiktok_port}{API_PATH}",
            "TIKTOK_AUTHORIZE_URL": f"http://localhost:{ports.tiktok_port}{CONSENT_PATH}",
        }
        self._set = {
            "GOOGLE_CLOUD_PROJECT": PROJECTS["real" if self.real_app else "simulated"],
            "SECRET_MANAGER_EMULATOR_HOST": f"127.0.0.1:{ports.secret_manager_port}",
            "PUBLIC_URL": given.get("PUBLIC_URL") or f"http://localhost:{ports.port}",
            "LINK_SIGNING_KEYS": given.get("LINK_SIGNING_KEYS") or "",
        } | ({} if self.real_app else simulated)

    def check(self) -> None:
        """Look whether it can be started, and make the signing key where there is none.

        Raises:
            Problem: it cannot.
            SettingsError: neither can it.
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
                raise Problem(f"Port {port} is meant for both {seen[port]} and {who}: choose {option.upper()}=another.")
            seen[port] = who
            if taken(port):
                raise Problem(
                    f"Port {port}, where {who} is to serve, is taken: stop what uses it (another make run, perhaps), "
                    f"or choose another with make run {option.upper()}={port + (1000 if port < 60000 else -1000)}."
                )
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._set["LINK_SIGNING_KEYS"] = self._set["LINK_SIGNING_KEYS"] or _kept_key(self._folder / "signing-key")
        except OSError as error:
            raise Problem(
                f"{error.filename} cannot be written ({error.strerror}): make {self._folder} a folder of your own."
            ) from None
        settings.read(CONNECT | REFRESH, self._environment)

    @property
    def _environment(self) -> dict[str, str]:
        return self._base | self._set

    @property
    def public_url(self) -> str:
        """Address of connect, as it is registered with TikTok."""
        return self._set["PUBLIC_URL"]

    @property
    def project(self) -> str:
        """The project that the secrets are kept under."""
        return self._set["GOOGLE_CLOUD_PROJECT"]

    def programs(self) -> list[Program]:
        """All that is started."""
        stand_in = {**self._base, "PYTHONPATH": str(ROOT / "infra"), "PYTHONUNBUFFERED": "1"}
        for name in ("TIKTOK_APP_SECRET", "LINK_SIGNING_KEYS"):
            stand_in.pop(name, None)  # whoever has no use for it does not get it
        store, state = self._folder / "secrets.db", self._folder / "tiktok.json"
        ports = self.ports
        python = [sys.executable, "-m"]
        programs = [
            Program(
                STORE_NAME,
                [*python, "local.secret_manager", f"--port={ports.secret_manager_port}", f"--store={store}", "--log"],
                stand_in,
                ports.secret_manager_port,
            ),
            self._function(CONNECT_NAME, ports.port),
            self._function(REFRESH_NAME, ports.refresh_port),
        ]
        if not self.real_app:
            tiktok = [*python, "local.tiktok", f"--port={ports.tiktok_port}", f"--state={state}", "--log"]
            programs.append(Program(TIKTOK_NAME, tiktok, stand_in, ports.tiktok_port))
        return programs

    def _function(self, name: str, port: int) -> Program:
        source = str(ROOT / "functions" / "main.py")
        command = [sys.executable, "-m", "functions_framework", f"--target={name}", f"--source={source}"]
        environment = self._environment | {"FUNCTION_TARGET": name, "PYTHONUNBUFFERED": "1"}
        return Program(name, [*command, "--host=127.0.0.1", f"--port={port}"], environment, port, "/")

    def save(self) -> None:
        """Write the settings down for the command line, for this user's eyes only."""
        values = {
            name: self._environment.get(name, "") for name in settings.survey(CONNECT | REFRESH, self._environment)
        }
        lines = [f"{name}={' '.join(value.split())}\n" for name, value in sorted(values.items()) if value.strip()]
        _write_private(self._folder / "local.env", "".join(lines))
        _write_private(self._folder / "current", "local\n")

    def banner(self) -> str:
        """What to do now."""
        chosen = settings.read(CONNECT, self._environment)
        _, text = links.Signer(chosen.link_keys).new_link(FIRST_CONNECTION)
        link = f"{chosen.public_url}/start?link={text.reveal()}"
        secret_id = f"{chosen.secret_prefix}-token-{FIRST_CONNECTION}"
        connected = self._connected_at(secret_id)
        whom = (
            f"{FIRST_CONNECTION} is connected already, since {connected}. To connect it again, open"
            if connected
            else f"to connect {FIRST_CONNECTION}, open (make link makes more of these)"
        )
        tiktok = (
            f"your TikTok app {chosen.app_id}.\n"
            f"In TikTok's portal, exactly this has to be its Advertiser redirect URL: {chosen.public_url}"
            if self.real_app
            else "a simulated TikTok."
        )
        address = f"http://{chosen.emulator_host}/v1/projects/{self.project}/secrets/{secret_id}/versions/latest:access"
        return (
            f"The token keeper is running, with {tiktok}\n\n"
            f"  Connect  {whom}\n"
            f"           {link}\n"
            f"  Refresh  make refresh\n"
            f"  Read     make token CONNECTION={FIRST_CONNECTION}\n"
            f"           or, as pipelines do: curl {address}\n"
            f"  Look     make status\n"
            f"  Stop     Ctrl-C (everything is kept in {_short(self._folder)} and there again the next time)\n"
        )

    def _connected_at(self, secret_id: str) -> str:
        """The day on which the first connection was made; empty: not yet."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports.secret_manager_port, timeout=10)
        try:
            connection.request(
                "GET", f"/v1/projects/{self.project}/secrets?filter=labels.connection={FIRST_CONNECTION}"
            )
            found = json.loads(connection.getresponse().read()).get("secrets", [])
        except (OSError, ValueError, http.client.HTTPException):
            return ""
        finally:
            connection.close()
        stamps = (
            one.get("annotations", {}).get("connected-at", "") for one in found if one["name"].endswith(secret_id)
        )
        return next(stamps, "")[:10]


class Show:
    """Prints what happens, from the start to the end."""

    def __init__(self, setup: Setup, processes: Processes, stream: TextIO = sys.stdout) -> None:
        self._setup = setup
        self._processes = processes
        self._stream = stream
        self._coloured = stream.isatty() and settings.colour_wanted()
        self._awaited = {program.name for program in setup.programs()}
        self._width = max(map(len, self._awaited))
        self._last: dict[str, str] = {}

    def go(self) -> int:
        """Print until the end; returns the exit status."""
        early: list[Line] = []
        while True:
            match self._processes.happenings.get():
                case Line() as line:
                    self._last[line.name] = line.text
                    if self._awaited:
                        early.append(line)
                    else:
                        self._print(line)
                case Ready(name):
                    self._awaited.discard(name)
                    if not self._awaited:
                        self._setup.save()
                        self._say(self._setup.banner())
                        for line in early:
                            self._print(line)
                case Ended(name, status):
                    if self._awaited:
                        for line in early[:-1]:
                            self._print(line)
                    self._explain(name, status)
                    return 1
                case Stop():
                    self._say("Stopping.")
                    return 0

    def _explain(self, name: str, status: int) -> None:
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        last = _clean(self._last.get(name, "it said nothing"))
        print(f"{name} {how}, so everything else is stopped, too. Its last words: {last}", file=sys.stderr)

    def _print(self, line: Line) -> None:
        tag = line.name.ljust(self._width) + " | "
        entry = _entry(line.text)
        text = _clean(line.text) if entry is None else log.readable(entry, clock.now())
        if self._coloured:
            tag = click.style(tag, dim=True)
            colour = None if entry is None else _COLOURS.get(str(entry.get("severity")))
            text = click.style(text, fg=colour, dim=entry is None)
        self._say(tag + text)

    def _say(self, text: str) -> None:
        with contextlib.suppress(BrokenPipeError):
            print(text, file=self._stream, flush=True)


def _entry(text: str) -> dict[str, object] | None:
    if not text.startswith("{"):
        return None
    try:
        entry = json.loads(text)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and "message" in entry else None


def _clean(text: str) -> str:
    return _CONTROL.sub(" ", text)


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(ROOT))
    except ValueError:
        return str(path)


def _kept_key(file: Path) -> str:
    """The signing key of this machine, made the first time."""
    if not file.exists():
        _write_private(file, secrets.token_urlsafe(48) + "\n")
    return file.read_text(encoding="utf-8").strip()


def _write_private(file: Path, text: str) -> None:
    """Write a file that nobody else may read, whole or not at all."""
    temporary = file.with_name(f"{file.name}.{os.getpid()}.new")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text)
    temporary.replace(file)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Problem(f"{message[:1].upper()}{message[1:]}; see python -m local.run --help.")


def _read(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[Ports, Path]:
    """The ports and the folder, from options or variables of the same names."""
    parser = _Parser(prog="python -m local.run", description=(__doc__ or "").partition("\n\n")[0])
    for option, default, who in (
        ("port", 8080, "connect"),
        ("refresh-port", 8081, "refresh"),
        ("secret-manager-port", 8085, "the embedded Secret Manager"),
        ("tiktok-port", 8090, "the simulated TikTok"),
    ):
        variable = option.upper().replace("-", "_")
        value = environment.get(variable, "").strip() or str(default)
        parser.add_argument(
            f"--{option}", metavar="PORT", default=value, help=f"port of {who} (default: {variable}, else {default})"
        )
    parser.add_argument(
        "--state",
        metavar="FOLDER",
        default=environment.get("TOKENKEEPER_STATE", "").strip() or str(ROOT / ".tokenkeeper"),
        help="where everything is kept (default: TOKENKEEPER_STATE, else .tokenkeeper)",
    )
    chosen = vars(parser.parse_args(list(arguments)))
    folder = Path(chosen.pop("state")).absolute()
    for name, value in chosen.items():
        if not (value.isascii() and value.isdigit() and 0 < int(value) < 65536):
            raise Problem(f"{name.upper()} is {value[:20]!r}, not a port from 1 to 65535, like 8080.")
    return Ports(**{name: int(value) for name, value in chosen.items()}), folder
