"""What a run is asked to do: every body that it follows, and the sentence for every one that it does not."""

from __future__ import annotations

import pytest

from tokenkeeper.refresh.request import LARGEST_BODY, BadRequestError, RunRequest, read_request

FOLLOWED = {
    "empty": (b" \n", RunRequest()),
    "an empty object": (b"{}", RunRequest()),
    "force": (b'{"force": true}', RunRequest(force=True)),
    "names, one of them twice": (b'{"connections": ["b", "a", "b"]}', RunRequest(("b", "a"))),
}
NO_LIST = 'connections is not a list of at least one name, like ["acme"].'
REFUSED = {
    "too large": (b"x" * (LARGEST_BODY + 1), "The body is too large."),
    "no UTF-8": (b"\xff", "The body is not JSON."),
    "a tower of brackets": (b"[" * 100_000, "The body is not JSON."),
    "a list": (b'["acme"]', 'The body is not a JSON object, like {"connections": ["acme"]}.'),
    "an unknown key": (b'{"name": 1}', "The body has the unknown key 'name'; known are connections and force."),
    "force as a number": (b'{"force": 1}', "force is neither true nor false."),
    "no name": (b'{"connections": []}', NO_LIST),
    "a name without a list": (b'{"connections": "acme"}', NO_LIST),
    "a path": (b'{"connections": ["../x"]}', "connections holds '../x', which is no connection's name."),
    "a number": (b'{"connections": [7]}', "connections holds '7', which is no connection's name."),
}


@pytest.mark.parametrize(("body", "request_"), FOLLOWED.values(), ids=FOLLOWED)
def test_a_body_that_is_followed(body: bytes, request_: RunRequest) -> None:
    """Cloud Scheduler sends none; names count once, in their order."""
    assert read_request(body) == request_
    assert request_.limited is (request_.connections is not None)


@pytest.mark.parametrize(("body", "sentence"), REFUSED.values(), ids=REFUSED)
def test_a_body_that_is_refused(body: bytes, sentence: str) -> None:
    """The sentence says which part is wrong."""
    with pytest.raises(BadRequestError) as error:
        read_request(body)
    assert str(error.value) == sentence
