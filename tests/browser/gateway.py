"""A company's gateway, which leads to a warning of its own before it lets people go on to TikTok."""

from __future__ import annotations

from emulators.serving import Answer, LocalServer, Request


class Gateway(LocalServer):
    """Answers TikTok's address with a redirect to another host's, which leads to TikTok in the end."""

    def __init__(self, consent: str) -> None:
        super().__init__()
        self._consent = consent

    def identify(self, request: Request) -> tuple[str, str]:
        return "gateway", request.path

    def perform(self, request: Request) -> Answer:
        if request.path == "/portal/auth":
            return Answer(
                302, headers={"Location": f"{self.url.replace('127.0.0.1', 'localhost')}/warning?{request.query}"}
            )
        return Answer(302, headers={"Location": f"{self._consent}?{request.query}"})
