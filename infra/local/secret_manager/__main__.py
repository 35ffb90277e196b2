"""Starts the embedded Secret Manager alone."""

import argparse
import sys
from pathlib import Path

from local.secret_manager import SecretManagerServer
from local.serving import serve_until_signal


def main() -> int:
    """Runs it until Ctrl-C. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m local.secret_manager",
        description="An embedded Secret Manager: the REST API v1 on this machine, for development and tests only.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="loopback address to serve on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8085, help="port to serve on, 0 for any (default: %(default)s)")
    parser.add_argument("--store", type=Path, metavar="FILE", help="keep everything in FILE, encrypted with FILE.key")
    parser.add_argument("--log", action="store_true", help="print a line for each request")
    chosen = parser.parse_args()
    server = SecretManagerServer(
        path=chosen.store,
        host=chosen.host,
        port=chosen.port,
        log=(lambda line: print(line, flush=True)) if chosen.log else None,
    )
    return serve_until_signal(server, lambda s: f"Secret Manager: {s.url}  (SECRET_MANAGER_EMULATOR_HOST={s.address})")


if __name__ == "__main__":
    sys.exit(main())
