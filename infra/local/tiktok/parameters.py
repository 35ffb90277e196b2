"""Reads what calls bring: JSON bodies, query parameters and the token header. What is wrong is a `Refusal`."""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from local.exchange import Request
from local.tiktok.answers import Refusal

PAGE_SIZE, LARGEST_PAGE = 10, 1000


def json_object(body: bytes) -> dict[str, Any] | None:
    """A body that is a JSON object, None for any other."""
    try:
        value = json.loads(body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def required(request: Request, *names: str) -> dict[str, Any]:
    """The JSON body, in which these fields are strings that are not empty."""
    body = json_object(request.body)
    if body is None:
        raise Refusal(40002, "The body is not a JSON object.")
    for name in names:
        if not isinstance(body.get(name), str) or not body[name]:
            raise Refusal(
                40002, f"{name}: {'Not a valid string' if name in body else 'Missing data for required field'}."
            )
    return body


def access_token(request: Request) -> str:
    """The Access-Token header; 40104 without one."""
    token: str = request.headers.get("Access-Token", "")
    if not token:
        raise Refusal(40104)
    return token


def list_parameter(request: Request, name: str) -> list[str]:
    """A query parameter that is a JSON list of strings; empty where it is absent."""
    text = request.parameter(name)
    try:
        value = json.loads(text) if text else []
    except ValueError:
        value = None
    if not isinstance(value, list) or not all(isinstance(one, str) and one.isascii() for one in value):
        raise Refusal(40002, f"{name}: Not a valid list.")
    return value


def integer_parameter(request: Request, name: str, default: int) -> int:
    """A query parameter that is a whole number."""
    try:
        return int(request.parameter(name) or default)
    except ValueError:
        raise Refusal(40002, f"{name}: Not a valid integer.") from None


def date_parameter(request: Request, name: str) -> date | None:
    """A query parameter that is a day; None where it is absent."""
    value = request.parameter(name)
    try:
        return date.fromisoformat(value) if value else None
    except ValueError:
        raise Refusal(40002, f"{name}: Not a valid date.") from None


def page(request: Request, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The page of a list that is asked for, with what TikTok says about the pages."""
    number, size = integer_parameter(request, "page", 1), integer_parameter(request, "page_size", PAGE_SIZE)
    if number < 1 or not 1 <= size <= LARGEST_PAGE:
        raise Refusal(40002, f"page: at least 1, page_size: 1 to {LARGEST_PAGE}.")
    pages = {"page": number, "page_size": size, "total_number": len(rows), "total_page": -(-len(rows) // size)}
    return {"list": list(rows[(number - 1) * size : number * size]), "page_info": pages}
