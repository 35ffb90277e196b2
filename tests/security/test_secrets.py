"""Secrets: that they do not leave, and that it would be noticed. Promise 8. [n]: line n of `tests/README.md`."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import html
import json
import logging
import pickle
import socket
import ssl
import subprocess
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from canaries import Canaries
from certificates import Certificate
from emulators.serving import Answer, Fault, LocalServer, Request
from emulators.tiktok import Options, TikTokServer
from stage import APP_ID, APP_SECRET, LINK_KEY, PROJECT, ROOT, Stage
from tokenkeeper import grant, log, payload, settings
from tokenkeeper.clock import Deadline
from tokenkeeper.connect.links import Signer
from tokenkeeper.connect.request import Arguments
from tokenkeeper.errors import KeeperError, TikTokError, TikTokSilent, TikTokUnreachable
from tokenkeeper.events import Entry
from tokenkeeper.grant import Family, RefreshableGrant, TokenResponse
from tokenkeeper.secret import Secret
from tokenkeeper.settings import Settings
from tokenkeeper.store.secretmanager import SecretManager, Version
from tokenkeeper.store.versions import Newest
from tokenkeeper.tiktok.api import LARGEST_ANSWER, LARGEST_LIST, Api
from tokenkeeper.tiktok.families import TikTok
from tokenkeeper.tiktok.transport import Answer as TikTokAnswer

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
    @pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
    def test_finds_a_secret_in_any_form(self, form: Callable[[str], str]) -> None:
        """However a secret is coded or cut off, it is found, and the finding does not repeat it [41]."""
        canaries = Canaries()
        canaries.keep("a token", SECRET)
        canaries.record("a page", "nothing here")
        assert canaries.leaks() == []
        canaries.record("a log", form(SECRET))
        assert canaries.leaks() == ["a token in a log"]

    def test_finds_it_in_an_exception(self) -> None:
        """Texts, arguments and causes of exceptions count as said [41]."""
        canaries = Canaries()
        canaries.keep("a token", SECRET)
        try:
            try:
                raise ValueError(SECRET)
            except ValueError as error:
                raise RuntimeError("no") from error
        except RuntimeError as error:
            canaries.record_error("an exception", error)
        assert canaries.leaks() == ["a token in an exception"]

    def test_knows_where_a_secret_belongs(self) -> None:
        """A state is for TikTok's address and for nothing else [41]."""
        canaries = Canaries()
        canaries.keep("a state", SECRET, belongs_in=r"the headers of POST .* 303")
        canaries.record("the headers of POST /start 303", SECRET)
        assert canaries.leaks() == []
        canaries.record("the headers of POST /start 200", SECRET)
        assert canaries.leaks() == ["a state in the headers of POST /start 200"]

    def test_finds_the_signature_of_a_link_and_not_what_it_shares(self) -> None:
        """What comes before a link's signature is in the state as well; the signature makes it a link [41]."""
        canaries = Canaries()
        text = canaries.keep("a connect link", Signer([Secret(LINK_KEY)]).new_link("acme")[1].reveal())
        canaries.record("a log", text.rpartition(".")[0])
        assert canaries.leaks() == []
        canaries.record("a log", text.rpartition(".")[2])
        assert canaries.leaks() == ["a connect link in a log"]

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
        """Logs, pages and headers of both functions reach it, and so do the secrets of a whole flow [41]."""
        stage.tiktok.options = Options(kind="expiring")
        stage.connected()
        stage.later(hours=13)
        assert stage.run()[0] == 200
        assert stage.leaks() == []
        kinds = set(stage.canaries.secrets.values())
        assert kinds >= {
            "a connect link",
            "a state",
            "a flow's cookie",
            "an authorization code",
            "an access token",
            "a refresh token",
            "the app secret",
            "a signing key",
        }
        places = {where for where, _ in stage.canaries.recorded}
        assert places >= {"connect's log", "refresh's log", "refresh's answer", "the headers of POST /start 303"}


_TALKATIVE = """
import base64
import traceback

from tokenkeeper.connect.app import Connect
from tokenkeeper.connect.pages import Pages
from tokenkeeper.tiktok.advertiser import Advertisers

begin, exchange, answer, done = Connect.__init__, Advertisers.exchange, Connect.answer, Pages.done
said = {}


def talkative_begin(self, settings):
    said["settings"] = settings
    begin(self, settings)


def talkative_exchange(self, code, seconds):
    print("the code is", code.reveal(), flush=True)
    response = exchange(self, code, seconds)
    said["access"], said["refresh"] = response.access_token.reveal(), response.refresh_token.reveal()
    print(base64.b64encode(b"token: " + said["access"].encode()).decode(), flush=True)
    try:
        raise ValueError("the app secret: " + said["settings"].app_secret.reveal())
    except ValueError:
        traceback.print_exc()
    return response


def talkative_answer(self, request):
    response = answer(self, request)
    if "access" in said and response.status_code == 303:
        response.headers["X-Key"] = said["settings"].link_keys[0].reveal().encode().hex()
        response.set_cookie("token", said["access"])
    return response


def talkative_done(self, results):
    response = done(self, results)
    response.set_data(response.get_data() + said["refresh"].encode())
    return response


Connect.__init__, Connect.answer = talkative_begin, talkative_answer
Advertisers.exchange, Pages.done = talkative_exchange, talkative_done
"""


def read_settings(**changes: str) -> Settings:
    """The settings of `connect`."""
    environment = {
        "GOOGLE_CLOUD_PROJECT": PROJECT,
        "TIKTOK_APP_ID": APP_ID,
        "TIKTOK_APP_SECRET": APP_SECRET,
        "LINK_SIGNING_KEYS": LINK_KEY,
        "PUBLIC_URL": "https://tokens.example",
    }
    return settings.read(settings.CONNECT, {**environment, **changes})


def made(family: Family, access_token: Secret, refresh_token: Secret) -> RefreshableGrant:
    """A grant with these tokens."""
    response = TokenResponse(access_token, refresh_token, 1.0, 1.0, ("1",), (4,), open_id="open")
    now = datetime(2026, 11, 22, tzinfo=UTC)
    found = grant.first(response, connection="acme", app_id=APP_ID, family=family, asked_at=now)
    assert isinstance(found, RefreshableGrant)
    return found


def _holders() -> list[object]:
    """One of everything in the product that holds a secret value."""
    secret = Secret(SECRET)
    chosen = read_settings(TIKTOK_APP_SECRET=SECRET, LINK_SIGNING_KEYS=f"{SECRET}{SECRET}")
    stored = made("advertiser", secret, secret)
    return [
        secret,
        TokenResponse(secret, secret),
        stored,
        chosen,
        Arguments(codes=(secret,), link=secret),
        Version(1, payload.of_refresh(stored)),
        Newest(1, payload.of_refresh(stored)),
        TikTokAnswer(200, {"data": {"access_token": SECRET}}),
        TikTok(chosen),
        Signer([secret]),
        SecretManager(PROJECT, "127.0.0.1:1"),
    ]


class TestSecretValues:
    @pytest.mark.parametrize("holder", _holders(), ids=lambda holder: type(holder).__name__)
    def test_are_masked(self, holder: object) -> None:
        """No repr, str, format or log field of anything that holds a secret shows it [42]."""
        canaries = Canaries()
        canaries.keep("a secret", SECRET)
        for said in (repr(holder), str(holder), f"{holder}", f"{[holder]}", f"{holder!r:>99}", repr({"a": holder})):
            canaries.record("a text", said)
        assert canaries.leaks() == []

    def test_cannot_be_serialised_by_accident(self) -> None:
        """Neither JSON nor pickle takes a secret [42]."""
        for serialise in (json.dumps, pickle.dumps):
            with pytest.raises(TypeError) as error:
                serialise({"a": Secret(SECRET)})
            assert SECRET not in str(error.value)
        assert not hasattr(Secret(SECRET), "__dict__")

    def test_are_masked_by_the_log(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A secret that somebody passes to the log as a field stays hidden [42]."""
        log.write(Entry("a", "INFO", "b", {"field": Secret(SECRET)}))  # type: ignore[dict-item]
        assert SECRET not in capsys.readouterr().out

    def test_of_unexpected_errors_are_not_logged(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Of an error that nobody expected its type and place are logged, its text never [43]."""
        try:
            raise ValueError(f"https://a.example/?secret={SECRET}")
        except ValueError as error:
            log.defect(error)
        said = capsys.readouterr().out
        assert "ValueError" in said
        assert SECRET not in said


CODE, REFRESH, ACCESS = (Secret(f"canary-{name}-0123456789") for name in ("code", "refresh", "access"))
ADS, ACCOUNT = made("advertiser", ACCESS, REFRESH), made("account", ACCESS, REFRESH)
CALLS: dict[str, Callable[[Settings], object]] = {
    "access_token": lambda chosen: TikTok(chosen).family("advertiser").exchange(CODE, 3),
    "refresh_token": lambda chosen: TikTok(chosen).family("advertiser").refresh(ADS),
    "revoke_token": lambda chosen: TikTok(chosen).family("advertiser").revoke(ADS, 3),
    "advertiser_get": lambda chosen: TikTok(chosen).family("advertiser").names(ADS, 3),
    "user_info": lambda chosen: Api(chosen.api_url).get("/user/info/", {}, ACCESS, 3),
    "account_token": lambda chosen: TikTok(chosen).family("account").exchange(CODE, 3),
    "account_refresh_token": lambda chosen: TikTok(chosen).family("account").refresh(ACCOUNT),
    "account_revoke": lambda chosen: TikTok(chosen).family("account").revoke(ACCOUNT, 3),
    "account_token_info": lambda chosen: TikTok(chosen).family("account").describe(ACCESS, 3),
    "account_profile": lambda chosen: TikTok(chosen).family("account").names(ACCOUNT, 3),
}
LISTS = {"access_token", "refresh_token", "advertiser_get"}  # these may name thousands of ad accounts
ECHO = "secret=canary-app-secret-0123456789abcdef01234567 code=canary-code-0123456789 canary-access-0123456789"
FAULTS = {
    "no answer": Fault(do="drop"),
    "half an answer": Fault(do="truncate", when="after"),
    "HTML": Fault(status=502, body=f"<html>{ECHO}</html>".encode(), content_type="text/html"),
    "an echo as TikTok's message": Fault(status=200, body={"code": 40002, "message": ECHO, "request_id": ECHO}),
    "an echo in a success": Fault(status=200, body={"code": 0, "message": ECHO, "data": {"list": ECHO}}),
    "a redirect": Fault(status=302, body=b"", headers={"Location": f"http://127.0.0.1:1/?{ECHO}".replace(" ", "&")}),
    "too slow": Fault(do="delay", seconds=4),
}


@pytest.fixture
def canaries() -> Canaries:
    """Canaries for all that the calls below send."""
    canaries = Canaries()
    for name in ("code", "refresh", "access"):
        canaries.keep(name, f"canary-{name}-0123456789")
    canaries.keep("the app secret", APP_SECRET)
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


class TestExceptions:
    @pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
    def test_of_calls_to_tiktok_hold_nothing_that_was_sent(
        self, stage: Stage, simulated: Settings, canaries: Canaries, fault: Fault
    ) -> None:
        """Whatever goes wrong, what is raised is ours, and neither it nor its traceback repeats anything [43]."""
        calls = CALLS.items() if fault.do != "delay" else [("access_token", CALLS["access_token"])]
        for name, call in calls:
            stage.tiktok.add_fault(dataclasses.replace(fault, call=name))
            error = failure_of(call, simulated)
            if error is None:
                assert name in {
                    "revoke_token",
                    "user_info",
                    "account_revoke",
                    "account_profile",
                }  # only the code counts
                continue
            canaries.record_error(name, error)
            assert error.__cause__ is None
            assert error.__suppress_context__ or error.__context__ is None
        assert canaries.leaks() == []

    def test_of_a_tiktok_that_is_not_there_hold_nothing(self, canaries: Canaries) -> None:
        """A refused connection is wrapped likewise [43]."""
        for name, call in CALLS.items():
            with pytest.raises(TikTokUnreachable) as caught:
                call(read_settings(TIKTOK_API_URL="http://127.0.0.1:9/open_api/v1.3"))
            canaries.record_error(name, caught.value)
        assert canaries.leaks() == []

    @pytest.mark.parametrize("status", [0, 400, 401, 403, 404, 409, 412, 429, 500, 503])
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

    def test_of_settings_name_no_secret_value(self, canaries: Canaries) -> None:
        """A secret setting that is wrong is refused without its value [42] [43]."""
        good = {"TIKTOK_APP_ID": APP_ID, "TIKTOK_APP_SECRET": APP_SECRET, "PUBLIC_URL": "https://a.example"}
        for bad in (
            {"TIKTOK_APP_SECRET": f"{APP_SECRET} {APP_SECRET}"},
            {"LINK_SIGNING_KEYS": APP_SECRET[:31]},
            {"LINK_SIGNING_KEYS": f"{APP_SECRET} {APP_SECRET[:20]}"},
        ):
            with pytest.raises(KeeperError) as caught:
                settings.read(settings.CONNECT, {**good, **bad})
            canaries.record_error("settings", caught.value)
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
            chosen = read_settings(TIKTOK_API_URL=server.api_url)
            for call in CALLS.values():
                failure_of(call, chosen)
            where = {
                request.path.removeprefix("/open_api/v1.3"): (
                    APP_SECRET in request.query,
                    APP_SECRET.encode() in request.body,
                    APP_SECRET in str(request.headers),
                )
                for request in server.seen
            }
            addresses = "".join(request.path + request.query.replace(APP_SECRET, "") for request in server.seen)
        in_the_address, in_the_body, nowhere = (True, False, False), (False, True, False), (False, False, False)
        assert where == {
            "/oauth2/access_token/": in_the_body,
            "/oauth2/refresh_token/": in_the_body,
            "/oauth2/revoke_token/": in_the_body,
            "/oauth2/advertiser/get/": in_the_address,
            "/user/info/": nowhere,
            "/tt_user/oauth2/token/": in_the_body,
            "/tt_user/oauth2/refresh_token/": in_the_body,
            "/tt_user/oauth2/revoke/": in_the_body,
            "/tt_user/token_info/get/": nowhere,
            "/business/get/": nowhere,
        }
        assert not any(secret.reveal() in addresses for secret in (CODE, REFRESH, ACCESS))

    def test_stays_out_of_the_libraries_own_logs(
        self, simulated: Settings, canaries: Canaries, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The address with the secret is in no debug log, even if somebody opens all of them [44]."""
        caplog.set_level(logging.DEBUG)
        for call in CALLS.values():
            failure_of(call, simulated)
        canaries.record("debug logs", caplog.text)
        assert canaries.leaks() == []


class Elsewhere(LocalServer):
    """Somewhere that nothing should ever come to."""

    def identify(self, request: Request) -> tuple[str, str]:
        return "stray", request.path

    def perform(self, request: Request) -> Answer:  # noqa: ARG002
        return Answer(200, {"code": 0, "data": {"access_token": "a" * 40}})


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    with Elsewhere() as server:
        yield server


@pytest.mark.parametrize("name", CALLS)
class TestEveryCallToTikTok:
    def test_follows_no_redirect(self, stage: Stage, simulated: Settings, elsewhere: Elsewhere, name: str) -> None:
        """A token, a code or the app secret goes to the configured address only [45]."""
        for status in (301, 302, 303, 307, 308):
            stage.tiktok.add_fault(Fault(call=name, status=status, body=b"", headers={"Location": elsewhere.url}))
            with pytest.raises(TikTokSilent):
                CALLS[name](simulated)
        assert elsewhere.calls == []

    def test_refuses_an_answer_that_is_too_large(self, stage: Stage, simulated: Settings, name: str) -> None:
        """1 MB, 16 MB where ad accounts are listed, whatever it says of its length or coding [45]."""
        limit = LARGEST_LIST if name in LISTS else LARGEST_ANSWER
        good = b'{"code": 0, "data": {"access_token": "aaaaaaaa", "list": []}, "x": "'
        stage.tiktok.add_fault(Fault(call=name, status=200, body=good + b"a" * limit + b'"}'))
        with pytest.raises(TikTokSilent):
            CALLS[name](simulated)
        bomb = gzip.compress(good + b"a" * 30_000_000 + b'"}')
        stage.tiktok.add_fault(Fault(call=name, status=200, body=bomb, headers={"Content-Encoding": "gzip"}))
        with pytest.raises(TikTokSilent):
            CALLS[name](simulated)

    def test_checks_whom_it_talks_to(self, name: str, certificate: Certificate) -> None:
        """A certificate that nobody vouches for ends the call before anything is said [45]."""
        said: list[bytes] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.file)
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def listen() -> None:
                connection, _ = listener.accept()
                try:
                    with context.wrap_socket(connection, server_side=True) as secure:
                        said.append(secure.recv(65536))
                except (ssl.SSLError, OSError):
                    connection.close()

            thread = threading.Thread(target=listen, daemon=True)
            thread.start()
            with pytest.raises(TikTokUnreachable):
                CALLS[name](read_settings(TIKTOK_API_URL=f"https://localhost:{listener.getsockname()[1]}"))
            thread.join(10)
        assert [words for words in said if words] == []


class TestStoredState:
    def test_of_a_connection_holds_nothing_secret(self, stage: Stage) -> None:
        """Labels and annotations show up in lists and consoles; none of them is a secret [41]."""
        stage.tiktok.options = Options(kind="expiring")
        stage.connected()
        stage.later(hours=13)
        stage.run()
        for secret_id in stage.secrets.secrets():
            stage.canaries.record(f"labels of {secret_id}", json.dumps(stage.secrets.labels(secret_id)))
            stage.canaries.record(f"annotations of {secret_id}", json.dumps(stage.secrets.annotations(secret_id)))
        assert stage.leaks() == []

    def test_is_what_is_promised_and_no_more(self, stage: Stage) -> None:
        """The token secret holds neither refresh token nor app secret [41]."""
        stage.tiktok.options = Options(kind="expiring")
        stage.connected()
        (given,) = (given for given in stage.tiktok.grants if given.access_token == stage.token()["access_token"])
        for content in stage.secrets.payloads("tiktok-ads-token-acme"):
            assert given.refresh_token
            assert given.refresh_token.encode() not in content
            assert APP_SECRET.encode() not in content


class TestCommands:
    def test_say_a_secret_only_where_that_is_their_purpose(self, stage: Stage, tmp_path: Path) -> None:
        """`make token` prints the token and `make link` the link; nothing else of any command holds a secret [41]."""
        stage.tiktok.options = Options(kind="expiring")
        stage.connected()
        environment = stage.environment(1, PUBLIC_URL="http://localhost:8080", TOKENKEEPER_STATE=str(tmp_path))
        purpose = {"token": ["token", "CONNECTION=acme"], "link": ["link", "CONNECTION=acme"]}
        others = [["status"], ["status", "JSON=1"], ["refresh", "FORCE=1"], ["doctor"], ["token", "CONNECTION=none"]]
        for words in [*purpose.values(), *others]:
            done = subprocess.run(
                ["make", "-o", ".venv/run-ready", *words],
                env=environment,
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            stage.canaries.record(f"what make {words[0]} says", done.stderr)
            if words == purpose["token"]:
                assert done.stdout.strip() == stage.token()["access_token"]
            elif words == purpose["link"]:
                stage.canaries.keep("a connect link", done.stdout.strip().partition("link=")[2])
            else:
                stage.canaries.record(f"what make {words[0]} prints", done.stdout)
        assert stage.leaks() == []
