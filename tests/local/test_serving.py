"""The base of the emulators: what it does not carry out.

That it serves, and that the faults act that tests add, is proved by every test in front of it.
"""

import http.client
import socket

import pytest

from emulators.serving import Answer, LocalServer, Request
from local.serving import CannotStart


class Counter(LocalServer):
    """Counts the requests that took effect."""

    effects = 0

    def perform(self, request: Request) -> Answer:  # noqa: ARG002
        self.effects += 1
        return Answer(body=b"some")


def test_a_request_that_is_cut_off_has_not_arrived() -> None:
    """Its caller died while it sent it: nothing is carried out, and nobody gets an answer."""
    with Counter() as server:
        host, _, port = server.address.partition(":")
        with socket.create_connection((host, int(port)), 20) as caller:
            caller.sendall(b"POST /write HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
            caller.shutdown(socket.SHUT_WR)
            assert caller.recv(100) == b""
        assert (server.effects, server.calls) == (0, [])


def test_other_addresses() -> None:
    """An emulator does not start on an address that others could reach."""
    with pytest.raises(CannotStart, match="loopback"):
        Counter("0.0.0.0").start()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "8090-shell.example", "Origin": "https://8090-shell.example"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Transfer-Encoding": "chunked"}, 411),
        ({"Content-Length": "99999999999"}, 413),
    ],
)
def test_other_sites_pages(headers: dict[str, str], status: int) -> None:
    """Requests that a foreign page or a rebound name could make, and unreadable ones, take no effect."""
    with Counter(names=["8090-shell.example"]) as server:
        connection = http.client.HTTPConnection(server.address)
        connection.putrequest("POST", "/a", skip_host="Host" in headers)
        for name, value in {"Content-Length": "0", **headers}.items():
            connection.putheader(name, value)
        connection.endheaders()
        assert connection.getresponse().status == status
        assert server.effects == (status == 200)
        connection.close()
