"""Sets the token keeper up in a Google Cloud project with Terraform or OpenTofu, or takes it down again.

    PYTHONPATH=infra:functions python -m gcp.deploy deploy | plan | destroy | attach

It does what Terraform cannot, or should not: checks first whether everything is there, keeps the state in a bucket of
the project, puts values into the secrets without either touching a file, a command line or the state, says on one
screen what will change, sees an interrupted run to its end, tries again where Google needs minutes to learn of what was
just made, explains what Google refuses, and looks up whether both functions run this source.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import secrets
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence

from gcp.deploy import deployed, prepare
from gcp.deploy.deployment import Deployment
from gcp.deploy.prepare import Target
from gcp.deploy.programs import SAVED, gcloud, say, try_gcloud
from gcp.deploy.refusals import Stop, ours
from gcp.deploy.screen import COST, RESOURCES, listed, summary
from gcp.deploy.terraform import PLAN

APIS = ("cloudresourcemanager.googleapis.com", "secretmanager.googleapis.com", "serviceusage.googleapis.com")
FIRST = [f"{kind}.{name}" for kind, entry in RESOURCES.items() for name in entry.get("first", [])]
FLAGS = {
    "yes": "do not ask",
    "unlock": "take the lock of a Terraform that died, after a question",
    "adopt": "deploy: take over what exists without being in the state",
    "tokens": "destroy: delete the connections' secrets as well",
}


def deploy(chosen: Namespace) -> None:
    """Make everything, or bring it up to date; where nothing is to be done, change nothing."""
    work = Deployment.prepared(yes=chosen.yes)
    target, state = work.target, work.state
    first: dict[str, Callable[[], str]] = {"app-secret": _app_secret, "link-signing-keys": secrets.token_urlsafe}
    named = {f"{target.secret_prefix}-{name}": make for name, make in first.items()}
    values = {secret: make() for secret, make in named.items() if not _has_value(secret)}
    plan = work.plan(unlock=chosen.unlock, adopt=chosen.adopt or chosen.unlock)
    changed = bool(plan.changes or values or state.pending)
    if changed:
        put = [f"put a value into {secret}" for secret in values]
        cost = "" if plan.known else COST
        lines = [f"{work.place} {state.pending}\n", summary(plan), *put, cost, "`make plan` shows all of it.\n"]
        say("\n".join(filter(None, lines)))
        work.confirm("Type yes to do this: ")
        gcloud("services", "enable", *APIS)
        state.settle()
        if values:
            work.until_done(*(f"-target={address}" for address in FIRST))
        for secret, value in values.items():
            gcloud("secrets", "versions", "add", secret, "--data-file=-", given=value)
            say(f"Put a value into {secret}.")
        work.until_done()
    else:
        work.apply(plan)  # it has no resource; what is said at the end may be new
        say("Nothing is to be changed.")
    functions, outputs = deployed.functions(target), json.loads(work.terraform.said("output", "-json"))
    deployed.open_to_everybody(target, outputs["public_access"]["value"])
    if other := deployed.other_source(functions):
        raise Stop("\n".join(other))
    deployed.remember(functions, target)
    say("\nBoth functions run this source.")
    if changed and try_gcloud("scheduler", "jobs", "run", outputs["scheduler_job"]["value"]) is not None:
        say("Asked the Scheduler for a first run: `make status` shows it in a minute.")
    say(f"\n{outputs['next_steps']['value']}")


def plan(_: Namespace) -> None:
    """Show all that `deploy` would change, in Terraform's words."""
    work = Deployment.prepared()
    work.terraform.plan("-lock=false")
    say(f"{work.place}\n\n{work.terraform.said('show', '-no-color', PLAN)}")


def destroy(chosen: Namespace) -> None:
    """Delete what Terraform made; the connections' secrets only with `tokens`."""
    work = Deployment.prepared(yes=chosen.yes)
    stored = _stored(work.target)
    plan = work.plan("-destroy", unlock=chosen.unlock)
    farewell = ours("tokens_go" if chosen.tokens else "tokens_stay") if stored else ours("no_tokens")
    say("\n".join([work.place, "", summary(plan), farewell, *listed("secrets", stored)]))
    work.confirm(f"Type the project's id ({work.target.project}) to delete this: ", work.target.project)
    work.apply(plan)
    for name in stored if chosen.tokens else []:
        gcloud("secrets", "delete", name, "--quiet")
        say(f"Deleted {name}.")
    (SAVED / "cloud.env").unlink(missing_ok=True)
    say(f"Everything is deleted. Terraform's state, now empty, stays at {work.state.place}.")


def attach(chosen: Namespace) -> None:
    """Make the command line work on a deployment that was made elsewhere."""
    prepare.use(os.environ, chosen.project)
    target = Target(chosen.project, chosen.region, chosen.name)
    functions = deployed.functions(target)
    if len(functions) < 2:
        raise Stop(ours("no_functions", **target._asdict()))
    deployed.remember(functions, target)
    say(f"The commands act on {target.name} in {target.project} now. `make status` shows its connections.")
    if deployed.other_source(functions):
        say("Note: it was not built from the source of this checkout.")


def _app_secret() -> str:
    """From the environment or from a person, unseen."""
    given = os.environ.get("TIKTOK_APP_SECRET", "")
    if not given and not sys.stdin.isatty():
        raise Stop(ours("no_secret"))
    question = "Secret of the TikTok app (portal, My Apps; it is not shown while you paste it): "
    given = (given or getpass.getpass(question)).strip()
    if not re.fullmatch(r"[!-~]{1,256}", given):
        raise Stop(ours("not_a_secret"))
    return given


def _has_value(secret: str) -> bool:
    listing = ("--filter=state=ENABLED", "--limit=1", "--format=value(name)")
    return bool(try_gcloud("secrets", "versions", "list", secret, *listing))


def _stored(target: Target) -> list[str]:
    """The connections' secrets."""
    kinds = tuple(f"{target.secret_prefix}-{kind}-" for kind in ("token", "refresh"))
    labelled = "--filter=labels.managed-by=tiktok-token-keeper"
    names = gcloud("secrets", "list", "--format=value(name.basename())", labelled).split()
    return sorted(name for name in names if name.startswith(kinds))


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit status."""
    commands = {command.__name__: command for command in (deploy, plan, destroy, attach)}
    parser = ArgumentParser(prog="gcp.deploy", description="Sets the token keeper up in Google Cloud.")
    parser.add_argument("command", choices=commands, help=" ".join(str(one.__doc__) for one in commands.values()))
    for flag, meaning in FLAGS.items():
        parser.add_argument(f"--{flag}", action="store_true", help=meaning)
    for name, default in {"project": "", "region": "", "name": "tiktok-ads"}.items():
        parser.add_argument(f"--{name}", default=default, help=f"attach: {name} of the deployment")
    chosen = parser.parse_args(arguments)
    try:
        commands[chosen.command](chosen)
    except Stop as stop:
        say(f"\n{stop}", error=True)
        return 1
    except (KeyboardInterrupt, EOFError):
        say(ours("interrupted"), error=True)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
