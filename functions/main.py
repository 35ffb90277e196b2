"""The two functions, as Google Cloud (and functions-framework anywhere) finds them.

`connect` is public: the page that TikTok sends people back to. `refresh` is private: Cloud Scheduler calls it.
"""

import functions_framework
from flask import Request, Response

from tokenkeeper.start import start

_function = start()  # the one of the two that this process serves


@functions_framework.http
def connect(request: Request) -> Response:
    """Connect an advertiser: see `tokenkeeper.connect`."""
    return _function.answer(request)


@functions_framework.http
def refresh(request: Request) -> Response:
    """Keep every stored token working: see `tokenkeeper.refresh`."""
    return _function.answer(request)
