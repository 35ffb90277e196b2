"""make refresh."""

import json
import os
import signal
from pathlib import Path

import pytest

from command_line import SECONDS, Cli, sentence
from emulators.serving import Fault
from google_identities import GoogleIdentities
from stage import TOKEN, Stage


class TestHere:
    def test_run(self, cli: Cli, stage: Stage) -> None:
        """A run refreshes what is due and verifies the rest; the summary is all that is printed.

        Names limit a run, and --force refreshes what is not due; an unknown one ends in a sentence.
        """
        before = stage.plant("acme", "expiring", age_hours=13), stage.plant("gamma", "expiring")
        stage.plant("beta")
        done = cli("refresh")
        assert (done.status, done.err) == (0, "")
        assert done.out.startswith("3 connections in ")
        assert done.out.endswith(" s: 1 refreshed, 1 verified, 1 skipped.\n")
        now = stage.token("acme"), stage.token("gamma")
        assert [old["access_token"] == new["access_token"] for old, new in zip(before, now, strict=True)] == [
            False,
            True,
        ]
        done = cli("refresh", "acme", "acme", "--force")
        assert (done.status, done.out.endswith(": 1 refreshed.\n")) == (0, True)
        assert stage.token("acme")["access_token"] != now[0]["access_token"]
        assert stage.token("gamma") == now[1]
        assert sentence(cli("refresh", "delta")) == "There is no connection 'delta'. make status lists all."

    def test_needs_person(self, cli: Cli, stage: Stage) -> None:
        """A connection that needs a person is named, with exit status 1; its alert is for people, too."""
        stage.tiktok.revoke(stage.plant("acme")["access_token"])
        done = cli("refresh")
        assert done.status == 1
        assert "A person is needed for acme. What to do: make status" in done.out
        (alert,) = done.err.splitlines()
        assert "ERROR    reauthorization.required " in alert
        assert not alert.startswith("{")

    def test_not_complete(self, cli: Cli, stage: Stage) -> None:
        """A run that is not complete, or that the operator's own mistake stopped, ends in exit status 2."""
        stage.plant("acme", "expiring", age_hours=13)
        done = cli("refresh", TIKTOK_APP_SECRET="wrong" * 8)
        assert done.status == 2
        assert "Check TIKTOK_APP_ID" in done.err
        stage.tiktok.fail_next("refresh_token", 50000, times=None)
        done = cli("refresh")
        assert done.status == 2
        assert "make refresh goes on with it" in done.err

    def test_bar(self, cli: Cli, stage: Stage) -> None:
        """In a window, a run that takes more than a moment has a bar; a shorter one has none."""
        for number in range(8):
            stage.plant(f"acme-{number}")
        assert "Connections  [" in cli.on_terminal("refresh", TIKTOK_MAX_QPS="4").out
        assert "Connections  [" not in cli.on_terminal("refresh", "acme-1").out

    def test_ctrl_c(self, cli: Cli, stage: Stage) -> None:
        """Ctrl-C finishes what is under way, gives every lease back and ends with a word."""
        names = [f"acme-{number}" for number in range(8)]
        for name in names:
            stage.plant(name, "expiring", age_hours=13)
        stage.tiktok.add_fault(Fault("refresh_token", do="hold", hold="busy", skip=1))
        with cli.started("refresh", TIKTOK_MAX_QPS="1") as process:
            stage.tiktok.wait_held("busy")
            process.send_signal(signal.SIGINT)
            stage.tiktok.release("busy")
            out, err = process.communicate(timeout=SECONDS)
        assert (process.returncode, out) == (130, "")
        assert "Stopped.\n" in err  # what was just being started may say its word after it
        assert "Traceback" not in err
        assert not [name for name in names if "lease" in stage.annotations(name)]
        assert all(stage.tiktok.is_alive(stage.token(name)["access_token"]) for name in names)


@pytest.fixture
def gcloud(tmp_path: Path) -> str:
    """A PATH with a gcloud that makes identity tokens for a person: never with an audience."""
    program = tmp_path / "bin" / "gcloud"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\ncase "$*" in *audiences*) exit 1;; esac\necho identity-of-a-person\n')
    program.chmod(0o755)
    return f"{program.parent}:{os.environ['PATH']}"


class TestInCloud:
    def test_function_makes_the_run(self, cli: Cli, stage: Stage, gcloud: str) -> None:
        """Where the refresh function is deployed, it makes the run, and its summary is shown."""
        for name in ("acme", "beta"):
            stage.plant(name, "expiring")
        stage.secrets.edit(TOKEN + "beta", labels={"client": "x"})
        cli.save("cloud", REFRESH_URL=stage.refresh.url)
        done = cli("refresh", "--label", "client=x", PATH=gcloud, TIKTOK_APP_ID=None, TIKTOK_APP_SECRET=None)
        assert done.status == 0, done
        assert done.out.endswith(": 1 skipped.\n")
        stage.refresh.wait_for_event("run.finished")
        forced = json.loads(cli("refresh", "acme", "--force", "--json", PATH=gcloud).out)
        assert forced["refreshed"] == forced["connections"] == 1
        assert (
            sentence(cli("refresh", "gamma", PATH=gcloud)) == "There is no connection 'gamma'. make status lists all."
        )

    @pytest.mark.parametrize(
        ("status", "said"),
        [
            (200, "answered with HTTP 200 and no summary"),
            (403, "ask for the role Cloud Run Invoker (roles/run.invoker)"),
            (404, "There is no refresh function at http"),
            (504, "took longer than Cloud Run waits for an answer (504)"),
        ],
    )
    def test_cloud_run_itself_answers(self, cli: Cli, stage: Stage, gcloud: str, status: int, said: str) -> None:
        """What Cloud Run answers without the function is said as what it is."""
        cli.save("cloud", REFRESH_URL=stage.tiktok.url)
        stage.tiktok.add_fault(Fault(status=status, body=b"<html>Rate exceeded.</html>"))
        assert said in sentence(cli("refresh", PATH=gcloud))
        cli.save("cloud", REFRESH_URL="http://127.0.0.1:9")
        assert "could not be reached" in sentence(cli("refresh", PATH=gcloud))

    def test_service_account(self, cli: Cli, stage: Stage, gcloud: str, tmp_path: Path) -> None:
        """Without gcloud, or where its account is not let in, a service account's key is as good."""
        stage.plant("acme")
        cli.save("cloud", REFRESH_URL=stage.refresh.url, REFRESH_AUDIENCE="https://refresh.example")
        with GoogleIdentities() as google:
            key = tmp_path / "key.json"
            key.write_text(json.dumps(google.key()))
            done = cli("refresh", PATH="/nowhere", GOOGLE_APPLICATION_CREDENTIALS=str(key))
            assert done.status == 0, done
            assert google.audiences == ["https://refresh.example"]
            cli.save("cloud", REFRESH_URL=stage.tiktok.url)
            stage.tiktok.add_fault(Fault(status=403, times=1))
            stage.tiktok.add_fault(Fault(status=404, body=b"<html>"))
            said = sentence(cli("refresh", PATH=gcloud, GOOGLE_APPLICATION_CREDENTIALS=str(key)))
            assert "There is no refresh function" in said
