"""What `make run` starts, with which settings, and where the browser finds it."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from local import addresses
from local.banner import banner
from local.launch import PORTS, launch
from local.serving import CannotStart
from local.setup import Ports, Setup

NUMBERS = (28080, 28081, 28085, 28090)
OVER_SSH = {"SSH_CONNECTION": "192.0.2.1 50000 192.0.2.2 22"}
SPACE = {"CODESPACE_NAME": "fuzzy", "GITHUB_CODESPACES_PORT_FORWARDING_DOMAIN": "app.github.dev"}


def setup(folder: Path, **environment: str) -> Setup:
    return Setup({"PATH": "/nonexistent", "LINK_SIGNING_KEYS": "k" * 40, **environment}, Ports(*NUMBERS), folder)


def commands(given: Setup) -> dict[str, str]:
    return {program.name: " ".join(program.command) for program in given.programs()}


def found(**environment: str) -> addresses.Addresses:
    return addresses.find({"PATH": "/nonexistent", **environment}, 8080, 8090)


class TestAddresses:
    def test_given(self) -> None:
        """Addresses that are set come first; one consent page's gives the other's. A shell's HOST is no wish."""
        tiktok = {"TIKTOK_AUTHORIZE_URL": "https://tiktok.example/portal/auth"}
        given = found(PUBLIC_URL="https://keeper.example", HOST="my-laptop", **tiktok, **OVER_SSH, **SPACE)
        assert (given.public_url, given.host, given.notes) == ("https://keeper.example", "127.0.0.1", [])
        assert given.authorize_url == "https://tiktok.example/portal/auth"
        assert given.account_authorize_url == "https://tiktok.example/v2/auth/authorize"

    def test_cloud_shell(self, tmp_path: Path) -> None:
        """Its command is asked, and the query left out; where that fails, the sentence says what to set instead."""
        command, host = tmp_path / "cloudshell", "cs-1234-default.cs-europe.cloudshell.dev"
        command.touch(0o755)
        command.write_text(f'#!/bin/sh\necho "https://$3-{host}/?authuser=0"\n')
        path = f"{tmp_path}:/bin"
        shell = found(PATH=path)
        assert shell.public_url == f"https://8080-{host}"
        assert shell.account_authorize_url == f"https://8090-{host}/v2/auth/authorize"
        for script in ("exit 1", "echo no web preview"):
            command.write_text(f"#!/bin/sh\n{script}\n")
            with pytest.raises(CannotStart, match="set PUBLIC_URL and TIKTOK_AUTHORIZE_URL"):
                found(PATH=path)
        assert found(PATH=path, PUBLIC_URL="https://a.example", TIKTOK_AUTHORIZE_URL="https://b.example")

    def test_ssh(self) -> None:
        """Over SSH the addresses stay, and one command makes them work where the browser is."""
        over_ssh = found(**OVER_SSH, USER="ada")
        assert over_ssh.public_url == "http://localhost:8080"
        assert over_ssh.notes[-1] == "ssh -N -L 8080:127.0.0.1:8080 -L 8090:127.0.0.1:8090 -p 22 ada@192.0.2.2"


class TestPrograms:
    def test_usual(self, tmp_path: Path) -> None:
        """Everything listens on loopback."""
        given = setup(tmp_path)
        assert set(commands(given)) == {"connect", "refresh", "tiktok", "secret manager"}
        assert not [command for command in commands(given).values() if "0.0.0.0" in command]
        assert given.found.notes == []

    def test_elsewhere(self, tmp_path: Path) -> None:
        """Behind public addresses the simulated TikTok answers to its own, and the banner has the links.

        With HOST=0.0.0.0 connect and the simulated TikTok listen everywhere, which is said; what holds secrets never.
        """
        given = setup(tmp_path, HOST="0.0.0.0", **SPACE, **OVER_SSH)
        listening = commands(given)
        assert [name for name, command in listening.items() if "--host=0.0.0.0" in command] == ["connect", "tiktok"]
        assert "--name=fuzzy-28090.app.github.dev" in listening["tiktok"]
        assert given.environment["TIKTOK_AUTHORIZE_URL"] == "https://fuzzy-28090.app.github.dev/portal/auth"
        text = banner(given)
        assert "https://fuzzy-28080.app.github.dev/start?link=" in text
        assert text.endswith("can open connect and the simulated TikTok.\n")
        assert "ssh " not in text

    def test_real_app(self, tmp_path: Path) -> None:
        """With a real app nothing is simulated, the banner says what to register, and secrets go to who needs them."""
        given = setup(tmp_path, TIKTOK_APP_ID="7123", TIKTOK_APP_SECRET="s" * 40)
        assert set(commands(given)) == {"connect", "refresh", "secret manager"}
        assert "TIKTOK_AUTHORIZE_URL" not in given.environment
        with_secret = [program.name for program in given.programs() if "TIKTOK_APP_SECRET" in program.environment]
        assert with_secret == ["connect", "refresh"]
        text = banner(given)
        assert "your TikTok app 7123.\n" in text
        assert "its Advertiser redirect URL: http://localhost:28080\n" in text
        assert "s" * 40 not in text


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What is said with these variables, in one sentence and before anything is started."""

    def run(**changes: str) -> str:
        ports = dict(zip(PORTS, map(str, NUMBERS), strict=True))
        for name in ("TIKTOK_APP_ID", "TIKTOK_APP_SECRET", "PUBLIC_URL"):
            monkeypatch.delenv(name, raising=False)
        for name, value in {"TOKENKEEPER_STATE": str(tmp_path / "state"), **ports, **changes}.items():
            monkeypatch.setenv(name, value)
        assert launch() == 1
        (line,) = capsys.readouterr().err.splitlines()
        return str(line)

    return run


class TestProblems:
    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"PORT": "abc"}, "PORT is 'abc', not a port from 1 to 65535, like 8080."),
            ({"REFRESH_PORT": "28080"}, "Port 28080 is meant for both connect and refresh"),
            ({"TIKTOK_APP_ID": "7123"}, "TIKTOK_APP_ID is set and TIKTOK_APP_SECRET is not: set both"),
            ({"K_SERVICE": "connect"}, "This is for a developer's machine only"),
            ({"KEEP_VERSIONS": "1"}, "KEEP_VERSIONS is '1', not a whole number"),
        ],
    )
    def test_settings(self, said: Callable[..., str], changes: dict[str, str], sentence: str) -> None:
        """The sentence names the variable and what is wrong with it."""
        assert said(**changes).startswith(sentence)

    @pytest.mark.parametrize("option", ["PORT", "TIKTOK_PORT"])
    def test_port_taken(self, said: Callable[..., str], option: str) -> None:
        """A port that is taken is named, with the option that changes it."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            sentence = said(**{option: port})
        assert sentence.startswith(f"Port {port}, where ")
        assert f"choose another with make run {option}=" in sentence

    def test_folder(self, said: Callable[..., str], tmp_path: Path) -> None:
        """A folder that cannot be written is named."""
        (tmp_path / "state").write_text("a file")
        assert "a folder of your own" in said()
