"""make refresh on the cloud with other identities than gcloud's: a service account acted as, a workload's."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import certificates
import proxies
from command_line import Cli, Done, sentence
from google_identities import (
    ACCOUNT,
    AUDIENCE,
    CREDENTIALS,
    FEDERATION,
    TOKENS,
    GoogleIdentities,
)

Refresh = Callable[..., Done]

PERSON = {"type": "authorized_user", "client_id": "client", "client_secret": "secret", "refresh_token": "1//refresh"}
ACTING = f"https://{CREDENTIALS}/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken"


@pytest.fixture
def google() -> Iterator[GoogleIdentities]:
    """Google, and a refresh function that lets one service account in."""
    with GoogleIdentities() as running:
        yield running


@pytest.fixture
def refresh(cli: Cli, google: GoogleIdentities, tmp_path: Path) -> Refresh:
    """Run `make refresh` with these credentials in a file, on a machine without gcloud."""
    cli.save("cloud", REFRESH_URL=google.url, REFRESH_AUDIENCE=AUDIENCE)
    hosts = (TOKENS, FEDERATION, CREDENTIALS)
    certificate = certificates.make(tmp_path, *hosts)
    port = int(google.address.rpartition(":")[2])
    file = tmp_path / "credentials.json"

    def run(credentials: dict[str, Any], **changes: str) -> Done:
        file.write_text(json.dumps(credentials))
        with proxies.Proxy(dict.fromkeys(hosts, port), certificate) as proxy:
            company = proxies.environment(proxy, certificate)
            return cli("refresh", PATH="/nowhere", GOOGLE_APPLICATION_CREDENTIALS=str(file), **company, **changes)

    return run


def workload(folder: Path, **more: object) -> dict[str, Any]:
    """A workload identity configuration whose token lies in a file, as a CI system leaves it."""
    token = folder / "token"
    token.write_text("token-of-the-workload")
    provider = "//iam.googleapis.com/projects/7/locations/global/workloadIdentityPools/ci/providers/ci"
    return {
        "type": "external_account",
        "audience": provider,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"https://{FEDERATION}/v1/token",
        "credential_source": {"file": str(token)},
        **more,
    }


class TestActingAsAServiceAccount:
    def test_by_a_person(self, refresh: Refresh, google: GoogleIdentities) -> None:
        """The account is named in the environment or by the login; whom IAM does not let act is told how."""
        login = {
            "type": "impersonated_service_account",
            "service_account_impersonation_url": ACTING,
            "source_credentials": PERSON,
        }
        assert refresh(login).status == 0
        done = refresh(PERSON, GOOGLE_IMPERSONATE_SERVICE_ACCOUNT=ACCOUNT)
        assert done.status == 0, done
        google.may_act = set()
        said = sentence(refresh(PERSON, GOOGLE_IMPERSONATE_SERVICE_ACCOUNT=ACCOUNT))
        assert "run `gcloud auth login`, or name a service account" in said

    def test_by_a_workload(self, refresh: Refresh, tmp_path: Path) -> None:
        """The workload itself asks for the account's identity token: the account may not act as itself.

        One that is granted roles directly, without an account of its own, acts as the one that is named.
        """
        assert refresh(workload(tmp_path, service_account_impersonation_url=ACTING)).status == 0
        done = refresh(workload(tmp_path), GOOGLE_IMPERSONATE_SERVICE_ACCOUNT=ACCOUNT)
        assert done.status == 0, done
        assert "GOOGLE_IMPERSONATE_SERVICE_ACCOUNT" in sentence(refresh(workload(tmp_path)))
