"""The eleven calls to Secret Manager over HTTP: what each of Google's answers means, and what is tried again."""

from collections.abc import Callable

import pytest

import faults
from emulators.secret_manager import SecretManagerServer as Store
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
from tokenkeeper.store.documents import StoredSecret
from tokenkeeper.store.secretmanager import SecretManager
from unit.parts import PROJECT, HandClock, soon


def denied(sentence: str, reason: str = "", **metadata: str) -> Fault:
    """The answer 403 with these details."""
    return faults.google_error("PERMISSION_DENIED", sentence, reason=reason, metadata=metadata)


def disabled(consumer: str) -> Fault:
    """The answer where the API is disabled in a project."""
    sentence = f"Secret Manager API has not been used in project {consumer} before or it is disabled."
    return denied(sentence, "SERVICE_DISABLED", consumer=f"projects/{consumer}")


def unmet(sentence: str) -> Fault:
    """The answer 400 of a state that does not allow the call."""
    return faults.google_error("FAILED_PRECONDITION", sentence)


ROLE = "Permission 'x' denied for resource 'projects/p/secrets/s'."
WHOLE = (
    "Permission denied: cannot read the state of secret s. Grant the missing role. Google: Permission 'x' denied for "
    "resource 'projects/p/secrets/s'. (PERMISSION_DENIED, IAM_PERMISSION_DENIED)"
)
PERIMETER = "vpcServiceControlsUniqueIdentifier: Xy-12_aB"
LOCATIONS = "Constraint constraints/gcp.resourceLocations violated"
REFUSALS = {
    "a missing role": (denied(ROLE, "IAM_PERMISSION_DENIED", permission="x"), Cause.ROLE, WHOLE),
    "a missing role, without details": (denied("No."), Cause.ROLE, "Permission denied: cannot read"),
    "the API is disabled": (disabled(PROJECT), Cause.API_DISABLED, "gcloud services enable secretmanager"),
    "the API is disabled, by number": (disabled("123456789012"), Cause.API_DISABLED, "API is disabled"),
    "the API is disabled in the quota project": (disabled("laptop"), Cause.QUOTA_PROJECT, "set-quota-project"),
    "the API is disabled in gcloud's project": (disabled("764086051850"), Cause.QUOTA_PROJECT, "set-quota-project"),
    "the quota project": (denied("No.", "USER_PROJECT_DENIED"), Cause.QUOTA_PROJECT, "quota project is refused"),
    "VPC Service Controls": (denied(PERIMETER, "SECURITY_POLICY_VIOLATED"), Cause.PERIMETER, PERIMETER),
    "billing": (denied("No.", "BILLING_DISABLED"), Cause.BILLING, "Billing is disabled: cannot read the state of"),
    "billing, as a precondition": (unmet("Billing account is not found."), Cause.BILLING, "Enable billing"),
    "an organization policy": (unmet(LOCATIONS), Cause.POLICY, f"set SECRET_LOCATIONS. Google: {LOCATIONS}"),
    "a key that is disabled": (unmet("Cloud KMS: cryptoKeys/k is not enabled."), Cause.KEY, "see SECRET_KMS_KEY"),
    "a key that may not be used": (denied("Denied on a Cloud KMS key."), Cause.KEY, "The encryption key cannot be"),
}
ERRORS: dict[str, tuple[Fault, type[StoreError], str]] = {
    "not found": (faults.google_error("NOT_FOUND", "No."), SecretMissing, "Secret s does not exist: cannot read"),
    "in conflict": (faults.google_error("ALREADY_EXISTS", "No."), SecretExists, "exists already"),
    "too many calls": (faults.google_error("RESOURCE_EXHAUSTED", "No."), StoreThrottled, "refuses too many calls"),
    "a failed precondition": (unmet("It is so."), StoreRejected, "The state of s does not allow it: cannot read"),
    "an invalid argument": (
        faults.google_error("INVALID_ARGUMENT", "Bad."),
        StoreRejected,
        "not accept the call (400)",
    ),
    "a server error": (Fault(status=500), StoreUnavailable, "Secret Manager is unavailable (500)"),
    "a gateway's HTML with a 404": (Fault(status=404, body=b"<html>Not found"), StoreUnavailable, "unavailable (404)"),
    "plain text with a 200": (Fault(status=200, body=b"upstream connect error"), StoreUnavailable, "unavailable"),
    "a secret without an etag": (Fault(status=200, body={"name": "x/s"}), StoreUnavailable, "unavailable"),
    "half a body": (Fault(do="truncate", when="after", status=200), StoreUnavailable, "unavailable"),
    "a connection that is closed": (Fault(do="drop"), StoreUnavailable, "unavailable"),
    "an error that is a text": (Fault(status=500, body={"error": "x"}), StoreUnavailable, "unavailable"),
    "odd details": (Fault(status=503, body={"error": {"details": ["x"]}}), StoreUnavailable, "unavailable"),
}
CALLS: dict[str, Callable[[SecretManager], object]] = {
    "ListSecrets": lambda manager: list(manager.list("s", soon())),
    "GetSecret": lambda manager: manager.get("s", soon()),
    "CreateSecret": lambda manager: manager.create("new", {}, {}, soon()),
    "UpdateSecret": lambda manager: manager.update(StoredSecret("s", {"c": "d"}, {}, ""), soon()),
    "DeleteSecret": lambda manager: manager.delete("s", "", soon()),
    "AccessSecretVersion": lambda manager: manager.access("s", "latest", soon()),
    "GetSecretVersion": lambda manager: manager.number("s", "latest", soon()),
    "ListSecretVersions": lambda manager: manager.versions("s", soon()),
    "DestroySecretVersion": lambda manager: manager.destroy("s", 1, soon()),
    "TestIamPermissions": lambda manager: manager.permissions("s", ["a.b.c"], soon()),
    "AddSecretVersion": lambda manager: manager.add("s", b"x", soon()),
}


@pytest.fixture
def manager(store: Store) -> SecretManager:
    """One secret `s`, with a version; waiting between tries takes no time."""
    store.create("s", project=PROJECT)
    store.add_version("s", b"first")
    return SecretManager(PROJECT, store.address)


def failure(manager: SecretManager, store: Store, sent: Fault) -> StoreError:
    """The error that an answer is."""
    store.add_fault(sent)
    with pytest.raises(StoreError) as raised:
        manager.get("s", Deadline(0.01))
    assert raised.value.__cause__ is None
    assert raised.value.secret_id == "s"
    return raised.value


class TestAnswers:
    @pytest.mark.parametrize(("sent", "cause", "says"), REFUSALS.values(), ids=REFUSALS)
    def test_each_refusal_has_a_cause(
        self, manager: SecretManager, store: Store, sent: Fault, cause: Cause, says: str
    ) -> None:
        """With a sentence that holds Google's own words and the remedy."""
        error = failure(manager, store, sent)
        assert (type(error), error.reason.cause) == (StoreForbidden, cause)
        assert says in str(error)

    @pytest.mark.parametrize(("sent", "kind", "says"), ERRORS.values(), ids=ERRORS)
    def test_each_other_one_has_a_kind(
        self, manager: SecretManager, store: Store, sent: Fault, kind: type[StoreError], says: str
    ) -> None:
        """What is no answer of Google's means that Secret Manager is unavailable, which passes by itself."""
        error = failure(manager, store, sent)
        assert (type(error), error.reason.cause) == (kind, Cause.OTHER)
        assert says in str(error)

    def test_a_conflict_of_a_change_is_one_of_etags(self, manager: SecretManager, store: Store) -> None:
        """Whoever did not see the present state neither changes nor deletes it; 409 ABORTED says the same."""
        seen = manager.get("s", soon())
        store.edit("s", annotations={"by": "another"})
        with pytest.raises(SecretChanged):
            manager.delete("s", seen.etag, soon())
        for etag in (seen.etag, ""):
            with pytest.raises(SecretChanged):
                manager.update(StoredSecret("s", {}, {"by": "me"}, etag), soon())
            store.add_fault(faults.google_error("ABORTED", "Try again.", call="UpdateSecret"))
        assert store.annotations("s") == {"by": "another"}

    def test_googles_sentence_is_one_line_of_bounded_length(self, manager: SecretManager, store: Store) -> None:
        """Whatever stands in an answer, an entry of the log holds it."""
        error = failure(manager, store, denied("No.\n\0" + "x" * 1000))
        assert len(error.reason.sentence) == 301
        assert error.reason.sentence.isprintable()

    @pytest.mark.parametrize(
        "body", [{}, {"name": "x"}, {"name": "versions/+1"}], ids=["no name", "a name without a number", "a sign"]
    )
    def test_a_version_without_a_number_is_none_of_googles(
        self, manager: SecretManager, store: Store, body: dict[str, str]
    ) -> None:
        """So that storing is tried again, whatever stands between here and Google."""
        store.add_fault(Fault("A*", status=200, body=body, times=None))
        for call in (lambda: manager.add("s", b"x", Deadline(0.01)), lambda: manager.access("s", 1, Deadline(0.01))):
            with pytest.raises(StoreUnavailable):
                call()

    @pytest.mark.parametrize("listed", [[{"etag": "e"}], [7], 7], ids=["no name", "no object", "no list"])
    def test_a_list_that_is_none_of_googles_is_asked_for_again(
        self, manager: SecretManager, store: Store, listed: object
    ) -> None:
        """Whatever stands between here and Google."""
        for call, key in (("ListSecrets", "secrets"), ("ListSecretVersions", "versions")):
            store.add_fault(Fault(call, status=200, body={key: listed}))
        assert [one.id for one in manager.list("s", soon())] == ["s"]
        assert manager.versions("s", soon()) == {1: True}

    def test_a_payload_that_arrives_broken_is_read_again(self, manager: SecretManager, store: Store) -> None:
        """A checksum that does not fit says so."""
        broken = {"name": "projects/1/secrets/s/versions/1", "payload": {"data": "eHl6", "dataCrc32c": "5"}}
        store.add_fault(Fault("AccessSecretVersion", status=200, body=broken))
        assert manager.access("s", 1, soon()).payload == b"first"
        assert store.count("AccessSecretVersion") == 2


class TestLists:
    def test_of_secrets_follow_their_pages(self, manager: SecretManager, store: Store) -> None:
        """All secrets whose name holds the part come, however many pages; a list may leave out all but the name."""
        for number in range(1001):
            store.create(f"ours-{number}", project=PROJECT, labels={"n": str(number)}, annotations={"n": str(number)})
        found = {one.id: one for one in manager.list("ours-", soon())}
        assert len(found) == 1001
        assert found["ours-7"].labels == found["ours-7"].annotations == {"n": "7"}
        assert all(one.etag for one in found.values())
        assert store.count("ListSecrets") == 2
        store.add_fault(Fault("ListSecrets", status=200, body={"secrets": [{"name": "projects/1/secrets/s"}]}))
        assert list(manager.list("s", soon())) == [StoredSecret("s", {}, {}, "")]

    def test_of_versions_say_which_cost_money(self, manager: SecretManager, store: Store) -> None:
        """Disabled ones are not destroyed."""
        for state in ("DISABLED", "DESTROYED"):
            store.set_state("s", store.add_version("s", b"x"), state)
        assert manager.versions("s", soon()) == {3: False, 2: True, 1: True}


class TestTryingAgain:
    @pytest.mark.parametrize("name", CALLS)
    def test_what_may_pass_and_nothing_else(self, manager: SecretManager, store: Store, name: str) -> None:
        """A refusal is final, names the secret and quotes Google; adding cannot be told from adding a second time."""
        store.add_fault(Fault(name, status=503))
        store.add_fault(Fault(name, do="drop"))
        store.add_fault(Fault(name, times=None, status=403))
        error = StoreUnavailable if name == "AddSecretVersion" else StoreForbidden
        with pytest.raises(error, match="cannot ") as raised:
            CALLS[name](manager)
        assert store.count(name) == (1 if name == "AddSecretVersion" else 3)
        assert raised.value.secret_id == {"ListSecrets": "", "CreateSecret": "new"}.get(name, "s")
        store.clear_faults()
        CALLS[name](manager)

    def test_ends_with_the_deadline(self, manager: SecretManager, store: Store, hand_clock: HandClock) -> None:
        """With growing pauses in between, none of them beyond the deadline."""
        store.add_fault(Fault("GetSecret", times=None, status=503))
        with pytest.raises(StoreUnavailable):
            manager.get("s", Deadline(20))
        assert sum(hand_clock.slept) <= 20
        assert 4 <= len(hand_clock.slept) < 15
        assert hand_clock.slept[0] <= 0.25
        assert max(hand_clock.slept) <= 8

    def test_throttling_is_remembered_for_seconds(
        self, manager: SecretManager, store: Store, hand_clock: HandClock
    ) -> None:
        """After an answer of too many calls everybody knows for a moment."""
        assert not manager.throttled
        store.add_fault(Fault("GetSecret", status=429))
        manager.get("s", Deadline(20))
        assert manager.throttled
        hand_clock.pass_by(seconds=10)
        assert not manager.throttled
