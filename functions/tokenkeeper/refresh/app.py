"""The private function: POST, one run, JSON. Cloud Scheduler calls it; IAM keeps everyone else out."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from flask import Request, Response

from tokenkeeper import clock, log, settings
from tokenkeeper.refresh.outcome import Summary
from tokenkeeper.refresh.rate import RateLimiter
from tokenkeeper.refresh.request import LARGEST_BODY, BadRequestError, RunRequest, read_request
from tokenkeeper.refresh.run import Progress, Run
from tokenkeeper.refresh.shared import Pending, RunContext
from tokenkeeper.settings import Settings
from tokenkeeper.store.vault import Vault
from tokenkeeper.tiktok.families import TikTok

_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class Refresh:
    """The whole function, for one set of settings. What TikTok issued and the store has not taken outlives a run."""

    needs = settings.REFRESH

    def __init__(
        self,
        settings: Settings,
        vault: Vault | None = None,
        tiktok: TikTok | None = None,
        rate: RateLimiter | None = None,
    ) -> None:
        """Set up. What is None is made as the settings say; `rate` is what paces the calls of `tiktok`."""
        self._settings = settings
        self._rate = rate or RateLimiter(settings.max_qps)
        self._vault = vault or Vault(settings)
        self._tiktok = tiktok or TikTok(settings, self._rate)
        self._pending: dict[str, Pending] = {}

    def answer(self, request: Request) -> Response:
        """Answer one request. Never raises: a defect ends in a 500 and a log entry."""
        with log.context(request.headers.get, self._settings.project):
            if request.method != "POST":
                return _json({"error": "Call this address with POST."}, 405, {"Allow": "POST"})
            try:
                summary = self.run(read_request(request.stream.read(LARGEST_BODY + 1)))
            except BadRequestError as error:
                return _json({"error": str(error)}, 400)
            except Exception as error:  # noqa: BLE001 - the boundary: nothing may reach the framework's own error page
                log.defect(error)
                return _json({"error": "A defect of the token keeper; see its log."}, 500)
        return _json(summary.document(), summary.status)

    def run(self, request: RunRequest, progress: Progress = lambda _done, _total: None) -> Summary:
        """Make one run: see `Run.go`; `progress` is told how many connections are done, and of how many."""
        self._rate.begin_run()
        due_by = clock.now() + timedelta(seconds=self._settings.run_budget)
        context = RunContext(self._settings, self._vault, self._tiktok, self._pending, due_by, request.force)
        return Run(context, self._rate, request, progress).go()


def _json(document: dict[str, Any], status: int, headers: dict[str, str] | None = None) -> Response:
    text = json.dumps(document) + "\n"
    return Response(text, status, {**_HEADERS, **(headers or {})}, content_type="application/json; charset=utf-8")
