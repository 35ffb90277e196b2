"""What a run is asked to do: every body that it follows, and the sentence for every one that it does not."""

from __future__ import annotations

import pytest

from tokenkeeper.refresh.request import LARGEST_BODY, BadRequestError, RunRequest, read_request


@pytest.mark.parametrize(
    ("body", "request_"),
    [
        (b"", RunRequest()),
        (b" \n", RunRequest()),
        (b"{}", RunRequest()),
        (b'{"force": true}', RunRequest(force=True)),
        (b'{"force": false}', RunRequest()),
        (b'{"connections": ["acme"]}', RunRequest(("acme",))),
        (b'{"connections": ["b", "a", "b"], "force": true}', RunRequest(("b", "a"), force=True)),
    ],
    ids=["empty", "white space", "an empty object", "force", "no force", "one name", "names, one of them twice"],
)
def test_a_body_that_is_followed(body: bytes, request_: RunRequest) -> None:
    """Cloud Scheduler sends none; names count once, in their order."""
    assert read_request(body) == request_


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"x" * (LARGEST_BODY + 1), "The body is too large."),
        (b"connections=acme", "The body is not JSON."),
        (b"\xff", "The body is not JSON."),
        (b"[" * 100_000, "The body is not JSON."),
        (b'["acme"]', 'The body is not a JSON object, like {"connections": ["acme"]}.'),
        (b'{"conections": ["acme"]}', "The body has the unknown key 'conections'; known are connections and force."),
        (b'{"force": 1}', "force is neither true nor false."),
        (b'{"connections": []}', 'connections is not a list of at least one name, like ["acme"].'),
        (b'{"connections": null}', 'connections is not a list of at least one name, like ["acme"].'),
        (b'{"connections": "acme"}', 'connections is not a list of at least one name, like ["acme"].'),
        (b'{"connections": ["Acme"]}', "connections holds 'Acme', which is no connection's name."),
        (b'{"connections": [7]}', "connections holds '7', which is no connection's name."),
        (b'{"connections": ["../x"]}', "connections holds '../x', which is no connection's name."),
    ],
    ids=[
        "too large",
        "a form",
        "no UTF-8",
        "a tower of brackets",
        "a list",
        "an unknown key",
        "force as a number",
        "no name",
        "names that are null",
        "a name without a list",
        "a name in capitals",
        "a number",
        "a path",
    ],
)
def test_a_body_that_is_refused(body: bytes, sentence: str) -> None:
    """The sentence says which part is wrong."""
    with pytest.raises(BadRequestError) as error:
        read_request(body)
    assert str(error.value) == sentence


def test_a_run_about_some_connections_is_limited() -> None:
    """It does not count as the scheduled run."""
    assert RunRequest(("acme",)).limited
    assert not RunRequest(force=True).limited
