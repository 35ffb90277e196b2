from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gcp import configuration, stub_provider
from gcp.configuration import Plan, Terraform
from gcp.machine import HAS_VALUES, USUAL, Machine
from gcp.stub_provider import Memory


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What runs Terraform for real takes seconds each time: not for the quick suite."""
    for item in items:
        uses = getattr(item, "fixturenames", ())
        if item.path.parent == Path(__file__).parent and {"provider_environment", "machine", "recording"} & set(uses):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def provider_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Environment variables by which Terraform finds the stub provider, and nothing of this machine's."""
    if not configuration.TERRAFORM:
        pytest.skip("terraform is not installed")
    with stub_provider.running(configuration.cloud) as environment:
        yield {**environment, **_alone(tmp_path_factory), "TF_IN_AUTOMATION": "1"}


@pytest.fixture(scope="session")
def terraform(provider_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """Terraform, initialized over a copy of the configuration."""
    made = Terraform(configuration.copy(tmp_path_factory.mktemp("deployment")), provider_environment)
    done = made.run("init", "-input=false", "-no-color")
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture(scope="session")
def plan(terraform: Terraform) -> Plan:
    """What is made with nothing but the required variables."""
    return terraform.planned()


@pytest.fixture(scope="session")
def full_plan(terraform: Terraform) -> Plan:
    """What is made with every option in use."""
    return terraform.planned(
        secret_locations=["europe-west1"],
        kms_key="projects/keys/locations/europe-west1/keyRings/r/cryptoKeys/k",
        readers=[
            {"principal": "serviceAccount:all@my-project-123.iam.gserviceaccount.com"},
            {"principal": "group:some@example.com", "connections": [f"client-{number}" for number in range(12)]},
        ],
        events_topic=True,
        events_topic_refreshes=True,
        tiktok_account_scopes=["user.info.basic", "video.list"],
        connect_ingress="ALLOW_INTERNAL_AND_GCLB",
        role_suffix="_2",
        portal_connection="main",
        portal_advertiser_ids=["7001", "7002"],
        alert_email="data-team@example.com",
        notification_channels=["projects/my-project-123/notificationChannels/7"],
        labels={"team": "marketing-data"},
        public_url="https://tiktok.example.com/connect",
    )


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A copy of the repository as far as deploying needs it."""
    configuration.copy(tmp_path)
    return tmp_path


@pytest.fixture
def cloud() -> Memory:
    """What the cloud has."""
    return Memory()


@pytest.fixture
def machine(repository: Path, cloud: Memory, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with real Terraform, before which the cloud lies empty. The state is a file here."""
    if not configuration.TERRAFORM:
        pytest.skip("terraform is not installed")
    made = Machine(repository)
    made.link(configuration.TERRAFORM)
    cloud.file = made.stub / "functions.json"
    with stub_provider.running(configuration.cloud, cloud) as environment:
        made.environment |= {**environment, **_alone(tmp_path_factory), "STATE": "local"}
        yield made


@pytest.fixture
def deployed(machine: Machine, cloud: Memory) -> Machine:
    """The same after a whole deployment."""
    status, said = machine.run("deploy", "--yes", answers=[HAS_VALUES, *USUAL])
    assert status == 0, said
    machine.forget_calls()
    return machine


def _alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    empty = tmp_path_factory.mktemp("terraform") / "terraformrc"
    empty.touch()
    return {"TF_CLI_CONFIG_FILE": str(empty), "CHECKPOINT_DISABLE": "1"}
