"""Google as a reader meets it: a token endpoint, and Secret Manager behind credentials and one role.

Secret Manager is the embedded one. In front of it stands what IAM lets the reader do, for REST and gRPC alike.
"""

from __future__ import annotations

import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import grpc  # type: ignore[import-untyped]
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.cloud import secretmanager_v1

from emulators.secret_manager import PERMISSIONS, ApiError, SecretManagerServer, denied
from emulators.serving import Answer, Request

SECRET_MANAGER = "secretmanager.googleapis.com"
TOKENS = "oauth2.googleapis.com"
LOCATIONS = "iamcredentials.googleapis.com"
ACCESS = "AccessSecretVersion"


def key_file(email: str) -> dict[str, str]:
    """The key of a service account, as the console lets one download it."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    known = {"type": "service_account", "client_email": email, "token_uri": f"https://{TOKENS}/token"}
    return {**known, "private_key_id": "0123456789abcdef", "private_key": key.decode(), "client_id": "1"}


@dataclass
class Google:
    """Answers for Google.

    Attributes:
        project: Where the secrets are.
        store: The embedded Secret Manager.
        readable: Ids of the secrets whose versions the reader may access, which is all that it may do.
        calls: What was called at Secret Manager, with the secret's id ("" where there is none).
        issued: Access tokens of Google's.
    """

    project: str
    store: SecretManagerServer
    readable: set[str] = field(default_factory=set)
    calls: list[tuple[str, str]] = field(default_factory=list)
    issued: list[str] = field(default_factory=list)

    def token(self, request: Request) -> Answer:
        """The token endpoint: an access token for a service account (RFC 7523); every login of a person is over."""
        if "assertion" not in parse_qs(request.body.decode()):
            return Answer(400, {"error": "invalid_grant", "error_description": "Token has been expired or revoked."})
        self.issued.append(f"ya29.{secrets.token_urlsafe(48)}")
        return Answer(body={"access_token": self.issued[-1], "expires_in": 3599, "token_type": "Bearer"})

    def locations(self, _: Request) -> Answer:
        """Where an account may be used from, which Google's clients ask as well."""
        return Answer(body={"locations": [], "encodedLocations": "0x0"})

    def secrets(self, request: Request) -> Answer:
        """Secret Manager over REST."""
        name, resource = self.store.identify(request)
        owner, _, secret_id = resource.partition("/versions/")[0].rpartition("/")
        self.calls.append((name, secret_id))
        if not request.headers.get("Authorization", "").startswith("Bearer "):
            error = ApiError("UNAUTHENTICATED", "Request is missing required authentication credential.")
        elif (name, owner) != (ACCESS, f"projects/{self.project}/secrets") or secret_id not in self.readable:
            error = denied(PERMISSIONS.get(name, ""), resource)
        else:
            return self.store.respond(request)[1]
        return Answer(error.code, error.body)


class GrpcFront(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Secret Manager over gRPC: the one method that a reader's role allows; another one is recorded and unknown."""

    def __init__(self, google: Google, certificate: Path, key: Path) -> None:
        self._google = google
        self._server = grpc.server(ThreadPoolExecutor(4, thread_name_prefix="grpc"))
        credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
        self.port = self._server.add_secure_port("127.0.0.1:0", credentials)
        self._server.add_generic_rpc_handlers((self,))
        self._server.start()

    def stop(self) -> None:
        """Stop serving, at once."""
        self._server.stop(None).wait()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """Say who answers a method."""
        method = handler_call_details.method.rpartition("/")[2]
        if method != ACCESS:
            self._google.calls.append((method, ""))
            return None
        return grpc.unary_unary_rpc_method_handler(
            self._answer,
            request_deserializer=secretmanager_v1.AccessSecretVersionRequest.deserialize,
            response_serializer=secretmanager_v1.AccessSecretVersionResponse.serialize,
        )

    def _answer(self, asked: Any, context: grpc.ServicerContext) -> Any:
        headers = Message()
        for key, value in context.invocation_metadata():
            if key == "authorization":
                headers["Authorization"] = str(value)
        given = self._google.secrets(Request("GET", f"/v1/{asked.name}:access", "", headers, b""))
        if given.status != 200:
            error = json.loads(given.payload)["error"]
            context.abort(grpc.StatusCode[error["status"]], error["message"])
        return secretmanager_v1.AccessSecretVersionResponse.from_json(given.payload.decode())
