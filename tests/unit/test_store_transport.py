"""Requests to Google: credentials as google-auth finds them, and what is wrong with them in the operator's words."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from google.auth import _exponential_backoff

import certificates
import faults
import google_login
import proxies
from emulators.serving import Fault, LocalServer
from google_login import GOOGLE, TOKENS, GoogleLogin, GoogleSecrets
from tokenkeeper.clock import Deadline
from tokenkeeper.errors import Cause, SettingsError, StoreForbidden, StoreUnavailable
from tokenkeeper.settings import prepare_requests
from tokenkeeper.store.credentials import MetadataServer
from tokenkeeper.store.documents import replication
from tokenkeeper.store.secretmanager import SecretManager
from unit.parts import PROJECT, HandClock


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With which a company ends TLS for Google's names."""
    return certificates.make(tmp_path_factory.mktemp("company"), GOOGLE, TOKENS).file


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
    google_login.user(tmp_path)
    return login


def port_of(server: LocalServer) -> int:
    """The port that a server listens on."""
    return int(server.address.rpartition(":")[2])


class TestProject:
    def test_is_the_one_of_the_settings_else_of_the_credentials(self, login: GoogleLogin) -> None:
        """Without a call where it is set; on Cloud Run the metadata server names it."""
        assert SecretManager(PROJECT, metadata_host=login.address).project == PROJECT
        assert login.calls == []
        assert SecretManager("", metadata_host=login.address).project == "metadata-project"

    def test_of_the_credentials_is_known_to_the_first_call(self, login: GoogleLogin, google: GoogleSecrets) -> None:
        """A disabled API of this project is not one of a quota project."""
        named = {"consumer": "projects/metadata-project"}
        google.add_fault(faults.google_error("PERMISSION_DENIED", "No.", reason="SERVICE_DISABLED", metadata=named))
        with pytest.raises(StoreForbidden) as raised:
            SecretManager("", metadata_host=login.address).get("s", Deadline(5))
        assert raised.value.reason.cause is Cause.API_DISABLED

    @pytest.mark.usefixtures("person")
    def test_a_person_without_any_is_told_what_to_set(self) -> None:
        """A login of gcloud's names no project."""
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
        assert google.authorizations == [f"Bearer {google_login.TOKEN}"]
        assert set(person.authorizations) == {None}

    def test_are_asked_for_where_there_are_none(self, login: GoogleLogin) -> None:
        """A sentence says how to get some; in the cloud every function has some, so they are away for a moment."""
        login.stop()
        with pytest.raises(SettingsError, match="gcloud auth application-default login"):
            SecretManager("").get("s", Deadline(0.01))
        with pytest.raises(StoreUnavailable, match="metadata server is unavailable"):
            SecretManager("", metadata_host=login.address).get("s", Deadline(0.01))

    def test_a_token_that_ended_early_is_replaced_at_once(self, login: GoogleLogin, google: GoogleSecrets) -> None:
        """401 for one token is no failure: Google gives another, and the call is made with that."""
        google.add_fault(Fault(status=401))
        SecretManager(PROJECT, metadata_host=login.address).get("s", Deadline(0.01))
        assert [call.name for call in login.calls].count("metadata_token") == 2

    def test_that_google_does_not_accept(self, login: GoogleLogin, google: GoogleSecrets) -> None:
        """401 after a fresh token: the login is the problem."""
        google.add_fault(Fault(status=401, times=None))
        with pytest.raises(StoreForbidden, match=r"^The Google login is over: cannot read") as raised:
            SecretManager(PROJECT, metadata_host=login.address).get("s", Deadline(5))
        assert raised.value.reason.cause is Cause.LOGIN


OUTAGES = {
    "500": Fault("metadata_token", times=None, status=500, body=b"internal error"),
    "404": Fault("metadata_token", times=None, status=404, body=b"not found"),
    "HTML": faults.html("metadata_token", times=None),
    "no JSON of its own": Fault("metadata_token", times=None, status=200, body={"error": "x"}),
    "a closed connection": Fault("metadata_token", times=None, do="drop"),
}
NO_TOKENS = {
    "500": Fault("token", times=None, status=500, body={"error": {"code": 500, "message": "Internal error."}}),
    "HTML": faults.html("token", times=None),
    "a closed connection": Fault("token", times=None, do="drop"),
}


class TestMetadataServer:
    @pytest.mark.parametrize("fault", OUTAGES.values(), ids=OUTAGES)
    def test_an_outage_passes_by_itself(self, login: GoogleLogin, fault: Fault) -> None:
        """No token for the moment is Secret Manager being unavailable, never a missing permission."""
        login.add_fault(fault)
        with pytest.raises(StoreUnavailable, match="metadata server is unavailable"):
            SecretManager(PROJECT, metadata_host=login.address).get("s", Deadline(0.01))

    def test_gives_a_token_that_lasts(self, login: GoogleLogin, hand_clock: HandClock) -> None:
        """One token for all calls, until the server has the next one: four minutes before its end."""
        secrets = SecretManager(PROJECT, metadata_host=login.address)
        for minutes, tokens in ((0, 1), (56, 1), (0.5, 2)):
            hand_clock.pass_by(minutes=minutes)
            secrets.get("s", Deadline(5))
            assert [call.name for call in login.calls].count("metadata_token") == tokens

    def test_of_another_universe(self, login: GoogleLogin) -> None:
        """A cloud of one of Google's partners has a domain of its own."""
        assert MetadataServer(login.address).universe == "googleapis.com"
        login.add_fault(Fault("universe", status=200, body=b"apis-partner.example"))
        assert MetadataServer(login.address).universe == "apis-partner.example"


class TestTokenEndpoint:
    @pytest.mark.parametrize(
        "more",
        [{"error_description": "Token has been revoked."}, {"error_subtype": "invalid_rapt"}],
        ids=["a revoked login", "a login that has to be confirmed"],
    )
    def test_a_login_that_is_over_is_said_so(self, person: GoogleLogin, more: dict[str, str]) -> None:
        """It is no outage: trying again does not help, and the remedy is in the sentence."""
        person.add_fault(Fault("token", times=None, status=400, body={"error": "invalid_grant", **more}))
        with pytest.raises(StoreForbidden, match=r"^The Google login is over: cannot read the state") as raised:
            SecretManager(PROJECT).get("s", Deadline(5))
        assert raised.value.reason.cause is Cause.LOGIN
        assert "gcloud auth application-default login" in str(raised.value)

    def test_another_refusal_is_quoted(self, person: GoogleLogin) -> None:
        """What Google's token endpoint says stands in the sentence."""
        person.add_fault(Fault("token", times=None, status=401, body={"error": "invalid_client"}))
        with pytest.raises(StoreForbidden, match="invalid_client") as raised:
            SecretManager(PROJECT).get("s", Deadline(5))
        assert raised.value.reason.cause is Cause.OTHER

    @pytest.mark.parametrize("fault", NO_TOKENS.values(), ids=NO_TOKENS)
    def test_an_outage_passes_by_itself(self, person: GoogleLogin, fault: Fault) -> None:
        """No token for the moment is Secret Manager being unavailable."""
        person.add_fault(fault)
        with pytest.raises(StoreUnavailable, match="unavailable"):
            SecretManager(PROJECT).get("s", Deadline(0.01))


KEY = "projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k"


def test_where_new_secrets_are_kept() -> None:
    """`SECRET_LOCATIONS` and `SECRET_KMS_KEY` say so; else Google chooses."""
    key = {"customerManagedEncryption": {"kmsKeyName": KEY}}
    one, other = {"location": "europe-west1"}, {"location": "europe-west4"}
    assert replication((), "") == {"automatic": {}}
    assert replication((), KEY) == {"automatic": key}
    assert replication(("europe-west1", "europe-west4"), "") == {"userManaged": {"replicas": [one, other]}}
    assert replication(("europe-west1",), KEY) == {"userManaged": {"replicas": [{**one, **key}]}}
