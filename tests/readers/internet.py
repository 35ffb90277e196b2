"""An internet on this machine, in which the real names lead to the emulators.

Tools are started with `Internet.environ`: a proxy, an authority to trust, a key of a service account. Under
`business-api.tiktok.com` they then find the simulated TikTok, and under Google's names the embedded Secret Manager,
which demands credentials and the reader's role. Every other host is refused and written down.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from emulators.serving import Answer, Request
from readers.google import LOCATIONS, SECRET_MANAGER, TOKENS, Google, GrpcFront, key_file
from readers.wires import Hosts, Proxy, Sites, certificate
from stage import TOKEN, Stage

PROJECT = "my-project-123"
CONNECTION = "acme"
READER = f"reader@{PROJECT}.iam.gserviceaccount.com"
OTHERS = ("api.airbyte.com", "chat.example.com", "run.googleapis.com")


class Internet:
    """Everything that a pipeline finds outside of its own machine.

    Attributes:
        stage: The product and the emulators, in the project `my-project-123`.
        google: What the reader may read, and what was called.
        refused: Hosts that somebody wanted to reach and that do not exist here, as `host:port`.
        started: Tools that were started in it; those that still run at the end of a test are ended then.
        pages: What a test answers under other hosts, by host and path.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._homes = 0
        (folder / "stage").mkdir()
        self.stage = Stage(folder / "stage", project=PROJECT)
        self.google = Google(PROJECT, self.stage.secrets)
        self.refused: list[str] = []
        self.started: list[subprocess.Popen[str]] = []
        self.pages: dict[str, Callable[[Request], Answer]] = {}
        hosts: Hosts = {
            "business-api.tiktok.com": lambda request: self.stage.tiktok.respond(request)[1],
            SECRET_MANAGER: self.google.secrets,
            TOKENS: self.google.token,
            LOCATIONS: self.google.locations,
            **dict.fromkeys(OTHERS, self._page),
        }
        self._key = key_file(READER)
        (folder / "reader.json").write_text(json.dumps(self._key))
        self._certificate, key = certificate(folder, hosts)
        self._grpc = GrpcFront(self.google, self._certificate, key)
        self._sites = Sites(self._certificate, key, hosts)
        self._proxy = Proxy(self._sites, self._grpc.port, self.refused)

    def _page(self, request: Request) -> Answer:
        page = self.pages.get(request.headers["Host"].partition(":")[0] + request.path)
        return page(request) if page else Answer(404, {"error": {"code": 404, "status": "NOT_FOUND"}})

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
        old = self.token()
        new = self.stage.connected(CONNECTION, "long-lived", old["advertiser_ids"])
        self.stage.tiktok.revoke(old["access_token"])
        assert new["access_token"] != old["access_token"]
        return new

    def token(self, name: str = CONNECTION) -> dict[str, Any]:
        """The newest payload of a connection."""
        return self.stage.token(name)

    def forget_calls(self) -> None:
        """Forget what was called and refused so far."""
        self.stage.secrets.forget_calls()
        self.stage.tiktok.forget_calls()
        self.google.calls.clear()
        self.refused.clear()

    def record(self, where: str, text: str) -> None:
        """Something was printed: no secret may be in it. See `Canaries.keep` for what belongs somewhere."""
        self.stage.canaries.record(where, text)

    def holding(self, folder: Path, name: str = CONNECTION) -> dict[str, int]:
        """The files below a folder in which the access token of a connection stands, with who may read them."""
        token = self.token(name)["access_token"].encode()
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
        self.pages.clear()
        self.stage.reset()
        self.google.issued.clear()
        self.google.readable = {TOKEN + CONNECTION}
        self.forget_calls()

    def leaks(self) -> list[str]:
        """Where a secret showed up that must not."""
        keep = self.stage.canaries.keep
        keep("the reader's private key", "".join(self._key["private_key"].splitlines()[1:-1]))
        for token in self.google.issued:
            keep("an access token of Google's", token)
        return self.stage.leaks()

    def close(self) -> None:
        """Stop everything."""
        self._proxy.stop()
        self._sites.stop()
        self._grpc.stop()
        self.stage.close()


def end(process: subprocess.Popen[str]) -> None:
    """End a tool, and whatever it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
