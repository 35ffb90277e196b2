"""Secret Manager and TikTok without sockets: the stand-ins' own code, and nothing between it and ours.

Left out are Google's client, HTTP and JSON, which take ten times as long as all the rest; from our own `SecretManager`
and `TikTok` upwards everything is the product. Quotas, lost answers and the process's death are as they are on sockets.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlsplit

import requests
from google.api_core import exceptions as google_errors

from local.exchange import Request
from local.secret_manager.errors import ApiError
from local.secret_manager.store import project_number
from local.tiktok.answers import Refusal, envelope, refused
from local.tiktok.api import ENDPOINTS
from reliability.quick import Died
from tokenkeeper.clock import Deadline
from tokenkeeper.errors import SecretChanged, SecretMissing, SecretUnreadable, TikTokSilent
from tokenkeeper.secretmanager import PAGE_SIZE, Secret, SecretManager, Version
from tokenkeeper.transport import Answer, Transport

if TYPE_CHECKING:
    from reliability.year_world import YearStage

TIKTOK_QPS, TIKTOK_A_MINUTE = 10, 600  # a Basic app's
GOOGLE_WRITES, GOOGLE_READS, GOOGLE_ACCESSES = 600, 600, 90_000  # a minute, for a project
SECRET_WRITES = 2  # a second, for a secret
T = TypeVar("T")

_WRITES = {"CreateSecret", "UpdateSecret", "DeleteSecret", "AddSecretVersion", "DestroySecretVersion"}
_PERMITTED = frozenset({"secretmanager.versions.add"})
_ERRORS: Mapping[str, type[google_errors.GoogleAPICallError]] = {
    "INVALID_ARGUMENT": google_errors.InvalidArgument,
    "FAILED_PRECONDITION": google_errors.FailedPrecondition,
    "NOT_FOUND": google_errors.NotFound,
    "ALREADY_EXISTS": google_errors.AlreadyExists,
    "ABORTED": google_errors.Aborted,
}


class Window:
    """So many calls within so many seconds, and no more."""

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._most = most
        self._times: deque[float] = deque()

    def room(self, now: float) -> bool:
        times = self._times
        while times and now - times[0] >= self._seconds:
            times.popleft()
        return len(times) < self._most

    def take(self, now: float) -> None:
        self._times.append(now)


class NearSecretManager(SecretManager):
    """The embedded Secret Manager without its socket: our own class's trying again is left as it is."""

    def __init__(self, stage: YearStage) -> None:
        super().__init__(stage.project)
        self._stage = stage
        self._service = stage.secrets._service
        self._number = project_number(stage.project)
        self.live = stage.live
        self._writes = stage.windows.setdefault("writes", Window(60.0, GOOGLE_WRITES))
        self._reads = stage.windows.setdefault("reads", Window(60.0, GOOGLE_READS))
        self._accesses = stage.windows.setdefault("accesses", Window(60.0, GOOGLE_ACCESSES))

    def _reach(self, limit: float, name: str, act: Callable[[], T], secret_id: str = "") -> T:
        """What Secret Manager makes of one call, and whether anybody learns of it in time."""
        in_time = self._stage.road.travel(self._stage.road.google_takes, limit)
        if in_time:
            return _survive(self._stage, lambda: self._serve(name, act, secret_id))
        with suppress(google_errors.GoogleAPICallError):
            _survive(self._stage, lambda: self._serve(name, act, secret_id))
        raise requests.exceptions.ReadTimeout

    def _serve(self, name: str, act: Callable[[], T], secret_id: str) -> T:
        self._stage.road.calls[name] += 1
        if self._stage.weather.google_away:
            raise google_errors.ServiceUnavailable("away")  # type: ignore[no-untyped-call]
        now = self._stage.clocks.stopwatch()
        kind = self._accesses if name == "AccessSecretVersion" else self._writes if name in _WRITES else self._reads
        windows = [kind]
        if name in {"AddSecretVersion", "UpdateSecret"}:
            windows.append(self._stage.windows.setdefault(secret_id, Window(1.0, SECRET_WRITES)))
        if not all(window.room(now) for window in windows):
            self._stage.road.refused += 1
            raise google_errors.ResourceExhausted("quota")  # type: ignore[no-untyped-call]
        for window in windows:
            window.take(now)
        try:
            return act()
        except ApiError as error:
            raise _ERRORS[error.status](error.message) from None

    def secrets(self, labels: Mapping[str, str], time: Deadline) -> Iterator[Secret]:
        wanted = labels.items()
        entries = self._service._entries
        keys = list(reversed(entries))  # newest first, as they were at the first page
        at = 0
        while True:
            page: list[Secret] = []
            self._call("list the secrets", lambda limit: self._reach(limit, "ListSecrets", lambda: None), time)
            while at < len(keys) and len(page) < PAGE_SIZE:
                entry = entries.get(keys[at])
                at += 1
                if entry is not None and wanted <= entry.secret.fields.get("labels", {}).items():
                    page.append(_secret(entry.secret))
            yield from page
            if not any(
                (entry := entries.get(key)) is not None and wanted <= entry.secret.fields.get("labels", {}).items()
                for key in keys[at:]
            ):
                return

    def get(self, secret_id: str, time: Deadline) -> Secret:
        def ask() -> Secret:
            return _secret(self._service._entry(self._number, secret_id).secret)

        return self._call("look", lambda limit: self._reach(limit, "GetSecret", ask), time)

    def create(
        self,
        secret_id: str,
        labels: Mapping[str, str],
        annotations: Mapping[str, str],
        time: Deadline,
        *,
        topic: str = "",  # noqa: ARG002
    ) -> Secret:
        message = {"replication": {"automatic": {}}, "labels": dict(labels), "annotations": dict(annotations)}

        def ask() -> Secret:
            self._service.create_secret(self._number, secret_id, message)
            return _secret(self._service._entries[self._number, secret_id].secret)

        return self._call("create", lambda limit: self._reach(limit, "CreateSecret", ask), time)

    def update(
        self,
        secret_id: str,
        labels: Mapping[str, str],
        annotations: Mapping[str, str],
        etag: str,
        time: Deadline,
        *,
        again: bool = True,
    ) -> Secret:
        message = {"labels": dict(labels), "annotations": dict(annotations), "etag": etag}

        def ask() -> Secret:
            self._service.update_secret(self._number, secret_id, message, "labels,annotations")
            return _secret(self._service._entries[self._number, secret_id].secret)

        return self._call(
            "change",
            lambda limit: self._reach(limit, "UpdateSecret", ask, secret_id),
            time,
            again=again,
            precondition=SecretChanged,
        )

    def delete(self, secret_id: str, etag: str, time: Deadline) -> None:
        def ask() -> None:
            self._service.delete_secret(self._number, secret_id, etag)
            self.live.pop(secret_id, None)

        self._call(
            "delete",
            lambda limit: self._reach(limit, "DeleteSecret", ask),
            time,
            precondition=SecretChanged,
        )

    def access(self, secret_id: str, version: int | str, time: Deadline) -> Version:
        def ask() -> Version:
            _, found = self._service._version(self._number, secret_id, str(version))
            if found.state != "ENABLED":
                raise ApiError("FAILED_PRECONDITION", found.state)
            return Version(found.number, found.sealed)

        return self._call(
            "read",
            lambda limit: self._reach(limit, "AccessSecretVersion", ask),
            time,
            precondition=SecretUnreadable,
        )

    def number(self, secret_id: str, version: int | str, time: Deadline) -> int:
        def ask() -> int:
            return self._service._version(self._number, secret_id, str(version))[1].number

        return self._call("look", lambda limit: self._reach(limit, "GetSecretVersion", ask), time)

    def add(self, secret_id: str, payload: bytes, time: Deadline) -> int:
        def ask() -> int:
            answer = self._service.add_version(self._number, secret_id, {"payload": {"data": payload}})
            self.live[secret_id] += 1
            return int(answer["name"].rpartition("/")[2])

        return self._call(
            "add", lambda limit: self._reach(limit, "AddSecretVersion", ask, secret_id), time, again=False
        )

    def versions(self, secret_id: str, time: Deadline) -> dict[int, bool]:
        found: dict[int, bool] = {}

        def ask() -> int:
            found.update(
                (number, version.state != "DESTROYED")
                for number, version in self._service._entry(self._number, secret_id).versions.items()
            )
            return len(found)

        pages = 1
        while pages * PAGE_SIZE < self._call("list", lambda limit: self._reach(limit, "ListSecretVersions", ask), time):
            pages += 1
        return found

    def destroy(self, secret_id: str, number: int, time: Deadline) -> None:
        def ask() -> None:
            self._service.change_state(self._number, secret_id, str(number), "DESTROYED", "")
            self.live[secret_id] -= 1

        try:
            self._call(
                "destroy",
                lambda limit: self._reach(limit, "DestroySecretVersion", ask),
                time,
                precondition=SecretUnreadable,
            )
        except (SecretUnreadable, SecretMissing):
            return

    def permitted(self, secret_id: str, permissions: Sequence[str], time: Deadline) -> frozenset[str]:
        def ask() -> frozenset[str]:
            there = self._service.exists(self._number, secret_id)
            return _PERMITTED & set(permissions) if there else frozenset()

        return self._call("ask", lambda limit: self._reach(limit, "TestIamPermissions", ask), time)


class NearTransport(Transport):
    """The simulated TikTok without its socket."""

    def __init__(self, stage: YearStage) -> None:
        super().__init__()
        self._stage = stage
        self._paths: dict[str, str] = {}
        self._second = stage.windows.setdefault("a second", Window(1.0, TIKTOK_QPS))
        self._minute = stage.windows.setdefault("a minute", Window(60.0, TIKTOK_A_MINUTE))

    def get(self, url: str, query: Mapping[str, str], headers: Mapping[str, str], seconds: float) -> Answer:
        return self._reach(url, _NearRequest(query, headers), seconds)

    def post(
        self,
        url: str,
        body: Mapping[str, object],
        seconds: float,
        *,
        fresh: bool = False,  # noqa: ARG002
    ) -> Answer:
        return self._reach(url, _NearRequest({}, {}, json.dumps(body).encode()), seconds)

    def _reach(self, url: str, request: _NearRequest, seconds: float) -> Answer:
        path = self._paths.get(url) or self._paths.setdefault(url, urlsplit(url).path)
        _, name, answer = ENDPOINTS[path]
        road = self._stage.road
        in_time = road.travel(road.tiktok_takes, seconds)

        def serve() -> Answer:
            road.calls[name] += 1
            if self._stage.weather.tiktok_away:
                return Answer(503, None)
            now = self._stage.clocks.stopwatch()
            if not self._second.room(now):
                return Answer(200, refused(40100))
            if not self._minute.room(now):
                return Answer(200, refused(40133))
            self._second.take(now)
            self._minute.take(now)
            try:
                return Answer(200, envelope(answer(self._stage.tiktok, cast("Request", request))))
            except Refusal as refusal:
                return Answer(200, refused(refusal.code, refusal.message))

        answered = road.hiccup(name) or _survive(self._stage, serve)
        if not in_time:
            raise TikTokSilent("TikTok did not answer in time")
        return answered


@dataclass(slots=True)
class _NearRequest:
    """What the simulated TikTok asks of a request."""

    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""

    def parameter(self, name: str, default: str = "") -> str:
        return self.query.get(name, default)


def _survive(stage: YearStage, act: Callable[[], T]) -> T:
    """Make a call, unless it is the one at which the process dies; see `QuickStage.in_place`."""
    fate = stage.fate
    fate.calls += 1
    if fate.calls == fate.at:
        fate.dead = True
        if fate.after:
            act()
        raise Died
    return act()


def _secret(kept: Any) -> Secret:
    return Secret(kept.id, kept.fields.get("labels", {}), kept.fields.get("annotations", {}), kept.etag)
