"""Starts the function that the framework asks for: settings first, then what belongs to it.

Libraries that are slow to import are loaded in the background once the server process has forked: the start does not
wait for them, and the first request that needs them seldom does.
"""

from __future__ import annotations

import os
import threading
from typing import Protocol

from flask import Request, Response, current_app, has_app_context

from tokenkeeper import log, settings
from tokenkeeper.errors import SettingsError


class Function(Protocol):
    """What answers requests."""

    def answer(self, request: Request) -> Response:
        """Answer one request; never raises."""


def start() -> Function:
    """Make the function that `FUNCTION_TARGET` names.

    Raises:
        SystemExit: a setting is missing or wrong; one sentence about it has been written.
    """
    try:
        function = _function(settings.target())
    except SettingsError as error:
        if settings.in_cloud():
            log.event("CRITICAL", "settings.invalid", str(error))
            raise SystemExit(1) from None
        raise SystemExit(str(error)) from None
    _keep_gunicorn_to_itself()
    os.register_at_fork(after_in_child=lambda: threading.Thread(target=warm_up, name="warm-up", daemon=True).start())
    return function


def warm_up() -> None:
    """Import what is slow to import."""
    import tokenkeeper.secretmanager
    import tokenkeeper.transport  # noqa: F401


def _keep_gunicorn_to_itself() -> None:
    """Do without the web server's control socket, which is a file in the home directory."""
    try:
        from gunicorn.config import ControlSocketDisable
    except ImportError:
        return
    ControlSocketDisable.default = True


def _function(target: str) -> Function:
    if target == "refresh":
        from tokenkeeper.refresh import Refresh

        return Refresh(settings.read(settings.REFRESH))
    from tokenkeeper.connect import Connect

    connect = Connect(settings.read(settings.CONNECT))
    if has_app_context():
        connect.attach(current_app)
    return connect
