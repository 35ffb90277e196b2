"""The embedded Secret Manager: as much of Secret Manager's REST API v1 as the product, its commands and recipes use.

The official client and ``gcloud secrets`` work against it unchanged. For tests it can lag, keep quotas and deny, beside
everything that every emulator can do. ``python -m local.secret_manager --help`` starts it alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.secret_manager.errors import ApiError, invalid, usual_body
from local.secret_manager.fields import ADD_VERSION, CHANGE_VERSION, SECRET, SET_POLICY, TEST_PERMISSIONS, parse_body
from local.secret_manager.file import EncryptedFile, Memory
from local.secret_manager.limits import PERMISSIONS, Denial, Denials, Meter, Quotas
from local.secret_manager.records import Secret, Version
from local.secret_manager.routes import Target, page_of, parameters_of, target_of
from local.secret_manager.rules import SECRET_ID
from local.secret_manager.service import SecretService
from local.secret_manager.store import Lag, project_number
from local.serving import Answer, Call, LocalServer, Request

_STATES = {"EnableSecretVersion": "ENABLED", "DisableSecretVersion": "DISABLED", "DestroySecretVersion": "DESTROYED"}
_STATE_NUMBERS = {"ENABLED": 1, "DISABLED": 2, "DESTROYED": 3}
_NO_SUCH_ADDRESS = (
    b"<!DOCTYPE html><title>Error 404 (Not Found)!!1</title>"
    b"<p><b>404.</b> The requested URL was not found on this server.\n"
)


@dataclass(frozen=True)
class KeptSecret:
    """A secret as it really is, whatever the lag.

    Attributes:
        project: The project's number.
        id: The last part of the name.
        etag: Of its present state.
        labels: Its labels.
        annotations: Its annotations.
        states: The state of each version by number.
    """

    project: str
    id: str
    etag: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    states: Mapping[int, str]


class SecretManagerServer(LocalServer):
    """The embedded Secret Manager.

    Calls are named as the API's methods (``AddSecretVersion``). Their resource is the full name as the caller wrote it,
    for ``CreateSecret`` that of the secret to be.

    Args:
        path: File to keep everything in; None keeps it in memory only.
        host: A loopback address.
        port: 0 takes a free one.
        log: Called with one line for each answered request.
    """

    def __init__(
        self,
        *,
        path: Path | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        log: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(host, port, log=log)
        self._service = SecretService(Memory() if path is None else EncryptedFile(path), self.now)
        self._denials = Denials()
        self._meter = Meter(self.now)

    # What makes it go wrong.

    def set_lag(self, latest: int = 0, lists: int = 0, gets: int = 0, *, hide_first: bool = False) -> None:
        """Makes reads so many changes late, see :class:`~local.secret_manager.store.Lag`; without arguments, no more.

        Reading a version by number is always exact, and compare-and-set is always against the true etag.
        """
        self._service.set_lag(Lag(latest, lists, gets, hide_first))

    def set_quota(self, quotas: Quotas = Quotas()) -> None:  # noqa: B008 - frozen
        """Keeps these quotas; without an argument, none."""
        with self._service.lock:
            self._meter.set(quotas)

    def deny(self, permission: str, resource: str = "") -> None:
        """Denies a permission, see :class:`~local.secret_manager.limits.Denial`."""
        self._denials.add(Denial(permission, resource))

    def allow_all(self) -> None:
        """Lifts every denial."""
        self._denials.clear()

    # What is kept.

    def secrets(self) -> dict[str, KeptSecret]:
        """Every secret by its id, oldest first."""
        return {secret.id: _kept(secret, versions) for secret, versions in self._service.everything()}

    def labels(self, secret_id: str) -> dict[str, str]:
        """A secret's labels."""
        return dict(self._service.find(secret_id)[0].fields.get("labels", {}))

    def annotations(self, secret_id: str) -> dict[str, str]:
        """A secret's annotations."""
        return dict(self._service.find(secret_id)[0].fields.get("annotations", {}))

    def payloads(self, secret_id: str) -> list[bytes]:
        """The payload of each version in the order of numbers; b"" for a destroyed one, since none can be empty."""
        return [self._service.payload(version) for version in self._service.find(secret_id)[1]]

    def states(self, secret_id: str) -> dict[int, str]:
        """The state of each version by number."""
        return {version.number: version.state for version in self._service.find(secret_id)[1]}

    def destroyed(self, secret_id: str) -> list[int]:
        """The numbers of the destroyed versions."""
        return [number for number, state in self.states(secret_id).items() if state == "DESTROYED"]

    # What somebody else might do. None of it is recorded, delayed, denied or counted.

    def create(
        self,
        secret_id: str,
        *,
        project: str,
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        """Creates a secret with automatic replication."""
        fields = {"labels": dict(labels or {}), "annotations": dict(annotations or {})}
        self._service.create_secret(project, secret_id, {"replication": {"automatic": {}}, **fields})

    def edit(
        self,
        secret_id: str,
        *,
        labels: Mapping[str, str | None] | None = None,
        annotations: Mapping[str, str | None] | None = None,
    ) -> None:
        """Changes single labels and annotations, None taking one away. The etag changes in any case."""
        self._service.edit(self._service.find(secret_id)[0], {"labels": labels or {}, "annotations": annotations or {}})

    def add_version(self, secret_id: str, payload: bytes) -> int:
        """Adds a version and gives its number."""
        secret = self._service.find(secret_id)[0]
        answer = self._service.add_version(secret.project, secret.id, {"payload": {"data": payload}})
        return int(answer["name"].rpartition("/")[2])

    def set_state(self, secret_id: str, number: int, state: str) -> None:
        """Makes a version ENABLED, DISABLED or DESTROYED."""
        secret = self._service.find(secret_id)[0]
        self._service.change_state(secret.project, secret.id, str(number), state, "")

    def delete(self, secret_id: str) -> None:
        """Deletes a secret with its versions."""
        secret = self._service.find(secret_id)[0]
        self._service.delete_secret(secret.project, secret.id, "")

    # Serving.

    def opened(self) -> None:
        self._service.open()

    def closed(self) -> None:
        self._service.close()

    def fault_body(self, status: int) -> Mapping[str, Any]:
        return usual_body(status)

    def identify(self, request: Request) -> tuple[str, str]:
        target = target_of(request)
        if target is None:
            return "Unknown", request.path
        return target.call, target.secret_name if target.call == "CreateSecret" else target.resource

    def answer(self, request: Request, call: Call) -> Answer:  # noqa: ARG002
        target = target_of(request)
        if target is None:
            return Answer(404, _NO_SUCH_ADDRESS, "text/html; charset=UTF-8")
        try:
            parameters = parameters_of(request, target.call)
            self._denials.check(PERMISSIONS[target.call], target.resource)
            with self._service.lock:
                self._meter.count(target.call, project_number(target.project), target.resource)
            body = self._call(target, request.body, parameters)
        except ApiError as error:
            return Answer(error.code, error.body)
        if request.parameter("$alt").endswith("enum-encoding=int"):
            body = _with_state_numbers(body)
        return Answer(body=body)

    def _call(self, target: Target, body: bytes, parameters: Mapping[str, str]) -> Mapping[str, Any]:
        service, where, version = self._service, (target.project, target.secret), target.version
        if target.secret and not SECRET_ID.fullmatch(target.secret) and target.call != "CreateSecret":
            form = "projects/*/secrets/*/versions/*" if version else "projects/*/secrets/*"
            raise invalid(
                f"The provided Secret ID [{target.resource[:400]}] does not match the expected format [{form}]"
            )
        match target.call:
            case "ListSecrets":
                return service.list_secrets(target.project, page_of(parameters))
            case "CreateSecret":
                return service.create_secret(*where, parse_body(body, SECRET, "secret"))
            case "GetSecret":
                return service.get_secret(*where)
            case "UpdateSecret":
                mask = parameters.get("updateMask", "")
                return service.update_secret(*where, parse_body(body, SECRET, "secret"), mask)
            case "DeleteSecret":
                return service.delete_secret(*where, parameters.get("etag", ""))
            case "AddSecretVersion":
                return service.add_version(*where, parse_body(body, ADD_VERSION))
            case "AccessSecretVersion":
                return service.access_version(*where, version)
            case "GetSecretVersion":
                return service.get_version(*where, version)
            case "ListSecretVersions":
                return service.list_versions(*where, page_of(parameters))
            case "GetIamPolicy":
                return service.get_policy(*where)
            case "SetIamPolicy":
                return service.set_policy(*where, parse_body(body, SET_POLICY).get("policy", {}))
            case "TestIamPermissions":
                return self._test_permissions(target, parse_body(body, TEST_PERMISSIONS).get("permissions", []))
            case _:
                etag = parse_body(body, CHANGE_VERSION).get("etag", "")
                return service.change_state(*where, version, _STATES[target.call], etag)

    def _test_permissions(self, target: Target, asked: list[str]) -> Mapping[str, Any]:
        """The asked permissions that are held; none of a secret that does not exist, as at Google."""
        if not all(re.fullmatch(r"[a-zA-Z0-9]+(\.[a-zA-Z0-9]+)+", permission) for permission in asked):
            raise invalid("Permission names must be of the form service.resource.verb, without wildcards.")
        if not self._service.exists(target.project, target.secret):
            return {}
        held = [p for p in asked if p.startswith("secretmanager.") and self._denials.allows(p, target.resource)]
        return {"permissions": held} if held else {}


def _with_state_numbers(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The answer with versions' states as numbers, as clients ask for with ``$alt=json;enum-encoding=int``."""
    if "versions" in body:
        return {**body, "versions": [_with_state_numbers(version) for version in body["versions"]]}
    return {**body, "state": _STATE_NUMBERS[body["state"]]} if "state" in body else body


def _kept(secret: Secret, versions: list[Version]) -> KeptSecret:
    return KeptSecret(
        project=secret.project,
        id=secret.id,
        etag=secret.etag,
        labels=dict(secret.fields.get("labels", {})),
        annotations=dict(secret.fields.get("annotations", {})),
        states={version.number: version.state for version in versions},
    )
