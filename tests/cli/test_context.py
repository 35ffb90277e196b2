"""Where the command line acts: saved settings beneath the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import Cli, sentence
from stage import APP_SECRET, LINK_KEY, PROJECT, Stage
from tokenkeeper import settings
from tokenkeeper.cli import saved, terminal
from tokenkeeper.errors import SettingsError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "local.env").write_text(
        "# written by make run\nGOOGLE_CLOUD_PROJECT=local\nSECRET_MANAGER_EMULATOR_HOST=127.0.0.1:8085\n\n"
        "PUBLIC_URL=http://localhost:8080\nnot a setting\n"
    )
    (tmp_path / "current").write_text("local\n")
    return tmp_path


class TestSaved:
    def test_saved_beneath_environment(self, folder: Path) -> None:
        """What is saved counts where the environment says nothing; where it says otherwise, that is told."""
        found = saved.read("", {"TOKENKEEPER_STATE": str(folder), "PUBLIC_URL": "https://a.example", "X": " "})
        assert found.name == "local"
        assert found.environment["PUBLIC_URL"] == "https://a.example"
        assert found.environment["SECRET_MANAGER_EMULATOR_HOST"] == "127.0.0.1:8085"
        assert found.replaced == ("PUBLIC_URL",)
        assert not found.both

    def test_project_belongs_to_the_store(self, folder: Path) -> None:
        """A project at Google that the environment names does not count for the store on this machine."""
        given = {"TOKENKEEPER_STATE": str(folder), "GOOGLE_CLOUD_PROJECT": "prod"}
        assert saved.read("", given).environment["GOOGLE_CLOUD_PROJECT"] == "local"
        given["SECRET_MANAGER_EMULATOR_HOST"] = "127.0.0.1:9999"
        assert saved.read("", given).environment["GOOGLE_CLOUD_PROJECT"] == "prod"

    def test_named(self, folder: Path) -> None:
        """A place can be chosen by name, if something is saved for it."""
        with pytest.raises(SettingsError, match="Nothing is saved for cloud yet: run `make deploy`"):
            saved.read("cloud", {"TOKENKEEPER_STATE": str(folder)})
        (folder / "cloud.env").write_text("GOOGLE_CLOUD_PROJECT=prod\n")
        found = saved.read("cloud", {"TOKENKEEPER_STATE": str(folder)})
        assert (found.name, found.environment["GOOGLE_CLOUD_PROJECT"], found.both) == ("cloud", "prod", True)

    @pytest.mark.parametrize("current", ["", "elsewhere", "../etc/passwd", "cloud"])
    def test_nothing_usable(self, folder: Path, current: str) -> None:
        """A current place that is none, or has nothing saved, leaves the environment alone."""
        (folder / "current").write_text(current)
        found = saved.read("", {"TOKENKEEPER_STATE": str(folder)})
        assert (found.name, "PUBLIC_URL" in found.environment) == ("", False)

    def test_unreadable(self, folder: Path) -> None:
        """What cannot be read ends in a sentence."""
        (folder / "local.env").write_bytes(b"\xff")
        with pytest.raises(SettingsError, match="cannot be read"):
            saved.read("", {"TOKENKEEPER_STATE": str(folder)})

    @pytest.mark.parametrize(
        ("environment", "wanted"),
        [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
    )
    def test_colours(self, environment: dict[str, str], *, wanted: bool) -> None:
        """NO_COLOR and a dumb terminal turn colours off."""
        assert terminal.colour_wanted(environment) is wanted


class TestSurvey:
    def test_finds_all(self) -> None:
        """Every setting is looked at, however many are wrong, and only those that were asked for."""
        found = settings.survey(settings.Needs.STORE | settings.Needs.APP, {"KEEP_VERSIONS": "x", "PUBLIC_URL": "x"})
        assert {name for name, problem in found.items() if problem} == {
            "KEEP_VERSIONS",
            "TIKTOK_APP_ID",
            "TIKTOK_APP_SECRET",
        }
        assert found["SECRET_PREFIX"] == ""
        assert "PUBLIC_URL" not in found


class TestCommands:
    def test_saved_settings_are_enough(self, cli: Cli, stage: Stage) -> None:
        """With saved settings a command needs nothing from the environment."""
        stage.plant("acme")
        names = ("GOOGLE_CLOUD_PROJECT", "SECRET_MANAGER_EMULATOR_HOST", "TIKTOK_APP_ID", "TIKTOK_APP_SECRET")
        more = ("TIKTOK_API_URL", "LINK_SIGNING_KEYS", "PUBLIC_URL")
        given = cli.environment()
        cli.save("local", **{name: given[name] for name in names + more})
        nothing = dict.fromkeys(names + more)
        assert cli("status", **nothing).status == 0
        assert cli("refresh", **nothing).status == 0
        done = cli("link", "acme", **nothing)
        assert done.out.startswith("http://localhost:8080/start?link=")

    def test_not_running_any_more(self, cli: Cli) -> None:
        """After the end of make run the sentence says how to start it again, or how to choose the cloud."""
        cli.save("local", SECRET_MANAGER_EMULATOR_HOST="127.0.0.1:9", GOOGLE_CLOUD_PROJECT="local")
        away = {"SECRET_MANAGER_EMULATOR_HOST": None, "GOOGLE_CLOUD_PROJECT": None}
        assert sentence(cli("status", **away)).endswith("is not running: start it with `make run`.")
        (cli.state / "cloud.env").write_text("GOOGLE_CLOUD_PROJECT=prod\n")
        assert cli("status", **away).err.endswith("or choose Google Cloud with TARGET=cloud.\n")

    def test_says_where(self, cli: Cli) -> None:
        """Which place it acts on is said where that is not obvious, and only there."""
        given = cli.environment()
        store = {"SECRET_MANAGER_EMULATOR_HOST": given["SECRET_MANAGER_EMULATOR_HOST"], "GOOGLE_CLOUD_PROJECT": PROJECT}
        cli.save("cloud", **store)
        assert cli("status").err == ""
        cli.save("local", **store)
        assert cli("status").err.startswith("Acting on what `make run` started on this machine; TARGET=cloud")
        assert cli("--target", "cloud", "status").err.startswith("Acting on Google Cloud; TARGET=local")
        cli.save("cloud", **store, PUBLIC_URL="https://a.example")
        assert "with PUBLIC_URL from the environment" in cli("status").err

    def test_secrets_of_the_cloud(self, cli: Cli, stage: Stage) -> None:
        """What is kept as a secret is read when a command needs it, and not before."""
        for name, value in (("app-secret", APP_SECRET), ("link-keys", LINK_KEY)):
            stage.secrets.create(name, project=PROJECT)
            stage.secrets.add_version(name, value.encode())
        cli.save(
            "cloud",
            TIKTOK_APP_SECRET_SECRET=f"projects/{PROJECT}/secrets/app-secret",
            LINK_SIGNING_KEYS_SECRET=f"projects/{PROJECT}/secrets/link-keys",
        )
        hidden = {"TIKTOK_APP_SECRET": None, "LINK_SIGNING_KEYS": None}
        stage.secrets.forget_calls()
        assert cli("status", **hidden).status == 0
        assert stage.secrets.count("AccessSecretVersion") == 0
        assert cli("link", "acme", **hidden).status == 0
        assert stage.secrets.count("AccessSecretVersion", "link-keys") == 1
        assert stage.secrets.count("AccessSecretVersion", "app-secret") == 0
        stage.secrets.deny("secretmanager.versions.access")
        assert "make doctor" in sentence(cli("link", "acme", **hidden))

    def test_wrong_secret_name(self, cli: Cli) -> None:
        """A secret's name that is none ends in a sentence."""
        cli.save("cloud", LINK_SIGNING_KEYS_SECRET="link-keys")
        assert sentence(cli("link", "acme", LINK_SIGNING_KEYS=None)).startswith("LINK_SIGNING_KEYS_SECRET is no secret")
