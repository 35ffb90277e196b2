"""Which call a request is: the addresses of Secret Manager's REST API v1 and the parameters of each call."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from local.secret_manager.errors import invalid
from local.secret_manager.fields import camel
from local.secret_manager.pages import Page
from local.serving import Request

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
    ("POST", "version", "enable"): "EnableSecretVersion",
    ("POST", "version", "disable"): "DisableSecretVersion",
    ("POST", "version", "destroy"): "DestroySecretVersion",
}
_PARAMETERS = {
    "ListSecrets": ("filter", "pageSize", "pageToken"),
    "ListSecretVersions": ("filter", "pageSize", "pageToken"),
    "CreateSecret": ("secretId",),
    "UpdateSecret": ("updateMask",),
    "DeleteSecret": ("etag",),
    "GetIamPolicy": ("options.requestedPolicyVersion",),
}
_SYSTEM_PARAMETERS = frozenset(("alt", "fields", "key", "prettyPrint", "quotaUser"))


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
        secret = request.parameter("secretId") or request.parameter("secret_id")
    return Target(call, match["project"], secret, version)


def parameters_of(request: Request, call: str) -> dict[str, str]:
    """The call's own query parameters, in camel case.

    Raises:
        ApiError: INVALID_ARGUMENT for one that the call does not have.
    """
    found = {}
    for name, values in request.parameters.items():
        if name.removeprefix("$") in _SYSTEM_PARAMETERS:
            continue
        if camel(name) not in _PARAMETERS.get(call, ()):
            raise invalid(
                f'Invalid JSON payload received. Unknown name "{name[:80]}": Cannot bind query parameter. '
                f"Field '{name[:80]}' could not be found in request message."
            )
        found[camel(name)] = values[-1]
    return found


def page_of(parameters: Mapping[str, str]) -> Page:
    """The page that a list is asked for."""
    size = parameters.get("pageSize", "") or "0"
    if not re.fullmatch(r"-?\d{1,9}", size):
        raise invalid(f"Invalid value at 'page_size' (TYPE_INT32), \"{size[:40]}\"")
    return Page(parameters.get("filter", ""), int(size), parameters.get("pageToken", ""))
