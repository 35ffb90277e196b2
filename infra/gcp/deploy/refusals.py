"""What Google refuses, with the setting that helps; Google's own words for everything else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from gcp.deploy.programs import table

REASONS = [(re.compile(entry["pattern"]), entry["helps"]) for entry in table("refusals")["refusal"]]
# What Google answers while it has not heard everywhere of something that was made a moment ago.
NOT_YET_KNOWN = re.compile(
    r"it could take up to 10 minutes|enabled this API recently|has not been used in project .* before or it is disabled"
    r"|Permission denied on secret|missing permission on the build service account|Error 400: Service account"
    r"|There were concurrent policy changes"
)
EXISTS = re.compile(r"already exists|alreadyExists|ALREADY_EXISTS|you already own it|Error 409")


def help_for(words: str) -> str:
    """What helps against a refusal; empty: nothing that is known."""
    return next((sentence for pattern, sentence in REASONS if pattern.search(words)), "")


def text_of(error: Mapping[str, Any]) -> str:
    """A diagnostic's own words."""
    return " ".join(f"{error.get('summary', '')}\n{error.get('detail', '')}".split())


def explained(errors: Iterable[Mapping[str, Any]]) -> str:
    """Each error in its own words and with what helps; of those that the same helps against, the first."""
    said: dict[str, str] = {}
    for error in errors:
        words = text_of(error)
        where = f"{error['address']}: " if error.get("address") else ""
        entry = f"- {where}{words[:1500]}"
        help_ = help_for(words)
        said.setdefault(help_ or entry, f"{entry}\n  {help_}" if help_ else entry)
    return "\n".join(said.values())
