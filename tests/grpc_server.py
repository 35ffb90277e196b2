"""Methods of Secret Manager over gRPC, on a port of this machine, without TLS."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc  # type: ignore[import-untyped]

Method = tuple[Any, Any, Callable[[Any, grpc.ServicerContext], Any]]


class GrpcServer(grpc.GenericRpcHandler):  # type: ignore[misc]
    """The server of these methods (by name, the types of request and answer, and what makes the answer)."""

    def __init__(self, methods: Mapping[str, Method]) -> None:
        self.methods = methods
        self.asked: list[str] = []  # the names of all methods that were called
        self._server = grpc.server(ThreadPoolExecutor(4))
        self.port: int = self._server.add_insecure_port("127.0.0.1:0")
        self._server.add_generic_rpc_handlers((self,))
        self._server.start()

    def stop(self) -> None:
        """Stop serving, at once."""
        self._server.stop(None).wait()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """Say who answers a method."""
        name = handler_call_details.method.rpartition("/")[2]
        self.asked.append(name)
        if name not in self.methods:
            return None
        asked, made, answer = self.methods[name]
        return grpc.unary_unary_rpc_method_handler(answer, asked.deserialize, made.serialize)
