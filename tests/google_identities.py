"""Google's endpoints for identities, and Cloud Run's check of them, in one server on loopback."""

import base64
import json
import re
from typing import Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from emulators.serving import Answer, LocalServer, Request

TOKENS, FEDERATION, CREDENTIALS = "oauth2.googleapis.com", "sts.googleapis.com", "iamcredentials.googleapis.com"
PERSON, WORKLOAD = "ya29.canary-of-a-person", "ya29.canary-of-a-workload"
ACCOUNT = "caller@my-project.iam.gserviceaccount.com"
AUDIENCE = "https://refresh.example"
_ACTING = re.compile(rf"/v1/projects/-/serviceAccounts/{re.escape(ACCOUNT)}:generate(Access|Id)Token")
_SUMMARY = {"connections": 0, "verified": 0, "refreshed": 0, "attention": [], "complete": True, "seconds": 0.1}


def service_account_key(email: str, token_uri: str) -> dict[str, Any]:
    """The key of a service account, as the console lets one download it."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    known = {"type": "service_account", "client_email": email, "client_id": "1", "token_uri": token_uri}
    return {**known, "private_key_id": "0123456789abcdef", "private_key": key.decode()}


class GoogleIdentities(LocalServer):
    """Gives access tokens to a person and to a workload, and lets those act as `ACCOUNT` that may; or have its key.

    Only an identity token of `ACCOUNT` for `AUDIENCE` is let in to the function, which is at every other path.
    """

    may_act: set[str]  # the access tokens whose owner may act as `ACCOUNT`, which may not act as itself
    audiences: list[str]  # whom the identity tokens so far were made out to

    def opened(self) -> None:
        self.may_act, self.audiences = {PERSON, WORKLOAD}, []

    def key(self) -> dict[str, Any]:
        """The account's key file, which names this server."""
        return service_account_key(ACCOUNT, f"{self.url}/token")

    def answers_to(self, name: str) -> bool:
        return super().answers_to(name) or name in {TOKENS, FEDERATION, CREDENTIALS}

    def perform(self, request: Request) -> Answer:
        bearer = (request.headers["Authorization"] or "").removeprefix("Bearer ")
        form = parse_qs(request.body.decode()) if request.path.endswith("/token") else {}
        if "assertion" in form:
            return Answer(200, {"id_token": self._identity_for(_claims(form["assertion"][0])["target_audience"])})
        if request.path == "/token":
            return Answer(200, {"access_token": PERSON, "expires_in": 3600, "token_type": "Bearer"})
        if request.path == "/v1/token":
            assert form["subject_token"] == ["token-of-the-workload"]
            kind = "urn:ietf:params:oauth:token-type:access_token"
            token = {"access_token": WORKLOAD, "expires_in": 3600, "token_type": "Bearer", "issued_token_type": kind}
            return Answer(200, token)
        acting = _ACTING.fullmatch(request.path)
        if acting and bearer not in self.may_act:
            return Answer(403, {"error": {"code": 403, "status": "PERMISSION_DENIED", "message": "may not act"}})
        if acting and acting[1] == "Access":
            return Answer(200, {"accessToken": "ya29.canary-of-the-account", "expireTime": "2099-01-01T00:00:00Z"})
        if acting:
            return Answer(200, {"token": self._identity_for(json.loads(request.body)["audience"])})
        return Answer(200, _SUMMARY) if bearer == _identity(AUDIENCE) else Answer(403, b"<html>Forbidden")

    def _identity_for(self, audience: str) -> str:
        self.audiences.append(audience)
        return _identity(audience)


def _identity(audience: str) -> str:
    claims: dict[str, Any] = {"aud": audience, "email": ACCOUNT, "exp": 4_102_444_800}  # in 2100
    return ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({}, claims, {})
    )


def _claims(token: str) -> dict[str, Any]:
    middle = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4))))
