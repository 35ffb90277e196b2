"""What is examined, the settings first, and what a check found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from tokenkeeper import settings
from tokenkeeper.cli.context import Context
from tokenkeeper.errors import KeeperError
from tokenkeeper.secret import Secret
from tokenkeeper.settings import CONNECT, REFRESH, Needs, Settings

CALL_SECONDS = 10.0
NOT_CHECKED = "not checked: the settings above come first"
_REQUIRED = ("TIKTOK_APP_ID", "TIKTOK_APP_SECRET", "LINK_SIGNING_KEYS", "PUBLIC_URL")
_HIDDEN = ("LINK_SIGNING_KEYS", "TIKTOK_APP_SECRET")


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding.

    Attributes:
        thing: What was checked.
        verdict: How it is; `note`: nothing that could be checked.
        text: What there is to say, or to do.
    """

    thing: str
    verdict: Literal["ok", "problem", "unknown", "note"]
    text: str


@dataclass(frozen=True)
class Subject:
    """What is examined.

    Attributes:
        context: What the command acts on.
        environment: Its settings, with those that are kept as secrets.
        unread: By name, why a setting that is kept as a secret could not be read.
    """

    context: Context
    environment: Mapping[str, str]
    unread: Mapping[str, str]

    def settings(self, needs: Needs) -> Settings:
        """The settings; raises `SettingsError` where one is missing or invalid."""
        return settings.read(needs, self.environment)


def subject(context: Context) -> Subject:
    """What is examined, with the settings that are kept as secrets, as far as they can be read."""
    environment, unread = dict(context.saved.environment), {}
    for name in _HIDDEN:
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
