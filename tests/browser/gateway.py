"""A company's gateway, which leads to a warning of its own before it lets people go on to TikTok."""

from __future__ import annotations

from emulators.serving import Answer, LocalServer, Request


class Gateway(LocalServer):
    """Answers TikTok's address with a redirect to another host's, which leads to TikTok in the end."""

    def __init__(self, consent: str) -> None:
        super().__init__()
        self._consent = consent

    def perform(self, request: Request) -> Answer:
        warning = f"{self.url.replace('127.0.0.1', 'localhost')}/warning"
        target = warning if request.path == "/portal/auth" else self._consent
        return Answer(302, headers={"Location": f"{target}?{request.query}"})
