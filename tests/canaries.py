"""One mechanism that finds a secret wherever it must not be: everything that leaves the product is put before it."""

from __future__ import annotations

import base64
import urllib.parse
from dataclasses import dataclass, field


@dataclass
class Canaries:
    """What must not show up, and everything that was said in public.

    Attributes:
        secrets: Secret texts, each with the name of what it is.
        heard: Everything that left the product, each with where it was.
    """

    secrets: dict[str, str] = field(default_factory=dict)
    heard: list[tuple[str, str]] = field(default_factory=list)

    def keep(self, name: str, text: str) -> str:
        """Let a text be a secret; returns it."""
        if len(text) >= 8:
            self.secrets[text] = name
        return text

    def hear(self, where: str, text: str) -> None:
        """Something was said in public."""
        self.heard.append((where, text))

    def betrayals(self) -> list[str]:
        """Where a secret was said, as sentences that do not repeat it."""
        forms = {form: name for text, name in self.secrets.items() for form in _forms(text)}
        return sorted(
            {f"{name} in {where}" for where, said in self.heard for form, name in forms.items() if form in said}
        )

    def clear(self) -> None:
        """Forget everything."""
        self.secrets.clear()
        self.heard.clear()


def _forms(text: str) -> set[str]:
    """A text as it is, as an address has it, and in base64."""
    return {text, urllib.parse.quote(text, safe=""), base64.b64encode(text.encode()).decode().rstrip("=")}
