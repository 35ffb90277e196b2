"""A Terraform provider that makes nothing: real Terraform can validate, plan and apply `infra/gcp` against it, offline.

It knows every resource of `schema.json`, the real provider's schema, makes up what a cloud would answer, and behaves as
the real one was seen to: what exists cannot be made again, an update that fails leaves the planned values in the state,
Google's copy of a function's source is never compared, and a function that is replaced has lost who may call it.
Terraform finds it by TF_REATTACH_PROVIDERS, made for debugging.
"""

# ruff: noqa: N802 - the protocol's names

import copy
import json
import os
import re
import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
from msgpack import ExtType, packb, unpackb  # type: ignore[import-untyped]

from gcp.configuration import SCHEMA, filled_in
from gcp.plugin import UNKNOWN, Value, handlers, message

PROVIDERS = ("archive", "google", "google-beta")
OPTIONAL = {"project": "string", "region": "string", "default_labels": ["map", "string"]}
SETTINGS = {"attributes": {name: {"type": kind, "optional": True} for name, kind in OPTIONAL.items()}}
NESTING = {"single": 1, "list": 2, "set": 3}

FUNCTION = "google_cloudfunctions2_function"
INVOKER = "google_cloud_run_v2_service_iam_member"
# By which the cloud tells two things of a type apart.
NAMES = (
    *("account_id", "secret_id", "role_id", "repository_id", "display_name", "service", "name", "location", "region"),
    *("role", "member"),
)
# What there can be many of by the same names.
REPEATABLE = re.compile(
    r"_iam_member$|_monitoring_|_project_service$|_service_identity$|_audit_config$|_bucket_object$"
)


@dataclass
class Cloud:
    """What the cloud has, how it is to behave, and a method for each call of the protocol."""

    things: dict[str, dict[str, Value]] = field(default_factory=dict)  # by type and names
    refuse: list[list[Any]] = field(default_factory=list)  # pattern over "create TYPE NAME", what is said, how often
    held: str = "(?!)"  # what fits this pattern is not done before `release` is set
    release: threading.Event = field(default_factory=threading.Event)
    applied: list[str] = field(default_factory=list)  # "create TYPE NAME" of everything that was begun
    file: Path | None = None  # where the functions are written as gcloud describes them
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @contextmanager
    def running(self) -> Iterator[dict[str, str]]:
        """Serve it; yields the environment variables by which Terraform finds it."""
        server = grpc.server(futures.ThreadPoolExecutor(16))
        server.add_generic_rpc_handlers((handlers(self),))
        address = {"Network": "tcp", "String": f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"}
        server.start()
        how = {"Protocol": "grpc", "ProtocolVersion": 5, "Pid": os.getpid(), "Test": True, "Addr": address}
        try:
            yield {"TF_REATTACH_PROVIDERS": json.dumps({f"hashicorp/{name}": how for name in PROVIDERS})}
        finally:
            server.stop(0).wait()

    def change(self, pattern: str, **things: dict[str, Value]) -> None:
        """Let things be gone whose keys fit a pattern, and others be there; gcloud hears what functions there are."""
        with self._lock:
            for key in [key for key in self.things if re.search(pattern, key)]:
                del self.things[key]
            self.things |= things
            if self.file:
                functions = [thing for key, thing in self.things.items() if key.startswith(FUNCTION)]
                self.file.write_text(json.dumps({thing["name"]: _described(thing) for thing in functions}))

    def GetSchema(self, _: Any) -> Any:
        answer = message("Schemas")()
        answer.provider.block.CopyFrom(_block(SETTINGS))
        for kind, schemas in {"resources": answer.resource_schemas, "data": answer.data_source_schemas}.items():
            for name, block in SCHEMA[kind].items():
                schemas[name].block.CopyFrom(_block(block))
        return answer

    def PrepareProviderConfig(self, request: Any) -> Any:
        return message("Two")(value=request.config)

    def ValidateResourceTypeConfig(self, request: Any) -> Any:
        answer = message("Validated")()
        attributes = SCHEMA["resources"][request.type_name]["attributes"]
        for name, value in unpackb(request.config.msgpack).items():
            if value is not None and name in attributes and not attributes[name].keys() & {"optional", "required"}:
                answer.diagnostics.add(severity=1, summary=f"{name} cannot be set")
        return answer

    def Configure(self, _: Any) -> Any:
        return message("Nothing")()

    ValidateDataSourceConfig = Stop = Configure

    def UpgradeResourceState(self, request: Any) -> Any:
        return message("Two")(value={"json": request.raw_state.json})

    def ReadResource(self, request: Any) -> Any:
        state = unpackb(request.current_state.msgpack)
        there = copy.deepcopy(self.things.get(key_of(request.type_name, state)))
        if there and request.type_name == FUNCTION:  # Google tells of its own copy of the source, never compared
            there["build_config"][0]["source"] = state["build_config"][0]["source"]
        return message("Two")(value={"msgpack": packb(there)})

    def ReadDataSource(self, request: Any) -> Any:
        kind = request.type_name
        found = _filled(kind, SCHEMA["data"][kind], unpackb(request.config.msgpack), known=True)
        return message("Two")(value={"msgpack": packb(found)})

    def ImportResourceState(self, request: Any) -> Any:
        own = re.split(r"[/ ]", request.id)[-1].partition("@")[0]
        found = [thing for key, thing in self.things.items() if key.split()[:2] == [request.type_name, own]]
        answer = message("ImportedAll")()
        for thing in found:
            answer.resources.add(type_name=request.type_name).state.msgpack = packb(thing)
        return answer

    def PlanResourceChange(self, request: Any) -> Any:
        planned, prior = unpackb(request.proposed_new_state.msgpack), unpackb(request.prior_state.msgpack)
        kind = request.type_name
        answer = message("Planned")(legacy_type_system=True)
        if planned is not None and prior is None:
            planned = _filled(kind, SCHEMA["resources"][kind], planned, known=False)
        answer.value.msgpack = packb(planned)
        return answer

    def ApplyResourceChange(self, request: Any) -> Any:
        kind = request.type_name
        made, prior = (unpackb(state.msgpack) for state in (request.planned_state, request.prior_state))
        answer = message("Applied")(legacy_type_system=True)
        refusal = self._refusal(kind, prior, made)
        if refusal:
            answer.diagnostics.add(severity=1, summary=refusal)
            if made is None or (prior is None and kind != FUNCTION):
                made = prior
        if made is not None:
            made = _filled(kind, SCHEMA["resources"][kind], made, known=True)
            if not refusal or prior is None:
                self.change("(?!)", **{key_of(kind, made): {**made, **({"state": "FAILED"} if refusal else {})}})
        elif not refusal:
            callers = f"|^{INVOKER} {prior['name']} " if kind == FUNCTION else ""
            self.change(f"^{re.escape(key_of(kind, prior))}${callers}")
        answer.value.msgpack = packb(made)
        return answer

    def _refusal(self, kind: str, prior: dict[str, Value] | None, made: dict[str, Value] | None) -> str:
        """What the cloud says against doing that; empty: nothing."""
        thing = made or prior or {}
        what = f"{'create' if prior is None else 'update' if made else 'delete'} {key_of(kind, thing)}"
        with self._lock:
            self.applied.append(what)
            rule = next((rule for rule in self.refuse if re.search(rule[0], what) and rule[2] > 0), None)
            if rule:
                rule[2] -= 1
        if re.search(self.held, what):
            self.release.wait()
        if prior is None and key_of(kind, thing) in self.things and not REPEATABLE.search(kind):
            return f"Error creating {kind}: googleapi: Error 409: '{thing.get('name')}' already exists, alreadyExists"
        return str(rule[1]) if rule else ""


def key_of(kind: str, value: dict[str, Value]) -> str:
    """By which the cloud knows a thing."""
    names = [value[name] for name in NAMES if isinstance(value.get(name), str)]
    return " ".join([kind, *names, *(condition["title"] for condition in value.get("condition") or [])])


def _filled(kind: str, block: dict[str, Any], value: dict[str, Value], *, known: bool) -> dict[str, Value]:
    """With what Google would add to it, or with that left unknown."""
    filled = dict(value)
    for name, attribute in block.get("attributes", {}).items():
        if attribute.get("computed") and (filled.get(name) is None or isinstance(filled.get(name), ExtType)):
            text = attribute["type"] == "string"
            filled[name] = (filled_in(kind, name, filled) if text else None) if known else UNKNOWN
    for name, inner in block.get("block_types", {}).items():
        if inner["nesting_mode"] != "single":  # that is "timeouts" only
            filled[name] = [_filled(kind, inner["block"], item, known=known) for item in filled.get(name) or []]
    return filled


def _block(block: dict[str, Any]) -> Any:
    made = message("Block")()
    for name, attribute in block.get("attributes", {}).items():
        flags = {flag: attribute.get(flag, False) for flag in ("required", "optional", "computed", "sensitive")}
        made.attributes.add(name=name, type=json.dumps(attribute["type"]).encode(), **flags)
    for name, inner in block.get("block_types", {}).items():
        nested = made.block_types.add(type_name=name, nesting=NESTING[inner["nesting_mode"]])
        # The limits of a set or list; a single block has none.
        nested.min_items, nested.max_items = inner.get("min_items", 0), inner.get("max_items", 0)
        nested.block.CopyFrom(_block(inner["block"]))
    return made


def _described(function: dict[str, Value]) -> dict[str, Any]:
    """A function as Google's API has it."""
    (build,), (service,) = function["build_config"], function["service_config"]
    secrets = [{key: entry[key] for key in ("key", "secret")} for entry in service["secret_environment_variables"]]
    return {
        "name": f"projects/{function['project']}/locations/{function['location']}/functions/{function['name']}",
        "state": "FAILED" if function.get("state") == "FAILED" else "ACTIVE",
        "buildConfig": {"environmentVariables": build["environment_variables"]},
        "serviceConfig": {
            "uri": service["uri"],
            "environmentVariables": service["environment_variables"],
            "secretEnvironmentVariables": secrets,
        },
    }
