"""Google's endpoints for identities, and Cloud Run's check of them, in one server on loopback."""

from __future__ import annotations

import base64
import json
import re
import time
from typing import Any
from urllib.parse import parse_qs

from emulators.serving import Answer, LocalServer, Request

TOKENS, FEDERATION, CREDENTIALS = "oauth2.googleapis.com", "sts.googleapis.com", "iamcredentials.googleapis.com"
PERSON, WORKLOAD = "ya29.canary-of-a-person", "ya29.canary-of-a-workload"
ACCOUNT = "caller@my-project.iam.gserviceaccount.com"
AUDIENCE = "https://refresh.example"
_ACTING = re.compile(rf"/v1/projects/-/serviceAccounts/{re.escape(ACCOUNT)}:generate(Access|Id)Token")
_SUMMARY = {"connections": 0, "verified": 0, "refreshed": 0, "attention": [], "complete": True, "seconds": 0.1}


class GoogleIdentities(LocalServer):
    """Gives access tokens to a person and to a workload, and lets those act as `ACCOUNT` that may.

    Only an identity token of `ACCOUNT` for `AUDIENCE` is let in to the function, which is at every other path.

    Attributes:
        may_act: The access tokens whose owner may act as `ACCOUNT`, which may not act as itself.
    """

    may_act: set[str]

    def opened(self) -> None:
        self.may_act = {PERSON, WORKLOAD}

    def answers_to(self, name: str) -> bool:
        return super().answers_to(name) or name in {TOKENS, FEDERATION, CREDENTIALS}

    def perform(self, request: Request) -> Answer:
        bearer = (request.headers["Authorization"] or "").removeprefix("Bearer ")
        if request.path == "/token":
            return Answer(200, {"access_token": PERSON, "expires_in": 3600, "token_type": "Bearer"})
        if request.path == "/v1/token":
            assert parse_qs(request.body.decode())["subject_token"] == ["token-of-the-workload"]
            kind = "urn:ietf:params:oauth:token-type:access_token"
            token = {"access_token": WORKLOAD, "expires_in": 3600, "token_type": "Bearer", "issued_token_type": kind}
            return Answer(200, token)
        acting = _ACTING.fullmatch(request.path)
        if acting and bearer not in self.may_act:
            return Answer(403, {"error": {"code": 403, "status": "PERMISSION_DENIED", "message": "may not act"}})
        if acting and acting[1] == "Access":
            return Answer(200, {"accessToken": "ya29.canary-of-the-account", "expireTime": "2099-01-01T00:00:00Z"})
        if acting:
            return Answer(200, {"token": _identity(json.loads(request.body)["audience"])})
        return Answer(200, _SUMMARY) if bearer == _identity(AUDIENCE) else Answer(403, b"<html>Forbidden")


def _identity(audience: str) -> str:
    claims: dict[str, Any] = {"aud": audience, "email": ACCOUNT, "exp": int(time.time()) // 86_400 * 86_400 + 172_800}
    return ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({}, claims, {})
    )
