"""Starts everything on this machine: the embedded Secret Manager, a simulated TikTok, and both functions.

    python -m local.run --port 8080

Each is a process of its own; the functions run under the real functions-framework. With `TIKTOK_APP_ID` and
`TIKTOK_APP_SECRET` of a real app in the environment the functions talk to the real TikTok instead.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from local import ROOT
from local.addresses import Problem
from local.processes import Processes
from local.serving import CannotStart, refuse_in_the_cloud
from local.setup import CONNECT_NAME, REFRESH_NAME, Ports, Setup
from local.show import Show
from tokenkeeper.errors import SettingsError


def launch(arguments: Sequence[str]) -> int:
    """Runs everything until Ctrl-C or SIGTERM.

    Args:
        arguments: The command line's.

    Returns:
        The exit status: 0 after an end that was asked for, else 1.
    """
    try:
        ports, folder = read(arguments, os.environ)
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


def read(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[Ports, Path]:
    """The ports and the folder, from options or variables of the same names.

    Raises:
        Problem: An option is unknown, or a port is none.
    """
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


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Problem(f"{message[:1].upper()}{message[1:]}; see python -m local.run --help.")
