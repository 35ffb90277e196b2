"""make disconnect."""

from __future__ import annotations

import pytest

from command_line import Cli, Done, imported, sentence
from emulators.serving import Fault
from stage import REFRESH, TOKEN, Stage


def gone(stage: Stage, name: str = "acme") -> bool:
    return not {TOKEN + name, REFRESH + name} & set(stage.secrets.secrets())


class TestDisconnect:
    @pytest.mark.parametrize("kind", ["long-lived", "expiring"])
    def test_revokes_then_deletes(self, cli: Cli, stage: Stage, kind: str) -> None:
        """The grant is revoked at TikTok, the secrets are deleted, and nobody else's are touched."""
        payload = stage.plant("acme", kind)
        stage.plant("acme-eu", kind)
        done = cli("disconnect", "acme", "--yes")
        assert done.status == 0, done
        assert not stage.tiktok.is_alive(payload["access_token"])
        assert gone(stage)
        assert stage.token("acme-eu")
        assert "It was revoked at TikTok." in done.err

    def test_says_what_goes(self, cli: Cli, stage: Stage) -> None:
        """Before it asks, it says what will be revoked and which secrets are deleted."""
        stage.plant("acme", "expiring")
        said = cli("disconnect", "acme", "--yes").err
        assert "revokes the access of acme for 3 advertisers at TikTok" in said
        assert "tiktok-ads-token-acme and tiktok-ads-refresh-acme" in said

    def test_says_whose_access_goes(self, cli: Cli, stage: Stage) -> None:
        """Ad accounts have names, as far as they are known."""
        imported(cli, "acme", stage.tiktok.grant(advertisers=[f"700000000000000000{n}" for n in range(1, 6)]))
        said = cli("disconnect", "acme", "--yes").err
        first = "Acme Shoes, Europe; Acme Shoes, North America; Acme Outlet"
        assert f"of acme for 5 advertisers ({first} and 2 more) at TikTok" in said

    def test_account(self, cli: Cli, stage: Stage) -> None:
        """A TikTok account's grant is revoked where such grants are, and its user name is said."""
        grant = stage.tiktok.grant_account()
        imported(cli, "acme", grant)
        done = cli("disconnect", "acme", "--yes")
        assert done.status == 0, done
        assert "to the TikTok account acme.shoes at TikTok" in done.err
        assert not stage.tiktok.is_alive(grant.access_token)
        assert gone(stage)

    def test_warns_of_others(self, cli: Cli, stage: Stage) -> None:
        """Before it asks, it names the connections that would end as well, and only those."""
        grant = stage.tiktok.grant()
        for name in ("acme", "same-token"):
            imported(cli, name, grant)
        stage.plant("same-accounts")
        imported(cli, "other-accounts", stage.tiktok.grant(advertisers=["7000000000000000009"]))
        for name in ("organic", "organic-too"):
            imported(cli, name, stage.tiktok.grant_account())
        said = cli("disconnect", "acme", typed="n\n").err
        assert "same-token has the same token: it stops working as well." in said
        assert "same-accounts reaches the same ad accounts: TikTok may end its access as well." in said
        assert "other-accounts" not in said
        assert "organic" not in said
        said = cli("disconnect", "organic", typed="n\n").err
        assert "organic-too is for the same TikTok account: TikTok may end its access as well." in said
        assert "other-accounts" not in said

    def test_asks(self, cli: Cli, stage: Stage) -> None:
        """In a window it asks; after a no nothing was changed, after a yes it is done."""
        payload = stage.plant("acme")
        no = cli.on_terminal("disconnect", "acme", typed="n\n")
        assert no.status == 2
        assert "Nothing was changed." in no.out
        assert stage.tiktok.is_alive(payload["access_token"])
        assert stage.annotations("acme").get("lease") is None
        assert cli.on_terminal("disconnect", "acme", typed="y\n").status == 0
        assert gone(stage)

    def test_nobody_to_ask(self, cli: Cli, stage: Stage) -> None:
        """Where nobody answers, it wants --yes and does nothing."""
        stage.plant("acme")
        done = cli("disconnect", "acme", typed="")
        assert done.status == 2
        assert "--yes" in done.err
        assert not gone(stage)

    def test_answer_through_a_pipe(self, cli: Cli, stage: Stage) -> None:
        """A script may answer the question, either way."""
        stage.plant("acme")
        assert cli("disconnect", "acme", typed="n\n").status != 0
        assert not gone(stage)
        assert cli("disconnect", "acme", typed="y\n").status == 0
        assert gone(stage)

    @pytest.mark.parametrize("code", [40105, 40102])
    def test_dead_already(self, cli: Cli, stage: Stage, code: int) -> None:
        """A token that has ended at TikTok already is no obstacle."""
        stage.plant("acme")
        stage.tiktok.fail_next("revoke_token", code)
        done = cli("disconnect", "acme", "--yes")
        assert done.status == 0
        assert f"had ended at TikTok already (code {code})" in done.err
        assert gone(stage)

    def failed(self, cli: Cli, stage: Stage) -> Done:
        done = cli("disconnect", "acme", "--yes")
        assert done.status == 2, done
        assert "nothing was deleted" in done.err
        assert stage.token("acme")
        assert stage.annotations("acme").get("lease") is None
        return done

    def test_tiktok_away(self, cli: Cli, stage: Stage) -> None:
        """While TikTok is away nothing is deleted, the lease is given back, and --force deletes all the same."""
        stage.plant("acme", "expiring")
        stage.tiktok.add_fault(Fault("revoke_token", do="drop", times=None))
        self.failed(cli, stage)
        done = cli("disconnect", "acme", "--yes", "--force")
        assert done.status == 0
        assert "It was not revoked at TikTok" in done.err
        assert gone(stage)

    def test_wrong_app_secret(self, cli: Cli, stage: Stage) -> None:
        """A wrong app secret does not pass for a dead token."""
        stage.plant("acme")
        stage.tiktok.fail_next("revoke_token", 40101)
        assert "40101" in self.failed(cli, stage).err

    def test_other_app(self, cli: Cli, stage: Stage) -> None:
        """The grant of another app is not asked about with the wrong one."""
        stage.plant("acme")
        done = cli("disconnect", "acme", "--yes", TIKTOK_APP_ID="7111111111111111111")
        assert done.status == 2
        assert "belongs to app 7000000000000000000" in done.err
        assert stage.tiktok.count("revoke_token") == 0

    def test_unreadable(self, cli: Cli, stage: Stage) -> None:
        """What cannot be read cannot be revoked: only --force deletes it."""
        stage.plant("acme")
        stage.secrets.add_version(TOKEN + "acme", b"hello")
        done = cli("disconnect", "acme", "--yes")
        assert done.status == 2
        assert "cannot be read" in done.err
        assert cli("disconnect", "acme", "--yes", "--force").status == 0
        assert gone(stage)

    def test_read_from_refresh_secret(self, cli: Cli, stage: Stage) -> None:
        """Where the token secret cannot be read, the refresh secret has the token to revoke."""
        payload = stage.plant("acme", "expiring")
        stage.secrets.add_version(TOKEN + "acme", b"hello")
        assert cli("disconnect", "acme", "--yes").status == 0
        assert not stage.tiktok.is_alive(payload["access_token"])

    def test_orphaned(self, cli: Cli, stage: Stage) -> None:
        """A refresh secret whose token secret was deleted is revoked and deleted, too."""
        payload = stage.plant("acme", "expiring")
        stage.secrets.delete(TOKEN + "acme")
        assert cli("disconnect", "acme", "--yes").status == 0
        assert not stage.tiktok.is_alive(payload["access_token"])
        assert gone(stage)

    def test_unfinished(self, cli: Cli, stage: Stage) -> None:
        """A connection that was cut off while connecting goes without a call to TikTok."""
        stage.plant("acme")
        stage.secrets.delete(TOKEN + "acme")
        labels = {"managed-by": "tiktok-token-keeper", "holds": "token", "connection": "acme"}
        stage.secrets.create(TOKEN + "acme", project="test-project", labels=labels)
        assert "There was no grant to revoke" in cli("disconnect", "acme", "--yes").err
        assert gone(stage)
        assert stage.tiktok.count("revoke_token") == 0

    def test_unknown(self, cli: Cli, stage: Stage) -> None:
        """A connection that does not exist ends in a sentence that names those that do."""
        stage.plant("beta")
        assert sentence(cli("disconnect", "acme", "--yes")) == "There is no connection acme. There are: beta."

    def test_answer_lost(self, cli: Cli, stage: Stage) -> None:
        """A deletion that took place and whose answer was lost counts as done."""
        stage.plant("acme", "expiring")
        stage.secrets.add_fault(Fault("DeleteSecret", when="after", do="drop", times=1))
        assert cli("disconnect", "acme", "--yes").status == 0
        assert gone(stage)

    def test_changed_meanwhile(self, cli: Cli, stage: Stage) -> None:
        """A note that somebody else makes in between is no obstacle; a lease that somebody else took is."""
        stage.plant("acme")
        stage.secrets.add_fault(Fault("DeleteSecret", do="answer", status=400, times=1, body=STALE))
        assert cli("disconnect", "acme", "--yes").status == 0
        assert gone(stage)

    def test_waits_for_its_turn(self, cli: Cli, stage: Stage) -> None:
        """A lease whose holder died long ago is taken over."""
        stage.plant("acme")
        stage.secrets.edit(TOKEN + "acme", annotations={"lease": "refresh-1 2020-01-01T00:00:00.000Z"})
        assert cli("disconnect", "acme", "--yes").status == 0
        assert gone(stage)


STALE = {"error": {"code": 400, "status": "FAILED_PRECONDITION", "message": "The etag does not match."}}
