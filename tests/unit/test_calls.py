"""What each of Google's answers means for us, its cause and what the operator reads; and how a call is tried again."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

import faults
from emulators.secret_manager import SecretManagerServer
from emulators.serving import Fault
from tokenkeeper.clock import Deadline
from tokenkeeper.errors import (
    Cause,
    SecretChanged,
    SecretExists,
    SecretMissing,
    StoreError,
    StoreForbidden,
    StoreRejected,
    StoreThrottled,
    StoreUnavailable,
)
from tokenkeeper.store.secretmanager import SecretManager, StoredSecret
from unit.parts import PROJECT, HandClock


@dataclass(frozen=True)
class Answer:
    """One of Google's answers to a call, and what it means.

    Attributes:
        sent: The answer.
        error: Ours.
        cause: Why, as far as Google tells.
        says: What the error's text holds.
    """

    sent: Fault
    error: type[StoreError]
    cause: Cause
    says: str
    metadata: dict[str, str] = field(default_factory=dict)


def disabled(consumer: str) -> Fault:
    """The answer where the API is disabled in a project."""
    return faults.google_error(
        "PERMISSION_DENIED",
        f"Secret Manager API has not been used in project {consumer} before or it is disabled.",
        reason="SERVICE_DISABLED",
        metadata={"service": "secretmanager.googleapis.com", "consumer": f"projects/{consumer}"},
    )


ANSWERS = {
    "a missing role": Answer(
        faults.google_error(
            "PERMISSION_DENIED",
            "Permission 'secretmanager.secrets.get' denied for resource 'projects/p/secrets/s'.",
            reason="IAM_PERMISSION_DENIED",
            metadata={"permission": "secretmanager.secrets.get"},
        ),
        StoreForbidden,
        Cause.ROLE,
        "Permission denied: cannot read the state of secret s. Grant the missing role. Google: Permission "
        "'secretmanager.secrets.get' denied for resource 'projects/p/secrets/s'. "
        "(PERMISSION_DENIED, IAM_PERMISSION_DENIED)",
    ),
    "a missing role, without details": Answer(
        faults.google_error("PERMISSION_DENIED", "The caller does not have permission"),
        StoreForbidden,
        Cause.ROLE,
        "Permission denied: cannot read the state of secret s.",
    ),
    "the API is disabled in the keeper's project": Answer(
        disabled(PROJECT), StoreForbidden, Cause.API_DISABLED, "gcloud services enable secretmanager.googleapis.com"
    ),
    "the API is disabled in a project named by number": Answer(
        disabled("123456789012"), StoreForbidden, Cause.API_DISABLED, "The Secret Manager API is disabled"
    ),
    "the API is disabled in the quota project": Answer(
        disabled("laptop-project"), StoreForbidden, Cause.QUOTA_PROJECT, "set-quota-project"
    ),
    "the API is disabled in gcloud's own project": Answer(
        disabled("764086051850"), StoreForbidden, Cause.QUOTA_PROJECT, "set-quota-project"
    ),
    "the quota project may not be used": Answer(
        faults.google_error(
            "PERMISSION_DENIED",
            "Caller does not have required permission to use project laptop-project.",
            reason="USER_PROJECT_DENIED",
            metadata={"consumer": "projects/laptop-project"},
        ),
        StoreForbidden,
        Cause.QUOTA_PROJECT,
        "The credentials' quota project is refused",
    ),
    "VPC Service Controls, with the unique id": Answer(
        faults.google_error(
            "PERMISSION_DENIED",
            "Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: Xy-12_aB",
            reason="SECURITY_POLICY_VIOLATED",
            metadata={"uid": "Xy-12_aB"},
        ),
        StoreForbidden,
        Cause.PERIMETER,
        "vpcServiceControlsUniqueIdentifier: Xy-12_aB",
        {"uid": "Xy-12_aB"},
    ),
    "billing is disabled": Answer(
        faults.google_error(
            "PERMISSION_DENIED",
            "This API method requires billing to be enabled. Please enable billing on project #p.",
            reason="BILLING_DISABLED",
        ),
        StoreForbidden,
        Cause.BILLING,
        "Billing is disabled: cannot read the state of secret s. Enable billing for the project.",
    ),
    "billing is disabled, as a failed precondition": Answer(
        faults.google_error("FAILED_PRECONDITION", "Billing account for project 'p' is not found."),
        StoreForbidden,
        Cause.BILLING,
        "Enable billing",
    ),
    "an organization policy for locations": Answer(
        faults.google_error(
            "FAILED_PRECONDITION",
            "Constraint constraints/gcp.resourceLocations violated for [orgpolicy:projects/p] attempting to create a "
            "secret in [global].",
        ),
        StoreForbidden,
        Cause.POLICY,
        "for locations, set SECRET_LOCATIONS. Google: Constraint constraints/gcp.resourceLocations violated",
    ),
    "an organization policy, as an invalid argument": Answer(
        faults.google_error("INVALID_ARGUMENT", "Constraint constraints/gcp.restrictNonCmekServices violated."),
        StoreForbidden,
        Cause.POLICY,
        "An organization policy refuses the call",
    ),
    "a key that is disabled": Answer(
        faults.google_error(
            "FAILED_PRECONDITION",
            "Cloud KMS: projects/p/locations/global/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1 is not enabled, "
            "current state is: DISABLED.",
        ),
        StoreForbidden,
        Cause.KEY,
        "see SECRET_KMS_KEY",
    ),
    "a key that may not be used": Answer(
        faults.google_error(
            "PERMISSION_DENIED", "Permission 'cloudkms.cryptoKeyVersions.useToEncrypt' denied on a Cloud KMS key."
        ),
        StoreForbidden,
        Cause.KEY,
        "The encryption key cannot be used",
    ),
    "not found": Answer(
        faults.google_error("NOT_FOUND", "Secret [projects/1/secrets/s] not found."),
        SecretMissing,
        Cause.OTHER,
        "Secret s does not exist: cannot read the state of secret s.",
    ),
    "in conflict": Answer(
        faults.google_error("ALREADY_EXISTS", "Secret already exists."), SecretExists, Cause.OTHER, "exists already"
    ),
    "too many calls": Answer(
        faults.google_error("RESOURCE_EXHAUSTED", "Quota exceeded.", reason="RATE_LIMIT_EXCEEDED"),
        StoreThrottled,
        Cause.OTHER,
        "Secret Manager refuses too many calls",
    ),
    "a failed precondition": Answer(
        faults.google_error("FAILED_PRECONDITION", "The secret is in a state."),
        StoreRejected,
        Cause.OTHER,
        "The state of s does not allow it: cannot read the state of secret s. Google: The secret is in a state.",
    ),
    "an invalid argument": Answer(
        faults.google_error("INVALID_ARGUMENT", "Bad labels."),
        StoreRejected,
        Cause.OTHER,
        "Secret Manager does not accept the call (400): cannot read the state of secret s. Google: Bad labels.",
    ),
    "a server error": Answer(Fault(status=500), StoreUnavailable, Cause.OTHER, "Secret Manager is unavailable (500)"),
    "unavailable": Answer(Fault(status=503), StoreUnavailable, Cause.OTHER, "Secret Manager is unavailable (503)"),
    "too late": Answer(Fault(status=504), StoreUnavailable, Cause.OTHER, "Secret Manager is unavailable (504)"),
    "a gateway's HTML": Answer(faults.html(), StoreUnavailable, Cause.OTHER, "Secret Manager is unavailable (502)"),
    "a gateway's HTML with a 404": Answer(
        faults.html(status=404), StoreUnavailable, Cause.OTHER, "Secret Manager is unavailable (404)"
    ),
    "plain text with a 200": Answer(faults.not_json(), StoreUnavailable, Cause.OTHER, "unavailable"),
    "nothing with a 200": Answer(faults.empty(), StoreUnavailable, Cause.OTHER, "unavailable"),
    "half a body": Answer(faults.truncated(), StoreUnavailable, Cause.OTHER, "unavailable"),
    "a connection that is closed": Answer(Fault(do="drop"), StoreUnavailable, Cause.OTHER, "unavailable"),
    "an error that is a text": Answer(
        Fault(status=500, body={"error": "x"}), StoreUnavailable, Cause.OTHER, "unavailable"
    ),
    "an error whose details are no objects": Answer(
        Fault(status=503, body={"error": {"details": ["x"]}}), StoreUnavailable, Cause.OTHER, "unavailable"
    ),
    "an error that says 200": Answer(
        Fault(status=200, body={"error": {"code": 302}}), StoreUnavailable, Cause.OTHER, "unavailable"
    ),
}


@pytest.fixture
def manager(store: SecretManagerServer) -> SecretManager:
    """One secret `s`, with a version."""
    store.create("s", project=PROJECT)
    store.add_version("s", b"first")
    return SecretManager(PROJECT, store.address)


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_each_of_googles_answers(manager: SecretManager, store: SecretManagerServer, answer: Answer) -> None:
    """The error, its cause, and a sentence with Google's own words and the remedy."""
    store.add_fault(answer.sent)
    with pytest.raises(StoreError) as raised:
        manager.get("s", Deadline(0.01))
    error = raised.value
    assert (type(error), error.reason.cause) == (answer.error, answer.cause)
    assert answer.says in str(error)
    assert error.secret_id == "s"
    assert error.__cause__ is None
    assert answer.metadata.items() <= error.reason.metadata.items()


def test_a_conflict_of_a_change_is_one_of_etags(manager: SecretManager, store: SecretManagerServer) -> None:
    """409 ABORTED means that somebody else wrote first, where the call changes something."""
    store.add_fault(faults.google_error("ABORTED", "Try again.", call="UpdateSecret"))
    with pytest.raises(SecretChanged):
        manager.update(StoredSecret("s", {}, {}, ""), Deadline(0.01))


def test_googles_sentence_is_one_line_of_bounded_length(manager: SecretManager, store: SecretManagerServer) -> None:
    """Whatever stands in an answer, an entry of the log holds it."""
    store.add_fault(faults.google_error("PERMISSION_DENIED", "No.\n\0" + "x" * 1000))
    with pytest.raises(StoreForbidden) as raised:
        manager.get("s", Deadline(0.01))
    assert len(raised.value.reason.sentence) == 301
    assert raised.value.reason.sentence.isprintable()


def test_nobody_listening_is_unavailable() -> None:
    """A Secret Manager that is away is an error of ours."""
    with pytest.raises(StoreUnavailable, match="Secret Manager is unavailable"):
        SecretManager(PROJECT, "127.0.0.1:1").get("s", Deadline(0.01))


@pytest.mark.parametrize("body", [{}, {"name": "x"}], ids=["no name", "a name without a number"])
def test_a_version_without_a_number_is_no_answer_of_googles(
    manager: SecretManager, store: SecretManagerServer, body: dict[str, str]
) -> None:
    """So that storing is tried again, whatever stands between here and Google."""
    store.add_fault(Fault("A*", status=200, body=body, times=None))
    with pytest.raises(StoreUnavailable):
        manager.add("s", b"x", Deadline(0.01))
    with pytest.raises(StoreUnavailable):
        manager.access("s", 1, Deadline(0.01))


class TestTryingAgain:
    def test_ends_with_the_deadline(
        self, manager: SecretManager, store: SecretManagerServer, hand_clock: HandClock
    ) -> None:
        """With growing pauses in between, none of them beyond the deadline."""
        store.add_fault(Fault("GetSecret", times=None, status=503))
        with pytest.raises(StoreUnavailable):
            manager.get("s", Deadline(20))
        assert sum(hand_clock.slept) <= 20
        assert 4 <= len(hand_clock.slept) < 15
        assert hand_clock.slept[0] <= 0.25
        assert max(hand_clock.slept) <= 8

    def test_throttling_is_remembered_for_seconds(
        self, manager: SecretManager, store: SecretManagerServer, hand_clock: HandClock
    ) -> None:
        """After an answer of too many calls everybody knows for a moment."""
        assert not manager.throttled
        store.add_fault(Fault("GetSecret", status=429))
        manager.get("s", Deadline(20))
        assert manager.throttled
        hand_clock.pass_by(seconds=10)
        assert not manager.throttled
