"""Connect links: names from a file, the links made for them, and how many of them are printed."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from tokenkeeper import checks, clock
from tokenkeeper.cli.options import name_problem
from tokenkeeper.connect.links import Link, Signer
from tokenkeeper.errors import SettingsError
from tokenkeeper.grant import Family
from tokenkeeper.settings import Settings


@dataclass(frozen=True, slots=True)
class Made:
    """A link, and the address to send; the address is secret."""

    link: Link
    address: str

    @property
    def cells(self) -> tuple[str, str, str]:
        """Name, link, expiry."""
        return self.link.connection, self.address, clock.text(self.link.expires_at)

    def document(self) -> dict[str, Any]:
        """The JSON object for scripts."""
        name, address, expires_at = self.cells
        return {
            "connection": name,
            "link": address,
            "expires_at": expires_at,
            "any_account": self.link.any_account,
            "family": self.link.family,
            "labels": dict(self.link.labels),
        }


def names_in(lines: Iterable[str]) -> list[str]:
    """The names in a file, one a line; empty lines and those that begin with # are left out.

    Raises:
        SettingsError: a line holds no connection's name.
    """
    found: dict[str, None] = {}
    for number, line in enumerate(lines, 1):
        name = line.strip()
        if not name or name.startswith("#"):
            continue
        problem = name_problem(name)
        if problem:
            raise SettingsError(f"Line {number}: {problem}")
        found[name] = None
    return list(found)


def make(
    settings: Settings,
    names: Sequence[str],
    life: timedelta,
    *,
    family: Family,
    any_account: bool,
    labels: Mapping[str, str],
) -> list[Made]:
    """A link for each name.

    Raises:
        SettingsError: TikTok would refuse `PUBLIC_URL` for this family.
    """
    _check_redirect(settings, family)
    signer = Signer(settings.link_keys)
    made = []
    for name in names:
        link, text = signer.new_link(name, life, any_account=any_account, family=family, labels=labels)
        made.append(Made(link, f"{settings.public_url}/start?link={text.reveal()}"))
    return made


def as_csv(made: Iterable[Made]) -> str:
    """A line each, with a head."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("connection", "link", "expires_at"))
    rows.writerows(one.cells for one in made)
    return text.getvalue()


def _check_redirect(settings: Settings, family: Family) -> None:
    simulated = checks.is_this_machine(urlsplit(settings.account_authorize_url).hostname or "")
    if family != "account" or simulated:
        return
    problem = checks.unfit_for_accounts(settings.public_url)
    if problem:
        raise SettingsError(
            f"PUBLIC_URL does not fit FAMILY=account: {problem}. Use an address like https://example.com."
        )
