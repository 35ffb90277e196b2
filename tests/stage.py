"""The whole product on one machine for a test: both stand-ins on sockets, the functions as real processes.

Everything that the functions say (logs, pages, headers, cookies) is heard by the canaries.
"""

import json
import os
import re
import socket
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import requests

from canaries import Canaries
from emulators.secret_manager import SecretManagerServer
from emulators.tiktok import TikTokServer
from function import Function as Function
from tiktok_client import Form
from tokenkeeper import clock, grant, payload, transitions
from tokenkeeper.connect.links import Signer
from tokenkeeper.connection import Connection, base_labels
from tokenkeeper.grant import Family, RefreshableGrant, TokenResponse
from tokenkeeper.secret import Secret

ROOT = Path(__file__).parents[1]
PROJECT = "test-project"
APP_ID = "7000000000000000000"
APP_SECRET = "canary-app-secret-0123456789abcdef01234567"
LINK_KEY = "canary-link-key-0123456789abcdef0123456789abcdef"
TOKEN = "tiktok-ads-token-"
REFRESH = "tiktok-ads-refresh-"
KEEPER = "tiktok-ads-keeper"


class NotShown(AssertionError):
    """The start page, or its form, is answered otherwise than it should."""

    def __init__(self, response: requests.Response) -> None:
        super().__init__(response.text)
        self.response = response  # what came instead


class Browser:
    """One browser's cookies, without what a browser does by itself. All that it is shown, the canaries hear."""

    def __init__(self, base: str, canaries: Canaries) -> None:
        self.base = base
        self.session = requests.Session()
        self.session.trust_env = False
        self._canaries = canaries

    def request(self, method: str, path: str, **what: Any) -> requests.Response:
        """One request; a redirect is shown, not followed."""
        response = self.session.request(method, self.base + path, allow_redirects=False, timeout=90, **what)
        public = re.sub(r'name="link" value="[^"]*"', "", response.text)  # the start page hands its own link on
        self._canaries.record(f"the page {method} {path.partition('?')[0]} {response.status_code}", public)
        self._canaries.record(
            f"the headers of {method} {path.partition('?')[0]} {response.status_code}",
            "\n".join(f"{name}: {value}" for name, value in response.headers.items()),
        )
        return response

    def get(self, path: str, **what: Any) -> requests.Response:
        return self.request("GET", path, **what)

    def post(self, path: str, **what: Any) -> requests.Response:
        return self.request("POST", path, **what)

    def begin(self, link: str) -> str:
        """Open a connect link and continue to TikTok; returns the state that TikTok is given.

        Raises:
            NotShown: the link, or the form behind it, is refused.
        """
        shown = self.get(link)
        if shown.status_code != 200:
            raise NotShown(shown)
        sent = self.post("/start", data=dict(Form(shown.text).fields))
        if sent.status_code != 303:
            raise NotShown(sent)
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(sent.headers["Location"]).query)
        for cookie in self.session.cookies:
            if re.fullmatch(r".*tk-[0-9a-f]{8}", cookie.name):
                self._canaries.keep("a flow's cookie", cookie.value or "", belongs_in=r"the headers of \S+ \S+ 303")
        return self._canaries.keep("a state", query["state"][0], belongs_in=r"the headers of POST \S+ 303")

    def come_back(self, code: str, state: str) -> requests.Response:
        """The redirect with which TikTok sends the approver back."""
        query = urllib.parse.urlencode({"auth_code": code, "code": code, "state": state})
        return self.get(f"/?{query}")


@dataclass
class Stage:
    """Everything together, in a project of Google's that is named like that."""

    folder: Path
    project: str = PROJECT
    canaries: Canaries = field(default_factory=Canaries)
    secrets: SecretManagerServer = field(default_factory=lambda: SecretManagerServer().start())
    tiktok: TikTokServer = field(default_factory=lambda: TikTokServer(app_id=APP_ID, app_secret=APP_SECRET).start())
    _running: dict[str, Function] = field(default_factory=dict)
    _more: list[Function] = field(default_factory=list)
    _passed: float = 0.0

    # --- processes ---

    def environment(self, port: int, **changes: str | None) -> dict[str, str]:
        """What a function is started with; None takes a variable away."""
        values: dict[str, str | None] = {
            "PATH": os.environ["PATH"],
            "PORT": str(port),
            "PYTHONPATH": str(ROOT / "functions"),
            "PYTHONWARNINGS": "default",
            "GOOGLE_CLOUD_PROJECT": self.project,
            "SECRET_MANAGER_EMULATOR_HOST": self.secrets.address,
            "TIKTOK_APP_ID": APP_ID,
            "TIKTOK_APP_SECRET": APP_SECRET,
            "TIKTOK_API_URL": self.tiktok.api_url,
            "TIKTOK_AUTHORIZE_URL": self.tiktok.authorize_url,
            "TIKTOK_ACCOUNT_AUTHORIZE_URL": self.tiktok.account_authorize_url,
            "LINK_SIGNING_KEYS": LINK_KEY,
            "PUBLIC_URL": f"http://127.0.0.1:{port}",
            "TIKTOK_MAX_QPS": "500",
            "RUN_BUDGET_SECONDS": "60",
            "CALLBACK_BUDGET_SECONDS": "8",
            **changes,
        }
        return {name: value for name, value in values.items() if value is not None}

    def start(self, target: str, **changes: str | None) -> Function:
        """Start one more function, with other settings, forked as in `warm`; it is stopped after the test."""
        self._more.append(self._function(target, changes, cold=False))
        return self._more[-1].wait_ready()

    def start_cold(self, target: str, **changes: str | None) -> Function:
        """The same from nothing, as the cloud does."""
        self._more.append(self._function(target, changes, cold=True))
        return self._more[-1].wait_ready()

    @property
    def connect(self) -> Function:
        """The usual `connect`, shared by the tests of a session."""
        return self._usual("connect")

    @property
    def refresh(self) -> Function:
        """The usual `refresh`, shared by the tests of a session."""
        return self._usual("refresh")

    def _usual(self, target: str) -> Function:
        function = self._running.get(target)
        if function is None or function.process.poll() is not None:
            function = self._running[target] = self._function(target, {}, cold=True).wait_ready()
        return function

    def _function(self, target: str, changes: Mapping[str, str | None], *, cold: bool) -> Function:
        return Function(target, self.environment(free_port(), **changes), self.canaries, self._clock_file, cold=cold)

    @property
    def _clock_file(self) -> Path:
        file = self.folder / "clock"
        if not file.exists():
            file.write_text("0")
        return file

    def set_clock(self, *, functions: float | None = None, stand_ins: float | None = None) -> None:
        """Move the clocks so many seconds away from the true time."""
        if functions is not None:
            new = self.folder / "clock.new"
            new.write_text(str(functions))
            new.replace(self._clock_file)
        if stand_ins is not None:
            self.secrets.set_time_offset(stand_ins)
            self.tiktok.set_time_offset(stand_ins)

    def later(self, **span: float) -> None:
        """Let so much time pass for everybody (`hours=13`)."""
        self._passed += timedelta(**span).total_seconds()
        self.set_clock(functions=self._passed, stand_ins=self._passed)

    # --- doing things ---

    def link(
        self,
        connection: str = "acme",
        life: timedelta = timedelta(hours=1),
        *,
        any_account: bool = False,
        family: Family = "advertiser",
        labels: Mapping[str, str] | None = None,
    ) -> str:
        """A connect link's path and query, as `make link` would print it."""
        signer = Signer([Secret(LINK_KEY)])
        _, text = signer.new_link(connection, life, any_account=any_account, family=family, labels=labels)
        self.canaries.keep("a connect link", text.reveal())
        return f"/start?link={text.reveal()}"

    def browser(self, function: Function | None = None) -> Browser:
        """A browser without cookies."""
        return Browser((function or self.connect).url, self.canaries)

    def code(
        self, kind: str | None = None, advertisers: Sequence[str] | None = None, scope: Sequence[int] | None = None
    ) -> str:
        """Approve at TikTok; returns the authorization code."""
        code = self.tiktok.authorize(kind, advertisers, scope)  # type: ignore[arg-type]
        return self.canaries.keep("an authorization code", code)

    def begun(self, connection: str = "acme", brings: str | None = None) -> tuple[Browser, str, str]:
        """A new browser that went to TikTok with a new link, the state, and the code of what is approved there.

        That is a grant of a kind, or an `account`'s.
        """
        browser, family = self.browser(), "account" if brings == "account" else "advertiser"
        state = browser.begin(self.link(connection, family=family))  # type: ignore[arg-type]
        return browser, state, self.account_code() if brings == "account" else self.code(brings)

    def approve(
        self,
        connection: str = "acme",
        kind: str | None = None,
        advertisers: Sequence[str] | None = None,
        *,
        any_account: bool = False,
        family: Family = "advertiser",
        account: str | None = None,
        function: Function | None = None,
        browser: Browser | None = None,
    ) -> requests.Response:
        """Go the whole way with a new link, and a new browser if there is none; returns the callback's answer."""
        browser = browser or self.browser(function)
        state = browser.begin(self.link(connection, any_account=any_account, family=family))
        code = self.code(kind, advertisers) if family == "advertiser" else self.account_code(account)
        return browser.come_back(code, state)

    def account_code(self, account: str | None = None, scope: Sequence[str] | None = None) -> str:
        """Approve at TikTok as the holder of a TikTok account; returns the authorization code."""
        return self.canaries.keep("an authorization code", self.tiktok.authorize_account(account, scope))

    def connected(
        self, connection: str = "acme", kind: str | None = None, advertisers: Sequence[str] | None = None
    ) -> dict[str, Any]:
        """Connect, and return the stored token payload."""
        answer = self.approve(connection, kind, advertisers)
        assert answer.status_code == 303, answer.text
        return self.token(connection)

    def plant(
        self, connection: str, kind: str = "long-lived", *, age_hours: float = 0, family: Family = "advertiser"
    ) -> dict[str, Any]:
        """Put a connection straight into the store, made so many hours ago; returns its token payload."""
        given = (
            self.tiktok.grant(kind)  # type: ignore[arg-type]
            if family == "advertiser"
            else self.tiktok.grant_account(kind=kind)  # type: ignore[arg-type]
        )
        at = clock.now() - timedelta(hours=age_hours)
        response = TokenResponse(
            Secret(given.access_token),
            Secret(given.refresh_token) if given.refresh_token else None,
            86_400.0 if given.refresh_token else None,
            31_536_000.0 if given.refresh_token else None,
            tuple(given.advertiser_ids),
            tuple(given.scope),
            given.open_id,
        )
        made = grant.first(response, connection=connection, app_id=APP_ID, family=family, asked_at=at)
        made = made.with_username(given.username)
        empty = Connection(connection, {}, {})
        state = transitions.connected(empty, made, at, "", {}).connection.with_(annotations={"advertiser-names": None})
        self.secrets.create(
            TOKEN + connection, project=self.project, labels=dict(state.labels), annotations=dict(state.annotations)
        )
        if isinstance(made, RefreshableGrant):
            labels = base_labels("refresh", connection)
            self.secrets.create(REFRESH + connection, project=self.project, labels=labels)
            self.secrets.add_version(REFRESH + connection, payload.of_refresh(made))
        self.secrets.add_version(TOKEN + connection, payload.of_token(made))
        return self.token(connection)

    def due(self, *names: str, versions: int = 1, family: Any = "advertiser") -> None:
        """Plant expiring connections, `acme` or these, past half of their lives, with so many versions."""
        for name in names or ("acme",):
            self.plant(name, "expiring", age_hours=13, family=family)
            for secret_id in (TOKEN + name, REFRESH + name):
                for _ in range(versions - 1):
                    self.secrets.add_version(secret_id, self.secrets.payloads(secret_id)[-1])

    def run(
        self, body: Mapping[str, Any] | None = None, *, function: Function | None = None
    ) -> tuple[int, dict[str, Any]]:
        """One run; returns the status and the summary."""
        target = function or self.refresh
        answer = requests.post(
            target.url, data=None if body is None else json.dumps(body), timeout=300, headers={"User-Agent": "test"}
        )
        self.canaries.record("refresh's answer", answer.text)
        target.runs += "seconds" in answer.text
        return answer.status_code, answer.json()

    # --- looking ---

    def token(self, connection: str = "acme") -> dict[str, Any]:
        """The newest payload that pipelines read."""
        return dict(json.loads(self.secrets.payloads(TOKEN + connection)[-1]))

    def whole_grant(self, connection: str = "acme") -> dict[str, Any]:
        """The newest payload of the refresh secret."""
        return dict(json.loads(self.secrets.payloads(REFRESH + connection)[-1]))

    def labels(self, connection: str = "acme") -> dict[str, str]:
        return self.secrets.labels(TOKEN + connection)

    def annotations(self, connection: str = "acme") -> dict[str, str]:
        return self.secrets.annotations(TOKEN + connection)

    def time(self, connection: str, key: str) -> datetime:
        """A time in the annotations."""
        return clock.parse(self.annotations(connection)[key])

    def events(self, *severities: str) -> list[str]:
        """The names of what both functions logged, of these severities or of all."""
        found = [event for function in [*self._running.values(), *self._more] for event in function.events]
        return [event["event"] for event in found if not severities or event["severity"] in severities]

    def alerts(self) -> list[str]:
        """The names of what was logged as ERROR or CRITICAL."""
        return self.events("ERROR", "CRITICAL")

    def writes(self) -> list[str]:
        """Calls that changed something in Secret Manager."""
        reading = ("Get", "List", "Access", "Test")
        return [call.name for call in self.secrets.calls if not call.name.startswith(reading)]

    # --- between tests ---

    def leaks(self) -> list[str]:
        """Where a secret showed up that must not."""
        self.canaries.keep("the app secret", APP_SECRET)
        self.canaries.keep("a signing key", LINK_KEY)
        for secret_id in self.secrets.secrets():
            for content in self.secrets.payloads(secret_id):
                try:
                    document = json.loads(content)
                except ValueError:
                    continue
                for key in ("access_token", "refresh_token"):
                    if isinstance(document, dict) and isinstance(document.get(key), str):
                        self.canaries.keep(f"an {key}", document[key])
        for given in self.tiktok.grants:
            self.canaries.keep("an access token", given.access_token)
            if given.refresh_token:
                self.canaries.keep("a refresh token", given.refresh_token)
        return self.canaries.leaks()

    def reset(self) -> None:
        """Make everything as it was at the beginning."""
        for function in self._more:
            function.kill()  # a server that ends politely takes seconds
        self._more.clear()
        for function in self._running.values():
            function.forget()
        self.secrets.reset()
        self.tiktok.reset()
        self._passed = 0.0
        self.set_clock(functions=0, stand_ins=0)
        self.canaries.clear()

    def close(self) -> None:
        """Stop everything."""
        for function in [*self._running.values(), *self._more]:
            function.stop()
        self.secrets.stop()
        self.tiktok.stop()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
