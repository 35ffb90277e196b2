"""Starts everything on this machine: the embedded Secret Manager, a simulated TikTok, and both functions.

Each is a process of its own; the functions run under the real functions-framework. With `TIKTOK_APP_ID` and
`TIKTOK_APP_SECRET` of a real app in the environment the functions talk to the real TikTok instead.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from local import ROOT
from local.processes import Processes
from local.serving import CannotStart, refuse_in_the_cloud
from local.setup import CONNECT_NAME, REFRESH_NAME, Ports, Setup
from local.show import Show
from tokenkeeper.errors import SettingsError

PORTS = {"PORT": 8080, "REFRESH_PORT": 8081, "SECRET_MANAGER_PORT": 8085, "TIKTOK_PORT": 8090}
"""The variables that change the ports, with the usual ones."""


def launch() -> int:
    """Runs everything until Ctrl-C or SIGTERM.

    Returns:
        The exit status: 0 after an end that was asked for, else 1.
    """
    try:
        folder = os.environ.get("TOKENKEEPER_STATE", "").strip() or str(ROOT / ".tokenkeeper")
        refuse_in_the_cloud()
        setup = Setup(os.environ, read(os.environ), Path(folder).absolute())
        setup.check()
    except (CannotStart, SettingsError) as problem:
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


def read(environment: Mapping[str, str]) -> Ports:
    """The ports.

    Raises:
        CannotStart: One is none.
    """
    chosen = {name: environment.get(name, "").strip() or str(usual) for name, usual in PORTS.items()}
    for name, value in chosen.items():
        if not (value.isascii() and value.isdigit() and 0 < int(value) < 65536):
            raise CannotStart(f"{name} is {value[:20]!r}, not a port from 1 to 65535, like 8080.")
    return Ports(**{name.lower(): int(value) for name, value in chosen.items()})
