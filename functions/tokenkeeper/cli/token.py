"""`token`: the access token alone."""

from __future__ import annotations

import click

from tokenkeeper.cli import options, show, stored
from tokenkeeper.cli.context import Context


@click.command("token")
@options.connection
@click.pass_obj
def command(context: Context, connection: str) -> int:
    """Print the access token of CONNECTION, and nothing else.

    Exit status 1: the connection needs a new authorization; the token is printed all the same.
    """
    show.where(context)
    vault = context.vault()
    click.echo(stored.newest_grant(vault, connection).access_token.reveal())
    return stored.exit_status(stored.state(vault, connection), connection)
