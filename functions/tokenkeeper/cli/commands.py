"""The commands for the operator: `python -m tokenkeeper link|import|status|token|config|refresh|disconnect|doctor`.

Results go to standard output and nothing else does; what is said about them, questions and the log go to standard
error. Exit status: 0 all is well, 1 a person is needed, 2 it could not be done.
"""

from __future__ import annotations

import click

from tokenkeeper import log, settings
from tokenkeeper.cli import (
    config,
    context,
    disconnect,
    doctor,
    importing,
    link,
    refresh,
    show,
    status,
    stored,
    terminal,
)
from tokenkeeper.errors import Cause, KeeperError, LeaseHeld, StoreForbidden, StoreUnavailable


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit status: 0 all is well, 1 a person is needed, 2 it could not be done.",
)
@click.option(
    "--target",
    type=click.Choice(context.PLACES),
    help="Act on what `make run` started (local) or `make deploy` made (cloud); without it, on the later one of them.",
)
@click.pass_context
def commands(this: click.Context, target: str | None) -> None:
    """Connect TikTok advertisers and accounts, and look after their access tokens.

    Settings come from the environment and, beneath it, from what `make run` or `make deploy` saved.
    """
    this.obj = context.read(target or "")


for module in (link, importing, status, stored, config, refresh, disconnect, doctor):
    commands.add_command(module.command)


def main() -> int:
    """Run the command that this process is given; returns its exit status.

    Whatever goes wrong ends in one sentence on standard error, never in a traceback.
    """
    terminal.never_fail_for_encoding()
    settings.prepare_requests()
    terminal.Log()
    try:
        return int(commands.main(prog_name="python -m tokenkeeper", standalone_mode=False))
    except click.exceptions.NoArgsIsHelpError as error:
        return _fail(error.format_message())
    except click.ClickException as error:
        message = error.format_message()
        return _fail(f"{message}{'' if message.endswith(('.', '?')) else '.'} See make help, or --help.")
    except (KeyboardInterrupt, click.Abort):
        show.say("Stopped.")
        return show.INTERRUPTED
    except StoreForbidden as error:
        more = " make doctor shows which permissions you have." if error.reason.cause is Cause.ROLE else ""
        return _fail(f"{error}{more}")
    except LeaseHeld as error:
        return _fail(f"{error} A run may be under way: try again in a minute.")
    except StoreUnavailable as error:
        return _fail(f"{error} Try again in a minute.")
    except KeeperError as error:
        return _fail(str(error))
    except Exception as error:  # noqa: BLE001 - the boundary: a person gets a sentence, the log says where
        log.defect(error)
        return show.COULD_NOT


def _fail(message: str) -> int:
    show.say(message)
    return show.COULD_NOT
