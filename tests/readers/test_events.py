"""`infra/readers/events.md`: the function, served by functions-framework, with log entries as Pub/Sub delivers them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from emulators.serving import Answer, Request
from gcp.test_readme import complaints
from readers.internet import Internet
from readers.recipe import recipe, served
from readers.wires import Handler, Server

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


class Chat(Server):
    """A chat that keeps what is posted to it."""

    def __init__(self) -> None:
        self.posted: list[str] = []
        super().__init__(Posts)


class Posts(Handler):
    server: Chat

    def respond(self) -> None:
        self.server.posted.append(json.loads(self.body())["text"])
        self.answer(200)


@pytest.fixture
def chat() -> Iterator[Chat]:
    with Chat() as server:
        yield server


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
    variables = {"CHAT_WEBHOOK": f"http://127.0.0.1:{chat.port}/", "CONNECTION": "acme", "JOB": JOB}
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
