"""Pages of lists: newest first, filtered, with tokens that stay right while things come and go."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from local.exchange import Request
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
    """What a list request asks for; a size of 0 leaves it to the server, a token is the last row's number before it."""

    filter: str
    size: str
    token: str

    @classmethod
    def of(cls, request: Request) -> Page:
        """The page that a request asks for."""
        return cls(request.parameter("filter"), request.parameter("pageSize") or "0", request.parameter("pageToken"))


def cut_page(kind: str, rows: Iterable[Row], page: Page) -> dict[str, Any]:
    """A list's answer.

    Args:
        kind: Name of the list in the answer, such as ``secrets``.
        rows: All that there are, the highest number first.
        page: What is asked for.

    Raises:
        ApiError: INVALID_ARGUMENT, where filter, size or token are wrong.
    """
    if not page.size.isdecimal():
        raise invalid(f"Invalid value at 'page_size' (TYPE_INT32), \"{page.size[:40]}\"")
    if page.token and not page.token.isdecimal():
        raise invalid("The provided page token is not valid.")
    condition = parse_filter(page.filter)
    size = min(int(page.size) or USUAL_SIZE, LARGEST_SIZE)
    found: list[dict[str, Any]] = []
    last = 0
    for order, render in rows:
        if page.token and order >= int(page.token):
            continue
        row = render()
        if not condition(row):
            continue
        if len(found) == size:
            return {kind: found, "nextPageToken": str(last)}
        found.append(row)
        last = order
    return {kind: found} if found else {}
