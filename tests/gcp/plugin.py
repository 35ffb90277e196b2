"""Version 5 of Terraform's plugin protocol, as far as a stub provider needs it.

`protocol.json` is that part of tfplugin5.proto, as protobuf itself describes it; messages that look alike share one.
"""

from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import msgpack  # type: ignore[import-untyped]
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

# In MessagePack, a value that is known after apply is an extension.
UNKNOWN = msgpack.ExtType(0, b"\0")
Value = Any

_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(
    json_format.Parse(Path(__file__).with_name("protocol.json").read_text(), descriptor_pb2.FileDescriptorProto())
)
_METHODS = _POOL.FindServiceByName("tfplugin5.Provider").methods_by_name


def message(name: str) -> Any:
    """The class of a message."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"tfplugin5.{name}"))


def handlers(provider: object) -> Any:
    """Serves a provider: an object with a method for each call of the protocol."""

    def handler(name: str, method: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(
            lambda request, _: getattr(provider, name)(request),
            request_deserializer=message_factory.GetMessageClass(method.input_type).FromString,
            response_serializer=lambda answer: answer.SerializeToString(),
        )

    methods = {name: handler(name, method) for name, method in _METHODS.items()}
    return grpc.method_handlers_generic_handler("tfplugin5.Provider", methods)
