"""As much of Secret Manager over gRPC as the obvious way calls: it creates and adds, and keeps nothing."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc  # type: ignore[import-untyped]
from google.cloud import secretmanager_v1 as api


class GrpcStore(grpc.GenericRpcHandler):  # type: ignore[misc]
    """The server, on a port of this machine.

    Attributes:
        address: `host:port`.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._server = grpc.server(ThreadPoolExecutor(4))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.add_generic_rpc_handlers((self,))
        self._server.start()

    def stop(self) -> None:
        """Stop serving."""
        self._server.stop(None).wait()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """The method that is called."""
        methods: dict[str, tuple[Any, Any, Any]] = {
            "CreateSecret": (api.CreateSecretRequest, api.Secret, self._create),
            "AddSecretVersion": (api.AddSecretVersionRequest, api.SecretVersion, self._add),
        }
        asked, made, answer = methods[details.method.rpartition("/")[2]]
        return grpc.unary_unary_rpc_method_handler(answer, asked.deserialize, made.serialize)

    def _create(self, asked: Any, _context: grpc.ServicerContext) -> Any:
        return api.Secret(name=f"{asked.parent}/secrets/{asked.secret_id}")

    def _add(self, asked: Any, _context: grpc.ServicerContext) -> Any:
        return api.SecretVersion(name=f"{asked.parent}/versions/{next(self._numbers)}")
