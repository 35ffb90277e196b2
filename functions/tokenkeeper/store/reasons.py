"""What Google says about a call that it refuses, and what that amounts to.

Sources: "Error model" of Google Cloud APIs (status, ErrorInfo), `google.api.ErrorReason`, "Troubleshoot VPC Service
Controls", "Organization policy constraints".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from google.auth import exceptions as auth_errors

from tokenkeeper.errors import Cause, GoogleReason

_LONGEST = 300  # characters of Google's sentence
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_LOGIN_OVER = re.compile("invalid_grant|invalid_rapt|reauthenticat", re.IGNORECASE)
_NO_TOKEN_SERVER = re.compile(
    r'\A\s*<|"code": 5\d\d|\b5\d\d\b.*(metadata|error)|metadata.*\b5\d\d\b|unavailable', re.IGNORECASE
)
_GCLOUDS_OWN_PROJECTS = {"projects/764086051850", "projects/32555940559"}  # of its login for libraries, and its own
_BY_REASON = {
    "IAM_PERMISSION_DENIED": Cause.ROLE,
    "USER_PROJECT_DENIED": Cause.QUOTA_PROJECT,
    "BILLING_DISABLED": Cause.BILLING,
    "RESOURCES_ACCESS_DENIED_BY_ORG_POLICY": Cause.POLICY,
    "ACCESS_TOKEN_EXPIRED": Cause.LOGIN,
    "ACCOUNT_STATE_INVALID": Cause.LOGIN,
}


def reason_of(content: bytes, project: str) -> GoogleReason:
    """What Google said in the body of an error; an empty reason where it was no answer of Google's.

    An API that is disabled in another project than the keeper's is disabled in the quota project.
    """
    body = _body(content)
    status, sentence = str(body.get("status", "")), _sentence(body.get("message"))
    info = next((one for one in _details(body) if str(one.get("@type", "")).endswith("google.rpc.ErrorInfo")), {})
    reason = str(info.get("reason", ""))
    found = info.get("metadata")
    consumer = str(found.get("consumer", "")) if isinstance(found, dict) else ""
    return GoogleReason(status, reason, sentence, _cause(status, reason, sentence, consumer, project))


def reason_of_login(error: auth_errors.GoogleAuthError) -> GoogleReason | None:
    """What is wrong with the credentials; None where a token or metadata server is away, which passes by itself."""
    text = _sentence(error.args[0] if error.args else "")
    if error.retryable or any(map(_is_outage, (error, error.__cause__, *error.args))):
        return None
    over = _LOGIN_OVER.search(text) or isinstance(error, auth_errors.ReauthFailError)
    return GoogleReason("UNAUTHENTICATED", "", text, Cause.LOGIN if over else Cause.OTHER)


def _is_outage(said: object) -> bool:
    """Whether an error, its cause, or something that it was raised with, says that a server is away."""
    return isinstance(said, auth_errors.TransportError) or bool(
        isinstance(said, str) and _NO_TOKEN_SERVER.search(said[:1000])
    )


def _cause(status: str, reason: str, sentence: str, consumer: str, project: str) -> Cause:
    lower = sentence.lower()
    if reason == "SERVICE_DISABLED" or "it is disabled" in lower:
        of_another = consumer in _GCLOUDS_OWN_PROJECTS or (
            consumer and not consumer.removeprefix("projects/").isdigit() and consumer != f"projects/{project}"
        )
        return Cause.QUOTA_PROJECT if of_another else Cause.API_DISABLED
    if "vpcservicecontrols" in lower or reason == "SECURITY_POLICY_VIOLATED":
        return Cause.PERIMETER
    if "constraints/" in lower or "orgpolicy" in lower or "organization policy" in lower:
        return Cause.POLICY
    if "billing" in lower and reason != "IAM_PERMISSION_DENIED":
        return Cause.BILLING
    if "cryptokey" in lower or "kms key" in lower:
        return Cause.KEY
    if reason in _BY_REASON:
        return _BY_REASON[reason]
    if status == "UNAUTHENTICATED":
        return Cause.LOGIN
    return Cause.ROLE if status == "PERMISSION_DENIED" else Cause.OTHER


def _body(content: bytes) -> Mapping[str, Any]:
    try:
        body = json.loads(content)["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return body if isinstance(body, dict) else {}


def _details(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    details = body.get("details")
    return [one for one in details if isinstance(one, dict)] if isinstance(details, list) else []


def _sentence(value: object) -> str:
    text = _CONTROL.sub(" ", value if isinstance(value, str) else "").strip()
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
