"""The embedded Secret Manager for tests: it can be late, keep quotas and deny, and shows what it holds."""

import re
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emulators.serving import LocalServer, Request
from local.secret_manager import errors, server
from local.secret_manager.file import Keeping
from local.secret_manager.records import Secret
from local.secret_manager.routes import Target, target_of
from local.secret_manager.service import SecretService
from local.secret_manager.store import Entry, project_number

PERMISSIONS = {
    "ListSecrets": "secretmanager.secrets.list",
    "CreateSecret": "secretmanager.secrets.create",
    "GetSecret": "secretmanager.secrets.get",
    "UpdateSecret": "secretmanager.secrets.update",
    "DeleteSecret": "secretmanager.secrets.delete",
    "AddSecretVersion": "secretmanager.versions.add",
    "AccessSecretVersion": "secretmanager.versions.access",
    "GetSecretVersion": "secretmanager.versions.get",
    "ListSecretVersions": "secretmanager.versions.list",
    "DestroySecretVersion": "secretmanager.versions.destroy",
    "GetIamPolicy": "secretmanager.secrets.getIamPolicy",
    "SetIamPolicy": "secretmanager.secrets.setIamPolicy",
    "TestIamPermissions": "",
}
"""The permission that each call needs (Secret Manager's *Access control with IAM* page); "" needs none."""

_ADDITIONS = frozenset(("AddSecretVersion", "UpdateSecret"))
_DESTRUCTION = "DestroySecretVersion"
_WRITES = frozenset(("CreateSecret", "DeleteSecret", "SetIamPolicy", _DESTRUCTION)) | _ADDITIONS
_HISTORY = 16
_SERVICE = "secretmanager.googleapis.com"
_USUAL = {
    400: ("INVALID_ARGUMENT", "Request contains an invalid argument."),
    401: ("UNAUTHENTICATED", "Request had invalid authentication credentials."),
    403: ("PERMISSION_DENIED", "The caller does not have permission"),
    404: ("NOT_FOUND", "Requested entity was not found."),
    409: ("ABORTED", "The operation was aborted."),
    429: ("RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
    500: ("INTERNAL", "Internal error encountered."),
    503: ("UNAVAILABLE", "The service is currently unavailable."),
    504: ("DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
}
"""What Google's front end says with an HTTP status when nothing more is to be said."""
_HTTP_STATUS = errors.HTTP_STATUS | {status: code for code, (status, _) in _USUAL.items()}


class ApiError(errors.ApiError):
    """Any of Google's errors, with the details (google.rpc.ErrorInfo) that say why, where there is a reason."""

    def __init__(
        self,
        status: str,
        message: str,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        domain: str = "googleapis.com",
    ) -> None:
        super().__init__(status, message)
        info = {"reason": reason, "domain": domain, "metadata": dict(metadata or {})}
        self._details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", **info}] if reason else None

    @property
    def code(self) -> int:
        return _HTTP_STATUS[self.status]

    @property
    def body(self) -> Mapping[str, Any]:
        details = {"details": self._details} if self._details else {}
        return {"error": {**super().body["error"], **details}}


def denied(permission: str, resource: str) -> ApiError:
    """PERMISSION_DENIED as IAM words it."""
    return ApiError(
        "PERMISSION_DENIED",
        f"Permission '{permission}' denied for resource '{resource}' (or it may not exist).",
        reason="IAM_PERMISSION_DENIED",
        domain=_SERVICE,
        metadata={"permission": permission, "resource": resource},
    )


class LateService(SecretService):
    """The calls, as late as `set_lag` says. Reading a version by number is always exact, and so are etags."""

    latest = lists = gets = 0
    hide_first = False

    def __init__(self, keeping: Keeping, clock: Any) -> None:
        super().__init__(keeping, clock)
        self.deleted: dict[tuple[str, str], tuple[Secret, deque[Secret]]] = {}
        self._earlier: defaultdict[tuple[str, str], deque[Secret]] = defaultdict(lambda: deque(maxlen=_HISTORY))

    def shown(self, entry: Entry) -> Secret | None:
        return self._seen(entry.secret, self._earlier[_key(entry.secret)], self.gets)

    def listed(self) -> list[Secret]:
        if not self.lists:
            return super().listed()
        found = [(entry.secret, self._earlier[key]) for key, entry in self.entries.items()]
        found += [gone for key, gone in self.deleted.items() if key not in self.entries]
        seen = [self._seen(secret, earlier, self.lists) for secret, earlier in found]
        return [secret for secret in seen if secret is not None]

    def newest(self, entry: Entry, *, in_list: bool = False) -> int:
        number = entry.newest - (self.lists if in_list else self.latest)
        return number if number >= 1 else int(bool(entry.versions) and not self.hide_first)

    def change(self, entry: Entry, fields: dict[str, Any]) -> Secret:
        self._earlier[_key(entry.secret)].append(entry.secret)
        return super().change(entry, fields)

    def remove(self, entry: Entry) -> None:
        super().remove(entry)
        earlier = self._earlier.pop(_key(entry.secret), deque())
        if self.lists:
            self.deleted[_key(entry.secret)] = entry.secret, deque([*earlier, entry.secret], maxlen=_HISTORY)

    def _seen(self, secret: Secret, earlier: deque[Secret], late: int) -> Secret | None:
        if late == 0:
            return secret
        if late <= len(earlier):
            return earlier[-late]
        return None if self.hide_first else (earlier[0] if earlier else secret)


def _key(secret: Secret) -> tuple[str, str]:
    return secret.project, secret.id


@dataclass(frozen=True)
class Quotas:
    """Which of Google's quotas are kept (*Quotas and limits*); by default none."""

    # Add and update 2 a second for each secret, destroy 1 for each version: Google's 120 and 60 a minute follow.
    per_secret: bool = False
    writes_per_minute: int | None = None  # of the whole project; Google's is 600
    reads_per_minute: int | None = None  # of calls that neither write nor access; Google's is 600
    accesses_per_minute: int | None = None  # of AccessSecretVersion; Google's is 90,000

    def of(self, target: Target) -> list[tuple[str, str, float, int]]:
        """The windows that a call counts in: what is counted, of whom, seconds, and the most calls."""
        kind, most = "Read requests", self.reads_per_minute
        if target.call in _WRITES:
            kind, most = "Write requests", self.writes_per_minute
        elif target.call == "AccessSecretVersion":
            kind, most = "Access requests", self.accesses_per_minute
        limits = [] if most is None else [(kind, project_number(target.project), 60.0, most)]
        if self.per_secret and target.call in _ADDITIONS:
            limits.append(("Secret write requests", target.resource, 1.0, 2))
        if self.per_secret and target.call == _DESTRUCTION:
            limits.append(("Version write requests", target.resource, 1.0, 1))
        return limits


class SecretManagerServer(LocalServer, server.SecretManagerServer):
    """The embedded Secret Manager under control.

    Calls are named as the API's methods (``AddSecretVersion``). Their resource is the full name as the caller wrote it,
    for ``CreateSecret`` that of the secret to be.
    """

    service: LateService

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self._denials: list[tuple[str, str]] = []
        self._quotas = Quotas()
        self._counted: defaultdict[tuple[str, str, float], deque[float]] = defaultdict(deque)

    # What makes it go wrong.

    def set_lag(self, latest: int = 0, lists: int = 0, gets: int = 0, *, hide_first: bool = False) -> None:
        """Makes reads late, counted in changes of the secret concerned; without arguments, no more.

        Args:
            latest: ``latest`` answers so many versions late.
            lists: ListSecrets shows each secret as it was so many changes ago, and a deleted one until the lag is
                set again; ListSecretVersions lacks so many of the newest versions.
            gets: GetSecret answers so many changes late.
            hide_first: What has not existed for so many changes is not there yet. Otherwise a secret's first state and
                its first version are seen at once.
        """
        service = self.service
        with service.lock:
            service.latest, service.lists, service.gets, service.hide_first = latest, lists, gets, hide_first
            service.deleted.clear()

    def set_quota(self, quotas: Quotas = Quotas()) -> None:
        """Keeps these quotas, with nothing counted yet; without an argument, none."""
        with self.service.lock:
            self._quotas = quotas
            self._counted.clear()

    def deny(self, permission: str, resource: str = "") -> None:
        """Denies a permission where the regular expression is found in the resource's name."""
        self._denials.append((permission, resource))

    def allow_all(self) -> None:
        """Lifts every denial."""
        self._denials.clear()

    def reset(self) -> None:
        """Nothing is kept, recorded or goes wrong any more."""
        self.clear_faults()
        self.forget_calls()
        self.allow_all()
        self.set_lag()
        self.set_quota()
        for secret_id in self.secrets():
            self.delete(secret_id)

    # What is kept.

    def secrets(self) -> dict[str, dict[int, str]]:
        """Every secret's id, oldest first, with the state of each version by number; whatever the lag."""
        with self.service.lock:
            entries = sorted(self.service.entries.values(), key=lambda entry: entry.secret.born)
            return {one.secret.id: {version.number: version.state for version in one.in_order} for one in entries}

    def labels(self, secret_id: str) -> dict[str, str]:
        return _map(self._find(secret_id).secret, "labels")

    def annotations(self, secret_id: str) -> dict[str, str]:
        return _map(self._find(secret_id).secret, "annotations")

    def payloads(self, secret_id: str) -> list[bytes]:
        """The payload of each version in the order of numbers; b"" for a destroyed one, since none can be empty."""
        unseal = self.service.keeping.unseal
        return [unseal(version.sealed) if version.sealed else b"" for version in self._find(secret_id).in_order]

    def states(self, secret_id: str) -> dict[int, str]:
        """The state of each version by number."""
        return self.secrets()[secret_id]

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
        self.service.create_secret(project, secret_id, {"replication": {"automatic": {}}, **fields})

    def edit(
        self,
        secret_id: str,
        *,
        labels: Mapping[str, str | None] | None = None,
        annotations: Mapping[str, str | None] | None = None,
    ) -> None:
        """Changes single labels and annotations, None taking one away. The etag changes in any case."""
        with self.service.lock:
            entry = self._find(secret_id)
            fields = dict(entry.secret.fields)
            for name, entries in {"labels": labels or {}, "annotations": annotations or {}}.items():
                merged = {**fields.get(name, {}), **entries}
                fields[name] = {key: value for key, value in merged.items() if value is not None}
            self.service.change(entry, fields)

    def add_version(self, secret_id: str, payload: bytes) -> int:
        """Adds a version and gives its number."""
        secret = self._find(secret_id).secret
        answer = self.service.add_version(secret.project, secret.id, payload, None)
        return int(answer["name"].rpartition("/")[2])

    def set_state(self, secret_id: str, number: int, state: str) -> None:
        """Makes a version ENABLED, DISABLED or DESTROYED."""
        secret = self._find(secret_id).secret
        self.service.change_state(secret.project, secret.id, str(number), state, "")

    def delete(self, secret_id: str) -> None:
        """Deletes a secret with its versions."""
        self.service.remove(self._find(secret_id))

    # Serving.

    def make_service(self, keeping: Keeping) -> LateService:
        return LateService(keeping, self.now)

    def identify(self, request: Request) -> tuple[str, str]:
        target = target_of(request)
        if target is None:
            return "Unknown", request.path
        return target.call, target.secret_name if target.call == "CreateSecret" else target.resource

    def fault_body(self, status: int) -> Mapping[str, Any]:
        name, message = _USUAL.get(status, ("UNKNOWN", "Unknown Error."))
        return {"error": {"code": status, "message": message, "status": name}}

    def permits(self, permission: str, resource: str) -> bool:
        return not any(permission == denied and re.search(where, resource) for denied, where in list(self._denials))

    def admit(self, target: Target) -> None:
        """Raises PERMISSION_DENIED, or RESOURCE_EXHAUSTED; a refused call is not counted."""
        permission = PERMISSIONS[target.call]
        if permission and not self.permits(permission, target.resource):
            raise denied(permission, target.resource)
        now, windows = self.now(), []
        with self.service.lock:
            for kind, who, seconds, most in self._quotas.of(target):
                window = self._counted[kind, who, seconds]
                while window and not now - seconds < window[0] <= now:
                    window.popleft()
                if len(window) >= most:
                    raise _exhausted(kind, "minute" if seconds == 60 else "second", project_number(target.project))
                windows.append(window)
            for window in windows:
                window.append(now)

    def _find(self, secret_id: str) -> Entry:
        """The secret of that id in whichever project; KeyError without one."""
        with self.service.lock:
            for (_, found), entry in self.service.entries.items():
                if found == secret_id:
                    return entry
        raise KeyError(secret_id)


def _map(secret: Secret, name: str) -> dict[str, str]:
    return dict(secret.fields.get(name, {}))


def _exhausted(kind: str, period: str, project: str) -> ApiError:
    consumer, limit = f"project_number:{project}", f"{kind} per {period}"
    return ApiError(
        "RESOURCE_EXHAUSTED",
        f"Quota exceeded for quota metric '{kind}' and limit '{limit}' of service '{_SERVICE}' for consumer "
        f"'{consumer}'.",
        reason="RATE_LIMIT_EXCEEDED",
        metadata={"service": _SERVICE, "consumer": consumer, "quota_limit": limit},
    )
