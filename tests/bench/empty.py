"""A function that does nothing: what every start is compared with."""

import functions_framework
from flask import Request


@functions_framework.http
def connect(_request: Request) -> str:
    """Answer."""
    return "nothing"
