"""What the words of a command line may look like."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import click

from tokenkeeper import checks
from tokenkeeper.checks import CONNECTION, Invalid

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


class ConnectionName(click.ParamType[str]):
    """A connection's name."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check it."""
        problem = name_problem(value)
        if problem:
            self.fail(problem, param, ctx)
        return str(value)


class Life(click.ParamType[timedelta]):
    """How long a link is good."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Read minutes, hours or days, within the limits of a link."""
        from tokenkeeper.connect.links import LONGEST_LIFE, SHORTEST_LIFE

        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"([0-9]{1,6})([mhd])", value.strip(), re.ASCII)
        life = timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else timedelta()
        if not SHORTEST_LIFE <= life <= LONGEST_LIFE:
            self.fail(f"{value[:40]!r} is not between 5 minutes and 30 days, like 30m, 72h or 7d.", param, ctx)
        return life


class Labels(click.ParamType[Mapping[str, str]]):
    """Labels of the operator's own."""

    name = "labels"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Mapping[str, str]:
        """Read `client=x,team=y`."""
        if isinstance(value, Mapping):
            return value
        try:
            return checks.labels(value)
        except Invalid as invalid:
            self.fail(f"{param.opts[0] if param else 'The option'} {invalid}.", param, ctx)


def name_problem(name: str) -> str:
    """What is wrong with a connection's name, as a sentence; empty: nothing."""
    if CONNECTION.fullmatch(name):
        return ""
    return (
        f"{name[:80]!r} is no connection's name: that is 1 to 63 of a-z, 0-9 and -, with no - at either end, like "
        "acme-eu."
    )


NAME = ConnectionName()
LABELS = Labels()
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
family = click.option(
    "--family",
    type=click.Choice(("advertiser", "account")),
    default="advertiser",
    show_default=True,
    help="Ad accounts, or a TikTok account (organic data).",
)
any_account = click.option(
    "--any-account", is_flag=True, help="Let a re-connection replace the advertisers, or the account, by others."
)
set_labels = click.option(
    "--labels", type=LABELS, default="", help="Labels for the connection's secret, like client=x,team=y."
)
with_label = click.option(
    "--label", "labels", type=LABELS, default="", help="Only connections with these labels, like client=x."
)
file = click.option(
    "--file", "file", type=click.File("r", encoding="utf-8-sig"), help="Read them from a file; - is standard input."
)
