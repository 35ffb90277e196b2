"""The two functions, as Google Cloud (and functions-framework anywhere) finds them.

`connect` is public: TikTok redirects people to it. `refresh` is private: Cloud Scheduler calls it.
"""

import functions_framework
from flask import Request, Response

from tokenkeeper.start import start

_function = start(
    connect="tokenkeeper.connect.app:Connect",
    refresh="tokenkeeper.refresh.app:Refresh",
)  # the one of the two that this process serves


@functions_framework.http
def connect(request: Request) -> Response:
    """Connect an advertiser or a TikTok account: see `tokenkeeper.connect.app`."""
    return _function.answer(request)


@functions_framework.http
def refresh(request: Request) -> Response:
    """Keep every stored token working: see `tokenkeeper.refresh.app`."""
    return _function.answer(request)
