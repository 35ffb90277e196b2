"""Secrets: that they do not leave, and that it would be noticed. Promise 8. [n]: line n of `tests/README.md`."""

import base64
import dataclasses
import gzip
import html
import json
import logging
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import pytest

import certificates
from canaries import Canaries
from command_line import Cli
from emulators.serving import Answer, Fault, LocalServer, Request
from emulators.tiktok import Options, TikTokServer
from proxies import Relay
from stage import APP_ID, APP_SECRET, LINK_KEY, PROJECT, Stage, free_port
from tokenkeeper import payload
from tokenkeeper.clock import Deadline
from tokenkeeper.connect.links import Signer
from tokenkeeper.connect.request import Arguments
from tokenkeeper.errors import KeeperError, TikTokError, TikTokSilent, TikTokUnreachable
from tokenkeeper.grant import TokenResponse
from tokenkeeper.secret import Secret
from tokenkeeper.settings import Settings
from tokenkeeper.store.calls import Call
from tokenkeeper.store.secretmanager import SecretManager
from tokenkeeper.store.versions import Version
from tokenkeeper.tiktok.api import LARGEST_ANSWER, LARGEST_LIST, Api
from tokenkeeper.tiktok.families import TikTok
from tokenkeeper.tiktok.transport import Answer as TikTokAnswer
from unit import parts

SECRET = "canary-Aq7/+Zk=&<_>'\"~9b3"

FORMS: dict[str, Callable[[str], str]] = {
    "as it is": lambda text: text,
    "in the middle of a line": lambda text: f'{{"a": "x{text}y"}}',
    "cut off": lambda text: text[:18] + "…",
    "in an address": lambda text: urllib.parse.urlencode({"a": text}),
    "in an address of an address": lambda text: urllib.parse.quote(urllib.parse.quote(text, ""), ""),
    "in HTML": lambda text: f"<b>{html.escape(text)}</b>",
    "in base64": lambda text: base64.b64encode(text.encode()).decode(),
    "inside of base64": lambda text: base64.b64encode(f'{{"token":"{text}"}}'.encode()).decode(),
    "inside of base64 for addresses": lambda text: base64.urlsafe_b64encode(f"ab{text}cd".encode()).decode(),
    "in hexadecimal digits": lambda text: text.encode().hex(),
    "in capital hexadecimal digits": lambda text: text.encode().hex().upper(),
}


class TestMechanism:
    def test_finds_a_secret_in_any_form(self) -> None:
        """However a secret is coded, cut off or raised, it is found, and the finding does not repeat it [41]."""
        canaries = Canaries()
        canaries.keep("a token", SECRET)
        canaries.record("a page", "nothing here")
        assert canaries.leaks() == []
        for name, form in FORMS.items():
            canaries.record(name, form(SECRET))
        error = RuntimeError("no")
        error.__cause__ = ValueError(SECRET)
        canaries.record_error("an exception", error)
        assert canaries.leaks() == sorted(f"a token in {name}" for name in (*FORMS, "an exception"))

    def test_knows_where_a_secret_belongs_and_what_makes_a_link(self) -> None:
        """A state is for TikTok's address; what it shares with a link is no secret, a link's signature is [41]."""
        canaries = Canaries()
        canaries.keep("a state", SECRET, belongs_in=r"the headers of POST .* 303")
        canaries.record("the headers of POST /start 303", SECRET)
        link = canaries.keep("a connect link", Signer([Secret(LINK_KEY)]).new_link("acme")[1].reveal())
        canaries.record("a log", link.rpartition(".")[0])
        assert canaries.leaks() == []
        canaries.record("the headers of POST /start 200", SECRET)
        canaries.record("a log", link.rpartition(".")[2])
        assert canaries.leaks() == ["a connect link in a log", "a state in the headers of POST /start 200"]

    def test_would_catch_a_function_that_talks(self, stage: Stage, tmp_path: Path) -> None:
        """A `connect` that says a secret in its log, a page, a header, a cookie or a traceback fails its test [41]."""
        (tmp_path / "sitecustomize.py").write_text(_TALKATIVE)
        function = stage.start_cold("connect", PYTHONPATH=f"{tmp_path}:{stage.environment(1)['PYTHONPATH']}")
        stage.tiktok.options = Options(kind="expiring")
        browser = stage.browser(function)
        assert browser.come_back(stage.code(), browser.begin(stage.link())).status_code == 303
        assert browser.get("/done").status_code == 200
        function.wait_for_line("the app secret")
        found = stage.leaks()
        stage.canaries.clear()
        assert {leak.split(" 303")[0].split(" 200")[0] for leak in found} >= {
            "an authorization code in connect's log",
            "an access token in connect's log",
            "an access token in the headers of GET /",
            "a refresh token in the page GET /done",
            "a signing key in the headers of GET /",
            "the app secret in connect's log",
        }

    def test_records_everything_that_the_functions_say(self, stage: Stage) -> None:
        """Logs, pages and headers of a whole flow reach it; labels, annotations and token secrets hold no more [41]."""
        stage.tiktok.options = Options(kind="expiring")
        stage.connected()
        stage.later(hours=13)
        assert stage.run()[1]["refreshed"] == 1
        stage.refresh.wait_for_line("run.finished")  # what it said comes by a pipe
        for secret_id in stage.secrets.secrets():
            stage.canaries.record(f"labels of {secret_id}", json.dumps(stage.secrets.labels(secret_id)))
            stage.canaries.record(f"annotations of {secret_id}", json.dumps(stage.secrets.annotations(secret_id)))
        for content in stage.secrets.payloads("tiktok-ads-token-acme"):
            own = json.loads(content)["access_token"]
            stage.canaries.record("a token secret", content.decode().replace(own, ""))
        assert stage.leaks() == []
        flow = {"a connect link", "a state", "a flow's cookie", "an authorization code"}
        kept = {"an access token", "a refresh token", "the app secret", "a signing key"}
        assert set(stage.canaries.secrets.values()) >= flow | kept
        places = {where for where, _ in stage.canaries.recorded}
        assert places >= {"connect's log", "refresh's log", "refresh's answer", "the headers of POST /start 303"}


_TALKATIVE = """
import base64
import traceback

from tokenkeeper.connect.app import Connect
from tokenkeeper.tiktok.advertiser import Advertisers

exchange, answer = Advertisers.exchange, Connect.answer
said = {}


def talkative_exchange(self, code, seconds):
    print("the code is", code.reveal(), flush=True)
    response = exchange(self, code, seconds)
    said["access"], said["refresh"] = response.access_token.reveal(), response.refresh_token.reveal()
    print(base64.b64encode(b"token: " + said["access"].encode()).decode(), flush=True)
    return response


def talkative_answer(self, request):
    response = answer(self, request)
    if "access" in said and response.status_code == 303:
        response.headers["X-Key"] = self._settings.link_keys[0].reveal().encode().hex()
        response.set_cookie("token", said["access"])
        try:
            raise ValueError("the app secret: " + self._settings.app_secret.reveal())
        except ValueError:
            traceback.print_exc()
    elif "access" in said:
        response.set_data(response.get_data() + said["refresh"].encode())
    return response


Advertisers.exchange, Connect.answer = talkative_exchange, talkative_answer
"""


def read_settings(**changes: str) -> Settings:
    """The settings of `connect`."""
    return parts.read(TIKTOK_APP_SECRET=APP_SECRET, **changes)


def test_secret_values_are_masked() -> None:
    """No repr, str or format of anything that holds a secret shows it [42]."""
    canaries, secret = Canaries(), Secret(SECRET)
    canaries.keep("a secret", SECRET)
    chosen = parts.read(TIKTOK_APP_SECRET=SECRET, LINK_SIGNING_KEYS=f"{SECRET}{SECRET}")
    stored = parts.refreshable(parts.response(SECRET, SECRET))
    holders: list[object] = [
        secret,
        TokenResponse(secret, secret),
        stored,
        chosen,
        Arguments(codes=(secret,), link=secret),
        Version(1, payload.of_refresh(stored)),
        TikTokAnswer(200, {"data": {"access_token": SECRET}}),
        TikTok(chosen),
        Signer([secret]),
        SecretManager(PROJECT, "127.0.0.1:1"),
        Call("add a version to", "a-secret", "POST", "", body={"payload": SECRET}),
    ]
    for holder in holders:
        canaries.record(type(holder).__name__, f"{holder} {holder!r:>99} {[holder]} {holder!s}")
    assert canaries.leaks() == []


SECONDS = 30.0  # that a call may take, on a busy machine
CODE, REFRESH, ACCESS = (Secret(f"canary-{name}-0123456789") for name in ("code", "refresh", "access"))
ADS = parts.refreshable(parts.response(ACCESS.reveal(), REFRESH.reveal()))
ACCOUNT = dataclasses.replace(ADS, family="account", open_id="open")
CALLS: dict[str, Callable[[Settings], object]] = {
    "access_token": lambda chosen: TikTok(chosen).family("advertiser").exchange(CODE, SECONDS),
    "refresh_token": lambda chosen: TikTok(chosen).family("advertiser").refresh(ADS),
    "revoke_token": lambda chosen: TikTok(chosen).family("advertiser").revoke(ADS, SECONDS),
    "advertiser_get": lambda chosen: TikTok(chosen).family("advertiser").names(ADS, SECONDS),
    "user_info": lambda chosen: Api(chosen.api_url).get("/user/info/", {}, ACCESS, SECONDS),
    "account_token": lambda chosen: TikTok(chosen).family("account").exchange(CODE, SECONDS),
    "account_refresh_token": lambda chosen: TikTok(chosen).family("account").refresh(ACCOUNT),
    "account_revoke": lambda chosen: TikTok(chosen).family("account").revoke(ACCOUNT, SECONDS),
    "account_token_info": lambda chosen: TikTok(chosen).accounts.describe(ACCESS, SECONDS),
    "account_profile": lambda chosen: TikTok(chosen).family("account").names(ACCOUNT, SECONDS),
}
LISTS = {"access_token", "refresh_token", "advertiser_get"}  # these may name thousands of ad accounts
ECHO = "secret=canary-app-secret-0123456789abcdef01234567 code=canary-code-0123456789 canary-access-0123456789"
FAULTS = {
    "nobody there": None,
    "no answer": Fault(do="drop"),
    "half an answer": Fault(do="truncate", when="after"),
    "HTML": Fault(status=502, body=f"<html>{ECHO}</html>".encode(), content_type="text/html"),
    "an echo as TikTok's message": Fault(status=200, body={"code": 40002, "message": ECHO, "request_id": ECHO}),
    "an echo in a success": Fault(status=200, body={"code": 0, "message": ECHO, "data": {"list": ECHO}}),
    "an echo instead of data": Fault(status=200, body={"code": 0, "message": ECHO, "data": ECHO}),
    "a redirect": Fault(status=302, body=b"", headers={"Location": f"http://127.0.0.1:1/?{ECHO}".replace(" ", "&")}),
}


@pytest.fixture
def canaries() -> Canaries:
    """Canaries for all that the calls below send."""
    canaries = Canaries()
    for name, secret in {"code": CODE, "refresh": REFRESH, "access": ACCESS, "app secret": Secret(APP_SECRET)}.items():
        canaries.keep(name, secret.reveal())
    return canaries


@pytest.fixture
def simulated(stage: Stage) -> Settings:
    """The settings of a program that calls the simulated TikTok."""
    return read_settings(TIKTOK_API_URL=stage.tiktok.api_url)


def failure_of(call: Callable[[Settings], object], chosen: Settings) -> TikTokError | None:
    try:
        call(chosen)
    except TikTokError as error:
        return error
    return None


def failures(chosen: Settings) -> dict[str, type | None]:
    """What each call is refused with."""
    return {name: type(error) if (error := failure_of(call, chosen)) else None for name, call in CALLS.items()}


class TestExceptions:
    @pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
    def test_of_calls_to_tiktok_hold_nothing_that_was_sent(
        self, stage: Stage, simulated: Settings, canaries: Canaries, fault: Fault | None
    ) -> None:
        """Whatever goes wrong, what is raised is ours, and neither it nor its traceback repeats anything [43]."""
        succeeded = set()
        if fault is None:
            simulated = read_settings(TIKTOK_API_URL=f"http://127.0.0.1:{free_port()}/open_api/v1.3")
        for name, call in CALLS.items():
            if fault:
                stage.tiktok.add_fault(dataclasses.replace(fault, call=name))
            error = failure_of(call, simulated)
            if error is None:
                succeeded.add(name)
                continue
            canaries.record_error(name, error)
            assert error.__cause__ is None
            assert error.__suppress_context__ or error.__context__ is None
        assert canaries.leaks() == []
        only_the_code_counts = {"revoke_token", "user_info", "account_revoke", "account_profile"}
        assert succeeded == (only_the_code_counts if fault is FAULTS["an echo in a success"] else set())

    @pytest.mark.parametrize("status", [0, 400, 403, 404, 409, 503])
    def test_of_secret_manager_hold_nothing_that_was_sent(self, stage: Stage, canaries: Canaries, status: int) -> None:
        """Nor does an exception of the store's, but for Google's own sentence, which is about names [43]."""
        store = SecretManager(PROJECT, stage.secrets.address)
        error = {"code": status, "message": "No.", "status": "INTERNAL", "details": [{"@type": ECHO}], "x": ECHO}
        fault = Fault(status=status, body={"error": error}, times=None) if status else Fault(do="drop", times=None)
        stage.secrets.add_fault(fault)
        content = ACCESS.reveal().encode()
        for call in (
            lambda time: store.add("a", content, time),
            lambda time: store.access("a", 1, time),
            lambda time: store.create("a", {}, {}, time),
            lambda time: list(store.list("a", time)),
        ):
            with pytest.raises(KeeperError) as caught:
                call(Deadline(0.1))
            canaries.record_error("the store", caught.value)
            assert caught.value.__cause__ is None
        assert canaries.leaks() == []


class Listening(TikTokServer):
    """A simulated TikTok that keeps what came in as it came."""

    def __init__(self) -> None:
        super().__init__(app_id=APP_ID, app_secret=APP_SECRET)
        self.seen: list[Request] = []

    def perform(self, request: Request) -> Answer:
        self.seen.append(request)
        return super().perform(request)


class TestAppSecret:
    def test_travels_in_a_body_wherever_it_can(self) -> None:
        """Only `advertiser/get` takes it in the address, as TikTok has it; the other addresses are bare [44]."""
        with Listening() as server:
            failures(read_settings(TIKTOK_API_URL=server.api_url))
        seen = {request.path.removeprefix("/open_api/v1.3"): request for request in server.seen}
        assert len(seen) == len(CALLS)
        assert {path for path, request in seen.items() if APP_SECRET in request.query} == {"/oauth2/advertiser/get/"}
        assert {path for path, request in seen.items() if APP_SECRET.encode() in request.body} == {
            "/oauth2/access_token/",
            "/oauth2/refresh_token/",
            "/oauth2/revoke_token/",
            "/tt_user/oauth2/token/",
            "/tt_user/oauth2/refresh_token/",
            "/tt_user/oauth2/revoke/",
        }
        elsewhere = "".join(f"{one.path} {one.query.replace(APP_SECRET, '')} " for one in server.seen)
        assert not any(secret.reveal() in elsewhere for secret in (CODE, REFRESH, ACCESS))
        assert not any(APP_SECRET in str(request.headers) for request in server.seen)

    def test_stays_out_of_the_libraries_own_logs(
        self, simulated: Settings, canaries: Canaries, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The address with the secret is in no debug log, even if somebody opens all of them [44]."""
        caplog.set_level(logging.DEBUG)
        failures(simulated)
        canaries.record("debug logs", caplog.text)
        assert canaries.leaks() == []


class TestEveryCallToTikTok:
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_follows_no_redirect(self, stage: Stage, simulated: Settings, status: int) -> None:
        """A token, a code or the app secret goes to the configured address only [45]."""
        with LocalServer() as elsewhere:
            stage.tiktok.add_fault(Fault(times=None, status=status, body=b"", headers={"Location": elsewhere.url}))
            assert failures(simulated) == dict.fromkeys(CALLS, TikTokSilent)
        assert elsewhere.calls == []

    @pytest.mark.parametrize("coding", ["identity", "gzip"])
    def test_refuses_an_answer_that_is_too_large(self, stage: Stage, simulated: Settings, coding: str) -> None:
        """1 MB, 16 MB where ad accounts are listed, whatever it says of its length or coding [45]."""
        good = b'{"code": 0, "data": {"access_token": "aaaaaaaa", "list": []}, "x": "'
        for name in CALLS:
            limit = LARGEST_LIST if name in LISTS else LARGEST_ANSWER
            body = good + b"a" * limit + b'"}'
            sent, headers = (gzip.compress(body, 1), {"Content-Encoding": coding}) if coding == "gzip" else (body, {})
            stage.tiktok.add_fault(Fault(call=name, status=200, body=sent, headers=headers))
        assert failures(simulated) == dict.fromkeys(CALLS, TikTokSilent)

    def test_checks_whom_it_talks_to(self, stage: Stage, tmp_path: Path) -> None:
        """A certificate that nobody vouches for ends the call before anything is said [45]."""
        port = int(stage.tiktok.address.rpartition(":")[2])
        with Relay(port, certificates.make(tmp_path)) as stranger:
            address = f"https://localhost:{stranger.port}/open_api/v1.3"
            assert failures(read_settings(TIKTOK_API_URL=address)) == dict.fromkeys(CALLS, TikTokUnreachable)
        assert stage.tiktok.calls == []


def test_commands_say_a_secret_only_where_that_is_their_purpose(stage: Stage, tmp_path: Path) -> None:
    """`token` prints the token and `link` the link; nothing else of any command holds a secret [41]."""
    stage.tiktok.options = Options(kind="expiring")
    stage.connected()
    cli = Cli(stage, tmp_path / "state")
    assert cli("token", "acme").out.strip() == stage.token()["access_token"]
    stage.canaries.keep("a connect link", cli("link", "acme").out.strip().partition("link=")[2])
    assert cli("token", "none").out == ""
    for words in (["status"], ["status", "--json"], ["refresh", "--force"], ["doctor"]):
        cli(*words)
    assert stage.leaks() == []
