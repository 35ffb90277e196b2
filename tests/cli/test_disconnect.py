"""make disconnect."""

from datetime import timedelta

import pytest

from command_line import SECONDS, Cli, imported, sentence
from emulators.serving import Fault
from faults import google_error
from stage import APP_ID, PROJECT, REFRESH, TOKEN, Stage
from tokenkeeper import clock

STALE = google_error("FAILED_PRECONDITION", "The etag does not match.", call="DeleteSecret")


def gone(stage: Stage, name: str = "acme") -> bool:
    return not {TOKEN + name, REFRESH + name} & set(stage.secrets.secrets())


class TestDisconnect:
    def test_revokes_then_deletes(self, cli: Cli, stage: Stage) -> None:
        """It says what goes; the grant is revoked, the secrets are deleted, and nobody else's are touched.

        A token that has ended at TikTok already is no obstacle.
        """
        payload = stage.plant("acme", "expiring")
        stage.plant("acme-eu", "expiring")
        done = cli("disconnect", "acme", "--yes")
        assert done.status == 0, done
        assert "revokes the access of acme for 3 advertisers at TikTok" in done.err
        assert "tiktok-ads-token-acme and tiktok-ads-refresh-acme" in done.err
        assert "It was revoked at TikTok." in done.err
        assert not stage.tiktok.is_alive(payload["access_token"])
        assert gone(stage)
        assert stage.token("acme-eu")
        stage.tiktok.fail_next("revoke_token", 40105)
        done = cli("disconnect", "acme-eu", "--yes")
        assert (done.status, "had ended at TikTok already (code 40105)" in done.err) == (0, True)
        assert gone(stage, "acme-eu")

    def test_warns_of_others(self, cli: Cli, stage: Stage) -> None:
        """Before it asks, it says whose access goes, and names the connections that may end as well, and only those."""
        grant = stage.tiktok.grant()
        for name in ("acme", "same-token"):
            imported(cli, name, grant)
        stage.plant("same-accounts")
        many = [f"700000000000000000{n}" for n in range(4, 9)]
        imported(cli, "other-accounts", stage.tiktok.grant(advertisers=many))
        for name in ("organic", "organic-too"):
            imported(cli, name, stage.tiktok.grant_account())
        said = cli("disconnect", "acme", typed="n\n").err
        names = "Acme Shoes, Europe; Acme Shoes, North America; Acme Outlet"
        assert f"of acme for 3 advertisers ({names}) at TikTok" in said
        for name in ("same-token", "same-accounts"):
            assert f"{name} reaches the same ad accounts: it stops working as well if it has the same token." in said
        assert "other-accounts" not in said
        assert "organic" not in said
        assert "acme reaches" not in said
        assert " and 2 more) at TikTok" in cli("disconnect", "other-accounts", typed="n\n").err
        said = cli("disconnect", "organic", typed="n\n").err
        assert "to the TikTok account acme.shoes at TikTok" in said
        assert "organic-too is for the same TikTok account: it may stop working as well." in said
        assert "other-accounts" not in said

    def test_a_secret_of_somebody_else(self, cli: Cli, stage: Stage) -> None:
        """A secret that only has such a name is no connection's: it stays, also where a refresh secret is left."""
        stage.plant("acme", "expiring")
        ours = dict.fromkeys(stage.labels("acme")), dict.fromkeys(stage.annotations("acme"))
        stage.secrets.edit(TOKEN + "acme", labels=ours[0], annotations=ours[1])
        assert cli("disconnect", "acme", "--yes").status == 0
        assert stage.secrets.secrets().keys() == {TOKEN + "acme"}
        assert "There is no connection acme." in sentence(cli("disconnect", "acme", "--yes"))

    def test_asks(self, cli: Cli, stage: Stage) -> None:
        """It asks on a terminal or through a pipe; after a no, or where nobody answers, nothing was changed."""
        payload = stage.plant("acme")
        no = cli.on_terminal("disconnect", "acme", typed="n\n")
        assert no.status == 2
        assert "Nothing was changed." in no.out
        nobody = cli("disconnect", "acme", typed="")
        assert nobody.status == 2
        assert "No terminal to confirm on: pass --yes" in nobody.err
        assert stage.tiktok.is_alive(payload["access_token"])
        assert stage.annotations("acme").get("lease") is None
        assert cli("disconnect", "acme", typed="y\n").status == 0
        assert gone(stage)

    def test_waits_for_its_turn(self, cli: Cli, stage: Stage) -> None:
        """Nothing is revoked or deleted while somebody else holds the connection; then it is."""
        payload = stage.plant("acme", "expiring")
        until = clock.text(clock.now() + timedelta(seconds=240), precise=True)
        stage.secrets.edit(TOKEN + "acme", annotations={"lease": f"connect-0123456789ab {until}"})
        stage.secrets.add_fault(Fault("GetSecret", do="hold", hold="looking", skip=6))
        with cli.started("disconnect", "acme", "--yes") as process:
            stage.secrets.wait_held("looking")
            assert process.poll() is None
            assert stage.tiktok.token_calls == []
            stage.secrets.edit(TOKEN + "acme", annotations={"lease": None})
            stage.secrets.release("looking")
            _, err = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, err
        assert "It was revoked at TikTok." in err
        assert not stage.tiktok.is_alive(payload["access_token"])
        assert gone(stage)


class TestRevoking:
    @pytest.mark.parametrize(
        ("fault", "app_id", "reason"),
        [
            (Fault("revoke_token", do="drop", times=None), APP_ID, "TikTok broke"),
            (Fault("revoke_token", status=200, body={"code": 40101, "message": ""}, times=None), APP_ID, "40101"),
            (Fault("revoke_token"), "7111111111111111111", f"it belongs to app {APP_ID}"),
        ],
        ids=["TikTok away", "wrong app secret", "another app"],
    )
    def test_nothing_is_deleted(self, cli: Cli, stage: Stage, fault: Fault, app_id: str, reason: str) -> None:
        """What cannot be revoked is not deleted, and the lease is given back; --force deletes all the same."""
        stage.plant("acme", "expiring")
        stage.tiktok.add_fault(fault)
        done = cli("disconnect", "acme", "--yes", TIKTOK_APP_ID=app_id)
        assert done.status == 2, done
        assert "nothing was deleted" in done.err
        assert reason in done.err
        assert stage.token("acme")
        assert stage.annotations("acme").get("lease") is None
        done = cli("disconnect", "acme", "--yes", "--force", TIKTOK_APP_ID=app_id)
        assert done.status == 0
        assert "It was not revoked at TikTok" in done.err
        assert gone(stage)

    def test_as_far_as_it_is_there(self, cli: Cli, stage: Stage) -> None:
        """What cannot be read cannot be revoked, unless the refresh secret has the token, too.

        That is revoked as well where the token secret was deleted; what was cut off while connecting has no grant.
        """
        kinds = {"unreadable": "long-lived", "rebuilt": "expiring", "orphaned": "expiring", "unfinished": "long-lived"}
        payloads = {name: stage.plant(name, kind) for name, kind in kinds.items()}
        for name in ("unreadable", "rebuilt"):
            stage.secrets.add_version(TOKEN + name, b"hello")
        stage.secrets.delete(TOKEN + "orphaned")
        stage.secrets.delete(TOKEN + "unfinished")
        labels = {"managed-by": "tiktok-token-keeper", "holds": "token", "connection": "unfinished"}
        stage.secrets.create(TOKEN + "unfinished", project=PROJECT, labels=labels)
        done = {name: cli("disconnect", name, "--yes") for name in kinds}
        assert (done["unreadable"].status, "cannot be read" in done["unreadable"].err) == (2, True)
        for name in ("rebuilt", "orphaned"):
            assert "It was revoked at TikTok." in done[name].err
        assert "There was no grant to revoke" in done["unfinished"].err
        assert [name for name in kinds if gone(stage, name)] == ["rebuilt", "orphaned", "unfinished"]
        alive = [name for name in kinds if stage.tiktok.is_alive(payloads[name]["access_token"])]
        assert alive == ["unreadable", "unfinished"]

    @pytest.mark.parametrize(
        "fault",
        [Fault("DeleteSecret", when="after", do="drop"), STALE],
        ids=["its answer is lost", "somebody made a note in between"],
    )
    def test_deletion_is_tried_again(self, cli: Cli, stage: Stage, fault: Fault) -> None:
        """What did not go through at once is tried again, as long as nobody else took the lease."""
        stage.plant("acme")
        stage.secrets.add_fault(fault)
        assert cli("disconnect", "acme", "--yes").status == 0
        assert gone(stage)
