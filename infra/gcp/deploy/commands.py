"""The four commands, top to bottom."""

from __future__ import annotations

import json
import secrets
import tempfile
from collections.abc import Sequence
from pathlib import Path

from gcp.deploy import deployed
from gcp.deploy.check import Work, needed, rights
from gcp.deploy.converge import FIRST, Converge, failed_to_apply
from gcp.deploy.programs import ROOT, Stop, confirm, gcloud, say, try_gcloud
from gcp.deploy.screen import COST, summary
from gcp.deploy.source import source_hash
from gcp.deploy.terraform import Plan
from gcp.deploy.variables import Target, app_secret

APIS = ("cloudresourcemanager.googleapis.com", "secretmanager.googleapis.com", "serviceusage.googleapis.com")
SHOWN = 20  # names of secrets, where there are many


def deploy(*, yes: bool, unlock: bool, adopt: bool) -> None:
    """Make everything, or bring it up to date; where nothing is to be done, change nothing."""
    work = needed(ask=True)
    target = work.target
    work.state.open(create=False)
    values = {name: "" for name in ("app-secret", "link-signing-keys") if not _has_value(target, name)}
    if "app-secret" in values:
        values["app-secret"] = app_secret()
    if "link-signing-keys" in values:
        values["link-signing-keys"] = secrets.token_urlsafe(48)
    converge = Converge(work, yes=yes, take_over=adopt or unlock)
    with tempfile.TemporaryDirectory() as folder:
        plan = converge.plan(Path(folder) / "plan", unlock=unlock)
    if not (adopt or unlock):
        _no_state_lost(plan, work)
    changed = bool(plan.changes or plan.outputs or values or work.state.pending)
    if changed:
        say(_screen(plan, work, values))
        if not yes:
            confirm("Type yes to do this: ", "yes")
        gcloud("services", "enable", *APIS, f"--project={target.project}")
        work.state.open(create=True)
        if values:
            converge.until_done(only=FIRST)
            _put(values, target)
        converge.until_done()
    else:
        say("Nothing is to be changed.")
    outputs = _outputs(work)
    functions = deployed.both(target)
    deployed.open_to_everybody(target, outputs["public_access"])
    deployed.check_source(functions, source_hash(ROOT / "functions"))
    deployed.remember(functions, target)
    say("\nBoth functions run this source.")
    if changed:
        _first_run(outputs)
    say(f"\n{outputs['next_steps']}")


def plan() -> None:
    """Show all that `deploy` would change, in Terraform's words."""
    work = needed(ask=False)
    say(f"As {work.who}. State: {work.state.place}.")
    work.state.open(create=False)
    done = work.terraform.run("plan", "-input=false", "-no-color", "-lock=false", echo=True)
    if done.status != 0:
        raise Stop("Terraform could not plan: see its message above.")


def destroy(*, tokens: bool, yes: bool, unlock: bool) -> None:
    """Delete what Terraform made; the connections' secrets only with `tokens`."""
    work = needed(ask=False)
    target = work.target
    work.state.open(create=False)
    stored = _stored_tokens(target)
    converge = Converge(work, yes=yes, take_over=False)
    with tempfile.TemporaryDirectory() as folder:
        planned = converge.plan(Path(folder) / "plan", "-destroy", unlock=unlock)
        _no_state_lost(planned, work)
        say(f"As {work.who}. State: {work.state.place}.\n\n{summary(planned)}\n{_farewell(stored, tokens=tokens)}")
        if not yes:
            confirm(f"Type the project's id ({target.project}) to delete this: ", target.project)
        outcome = converge.apply(planned)
        if outcome.status != 0:
            raise failed_to_apply(outcome)
    for name in stored if tokens else []:
        gcloud("secrets", "delete", name, f"--project={target.project}", "--quiet")
        say(f"Deleted {name}.")
    deployed.forget()
    say(f"Everything is deleted. Terraform's state, now empty, stays at {work.state.place}.")


def attach(*, project: str, region: str, name: str) -> None:
    """Make the command line work on a deployment that was made elsewhere."""
    target = Target(project, region, name)
    who, problems = rights(project, deploys=False)
    if problems:
        raise Stop("\n".join(problems))
    functions = deployed.both(target)
    deployed.remember(functions, target)
    say(f"As {who}: the commands act on {name} in {project} now. `make status` shows its connections.")
    if deployed.source_of(functions["connect"]) != source_hash(ROOT / "functions"):
        say("Note: it was not built from the source of this checkout.")


def _screen(plan: Plan, work: Work, values: dict[str, str]) -> str:
    target = work.target
    lines = [f"Project {target.project}, region {target.region}, as {work.who}. State: {work.state.place}."]
    lines += [work.state.pending] if work.state.pending else []
    lines += ["", summary(plan)]
    if values:
        lines.append(f"put values into: {', '.join(target.secret(secret) for secret in values)}")
    return "\n".join([*lines, COST if not plan.known else "", "`make plan` shows all of it.", ""])


def _no_state_lost(plan: Plan, work: Work) -> None:
    if plan.known or deployed.look_up(work.target, "connect") is None:
        return
    target = work.target
    raise Stop(
        f"{target.name}-connect runs in {target.project}, but Terraform's state ({work.state.place}) knows nothing of "
        "it: it was deployed with another state, or without Terraform. Two ways out:\n"
        "- Use its state: run make deploy where that file (infra/gcp/terraform.tfstate) is, which moves it into the "
        "bucket, or write a *_override.tf with its backend.\n"
        "- Take everything over into this state: make deploy ADOPT=1.\n"
        f"To use it as it is: make attach PROJECT={target.project} REGION={target.region} NAME={target.name}."
    )


def _has_value(target: Target, name: str) -> bool:
    return bool(
        try_gcloud(
            *("secrets", "versions", "list", target.secret(name), f"--project={target.project}"),
            *("--filter=state=ENABLED", "--limit=1", "--format=value(name)"),
        )
    )


def _put(values: dict[str, str], target: Target) -> None:
    for name, value in values.items():
        command = ("secrets", "versions", "add", target.secret(name), f"--project={target.project}", "--data-file=-")
        gcloud(*command, given=value)
        say(f"Put a value into {target.secret(name)}.")


def _outputs(work: Work) -> dict[str, str]:
    outputs = json.loads(work.terraform.capture("output", "-json"))
    return {name: output["value"] for name, output in outputs.items() if isinstance(output["value"], str)}


def _first_run(outputs: dict[str, str]) -> None:
    if try_gcloud("scheduler", "jobs", "run", outputs["scheduler_job"]) is None:
        say("The Scheduler could not be asked for a first run; the next one comes by itself. See `make doctor`.")
    else:
        say("Asked the Scheduler for a first run: `make status` shows it in a minute.")


def _stored_tokens(target: Target) -> list[str]:
    listed = gcloud(
        *("secrets", "list", f"--project={target.project}", "--format=value(name.basename())"),
        "--filter=labels.managed-by=tiktok-token-keeper",
    )
    kinds = tuple(target.secret(kind) + "-" for kind in ("token", "refresh"))
    return sorted(name for name in listed.split() if name.startswith(kinds))


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
