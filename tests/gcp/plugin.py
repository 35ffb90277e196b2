"""Version 5 of Terraform's plugin protocol, as far as a stub provider needs it.

`protocol.json` is that part of tfplugin5.proto, as protobuf itself describes it; messages that look alike share one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import msgpack  # type: ignore[import-untyped]
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory


class Unknown:
    """A value that is known after apply."""


UNKNOWN = Unknown()
Value = Any

_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(
    json_format.Parse(Path(__file__).with_name("protocol.json").read_text(), descriptor_pb2.FileDescriptorProto())
)
_METHODS = _POOL.FindServiceByName("tfplugin5.Provider").methods_by_name


def message(name: str) -> Any:
    """The class of a message."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"tfplugin5.{name}"))


class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Serves a provider: an object with a method for each call of the protocol."""

    def __init__(self, provider: object) -> None:
        self._provider = provider

    def service(self, details: Any) -> Any:
        """The method that answers one call."""
        name = details.method.rpartition("/")[2]
        if name not in _METHODS:
            return None
        answer = getattr(self._provider, name)
        return grpc.unary_unary_rpc_method_handler(
            lambda request, _: answer(request),
            request_deserializer=message_factory.GetMessageClass(_METHODS[name].input_type).FromString,
            response_serializer=lambda answered: answered.SerializeToString(),
        )


def pack(value: Value) -> bytes:
    """One value as MessagePack, in which an extension is a value that is not known yet."""
    return bytes(msgpack.packb(value, default=lambda _: msgpack.ExtType(0, b"\0")))


def unpack(data: bytes) -> Value:
    """The value that some MessagePack holds."""
    return msgpack.unpackb(data, ext_hook=lambda *_: UNKNOWN)
