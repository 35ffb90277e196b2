"""The four commands, top to bottom."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Sequence
from functools import partial

from gcp.deploy import deployed, variables
from gcp.deploy.deployment import Deployment
from gcp.deploy.identity import check_project, rights, use
from gcp.deploy.programs import Stop, gcloud, say, try_gcloud
from gcp.deploy.screen import COST, RESOURCES, listed, summary
from gcp.deploy.state import State
from gcp.deploy.terraform import PLAN, Plan, Terraform, program
from gcp.deploy.variables import Target

APIS = ("cloudresourcemanager.googleapis.com", "secretmanager.googleapis.com", "serviceusage.googleapis.com")
FIRST_VALUES: dict[str, Callable[[], str]] = {
    "app-secret": variables.app_secret,
    "link-signing-keys": partial(secrets.token_urlsafe, 48),
}
FIRST = [f"{kind}.{name}" for kind, entry in RESOURCES.items() for name in entry.get("first", [])]


def deploy(*, yes: bool, unlock: bool, adopt: bool) -> None:
    """Make everything, or bring it up to date; where nothing is to be done, change nothing."""
    work = _prepared(yes=yes)
    target, state = work.target, work.state
    first = {target.secret(name): make for name, make in FIRST_VALUES.items()}
    values = {secret: make() for secret, make in first.items() if not _has_value(secret)}
    plan = work.plan(unlock=unlock)
    if not (adopt or unlock):
        _no_state_lost(plan, work)
    changed = bool(plan.changes or values or state.pending)
    if changed:
        put = [f"put a value into {secret}" for secret in values]
        lines = [f"{work.place} {state.pending}", "", summary(plan), *put, "" if plan.known else COST]
        say("\n".join([*lines, "`make plan` shows all of it.", ""]))
        work.confirm("Type yes to do this: ")
        gcloud("services", "enable", *APIS)
        if state.pending:
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


def plan() -> None:
    """Show all that `deploy` would change, in Terraform's words."""
    work = _prepared()
    work.terraform.plan("-lock=false")
    say(f"{work.place}\n\n{work.terraform.said('show', '-no-color', PLAN)}")


def destroy(*, tokens: bool, yes: bool, unlock: bool) -> None:
    """Delete what Terraform made; the connections' secrets only with `tokens`."""
    work = _prepared(yes=yes)
    target = work.target
    stored = _stored(target)
    plan = work.plan("-destroy", unlock=unlock)
    _no_state_lost(plan, work)
    say(f"{work.place}\n\n{summary(plan)}\n{_farewell(stored, tokens=tokens)}")
    work.confirm(f"Type the project's id ({target.project}) to delete this: ", target.project)
    work.apply(plan)
    for name in stored if tokens else []:
        gcloud("secrets", "delete", name, "--quiet")
        say(f"Deleted {name}.")
    deployed.forget()
    say(f"Everything is deleted. Terraform's state, now empty, stays at {work.state.place}.")


def attach(*, project: str, region: str, name: str) -> None:
    """Make the command line work on a deployment that was made elsewhere."""
    use(os.environ, project)
    target = Target(project, region, name)
    functions = deployed.functions(target)
    if len(functions) < 2:
        raise Stop(
            f"There are no functions {name}-connect and {name}-refresh in {region} of {project}. Check PROJECT, REGION "
            "and, if another name was chosen (the variable name), NAME."
        )
    deployed.remember(functions, target)
    say(f"The commands act on {name} in {project} now. `make status` shows its connections.")
    if deployed.other_source(functions):
        say("Note: it was not built from the source of this checkout.")


def _prepared(*, yes: bool = False) -> Deployment:
    """A deployment with its state open; raises `Stop` where something is missing, with all of it."""
    problems: list[str] = []
    name, found, who = program(problems), variables.read(os.environ), ""
    if not shutil.which("gcloud"):
        problems.append("gcloud is not installed: https://cloud.google.com/sdk/docs/install")
    variables.complete(found, problems)
    if shutil.which("gcloud"):
        who = rights(found.get("project_id", ""), problems)
        if who and found.get("project_id"):
            check_project(found["project_id"], who, problems)
    if problems:
        raise Stop("Not everything that is needed is there:\n" + "\n".join(f"- {problem}" for problem in problems))
    target = Target(found["project_id"], found["region"], found["name"], found["secret_prefix"])
    terraform = Terraform(name)
    state = State(target, terraform)
    state.open()
    return Deployment(target, terraform, state, who, yes)


def _no_state_lost(plan: Plan, work: Deployment) -> None:
    target = work.target
    if plan.known or not deployed.functions(target):
        return
    raise Stop(
        f"{target.name}-connect runs in {target.project}, but Terraform's state ({work.state.place}) knows nothing of "
        "it: it was deployed with another state, or without Terraform. Two ways out:\n"
        "- Use its state: run make deploy where that file (infra/gcp/terraform.tfstate) is, which moves it into the "
        "bucket, or write a *_override.tf with its backend.\n"
        "- Take everything over into this state: make deploy ADOPT=1.\n"
        f"To use it as it is: make attach PROJECT={target.project} REGION={target.region} NAME={target.name}."
    )


def _has_value(secret: str) -> bool:
    listing = ("--filter=state=ENABLED", "--limit=1", "--format=value(name)")
    return bool(try_gcloud("secrets", "versions", "list", secret, *listing))


def _stored(target: Target) -> list[str]:
    ours = "--filter=labels.managed-by=tiktok-token-keeper"
    kinds = tuple(target.secret(kind) + "-" for kind in ("token", "refresh"))
    names = gcloud("secrets", "list", "--format=value(name.basename())", ours).split()
    return sorted(name for name in names if name.startswith(kinds))


def _farewell(stored: Sequence[str], *, tokens: bool) -> str:
    if not stored:
        return "All of the above is deleted. No token is stored."
    names = "\n".join(listed("secrets", stored))
    if tokens:
        return (
            f"All of the above is deleted, and the secrets of connections with it, for good:\n{names}\n"
            "TikTok goes on accepting tokens that somebody has copied: `make disconnect` first, to revoke them."
        )
    return (
        "All of the above is deleted: nothing refreshes the tokens any more, and readers lose the access that was "
        f"given to them here. The secrets of connections stay; TOKENS=1 deletes them too:\n{names}"
    )
