"""Version 5 of Terraform's plugin protocol (tfplugin5.proto of its sources), as far as a stub provider needs it."""

from __future__ import annotations

import struct
from typing import Any

import grpc  # type: ignore[import-untyped]
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


# --- MessagePack, as far as Terraform uses it; the extension of type 0 is a value that is not known yet ---


def pack(value: Value) -> bytes:
    """One value as MessagePack, in the longest form of each kind: Terraform reads all of them."""
    match value:
        case None:
            return b"\xc0"
        case Unknown():
            return b"\xd4\x00\x00"
        case bool():
            return b"\xc3" if value else b"\xc2"
        case int():
            return b"\xd3" + struct.pack(">q", value)
        case float():
            return b"\xcb" + struct.pack(">d", value)
        case str():
            data = value.encode()
            return b"\xdb" + struct.pack(">I", len(data)) + data
        case list():
            return b"\xdd" + struct.pack(">I", len(value)) + b"".join(pack(item) for item in value)
        case dict():
            pairs = b"".join(pack(key) + pack(item) for key, item in value.items())
            return b"\xdf" + struct.pack(">I", len(value)) + pairs
    raise TypeError(type(value))


def unpack(data: bytes) -> Value:
    """The value that some MessagePack holds."""
    return _Reader(data).value()


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def value(self) -> Value:
        code = self._take(1)[0]
        if code <= 0x7F:
            return code
        if code >= 0xE0:
            return code - 256
        if 0x80 <= code <= 0x8F:
            return self._map(code & 0x0F)
        if 0x90 <= code <= 0x9F:
            return self._list(code & 0x0F)
        if 0xA0 <= code <= 0xBF:
            return self._text(code & 0x1F)
        if code in _CONSTANTS:
            return _CONSTANTS[code]
        if code in _NUMBERS:
            return self._number(_NUMBERS[code])
        if code in _SIZED:
            read, size = _SIZED[code]
            return getattr(self, read)(self._number(size))
        if 0xD4 <= code <= 0xD8:
            self._take(1 + (1 << (code - 0xD4)))
            return UNKNOWN
        raise ValueError(hex(code))

    def _take(self, count: int) -> bytes:
        self._at += count
        return self._data[self._at - count : self._at]

    def _number(self, kind: str) -> Value:
        return struct.unpack(f">{kind}", self._take(struct.calcsize(kind)))[0]

    def _text(self, size: int) -> str:
        return self._take(size).decode()

    def _list(self, size: int) -> list[Value]:
        return [self.value() for _ in range(size)]

    def _map(self, size: int) -> dict[str, Value]:
        return {self.value(): self.value() for _ in range(size)}

    def _unknown(self, size: int) -> Unknown:
        self._take(1 + size)
        return UNKNOWN


_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_NUMBERS = {
    0xCA: "f",
    0xCB: "d",
    0xCC: "B",
    0xCD: "H",
    0xCE: "I",
    0xCF: "Q",
    0xD0: "b",
    0xD1: "h",
    0xD2: "i",
    0xD3: "q",
}
_SIZED = {
    0xC7: ("_unknown", "B"),
    0xC8: ("_unknown", "H"),
    0xD9: ("_text", "B"),
    0xDA: ("_text", "H"),
    0xDB: ("_text", "I"),
    0xDC: ("_list", "H"),
    0xDD: ("_list", "I"),
    0xDE: ("_map", "H"),
    0xDF: ("_map", "I"),
}
