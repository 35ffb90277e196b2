"""make token."""

from command_line import Cli, sentence
from stage import TOKEN, Stage


class TestToken:
    def test_newest_although_latest_is_late(self, cli: Cli, stage: Stage) -> None:
        """The newest version's access token and a line's end, and nothing else, also while `latest` is behind."""
        stage.plant("acme", "expiring", age_hours=13)
        assert stage.run()[0] == 200
        stage.secrets.set_lag(latest=1)
        done = cli("token", "acme")
        assert (done.status, done.out, done.err) == (0, stage.token("acme")["access_token"] + "\n", "")

    def test_unknown_connection(self, cli: Cli, stage: Stage) -> None:
        """A connection that does not exist ends in a sentence that names those that do, or says how to make it."""
        assert sentence(cli("token", "acme")).endswith("make link CONNECTION=acme")
        stage.plant("beta")
        stage.plant("alpha")
        assert sentence(cli("token", "acme")) == "There is no connection acme. There are: alpha, beta."

    def test_unreadable(self, cli: Cli, stage: Stage) -> None:
        """A newest version that cannot be read ends in a sentence that names it, and no older one is printed."""
        stage.plant("acme")
        number = stage.secrets.add_version(TOKEN + "acme", b"hello")
        assert sentence(cli("token", "acme")).startswith("tiktok-ads-token-acme: the stored payload ")
        stage.secrets.set_state(TOKEN + "acme", number, "DISABLED")
        assert "disabled or destroyed" in sentence(cli("token", "acme"))

    def test_needs_person(self, cli: Cli, stage: Stage) -> None:
        """Of a connection that needs a new authorization the token is printed, with a warning and exit status 1."""
        payload = stage.plant("acme")
        stage.secrets.edit(TOKEN + "acme", labels={"health": "reauthorize"})
        done = cli("token", "acme")
        assert (done.status, done.out) == (1, payload["access_token"] + "\n")
        assert "make link CONNECTION=acme" in done.err

    def test_permissions(self, cli: Cli, stage: Stage) -> None:
        """Who may read tokens and nothing else still gets the token; who may not, a sentence that leads on."""
        payload = stage.plant("acme")
        stage.secrets.deny("secretmanager.secrets.get")
        stage.secrets.deny("secretmanager.secrets.list")
        assert cli("token", "acme").out == payload["access_token"] + "\n"
        stage.secrets.deny("secretmanager.versions.access")
        assert "make doctor" in sentence(cli("token", "acme"))
