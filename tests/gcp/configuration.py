"""`infra/gcp` as parsed files, and as what real Terraform makes of it."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import hcl2

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra" / "gcp"
SCHEMA = json.loads(Path(__file__).with_name("schema.json").read_text())
FILLED_IN = json.loads(Path(__file__).with_name("google.json").read_text())
TERRAFORM = shutil.which("terraform")

REQUIRED = {"project_id": "my-project-123", "region": "europe-west1", "tiktok_app_id": "7000000000000000000"}
NUMBER = "123456789012"


def written(kind: str) -> list[dict[str, Any]]:
    """All blocks of a kind, parsed: `resource`, `variable`, `locals`."""
    return [block for file in INFRA.glob("*.tf") for block in _parsed(file).get(kind, [])]


def blocks(kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """All blocks of a kind with one label: `variable`, `output`, `provider`."""
    for block in written(kind):
        yield from block.items()


def resources(kind: str = "resource") -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Type, name and body of every resource (or `data`)."""
    for resource, named in blocks(kind):
        for name, body in named.items():
            yield resource, name, body


def local(name: str) -> Any:
    """A local value as it is written."""
    return next(block[name] for block in written("locals") if name in block)


@cache
def _parsed(file: Path) -> dict[str, Any]:
    options = hcl2.SerializationOptions(strip_string_quotes=True, explicit_blocks=False, with_comments=False)
    return hcl2.loads(file.read_text(), serialization_options=options)


def copy(directory: Path) -> Path:
    """A copy of what a deployment needs, as it lies in the repository; returns its infra/gcp."""
    rubbish = shutil.ignore_patterns("__pycache__", ".terraform*", "*.tf?*", "*_override.tf", "take_over.tf")
    shutil.copytree(INFRA, directory / "infra" / "gcp", ignore=rubbish)
    shutil.copytree(ROOT / "functions", directory / "functions", ignore=rubbish)
    return directory / "infra" / "gcp"


def filled_in(resource: str, attribute: str, known: Mapping[str, Any]) -> Any:
    """What Google would fill in: as `google.json` says, or something that is recognized."""
    if attribute == "project":
        return REQUIRED["project_id"]
    account = str(known.get("service_account_email")).partition("@")[0]
    values = {**known, "project": REQUIRED["project_id"], "number": NUMBER, "account": account}
    return FILLED_IN.get(f"{resource}.{attribute}", f"{resource}/{attribute}").format_map(values)


@dataclass(frozen=True)
class Terraform:
    """Real Terraform over one copy of the configuration, with the stub provider."""

    directory: Path
    environment: Mapping[str, str]
    things: dict[str, Any]  # what the cloud has

    def run(self, *arguments: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        """Run one command with these variables; strings as they are, everything else as JSON."""
        given = {
            f"TF_VAR_{name}": value if isinstance(value, str) else json.dumps(value)
            for name, value in {**REQUIRED, **variables}.items()
        }
        return subprocess.run(
            ["terraform", f"-chdir={self.directory}", *arguments],
            env={**os.environ, **self.environment, **given},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def refusal(self, **variables: Any) -> str:
        """What a plan is refused with, in one line; empty: it is not."""
        done = self.run("plan", "-input=false", "-no-color", "-refresh=false", **variables)
        assert bool(done.returncode) == bool(done.stderr), done.stderr
        return " ".join(done.stderr.replace("│", " ").split())

    def planned(self, **variables: Any) -> "Plan":
        """What Terraform would make, after an apply in the mind: every value that Google fills in is known."""
        state = self.directory / "planned.tfstate"
        state.unlink(missing_ok=True)
        self.things.clear()
        done = self.run("apply", "-auto-approve", "-input=false", "-no-color", f"-state={state}", **variables)
        assert done.returncode == 0, done.stderr
        shown = self.run("show", "-json", str(state), **variables)
        assert shown.returncode == 0, shown.stderr
        values = json.loads(shown.stdout)["values"]
        return Plan(values["root_module"]["resources"], {name: out["value"] for name, out in values["outputs"].items()})


@dataclass(frozen=True)
class Plan:
    """Evaluated resources and outputs."""

    resources: list[dict[str, Any]]
    outputs: dict[str, Any]

    def all(self, kind: str) -> dict[str, dict[str, Any]]:
        """Values of every resource of a type, by name and index."""
        return {
            ".".join(str(part) for part in (found["name"], found.get("index")) if part is not None): found["values"]
            for found in self.resources
            if found["type"] == kind
        }

    def service(self, name: str) -> dict[str, Any]:
        """What one of the two functions runs with."""
        found: dict[str, Any] = self.all("google_cloudfunctions2_function")[name]["service_config"][0]
        return found
