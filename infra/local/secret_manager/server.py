"""The embedded Secret Manager: as much of Secret Manager's REST API v1 as the product, its commands and recipes use.

The official client and ``gcloud secrets`` work against it unchanged. ``python -m local.secret_manager`` starts it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from local.exchange import Answer, Request
from local.secret_manager.errors import ApiError, invalid
from local.secret_manager.fields import parse_body, parse_payload
from local.secret_manager.file import EncryptedFile, Keeping
from local.secret_manager.pages import Page
from local.secret_manager.routes import Target, target_of
from local.secret_manager.rules import SECRET_ID
from local.secret_manager.service import SecretService
from local.serving import LocalServer

_NO_SUCH_ADDRESS = (
    b"<!DOCTYPE html><title>Error 404 (Not Found)!!1</title>"
    b"<p><b>404.</b> The requested URL was not found on this server.\n"
)


class SecretManagerServer(LocalServer):
    """The embedded Secret Manager.

    Args:
        path: File to keep everything in; None keeps it in memory only.
        host: A loopback address.
        port: 0 takes a free one.
        log: Called with one line for each answered request.
    """

    def __init__(
        self,
        *,
        path: Path | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        log: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(host, port, log=log)
        self.service = self.make_service(Keeping() if path is None else EncryptedFile(path))

    def make_service(self, keeping: Keeping) -> SecretService:
        """What does the calls."""
        return SecretService(keeping, self.now)

    def admit(self, target: Target) -> None:
        """Called before each call; an ApiError that is raised is the answer."""

    def permits(self, permission: str, resource: str) -> bool:  # noqa: ARG002
        """Whether the caller has a permission of Secret Manager's on a resource."""
        return True

    def opened(self) -> None:
        self.service.open()

    def closed(self) -> None:
        self.service.close()

    def perform(self, request: Request) -> Answer:
        target = target_of(request)
        if target is None:
            return Answer(404, _NO_SUCH_ADDRESS, "text/html; charset=UTF-8")
        try:
            self.admit(target)
            return Answer(body=self._call(target, request))
        except ApiError as error:
            return Answer(error.code, error.body)

    def _call(self, target: Target, request: Request) -> Mapping[str, Any]:
        service, where, version = self.service, (target.project, target.secret), target.version
        if target.secret and not SECRET_ID.fullmatch(target.secret) and target.call != "CreateSecret":
            form = "projects/*/secrets/*/versions/*" if version else "projects/*/secrets/*"
            raise invalid(
                f"The provided Secret ID [{target.resource[:400]}] does not match the expected format [{form}]"
            )
        match target.call:
            case "ListSecrets":
                return service.list_secrets(target.project, Page.of(request))
            case "CreateSecret":
                return service.create_secret(*where, parse_body(request.body))
            case "GetSecret":
                return service.get_secret(*where)
            case "UpdateSecret":
                return service.update_secret(*where, parse_body(request.body), request.parameter("updateMask"))
            case "DeleteSecret":
                return service.delete_secret(*where, request.parameter("etag"))
            case "AddSecretVersion":
                return service.add_version(*where, *parse_payload(parse_body(request.body)))
            case "AccessSecretVersion":
                return service.access_version(*where, version)
            case "GetSecretVersion":
                return service.get_version(*where, version)
            case "ListSecretVersions":
                return service.list_versions(*where, Page.of(request))
            case "GetIamPolicy":
                return service.get_policy(*where)
            case "SetIamPolicy":
                return service.set_policy(*where, parse_body(request.body).get("policy", {}))
            case "TestIamPermissions":
                return self._test_permissions(target, parse_body(request.body).get("permissions", []))
            case _:
                return service.change_state(*where, version, "DESTROYED", parse_body(request.body).get("etag", ""))

    def _test_permissions(self, target: Target, asked: list[str]) -> Mapping[str, Any]:
        """The asked permissions that are held; none of a secret that does not exist, as at Google."""
        if not self.service.exists(target.project, target.secret):
            return {}
        held = [name for name in asked if name.startswith("secretmanager.") and self.permits(name, target.resource)]
        return {"permissions": held} if held else {}
