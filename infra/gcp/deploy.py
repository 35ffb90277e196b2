"""Sets the token keeper up in a Google Cloud project with Terraform, or takes it down again.

    python3 infra/gcp/deploy.py deploy [--yes]
    python3 infra/gcp/deploy.py plan
    python3 infra/gcp/deploy.py destroy [--tokens] [--yes]

It does what Terraform cannot, or should not: it looks first whether everything is there, puts the app's secret and a
signing key into Secret Manager without either touching a file, a command line or Terraform's state, tries again where
Google needs minutes to learn of what was just made, and writes down for the command line where everything is.

Needs terraform, gcloud and Python's standard library.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
STATE = HERE.parents[1] / ".tokenkeeper"

OLDEST_TERRAFORM = (1, 11)
REQUIRED = {
    "project_id": ("Google Cloud project id", "my-project-123"),
    "region": ("region of the functions", "europe-west1"),
    "tiktok_app_id": ("App ID that the app's page in TikTok's portal shows", "7000000000000000000"),
}
DEFAULTS = {"secret_prefix": "tiktok-ads"}

# Made before the rest where a secret has no value yet: the containers for the values; what Google takes a while to let
# others know of (permissions to build, metrics) is made with them, and known by the time it is needed.
FIRST = (
    "google_secret_manager_secret.this",
    "google_secret_manager_secret_iam_member.credential",
    "google_project_iam_member.build",
    "google_project_iam_member.build_source",
    "google_logging_metric.counter",
    "google_logging_metric.gauge",
)

# What Google answers while it has not heard everywhere of something that was made a moment ago.
NOT_YET_KNOWN = (
    "it could take up to 10 minutes",
    "enabled this API recently, wait a few minutes",
    "Permission denied on secret",
    "missing permission on the build service account",
    "Error 400: Service account",
    "There were concurrent policy changes",
)
TRIES = 10
PAUSE = float(os.environ.get("TOKENKEEPER_DEPLOY_PAUSE", "60"))  # seconds between them

Ask = Callable[[str], str]


class Stop(Exception):
    """Ends the program; the text says what is wrong and what to do."""


@dataclass(frozen=True)
class Target:
    """What is to be set up, as far as it has to be known before Terraform runs."""

    project: str
    secret_prefix: str

    def secret(self, name: str) -> str:
        """Id of one of the keeper's own secrets."""
        return f"{self.secret_prefix}-{name}"


def deploy(*, yes: bool) -> None:
    """Make everything, or bring it up to date; where nothing is to be done, change nothing."""
    target = check(ask=input if sys.stdin.isatty() else None)
    terraform("init", "-input=false")
    put_values(target, yes=yes)
    changed = apply(yes=yes)
    outputs = read_outputs()
    remember(outputs)
    if changed:
        first_run(outputs)
    print(f"\n{outputs['next_steps']}")


def plan() -> None:
    """Show what `deploy` would change."""
    check(ask=None)
    terraform("init", "-input=false")
    terraform("plan", "-input=false")


def destroy(*, tokens: bool, yes: bool) -> None:
    """Delete what Terraform made; the connections' secrets only with `tokens`."""
    target = check(ask=None)
    terraform("init", "-input=false")
    stored = stored_tokens(target)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "plan"
        terraform("plan", "-destroy", "-input=false", f"-out={file}")
        print(farewell(stored, tokens=tokens))
        if not yes:
            confirm(f"Type the project's id ({target.project}) to delete this: ", target.project)
        terraform("apply", "-input=false", str(file))
    for name in stored if tokens else []:
        gcloud("secrets", "delete", name, f"--project={target.project}", "--quiet")
        print(f"Deleted {name}.")
    forget()


# --- what has to be there first ---


def check(ask: Ask | None) -> Target:
    """Look whether everything is there that is needed, and say of all that is missing at once.

    Args:
        ask: Asks a person for a variable that is missing; None where there is nobody to ask.

    Raises:
        Stop: something is missing.
    """
    problems = missing_tools()
    variables = read_variables(os.environ, HERE)
    missing = [name for name in REQUIRED if not variables.get(name)]
    if missing and ask and not problems:
        variables |= ask_for(missing, ask)
        missing = []
    if missing:
        problems.append(
            "Variables are missing. Write them to infra/gcp/terraform.tfvars (or set TF_VAR_… for each):\n"
            + "\n".join(f'    {name} = "{REQUIRED[name][1]}"  # {REQUIRED[name][0]}' for name in missing)
        )
    if not any("gcloud" in problem for problem in problems):
        problems += missing_login(variables.get("project_id", ""))
    if problems:
        raise Stop("Not everything that is needed is there:\n" + "\n".join(f"- {problem}" for problem in problems))
    return Target(variables["project_id"], variables["secret_prefix"])


def missing_tools() -> list[str]:
    """What is wrong with terraform and gcloud on this machine."""
    problems = []
    if not shutil.which("terraform"):
        problems.append("terraform is not installed: https://developer.hashicorp.com/terraform/install")
    else:
        version = str(json.loads(capture("terraform", "version", "-json"))["terraform_version"])
        if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < OLDEST_TERRAFORM:
            problems.append(f"terraform is version {version}, and 1.11 or later is needed: install a newer one.")
    if not shutil.which("gcloud"):
        problems.append("gcloud is not installed: https://cloud.google.com/sdk/docs/install")
    return problems


def missing_login(project: str) -> list[str]:
    """What is wrong with the login, and with what it may see of the project (empty: not known yet)."""
    problems = []
    account = try_capture("gcloud", "auth", "list", "--filter=status:ACTIVE", "--format=value(account)")
    if not account:
        problems.append("gcloud is not logged in: run `gcloud auth login`.")
    if try_capture("gcloud", "auth", "application-default", "print-access-token") is None:
        problems.append("Terraform has no credentials: run `gcloud auth application-default login`.")
    if account and project:
        if try_capture("gcloud", "projects", "describe", project, "--format=value(projectNumber)") is None:
            problems.append(
                f"The project {project} does not exist, or {account} may not see it: check project_id, or log in as "
                "somebody who owns it."
            )
        elif try_capture("gcloud", "billing", "projects", "describe", project, "--format=value(billingEnabled)") == (
            "False"
        ):
            problems.append(
                f"The project {project} has no billing account: link one at "
                f"https://console.cloud.google.com/billing/linkedaccount?project={project}"
            )
    return problems


def read_variables(environment: Mapping[str, str], directory: Path) -> dict[str, str]:
    """The variables that this program has to know, from where Terraform reads them, in Terraform's order."""
    names = [*REQUIRED, *DEFAULTS]
    found = dict(DEFAULTS) | {
        name: environment[f"TF_VAR_{name}"] for name in names if environment.get(f"TF_VAR_{name}")
    }
    automatic = sorted([*directory.glob("*.auto.tfvars"), *directory.glob("*.auto.tfvars.json")])
    for file in [directory / "terraform.tfvars", directory / "terraform.tfvars.json", *automatic]:
        if not file.exists():
            continue
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".json":
            values = json.loads(text)
        else:
            values = dict(re.findall(r'^\s*"?(\w+)"?\s*=\s*"([^"\n]*)"', text, re.MULTILINE))
        found |= {name: str(values[name]) for name in names if values.get(name)}
    return found


def ask_for(names: Sequence[str], ask: Ask) -> dict[str, str]:
    """Ask for variables and keep the answers in terraform.tfvars, where Terraform reads them."""
    file = HERE / "terraform.tfvars"
    print(f"Some variables are missing; the answers are kept in {file.relative_to(HERE.parents[1])}.")
    answers: dict[str, str] = {}
    for name in names:
        meaning, example = REQUIRED[name]
        while not answers.get(name):
            answers[name] = ask(f"{name} ({meaning}, like {example}): ").strip().strip('"')
            if not re.fullmatch(r"[\w.:-]+", answers[name], re.ASCII):
                answers[name] = ""
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    if before and not before.endswith("\n"):
        before += "\n"
    file.write_text(before + "".join(f'{name} = "{answer}"\n' for name, answer in answers.items()), encoding="utf-8")
    return answers


# --- values of secrets ---


def put_values(target: Target, *, yes: bool) -> None:
    """Give app-secret and link-signing-keys a value where they have none."""
    gcloud(
        *("services", "enable", "cloudresourcemanager.googleapis.com", "secretmanager.googleapis.com"),
        *("serviceusage.googleapis.com", f"--project={target.project}"),
    )
    without = [name for name in ("app-secret", "link-signing-keys") if not has_value(target, name)]
    if not without:
        return
    values = {"link-signing-keys": secrets.token_urlsafe(48)}
    if "app-secret" in without:
        values["app-secret"] = app_secret()
    print("First the places for the secrets, and what has to be known to Google by the time it is needed.")
    apply(yes=yes, only=FIRST)
    for name in without:
        gcloud(
            *("secrets", "versions", "add", target.secret(name), f"--project={target.project}", "--data-file=-"),
            given=values[name],
        )
        print(f"Put a value into {target.secret(name)}.")


def has_value(target: Target, name: str) -> bool:
    """Whether a secret has a version that can be read."""
    return bool(
        try_capture(
            *("gcloud", "secrets", "versions", "list", target.secret(name), f"--project={target.project}"),
            *("--filter=state=ENABLED", "--limit=1", "--format=value(name)"),
        )
    )


def app_secret() -> str:
    """The TikTok app's secret, from the environment or from a person, unseen.

    Raises:
        Stop: there is none, or it cannot be one.
    """
    given = os.environ.get("TIKTOK_APP_SECRET", "")
    if not given:
        if not sys.stdin.isatty():
            raise Stop("The app's secret is not stored yet, and there is nobody to ask: set TIKTOK_APP_SECRET.")
        given = getpass.getpass("Secret of the TikTok app (portal, My Apps; it is not shown while you paste it): ")
    given = given.strip()
    if not given or not given.isascii() or not given.isprintable() or " " in given or len(given) > 256:
        raise Stop("That cannot be the app's secret: copy the Secret from the app's page in TikTok's portal again.")
    return given


# --- Terraform ---


def apply(*, yes: bool, only: Sequence[str] = ()) -> bool:
    """Plan, ask, and make it so; again, while Google has not heard everywhere of what was just made.

    Returns:
        Whether anything was changed.

    Raises:
        Stop: somebody said no, or it failed.
    """
    targets = [f"-target={address}" for address in only]
    for attempt in range(1, TRIES + 1):
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "plan"
            status, _ = run_terraform("plan", "-input=false", "-detailed-exitcode", f"-out={file}", *targets)
            if status == 0:
                return attempt > 1
            if status != 2:
                raise Stop("Terraform could not plan: see its message above.")
            if not yes and attempt == 1:
                confirm("Type yes to make these changes: ", "yes")
            status, printed = run_terraform("apply", "-input=false", str(file))
        if status == 0:
            return True
        if not any(text in " ".join(printed.split()) for text in NOT_YET_KNOWN):
            raise Stop("Terraform could not make all of it: see its message above, then run this again.")
        if attempt < TRIES:
            print(f"Google has not heard of everything yet; trying again in {PAUSE:.0f} seconds ({attempt}/{TRIES}).")
            time.sleep(PAUSE)
    raise Stop("Google still has not heard of what was made: run this again in some minutes.")


def terraform(*arguments: str) -> None:
    """Run Terraform and stop where it fails."""
    status, _ = run_terraform(*arguments)
    if status != 0:
        raise Stop(f"terraform {arguments[0]} failed: see its message above.")


def run_terraform(*arguments: str) -> tuple[int, str]:
    """Run Terraform, show what it prints as it prints it, and return its exit status and all that it printed."""
    command = ["terraform", f"-chdir={HERE}", *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=clean_environment()
    ) as process:
        assert process.stdout
        printed = []
        for line in process.stdout:
            print(line, end="", flush=True)
            printed.append(line)
    return process.returncode, "".join(printed)


def read_outputs() -> dict[str, str]:
    """Terraform's outputs that are text."""
    outputs = json.loads(capture("terraform", f"-chdir={HERE}", "output", "-json"))
    return {name: output["value"] for name, output in outputs.items() if isinstance(output["value"], str)}


# --- afterwards ---


def remember(outputs: Mapping[str, str]) -> None:
    """Write down for the command line where everything is; no secret is in it."""
    STATE.mkdir(mode=0o700, exist_ok=True)
    values = {
        "GOOGLE_CLOUD_PROJECT": outputs["project_id"],
        "SECRET_PREFIX": outputs["secret_prefix"],
        "PUBLIC_URL": outputs["public_url"],
        "TIKTOK_APP_ID": outputs["tiktok_app_id"],
        "LINK_SIGNING_KEYS_SECRET": outputs["link_signing_keys_name"],
        "TIKTOK_APP_SECRET_SECRET": outputs["app_secret_name"],
        "REFRESH_URL": outputs["refresh_url"],
        "REFRESH_AUDIENCE": outputs["refresh_url"],
    }
    write_private(STATE / "cloud.env", "".join(f"{key}={value}\n" for key, value in values.items()))
    write_private(STATE / "current", "cloud\n")


def forget() -> None:
    """Undo `remember`."""
    (STATE / "cloud.env").unlink(missing_ok=True)
    current = STATE / "current"
    if current.exists() and current.read_text(encoding="utf-8").strip() == "cloud":
        current.unlink()


def write_private(file: Path, text: str) -> None:
    """Write a file that nobody else may read, whole or not at all."""
    temporary = file.with_name(f"{file.name}.new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text)
    temporary.replace(file)


def first_run(outputs: Mapping[str, str]) -> None:
    """Let the Scheduler call refresh once, which shows that everything fits together."""
    if try_capture("gcloud", "scheduler", "jobs", "run", outputs["scheduler_job"]) is None:
        print("\nThe Scheduler could not be asked for a first run; the next one comes by itself. See `make doctor`.")
    else:
        print("\nAsked the Scheduler for a first run: `make status` shows it in a minute.")


def stored_tokens(target: Target) -> list[str]:
    """Names of the connections' secrets.

    Raises:
        Stop: they cannot be listed.
    """
    listed = capture(
        *("gcloud", "secrets", "list", f"--project={target.project}", "--format=value(name.basename())"),
        "--filter=labels.managed-by=tiktok-token-keeper",
    )
    kinds = tuple(target.secret(kind) + "-" for kind in ("token", "refresh"))
    return sorted(name for name in listed.split() if name.startswith(kinds))


def farewell(stored: Sequence[str], *, tokens: bool) -> str:
    """What happens to the tokens, in words."""
    names = "\n".join(f"    {name}" for name in stored)
    if not stored:
        return "\nAll of the above is deleted. No token is stored."
    if tokens:
        return (
            f"\nAll of the above is deleted, and {len(stored)} secrets of connections with it, for good:\n{names}\n"
            "TikTok goes on accepting tokens that somebody has copied: `make disconnect` first, to revoke them."
        )
    return (
        f"\nAll of the above is deleted: nothing refreshes the tokens any more, and readers lose the access that was "
        f"given to them here.\n{len(stored)} secrets of connections stay as they are; TOKENS=1 deletes them too:\n"
        f"{names}"
    )


# --- other programs ---


def confirm(question: str, right: str) -> None:
    """Ask, and stop unless the answer is the right one."""
    if not sys.stdin.isatty():
        raise Stop("There is nobody to ask whether that is right: run it with YES=1 (--yes).")
    if input(question).strip() != right:
        raise Stop("Nothing was changed.")


def gcloud(*arguments: str, given: str | None = None) -> None:
    """Run gcloud, with `given` on its standard input, and stop where it fails."""
    done = subprocess.run(
        ["gcloud", *arguments], input=given, text=True, capture_output=True, check=False, env=clean_environment()
    )
    if done.returncode != 0:
        raise Stop(f"gcloud {' '.join(arguments[:3])} failed: {done.stderr.strip()}")


def capture(*command: str) -> str:
    """What a program prints.

    Raises:
        Stop: it failed.
    """
    done = subprocess.run(command, text=True, capture_output=True, check=False, env=clean_environment())
    if done.returncode != 0:
        raise Stop(f"{' '.join(command[:3])} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def try_capture(*command: str) -> str | None:
    """What a program prints, or None where it fails."""
    try:
        return capture(*command)
    except Stop:
        return None


def clean_environment() -> dict[str, str]:
    """Everything but the app's secret, which no other program has to know."""
    return {key: value for key, value in os.environ.items() if key != "TIKTOK_APP_SECRET"}


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="deploy.py", description=(__doc__ or "").partition("\n\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in {"deploy": deploy.__doc__, "plan": plan.__doc__, "destroy": destroy.__doc__}.items():
        command = commands.add_parser(name, help=what, description=what)
        if name != "plan":
            command.add_argument("--yes", action="store_true", help="do not ask")
        if name == "destroy":
            command.add_argument("--tokens", action="store_true", help="delete the connections' secrets as well")
    chosen = parser.parse_args(arguments)
    try:
        match chosen.command:
            case "deploy":
                deploy(yes=chosen.yes)
            case "plan":
                plan()
            case "destroy":
                destroy(tokens=chosen.tokens, yes=chosen.yes)
    except Stop as stop:
        print(f"\n{stop}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, EOFError):
        print("\nStopped. Running the same again goes on from here.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
