"""The simulated TikTok: its Business API as far as the keeper and its readers need it, and its consent pages.

`api` has the addresses, `token_api`, `advertiser_api` and `account_api` the endpoints, `authorizations` and `tokens`
what they rest on, `options` the behaviour, `ads`, `report` and `videos` the contents, `consent` the pages.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from local.exchange import Answer, Request
from local.serving import LocalServer
from local.tiktok import consent
from local.tiktok.answers import Refusal, envelope, refused
from local.tiktok.api import ENDPOINTS
from local.tiktok.authorizations import Authorizations
from local.tiktok.options import Options

APP_ID = "7000000000000000000"
APP_SECRET = "simulated-app-secret-0123456789abcdef00"
DEFAULT_OPTIONS = Options()


class TikTokServer(LocalServer, Authorizations):
    """A TikTok on a socket of this machine.

    Args:
        app_id: the developer app.
        app_secret: its secret.
        options: the behaviour.
        host: where to listen; a browser elsewhere may need more than loopback.
        port: 0 takes a free one.
        names: host names that it answers to beside those of this machine.
        path: JSON file, mode 0600, that keeps codes and grants over a restart; None keeps them in memory.
        log: called with one line for each request: method, path without the query, and TikTok's code or the status.
    """

    loopback_only = False

    def __init__(
        self,
        *,
        app_id: str = APP_ID,
        app_secret: str = APP_SECRET,
        options: Options = DEFAULT_OPTIONS,
        host: str = "127.0.0.1",
        port: int = 0,
        names: Sequence[str] = (),
        path: Path | None = None,
        log: Callable[[str], None] | None = None,
    ) -> None:
        LocalServer.__init__(self, host, port, names=names, log=log)
        Authorizations.__init__(self, app_id, app_secret, options, path)

    def perform(self, request: Request) -> Answer:
        if request.path in ENDPOINTS:
            return self._business(request)
        if request.path not in consent.PAGES:
            return Answer(404, b"404 page not found", "text/plain; charset=utf-8")
        if request.method not in ("GET", "HEAD", "POST"):
            return _not_allowed("GET, HEAD, POST")
        return consent.answer(self, request)

    def _business(self, request: Request) -> Answer:
        method, name, answer = ENDPOINTS[request.path]
        if request.method != method:
            return _not_allowed(method)
        try:
            body = envelope(answer(self, request))
        except Refusal as refusal:
            body = refused(refusal.code, refusal.message)
        return Answer(200, body, "application/json", note=f"{name} {body['code']} {body['message']}")


def _not_allowed(methods: str) -> Answer:
    return Answer(405, b"405 method not allowed", "text/plain; charset=utf-8", {"Allow": methods})
