"""Google's token endpoint on loopback: gives identity tokens for a service account's key."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from emulators.serving import Answer, LocalServer, Request


class TokenServer(LocalServer):
    """Answers every request with an identity token.

    Attributes:
        audiences: Whom the tokens so far were made out to.
    """

    def __init__(self) -> None:
        super().__init__()
        self.audiences: list[str] = []

    def key(self) -> dict[str, Any]:
        """A service account's key file that names this server."""
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return {
            "type": "service_account",
            "client_email": "ci@my-project.iam.gserviceaccount.com",
            "private_key": private.decode(),
            "private_key_id": "1",
            "token_uri": f"{self.url}/token",
        }

    def perform(self, request: Request) -> Answer:
        claims = _decoded(parse_qs(request.body.decode())["assertion"][0])
        self.audiences.append(claims["target_audience"])
        token = ".".join((_encoded({"alg": "none"}), _encoded({"exp": claims["exp"]}), _encoded({})))
        return Answer(body={"id_token": token})


def _decoded(token: str) -> dict[str, Any]:
    middle = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4))))


def _encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
