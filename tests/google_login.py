"""Google's metadata server, token endpoint and Secret Manager on this machine, for google-auth as it is."""

from __future__ import annotations

import json
from pathlib import Path

from emulators.secret_manager import SecretManagerServer
from emulators.serving import Answer, LocalServer, Request

TOKEN = "ya29.canary-google-token"
GOOGLE = "secretmanager.googleapis.com"
TOKENS = "oauth2.googleapis.com"
_METADATA = "/computeMetadata/v1/"


class GoogleLogin(LocalServer):
    """Answers as a metadata server on Cloud Run, and as Google's token endpoint.

    Calls are named `project`, `universe`, `metadata_token` and `token`.
    """

    authorizations: list[str | None]  # the header `Authorization` of each request; None: there was none

    def opened(self) -> None:
        self.authorizations = []

    def identify(self, request: Request) -> tuple[str, str]:
        names = {
            f"{_METADATA}project/project-id": "project",
            f"{_METADATA}universe/universe-domain": "universe",
            f"{_METADATA}instance/service-accounts/default/token": "metadata_token",
            "/token": "token",
        }
        return names.get(request.path, "unknown"), request.path

    def perform(self, request: Request) -> Answer:
        self.authorizations.append(request.headers["Authorization"])
        name, _ = self.identify(request)
        metadata = {"Metadata-Flavor": "Google"}
        if name not in {"token", "unknown"} and request.headers["Metadata-Flavor"] != "Google":
            return Answer(403, b"<html>Missing required header", "text/html")
        token = {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}
        match name:
            case "project":
                return Answer(200, b"metadata-project", "application/text", metadata)
            case "metadata_token" | "token":
                return Answer(200, token, "application/json", metadata)
            case _:
                return Answer(404, b"not found", "text/plain", metadata)


class GoogleSecrets(SecretManagerServer):
    """The embedded Secret Manager under Google's own name; it keeps what it was authorized with."""

    authorizations: list[str | None]

    def opened(self) -> None:
        super().opened()
        self.authorizations = []

    def identify(self, request: Request) -> tuple[str, str]:
        self.authorizations.append(request.headers["Authorization"])
        return super().identify(request)

    def answers_to(self, name: str) -> bool:  # noqa: ARG002
        return True


def user(folder: Path) -> Path:
    """The file that `gcloud auth application-default login` writes."""
    file = folder / "application_default_credentials.json"
    content = {
        "type": "authorized_user",
        "client_id": "client",
        "client_secret": "secret",
        "refresh_token": "1//refresh",
        "quota_project_id": "laptop-project",
    }
    file.write_text(json.dumps(content), encoding="utf-8")
    return file
