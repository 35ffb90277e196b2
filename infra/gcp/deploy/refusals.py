"""What Google refuses, with the setting that helps; Google's own words for everything else."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

ENTRIES = tomllib.loads(Path(__file__).with_name("refusals.toml").read_text(encoding="utf-8"))["refusal"]
# What Google answers while it has not heard everywhere of something that was made a moment ago.
NOT_YET_KNOWN = re.compile(
    r"it could take up to 10 minutes|enabled this API recently|has not been used in project .* before or it is disabled"
    r"|Permission denied on secret|missing permission on the build service account|Error 400: Service account"
    r"|There were concurrent policy changes"
)


class Refusal(NamedTuple):
    """What was said, in one line, and of which resource that was."""

    words: str
    address: str = ""


def help_for(words: str) -> str:
    """What helps against a refusal; empty: nothing that is known."""
    found = ((re.search(entry["pattern"], words), entry["helps"]) for entry in ENTRIES)
    return next((match.expand(helps) for match, helps in found if match), "")


def explained(refusals: Iterable[Refusal]) -> str:
    """Each in its own words and with what helps; of those that the same helps against, the first."""
    said: dict[str, str] = {}
    for words, address in refusals:
        entry = f"- {address}: {words[:1500]}" if address else f"- {words[:1500]}"
        helps = help_for(words)
        said.setdefault(helps or entry, f"{entry}\n  {helps}".rstrip())
    return "\n".join(said.values())
