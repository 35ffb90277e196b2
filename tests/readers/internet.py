"""An internet on this machine, in which the real names lead to the emulators.

Tools are started with `Internet.environ`: a proxy, an authority to trust, a key of a service account. Under
`business-api.tiktok.com` they then find the simulated TikTok, and under Google's names the embedded Secret Manager,
which demands credentials and the reader's role. Every other host is refused and written down.
"""

import contextlib
import json
import os
import secrets
import signal
import subprocess
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
from google.cloud import secretmanager_v1

import certificates
from emulators.secret_manager import PERMISSIONS, ApiError, denied
from emulators.serving import Answer, LocalServer, Request
from google_identities import service_account_key
from grpc_server import GrpcServer
from proxies import Proxy
from stage import TOKEN, Stage

PROJECT = "my-project-123"
CONNECTION = "acme"
READER = f"reader@{PROJECT}.iam.gserviceaccount.com"
ACCESS = "AccessSecretVersion"
HOSTS = (
    "business-api.tiktok.com",
    *("secretmanager.googleapis.com", "oauth2.googleapis.com", "iamcredentials.googleapis.com"),
    *("api.airbyte.com", "chat.example.com", "run.googleapis.com"),
)


class Sites(LocalServer):
    """All hosts. In front of the embedded Secret Manager stands what IAM lets the reader do, by REST and gRPC."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self._stage = stage
        self.readable: set[str] = set()  # ids of the secrets whose versions the reader may access, and no more
        self.reads: list[tuple[str, str]] = []  # what was called at Secret Manager, with the secret's id or ""
        self.issued: list[str] = []  # access tokens of Google's
        self.pages: dict[str, Callable[[Request], Answer]] = {}  # what a test answers elsewhere, by host and path

    def answers_to(self, name: str) -> bool:
        return name in HOSTS

    def perform(self, request: Request) -> Answer:
        match request.headers["Host"].partition(":")[0]:
            case "business-api.tiktok.com":
                return self._stage.tiktok.respond(request)[1]
            case "secretmanager.googleapis.com":
                return self.secret_manager(request)
            case "oauth2.googleapis.com":
                return self._token(request)
            case "iamcredentials.googleapis.com":  # where an account may be used from, which Google's clients ask
                return Answer(body={"locations": [], "encodedLocations": "0x0"})
            case host:
                page = self.pages.get(host + request.path)
                return page(request) if page else Answer(404, {"error": {"code": 404, "status": "NOT_FOUND"}})

    def _token(self, request: Request) -> Answer:
        """An access token for a service account (RFC 7523); every login of a person is over."""
        if "assertion" not in request.form():
            return Answer(400, {"error": "invalid_grant", "error_description": "Token has been expired or revoked."})
        self.issued.append(f"ya29.{secrets.token_urlsafe(48)}")
        return Answer(body={"access_token": self.issued[-1], "expires_in": 3599, "token_type": "Bearer"})

    def secret_manager(self, request: Request) -> Answer:
        """Secret Manager over REST."""
        name, resource = self._stage.secrets.identify(request)
        owner, _, secret_id = resource.partition("/versions/")[0].rpartition("/")
        self.reads.append((name, secret_id))
        if not request.headers.get("Authorization", "").startswith("Bearer "):
            error = ApiError("UNAUTHENTICATED", "Request is missing required authentication credential.")
        elif (name, owner) != (ACCESS, f"projects/{PROJECT}/secrets") or secret_id not in self.readable:
            error = denied(PERMISSIONS.get(name, ""), resource)
        else:
            return self._stage.secrets.respond(request)[1]
        return Answer(error.code, error.body)

    def access(self, asked: Any, context: grpc.ServicerContext) -> Any:
        """The one method that a reader's role allows, over gRPC."""
        headers = Message()
        for key, value in context.invocation_metadata():
            if key == "authorization":
                headers["Authorization"] = str(value)
        given = self.secret_manager(Request("GET", f"/v1/{asked.name}:access", "", headers, b""))
        if given.status != 200:
            error = json.loads(given.payload)["error"]
            context.abort(grpc.StatusCode[error["status"]], error["message"])
        return secretmanager_v1.AccessSecretVersionResponse.from_json(given.payload.decode())


class Internet:
    """Everything that a pipeline finds outside of its own machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._homes = 0
        (folder / "stage").mkdir()
        self.stage = Stage(folder / "stage", project=PROJECT)
        self.started: list[subprocess.Popen[str]] = []  # tools; those that still run at a test's end are ended then
        self.sites = Sites(self.stage).start()
        self._key = service_account_key(READER, "https://oauth2.googleapis.com/token")
        (folder / "reader.json").write_text(json.dumps(self._key))
        self._certificate = certificates.make(folder, *HOSTS)
        api = secretmanager_v1
        access = (api.AccessSecretVersionRequest, api.AccessSecretVersionResponse, self.sites.access)
        self._grpc = GrpcServer({ACCESS: access})
        port = int(self.sites.address.rpartition(":")[2])
        self._proxy = Proxy(dict.fromkeys(HOSTS, port), self._certificate, http2=self._grpc.port).__enter__()

    @property
    def calls(self) -> list[tuple[str, str]]:
        """What was called at Secret Manager, with the secret's id."""
        return self.sites.reads + [(name, "") for name in self._grpc.asked if name != ACCESS]

    @property
    def refused(self) -> list[str]:
        """Hosts that somebody wanted to reach and that do not exist here, as `host:port`."""
        return [host for host in self._proxy.asked if host.removesuffix(":443") not in HOSTS]

    # What a test does.

    def environ(self, **more: str) -> dict[str, str]:
        """The whole environment of a tool: nothing of this machine's but its PATH, and a home of its own."""
        self._homes += 1
        home = self._folder / f"home-{self._homes}"
        home.mkdir()
        proxies = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")
        authorities = (
            *("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
            *("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE"),
        )
        keys = ("GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE")
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(home),
            **dict.fromkeys(proxies, f"http://127.0.0.1:{self._proxy.port}"),
            **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost"),
            **dict.fromkeys(authorities, str(self._certificate)),
            **dict.fromkeys(keys, str(self._folder / "reader.json")),
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
            "CLOUDSDK_CORE_CHECK_GCE_METADATA": "0",
            "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
            **more,
        }

    def connect(
        self, name: str = CONNECTION, kind: str = "long-lived", advertisers: list[str] | None = None
    ) -> dict[str, Any]:
        """Connect through the real function; returns the payload. The calls that it took are forgotten."""
        payload = self.stage.connected(name, kind, advertisers)
        self.forget_calls()
        return payload

    def rotate(self) -> dict[str, Any]:
        """Connect `acme` again, and let the old token end; returns the new payload."""
        old = self.stage.token()
        new = self.stage.connected(CONNECTION, "long-lived", old["advertiser_ids"])
        self.stage.tiktok.revoke(old["access_token"])
        assert new["access_token"] != old["access_token"]
        return new

    def forget_calls(self) -> None:
        """Forget what was called and refused so far."""
        self.stage.secrets.forget_calls()
        self.stage.tiktok.forget_calls()
        self.sites.reads.clear()
        self._grpc.asked.clear()
        self._proxy.asked.clear()

    def holding(self, folder: Path, name: str = CONNECTION) -> dict[str, int]:
        """The files below a folder in which the access token of a connection stands, with who may read them."""
        token = self.stage.token(name)["access_token"].encode()
        files = [file for file in folder.rglob("*") if file.is_file() and not file.is_symlink()]
        found = [file for file in files if token in file.read_bytes()]
        return {str(file.relative_to(folder)): file.stat().st_mode & 0o777 for file in found}

    # Between tests.

    def reset(self) -> None:
        """Make everything as it was at the beginning: nothing is connected, the reader may read `acme`."""
        for process in self.started:
            if process.poll() is None:
                end(process)
                print(process.args, *process.communicate())  # for whoever wonders why it was still running
        self.started.clear()
        self.sites.pages.clear()
        self.stage.reset()
        self.sites.issued.clear()
        self.sites.readable = {TOKEN + CONNECTION}
        self.forget_calls()

    def leaks(self) -> list[str]:
        """Where a secret showed up that must not."""
        keep = self.stage.canaries.keep
        keep("the reader's private key", "".join(self._key["private_key"].splitlines()[1:-1]))
        for token in self.sites.issued:
            keep("an access token of Google's", token)
        return self.stage.leaks()

    def close(self) -> None:
        """Stop everything."""
        self._proxy.__exit__()
        self.sites.stop()
        self._grpc.stop()
        self.stage.close()


def end(process: subprocess.Popen[str]) -> None:
    """End a tool, and whatever it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
