"""What a run is asked to do: every body that it follows, and the sentence for every one that it does not."""

import pytest

from tokenkeeper.refresh.request import LARGEST_BODY, BadRequestError, RunRequest, read_request

FOLLOWED = {
    b" \n": RunRequest(),
    b"{}": RunRequest(),
    b'{"force": true}': RunRequest(force=True),
    b'{"connections": ["b", "a", "b"]}': RunRequest(("b", "a")),
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


def test_a_body_that_is_followed() -> None:
    """Cloud Scheduler sends none; names count once, in their order, and make a run limited."""
    assert {body: read_request(body) for body in FOLLOWED} == FOLLOWED
    assert [found.limited for found in FOLLOWED.values()] == [False, False, False, True]


@pytest.mark.parametrize(("body", "sentence"), REFUSED.values(), ids=REFUSED)
def test_a_body_that_is_refused(body: bytes, sentence: str) -> None:
    """The sentence says which part is wrong."""
    with pytest.raises(BadRequestError) as error:
        read_request(body)
    assert str(error.value) == sentence
