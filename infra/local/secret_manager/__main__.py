"""Starts the embedded Secret Manager alone."""

import sys
from pathlib import Path

from local.secret_manager import SecretManagerServer
from local.serving import options, serve_until_signal


def main() -> int:
    """Runs it until Ctrl-C. Returns the exit status."""
    description = "An embedded Secret Manager: the REST API v1 on this machine, for development and tests only."
    parser = options("local.secret_manager", description, 8085)
    parser.add_argument("--store", type=Path, metavar="FILE", help="keep everything in FILE, encrypted with FILE.key")
    chosen = parser.parse_args()
    server = SecretManagerServer(path=chosen.store, host=chosen.host, port=chosen.port, log=chosen.log)
    return serve_until_signal(server, lambda s: f"Secret Manager: {s.url}  (SECRET_MANAGER_EMULATOR_HOST={s.address})")


if __name__ == "__main__":
    sys.exit(main())
