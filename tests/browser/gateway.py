"""A company's gateway, which leads to a warning of its own before it lets people go on to TikTok."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from emulators.serving import Answer, LocalServer, Request
from stage import Stage, free_port


class Gateway(LocalServer):
    """Answers TikTok's address with a redirect to another host's, which leads to TikTok in the end."""

    def __init__(self, consent: str) -> None:
        super().__init__()
        self._consent = consent

    def perform(self, request: Request) -> Answer:
        target = f"{_on_localhost(self.url)}/warning" if request.path == "/portal/auth" else self._consent
        return Answer(302, headers={"Location": f"{target}?{request.query}"})


@contextmanager
def behind_a_gateway(stage: Stage) -> Iterator[str]:
    """A `connect` on http://localhost, whose way to TikTok leads over a page elsewhere; its address."""
    port = str(free_port())
    address = f"http://localhost:{port}"
    with Gateway(_on_localhost(stage.tiktok.authorize_url)) as gateway:
        stage.start("connect", PORT=port, PUBLIC_URL=address, TIKTOK_AUTHORIZE_URL=f"{gateway.url}/portal/auth")
        yield address


def _on_localhost(url: str) -> str:
    """The same server under another host's name."""
    return url.replace("127.0.0.1", "localhost")
