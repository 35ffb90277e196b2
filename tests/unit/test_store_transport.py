"""Requests to Google: credentials as google-auth finds them, and what is wrong with them in the operator's words."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from google.auth import _exponential_backoff

import certificates
import faults
import proxies
from emulators.secret_manager import SecretManagerServer
from emulators.serving import Answer, Fault, LocalServer, Request
from tokenkeeper.clock import Deadline
from tokenkeeper.errors import Cause, SettingsError, StoreForbidden, StoreUnavailable
from tokenkeeper.settings import prepare_requests
from tokenkeeper.store.credentials import MetadataServer
from tokenkeeper.store.documents import replication
from tokenkeeper.store.secretmanager import SecretManager
from unit.parts import PROJECT, HandClock, port_of

GOOGLE, TOKENS = "secretmanager.googleapis.com", "oauth2.googleapis.com"
GIVEN = "ya29.canary-google-token"
METADATA = "/computeMetadata/v1/"
CALLS = {
    f"{METADATA}project/project-id": "project",
    f"{METADATA}universe/universe-domain": "universe",
    f"{METADATA}instance/service-accounts/default/token": "metadata_token",
    "/token": "token",
}


class Authorized(LocalServer):
    """Keeps the header `Authorization` of each request; None: there was none."""

    authorizations: list[str | None]

    def opened(self) -> None:
        super().opened()
        self.authorizations = []

    def identify(self, request: Request) -> tuple[str, str]:
        self.authorizations.append(request.headers["Authorization"])
        return super().identify(request)


class GoogleLogin(Authorized):
    """A metadata server on Cloud Run, and Google's token endpoint."""

    def identify(self, request: Request) -> tuple[str, str]:
        _, resource = super().identify(request)
        return CALLS.get(request.path, "unknown"), resource

    def perform(self, request: Request) -> Answer:
        metadata = {"Metadata-Flavor": "Google"}
        if request.path.startswith(METADATA) and request.headers["Metadata-Flavor"] != "Google":
            return Answer(403, b"<html>Missing required header", "text/html")
        match CALLS.get(request.path):
            case "project":
                return Answer(200, b"metadata-project", "application/text", metadata)
            case "metadata_token" | "token":
                token = {"access_token": GIVEN, "expires_in": 3600, "token_type": "Bearer"}
                return Answer(200, token, "application/json", metadata)
            case _:
                return Answer(404, b"not found", "text/plain", metadata)


class GoogleSecrets(Authorized, SecretManagerServer):
    """The embedded Secret Manager under Google's own name."""

    def answers_to(self, name: str) -> bool:  # noqa: ARG002
        return True


def log_in(folder: Path) -> None:
    """Write the file that `gcloud auth application-default login` writes."""
    login = {"type": "authorized_user", "client_id": "client", "client_secret": "secret", "refresh_token": "1//refresh"}
    content = json.dumps({**login, "quota_project_id": "laptop-project"})
    (folder / "application_default_credentials.json").write_text(content, encoding="utf-8")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With which a company ends TLS for Google's names."""
    return certificates.make(tmp_path_factory.mktemp("company"), GOOGLE, TOKENS)


@pytest.fixture
def google() -> Iterator[GoogleSecrets]:
    """Secret Manager, with a secret `s`."""
    with GoogleSecrets() as running:
        running.create("s", project=PROJECT)
        yield running


@pytest.fixture
def login(
    google: GoogleSecrets,
    certificate: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    hand_clock: HandClock,
) -> Iterator[GoogleLogin]:
    """The metadata server and the token endpoint; Google's names lead here, through a company's proxy that ends TLS."""
    for name in list(os.environ):
        if name.startswith(("GOOGLE_", "GCE_", "CLOUDSDK_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))  # google-auth would start gcloud to ask for a project
    monkeypatch.setattr(_exponential_backoff, "time", SimpleNamespace(sleep=lambda _: None))
    with GoogleLogin(names=[TOKENS]) as running:
        monkeypatch.setenv("GCE_METADATA_IP", running.address)
        hosts = {GOOGLE: port_of(google), TOKENS: port_of(running)}
        with proxies.Proxy(hosts, certificate) as proxy:
            for name, value in proxies.environment(proxy, certificate).items():
                monkeypatch.setenv(name, value)
            yield running


@pytest.fixture
def person(login: GoogleLogin, tmp_path: Path) -> GoogleLogin:
    """The same, where a person has logged in with gcloud."""
    log_in(tmp_path)
    return login


def test_the_project_is_the_one_of_the_settings_else_of_the_credentials(
    login: GoogleLogin, google: GoogleSecrets, tmp_path: Path
) -> None:
    """Without a call where it is set; on Cloud Run the metadata server names it, a person is told what to set.

    The first call knows it, too: a disabled API of this project is not one of a quota project.
    """
    assert SecretManager(PROJECT, metadata_host=login.address).project == PROJECT
    assert login.calls == []
    assert SecretManager("", metadata_host=login.address).project == "metadata-project"
    named = {"consumer": "projects/metadata-project"}
    google.add_fault(faults.google_error("PERMISSION_DENIED", "No.", reason="SERVICE_DISABLED", metadata=named))
    with pytest.raises(StoreForbidden) as raised:
        SecretManager("", metadata_host=login.address).get("s", Deadline(5))
    assert raised.value.reason.cause is Cause.API_DISABLED
    log_in(tmp_path)
    with pytest.raises(SettingsError, match=r"^GOOGLE_CLOUD_PROJECT is missing"):
        _ = SecretManager("").project


class TestCredentials:
    def test_of_a_person_are_not_replaced_by_a_netrc(
        self, person: GoogleLogin, google: GoogleSecrets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`requests` would send its password instead of the token, through the company's proxy."""
        netrc = tmp_path / "netrc"
        netrc.write_text(f"machine {GOOGLE} login me password mine\ndefault login me password mine\n")
        monkeypatch.setenv("NETRC", str(netrc))
        prepare_requests()
        SecretManager(PROJECT).get("s", Deadline(5))
        assert google.authorizations == [f"Bearer {GIVEN}"]
        assert set(person.authorizations) == {None}

    def test_are_asked_for_where_there_are_none(self, login: GoogleLogin) -> None:
        """A sentence says how to get some; in the cloud every function has some, so they are away for a moment."""
        login.stop()
        with pytest.raises(SettingsError, match="gcloud auth application-default login"):
            SecretManager("").get("s", Deadline(0.01))
        with pytest.raises(StoreUnavailable, match="metadata server is unavailable"):
            SecretManager("", metadata_host=login.address).get("s", Deadline(0.01))

    def test_a_token_that_ended_early_is_replaced_at_once(self, login: GoogleLogin, google: GoogleSecrets) -> None:
        """401 for one token is no failure, since Google gives another; after a fresh one the login is the problem."""
        google.add_fault(Fault(status=401))
        SecretManager(PROJECT, metadata_host=login.address).get("s", Deadline(0.01))
        assert [call.name for call in login.calls].count("metadata_token") == 2
        google.add_fault(Fault(status=401, times=None))
        with pytest.raises(StoreForbidden, match=r"^The Google login is over: cannot read") as raised:
            SecretManager(PROJECT, metadata_host=login.address).get("s", Deadline(5))
        assert raised.value.reason.cause is Cause.LOGIN


# What is asked for a token, in the cloud (the metadata server) or by a person (the token endpoint), answers like this.
OUTAGES = {
    "the metadata server's 404": Fault("metadata_token", times=None, status=404, body=b"not found"),
    "HTML for the metadata server": Fault("metadata_token", times=None, status=502, body=b"<html>502 Bad Gateway"),
    "another JSON for the metadata server": Fault("metadata_token", times=None, status=200, body={"error": "x"}),
    "no answer of the metadata server": Fault("metadata_token", times=None, do="drop"),
    "the token endpoint's 500": Fault("token", times=None, status=500, body={"error": {"message": "Internal error."}}),
    "HTML for the token endpoint": Fault("token", times=None, status=502, body=b"<html>502 Bad Gateway"),
    "a closed connection": Fault("token", times=None, do="drop"),
}
REFUSALS = {
    "a revoked login": (400, {"error": "invalid_grant", "error_description": "Token has been revoked."}, Cause.LOGIN),
    "one to be confirmed": (400, {"error": "invalid_grant", "error_subtype": "invalid_rapt"}, Cause.LOGIN),
    "another refusal": (401, {"error": "invalid_client"}, Cause.OTHER),
}


class TestMetadataServer:
    def test_gives_a_token_that_lasts(self, login: GoogleLogin, google: GoogleSecrets, hand_clock: HandClock) -> None:
        """One token for all calls, until the server has the next one: four minutes before its end."""
        secrets = SecretManager(PROJECT, metadata_host=login.address)
        for minutes, tokens in ((0, 1), (56, 1), (0.5, 2)):
            hand_clock.pass_by(minutes=minutes)
            secrets.get("s", Deadline(5))
            assert [call.name for call in login.calls].count("metadata_token") == tokens
        assert google.authorizations == [f"Bearer {GIVEN}"] * 3

    def test_of_another_universe(self, login: GoogleLogin) -> None:
        """A cloud of one of Google's partners has a domain of its own."""
        assert MetadataServer(login.address).universe == "googleapis.com"
        login.add_fault(Fault("universe", status=200, body=b"apis-partner.example"))
        assert MetadataServer(login.address).universe == "apis-partner.example"


class TestNoToken:
    @pytest.mark.parametrize("fault", OUTAGES.values(), ids=OUTAGES)
    def test_an_outage_passes_by_itself(self, login: GoogleLogin, tmp_path: Path, fault: Fault) -> None:
        """No token for the moment is Secret Manager being unavailable, never a missing permission."""
        if fault.call == "token":
            log_in(tmp_path)
        login.add_fault(fault)
        metadata_host = "" if fault.call == "token" else login.address
        with pytest.raises(StoreUnavailable, match="server is unavailable"):
            SecretManager(PROJECT, metadata_host=metadata_host).get("s", Deadline(0.01))

    @pytest.mark.parametrize(("status", "body", "cause"), REFUSALS.values(), ids=REFUSALS)
    def test_a_refusal_does_not(self, person: GoogleLogin, status: int, body: dict[str, str], cause: Cause) -> None:
        """Trying again does not help: the remedy is in the sentence, and Google's own words."""
        person.add_fault(Fault("token", times=None, status=status, body=body))
        with pytest.raises(StoreForbidden) as raised:
            SecretManager(PROJECT).get("s", Deadline(5))
        assert raised.value.reason.cause is cause
        over = "The Google login is over: cannot read the state" in str(raised.value)
        assert over == ("gcloud auth application-default login" in str(raised.value)) == (cause is Cause.LOGIN)
        assert over or body["error"] in str(raised.value)


KEY = "projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k"


def test_where_new_secrets_are_kept() -> None:
    """`SECRET_LOCATIONS` and `SECRET_KMS_KEY` say so; else Google chooses."""
    key = {"customerManagedEncryption": {"kmsKeyName": KEY}}
    one, other = {"location": "europe-west1"}, {"location": "europe-west4"}
    assert replication((), "") == {"automatic": {}}
    assert replication((), KEY) == {"automatic": key}
    assert replication(("europe-west1", "europe-west4"), "") == {"userManaged": {"replicas": [one, other]}}
    assert replication(("europe-west1",), KEY) == {"userManaged": {"replicas": [{**one, **key}]}}
