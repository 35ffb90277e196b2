"""Requests as no well-behaved client sends them, byte for byte."""

import re
import socket
from dataclasses import dataclass

from canaries import Canaries
from stage import Function

FORM = "Content-Type: application/x-www-form-urlencoded"
NEW_KEY = "canary-another-key-abcdefabcdefabcdefabcdefabcdef"
EVERYWHERE = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "",
}


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: str


class Wire:
    """Connections to one function. What comes back, the canaries record."""

    def __init__(self, function: Function, canaries: Canaries) -> None:
        self._port = function.port
        self._canaries = canaries

    def send(self, method: str, target: str, *headers: str, body: bytes = b"", host: str = "tokens.example") -> Answer:
        """One request on a connection of its own, in Latin-1, read to the end; of a header all values are kept."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
        if body and not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in headers):
            lines.append(f"Content-Length: {len(body)}")
        with socket.create_connection(("127.0.0.1", self._port), 60) as connection:
            connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
            with connection.makefile("rb") as stream:
                head, _, content = stream.read().partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        received: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(": ")
            received[name] = f"{received[name]}\n{value}" if name in received else value
        answer = Answer(int(first.split(" ")[1]), received, content.decode())
        self._canaries.record("a page", re.sub(r'name="link" value="[^"]*"', "", answer.body))
        self._canaries.record("the headers of a page", "\n".join(lines))
        return answer


def reference(text: str) -> str:
    """The reference that a page shows, or an empty text."""
    found = re.search(r"<code>([0-9a-f]{8})</code>", text)
    return found[1] if found else ""
