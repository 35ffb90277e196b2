import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gcp import configuration, guide
from gcp.configuration import Plan, Terraform
from gcp.guide import Recording
from gcp.machine import Machine
from gcp.stub_provider import Cloud


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What runs Terraform for real takes seconds each time: not for the quick suite."""
    for item in items:
        uses = {"alone", "recording"} & set(getattr(item, "fixturenames", ()))
        if uses and item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables by which Terraform takes nothing of this machine's."""
    if not configuration.TERRAFORM:
        pytest.skip("terraform is not installed")
    empty = tmp_path_factory.mktemp("terraform") / "terraformrc"
    empty.touch()
    # Terraform is gone after seconds: collecting its garbage is a sixth of its time.
    return {"TF_CLI_CONFIG_FILE": str(empty), "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", "GOGC": "off"}


@pytest.fixture(scope="session")
def terraform(alone: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terraform]:
    """Terraform, initialized over a copy of the configuration."""
    cloud = Cloud()
    with cloud.running() as environment:
        folder = tmp_path_factory.mktemp("deployment")
        made = Terraform(configuration.copy(folder), {**environment, **alone}, cloud.things)
        # What a Python that ran there leaves behind must not be deployed.
        (folder / "functions" / "__pycache__").mkdir()
        (folder / "functions" / "__pycache__" / "main.pyc").touch()
        done = made.run("init", "-input=false", "-no-color")
        assert done.returncode == 0, done.stderr
        yield made


@pytest.fixture(scope="session")
def plan(terraform: Terraform) -> Plan:
    """What is made with nothing but the required variables."""
    return terraform.planned()


@pytest.fixture(scope="session")
def full_plan(terraform: Terraform) -> Plan:
    """What is made with every option in use."""
    return terraform.planned(**json.loads(Path(__file__).with_name("full.json").read_text()))


@pytest.fixture(scope="session")
def other_plan(terraform: Terraform) -> Plan:
    """What is made beside another installation, and where an organization wants less than usual."""
    less = {"public_access": "no_invoker_check", "audit_logs": False, "run_budget_seconds": 60}
    return terraform.planned(name="second", secret_prefix="second", **less)


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """What the published commands did that set everything up without Terraform."""
    return guide.recorded(tmp_path_factory.mktemp("guide"))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A copy of the repository as far as deploying needs it."""
    configuration.copy(tmp_path)
    return tmp_path


@pytest.fixture
def cloud() -> Cloud:
    """The cloud, with nothing in it."""
    return Cloud()


@pytest.fixture
def machine(repository: Path, cloud: Cloud, alone: dict[str, str]) -> Iterator[Machine]:
    """A machine with real Terraform, before which the cloud lies empty. The state is a file here."""
    made = Machine(repository)
    (made.programs / "terraform").symlink_to(str(configuration.TERRAFORM))
    cloud.file = made.stub / "functions.json"
    with cloud.running() as environment:
        made.environment |= {**environment, **alone, "STATE": "local"}
        yield made


@pytest.fixture
def deployed(machine: Machine, cloud: Cloud) -> Machine:
    """The same after a whole deployment."""
    machine.run("deploy", "--yes")
    return machine
