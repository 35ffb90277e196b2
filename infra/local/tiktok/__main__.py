"""Starts the simulated TikTok alone: ``python -m local.tiktok --port 8090 --log``."""

import argparse
import sys
from pathlib import Path

from local.serving import CannotStart, serve_until_signal
from local.tiktok import CONSENT_PATH, TikTokServer
from local.tiktok.api import API_PATH


def main() -> int:
    """Runs the server until it is told to stop; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m local.tiktok", description="Runs a simulated TikTok.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--name", action="append", default=[], help="host name of a public address that leads here; may be repeated"
    )
    parser.add_argument("--port", type=int, default=8090, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--state", type=Path, metavar="FILE", help="keeps codes and grants in this file over a restart")
    parser.add_argument("--log", action="store_true", help="prints a line for each request")
    given = parser.parse_args()
    log = (lambda line: print(line, flush=True)) if given.log else None
    try:
        server = TikTokServer(host=given.host, port=given.port, names=given.name, path=given.state, log=log)
    except CannotStart as error:
        print(error)
        return 1
    return serve_until_signal(
        server, lambda it: f"Simulated TikTok: {it.url}{API_PATH}, consent page {it.url}{CONSENT_PATH}"
    )


if __name__ == "__main__":
    sys.exit(main())
