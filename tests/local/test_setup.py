"""What `make run` starts, with which settings."""

import socket
from pathlib import Path

import pytest

from local.banner import banner
from local.launch import launch
from local.setup import Ports, Setup

OPTIONS = ("PORT", "REFRESH_PORT", "SECRET_MANAGER_PORT", "TIKTOK_PORT")
PORTS = Ports(28080, 28081, 28085, 28090)
SPACE = {"CODESPACE_NAME": "fuzzy", "GITHUB_CODESPACES_PORT_FORWARDING_DOMAIN": "app.github.dev"}


def setup(folder: Path, **environment: str) -> Setup:
    return Setup({"PATH": "/nonexistent", "LINK_SIGNING_KEYS": "k" * 40, **environment}, PORTS, folder)


def commands(given: Setup) -> dict[str, str]:
    return {program.name: " ".join(program.command) for program in given.programs()}


class TestPrograms:
    def test_usual(self, tmp_path: Path) -> None:
        """Everything listens on loopback, and the functions use what is simulated."""
        given = setup(tmp_path)
        assert set(commands(given)) == {"connect", "refresh", "tiktok", "secret manager"}
        assert not [command for command in commands(given).values() if "0.0.0.0" in command]
        assert given.environment["TIKTOK_ACCOUNT_AUTHORIZE_URL"] == "http://localhost:28090/v2/auth/authorize"
        assert given.environment["TIKTOK_API_URL"] == "http://127.0.0.1:28090/open_api/v1.3"

    def test_everywhere(self, tmp_path: Path) -> None:
        """With HOST=0.0.0.0 connect and the simulated TikTok listen everywhere; what holds secrets never does."""
        listening = commands(setup(tmp_path, HOST="0.0.0.0"))
        assert sorted(name for name, command in listening.items() if "--host=0.0.0.0" in command) == [
            "connect",
            "tiktok",
        ]

    def test_elsewhere(self, tmp_path: Path) -> None:
        """Behind public addresses the simulated TikTok answers to its own, and the banner has the links."""
        given = setup(tmp_path, **SPACE)
        assert "--name=fuzzy-28090.app.github.dev" in commands(given)["tiktok"]
        assert given.environment["TIKTOK_AUTHORIZE_URL"] == "https://fuzzy-28090.app.github.dev/portal/auth"
        assert "https://fuzzy-28080.app.github.dev/start?link=" in banner(given)

    def test_over_ssh(self, tmp_path: Path) -> None:
        """Over SSH the banner ends with the command that makes its addresses work."""
        text = banner(setup(tmp_path, SSH_CONNECTION="192.0.2.1 50000 192.0.2.2 22"))
        assert text.endswith("\nssh -N -L 28080:127.0.0.1:28080 -L 28090:127.0.0.1:28090 192.0.2.2\n")

    def test_real_app(self, tmp_path: Path) -> None:
        """With a real app nothing of TikTok is simulated, and no secret goes to who has no use for it."""
        given = setup(tmp_path, TIKTOK_APP_ID="7123", TIKTOK_APP_SECRET="s" * 40)
        assert set(commands(given)) == {"connect", "refresh", "secret manager"}
        assert "TIKTOK_AUTHORIZE_URL" not in given.environment
        with_secret = [program.name for program in given.programs() if "TIKTOK_APP_SECRET" in program.environment]
        assert with_secret == ["connect", "refresh"]


class TestProblems:
    """What cannot be used ends in one sentence, before anything is started."""

    def said(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **changes: str
    ) -> str:
        ports = dict(zip(OPTIONS, map(str, (28080, 28081, 28085, 28090)), strict=True))
        for name in ("TIKTOK_APP_ID", "TIKTOK_APP_SECRET", "PUBLIC_URL"):
            monkeypatch.delenv(name, raising=False)
        for name, value in {"TOKENKEEPER_STATE": str(folder / "state"), **ports, **changes}.items():
            monkeypatch.setenv(name, value)
        assert launch([]) == 1
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        return lines[0]

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"PORT": "abc"}, "PORT is 'abc', not a port from 1 to 65535, like 8080."),
            ({"REFRESH_PORT": "28080"}, "Port 28080 is meant for both connect and refresh"),
            ({"TIKTOK_APP_ID": "7123"}, "TIKTOK_APP_ID is set and TIKTOK_APP_SECRET is not: set both"),
            ({"HOST": "192.0.2.1"}, "HOST is '192.0.2.1', which is neither"),
            ({"K_SERVICE": "connect"}, "This is for a developer's machine only"),
            ({"KEEP_VERSIONS": "1"}, "KEEP_VERSIONS is '1', not a whole number"),
        ],
    )
    def test_settings(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        changes: dict[str, str],
        sentence: str,
    ) -> None:
        """The sentence names the variable and what is wrong with it."""
        assert self.said(tmp_path, monkeypatch, capsys, **changes).startswith(sentence)

    @pytest.mark.parametrize("option", ["PORT", "TIKTOK_PORT"])
    def test_port_taken(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: str
    ) -> None:
        """A port that is taken is named, with the option that changes it."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            sentence = self.said(tmp_path, monkeypatch, capsys, **{option: port})
        assert sentence.startswith(f"Port {port}, where ")
        assert f"choose another with make run {option}=" in sentence

    def test_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        """A folder that cannot be written is named."""
        (tmp_path / "state").write_text("a file")
        assert "a folder of your own" in self.said(tmp_path, monkeypatch, capsys)
