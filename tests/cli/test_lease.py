"""Commands beside somebody who is at work on the same connection: they wait for their turn."""

from __future__ import annotations

from datetime import timedelta
from subprocess import Popen

from command_line import SECONDS, Cli
from emulators.serving import Fault
from stage import REFRESH, TOKEN, Stage
from tokenkeeper import clock


def hold(stage: Stage) -> None:
    """Somebody took the lease of acme just now."""
    until = clock.text(clock.now() + timedelta(seconds=240), precise=True)
    stage.secrets.edit(TOKEN + "acme", annotations={"lease": f"connect-0123456789ab {until}"})


def let_go_after(stage: Stage, looks: int, process: Popen[str]) -> str:
    """The lease is given back once the command has looked so often; returns what the command says in the end."""
    stage.secrets.wait_held("looking")
    assert process.poll() is None
    assert stage.tiktok.token_calls == []
    stage.secrets.edit(TOKEN + "acme", annotations={"lease": None})
    stage.secrets.release("looking")
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, err
    assert stage.secrets.count("GetSecret") > looks
    return out + err


def test_disconnecting_waits(cli: Cli, stage: Stage) -> None:
    """Nothing is revoked or deleted while somebody else holds the connection; then it is."""
    payload = stage.plant("acme", "expiring")
    hold(stage)
    stage.secrets.add_fault(Fault("GetSecret", do="hold", hold="looking", skip=6))
    with cli.started("disconnect", "acme", "--yes") as process:
        said = let_go_after(stage, 6, process)
    assert "It was revoked at TikTok." in said
    assert not stage.tiktok.is_alive(payload["access_token"])
    assert not {TOKEN + "acme", REFRESH + "acme"} & set(stage.secrets.secrets())


def test_refreshing_waits(cli: Cli, stage: Stage) -> None:
    """A run by hand sends no refresh token while somebody else holds the connection; then it sends it, once."""
    before = stage.plant("acme", "expiring", age_hours=13)
    hold(stage)
    stage.secrets.add_fault(Fault("GetSecret", do="hold", hold="looking", skip=3))
    with cli.started("refresh") as process:
        said = let_go_after(stage, 3, process)
    assert ": 1 refreshed." in said
    assert stage.token()["access_token"] != before["access_token"]
    assert stage.tiktok.count("refresh_token") == 1
    assert "lease" not in stage.annotations()
