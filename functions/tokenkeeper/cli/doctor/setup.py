"""Checks the settings: every one of them, however many are invalid."""

from __future__ import annotations

from collections.abc import Iterator

from tokenkeeper import settings
from tokenkeeper.cli.context import Context
from tokenkeeper.cli.doctor.finding import Finding, Subject
from tokenkeeper.errors import KeeperError
from tokenkeeper.secret import Secret
from tokenkeeper.settings import CONNECT, REFRESH

_REQUIRED = ("TIKTOK_APP_ID", "TIKTOK_APP_SECRET", "LINK_SIGNING_KEYS", "PUBLIC_URL")
_HIDDEN = {"TIKTOK_APP_SECRET", "LINK_SIGNING_KEYS"}


def subject(context: Context) -> Subject:
    """What is examined, with the settings that are kept as secrets, as far as they can be read."""
    environment, unread = dict(context.saved.environment), {}
    for name in sorted(_HIDDEN):
        if not environment.get(name) and environment.get(f"{name}_SECRET"):
            try:
                environment[name] = context.kept_as_secret(name)
            except KeeperError as error:
                unread[name] = f"{error} Reading it takes roles/secretmanager.secretAccessor on that secret."
    return Subject(context, environment, unread)


def settings_found(examined: Subject) -> Iterator[Finding]:
    """A finding for each setting that is set, required or invalid; secret ones are shown by their fingerprint."""
    for name, problem in settings.survey(CONNECT | REFRESH, examined.environment).items():
        value = examined.environment.get(name, "")
        if name in examined.unread:
            yield Finding(name, "unknown", examined.unread[name])
        elif problem:
            yield Finding(name, "problem", problem)
        elif value or name in _REQUIRED:
            yield Finding(name, "ok", _shown(name, value))


def _shown(name: str, value: str) -> str:
    if name not in _HIDDEN:
        return value
    return "set, fingerprint " + ", ".join(Secret(part).fingerprint for part in value.split())
