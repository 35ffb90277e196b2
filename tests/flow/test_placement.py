"""Where and how the secrets of new connections are kept, as the operator chose."""

from __future__ import annotations

from typing import Any

import requests

from stage import PROJECT, REFRESH, TOKEN, Stage

KEY = "projects/keys/locations/europe-west1/keyRings/ring/cryptoKeys/key"


def secret(stage: Stage, secret_id: str) -> dict[str, Any]:
    """A secret as the store's own API shows it."""
    answer = requests.get(f"{stage.secrets.url}/v1/projects/{PROJECT}/secrets/{secret_id}", timeout=10)
    return dict(answer.json())


def test_secrets_are_left_to_google_unless_something_is_said(stage: Stage) -> None:
    """Automatic replication, under Google's own key."""
    stage.connected("acme", "expiring")
    assert secret(stage, TOKEN + "acme")["replication"] == {"automatic": {}}


def test_region_and_key_are_those_that_were_chosen(stage: Stage) -> None:
    """Both secrets lie in the region, under the key."""
    connect = stage.start("connect", SECRET_LOCATIONS="europe-west1", SECRET_KMS_KEY=KEY)
    assert stage.approve("acme", "expiring", function=connect).status_code == 303
    replica = {"location": "europe-west1", "customerManagedEncryption": {"kmsKeyName": KEY}}
    token, refresh = secret(stage, TOKEN + "acme"), secret(stage, REFRESH + "acme")
    assert token["replication"] == refresh["replication"] == {"userManaged": {"replicas": [replica]}}
