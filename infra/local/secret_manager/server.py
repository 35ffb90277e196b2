"""The embedded Secret Manager: Secret Manager's REST API v1 on a loopback socket.

The official clients and ``gcloud secrets`` work against it unchanged. For tests it can lag, keep quotas and deny,
beside everything that every stand-in can do. ``python -m local.secret_manager --help`` starts it alone.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.secret_manager.errors import ApiError, invalid, usual_body
from local.secret_manager.fields import (
    ADD_VERSION,
    CHANGE_VERSION,
    SECRET,
    SECRET_ID,
    SET_POLICY,
    TEST_PERMISSIONS,
    camel,
    parse_body,
)
from local.secret_manager.file import EncryptedFile, Memory
from local.secret_manager.limits import PERMISSIONS, Denial, Denials, Meter, Quotas
from local.secret_manager.pages import Page
from local.secret_manager.records import Secret, Version
from local.secret_manager.service import Lag, SecretService, project_number
from local.serving import Answer, BadControl, Call, LocalServer, Request, serve_until_signal

_PATH = re.compile(
    r"/v1/projects/(?P<project>[^/:]+)/secrets(?:/(?P<secret>[^/:]+)(?P<versions>/versions(?:/(?P<version>[^/:]+))?)?)?"
    r"(?::(?P<verb>[a-zA-Z]+))?"
)
_METHODS = {
    # HTTP method, what the path ends in, verb -> name of the call
    ("GET", "secrets", ""): "ListSecrets",
    ("POST", "secrets", ""): "CreateSecret",
    ("GET", "secret", ""): "GetSecret",
    ("PATCH", "secret", ""): "UpdateSecret",
    ("DELETE", "secret", ""): "DeleteSecret",
    ("POST", "secret", "addVersion"): "AddSecretVersion",
    ("GET", "secret", "getIamPolicy"): "GetIamPolicy",
    ("POST", "secret", "setIamPolicy"): "SetIamPolicy",
    ("POST", "secret", "testIamPermissions"): "TestIamPermissions",
    ("GET", "versions", ""): "ListSecretVersions",
    ("GET", "version", ""): "GetSecretVersion",
    ("GET", "version", "access"): "AccessSecretVersion",
    ("POST", "version", "enable"): "EnableSecretVersion",
    ("POST", "version", "disable"): "DisableSecretVersion",
    ("POST", "version", "destroy"): "DestroySecretVersion",
}
_PARAMETERS = {
    "ListSecrets": ("filter", "pageSize", "pageToken"),
    "ListSecretVersions": ("filter", "pageSize", "pageToken"),
    "CreateSecret": ("secretId",),
    "UpdateSecret": ("updateMask",),
    "DeleteSecret": ("etag",),
    "GetIamPolicy": ("options.requestedPolicyVersion",),
}
_SYSTEM_PARAMETERS = frozenset(
    (
        "alt",
        "access_token",
        "callback",
        "fields",
        "key",
        "oauth_token",
        "prettyPrint",
        "quotaUser",
        "uploadType",
        "upload_protocol",
        "$.xgafv",
    )
)
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


@dataclass(frozen=True)
class _Target:
    """What an API request is about."""

    call: str
    project: str
    secret: str
    version: str

    @property
    def secret_name(self) -> str:
        return f"projects/{self.project}/secrets/{self.secret}"

    @property
    def resource(self) -> str:
        """The name that IAM is asked about: the project's for lists and creation."""
        if self.call in ("ListSecrets", "CreateSecret"):
            return f"projects/{self.project}"
        return f"{self.secret_name}/versions/{self.version}" if self.version else self.secret_name


class SecretManagerServer(LocalServer):
    """The embedded Secret Manager.

    Calls are named as the API's methods (``AddSecretVersion``). Their resource is the full name as the caller wrote it,
    for ``CreateSecret`` that of the secret to be.

    Args:
        path: File to keep everything in; None keeps it in memory only.
        host: A loopback address.
        port: 0 takes a free one.
        page_size: Resources on a page where a request names no size.
        log: Called with one line for each answered request.
    """

    def __init__(
        self,
        *,
        path: Path | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        page_size: int = 100,
        log: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(host, port, log=log)
        self._service = SecretService(Memory() if path is None else EncryptedFile(path), self.now, page_size)
        self._denials = Denials()
        self._meter = Meter(self.now)

    # What makes it go wrong.

    def set_lag(self, latest: int = 0, lists: int = 0, gets: int = 0, *, hide_first: bool = False) -> None:
        """Makes reads so many changes late, see :class:`~local.secret_manager.service.Lag`; without arguments, no more.

        Reading a version by number is always exact, and compare-and-set is always against the true etag.
        """
        self._service.set_lag(Lag(latest, lists, gets, hide_first))

    def set_quota(
        self,
        *,
        per_secret: bool = False,
        writes_per_minute: int | None = None,
        reads_per_minute: int | None = None,
        accesses_per_minute: int | None = None,
    ) -> None:
        """Keeps these quotas, see :class:`~local.secret_manager.limits.Quotas`; without arguments, none."""
        with self._service.lock:
            self._meter.set(Quotas(per_secret, writes_per_minute, reads_per_minute, accesses_per_minute))

    def deny(self, permission: str, resource: str = "", identity: str | None = None) -> None:
        """Denies a permission, see :class:`~local.secret_manager.limits.Denial`."""
        self._denials.add(Denial(permission, resource, identity))

    def allow_all(self) -> None:
        """Lifts every denial."""
        self._denials.clear()

    # What is kept.

    def secrets(self, project: str | None = None) -> dict[str, KeptSecret]:
        """Every secret by its id, oldest first; ``project`` is an id or a number."""
        return {secret.id: _kept(secret, versions) for secret, versions in self._service.everything(project)}

    def labels(self, secret_id: str) -> dict[str, str]:
        """A secret's labels."""
        return dict(self._kept(secret_id)[0].fields.get("labels", {}))

    def annotations(self, secret_id: str) -> dict[str, str]:
        """A secret's annotations."""
        return dict(self._kept(secret_id)[0].fields.get("annotations", {}))

    def payloads(self, secret_id: str) -> list[bytes]:
        """The payload of each version in the order of numbers; b"" for a destroyed one, since none can be empty."""
        return [self._service.payload(version) for version in self._kept(secret_id)[1]]

    def states(self, secret_id: str) -> dict[int, str]:
        """The state of each version by number."""
        return {version.number: version.state for version in self._kept(secret_id)[1]}

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
        changes = {"labels": dict(labels or {}), "annotations": dict(annotations or {})}
        self._service.edit(self._kept(secret_id)[0], changes)

    def add_version(self, secret_id: str, payload: bytes) -> int:
        """Adds a version and gives its number."""
        secret = self._kept(secret_id)[0]
        answer = self._service.add_version(secret.project, secret.id, {"payload": {"data": payload}})
        return int(answer["name"].rpartition("/")[2])

    def set_state(self, secret_id: str, number: int, state: str) -> None:
        """Makes a version ENABLED, DISABLED or DESTROYED."""
        secret = self._kept(secret_id)[0]
        self._service.change_state(secret.project, secret.id, str(number), state, "")

    def delete(self, secret_id: str) -> None:
        """Deletes a secret with its versions."""
        secret = self._kept(secret_id)[0]
        self._service.delete_secret(secret.project, secret.id, "")

    def _kept(self, secret_id: str) -> tuple[Secret, list[Version]]:
        return self._service.find(secret_id)

    # Serving.

    def opened(self) -> None:
        self._service.open()

    def closed(self) -> None:
        self._service.close()

    def fault_body(self, status: int) -> Mapping[str, Any]:
        return usual_body(status)

    def identify(self, request: Request) -> tuple[str, str]:
        target = _target(request)
        if target is None:
            return "Unknown", request.path
        return target.call, target.secret_name if target.call == "CreateSecret" else target.resource

    def answer(self, request: Request, call: Call) -> Answer:
        target = _target(request)
        if target is None:
            return Answer(404, _NO_SUCH_ADDRESS, "text/html; charset=UTF-8")
        try:
            parameters = _parameters(request, target.call)
            self._denials.check(PERMISSIONS[target.call], target.resource, call.identity)
            with self._service.lock:
                self._meter.spend(target.call, project_number(target.project), target.resource)
            body = self._call(target, request, parameters, call.identity)
        except ApiError as error:
            return Answer(error.code, error.body)
        if request.parameter("$alt").endswith("enum-encoding=int"):
            body = _with_state_numbers(body)
        return Answer(body=body)

    def _call(
        self, target: _Target, request: Request, parameters: Mapping[str, str], identity: str
    ) -> Mapping[str, Any]:
        service, where, version = self._service, (target.project, target.secret), target.version
        if target.secret and not SECRET_ID.fullmatch(target.secret) and target.call != "CreateSecret":
            form = "projects/*/secrets/*/versions/*" if version else "projects/*/secrets/*"
            raise invalid(
                f"The provided Secret ID [{target.resource[:400]}] does not match the expected format [{form}]", "name"
            )
        match target.call:
            case "ListSecrets":
                return service.list_secrets(target.project, _page(parameters))
            case "CreateSecret":
                return service.create_secret(*where, parse_body(request.body, SECRET, "secret"))
            case "GetSecret":
                return service.get_secret(*where)
            case "UpdateSecret":
                message = parse_body(request.body, SECRET, "secret")
                return service.update_secret(*where, message, parameters.get("updateMask", ""))
            case "DeleteSecret":
                return service.delete_secret(*where, parameters.get("etag", ""))
            case "AddSecretVersion":
                return service.add_version(*where, parse_body(request.body, ADD_VERSION))
            case "AccessSecretVersion":
                return service.access_version(*where, version)
            case "GetSecretVersion":
                return service.get_version(*where, version)
            case "ListSecretVersions":
                return service.list_versions(*where, _page(parameters))
            case "GetIamPolicy":
                return service.get_policy(*where)
            case "SetIamPolicy":
                return service.set_policy(*where, parse_body(request.body, SET_POLICY).get("policy", {}))
            case "TestIamPermissions":
                asked = parse_body(request.body, TEST_PERMISSIONS).get("permissions", [])
                return self._test_permissions(target, asked, identity)
            case _:
                etag = parse_body(request.body, CHANGE_VERSION).get("etag", "")
                return service.change_state(*where, version, _STATES[target.call], etag)

    def _test_permissions(self, target: _Target, asked: list[str], identity: str) -> Mapping[str, Any]:
        if not all(re.fullmatch(r"[a-zA-Z0-9]+(\.[a-zA-Z0-9]+)+", permission) for permission in asked):
            raise invalid(
                "Permission names must be of the form service.resource.verb, without wildcards.", "permissions"
            )
        if not self._service.exists(target.project, target.secret):
            return {}
        held = [
            p for p in asked if p.startswith("secretmanager.") and self._denials.allows(p, target.resource, identity)
        ]
        return {"permissions": held} if held else {}

    def control(self, request: Request, words: list[str]) -> Answer | None:
        match request.method, words:
            case "GET", ["secrets"]:
                return Answer(body={"secrets": {id_: _shown(kept) for id_, kept in self.secrets().items()}})
            case "POST", ["lag"]:
                wanted = _checked(request, latest=int, lists=int, gets=int, hide_first=bool)
                try:
                    self.set_lag(**wanted)
                except ValueError as error:
                    raise BadControl(str(error)) from None
            case "POST", ["quota"]:
                self.set_quota(
                    **_checked(
                        request, per_secret=bool, writes_per_minute=int, reads_per_minute=int, accesses_per_minute=int
                    )
                )
            case "POST", ["deny"]:
                wanted = _checked(request, permission=str, resource=str, identity=str)
                if "permission" not in wanted:
                    raise BadControl("'permission' is needed.")
                self.deny(**wanted)
            case "DELETE", ["deny"]:
                self.allow_all()
            case _:
                return None
        return Answer(body={})


def _target(request: Request) -> _Target | None:
    match = _PATH.fullmatch(request.path)
    if match is None:
        return None
    secret, version = match["secret"] or "", match["version"] or ""
    end = "version" if version else "versions" if match["versions"] else "secret" if secret else "secrets"
    call = _METHODS.get((request.method, end, match["verb"] or ""))
    if call is None:
        return None
    if call == "CreateSecret":
        secret = request.parameter("secretId") or request.parameter("secret_id")
    return _Target(call, match["project"], secret, version)


def _parameters(request: Request, call: str) -> dict[str, str]:
    """The call's own query parameters, in camel case.

    Raises:
        ApiError: INVALID_ARGUMENT for one that the call does not have.
    """
    found = {}
    for name, values in request.parameters.items():
        if name in _SYSTEM_PARAMETERS or name.removeprefix("$") in _SYSTEM_PARAMETERS:
            continue
        if camel(name) not in _PARAMETERS.get(call, ()):
            raise invalid(
                f'Invalid JSON payload received. Unknown name "{name[:80]}": Cannot bind query parameter. '
                f"Field '{name[:80]}' could not be found in request message."
            )
        found[camel(name)] = values[-1]
    return found


def _page(parameters: Mapping[str, str]) -> Page:
    size = parameters.get("pageSize", "") or "0"
    if not re.fullmatch(r"-?\d{1,9}", size):
        raise invalid(f"Invalid value at 'page_size' (TYPE_INT32), \"{size[:40]}\"", "page_size")
    return Page(parameters.get("filter", ""), int(size), parameters.get("pageToken", ""))


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


def _shown(kept: KeptSecret) -> dict[str, Any]:
    return {
        "project": kept.project,
        "etag": kept.etag,
        "labels": kept.labels,
        "annotations": kept.annotations,
        "states": {str(number): state for number, state in kept.states.items()},
    }


def _checked(request: Request, **kinds: type[int | str]) -> dict[str, Any]:
    """A control request's fields, each of its kind; null counts as absent."""
    wanted = {name: value for name, value in request.json().items() if value is not None}
    for name, value in wanted.items():
        if name not in kinds:
            raise BadControl(f"Unknown field {name!r}; known are {', '.join(sorted(kinds))}.")
        if type(value) is not kinds[name] or (isinstance(value, int) and value < 0):
            raise BadControl(f"Field {name!r} has to be of type {kinds[name].__name__} and not negative.")
    return wanted


def main(arguments: list[str] | None = None) -> int:
    """Runs it alone until Ctrl-C. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m local.secret_manager",
        description="An embedded Secret Manager: the REST API v1 on this machine, for development and tests only.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="loopback address to serve on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8085, help="port to serve on, 0 for any (default: %(default)s)")
    parser.add_argument("--store", type=Path, metavar="FILE", help="keep everything in FILE, encrypted with FILE.key")
    parser.add_argument("--log", action="store_true", help="print a line for each request")
    chosen = parser.parse_args(arguments)
    server = SecretManagerServer(
        path=chosen.store,
        host=chosen.host,
        port=chosen.port,
        log=(lambda line: print(line, flush=True)) if chosen.log else None,
    )
    return serve_until_signal(server, lambda s: f"Secret Manager: {s.url}  (SECRET_MANAGER_EMULATOR_HOST={s.address})")
