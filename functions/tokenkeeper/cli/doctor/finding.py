"""What a check found, and the settings, which are checked first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from tokenkeeper import settings
from tokenkeeper.cli.context import KEPT_AS_SECRETS, Context
from tokenkeeper.errors import KeeperError
from tokenkeeper.secret import Secret
from tokenkeeper.settings import CONNECT, REFRESH

CALL_SECONDS = 10.0
NOT_CHECKED = "not checked: the settings above come first"


class Finding(NamedTuple):
    """One finding."""

    thing: str  # what was checked
    verdict: Literal["ok", "problem", "unknown", "note"]  # how it is; `note`: nothing that could be checked
    text: str  # what there is to say, or to do


def settings_found(context: Context) -> Iterator[Finding]:
    """A finding for each setting that is set or invalid; secret ones are shown by their fingerprint."""
    environment, unread = dict(context.environment), {}
    for name in KEPT_AS_SECRETS:
        try:
            environment[name] = context.kept_as_secret(name)
        except KeeperError as error:
            unread[name] = f"{error} Reading it takes roles/secretmanager.secretAccessor on that secret."
    for name, problem in settings.survey(CONNECT | REFRESH, environment).items():
        value = environment.get(name, "")
        if name in unread:
            yield Finding(name, "unknown", unread[name])
        elif problem:
            yield Finding(name, "problem", problem)
        elif value:
            fingerprints = ", ".join(Secret(part).fingerprint for part in value.split())
            yield Finding(name, "ok", f"set, fingerprint {fingerprints}" if name in KEPT_AS_SECRETS else value)
