"""Sets the token keeper up in a Google Cloud project with Terraform or OpenTofu, or takes it down again.

    PYTHONPATH=infra:functions python -m gcp.deploy deploy | plan | destroy | attach

It does what Terraform cannot, or should not: checks first whether everything is there, keeps the state in a bucket of
the project, puts values into the secrets without either touching a file, a command line or the state, says on one
screen what will change, sees an interrupted run to its end, tries again where Google needs minutes to learn of what was
just made, explains what Google refuses, and looks up whether both functions run this source.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from gcp.deploy import commands
from gcp.deploy.programs import Stop, say

FLAGS = {
    "yes": "do not ask",
    "unlock": "take the lock of a Terraform that died, after a question",
    "adopt": "take over what exists without being in the state",
    "tokens": "delete the connections' secrets as well",
}
COMMANDS = {"deploy": ("yes", "unlock", "adopt"), "plan": (), "destroy": ("yes", "unlock", "tokens"), "attach": ()}


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="gcp.deploy", description="Sets the token keeper up in Google Cloud.")
    names = parser.add_subparsers(dest="command", required=True)
    for name, flags in COMMANDS.items():
        what = getattr(commands, name).__doc__
        command = names.add_parser(name, help=what, description=what)
        for flag in flags:
            command.add_argument(f"--{flag}", action="store_true", help=FLAGS[flag])
        if name == "attach":
            command.add_argument("--project", required=True)
            command.add_argument("--region", required=True)
            command.add_argument("--name", default="tiktok-ads")
    chosen = vars(parser.parse_args(arguments))
    try:
        getattr(commands, chosen.pop("command"))(**chosen)
    except Stop as stop:
        say(f"\n{stop}", error=True)
        return 1
    except (KeyboardInterrupt, EOFError):
        say("\nStopped; nothing was under way. Run it again to go on from here.", error=True)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
