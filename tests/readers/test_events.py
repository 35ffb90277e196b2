"""`infra/readers/events.md`: the function, served by functions-framework, with log entries as Pub/Sub delivers them."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from gcp.test_readme import complaints
from local.exchange import Answer, Request
from readers.internet import Internet
from readers.recipe import recipe, served

pytestmark = pytest.mark.readers

PAGE = recipe("events")
(SAMPLE,) = (json.loads(text) for text in PAGE.blocks("json"))
JOB = "projects/my-project-123/locations/europe-west1/jobs/tiktok-campaigns"
HEADERS = {
    "ce-id": "1",
    "ce-source": "//pubsub.googleapis.com/projects/my-project-123/topics/tiktok-ads-events",
    "ce-specversion": "1.0",
    "ce-type": "google.cloud.pubsub.topic.v1.messagePublished",
}


class Chat(HTTPServer):
    """A chat that keeps what is posted to it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Posts)
        self.posted: list[str] = []


class Posts(BaseHTTPRequestHandler):
    server: Chat

    def do_POST(self) -> None:
        self.server.posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing is printed."""


@pytest.fixture
def chat() -> Iterator[Chat]:
    with Chat() as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


def delivered(address: str, entry: dict[str, Any]) -> int:
    """Sends an entry as Eventarc does; returns the status."""
    data = base64.b64encode(json.dumps(entry).encode()).decode()
    body = {"message": {"data": data, "messageId": "1", "attributes": {}}, "subscription": "projects/p/subscriptions/s"}
    return requests.post(address, json=body, headers=HEADERS, timeout=60).status_code


def test_events_are_posted_and_a_job_is_started(internet: Internet, chat: Chat, tmp_path: Path) -> None:
    """What needs a person is posted; a connection that works again starts its job, another connection's does not."""
    started: list[str] = []

    def run(request: Request) -> Answer:
        started.append(request.headers["Authorization"].partition(" ")[0])
        return Answer(body={"name": "operations/1"})

    internet.pages[f"/v2/{JOB}:run"] = run
    variables = {"CHAT_WEBHOOK": f"http://127.0.0.1:{chat.server_address[1]}/", "CONNECTION": "acme", "JOB": JOB}
    recovered = {"event": "connection.recovered", "message": "acme works again."}
    with served(
        PAGE, internet, "events", tmp_path, "--target=react", "--signature-type=cloudevent", **variables
    ) as url:
        assert delivered(url, SAMPLE) == 200
        assert (chat.posted, started) == ([f"ERROR reauthorization.required: {SAMPLE['jsonPayload']['message']}"], [])
        for name in ("acme", "beta"):
            assert delivered(url, {"severity": "NOTICE", "jsonPayload": {**recovered, "connection": name}}) == 200
        assert (chat.posted[1:], started) == (2 * ["NOTICE connection.recovered: acme works again."], ["Bearer"])
        del internet.pages[f"/v2/{JOB}:run"]
        assert delivered(url, {"severity": "NOTICE", "jsonPayload": {**recovered, "connection": "acme"}}) == 500
    assert internet.refused == []


def test_gcloud_understands_the_commands() -> None:
    """The function's and the one that lets it start the job."""
    assert complaints([line for block in PAGE.commands for line in block.splitlines()]) == []
