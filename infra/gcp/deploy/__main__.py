"""The command line: python -m gcp.deploy COMMAND."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from gcp.deploy import commands
from gcp.deploy.programs import Stop
from gcp.deploy.terraform import Interrupted


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="gcp.deploy", description="Sets the token keeper up in Google Cloud.")
    names = parser.add_subparsers(dest="command", required=True)
    options = {
        "deploy": ("yes", "unlock", "adopt"),
        "plan": (),
        "destroy": ("yes", "unlock", "tokens"),
        "attach": (),
    }
    helps = {
        "yes": "do not ask",
        "unlock": "take the lock of a Terraform that died, after a question",
        "adopt": "take over what exists without being in the state",
        "tokens": "delete the connections' secrets as well",
    }
    for name, flags in options.items():
        what = getattr(commands, name).__doc__
        command = names.add_parser(name, help=what, description=what)
        for flag in flags:
            command.add_argument(f"--{flag}", action="store_true", help=helps[flag])
        if name == "attach":
            command.add_argument("--project", required=True)
            command.add_argument("--region", required=True)
            command.add_argument("--name", default="tiktok-ads")
    chosen = parser.parse_args(arguments)
    try:
        match chosen.command:
            case "deploy":
                commands.deploy(yes=chosen.yes, unlock=chosen.unlock, take_over=chosen.adopt)
            case "plan":
                commands.plan()
            case "destroy":
                commands.destroy(tokens=chosen.tokens, yes=chosen.yes, unlock=chosen.unlock)
            case "attach":
                commands.attach(project=chosen.project, region=chosen.region, name=chosen.name)
    except Stop as stop:
        print(f"\n{stop}", file=sys.stderr)
        return 1
    except Interrupted as interrupted:
        print("\nStopped in order: what was made is in the state. Run it again to go on from here.", file=sys.stderr)
        return 128 + interrupted.number
    except (KeyboardInterrupt, EOFError):
        print("\nStopped; nothing was under way. Run it again to go on from here.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
