"""Many tokens from a file: several at once, going on after what concerns one line alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field

from tokenkeeper.cli.importing import MAY_PASS, Importer
from tokenkeeper.cli.importlines import Defaults, ImportRefused, Token, read_line
from tokenkeeper.grant import Grant

_AT_ONCE = 4  # keeps Secret Manager's quota of writes busy; more would only be throttled


@dataclass(slots=True)
class Outcome:
    """What became of a file's lines.

    Attributes:
        imported: How many tokens were stored.
        present: How many connections were there already, imported or connected, and well.
        refused: A sentence for each line that was not imported, in the file's order.
    """

    imported: int = 0
    present: int = 0
    refused: list[str] = field(default_factory=list)


def import_lines(
    importer: Importer,
    lines: Sequence[str],
    defaults: Defaults,
    only: Mapping[str, str],
    progress: Callable[[int, int], None],
) -> Outcome:
    """Import the tokens of a file.

    Args:
        importer: Stores one.
        lines: The file's; empty ones are left out.
        defaults: What holds for a line unless it says otherwise.
        only: Labels that a line's token has to have; others are left out.
        progress: Called with how many of how many are done.

    Raises:
        KeeperError: something that would fail for every line alike, such as a missing permission.
    """
    tokens, refused = _read(lines, defaults, only)
    outcome = Outcome()
    pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="import")
    try:
        pending: dict[Future[Grant | None], int] = {
            pool.submit(importer.store, token, spare_healthy=True): number for number, token in tokens.items()
        }
        for done, future in enumerate(as_completed(pending), 1):
            number = pending[future]
            try:
                stored = future.result()
            except MAY_PASS as error:
                refused[number] = f"line {number} ({tokens[number].connection}): {error}"
            else:
                outcome.imported += stored is not None
                outcome.present += stored is None
            progress(done, len(tokens))
    finally:
        pool.shutdown(cancel_futures=True)  # what is being stored is finished
    outcome.refused = [refused[number] for number in sorted(refused)]
    return outcome


def _read(lines: Sequence[str], defaults: Defaults, only: Mapping[str, str]) -> tuple[dict[int, Token], dict[int, str]]:
    tokens: dict[int, Token] = {}
    refused: dict[int, str] = {}
    seen: dict[str, int] = {}
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            token = read_line(text, defaults)
        except ImportRefused as error:
            refused[number] = f"line {number}: {error}"
            continue
        if not only.items() <= token.labels.items():
            continue
        if token.connection in seen:
            refused[number] = f"line {number} ({token.connection}): it is on line {seen[token.connection]} already."
            continue
        seen[token.connection] = number
        tokens[number] = token
    return tokens, refused
