"""Who may do what, and how often: the permission of each call, denials, and Google's quotas."""

from __future__ import annotations

import fnmatch
import re
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass

from local.secret_manager.errors import denied, exhausted

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
    "EnableSecretVersion": "secretmanager.versions.enable",
    "DisableSecretVersion": "secretmanager.versions.disable",
    "DestroySecretVersion": "secretmanager.versions.destroy",
    "GetIamPolicy": "secretmanager.secrets.getIamPolicy",
    "SetIamPolicy": "secretmanager.secrets.setIamPolicy",
    "TestIamPermissions": "",
}
"""The permission that each call needs (Secret Manager's *Access control with IAM* page); "" needs none."""

_ADDITIONS = frozenset(("AddSecretVersion", "UpdateSecret"))
_STATE_CHANGES = frozenset(("EnableSecretVersion", "DisableSecretVersion", "DestroySecretVersion"))
_WRITES = frozenset(("CreateSecret", "DeleteSecret", "SetIamPolicy")) | _ADDITIONS | _STATE_CHANGES


@dataclass(frozen=True)
class Denial:
    """What callers may not do.

    Attributes:
        permission: A permission, or a shell pattern such as ``secretmanager.versions.*``.
        resource: Regular expression searched for in the resource's name; "" matches all.
    """

    permission: str
    resource: str = ""


class Denials:
    """The denials in force; without one, everything is permitted."""

    def __init__(self) -> None:
        self._denials: tuple[Denial, ...] = ()

    def add(self, denial: Denial) -> None:
        """Puts one more into force."""
        self._denials = (*self._denials, denial)

    def clear(self) -> None:
        """Lifts them all."""
        self._denials = ()

    def allows(self, permission: str, resource: str) -> bool:
        """Whether the permission may be used there."""
        return not any(
            fnmatch.fnmatchcase(permission, denial.permission) and re.search(denial.resource, resource)
            for denial in self._denials
        )

    def check(self, permission: str, resource: str) -> None:
        """Raises PERMISSION_DENIED where the permission may not be used."""
        if permission and not self.allows(permission, resource):
            raise denied(permission, resource)


@dataclass(frozen=True)
class Quotas:
    """Which of Google's quotas are kept (*Quotas and limits*); by default none.

    Attributes:
        per_secret: Add and update 2 a second for each secret; enable, disable and destroy 1 a second for each version.
            In windows that slide, Google's 120 and 60 a minute follow from these.
        writes_per_minute: Of the whole project, None for no limit; Google's is 600.
        reads_per_minute: Likewise, for calls that neither write nor access; Google's is 600.
        accesses_per_minute: Likewise, for AccessSecretVersion; Google's is 90,000.
    """

    per_secret: bool = False
    writes_per_minute: int | None = None
    reads_per_minute: int | None = None
    accesses_per_minute: int | None = None


class Meter:
    """Counts calls in sliding windows and refuses those over a quota. A refused call is not counted.

    Args:
        clock: Wall clock in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._quotas = Quotas()
        self._clock = clock
        self._windows: defaultdict[tuple[str, str, float], deque[float]] = defaultdict(deque)

    def set(self, quotas: Quotas) -> None:
        """Keeps these quotas from now on, with nothing counted yet."""
        self._quotas = quotas
        self._windows.clear()

    def count(self, call: str, project: str, resource: str) -> None:
        """Counts a call, or raises RESOURCE_EXHAUSTED."""
        now = self._clock()
        windows = []
        for kind, who, seconds, most in self._limits(call, project, resource):
            window = self._windows[kind, who, seconds]
            while window and not now - seconds < window[0] <= now:
                window.popleft()
            if len(window) >= most:
                every = "minute" if seconds == 60 else "second"
                raise exhausted(kind, f"{kind} per {every}", f"project_number:{project}")
            windows.append(window)
        for window in windows:
            window.append(now)

    def _limits(self, call: str, project: str, resource: str) -> list[tuple[str, str, float, int]]:
        quotas = self._quotas
        kind, most = ("Read requests", quotas.reads_per_minute)
        if call in _WRITES:
            kind, most = ("Write requests", quotas.writes_per_minute)
        elif call == "AccessSecretVersion":
            kind, most = ("Access requests", quotas.accesses_per_minute)
        limits = [] if most is None else [(kind, project, 60.0, most)]
        if quotas.per_secret and call in _ADDITIONS:
            limits.append(("Secret write requests", resource, 1.0, 2))
        if quotas.per_secret and call in _STATE_CHANGES:
            limits.append(("Version write requests", resource, 1.0, 1))
        return limits
