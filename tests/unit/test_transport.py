"""One call to TikTok over a real socket: bounded in time and size, no redirects, and whether it can have arrived."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

import faults
from local.serving import Fault
from local.tiktok import TikTokServer
from tokenkeeper.errors import TikTokError, TikTokSilent, TikTokUnreachable
from tokenkeeper.transport import LARGEST_ANSWER, Transport
from unit import parts

APP = {"app_id": parts.APP_ID, "secret": parts.APP_SECRET}


@pytest.fixture
def transport() -> Iterator[Transport]:
    """What calls."""
    transport = Transport()
    yield transport
    transport._session.close()


def post(transport: Transport, server: TikTokServer, seconds: float = 10, *, fresh: bool = False) -> object:
    """Spend a code that does not exist; what comes back is TikTok's own answer."""
    body = {**APP, "auth_code": "0" * 40}
    return transport.post(f"{server.api_url}/oauth2/access_token/", body, seconds, fresh=fresh)


class TestAnswers:
    def test_an_answer_is_its_status_and_its_object(self, transport: Transport, simulated: TikTokServer) -> None:
        """TikTok's refusals come with HTTP 200 and an object."""
        answer = transport.post(f"{simulated.api_url}/oauth2/access_token/", {**APP, "auth_code": "0" * 40}, 10)
        assert answer.status == 200
        assert answer.document is not None
        assert answer.document["code"] == 40110

    @pytest.mark.parametrize(
        ("fault", "status"),
        [
            (faults.not_json(), 200),
            (faults.empty(), 200),
            (faults.empty(status=502), 502),
            (faults.html(), 502),
            (Fault(status=200, body=b"[1, 2]"), 200),
            (Fault(status=200, body=b"\xff\xfe{}"), 200),
            (Fault(status=200, body=b"[" * 100_000), 200),
        ],
        ids=["plain text", "nothing", "nothing with a 502", "HTML", "a list", "no UTF-8", "a tower of brackets"],
    )
    def test_what_is_no_object_is_none(
        self, transport: Transport, simulated: TikTokServer, fault: Fault, status: int
    ) -> None:
        """The status is kept, and there is no document."""
        simulated.add_fault(fault)
        answer = transport.post(f"{simulated.api_url}/oauth2/access_token/", APP, 10)
        assert (answer.status, answer.document) == (status, None)

    def test_no_repr_shows_what_came_back(self, transport: Transport, simulated: TikTokServer) -> None:
        """An answer may hold a token, so it is not shown."""
        simulated.add_fault(Fault(status=200, body={"code": 0, "data": {"access_token": "very-secret"}}))
        assert "very-secret" not in repr(post(transport, simulated))

    def test_a_redirect_is_not_followed(self, transport: Transport, simulated: TikTokServer) -> None:
        """Whoever answers with another address does not get the app secret sent there."""
        simulated.add_fault(faults.redirect(f"{simulated.url}/elsewhere", status=307))
        answer = transport.post(f"{simulated.api_url}/oauth2/access_token/", APP, 10)
        assert answer.status == 307
        assert len(simulated.calls) == 1

    @pytest.mark.parametrize("size", [LARGEST_ANSWER, 10 * 1024 * 1024])
    def test_over_a_megabyte_is_no_answer(self, transport: Transport, simulated: TikTokServer, size: int) -> None:
        """What is too large is not read to its end."""
        simulated.add_fault(faults.huge(size=size))
        with pytest.raises(TikTokSilent, match="larger than 1 MB"):
            post(transport, simulated)

    def test_a_get_brings_query_and_headers(self, transport: Transport, simulated: TikTokServer) -> None:
        """What is asked for by GET goes into the address, the token into a header."""
        transport.get(f"{simulated.api_url}/oauth2/advertiser/get/", APP, {"Access-Token": "t"}, 10)
        assert simulated.requests_of("advertiser_get") == [{**APP, "Access-Token": "t"}]


class TestTime:
    @pytest.mark.parametrize(
        "fault",
        [
            Fault(do="hold", hold="slow"),
            Fault(do="hold", hold="slow too", when="after"),
            faults.drip(seconds=30),
        ],
        ids=["no answer", "no answer after it took effect", "an answer that comes byte by byte"],
    )
    def test_all_of_it_takes_no_longer_than_allowed(
        self, transport: Transport, simulated: TikTokServer, fault: Fault
    ) -> None:
        """However slowly an answer comes, the call is over in time, and nobody knows whether it took place."""
        simulated.add_fault(fault)
        with pytest.raises(TikTokSilent, match="not answer in time"):
            post(transport, simulated, 0.4)

    def test_a_slow_answer_that_comes_in_time_is_one(self, transport: Transport, simulated: TikTokServer) -> None:
        """Slowness alone is no failure."""
        simulated.add_fault(faults.drip(seconds=0.2))
        post(transport, simulated, 10)


class TestWhetherItArrived:
    @pytest.mark.parametrize(
        "fault",
        [
            Fault(do="drop"),
            Fault(do="drop", when="after"),
            faults.truncated(),
        ],
        ids=["closed without an answer", "closed after it took effect", "closed in the middle of the answer"],
    )
    @pytest.mark.parametrize("fresh", [False, True], ids=["a kept connection", "a new connection"])
    def test_a_broken_connection_leaves_it_unknown(
        self, transport: Transport, simulated: TikTokServer, fault: Fault, fresh: bool
    ) -> None:
        """What was sent may have taken place, so it is not sent again by itself."""
        post(transport, simulated, fresh=fresh)
        simulated.forget_calls()
        simulated.add_fault(fault)
        with pytest.raises(TikTokSilent):
            post(transport, simulated, fresh=fresh)
        assert len(simulated.calls) == 1

    def test_a_refused_connection_is_certain_not_to_have_arrived(self, transport: Transport) -> None:
        """Where nobody listens, nothing was sent."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"http://127.0.0.1:{probe.getsockname()[1]}/"
        with pytest.raises(TikTokUnreachable):
            transport.post(address, APP, 5)

    def test_a_name_that_nobody_knows_is_certain_not_to_have_arrived(self, transport: Transport) -> None:
        """Without an address nothing was sent."""
        with pytest.raises(TikTokUnreachable):
            transport.post("https://tiktok.invalid/", APP, 5)

    def test_what_is_no_tls_is_certain_not_to_have_arrived(self, transport: Transport, simulated: TikTokServer) -> None:
        """A handshake that fails comes before anything of ours is sent."""
        with pytest.raises(TikTokUnreachable):
            transport.post(simulated.url.replace("http:", "https:") + "/", APP, 5)

    def test_one_that_listens_and_never_answers_has_perhaps_got_it(self, transport: Transport) -> None:
        """A connection that was accepted by nobody's program still took what was sent."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            with pytest.raises(TikTokSilent):
                transport.post(f"http://127.0.0.1:{listener.getsockname()[1]}/", APP, 0.3)

    def test_no_error_tells_what_was_sent(self, transport: Transport, simulated: TikTokServer) -> None:
        """Neither the text of an error nor what it came from holds address, secret or token."""
        simulated.add_fault(Fault(do="drop"))
        with pytest.raises(TikTokError) as error:
            transport.get(f"{simulated.api_url}/oauth2/advertiser/get/", APP, {"Access-Token": "t-o-k-e-n"}, 5)
        told = repr(error.value) + str(error.value) + repr(error.value.__cause__)
        assert parts.APP_SECRET not in told
        assert "t-o-k-e-n" not in told


class TestConnections:
    def test_many_threads_share_one_transport(self, transport: Transport, simulated: TikTokServer) -> None:
        """Calls of several threads do not disturb one another."""
        done: list[object] = []
        threads = [threading.Thread(target=lambda: done.append(post(transport, simulated))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(done) == 8

    def test_the_environment_adds_nothing(
        self, transport: Transport, simulated: TikTokServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """No proxy of the environment gets to see the app secret."""
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        post(transport, simulated)
        assert len(simulated.calls) == 1
