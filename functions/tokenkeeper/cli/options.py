"""Arguments and options that several commands have, and what their values may look like."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from tokenkeeper import checks
from tokenkeeper.checks import CONNECTION, Invalid


class _ConnectionName(click.ParamType[str]):
    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        problem = name_problem(value)
        if problem:
            self.fail(problem, param, ctx)
        return str(value)


class _Labels(click.ParamType[Mapping[str, str]]):
    name = "labels"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Mapping[str, str]:
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


def connections(metavar: str = "[CONNECTION]...") -> Callable[..., Any]:
    """The argument for any number of connections."""
    return click.argument("connections", type=_ConnectionName(), nargs=-1, metavar=metavar)


def label(meaning: str = "Only connections with these labels, like client=x.") -> Callable[..., Any]:
    """The option that selects by the operator's own labels."""
    return click.option("--label", "only", type=_Labels(), default="", help=meaning)


connection = click.argument("connection", type=_ConnectionName())
maybe_connection = click.argument("connection", type=_ConnectionName(), required=False)
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
    "--labels", type=_Labels(), default="", help="Labels for the connection's secret, like client=x,team=y."
)
file = click.option(
    "--file", "file", type=click.File("r", encoding="utf-8-sig"), help="Read them from a file; - is standard input."
)
