"""`doctor`: whether everything is there that the token keeper needs."""

from __future__ import annotations

from collections.abc import Iterator

import click

from tokenkeeper import log
from tokenkeeper.cli import options, show, terminal
from tokenkeeper.cli.context import Context
from tokenkeeper.cli.doctor.finding import Finding, settings_found

_COLOURS = {"ok": "green", "problem": "red", "unknown": "yellow", "note": "blue"}


@click.command("doctor")
@options.as_json
@click.pass_obj
def command(context: Context, *, as_json: bool) -> int:
    """Check whether everything is there that the token keeper needs.

    Exit status: 0 all is there, 1 there is a problem, 2 something could not be determined.
    """
    show.where(context)
    found = list(_findings(context))
    if as_json:
        show.as_json({"findings": [one._asdict() for one in found]})
    else:
        rows = [(one.thing, terminal.paint(one.verdict, _COLOURS[one.verdict]), one.text) for one in found]
        show.table(("what", "state", "detail, or what to do"), rows)
    verdicts = {one.verdict for one in found}
    return show.NEEDS_PERSON if "problem" in verdicts else show.COULD_NOT if "unknown" in verdicts else show.WELL


def _findings(context: Context) -> Iterator[Finding]:
    from tokenkeeper.cli.doctor import deployment, outside, store  # slow to import

    log.silence_libraries()
    yield from settings_found(context)
    yield from outside.ways_out(context)
    yield from store.secret_manager(context)
    yield outside.credentials(context)
    yield from outside.redirect_urls(context)
    yield from outside.accounts(context)
    yield outside.this_clock(context)
    yield from deployment.functions(context)
