"""Where the command line acts: saved settings beneath the environment."""

from pathlib import Path

import pytest

from command_line import Cli, sentence
from stage import APP_SECRET, LINK_KEY, PROJECT, Stage
from tokenkeeper.cli import context
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
    def test_beneath_environment(self, folder: Path) -> None:
        """What is saved counts where the environment says nothing; where it says otherwise, that is told.

        A project at Google that the environment names does not count for the store on this machine.
        """
        given = {"TOKENKEEPER_STATE": str(folder), "PUBLIC_URL": "https://a.example", "GOOGLE_CLOUD_PROJECT": "prod"}
        found = context.read("", given)
        assert (found.place, found.both, found.replaced) == ("local", False, ("PUBLIC_URL",))
        assert found.environment["PUBLIC_URL"] == "https://a.example"
        assert found.environment["SECRET_MANAGER_EMULATOR_HOST"] == "127.0.0.1:8085"
        assert found.environment["GOOGLE_CLOUD_PROJECT"] == "local"
        elsewhere = context.read("", given | {"SECRET_MANAGER_EMULATOR_HOST": "127.0.0.1:9999"})
        assert elsewhere.environment["GOOGLE_CLOUD_PROJECT"] == "prod"

    def test_named(self, folder: Path) -> None:
        """A place can be chosen by name, if something is saved for it; an old choice of none counts for nothing."""
        given = {"TOKENKEEPER_STATE": str(folder)}
        with pytest.raises(SettingsError, match="Nothing is saved for cloud yet: run `make deploy`"):
            context.read("cloud", given)
        (folder / "current").write_text("../local")
        assert (context.read("", given).place, "PUBLIC_URL" in context.read("", given).environment) == ("", False)
        (folder / "cloud.env").write_text("GOOGLE_CLOUD_PROJECT=prod\n")
        found = context.read("cloud", given)
        assert (found.place, found.environment["GOOGLE_CLOUD_PROJECT"], found.both) == ("cloud", "prod", True)
        (folder / "cloud.env").write_bytes(b"\xff")
        with pytest.raises(SettingsError, match="cannot be read"):
            context.read("cloud", given)


class TestCommands:
    def test_saved_settings_are_enough(self, cli: Cli, stage: Stage) -> None:
        """With saved settings a command needs nothing from the environment; without any a sentence says how to begin.

        A wrong setting is named, and a secret not shown.
        """
        said = sentence(cli("link", "acme", LINK_SIGNING_KEYS=None, PUBLIC_URL=None))
        assert said.startswith("LINK_SIGNING_KEYS is missing, and nothing is set up yet")
        assert ("make run" in said, "make deploy" in said) == (True, True)
        said = sentence(cli("link", "acme", LINK_SIGNING_KEYS="short-but-secret"))
        assert said.startswith("LINK_SIGNING_KEYS has 16")
        stage.plant("acme")
        store = ["GOOGLE_CLOUD_PROJECT", "SECRET_MANAGER_EMULATOR_HOST"]
        names = [*store, "TIKTOK_APP_ID", "TIKTOK_APP_SECRET", "TIKTOK_API_URL", "LINK_SIGNING_KEYS", "PUBLIC_URL"]
        given = cli.environment()
        cli.save("local", **{name: given[name] for name in names})
        assert cli("refresh", **dict.fromkeys(names)).status == 0
        assert cli("link", "acme", **dict.fromkeys(names)).out.startswith("http://localhost:8080/start?link=")

    def test_not_running_any_more(self, cli: Cli) -> None:
        """After the end of make run the sentence says how to start it again, or how to choose the cloud."""
        said = sentence(cli("refresh", SECRET_MANAGER_EMULATOR_HOST="127.0.0.1:9"))
        assert said.endswith("start it, or unset SECRET_MANAGER_EMULATOR_HOST for the real one.")
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
        """What is kept as a secret is read when a command needs it, and not before; doctor says which it may not."""
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
        found = cli("doctor", **hidden).out
        assert "TikTok knows the app id and the app secret" in found
        assert "LINK_SIGNING_KEYS  " in found
        stage.secrets.deny("secretmanager.versions.access")
        assert "make doctor" in sentence(cli("link", "acme", **hidden))
        assert "roles/secretmanager.secretAccessor on that secret" in cli("doctor", **hidden).out
        cli.save("cloud", LINK_SIGNING_KEYS_SECRET="link-keys")
        assert sentence(cli("link", "acme", **hidden)).startswith("LINK_SIGNING_KEYS_SECRET is no secret's name")
