"""Version 5 of Terraform's plugin protocol (tfplugin5.proto of its sources), as far as a stub provider needs it."""

from __future__ import annotations

from typing import Any

import grpc  # type: ignore[import-untyped]
import msgpack  # type: ignore[import-untyped]
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory


class Unknown:
    """A value that is known after apply."""


UNKNOWN = Unknown()
Value = Any

# --- the protocol's messages, as far as they are needed; several that look alike share one ---

_FIELDS: dict[str, list[tuple[int, str, str]]] = {
    "Nothing": [],
    "Dynamic": [(1, "msgpack", "bytes"), (2, "json", "bytes")],
    "Attribute": [
        *((1, "name", "string"), (2, "type", "bytes"), (4, "required", "bool"), (5, "optional", "bool")),
        *((6, "computed", "bool"), (7, "sensitive", "bool")),
    ],
    "NestedBlock": [
        *((1, "type_name", "string"), (2, "block", "Block"), (3, "nesting", "int64"), (4, "min_items", "int64")),
        (5, "max_items", "int64"),
    ],
    "Block": [(1, "version", "int64"), (2, "attributes", "Attribute*"), (3, "block_types", "NestedBlock*")],
    "Schema": [(1, "version", "int64"), (2, "block", "Block")],
    "Schemas": [
        *((1, "provider", "Schema"), (2, "resource_schemas", "Schema{}"), (3, "data_source_schemas", "Schema{}")),
        (8, "ephemeral_resource_schemas", "Schema{}"),
    ],
    "Config": [(1, "config", "Dynamic")],
    "Typed": [(1, "type_name", "string"), (2, "config", "Dynamic")],
    "Raw": [(1, "json", "bytes")],
    "Upgrade": [(1, "type_name", "string"), (2, "version", "int64"), (3, "raw_state", "Raw")],
    "Read": [(1, "type_name", "string"), (2, "current_state", "Dynamic")],
    "Plan": [(1, "type_name", "string"), (2, "prior_state", "Dynamic"), (3, "proposed_new_state", "Dynamic")],
    "Apply": [(1, "type_name", "string"), (2, "prior_state", "Dynamic"), (3, "planned_state", "Dynamic")],
    "Two": [(1, "value", "Dynamic")],
    "Step": [(1, "attribute_name", "string")],
    "Path": [(1, "steps", "Step*")],
    "Diagnostic": [(1, "severity", "int64"), (2, "summary", "string"), (3, "detail", "string")],
    "Planned": [(1, "value", "Dynamic"), (2, "requires_replace", "Path*"), (5, "legacy_type_system", "bool")],
    "Applied": [(1, "value", "Dynamic"), (3, "diagnostics", "Diagnostic*"), (4, "legacy_type_system", "bool")],
    "Import": [(1, "type_name", "string"), (2, "id", "string")],
    "Imported": [(1, "type_name", "string"), (2, "state", "Dynamic")],
    "ImportedAll": [(1, "resources", "Imported*"), (2, "diagnostics", "Diagnostic*")],
    "Opened": [(3, "result", "Dynamic")],
}
_REQUESTS = {
    "GetSchema": "Nothing",
    "PrepareProviderConfig": "Config",
    "ValidateResourceTypeConfig": "Typed",
    "ValidateDataSourceConfig": "Typed",
    "Configure": "Nothing",
    "Stop": "Nothing",
    "UpgradeResourceState": "Upgrade",
    "ReadResource": "Read",
    "PlanResourceChange": "Plan",
    "ApplyResourceChange": "Apply",
    "ReadDataSource": "Typed",
    "ImportResourceState": "Import",
    "ValidateEphemeralResourceConfig": "Typed",
    "OpenEphemeralResource": "Typed",
    "CloseEphemeralResource": "Nothing",
}


def _messages() -> dict[str, Any]:
    field = descriptor_pb2.FieldDescriptorProto
    scalars = {
        "string": field.TYPE_STRING,
        "bytes": field.TYPE_BYTES,
        "bool": field.TYPE_BOOL,
        "int64": field.TYPE_INT64,
    }
    file = descriptor_pb2.FileDescriptorProto(name="stub.proto", package="stub", syntax="proto3")
    for name, fields in _FIELDS.items():
        made_of = file.message_type.add(name=name)
        for number, own, kind in fields:
            many = kind.endswith(("*", "{}"))
            of = kind.removesuffix("*").removesuffix("{}")
            made = made_of.field.add(name=own, number=number, label=3 if many else 1)
            if of in scalars:
                made.type = scalars[of]
                continue
            made.type = field.TYPE_MESSAGE
            made.type_name = f".stub.{of}"
            if kind.endswith("{}"):
                entry = made_of.nested_type.add(name=f"{own.title().replace('_', '')}Entry")
                entry.options.map_entry = True
                entry.field.add(name="key", number=1, label=1, type=field.TYPE_STRING)
                entry.field.add(name="value", number=2, label=1, type=field.TYPE_MESSAGE, type_name=f".stub.{of}")
                made.type_name = f".stub.{name}.{entry.name}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"stub.{name}")) for name in _FIELDS}


_MESSAGES = _messages()


def message(name: str) -> Any:
    """The class of a message."""
    return _MESSAGES[name]


class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Serves a provider: an object with a method for each call of the protocol."""

    def __init__(self, provider: object) -> None:
        self._provider = provider

    def service(self, details: Any) -> Any:
        """The method that answers one call."""
        service, _, name = details.method.lstrip("/").partition("/")
        if service != "tfplugin5.Provider" or name not in _REQUESTS:
            return None
        answer = getattr(self._provider, name)
        return grpc.unary_unary_rpc_method_handler(
            lambda request, _: answer(request),
            request_deserializer=message(_REQUESTS[name]).FromString,
            response_serializer=lambda answered: answered.SerializeToString(),
        )


# --- MessagePack, in which an extension is a value that is not known yet ---


def pack(value: Value) -> bytes:
    """One value as MessagePack."""
    return bytes(msgpack.packb(value, default=lambda _: msgpack.ExtType(0, b"\0")))


def unpack(data: bytes) -> Value:
    """The value that some MessagePack holds."""
    return msgpack.unpackb(data, ext_hook=lambda *_: UNKNOWN)
