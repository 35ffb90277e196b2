"""The four commands, top to bottom."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence

from gcp.deploy import deployed
from gcp.deploy.deployment import FIRST, Deployment, prepared
from gcp.deploy.identity import rights
from gcp.deploy.programs import Stop, gcloud, say, try_gcloud
from gcp.deploy.screen import COST, summary
from gcp.deploy.terraform import Plan
from gcp.deploy.variables import Target, app_secret

APIS = ("cloudresourcemanager.googleapis.com", "secretmanager.googleapis.com", "serviceusage.googleapis.com")
SHOWN = 20  # names of secrets, where there are many


def deploy(*, yes: bool, unlock: bool, adopt: bool) -> None:
    """Make everything, or bring it up to date; where nothing is to be done, change nothing."""
    work = prepared(ask=True, yes=yes, take_over=adopt or unlock)
    target = work.target
    work.state.open(create=False)
    values = {name: "" for name in ("app-secret", "link-signing-keys") if not _has_value(target.secret(name))}
    if "app-secret" in values:
        values["app-secret"] = app_secret()
    if "link-signing-keys" in values:
        values["link-signing-keys"] = secrets.token_urlsafe(48)
    plan = work.plan(unlock=unlock)
    if not (adopt or unlock):
        _no_state_lost(plan, work)
    changed = bool(plan.changes or plan.outputs or values or work.state.pending)
    if changed:
        say(_screen(plan, work, values))
        work.confirm("Type yes to do this: ")
        gcloud("services", "enable", *APIS)
        work.state.open(create=True)
        if values:
            work.until_done(*(f"-target={address}" for address in FIRST))
        for name, value in values.items():
            gcloud("secrets", "versions", "add", target.secret(name), "--data-file=-", given=value)
            say(f"Put a value into {target.secret(name)}.")
        work.until_done()
    else:
        say("Nothing is to be changed.")
    outputs = work.terraform.outputs()
    functions = deployed.both(target)
    deployed.open_to_everybody(target, outputs["public_access"])
    for name, function in functions.items():
        found = deployed.source(name, function)
        if found.verdict != "ok":
            raise Stop(f"{name} does not run this source: {found.text}")
    deployed.remember(functions, target)
    say("\nBoth functions run this source.")
    if changed and try_gcloud("scheduler", "jobs", "run", outputs["scheduler_job"]) is None:
        say("The Scheduler could not be asked for a first run; the next one comes by itself. See `make doctor`.")
    elif changed:
        say("Asked the Scheduler for a first run: `make status` shows it in a minute.")
    say(f"\n{outputs['next_steps']}")


def plan() -> None:
    """Show all that `deploy` would change, in Terraform's words."""
    work = prepared(ask=False)
    say(work.place)
    work.state.open(create=False)
    work.terraform.run("plan", "-input=false", "-no-color", "-lock=false", echo=True)


def destroy(*, tokens: bool, yes: bool, unlock: bool) -> None:
    """Delete what Terraform made; the connections' secrets only with `tokens`."""
    work = prepared(ask=False, yes=yes)
    target = work.target
    work.state.open(create=False)
    stored = _stored_tokens(target)
    plan = work.plan("-destroy", unlock=unlock)
    _no_state_lost(plan, work)
    say(f"{work.place}\n\n{summary(plan)}\n{_farewell(stored, tokens=tokens)}")
    work.confirm(f"Type the project's id ({target.project}) to delete this: ", target.project)
    work.apply()
    for name in stored if tokens else []:
        gcloud("secrets", "delete", name, "--quiet")
        say(f"Deleted {name}.")
    deployed.forget()
    say(f"Everything is deleted. Terraform's state, now empty, stays at {work.state.place}.")


def attach(*, project: str, region: str, name: str) -> None:
    """Make the command line work on a deployment that was made elsewhere."""
    target = Target(project, region, name)
    problems: list[str] = []
    who = rights(project, problems, deploys=False)
    if problems:
        raise Stop("\n".join(problems))
    functions = deployed.both(target)
    deployed.remember(functions, target)
    say(f"As {who}: the commands act on {name} in {project} now. `make status` shows its connections.")
    if deployed.source("connect", functions["connect"]).verdict != "ok":
        say("Note: it was not built from the source of this checkout.")


def _screen(plan: Plan, work: Deployment, values: Collection[str]) -> str:
    lines = [work.place, work.state.pending] if work.state.pending else [work.place]
    lines += ["", summary(plan)]
    if values:
        lines.append(f"put values into: {', '.join(work.target.secret(name) for name in values)}")
    return "\n".join([*lines, COST if not plan.known else "", "`make plan` shows all of it.", ""])


def _no_state_lost(plan: Plan, work: Deployment) -> None:
    target = work.target
    if plan.known or deployed.look_up(target, "connect") is None:
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


def _stored_tokens(target: Target) -> list[str]:
    ours = "--filter=labels.managed-by=tiktok-token-keeper"
    kinds = tuple(target.secret(kind) + "-" for kind in ("token", "refresh"))
    listed = gcloud("secrets", "list", "--format=value(name.basename())", ours).split()
    return sorted(name for name in listed if name.startswith(kinds))


def _farewell(stored: Sequence[str], *, tokens: bool) -> str:
    if not stored:
        return "All of the above is deleted. No token is stored."
    more = [f"… and {len(stored) - SHOWN} more"] if len(stored) > SHOWN else []
    names = "".join(f"\n    {name}" for name in [*stored[:SHOWN], *more])
    if tokens:
        return (
            f"All of the above is deleted, and {len(stored)} secrets of connections with it, for good:{names}\n"
            "TikTok goes on accepting tokens that somebody has copied: `make disconnect` first, to revoke them."
        )
    return (
        "All of the above is deleted: nothing refreshes the tokens any more, and readers lose the access that was "
        f"given to them here.\n{len(stored)} secrets of connections stay; TOKENS=1 deletes them too.{names}"
    )
