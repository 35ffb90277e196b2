"""make status."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from command_line import Cli, imported, sentence
from stage import Stage
from tokenkeeper import clock
from tokenkeeper.cli.overview import Line, Overview, ago, last_run, overview
from tokenkeeper.cli.show import in_columns
from tokenkeeper.cli.status import HEAD, SPARE, print_overview, row
from tokenkeeper.connection import Connection
from tokenkeeper.store.vault import Inventory

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


class TestStatus:
    def test_all_well(self, cli: Cli, stage: Stage) -> None:
        """Healthy connections and the last run are shown, with exit status 0; the list is all that is asked for.

        Where there is no connection yet, it says where a connect link is to be had.
        """
        done = cli("status")
        assert done.status == 0
        first, *_, last = done.out.splitlines()
        assert first == (
            "There is no connection yet. Open a connect link: one that make run printed, or one that you make with "
            "make link CONNECTION=acme"
        )
        assert last == "There was no run yet."
        stage.plant("acme")
        stage.plant("beta", "expiring")
        stage.run()
        stage.secrets.forget_calls()
        done = cli("status")
        assert done.status == 0, done
        counts, _, head, acme, beta, _, run = done.out.splitlines()
        assert counts == "2 connections: 2 ok."
        assert head.split("  ")[0] == "connection"
        assert acme.split() == ["acme", "ok", "7000000000000000001", "+2", f"{clock.now():%Y-%m-%d}", "when", "revoked"]
        assert beta.startswith("beta        ok")
        assert run.startswith("Last run: just now")
        assert "1 verified, 1 skipped" in run
        assert {call.name for call in stage.secrets.calls} == {"ListSecrets"}

    def test_needs_person(self, cli: Cli, stage: Stage) -> None:
        """A connection that needs a person is named with what to do, within the window, with exit status 1.

        What is selected by its health counts for the exit status, and nothing else.
        """
        stage.tiktok.revoke(stage.plant("acme")["access_token"])
        stage.run()
        done = cli("status")
        assert done.status == 1
        assert done.out.splitlines()[3].split()[1] == "reauthorize"
        assert "access has ended at TikTok (code 40105): make link CONNECTION=acme" in done.out
        ok, bad = (cli("status", "--health", health) for health in ("ok", "reauthorize"))
        assert (ok.status, ok.out[:25], bad.status) == (0, "No connection is selected", 1)
        assert "\x1b[31mreauthorize\x1b[0m" in cli.on_terminal("status").out
        narrow = cli.on_terminal("status", columns=40, NO_COLOR="1").out
        assert "\x1b" not in narrow
        assert max(map(len, narrow.splitlines()[:-1])) <= 40, narrow

    def test_names(self, cli: Cli, stage: Stage) -> None:
        """People see an account's name and the first of the ad accounts'; scripts get all of it."""
        imported(cli, "acme", stage.tiktok.grant())
        imported(cli, "organic", stage.tiktok.grant_account())
        shown = cli("status").out
        assert "Acme Shoes, Europe (7000000000000000001) +2" in shown
        assert "@acme.shoes" in shown
        document = json.loads(cli("status", "--json").out)
        assert (document["attention"], document["last_run"]) == ([], None)
        acme, organic = document["connections"]
        assert (acme["connection"], acme["health"], acme["kind"]) == ("acme", "ok", "long-lived")
        assert acme["advertiser_ids"] == list(acme["advertiser_names"]) == stage.token()["advertiser_ids"]
        assert (organic["family"], organic["username"]) == ("account", "acme.shoes")
        assert organic["expires_at"] == stage.token("organic")["expires_at"]
        assert organic["ends_at"] == stage.whole_grant("organic")["refresh_expires_at"]

    def test_selected(self, cli: Cli, stage: Stage) -> None:
        """Labels select, and names, which are shown with the tables that their permissions do not cover."""
        imported(cli, "acme", stage.tiktok.grant(scope=[4, 10, 20, 21, 22]), "--labels", "client=x")
        imported(cli, "organic", stage.tiktok.grant_account(scope=["user.info.basic"]))
        stage.plant("beta")
        done = cli("status", "acme", "organic")
        assert done.status == 0
        assert "2 connections: 2 ok." in done.out
        assert "beta" not in done.out
        assert "acme: Not covered: audiences (/dmp/custom_audience/list/)" in done.out
        assert "organic: Not covered: videos (/business/video/list/), since the scope video.list" in done.out
        assert sentence(cli("status", "gamma")).startswith("There is no connection gamma. There are: acme, beta")
        document = json.loads(cli("status", "--label", "client=x", "--json").out)
        assert [one["connection"] for one in document["connections"]] == ["acme"]
        assert cli("status", "--label", "client=y").out.startswith("No connection is selected")


def connection(name: str = "acme", health: str = "ok", **annotations: str) -> Connection:
    kept = {"connected-at": "2026-11-20T10:00:00.000Z"} | {k.replace("_", "-"): v for k, v in annotations.items()}
    return Connection(name, {"kind": "expiring", "health": health}, kept)


def judged(given: Connection, *, refreshable: bool = True) -> Line:
    found = overview(Inventory({given.name: given}, {given.name} if refreshable else set()), NOW, scheduled=False)
    return found.lines[0]


class TestWhatToDo:
    @pytest.mark.parametrize(
        ("given", "needs_person", "todo"),
        [
            (connection(), False, ""),
            (
                connection(health="reauthorize", last_error="reauthorize 40105 R1", open_id="o1"),
                True,
                "access has ended at TikTok (code 40105): make link CONNECTION=acme FAMILY=account",
            ),
            (connection(health="failing", last_error="broken alerted"), True, "its secret cannot be read"),
            (connection(health="failing", last_error="other_app alerted"), True, "belongs to another app"),
            (connection(health="failing", last_error="empty alerted"), True, "TikTok lists no ad account"),
            (connection(health="failing", last_error="silent"), False, "nothing yet, every run tries again"),
            (connection(health="failing", last_error="transient 50000 alerted"), True, "failing (code 50000): see"),
            (connection(refresh_expires_at="2026-11-22T10:00:00Z"), True, "ended 2 hours ago: make link"),
            (connection(expires_at="2026-11-22T11:00:00Z"), True, "its token ended 60 minutes ago"),
            (connection(refresh_expires_at="2026-11-29T12:00:00Z"), True, "before it ends: make link"),
            (connection(refresh_expires_at="2026-11-29T12:00:01Z"), False, "before it ends: make link"),
            (connection(refresh_expires_at="2026-12-22T12:00:01Z"), False, ""),
            (Connection("acme", {}, {}), False, "was never finished"),
        ],
    )
    def test_each_state(self, given: Connection, todo: str, *, needs_person: bool) -> None:
        """Every state says what to do, and whether a person is needed."""
        line = judged(given)
        assert line.needs_person is needs_person
        assert line.todo.startswith(todo)
        assert bool(line.todo) is bool(todo)

    def test_by_its_other_secret_and_its_ids(self) -> None:
        """What cannot be refreshed ends with its token; where not all ids fit there may be more.

        A refresh secret without a token secret needs a person, too.
        """
        line = judged(connection(expires_at="2026-11-23T11:00:00Z"), refreshable=False)
        assert (line.needs_person, line.ends_at) == (True, datetime(2026, 11, 23, 11, tzinfo=UTC))
        ids = ",".join(str(7_000_000_000_000_000_000 + number) for number in range(614))
        assert row(judged(connection(advertisers=ids)))[2] == "7000000000000000000 +613 or more"
        assert not judged(connection(advertisers=ids[:2000])).more_advertisers
        found = overview(Inventory({}, {"acme"}), NOW, scheduled=False)
        assert (found.well, found.lines[0].health) == (False, "orphaned")
        assert json.loads("".join(found.json()))["attention"] == ["acme"]


def some(number: int, bad: int) -> Overview:
    """So many connections, of which the first need a person."""
    every = {}
    for place in range(number):
        name = f"acme-{place:04}"
        health = "reauthorize" if place < bad else "ok"
        every[name] = connection(name, health, advertisers="7000000000000000001,7002")
    return overview(Inventory(every, set(every)), NOW, scheduled=False)


class TestShown:
    """Counts first, then what needs something."""

    def test_counts_first(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Of many, only those that need something are shown."""
        print_overview(some(5000, 7), NOW, every=False, selected=False)
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == "5,000 connections: 4,993 ok, 7 reauthorize."
        assert [line.split()[0] for line in lines[3:10]] == [f"acme-{number:04}" for number in range(7)]
        assert lines[10] == "4,993 connections that need nothing are not shown: ALL=1 (--all) shows them."

    def test_fits(self) -> None:
        """A table, not records, fits a window of 80 columns: those that matter least are left out."""
        lines = list(in_columns(HEAD, [row(line) for line in some(7, 7).lines], 80, SPARE))
        assert max(map(len, lines)) <= 80 + len("\x1b[31m\x1b[0m")
        assert [part for part in HEAD if part in lines[0]] == ["connection", "health", "ends", "what to do"]

    @pytest.mark.parametrize("number", [0, 2])
    def test_json_in_pieces(self, number: int) -> None:
        """The pieces are one JSON object, laid out like any other."""
        text = "".join(some(number, 1).json())
        document = json.loads(text)
        assert [one["connection"] for one in document["connections"]] == [f"acme-{n:04}" for n in range(number)]
        assert text == json.dumps(document, indent=2) + "\n"


class TestLastRun:
    @pytest.mark.parametrize(("hours", "scheduled", "late"), [(24, True, False), (25, True, True), (25, False, False)])
    def test_late(self, hours: int, *, scheduled: bool, late: bool) -> None:
        """Where runs come by themselves, one that is missing for a day, or the first, is a sign of trouble."""
        stamp = clock.text(NOW - timedelta(hours=hours))
        ran = Inventory({}, set(), last_run={"last-run-started": stamp, "last-run-finished": stamp})
        never_ran = Inventory({"acme": connection(connected_at=stamp)}, {"acme"})
        for inventory in (ran, never_ran):
            found = overview(inventory, NOW, scheduled=scheduled)
            assert (found.run_is_late, found.well) == (late, not late)

    def test_edited_by_hand(self) -> None:
        """What cannot be read counts as no run."""
        stamps = {"last-run-started": "2026-11-22T10:00:00Z", "last-run-finished": "2026-11-22T10:00:00Z"}
        assert last_run(stamps) == last_run(stamps | {"last-run-counts": "[1]"})
        assert last_run(stamps | {"last-run-counts": "{"}) is None
        assert last_run(stamps | {"last-run-finished": "x"}) is None

    def test_ago(self) -> None:
        """How long ago something was is said roughly."""
        said = {-5: "just now", 59: "just now", 60: "1 minute ago", 7_199: "119 minutes ago", 172_799: "47 hours ago"}
        said[259_200] = "3 days ago"
        assert {seconds: ago(NOW - timedelta(seconds=seconds), NOW) for seconds in said} == said
