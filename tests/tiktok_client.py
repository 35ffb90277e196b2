"""Asks the simulated TikTok over its socket, as any program would; reads the forms of pages."""

import json
from html.parser import HTMLParser
from typing import Any

import requests

from emulators.tiktok import APP_ID, APP_SECRET, TikTokServer

CREDENTIALS = {"app_id": APP_ID, "secret": APP_SECRET}
CLIENT = {"client_id": APP_ID, "client_secret": APP_SECRET}


def post(server: TikTokServer, path: str, **fields: object) -> dict[str, Any]:
    """A call of the API with a JSON body; returns the envelope."""
    answer = requests.post(server.api_url + path, json=fields, timeout=10)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def get(server: TikTokServer, path: str, token: str | None = None, **parameters: object) -> dict[str, Any]:
    """A call of the API with a query, lists and objects in JSON; returns the envelope."""
    headers = {} if token is None else {"Access-Token": token}
    query = {name: value if isinstance(value, str) else json.dumps(value) for name, value in parameters.items()}
    answer = requests.get(server.api_url + path, params=query, headers=headers, timeout=10)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


class Form(HTMLParser):
    """The fields that a browser would send if nothing was changed, and where to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action = ""
        self.fields: list[tuple[str, str]] = []
        self.decisions: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action = given["action"]
        elif tag == "button":
            self.decisions.append(given.get("value", ""))
        elif tag == "input" and (given["type"] == "hidden" or "checked" in given):
            self.fields.append((given["name"], given["value"]))

    def changed(self, *fields: tuple[str, str]) -> list[tuple[str, str]]:
        """The fields, with all of these names replaced by these."""
        names = {name for name, _ in fields}
        return [(name, value) for name, value in self.fields if name not in names] + list(fields)
