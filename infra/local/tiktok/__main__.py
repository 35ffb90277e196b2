"""Starts the simulated TikTok alone: ``python -m local.tiktok --port 8090 --log``."""

import sys
from pathlib import Path

from local.serving import CannotStart, options, serve_until_signal
from local.tiktok import CONSENT_PATH, TikTokServer
from local.tiktok.api import API_PATH


def main() -> int:
    """Runs the server until it is stopped; returns the exit status."""
    parser = options("local.tiktok", "Runs a simulated TikTok.", 8090)
    parser.add_argument(
        "--name", action="append", default=[], help="host name of a public address that leads here; may be repeated"
    )
    parser.add_argument("--state", type=Path, metavar="FILE", help="keeps codes and grants in this file over a restart")
    given = parser.parse_args()
    try:
        server = TikTokServer(host=given.host, port=given.port, names=given.name, path=given.state, log=given.log)
    except CannotStart as error:
        print(error)
        return 1
    return serve_until_signal(
        server, lambda it: f"Simulated TikTok: {it.url}{API_PATH}, consent page {it.url}{CONSENT_PATH}"
    )


if __name__ == "__main__":
    sys.exit(main())
