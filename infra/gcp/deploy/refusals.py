"""What ends a deployment, in words: whoever refuses it, what that means, and what helps."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

TABLE = tomllib.loads(Path(__file__).with_name("refusals.toml").read_text(encoding="utf-8"))


class Stop(Exception):
    """Ends the program; the text says what is wrong and what to do."""


class Refusal(NamedTuple):
    """What Google or Terraform said, in one line, and of which resource that was."""

    words: str
    address: str = ""

    def means(self, what: str) -> re.Match[str] | None:
        """Whether it has one of the `meanings` of the table."""
        return re.search("|".join(TABLE["meanings"][what]), self.words)

    def help(self) -> str:
        """What helps against it; empty: nothing that is known."""
        found = ((re.search(entry["pattern"], self.words), entry["helps"]) for entry in TABLE["refusal"])
        return next((match.expand(helps) for match, helps in found if match), "")


class Refused(Stop):
    """Another program ended with an error; the text says with what words, and what helps."""

    def __init__(self, what: str, refusals: list[Refusal]) -> None:
        self.refusals = refusals  # at least one
        super().__init__(f"{what}\n{explained(refusals)}")


def explained(refusals: Iterable[Refusal]) -> str:
    """Each in its own words and with what helps; of those that the same helps against, the first."""
    said: dict[str, str] = {}
    for refusal in refusals:
        words = refusal.words[:1500]
        entry = f"- {refusal.address}: {words}" if refusal.address else f"- {words}"
        said.setdefault(refusal.help() or entry, f"{entry}\n  {refusal.help()}".rstrip())
    return "\n".join(said.values())


def ours(name: str, /, **values: object) -> str:
    """What this program itself has to say, by its name in the table."""
    return str(TABLE["ours"][name]).format_map(values)
