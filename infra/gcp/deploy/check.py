"""Looks whether everything is there that is needed, and says of all that is missing at once."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass

from gcp.deploy import identity, variables
from gcp.deploy.programs import Stop, try_gcloud
from gcp.deploy.state import State
from gcp.deploy.terraform import Terraform, program
from gcp.deploy.variables import Target


@dataclass(frozen=True)
class Work:
    """What a command works with.

    Attributes:
        who: whose rights are used, in words.
    """

    target: Target
    terraform: Terraform
    state: State
    who: str


def needed(*, ask: bool) -> Work:
    """Everything that a command needs.

    Args:
        ask: ask a person for variables that are missing, if there is a terminal.

    Raises:
        Stop: something is missing; the text names all of it.
    """
    problems: list[str] = []
    name, found, who = "", variables.read(os.environ), ""
    try:
        name = program()
    except Stop as stop:
        problems.append(str(stop))
    if not shutil.which("gcloud"):
        problems.append("gcloud is not installed: https://cloud.google.com/sdk/docs/install")
    try:
        found = variables.complete(found, ask=ask and not problems and sys.stdin.isatty())
    except Stop as stop:
        problems.append(str(stop))
    if shutil.which("gcloud"):
        who, missing = rights(found.get("project_id", ""), deploys=True)
        problems += missing
    if problems:
        raise Stop("Not everything that is needed is there:\n" + "\n".join(f"- {problem}" for problem in problems))
    target = Target(found["project_id"], found["region"], found["name"], found["secret_prefix"])
    terraform = Terraform(name)
    return Work(target, terraform, State(target, terraform), who)


def rights(project: str, *, deploys: bool) -> tuple[str, list[str]]:
    """Whose rights are used, in words, and what is wrong with the login or with what it may see of the project.

    Args:
        project: empty: not known yet.
        deploys: whether Terraform's credentials matter, and the project and its billing.
    """
    problems: list[str] = []
    who = account = identity.use(os.environ)
    if not who:
        account, terraforms, problems = identity.logged_in(terraform=deploys)
        who = account
        if terraforms and terraforms != account:
            who = (
                f"{terraforms} (Terraform, by application default credentials) and {account} (gcloud); "
                "`gcloud auth application-default login` changes the first"
            )
    if deploys and account and project:
        if try_gcloud("projects", "describe", project, "--format=value(projectNumber)") is None:
            problems.append(
                f"The project {project} does not exist, or {account} may not see it: check project_id, or log in as "
                "somebody who owns it."
            )
        elif try_gcloud("billing", "projects", "describe", project, "--format=value(billingEnabled)") == "False":
            problems.append(
                f"The project {project} has no billing account: link one at "
                f"https://console.cloud.google.com/billing/linkedaccount?project={project}"
            )
    return who, problems
