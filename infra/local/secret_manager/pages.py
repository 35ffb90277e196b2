"""Pages of lists: newest first, filtered, with tokens that stay right while things come and go."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from local.secret_manager.errors import invalid
from local.secret_manager.filter import parse_filter

USUAL_SIZE = 100
"""Resources on a page where a request names no size."""
LARGEST_SIZE = 25_000
"""Resources on a page at most, as at Google."""

Row = tuple[int, Callable[[], dict[str, Any]]]
"""A number that orders the row, and what makes its JSON."""


@dataclass(frozen=True)
class Page:
    """What a list request asks for; a size of 0 leaves it to the server."""

    filter: str = ""
    size: int = 0
    token: str = ""


def cut_page(kind: str, rows: Sequence[Row], page: Page) -> dict[str, Any]:
    """A list's answer.

    Args:
        kind: Name of the list in the answer, such as ``secrets``.
        rows: All that there are, the highest number first.
        page: What is asked for.

    Raises:
        ApiError: INVALID_ARGUMENT, where filter, size or token are wrong.
    """
    if page.size < 0:
        raise invalid("Field [page_size] must not be negative.")
    condition = parse_filter(page.filter)
    size = min(page.size or USUAL_SIZE, LARGEST_SIZE)
    below = _read_token(kind, page) if page.token else None
    found: list[dict[str, Any]] = []
    answer: dict[str, Any] = {}
    last = 0
    for order, render in rows:
        if below is not None and order >= below:
            continue
        row = render()
        if not condition(row):
            continue
        if len(found) == size:
            answer["nextPageToken"] = _write_token(last, kind, page)
            break
        found.append(row)
        last = order
    if found:
        answer[kind] = found
    if rows and not page.filter.strip():
        answer["totalSize"] = len(rows)
    return answer


def _mark(kind: str, page: Page) -> str:
    """Tells tokens of different lists apart: a token is good only for the list and filter that it came from."""
    return hashlib.sha256(f"{kind}\n{page.filter}".encode()).hexdigest()[:8]


def _write_token(last: int, kind: str, page: Page) -> str:
    return base64.urlsafe_b64encode(json.dumps([last, _mark(kind, page)]).encode()).decode()


def _read_token(kind: str, page: Page) -> int:
    try:
        last, mark = json.loads(base64.urlsafe_b64decode(page.token))
    except (ValueError, TypeError):
        last, mark = None, None
    if not isinstance(last, int) or mark != _mark(kind, page):
        raise invalid("The provided page token is not valid.")
    return last
