"""A run while Google's metadata server is away: nothing is said about roles, no connection is named, it passes.

The function is a real process with Google's own client and credentials, behind a company's proxy that ends TLS.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import certificates
import proxies
from emulators.serving import Fault
from google_login import GOOGLE, GoogleLogin, GoogleSecrets
from stage import Function, Stage

SHORT_LIVED = {"access_token": "ya29.canary-short-lived", "expires_in": 1, "token_type": "Bearer"}


@pytest.fixture
def login() -> Iterator[GoogleLogin]:
    """The metadata server."""
    with GoogleLogin() as running:
        yield running


@pytest.fixture
def refresh(stage: Stage, login: GoogleLogin, tmp_path: Path) -> Iterator[Function]:
    """The refresh function as in the cloud, with one long-lived connection."""
    emulated = stage.secrets
    certificate = certificates.make(tmp_path, GOOGLE).file
    with GoogleSecrets() as google:
        stage.secrets = google
        stage.plant("acme")
        with proxies.Proxy({GOOGLE: int(google.address.rpartition(":")[2])}, certificate) as proxy:
            yield stage.start(
                "refresh",
                SECRET_MANAGER_EMULATOR_HOST=None,
                K_SERVICE="refresh",
                RUN_BUDGET_SECONDS="15",
                GCE_METADATA_HOST=login.address,
                GCE_METADATA_IP=login.address,
                **proxies.environment(proxy, certificate),
            )
        stage.secrets = emulated


@pytest.mark.slow
def test_for_a_moment_it_is_waited_for(stage: Stage, login: GoogleLogin, refresh: Function) -> None:
    """Three answers of 500 at the start of a run cost it some seconds, and nobody hears of them."""
    login.add_fault(Fault("metadata_token", status=500, times=3))
    status, summary = stage.run(function=refresh)
    assert (status, summary["verified"]) == (200, 1)
    assert [event["event"] for event in refresh.events] == ["run.finished"]


@pytest.mark.slow
def test_from_the_middle_of_a_run_on_it_is_tried_again_by_the_next(
    stage: Stage, login: GoogleLogin, refresh: Function
) -> None:
    """The run ends with 503 and what remains; no alert, nobody is marked; the next run finds everything well."""
    login.add_fault(Fault("metadata_token", status=200, body=SHORT_LIVED, headers={"Metadata-Flavor": "Google"}))
    login.add_fault(Fault("metadata_token", status=500, times=None))
    status, summary = stage.run(function=refresh)
    assert (status, summary["remaining"], summary["attention"]) == (503, 1, [])
    assert {event["severity"] for event in refresh.events} <= {"INFO", "WARNING"}
    assert stage.labels()["health"] == "ok"
    login.clear_faults()
    assert stage.run(function=refresh)[0] == 200
