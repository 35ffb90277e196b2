"""`infra/readers/tiktok_token.py` before a Secret Manager on a socket: the newest token, or why there is none.

Promise 4: `latest` may be stale. A reader needs one role on one secret (security line 54).
"""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from emulators.secret_manager import SecretManagerServer
from emulators.serving import Fault
from readers import tiktok_token
from readers.internet import Internet
from readers.wires import Handler, Server

FILE = Path(__file__).parents[2] / "infra" / "readers" / "tiktok_token.py"
PROJECT, SECRET, ACCESS = "test-project", "tiktok-ads-token-acme", "AccessSecretVersion"
CANARY = "canary-never-shown-0123456789"
AWAY = Fault(ACCESS, status=503, times=None)
FORK = """\
import os, sys, threading, tiktok_token
threading.Thread(target=tiktok_token.access_token, args=["acme"], daemon=True).start()
sys.stdin.readline()
child = os.fork()
if child == 0:
    print(tiktok_token.access_token("acme", timeout=20), "flask" in sys.modules, flush=True)
    os._exit(0)
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.fixture(scope="module")
def server() -> Iterator[SecretManagerServer]:
    with SecretManagerServer() as running:
        yield running


@pytest.fixture
def store(server: SecretManagerServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[SecretManagerServer]:
    """An empty Secret Manager, and the file as if it had just been imported."""
    monkeypatch.setenv("SECRET_MANAGER_EMULATOR_HOST", server.address)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", PROJECT)
    monkeypatch.delenv("SECRET_PREFIX", raising=False)
    server.create(SECRET, project=PROJECT)
    importlib.reload(tiktok_token)
    yield server
    server.clear_faults()
    server.allow_all()
    server.set_lag()
    server.forget_calls()
    for secret in server.secrets():
        server.delete(secret)


def payload(access_token: str | None = "one", *, hours: float | None = None, **more: Any) -> bytes:
    """What the keeper stores; with `hours` a token that ends in so many."""
    end = None if hours is None else (datetime.now(UTC) + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")
    document = {"schema": 1, "connection": "acme", "app_id": "7000", "access_token": access_token, "expires_at": end}
    document |= {"advertiser_ids": ["7001", "7002"], "scope": [4, 10], "obtained_at": "2026-11-22T10:00:00Z"}
    return json.dumps(document | more).encode()


def refused(**options: Any) -> tiktok_token.TokenError:
    """The error of a call; it shows no token, not even in a traceback."""
    with pytest.raises(tiktok_token.TokenError) as caught:
        tiktok_token.token("acme", **options)
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    return caught.value


class TestToken:
    def test_an_advertisers_token(self, store: SecretManagerServer) -> None:
        """It comes with its end, advertisers, scopes, app and version; its repr does not show it."""
        store.add_version(SECRET, payload(CANARY, hours=24))
        found = tiktok_token.token("acme")
        assert found.access_token == tiktok_token.access_token("acme") == CANARY
        assert (found.version, found.advertiser_ids, found.scope, found.app_id) == (
            1,
            ("7001", "7002"),
            (4, 10),
            "7000",
        )
        assert found.expires_at is not None
        assert (found.open_id, found.username) == (None, None)
        assert CANARY not in repr(found)

    def test_an_accounts_token(self, store: SecretManagerServer) -> None:
        """It comes with what TikTok calls business_id."""
        account: dict[str, Any] = {"advertiser_ids": [], "scope": ["video.list"], "open_id": "open-1", "username": None}
        store.add_version(SECRET, payload(hours=24, **account))
        found = tiktok_token.token("acme")
        assert (found.open_id, found.username, found.scope) == ("open-1", None, ("video.list",))
        assert refused(only=["7001"]).remedy == "configuration"

    def test_some_advertisers(self, store: SecretManagerServer) -> None:
        """A caller gets those that it names; an unknown one is an error that lists the known ones."""
        store.add_version(SECRET, payload())
        assert tiktok_token.token("acme", only=["7002"]).advertiser_ids == ("7002",)
        assert str(refused(only=["7002", "7003"])).startswith("7003: not among the advertisers of acme")
        assert "7001, 7002" in str(refused(only=["7003"]))
        assert tiktok_token.token("acme").advertiser_ids == ("7001", "7002")

    def test_more_advertisers_than_can_be_stored(self, store: SecretManagerServer) -> None:
        """Their ids are None, and named ones are taken as they are."""
        store.add_version(SECRET, payload(advertiser_ids=None, advertiser_count=9000))
        assert tiktok_token.token("acme").advertiser_ids is None
        assert tiktok_token.token("acme", only=["7009"]).advertiser_ids == ("7009",)

    def test_project_and_prefix_of_the_environment(
        self, store: SecretManagerServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """They are read when the first token is, and no proxy stands before this machine."""
        monkeypatch.setenv("SECRET_PREFIX", "other")
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "other-project")
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        store.create("other-token-acme", project="other-project")
        store.add_version("other-token-acme", payload())
        assert tiktok_token.access_token("acme") == "one"

    def test_it_stands_alone_and_survives_a_fork(self, store: SecretManagerServer, tmp_path: Path) -> None:
        """Copied into an empty folder, it serves a process and, while that one is reading, its child."""
        store.add_version(SECRET, payload())
        store.add_fault(Fault(ACCESS, do="hold", hold="parent"))
        shutil.copy(FILE, tmp_path)
        environment = {"SECRET_MANAGER_EMULATOR_HOST": store.address, "GOOGLE_CLOUD_PROJECT": PROJECT}
        with subprocess.Popen(
            [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK],
            env=environment,
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            store.wait_held("parent")
            done = process.communicate("fork\n", timeout=60)
        assert (*done, process.returncode) == ("one False\n", "", 0)


class TestNewest:
    @pytest.mark.parametrize("lag", [0, 2])
    def test_latest_is_stale(self, store: SecretManagerServer, lag: int) -> None:
        """The newest version is found by number, past destroyed ones."""
        for name in ("one", "two", "three", "four"):
            store.add_version(SECRET, payload(name))
        for destroyed in (1, 2, 3):
            store.set_state(SECRET, destroyed, "DESTROYED")
        store.set_lag(latest=lag)
        assert tiktok_token.token("acme").version == 4

    def test_latest_does_not_know_the_first_version(self, store: SecretManagerServer) -> None:
        """A new secret's first version is found although `latest` says that there is none."""
        store.add_version(SECRET, payload())
        store.set_lag(latest=1, hide_first=True)
        assert tiktok_token.token("acme").version == 1

    def test_the_newest_is_disabled(self, store: SecretManagerServer) -> None:
        """No older one is taken in its place: a person is told."""
        store.add_version(SECRET, payload())
        store.set_state(SECRET, store.add_version(SECRET, payload("two")), "DISABLED")
        error = refused()
        assert (error.remedy, str(error)[:40]) == ("reconnect", "Version 2 of tiktok-ads-token-acme is di")

    def test_there_is_none(self, store: SecretManagerServer) -> None:
        """Nor is it remembered past a disconnection."""
        store.add_version(SECRET, payload())
        tiktok_token.CACHE_SECONDS = 0.0
        tiktok_token.token("acme")
        store.delete(SECRET)
        error = refused()
        assert (error.remedy, "make link CONNECTION=acme" in str(error)) == ("reconnect", True)
        store.add_fault(AWAY)
        assert refused(timeout=0.3).remedy == "wait"

    @pytest.mark.parametrize(
        "stored",
        [CANARY.encode(), b"\xff", b"[]", payload(schema="1"), payload(connection="other"), payload(f"{CANARY}\n"),
         payload(access_token=None), payload(expires_at="tomorrow"), payload(scope=None)],
    )  # fmt: skip
    def test_it_cannot_be_read(self, store: SecretManagerServer, stored: bytes) -> None:
        """The error names the version and quotes nothing of it."""
        store.add_version(SECRET, stored)
        error = refused()
        assert error.remedy == "reconnect"
        assert str(error).startswith(f"Version 1 of {SECRET} cannot be read")

    def test_it_is_of_a_newer_keeper(self, store: SecretManagerServer) -> None:
        """The copied file is too old, which is not the connection's fault; more keys are no trouble."""
        store.add_version(SECRET, payload(later="more"))
        tiktok_token.token("acme")
        store.add_version(SECRET, payload(schema=2))
        assert "copy the newest tiktok_token.py" in str(refused(rejected="one"))


class TestCache:
    def test_a_token_without_an_end(self, store: SecretManagerServer) -> None:
        """It is reused for CACHE_SECONDS, then read again."""
        store.add_version(SECRET, payload())
        tiktok_token.token("acme")
        calls = len(store.calls)
        store.add_version(SECRET, payload("two"))
        assert (tiktok_token.access_token("acme"), len(store.calls)) == ("one", calls)
        importlib.reload(tiktok_token)
        tiktok_token.CACHE_SECONDS = 0.0
        assert tiktok_token.access_token("acme") == "two"
        store.add_version(SECRET, payload("three"))
        assert tiktok_token.access_token("acme") == "three"

    def test_a_token_with_an_end(self, store: SecretManagerServer) -> None:
        """It is reused until less is left than a call asks for."""
        store.add_version(SECRET, payload(hours=10))
        tiktok_token.CACHE_SECONDS = 0.0
        tiktok_token.token("acme")
        store.add_version(SECRET, payload("two", hours=24))
        assert tiktok_token.access_token("acme", minimum_seconds=9 * 3600) == "one"
        assert tiktok_token.access_token("acme", minimum_seconds=11 * 3600) == "two"

    def test_many_threads_read_once(self, store: SecretManagerServer) -> None:
        """Whoever asks while a read is under way waits for it."""
        store.add_version(SECRET, payload())
        store.add_fault(Fault(ACCESS, do="hold", hold="first"))
        begin = threading.Barrier(9)

        def ask() -> str:
            begin.wait(20)
            return tiktok_token.access_token("acme")

        with ThreadPoolExecutor(8) as threads:
            found = [threads.submit(ask) for _ in range(8)]
            begin.wait(20)
            store.wait_held("first")
            store.release("first")
            assert {one.result(20) for one in found} == {"one"}
        assert store.count(ACCESS) < 16  # two calls a read


class TestRejected:
    def test_there_is_a_newer_one(self, store: SecretManagerServer) -> None:
        """The cached token is read past."""
        store.add_version(SECRET, payload())
        tiktok_token.token("acme")
        store.add_version(SECRET, payload("two"))
        assert tiktok_token.access_token("acme", rejected="one") == "two"

    def test_a_read_that_is_under_way_is_not_believed(self, store: SecretManagerServer) -> None:
        """It may have begun before the newer token was stored."""
        store.add_version(SECRET, payload())
        store.add_fault(Fault(ACCESS, skip=1, when="after", do="hold", hold="earlier"))
        with ThreadPoolExecutor(1) as threads:
            earlier = threads.submit(tiktok_token.access_token, "acme")
            store.wait_held("earlier")
            store.add_version(SECRET, payload("two"))
            assert tiktok_token.access_token("acme", rejected="one") == "two"
            store.release("earlier")
            assert earlier.result(20) == "one"

    def test_it_is_the_newest(self, store: SecretManagerServer) -> None:
        """Only a person helps, which is said at once where nothing can replace it."""
        store.add_version(SECRET, payload(CANARY))
        error = refused(rejected=CANARY)
        assert (error.remedy, "make link CONNECTION=acme" in str(error)) == ("reconnect", True)
        assert store.count(ACCESS) == 2

    def test_it_is_being_refreshed(self, store: SecretManagerServer) -> None:
        """The successor of a token with an end may be a moment away: the reader waits for it."""
        store.add_version(SECRET, payload(hours=10))
        store.add_fault(Fault(ACCESS, skip=2, do="hold", hold="second read"))
        with ThreadPoolExecutor(1) as threads:
            found = threads.submit(tiktok_token.access_token, "acme", rejected="one")
            store.wait_held("second read")
            store.add_version(SECRET, payload("two", hours=24))
            store.release("second read")
            assert found.result(20) == "two"


class TestTooOld:
    @pytest.mark.parametrize(
        ("hours", "remedy", "words"),
        [(0.5, "wait", "3600 are asked for"), (-2, "wait", "its refresh is late"), (-25, "reconnect", "make status")],
    )
    def test_it_ends_too_soon(self, store: SecretManagerServer, hours: float, remedy: str, words: str) -> None:
        """A late refresh is waited for, for a day; after that a person is needed."""
        store.add_version(SECRET, payload(CANARY, hours=hours))
        error = refused(timeout=0.3)
        assert (error.remedy, words in str(error)) == (remedy, True)


class TestAway:
    @pytest.mark.parametrize(
        "fault",
        [
            Fault(ACCESS, status=503, times=2),
            Fault(ACCESS, status=429),
            Fault(ACCESS, do="drop"),
            Fault(ACCESS, do="truncate", when="after"),
            Fault(ACCESS, status=200, body=b"<html>", content_type="text/html"),
        ],
        ids=["unavailable", "throttled", "lost", "cut off", "a proxy's page"],
    )
    def test_a_short_outage(self, store: SecretManagerServer, fault: Fault) -> None:
        """The call is made again."""
        store.add_version(SECRET, payload())
        store.add_fault(fault)
        assert tiktok_token.access_token("acme") == "one"

    def test_a_long_one(self, store: SecretManagerServer) -> None:
        """The error has Google's sentence, and says to wait."""
        store.add_fault(AWAY)
        error = refused(timeout=0.3)
        assert (error.remedy, "The service is currently unavailable." in str(error)) == ("wait", True)

    def test_no_answer(self, store: SecretManagerServer) -> None:
        """The call returns while Secret Manager has not."""
        store.add_fault(Fault(ACCESS, do="hold", hold="for ever"))
        assert (refused(timeout=0.3).remedy, store.held) == ("wait", {"for ever": 1})

    def test_a_cached_token_goes_on(self, store: SecretManagerServer) -> None:
        """A token that works is kept, Secret Manager is left alone for a while, a rejected token is not returned."""
        store.add_version(SECRET, payload())
        tiktok_token.CACHE_SECONDS = 0.0
        tiktok_token.token("acme")
        store.add_fault(AWAY)
        assert tiktok_token.access_token("acme", timeout=0.3) == "one"
        calls = len(store.calls)
        assert (tiktok_token.access_token("acme"), len(store.calls)) == ("one", calls)
        assert refused(timeout=0.3, rejected="one").remedy == "wait"


def said_by_google(reason: str, sentence: str, status: int = 403, name: str = "PERMISSION_DENIED") -> Fault:
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com"}
    error = {"code": status, "message": sentence, "status": name, "details": [info]}
    return Fault(ACCESS, status=status, body={"error": error}, times=None)


class TestGoogleRefuses:
    @pytest.mark.parametrize(
        ("reason", "remedy", "advice"),
        [
            ("IAM_PERMISSION_DENIED", "permissions", f"add-iam-policy-binding {SECRET} --project={PROJECT}"),
            ("SERVICE_DISABLED", "configuration", f"enable secretmanager.googleapis.com --project={PROJECT}"),
            ("SECURITY_POLICY_VIOLATED", "permissions", "VPC Service Controls"),
            ("BILLING_DISABLED", "configuration", "billing account"),
            ("CONSUMER_INVALID", "configuration", f"check the project {PROJECT}"),
        ],
    )  # fmt: skip
    def test_403(self, store: SecretManagerServer, reason: str, remedy: str, advice: str) -> None:
        """Google's reason and sentence, and what helps; asked once."""
        store.add_fault(said_by_google(reason, "What Google says. uid: abc"))
        error = refused()
        assert (error.remedy, advice in str(error)) == (remedy, True)
        assert f"403 {reason}: What Google says. uid: abc" in str(error)
        assert store.count(ACCESS) == 1

    def test_400(self, store: SecretManagerServer) -> None:
        """A call that Google does not accept is not repeated."""
        store.add_fault(said_by_google("", "Invalid resource field value", 400, "INVALID_ARGUMENT"))
        assert (refused().remedy, store.count(ACCESS)) == ("configuration", 1)


class TestConfiguration:
    @pytest.mark.parametrize("name", ["", "Acme", "-acme", "a/b", "acme\n", "a" * 64])
    def test_no_name(self, store: SecretManagerServer, name: str) -> None:
        """What cannot be a connection is not asked for."""
        with pytest.raises(tiktok_token.TokenError, match="not the name of a connection") as caught:
            tiktok_token.token(name)
        assert (caught.value.remedy, store.calls) == ("configuration", [])

    @pytest.mark.usefixtures("store")
    def test_no_project(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The variable is named."""
        monkeypatch.delenv("GOOGLE_CLOUD_PROJECT")
        assert "GOOGLE_CLOUD_PROJECT" in str(refused())


class Unavailable(Handler):
    """A metadata server that is there and knows nothing."""

    def respond(self) -> None:
        self.answer(200 if self.path == "/" else 500, Metadata_Flavor="Google")


class TestLogin:
    def error(self, internet: Internet, **environment: str) -> list[str]:
        """The remedy and the text with Google's real client, under Google's real names."""
        code = (
            "import sys; sys.path.insert(0, sys.argv[1]); import tiktok_token as t\n"
            "try:\n    t.token('acme', timeout=float(sys.argv[2]))\n"
            "except t.TokenError as error:\n    print(error.remedy, error, sep='\\n')"
        )
        seconds = "1" if "GCE_METADATA_HOST" in environment else "30"
        command = [sys.executable, "-c", code, str(FILE.parent), seconds]
        done = subprocess.run(
            command, env=internet.environ(**environment), capture_output=True, text=True, timeout=120, check=False
        )
        internet.record("what the reader says", done.stdout + done.stderr)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def test_the_login_is_over(self, internet: Internet, tmp_path: Path) -> None:
        """`invalid_grant` is Google's word for it."""
        login = {"type": "authorized_user", "client_id": "1", "client_secret": "2", "refresh_token": "3"}
        (tmp_path / "login.json").write_text(json.dumps(login))
        remedy, text = self.error(internet, GOOGLE_APPLICATION_CREDENTIALS=str(tmp_path / "login.json"))
        assert (remedy, "invalid_grant" in text) == ("configuration", True)
        assert "gcloud auth application-default login" in text

    def test_there_is_none(self, internet: Internet) -> None:
        """A file that is not there is named."""
        remedy, text = self.error(internet, GOOGLE_APPLICATION_CREDENTIALS="/nowhere.json")
        assert (remedy, "File /nowhere.json was not found" in text) == ("configuration", True)

    def test_the_role_is_missing(self, internet: Internet) -> None:
        """The command names the account that has to get it."""
        internet.google.granted.clear()
        remedy, text = self.error(internet)
        assert (remedy, f"--member=serviceAccount:{internet.account.email} " in text) == ("permissions", True)

    def test_the_quota_project_is_the_trouble(self, internet: Internet) -> None:
        """An API that is disabled there is not to be enabled in the keeper's project."""
        internet.stage.secrets.add_fault(said_by_google("SERVICE_DISABLED", "It is disabled."))
        remedy, text = self.error(internet, GOOGLE_CLOUD_QUOTA_PROJECT="someones-project")
        assert remedy == "configuration"
        assert text.endswith("gcloud auth application-default set-quota-project my-project-123")

    def test_the_metadata_server_is_away(self, internet: Internet) -> None:
        """Nothing is wrong with roles or settings then."""
        with Server(Unavailable) as server:
            address = f"127.0.0.1:{server.port}"
            given = {"GCE_METADATA_HOST": address, "GCE_METADATA_IP": address, "GOOGLE_APPLICATION_CREDENTIALS": ""}
            remedy, text = self.error(internet, **given)
        assert (remedy, "try again in some minutes" in text) == ("wait", True)
