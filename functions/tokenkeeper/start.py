"""Starts the function that the framework asks for: settings first, then the class that serves it.

Libraries that are slow to import, for HTTP and credentials, are imported by the first request that needs them.
"""

from __future__ import annotations

import importlib
from contextlib import suppress
from typing import Protocol, cast

from flask import Request, Response, current_app, has_app_context

from tokenkeeper import events, log, settings
from tokenkeeper.errors import SettingsError


class Function(Protocol):
    """What answers requests."""

    def answer(self, request: Request) -> Response:
        """Answer one request; never raises."""


def start(**classes: str) -> Function:
    """Make the function that `FUNCTION_TARGET` names, of the class that serves that target, as `module:Class`.

    Only that one is imported, and made with the settings that its `needs` name; it may have an `attach` for the Flask
    application. Raises `SystemExit` where a setting is missing or invalid, after one sentence about it.
    """
    settings.prepare_requests()
    module, _, name = classes.get(settings.target(), classes["connect"]).partition(":")
    served = getattr(importlib.import_module(module), name)
    try:
        function = served(settings.read(served.needs))
    except SettingsError as error:
        if settings.in_cloud():
            log.write(events.SETTINGS_INVALID.entry(detail=str(error)))
            raise SystemExit(1) from None
        raise SystemExit(str(error)) from None
    if has_app_context() and hasattr(function, "attach"):
        function.attach(current_app)
    with suppress(ImportError):
        from gunicorn.config import ControlSocketDisable

        ControlSocketDisable.default = True  # it is a file in the home directory
    return cast("Function", function)
