"""A Terraform provider that makes nothing: real Terraform can validate, plan and apply `infra/gcp` against it, offline.

It knows every resource of `schema.json`, the real provider's schema, takes whatever it is given, and makes up what a
cloud would answer. With a `Memory` it behaves as the real one was seen to: what exists cannot be made again, an update
that fails leaves the planned values in the state, Google's copy of a function's source is never compared, and a
function that is replaced has lost who may call it. Terraform finds it by TF_REATTACH_PROVIDERS, made for debugging.
"""

from __future__ import annotations

import copy
import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]

from gcp.plugin import UNKNOWN, Handler, Unknown, Value, message, pack, unpack

SCHEMA = Path(__file__).with_name("schema.json")
PROVIDERS = ("archive", "google", "google-beta")
SETTINGS = {"project": "string", "region": "string", "default_labels": {"type": ["map", "string"], "optional": True}}

FUNCTION = "google_cloudfunctions2_function"
INVOKER = "google_cloud_run_v2_service_iam_member"
# By which the cloud tells two things of a type apart; a change of one of these replaces a thing.
NAMES = (
    *("account_id", "secret_id", "role_id", "repository_id", "display_name", "service", "name", "location", "region"),
    *("role", "member"),
)
# What there can be many of by the same names.
REPEATABLE = re.compile(
    r"_iam_member$|_monitoring_|_project_service$|_service_identity$|_audit_config$|_bucket_object$"
)

Cloud = Callable[[str, str, dict[str, Value]], Value]


@dataclass
class Memory:
    """What the cloud has, and how it is to behave.

    Attributes:
        things: by type and names.
        refuse: pattern over "create TYPE NAME", what is said, and how often.
        held: what fits this pattern is not done before `release` is set.
        applied: "create TYPE NAME" of everything that was begun.
        file: where the functions are written as gcloud describes them.
    """

    things: dict[str, dict[str, Value]] = field(default_factory=dict)
    refuse: list[list[Any]] = field(default_factory=list)
    held: str = "(?!)"
    release: threading.Event = field(default_factory=threading.Event)
    applied: list[str] = field(default_factory=list)
    file: Path | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def refusal(self, what: str) -> str:
        """What is said against doing that; empty: nothing."""
        for rule in self.refuse:
            if re.search(rule[0], what) and rule[2] > 0:
                rule[2] -= 1
                return str(rule[1])
        return ""

    def forget(self, pattern: str) -> None:
        """Let things be gone that were deleted by hand, and what hung on them."""
        with self.lock:
            self.things = {key: thing for key, thing in self.things.items() if not re.search(pattern, key)}
            self._write()

    def keep(self, key: str, thing: dict[str, Value]) -> None:
        """Let the cloud have a thing in this state."""
        with self.lock:
            self.things[key] = thing
            self._write()

    def _write(self) -> None:
        """Let the stand-in for gcloud know what functions there are."""
        if self.file:
            told = {value["name"]: _described(value) for key, value in self.things.items() if key.startswith(FUNCTION)}
            self.file.write_text(json.dumps(told))


def key_of(kind: str, value: dict[str, Value]) -> str:
    """By which the cloud knows a thing."""
    names = [value[name] for name in NAMES if isinstance(value.get(name), str)]
    return " ".join([kind, *names, *(condition["title"] for condition in value.get("condition") or [])])


@contextmanager
def running(cloud: Cloud, memory: Memory | None = None) -> Iterator[dict[str, str]]:
    """Run the provider; yields the environment variables by which Terraform finds it.

    Args:
        cloud: Makes up the value of an attribute after apply, from the resource's type, the attribute's name and what
            is known of the resource or block.
        memory: What the cloud has; without it, everything is as the state says.
    """
    server = grpc.server(futures.ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers((Handler(_Provider(cloud, memory)),))
    address = {"Network": "tcp", "String": f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"}
    server.start()
    how = {"Protocol": "grpc", "ProtocolVersion": 5, "Pid": os.getpid(), "Test": True, "Addr": address}
    try:
        yield {"TF_REATTACH_PROVIDERS": json.dumps({f"hashicorp/{name}": how for name in PROVIDERS})}
    finally:
        server.stop(0).wait()


class _Provider:
    def __init__(self, cloud: Cloud, memory: Memory | None) -> None:
        self._cloud = cloud
        self._memory = memory
        self._schema = json.loads(SCHEMA.read_text())

    def GetSchema(self, _: Any) -> Any:  # noqa: N802 - the protocol's names
        answer = message("Schemas")()
        answer.provider.block.CopyFrom(_block({"attributes": SETTINGS}))
        for kind, schemas in {"resources": answer.resource_schemas, "data": answer.data_source_schemas}.items():
            for name, block in self._schema[kind].items():
                schemas[name].block.CopyFrom(_block(block))
        return answer

    def PrepareProviderConfig(self, request: Any) -> Any:  # noqa: N802
        return message("Two")(value=request.config)

    def ValidateResourceTypeConfig(self, request: Any) -> Any:  # noqa: N802
        answer = message("Validated")()
        attributes = self._schema["resources"][request.type_name]["attributes"]
        for name, value in unpack(request.config.msgpack).items():
            if value is not None and not _attribute(attributes.get(name, "")).keys() & {"optional", "required"}:
                answer.diagnostics.add(severity=1, summary=f"{name} cannot be set")
        return answer

    def Configure(self, _: Any) -> Any:  # noqa: N802
        return message("Nothing")()

    ValidateDataSourceConfig = Stop = Configure

    def UpgradeResourceState(self, request: Any) -> Any:  # noqa: N802
        return message("Two")(value={"json": request.raw_state.json})

    def ReadResource(self, request: Any) -> Any:  # noqa: N802
        state = unpack(request.current_state.msgpack)
        return _two(self._read(request.type_name, state) if self._memory else state)

    def ReadDataSource(self, request: Any) -> Any:  # noqa: N802
        return _two(
            self._filled(
                request.type_name, self._schema["data"][request.type_name], unpack(request.config.msgpack), known=True
            )
        )

    def ImportResourceState(self, request: Any) -> Any:  # noqa: N802
        assert self._memory
        own = re.split(r"[/ ]", request.id)[-1].partition("@")[0]
        found = next((v for k, v in self._memory.things.items() if k.split()[:2] == [request.type_name, own]), None)
        answer = message("ImportedAll")()
        if found is None:
            answer.diagnostics.add(severity=1, summary=f"Cannot import {request.id}: it does not exist")
        else:
            answer.resources.add(type_name=request.type_name).state.msgpack = pack(found)
        return answer

    def PlanResourceChange(self, request: Any) -> Any:  # noqa: N802
        planned, prior = unpack(request.proposed_new_state.msgpack), unpack(request.prior_state.msgpack)
        kind = request.type_name
        answer = message("Planned")(legacy_type_system=True)
        if planned is not None and prior is None:
            planned = self._filled(kind, self._schema["resources"][kind], planned, known=False)
        elif planned is not None:
            for name in NAMES:
                if not isinstance(planned.get(name), Unknown) and planned.get(name) != prior.get(name):
                    answer.requires_replace.add().steps.add(attribute_name=name)
        answer.value.msgpack = pack(planned)
        return answer

    def ApplyResourceChange(self, request: Any) -> Any:  # noqa: N802
        kind, made, prior = (
            request.type_name,
            unpack(request.planned_state.msgpack),
            unpack(request.prior_state.msgpack),
        )
        answer = message("Applied")(legacy_type_system=True)
        refusal = self._change(kind, prior, made) if self._memory else ""
        if refusal:
            answer.diagnostics.add(severity=1, summary=refusal)
            if made is None or (prior is None and kind != FUNCTION):
                made = prior
        if made is not None:
            made = self._filled(kind, self._schema["resources"][kind], made, known=True)
        if self._memory and made is not None and (not refusal or prior is None):
            self._memory.keep(key_of(kind, made), {**made, **({"state": "FAILED"} if refusal else {})})
        answer.value.msgpack = pack(made)
        return answer

    def _read(self, kind: str, state: dict[str, Value]) -> dict[str, Value] | None:
        assert self._memory
        there = copy.deepcopy(self._memory.things.get(key_of(kind, state)))
        if there and kind == FUNCTION:  # Google tells of its own copy of the source, which the provider never compares
            there["build_config"][0]["source"] = state["build_config"][0]["source"]
        return there

    def _change(self, kind: str, prior: dict[str, Value] | None, made: dict[str, Value] | None) -> str:
        """Let the cloud do it; returns what it says against it."""
        assert self._memory
        memory, thing = self._memory, made or prior or {}
        key = key_of(kind, thing)
        what = f"{'create' if prior is None else 'update' if made else 'delete'} {key}"
        with memory.lock:
            memory.applied.append(what)
            refusal = memory.refusal(what)
        if re.search(memory.held, what):
            memory.release.wait()
        if prior is None and key in memory.things and not REPEATABLE.search(kind):
            return f"Error creating {kind}: googleapi: Error 409: '{thing.get('name')}' already exists, alreadyExists"
        if made is None and not refusal:
            callers = f"|^{INVOKER} {thing['name']} " if kind == FUNCTION else ""
            memory.forget(f"^{re.escape(key)}${callers}")
        return refusal

    def _filled(self, kind: str, block: dict[str, Any], value: dict[str, Value], *, known: bool) -> dict[str, Value]:
        filled = dict(value)
        for name, described in block.get("attributes", {}).items():
            attribute = _attribute(described)
            if attribute.get("computed") and (filled.get(name) is None or isinstance(filled.get(name), Unknown)):
                text = attribute["type"] == "string"
                filled[name] = (self._cloud(kind, name, filled) if text else None) if known else UNKNOWN
        for name, inner in block.get("block_types", {}).items():
            if inner["nesting_mode"] != "single":  # that is "timeouts" only
                filled[name] = [
                    self._filled(kind, inner["block"], item, known=known) for item in filled.get(name) or []
                ]
        return filled


def _attribute(described: Any) -> dict[str, Any]:
    """An attribute as Terraform's own schemas describe it; "string computed" and the like are short for that."""
    if isinstance(described, dict):
        return described
    kind, _, flag = described.partition(" ")
    return {"type": kind, flag or "optional": True}


def _two(value: Value) -> Any:
    return message("Two")(value={"msgpack": pack(value)})


def _block(block: dict[str, Any]) -> Any:
    made = message("Block")()
    for name, described in block.get("attributes", {}).items():
        attribute = _attribute(described)
        flags = {flag: attribute.get(flag, False) for flag in ("required", "optional", "computed", "sensitive")}
        made.attributes.add(name=name, type=json.dumps(attribute["type"]).encode(), **flags)
    for name, inner in block.get("block_types", {}).items():
        nested = made.block_types.add(type_name=name, nesting={"single": 1, "list": 2, "set": 3}[inner["nesting_mode"]])
        # The limits of a set or list; a single block has none.
        nested.min_items, nested.max_items = inner.get("min_items", 0), inner.get("max_items", 0)
        nested.block.CopyFrom(_block(inner["block"]))
    return made


def _described(function: dict[str, Value]) -> dict[str, Any]:
    """A function as Google's API has it."""
    (build,), (service,) = function["build_config"], function["service_config"]
    secrets = [{key: entry[key] for key in ("key", "secret")} for entry in service["secret_environment_variables"]]
    return {
        "name": function["name"],
        "state": function.get("state") if function.get("state") == "FAILED" else "ACTIVE",
        "buildConfig": {"environmentVariables": build["environment_variables"]},
        "serviceConfig": {
            "uri": service["uri"],
            "environmentVariables": service["environment_variables"],
            "secretEnvironmentVariables": secrets,
        },
    }
