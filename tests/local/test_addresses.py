"""The addresses of `make run`: where the browser is on this machine, and where it is not."""

from pathlib import Path

import pytest

from local import addresses
from local.addresses import NoAddress

HERE = "http://localhost:"
PAGES = ("/portal/auth", "/v2/auth/authorize")


def found(**environment: str) -> addresses.Addresses:
    return addresses.find({"PATH": "/nonexistent", **environment}, 8080, 8090)


def cloud_shell(folder: Path, script: str) -> str:
    """A PATH with a cloudshell command on it."""
    command = folder / "cloudshell"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


class TestHere:
    def test_usual(self) -> None:
        """Without anything set the addresses are this machine's, which alone is listened on."""
        here = found()
        assert (here.public_url, here.authorize_url) == (f"{HERE}8080", f"{HERE}8090{PAGES[0]}")
        assert (here.account_authorize_url, here.host, here.notes) == (f"{HERE}8090{PAGES[1]}", "127.0.0.1", ())

    def test_host(self) -> None:
        """HOST=0.0.0.0 listens everywhere, and says what that means; a shell's HOST is no wish, others are refused."""
        assert found(HOST="my-laptop").host == found(HOST=" ").host == "127.0.0.1"
        everywhere = found(HOST="0.0.0.0")
        assert everywhere.host == "0.0.0.0"
        assert "everybody who reaches this machine" in everywhere.notes[0]
        with pytest.raises(NoAddress, match=r"HOST is '192\.0\.2\.1'"):
            found(HOST="192.0.2.1")


class TestElsewhere:
    def test_given(self) -> None:
        """Addresses that are set come first; one consent page's gives the other's."""
        given = found(
            PUBLIC_URL="https://keeper.example",
            TIKTOK_AUTHORIZE_URL="https://tiktok.example/portal/auth",
            CODESPACE_NAME="name",
            GITHUB_CODESPACES_PORT_FORWARDING_DOMAIN="app.github.dev",
            SSH_CONNECTION="192.0.2.1 50000 192.0.2.2 22",
        )
        assert given.public_url == "https://keeper.example"
        assert given.authorize_url == "https://tiktok.example/portal/auth"
        assert given.account_authorize_url == "https://tiktok.example/v2/auth/authorize"
        assert (given.names, given.notes) == (("tiktok.example",), ())

    def test_codespaces(self) -> None:
        """In Codespaces each port has an address of its own."""
        space = found(
            CODESPACE_NAME="fuzzy-name",
            GITHUB_CODESPACES_PORT_FORWARDING_DOMAIN="app.github.dev",
            SSH_CONNECTION="192.0.2.1 50000 192.0.2.2 22",
        )
        assert space.public_url == "https://fuzzy-name-8080.app.github.dev"
        assert space.authorize_url == "https://fuzzy-name-8090.app.github.dev/portal/auth"
        assert (space.names, space.notes) == (("fuzzy-name-8090.app.github.dev",), ())

    def test_cloud_shell(self, tmp_path: Path) -> None:
        """In Cloud Shell its command is asked, and the query is left out."""
        path = cloud_shell(tmp_path, 'echo "https://$3-cs-1234-default.cs-europe.cloudshell.dev/?authuser=0"')
        shell = found(PATH=path)
        assert shell.public_url == "https://8080-cs-1234-default.cs-europe.cloudshell.dev"
        assert shell.account_authorize_url.startswith("https://8090-cs-1234-default.cs-europe.cloudshell.dev/v2/")

    @pytest.mark.parametrize("script", ["exit 1", "echo no web preview"])
    def test_cloud_shell_fails(self, tmp_path: Path, script: str) -> None:
        """Where its command gives no address, the sentence says what to set, and setting it is enough."""
        path = cloud_shell(tmp_path, script)
        with pytest.raises(NoAddress, match="set PUBLIC_URL and TIKTOK_AUTHORIZE_URL"):
            found(PATH=path)
        urls = {"PUBLIC_URL": "https://a.example", "TIKTOK_AUTHORIZE_URL": "https://b.example/portal/auth"}
        assert found(PATH=path, **urls).public_url == "https://a.example"

    def test_ssh(self) -> None:
        """Over SSH the addresses stay, and one command makes them work where the browser is."""
        tunnels = "ssh -N -L 8080:127.0.0.1:8080 -L 8090:127.0.0.1:8090"
        over_ssh = found(SSH_CONNECTION="192.0.2.1 50000 192.0.2.2 22", USER="ada")
        assert (over_ssh.public_url, over_ssh.notes[-1]) == (f"{HERE}8080", f"{tunnels} ada@192.0.2.2")
        other_port = found(SSH_CONNECTION="2001:db8::1 50000 2001:db8::2 2222")
        assert other_port.notes[-1] == f"{tunnels} -p 2222 2001:db8::2"
