"""Starts the simulated TikTok alone: ``python -m local.tiktok --port 8090 --kind expiring --log``."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from local.serving import CannotStart, serve_until_signal
from local.tiktok import APP_ID, APP_SECRET, CONSENT_PATH, Options, TikTokServer
from local.tiktok.api import API_PATH
from local.tiktok.options import Kind, Rotation


def main(words: Sequence[str] | None = None) -> int:
    """Runs the server until it is told to stop; returns the exit status."""
    usual = Options()
    parser = argparse.ArgumentParser(prog="python -m local.tiktok", description="Runs a simulated TikTok.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--name", action="append", default=[], help="host name of a public address that leads here; may be repeated"
    )
    parser.add_argument("--port", type=int, default=8090, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--app-id", default=APP_ID, help="the developer app (default: %(default)s)")
    parser.add_argument("--app-secret", default=APP_SECRET, help="its secret (default: %(default)s)")
    parser.add_argument("--kind", choices=get_args(Kind), default=usual.kind, help="of grant (default: %(default)s)")
    parser.add_argument(
        "--rotation",
        choices=get_args(Rotation),
        default=usual.rotation,
        help="the refresh token that a refresh answers with (default: %(default)s)",
    )
    parser.add_argument(
        "--access-seconds", type=int, default=usual.access_seconds, help="life of access tokens (default: %(default)s)"
    )
    parser.add_argument("--state", type=Path, metavar="FILE", help="keeps codes and grants in this file over a restart")
    parser.add_argument("--log", action="store_true", help="prints a line for each request")
    given = parser.parse_args(words)
    options = replace(usual, kind=given.kind, rotation=given.rotation, access_seconds=given.access_seconds)
    try:
        server = TikTokServer(
            app_id=given.app_id,
            app_secret=given.app_secret,
            options=options,
            host=given.host,
            port=given.port,
            names=given.name,
            path=given.state,
            log=(lambda line: print(line, flush=True)) if given.log else None,
        )
    except CannotStart as error:
        print(error)
        return 1
    return serve_until_signal(
        server, lambda it: f"Simulated TikTok: {it.url}{API_PATH}, consent page {it.url}{CONSENT_PATH}"
    )


if __name__ == "__main__":
    sys.exit(main())
