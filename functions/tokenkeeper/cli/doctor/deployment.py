"""Checks the functions in the cloud: whether refresh is private, and whether both run this checkout's source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from google.auth.exceptions import GoogleAuthError
from urllib3.exceptions import HTTPError

from tokenkeeper import http
from tokenkeeper.cli import web
from tokenkeeper.cli.context import Context
from tokenkeeper.cli.doctor.finding import CALL_SECONDS, Finding
from tokenkeeper.errors import KeeperError
from tokenkeeper.store.credentials import Found

_SOURCE = Path(__file__).parents[3]
_API = "https://cloudfunctions.googleapis.com/v2/"


def functions(context: Context) -> Iterator[Finding]:
    """All findings; none where nothing is deployed."""
    if context.variable("REFRESH_URL"):
        yield _refresh_is_private(context.variable("REFRESH_URL"))
    credentials, expected = cache(Found), source_hash(_SOURCE)
    for function in ("connect", "refresh"):
        name = context.variable(f"{function.upper()}_FUNCTION")
        if name:
            try:
                yield source_of(function, _describe(name, credentials), expected)
            except KeeperError as error:
                yield Finding(f"the source of {function}", "unknown", str(error))


def source_of(function: str, described: Mapping[str, Any], expected: str) -> Finding:
    """Whether a function, as Google describes it, was built from the source of this hash, and serves."""
    thing = f"the source of {function}"
    built_from = str(described.get("buildConfig", {}).get("environmentVariables", {}).get("SOURCE_HASH", ""))
    if described.get("state") != "ACTIVE":
        return Finding(thing, "problem", f"it does not serve (state {described.get('state')}): make deploy")
    if built_from != expected:
        text = f"it was built from {built_from[:12] or 'an unknown source'}, and this is {expected[:12]}: make deploy"
        return Finding(thing, "problem", text)
    return Finding(thing, "ok", f"is this checkout's ({expected[:12]})")


def source_hash(functions: Path) -> str:
    """The hash that SOURCE_HASH has for a function that runs the source in this folder.

    It is what `sha256sum` prints for the sorted files, hashed once more. In a shell:
    find main.py requirements.txt tokenkeeper -type f ! -path '*__pycache__*' |
    LC_ALL=C sort | xargs sha256sum | sha256sum
    """
    paths = [functions / "main.py", functions / "requirements.txt", *(functions / "tokenkeeper").rglob("*")]
    files = {path.relative_to(functions).as_posix(): path for path in paths if path.is_file()}
    named = sorted((name, file) for name, file in files.items() if "__pycache__" not in file.parts)
    lines = [f"{sha256(file.read_bytes()).hexdigest()}  {name}\n" for name, file in named]
    return sha256("".join(lines).encode()).hexdigest()


def _refresh_is_private(url: str) -> Finding:
    answer = web.get(url, CALL_SECONDS)
    if answer is None:
        problem = "does not answer: see whether it is deployed, and check REFRESH_URL"
    elif answer.status in {401, 403}:
        return Finding("refresh", "ok", "answers nobody but those that IAM lets in")
    elif answer.status == 404:
        problem = f"there is no function at {url}: make deploy, or make attach"
    else:
        problem = f"answers anybody (HTTP {answer.status}): take roles/run.invoker away from allUsers on its service"
    return Finding("refresh", "problem", problem)


def _describe(name: str, credentials: Callable[[], Found]) -> Mapping[str, Any]:
    headers: dict[str, str] = {}
    try:
        credentials().authorize(_API, headers, CALL_SECONDS)
        answer = http.once("GET", _API + name, CALL_SECONDS, headers)
        described = answer.json()
    except (GoogleAuthError, HTTPError, OSError) as error:
        raise KeeperError(
            f"Google did not describe the function ({type(error).__name__}): gcloud auth application-default login"
        ) from None
    except ValueError:
        raise KeeperError(f"Google did not describe the function (HTTP {answer.status})") from None
    if answer.status != 200 or not isinstance(described, dict):
        said = described.get("error") if isinstance(described, dict) else None
        sentence = said.get("message", "") if isinstance(said, dict) else f"HTTP {answer.status}."
        raise KeeperError(f"Google did not describe the function: {sentence} It takes roles/cloudfunctions.viewer.")
    return described
