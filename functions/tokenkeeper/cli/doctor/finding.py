"""What a check found, and what it is made with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tokenkeeper import settings
from tokenkeeper.cli.context import Context
from tokenkeeper.settings import Needs, Settings

Verdict = Literal["ok", "problem", "unknown", "note"]

CALL_SECONDS = 10.0
NOT_CHECKED = "not checked: the settings above come first"


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding.

    Attributes:
        thing: What was checked.
        verdict: How it is; `note`: nothing that could be checked.
        text: What there is to say, or to do.
    """

    thing: str
    verdict: Verdict
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
    unread: Mapping[str, str] = field(default_factory=dict)

    def settings(self, needs: Needs) -> Settings:
        """The settings; raises `SettingsError` where one is missing or invalid."""
        return settings.read(needs, self.environment)
