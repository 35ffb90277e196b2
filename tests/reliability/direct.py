"""The local servers without sockets: Secret Manager and TikTok as the functions get them passed in.

A call goes from the product straight to what the servers on sockets answer with, faults, quotas and delays included.
Left out are Google's client, HTTP and JSON, which take fifty times as long as all the rest and have tests of their own.
"""

from __future__ import annotations

import base64
import io
import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from email.message import Message
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

import requests
from google.api_core import exceptions as google_errors

from emulators.serving import Answer, Fault, LocalServer, Request
from local.tiktok.api import API_PATH, ENDPOINTS
from tokenkeeper import clock
from tokenkeeper.clock import Deadline
from tokenkeeper.errors import SecretChanged, SecretMissing, TikTokSilent, TikTokUnreachable, VersionUnreadable
from tokenkeeper.store.calls import Calls
from tokenkeeper.store.secretmanager import PAGE_SIZE, StoredSecret, Version
from tokenkeeper.tiktok import transport


class Died(BaseException):
    """The process is gone. Not an `Exception`, since no code of a dead process runs."""


@dataclass
class Process:
    """One process that the functions run in, and when it dies.

    Attributes:
        dies_at: The number of the call, from 1, at which it dies; 0 for never.
        of: Only calls whose name has this in it are counted.
        after: Whether that call takes place first; nobody sees its answer.
        calls: The calls so far.
        dead: Whether it has died: from then on no call leaves it.
    """

    dies_at: int = 0
    of: str = ""
    after: bool = False
    calls: int = 0
    dead: bool = False


@dataclass(frozen=True)
class Moment:
    """A moment in something that is under way.

    Attributes:
        call: The name of the call that is made.
        resource: The secret's name, or the path.
        skip: How many such calls came before.
        after: Whether the call has taken place and is not answered yet.
    """

    call: str
    resource: str
    skip: int
    after: bool = False

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} {self.call} {self.resource} ({self.skip + 1})"


@dataclass
class Wire:
    """All calls of all processes pass here: they take time, processes die at them, and other things happen meanwhile.

    Attributes:
        takes: By stand-in (`secrets`, `tiktok`), the shortest and the longest time that a call takes, in seconds.
        calls: Name and resource of each call.
        unreachable: Whether no connection to TikTok comes about.
    """

    takes: dict[str, tuple[float, float]] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    unreachable: bool = False
    _counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    _acts: dict[Moment, Callable[[], object]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _chance: random.Random = field(default_factory=lambda: random.Random(7))

    def at(self, moment: Moment, act: Callable[[], object]) -> None:
        """Have this happen at that moment, once, while the caller is held up."""
        self._acts[replace(moment, skip=self._counts[moment.call, moment.resource] + moment.skip)] = act

    def forget_moments(self) -> None:
        """Nothing happens at a moment that did not come."""
        self._acts.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.takes.clear()
        self.calls.clear()
        self._counts.clear()
        self._acts.clear()
        self.unreachable = False

    def carry(
        self, process: Process, server: LocalServer, moment: Moment, request: Request, limit: float
    ) -> tuple[Fault | None, Answer]:
        """Make one call within `limit` seconds.

        Raises:
            TimeoutError: it was done, and the answer came too late.
        """
        with self._lock:
            if process.dead:
                raise Died
            counted = process.of in moment.call
            process.calls += counted
            dies = process.dead = counted and process.calls == process.dies_at
            key = (moment.call, moment.resource)
            moment = replace(moment, skip=self._counts[key])
            self._counts[key] += 1
            self.calls.append(key)
        if dies and not process.after:
            raise Died
        self._happen(moment)
        if process.dead and not dies:
            raise Died
        takes = self._chance.uniform(*self.takes.get("tiktok" if API_PATH in request.path else "secrets", (0.0, 0.0)))
        if takes:
            clock.sleep(min(takes, limit))
        found = server.respond(request)
        if dies:
            raise Died
        self._happen(replace(moment, after=True))
        if process.dead:
            raise Died
        if takes > limit:
            raise TimeoutError
        return found

    def _happen(self, moment: Moment) -> None:
        act = self._acts.pop(moment, None)
        if act is not None:
            act()


class DirectSecretManager:
    """The embedded Secret Manager as `store.vault.Vault` gets it passed in: see `SecretManager`."""

    def __init__(self, wire: Wire, process: Process, server: LocalServer, project: str) -> None:
        self.project = project
        self._wire, self._process, self._server = wire, process, server
        self._calls = Calls(project)

    @property
    def throttled(self) -> bool:
        return self._calls.throttled

    def list(self, name_part: str, deadline: Deadline) -> Iterator[StoredSecret]:
        for page in self._pages("ListSecrets", "", "", {"filter": f"name:{name_part}"}, deadline):
            yield from map(_stored, page.get("secrets", ()))

    def get(self, secret_id: str, deadline: Deadline) -> StoredSecret:
        return _stored(self._call("GetSecret", "GET", secret_id, f"/{secret_id}", deadline))

    def create(
        self, secret_id: str, labels: Mapping[str, str], annotations: Mapping[str, str], deadline: Deadline
    ) -> StoredSecret:
        body = {"replication": {"automatic": {}}, "labels": dict(labels), "annotations": dict(annotations)}
        query = {"secretId": secret_id}
        return _stored(self._call("CreateSecret", "POST", secret_id, "", deadline, query, body))

    def update(self, secret: StoredSecret, deadline: Deadline, *, retry: bool = True) -> StoredSecret:
        body = {"labels": dict(secret.labels), "annotations": dict(secret.annotations), "etag": secret.etag}
        path, query = f"/{secret.id}", {"updateMask": "labels,annotations"}
        how: dict[str, Any] = {"retry": retry, "precondition": SecretChanged}
        return _stored(self._call("UpdateSecret", "PATCH", secret.id, path, deadline, query, body, **how))

    def delete(self, secret_id: str, etag: str, deadline: Deadline) -> None:
        query = {"etag": etag} if etag else {}
        self._call("DeleteSecret", "DELETE", secret_id, f"/{secret_id}", deadline, query, precondition=SecretChanged)

    def access(self, secret_id: str, version: int | str, deadline: Deadline) -> Version:
        path = f"/{secret_id}/versions/{version}:access"
        found = self._call("AccessSecretVersion", "GET", secret_id, path, deadline, precondition=VersionUnreadable)
        return Version(_number(found["name"]), base64.b64decode(found["payload"]["data"]))

    def number(self, secret_id: str, version: int | str, deadline: Deadline) -> int:
        path = f"/{secret_id}/versions/{version}"
        return _number(self._call("GetSecretVersion", "GET", secret_id, path, deadline)["name"])

    def add(self, secret_id: str, payload: bytes, deadline: Deadline) -> int:
        path, body = f"/{secret_id}:addVersion", {"payload": {"data": base64.b64encode(payload).decode()}}
        added = self._call("AddSecretVersion", "POST", secret_id, path, deadline, {}, body, retry=False)
        return _number(added["name"])

    def versions(self, secret_id: str, deadline: Deadline) -> dict[int, bool]:
        found: dict[int, bool] = {}
        for page in self._pages("ListSecretVersions", secret_id, f"/{secret_id}/versions", {}, deadline):
            found |= {_number(one["name"]): one["state"] != "DESTROYED" for one in page.get("versions", ())}
        return found

    def destroy(self, secret_id: str, number: int, deadline: Deadline) -> None:
        path, gone = f"/{secret_id}/versions/{number}:destroy", VersionUnreadable
        with suppress(gone, SecretMissing):
            self._call("DestroySecretVersion", "POST", secret_id, path, deadline, {}, {}, precondition=gone)

    def permissions(self, secret_id: str, wanted: Sequence[str], deadline: Deadline) -> frozenset[str]:
        path, body = f"/{secret_id}:testIamPermissions", {"permissions": [*wanted]}
        held = self._call("TestIamPermissions", "POST", secret_id, path, deadline, {}, body)
        return frozenset(held.get("permissions", ()))

    def _pages(
        self, call: str, secret_id: str, path: str, query: Mapping[str, str], deadline: Deadline
    ) -> Iterator[Mapping[str, Any]]:
        token: str | None = ""
        while token is not None:
            page = self._call(
                call, "GET", secret_id, path, deadline, {**query, "pageSize": str(PAGE_SIZE), "pageToken": token}
            )
            yield page
            token = page.get("nextPageToken") or None

    def _call(
        self,
        call: str,
        method: str,
        secret_id: str,
        path: str,
        deadline: Deadline,
        query: Mapping[str, str] = MappingProxyType({}),
        body: Mapping[str, Any] | None = None,
        **how: Any,
    ) -> Mapping[str, Any]:
        """Make one call; `path` is what comes after that of all secrets, and `how` goes to `Calls.make`."""
        content = b"" if body is None else json.dumps(body).encode()
        address = f"/v1/projects/{self.project}/secrets{path}"
        request = Request(method, address, urlencode(query), Message(), content)

        def attempt(limit: float) -> Mapping[str, Any]:
            moment = Moment(call, secret_id, 0)
            try:
                fault, answer = self._wire.carry(self._process, self._server, moment, request, limit)
            except TimeoutError:
                raise requests.exceptions.ReadTimeout from None
            if fault is not None and fault.do in {"drop", "truncate"}:
                raise requests.exceptions.ConnectionError
            if answer.status >= 400:
                raise google_errors.from_http_response(_response(request, answer))  # type: ignore[no-untyped-call]
            return dict(json.loads(answer.payload))

        return self._calls.make(f"{call} of {secret_id}", secret_id, attempt, deadline, **how)


class DirectTransport:
    """The simulated TikTok as `tiktok.families.TikTok` gets it passed in: see `Transport`."""

    def __init__(self, wire: Wire, process: Process, server: LocalServer) -> None:
        self._wire, self._process, self._server = wire, process, server

    def get(
        self, path: str, query: Mapping[str, str], headers: Mapping[str, str], seconds: float, _largest: int
    ) -> transport.Answer:
        fields = Message()
        for name, value in headers.items():
            fields[name] = value
        return self._send(Request("GET", API_PATH + path, urlencode(query), fields, b""), seconds)

    def post(
        self, path: str, body: Mapping[str, object], seconds: float, _largest: int, **_how: object
    ) -> transport.Answer:
        return self._send(Request("POST", API_PATH + path, "", Message(), json.dumps(body).encode()), seconds)

    def _send(self, request: Request, seconds: float) -> transport.Answer:
        if self._wire.unreachable:
            raise TikTokUnreachable("TikTok could not be reached (ConnectionError)")
        moment = Moment(ENDPOINTS[request.path][1], "", 0)
        try:
            fault, answer = self._wire.carry(self._process, self._server, moment, request, seconds)
        except TimeoutError:
            raise TikTokSilent("TikTok did not answer in time") from None
        if fault is not None and fault.do in {"drop", "truncate"}:
            raise TikTokSilent("The connection to TikTok broke")
        try:
            document = json.loads(answer.payload)
        except ValueError:
            document = None
        return transport.Answer(answer.status, document if isinstance(document, dict) else None)


def _response(request: Request, answer: Answer) -> requests.Response:
    response = requests.Response()
    response.status_code, response.raw = answer.status, io.BytesIO(answer.payload)
    response.request = requests.Request(request.method, f"http://secretmanager{request.path}").prepare()
    return response


def _stored(secret: Mapping[str, Any]) -> StoredSecret:
    annotations = dict(secret.get("annotations", {}))
    return StoredSecret(secret["name"].rpartition("/")[2], dict(secret.get("labels", {})), annotations, secret["etag"])


def _number(name: str) -> int:
    return int(name.rpartition("/")[2])
