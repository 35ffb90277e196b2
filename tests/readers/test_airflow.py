"""`infra/readers/airflow.md`: what Google's backend asks Secret Manager for with the page's settings."""

from __future__ import annotations

import configparser
import subprocess
from pathlib import Path

import pytest

from readers.internet import Internet
from readers.recipe import programs, recipe

pytestmark = pytest.mark.readers

BACKEND = """
import json, sys
from airflow.providers.google.cloud.secrets.secret_manager import CloudSecretManagerBackend
backend = CloudSecretManagerBackend(**json.loads(sys.argv[1]))
print(backend.get_variable("beta"), backend.get_connection("acme"), backend.get_config("acme"))
"""


def test_it_is_asked_for_variables_only(internet: Internet, tmp_path: Path) -> None:
    """Another variable is refused, which Airflow takes for "not here"; connections and settings cost no call."""
    settings = configparser.ConfigParser(interpolation=None)
    settings.read_string(recipe("airflow").files["airflow.cfg"])
    done = subprocess.run(
        [programs("airflow") / "python", "-c", BACKEND, settings["secrets"]["backend_kwargs"]],
        env=internet.environ(AIRFLOW_HOME=str(tmp_path), AIRFLOW__USAGE_DATA_COLLECTION__ENABLED="False"),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    internet.record("what the backend printed", done.stdout + done.stderr)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "None None None"), done.stderr
    assert internet.secrets_calls() == [("AccessSecretVersion", "tiktok-ads-token-beta")]
