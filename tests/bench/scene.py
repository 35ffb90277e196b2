"""Where the benchmarks take place: the emulators, and functions that are started from nothing."""

import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import requests
from google.cloud import secretmanager_v1 as api

from grpc_server import GrpcServer
from stage import LINK_KEY, ROOT, Stage, free_port
from tokenkeeper.connect.links import Signer
from tokenkeeper.secret import Secret

OURS = ROOT / "functions" / "main.py"
EMPTY = ROOT / "tests" / "bench" / "empty.py"
OBVIOUS = ROOT / "tests" / "bench" / "obvious" / "main.py"
OBVIOUS_PYTHON = ROOT / ".venv-bench" / "bin" / "python"


@contextmanager
def stage() -> Iterator[Stage]:
    """The emulators, and what starts functions."""
    with tempfile.TemporaryDirectory() as folder, closing(Stage(Path(folder))) as made:
        yield made


class Callbacks:
    """Callbacks that are ready to be made, each for a connection of its own."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._signer = Signer([Secret(LINK_KEY)])
        self._made = 0

    def next(self) -> tuple[str, str]:
        """Path and cookie of the next one: a new connection."""
        self._made += 1
        link, _ = self._signer.new_link(f"c{self._made}")
        text, state, nonce = self._signer.new_state(link)
        code = self._stage.code()
        query = urlencode({"auth_code": code, "code": code, "state": text})
        return f"/?{query}", f"tk-{state.flow}={nonce.reveal()}"

    def next_obvious(self) -> tuple[str, str]:
        """The same for the obvious way, whose state is the secret's name."""
        self._made += 1
        return f"/?{urlencode({'auth_code': self._stage.code(), 'state': f'c{self._made}'})}", ""


def from_start(
    stage: Stage,
    source: Path,
    path: str = "/",
    cookie: str = "",
    python: Path | str = sys.executable,
    environment: Mapping[str, str] | None = None,
) -> tuple[float, float]:
    """Seconds from the start of a function's process to its answer to a request; MiB of its processes then."""
    port = free_port()
    words = [str(python), "-m", "functions_framework", "--target=connect", f"--source={source}", "--host=127.0.0.1"]
    values = stage.environment(port, **environment or {})
    nowhere = subprocess.DEVNULL
    with requests.Session() as session:
        session.trust_env = False
        began = time.perf_counter()
        process = subprocess.Popen(words, env=values, stdout=nowhere, stderr=nowhere, start_new_session=True)
        try:
            while True:
                with suppress(requests.ConnectionError):
                    url, headers = f"http://127.0.0.1:{port}{path}", {"Cookie": cookie} if cookie else {}
                    answer = session.get(url, headers=headers, timeout=30, allow_redirects=False)
                    break
                time.sleep(0.002)
            took = time.perf_counter() - began
            memory = group_memory(process.pid)
        finally:
            os.killpg(process.pid, 9)
            process.wait()
    assert answer.status_code in {200, 303}, answer.text
    return took, memory


def in_process(
    stage: Stage, source: Path, callbacks: Sequence[tuple[str, str]], python: Path | str, more: Mapping[str, str]
) -> list[tuple[float, int]]:
    """CPU seconds and status of each request to a function in one process."""
    port = free_port()
    asked = {"source": str(source), "base": f"http://127.0.0.1:{port}", "requests": callbacks}
    done = subprocess.run(
        [str(python), str(Path(__file__).parent / "inprocess.py")],
        input=json.dumps(asked),
        env=stage.environment(port, FUNCTION_TARGET="connect", **more),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=110,
    )
    return [(seconds, status) for seconds, status in json.loads(done.stdout)]


@contextmanager
def obvious_store() -> Iterator[dict[str, str]]:
    """Secret Manager over gRPC for the obvious way, which keeps nothing; the setting that leads there."""
    numbers = itertools.count(1)

    def create(asked: Any, _context: object) -> Any:
        return api.Secret(name=f"{asked.parent}/secrets/{asked.secret_id}")

    def add(asked: Any, _context: object) -> Any:
        return api.SecretVersion(name=f"{asked.parent}/versions/{next(numbers)}")

    creating, adding = (api.CreateSecretRequest, api.Secret), (api.AddSecretVersionRequest, api.SecretVersion)
    server = GrpcServer({"CreateSecret": (*creating, create), "AddSecretVersion": (*adding, add)})
    try:
        yield {"SECRET_MANAGER_GRPC": f"127.0.0.1:{server.port}"}
    finally:
        server.stop()


def group_memory(group: int) -> float:
    """MiB of all processes of a group; pages that several have are counted in each."""
    listing = subprocess.run(["ps", "-eo", "pgid=,rss="], capture_output=True, text=True, check=True).stdout
    pairs: list[Any] = [line.split() for line in listing.splitlines()]
    return sum(int(size) for found, size in pairs if found == str(group)) / 1024
