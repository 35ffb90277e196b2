"""Which call a request is: the addresses of Secret Manager's REST API v1."""

from __future__ import annotations

import re
from dataclasses import dataclass

from local.exchange import Request

_PATH = re.compile(
    r"/v1/projects/(?P<project>[^/:]+)/secrets(?:/(?P<secret>[^/:]+)(?P<versions>/versions(?:/(?P<version>[^/:]+))?)?)?"
    r"(?::(?P<verb>[a-zA-Z]+))?"
)
_METHODS = {
    # HTTP method, what the path ends in, verb -> name of the call
    ("GET", "secrets", ""): "ListSecrets",
    ("POST", "secrets", ""): "CreateSecret",
    ("GET", "secret", ""): "GetSecret",
    ("PATCH", "secret", ""): "UpdateSecret",
    ("DELETE", "secret", ""): "DeleteSecret",
    ("POST", "secret", "addVersion"): "AddSecretVersion",
    ("GET", "secret", "getIamPolicy"): "GetIamPolicy",
    ("POST", "secret", "setIamPolicy"): "SetIamPolicy",
    ("POST", "secret", "testIamPermissions"): "TestIamPermissions",
    ("GET", "versions", ""): "ListSecretVersions",
    ("GET", "version", ""): "GetSecretVersion",
    ("GET", "version", "access"): "AccessSecretVersion",
    ("POST", "version", "destroy"): "DestroySecretVersion",
}


@dataclass(frozen=True)
class Target:
    """What a request is about; parts that its call does not have are ""."""

    call: str
    project: str
    secret: str
    version: str

    @property
    def secret_name(self) -> str:
        return f"projects/{self.project}/secrets/{self.secret}"

    @property
    def resource(self) -> str:
        """The name that IAM is asked about: the project's for lists and creation."""
        if self.call in ("ListSecrets", "CreateSecret"):
            return f"projects/{self.project}"
        return f"{self.secret_name}/versions/{self.version}" if self.version else self.secret_name


def target_of(request: Request) -> Target | None:
    """What the request is about, None for an address that is none of the API's."""
    match = _PATH.fullmatch(request.path)
    if match is None:
        return None
    secret, version = match["secret"] or "", match["version"] or ""
    end = "version" if version else "versions" if match["versions"] else "secret" if secret else "secrets"
    call = _METHODS.get((request.method, end, match["verb"] or ""))
    if call is None:
        return None
    if call == "CreateSecret":
        secret = request.parameter("secretId")
    return Target(call, match["project"], secret, version)
