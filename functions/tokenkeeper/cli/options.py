"""Arguments and options that several commands have, and what their values may look like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from tokenkeeper import checks
from tokenkeeper.checks import Invalid


def checked(check: Callable[[str], object]) -> Callable[[str], Any]:
    """What a check accepts as an option's value: what the check returns, or the text itself."""

    def convert(value: str) -> object:
        try:
            found = check(value)
        except Invalid as invalid:
            raise click.BadParameter(f"it {invalid}.") from None
        return value if found is None else found

    return convert


_name, _labels = checked(checks.connection), checked(checks.labels)


def _lines(path: str) -> list[str]:
    try:
        with click.open_file(path, encoding="utf-8-sig") as file:
            return list(file)
    except OSError as error:
        raise click.BadParameter(f"{path!r} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise click.BadParameter(f"{path!r} is not text in UTF-8: save it as that.") from None


def connections(metavar: str = "[CONNECTION]...") -> Callable[..., Any]:
    """The argument for any number of connections."""
    return click.argument("connections", type=_name, nargs=-1, metavar=metavar)


def label(meaning: str = "Only connections with these labels, like client=x.") -> Callable[..., Any]:
    """The option that selects by the operator's own labels."""
    return click.option("--label", "only", type=_labels, default="", metavar="LABELS", help=meaning)


def new(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a command that makes connections: `file`, `family`, `any_account` and `labels`."""
    for option in (
        click.option(
            "--labels",
            type=_labels,
            default="",
            metavar="LABELS",
            help="Labels for the connection's secret, like client=x,team=y.",
        ),
        click.option(
            "--any-account",
            is_flag=True,
            help="Let a re-connection replace the advertisers, or the account, by others.",
        ),
        click.option(
            "--family",
            type=click.Choice(("advertiser", "account")),
            default="advertiser",
            show_default=True,
            help="Ad accounts, or a TikTok account (organic data).",
        ),
        click.option("--file", type=_lines, metavar="FILE", help="Read them from a file; - is standard input."),
    ):
        command = option(command)
    return command


connection = click.argument("connection", type=_name, metavar="CONNECTION")
maybe_connection = click.argument("connection", type=_name, required=False, metavar="[CONNECTION]")
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
