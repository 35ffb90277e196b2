"""Google as a reader meets it: its token endpoint, and Secret Manager behind credentials and one role.

Secret Manager is the embedded one. In front of it stands what that one leaves out: who calls, and what IAM lets the
caller do. REST and gRPC come through here alike.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import grpc  # type: ignore[import-untyped]
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from google.cloud import secretmanager_v1

from local.exchange import Answer, Request
from local.secret_manager import SecretManagerServer
from local.secret_manager.errors import ApiError, denied
from local.secret_manager.limits import PERMISSIONS
from local.secret_manager.service import project_number

SECRET_MANAGER = "secretmanager.googleapis.com"
TOKENS = "oauth2.googleapis.com"
LOCATIONS = "iamcredentials.googleapis.com"
ACCESS = "secretmanager.versions.access"
_TOKEN_URI = f"https://{TOKENS}/token"
_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
_GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_EXPECTED = "Expected OAuth 2 access token, login cookie or other valid authentication credential."


class ServiceAccount:
    """The account of a reader, with a key of its own.

    Attributes:
        email: Its name.
        file: Its key, as the console lets one download it.
        private_key: That key's secret part, in PEM.
    """

    def __init__(self, folder: Path, project: str) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._public = key.public_key()
        self.email = f"reader@{project}.iam.gserviceaccount.com"
        self.private_key = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        self.file = folder / "reader.json"
        content = {
            "type": "service_account",
            "project_id": project,
            "private_key_id": "0123456789abcdef0123456789abcdef01234567",
            "private_key": self.private_key,
            "client_email": self.email,
            "client_id": "100000000000000000001",
            "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": _TOKEN_URI,
            "universe_domain": "googleapis.com",
        }
        self.file.write_text(json.dumps(content, indent=2))

    def claims(self, token: str) -> dict[str, Any]:
        """What a JSON Web Token claims, or nothing where this account did not sign it or it is out of date."""
        try:
            signed, _, signature = token.rpartition(".")
            head, claims = (dict(json.loads(_decoded(part))) for part in signed.split("."))
            self._public.verify(_decoded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        except (ValueError, TypeError, InvalidSignature):
            return {}
        good = head.get("alg") == "RS256" and claims.get("iss") == self.email
        return claims if good and claims.get("iat", 0) - 60 <= time.time() < claims.get("exp", 0) else {}


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


@dataclass
class Google:
    """Answers for Google.

    Attributes:
        account: The one that may call.
        project: Where its secrets are.
        store: The embedded Secret Manager.
        granted: What the account may do, as pairs of a permission and a secret's id.
        calls: What was called at Secret Manager, with the secret's id ("" where there is none).
        handed_out: Access tokens of Google's, with the scopes that they were asked for.
    """

    account: ServiceAccount
    project: str
    store: SecretManagerServer
    granted: set[tuple[str, str]] = field(default_factory=set)
    calls: list[tuple[str, str]] = field(default_factory=list)
    handed_out: dict[str, frozenset[str]] = field(default_factory=dict)

    def token(self, request: Request) -> Answer:
        """The token endpoint: an access token for what the account signed (RFC 7523)."""
        if (request.method, request.path) != ("POST", "/token"):
            return Answer(404, b"Not Found", "text/plain")
        form = parse_qs(request.body.decode(errors="replace"))
        claims = self.account.claims(form.get("assertion", [""])[0])
        if form.get("grant_type") != [_GRANT_TYPE] or claims.get("aud") != _TOKEN_URI:
            return Answer(400, {"error": "invalid_grant", "error_description": "Invalid JWT."})
        token = f"ya29.{secrets.token_urlsafe(48)}"
        self.handed_out[token] = frozenset(str(claims.get("scope", "")).split())
        return Answer(body={"access_token": token, "expires_in": 3599, "token_type": "Bearer"})

    def locations(self, request: Request) -> Answer:
        """Where the account may be used from (*regional access boundary*), which Google's clients ask by the way."""
        if request.path != f"/v1/projects/-/serviceAccounts/{self.account.email}/allowedLocations":
            return Answer(404, b"Not Found", "text/plain")
        return Answer(body={"locations": [], "encodedLocations": "0x0"})

    def secrets(self, request: Request) -> Answer:
        """Secret Manager over REST."""
        name, resource = self.store.identify(request)
        parts = resource.split("/")
        secret_id = parts[3] if len(parts) > 3 else ""
        self.calls.append((name, secret_id))
        try:
            self._authenticate(request.headers.get("Authorization", ""))
            permission = PERMISSIONS.get(name, "")
            ours = len(parts) > 1 and project_number(parts[1]) == project_number(self.project)
            if permission and not (ours and (permission, secret_id) in self.granted):
                raise denied(permission, resource)
        except ApiError as error:
            return Answer(error.code, error.body)
        _, answer = self.store.respond(request)
        return answer

    def _authenticate(self, authorization: str) -> None:
        """Let pass who shows an access token, or a token that the account signed itself for this service."""
        kind, _, token = authorization.partition(" ")
        if not token or kind.lower() != "bearer":
            raise ApiError("UNAUTHENTICATED", f"Request is missing required authentication credential. {_EXPECTED}")
        scopes = self.handed_out.get(token)
        if scopes is None:
            claims = self.account.claims(token)
            if claims.get("aud") != f"https://{SECRET_MANAGER}/" and _PLATFORM not in str(claims.get("scope", "")):
                raise ApiError("UNAUTHENTICATED", f"Request had invalid authentication credentials. {_EXPECTED}")
        elif _PLATFORM not in scopes:
            raise ApiError("PERMISSION_DENIED", "Request had insufficient authentication scopes.")


class GrpcFront:
    """Secret Manager over gRPC, without TLS, on a loopback port."""

    def __init__(self, google: Google) -> None:
        self._server = grpc.server(ThreadPoolExecutor(4, thread_name_prefix="grpc"))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.add_generic_rpc_handlers((_Methods(google),))
        self._server.start()

    def stop(self) -> None:
        """Stop serving, at once."""
        self._server.stop(None).wait()


class _Methods(grpc.GenericRpcHandler):  # type: ignore[misc]
    """The one method that a reader's role allows; another one is recorded, and is not implemented."""

    def __init__(self, google: Google) -> None:
        self._google = google

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        method = handler_call_details.method.rpartition("/")[2]
        if method != "AccessSecretVersion":
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
