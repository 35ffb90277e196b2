"""make status."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import click
import pytest

from command_line import Cli, imported, sentence
from stage import Stage
from tokenkeeper import clock
from tokenkeeper.cli.status import Line, Overview, ago, last_run, overview
from tokenkeeper.cli.statustable import Selection, lines_of
from tokenkeeper.connection import Connection
from tokenkeeper.store.vault import Inventory

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


class TestStatus:
    def test_all_well(self, cli: Cli, stage: Stage) -> None:
        """Healthy connections and the last run are shown, with exit status 0."""
        stage.plant("acme")
        stage.plant("beta", "expiring")
        stage.run()
        done = cli("status")
        assert done.status == 0, done
        counts, _, head, acme, beta, _, run = done.out.splitlines()
        assert counts == "2 connections: 2 ok."
        assert head.split("  ")[0] == "connection"
        assert acme.split() == ["acme", "ok", "7000000000000000001", "+2", f"{clock.now():%Y-%m-%d}", "when", "revoked"]
        assert beta.startswith("beta        ok")
        assert run.startswith("Last run: just now")
        assert "1 verified, 1 skipped" in run

    def test_nothing_yet(self, cli: Cli) -> None:
        """Without a connection it says how to make one, with exit status 0."""
        done = cli("status")
        assert done.status == 0
        assert done.out.startswith("There is no connection yet. Make a connect link")
        assert done.out.endswith("There was no run yet.\n")

    def test_needs_person(self, cli: Cli, stage: Stage) -> None:
        """A connection that needs a person is named with what to do, with exit status 1."""
        stage.tiktok.revoke(stage.plant("acme")["access_token"])
        stage.run()
        done = cli("status")
        assert done.status == 1
        assert done.out.splitlines()[3].split()[1] == "reauthorize"
        assert "access has ended at TikTok (code 40105): make link CONNECTION=acme" in done.out

    def test_json(self, cli: Cli, stage: Stage) -> None:
        """--json prints everything for scripts, with the same exit status."""
        stage.plant("acme", "expiring")
        stage.run()
        done = cli("status", "--json")
        assert done.status == 0
        document = json.loads(done.out)
        (acme,) = document["connections"]
        assert (acme["connection"], acme["health"], acme["kind"]) == ("acme", "ok", "expiring")
        assert acme["advertiser_ids"] == stage.token("acme")["advertiser_ids"]
        assert acme["expires_at"] == stage.token("acme")["expires_at"]
        assert acme["ends_at"] == stage.whole_grant("acme")["refresh_expires_at"]
        assert document["attention"] == []
        assert document["last_run"]["counts"]["connections"] == 1

    def test_ad_accounts_have_names(self, cli: Cli, stage: Stage) -> None:
        """People see the name beside the id, scripts get all names."""
        imported(cli, "acme", stage.tiktok.grant())
        token = stage.token()
        assert "Acme Shoes, Europe (7000000000000000001) +2" in cli("status").out
        (acme,) = json.loads(cli("status", "--json").out)["connections"]
        assert list(acme["advertiser_names"]) == token["advertiser_ids"]
        assert acme["advertiser_names"]["7000000000000000001"] == "Acme Shoes, Europe"

    def test_named(self, cli: Cli, stage: Stage) -> None:
        """Connections that are named are shown with the tables that their permissions do not cover."""
        imported(cli, "acme", stage.tiktok.grant(scope=[4, 10, 20, 21, 22]))
        imported(cli, "organic", stage.tiktok.grant_account(scope=["user.info.basic"]))
        stage.plant("beta")
        done = cli("status", "acme", "organic")
        assert done.status == 0
        assert "2 connections: 2 ok." in done.out
        assert "beta" not in done.out
        assert "acme: Not covered: audiences (/dmp/custom_audience/list/)" in done.out
        assert "organic: Not covered: videos (/business/video/list/), since the scope video.list" in done.out
        assert sentence(cli("status", "gamma")).startswith("There is no connection gamma. There are: acme, beta")

    def test_account(self, cli: Cli, stage: Stage) -> None:
        """A TikTok account is shown by its user name, and with the end of its refresh token."""
        imported(cli, "organic", stage.tiktok.grant_account())
        assert "@acme.shoes" in cli("status").out
        (organic,) = json.loads(cli("status", "--json").out)["connections"]
        assert (organic["family"], organic["username"]) == ("account", "acme.shoes")
        assert organic["ends_at"] == stage.whole_grant("organic")["refresh_expires_at"]

    def test_label(self, cli: Cli, stage: Stage) -> None:
        """The operator's own labels select."""
        imported(cli, "acme", stage.tiktok.grant(), "--labels", "client=x")
        stage.plant("beta")
        document = json.loads(cli("status", "--label", "client=x", "--json").out)
        assert [one["connection"] for one in document["connections"]] == ["acme"]
        assert cli("status", "--label", "client=y").out.startswith("No connection is selected")

    def test_reads_only_the_list(self, cli: Cli, stage: Stage) -> None:
        """However many connections there are, the list is all that is asked for."""
        for name in ("acme", "beta"):
            stage.plant(name)
        stage.secrets.forget_calls()
        assert cli("status").status == 0
        assert {call.name for call in stage.secrets.calls} == {"ListSecrets"}

    def test_cannot_tell(self, cli: Cli, stage: Stage) -> None:
        """Without permission to list there is a sentence and exit status 2."""
        stage.secrets.deny("secretmanager.secrets.list")
        assert "make doctor" in sentence(cli("status"))

    def test_window(self, cli: Cli, stage: Stage) -> None:
        """In a window no line is longer than it is wide, and NO_COLOR takes the colours away."""
        stage.tiktok.revoke(stage.plant("acme")["access_token"])
        stage.run()
        for columns in (40, 80, 120):
            done = cli.on_terminal("status", columns=columns, NO_COLOR="1")
            assert done.status == 1
            assert "\x1b" not in done.out
            assert max(map(len, done.out.splitlines()[:-1])) <= columns, done.out
        assert "\x1b[31mreauthorize\x1b[0m" in cli.on_terminal("status").out


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
                connection(health="reauthorize", last_error="reauthorize 40105 R1"),
                True,
                "access has ended at TikTok (code 4",
            ),
            (connection(health="failing", last_error="broken alerted"), True, "its secret cannot be read"),
            (connection(health="failing", last_error="other_app alerted"), True, "belongs to another app"),
            (connection(health="failing", last_error="transient 50000"), False, "nothing yet, every run tries again"),
            (connection(health="failing", last_error="transient 50000 alerted"), False, "failing (code 50000): see"),
            (connection(health="failing", last_error="empty alerted"), True, "TikTok lists no ad account"),
            (connection(health="failing", last_error="silent"), False, "nothing yet, every run tries again"),
            (connection(refresh_expires_at="2026-11-22T10:00:00Z"), True, "ended 2 hours ago: make link"),
            (connection(expires_at="2026-11-22T11:00:00Z"), True, "its token ended 60 minutes ago"),
            (connection(refresh_expires_at="2026-11-25T00:00:00Z"), True, "before it ends: make link"),
            (connection(refresh_expires_at="2026-12-15T00:00:00Z"), False, "before it ends: make link"),
            (connection(refresh_expires_at="2027-12-15T00:00:00Z"), False, ""),
            (Connection("acme", {}, {}), False, "was never finished"),
        ],
    )
    def test_each_state(self, given: Connection, todo: str, *, needs_person: bool) -> None:
        """Every state says what to do, and whether a person is needed."""
        line = judged(given)
        assert line.needs_person is needs_person
        assert line.todo.startswith(todo)
        assert bool(line.todo) is bool(todo)

    def test_account(self) -> None:
        """A TikTok account is shown by its user name, and is connected again as what it is."""
        line = judged(connection(open_id="o1", username="acme.shoes", health="reauthorize"))
        assert (line.connection.family, line.connection.username) == ("account", "acme.shoes")
        assert line.todo.endswith("make link CONNECTION=acme FAMILY=account")

    def test_ends_without_refresh_token(self) -> None:
        """A token that ends and cannot be refreshed needs a person when its end is near."""
        line = judged(connection(expires_at="2026-11-23T11:00:00Z"), refreshable=False)
        assert line.needs_person
        assert line.ends_at == datetime(2026, 11, 23, 11, tzinfo=UTC)

    def test_orphaned(self) -> None:
        """A refresh secret whose token secret was deleted needs a person."""
        found = overview(Inventory({}, {"acme"}), NOW, scheduled=False)
        assert not found.well
        assert json.loads("".join(found.json()))["attention"] == ["acme"]
        assert found.lines[0].health == "orphaned"

    def test_many_advertisers(self) -> None:
        """Where not all advertisers fit into the annotation, it says that there may be more."""
        ids = ",".join(str(7_000_000_000_000_000_000 + number) for number in range(614))
        assert judged(connection(advertisers=ids)).more_advertisers
        assert not judged(connection(advertisers=ids[:2000])).more_advertisers


class TestShown:
    """Counts first, then what needs something; the selections of the contract."""

    def found(self, number: int, bad: int) -> Overview:
        every = {}
        for place in range(number):
            name = f"acme-{place:04}"
            one = connection(name, "reauthorize" if place < bad else "ok", advertisers="7000000000000000001,7002")
            every[name] = replace(one, labels={**one.labels, "client": f"c{place % 2}"})
        return overview(Inventory(every, set(every)), NOW, scheduled=False)

    def shown(self, selection: Selection, number: int = 5000, bad: int = 7, columns: int | None = None) -> list[str]:
        return list(lines_of(selection.of(self.found(number, bad)), selection, NOW, columns))

    def test_counts_first(self) -> None:
        """Of many, only those that need something are shown."""
        lines = self.shown(Selection())
        assert lines[0] == "5,000 connections: 4,993 ok, 7 reauthorize."
        assert [line.split()[0] for line in lines[3:10]] == [f"acme-{number:04}" for number in range(7)]
        assert lines[10] == "4993 connections that need nothing are not shown: ALL=1 (--all) shows them."

    @pytest.mark.parametrize(
        ("selection", "rows"),
        [
            (Selection(all=True), 60),
            (Selection(health="ok"), 53),
            (Selection(health="failing"), 0),
            (Selection(names=["acme-0001", "acme-0050"]), 2),
            (Selection(labels={"client": "c1"}), 30),
            (Selection(labels={"client": "c1"}, health="reauthorize"), 3),
            (Selection(labels={"client": "x"}), 0),
        ],
    )
    def test_selections(self, selection: Selection, rows: int) -> None:
        """What is asked for is shown, and nothing else."""
        lines = self.shown(selection, 60)
        assert sum(line.startswith("acme-") for line in lines) == rows

    @pytest.mark.parametrize("columns", [80, 200])
    def test_fits(self, columns: int) -> None:
        """A table, not records, fits a window of 80 columns and one of 200."""
        lines = self.shown(Selection(), columns=columns)
        assert max(len(click.unstyle(line)) for line in lines) <= columns
        assert click.unstyle(lines[2]).split()[:2] == ["connection", "health"]
        assert len(lines) < 40

    @pytest.mark.parametrize("number", [0, 1, 3])
    def test_json_in_pieces(self, number: int) -> None:
        """The pieces are one JSON object, laid out like any other."""
        text = "".join(self.found(number, 1).json())
        document = json.loads(text)
        assert [one["connection"] for one in document["connections"]] == [f"acme-{n:04}" for n in range(number)]
        assert text == json.dumps(document, indent=2) + "\n"

    def test_exit_follows_selection(self) -> None:
        """What is not selected does not count for the exit status."""
        found = self.found(60, 7)
        assert not found.well
        assert Selection(health="ok").of(found).well


class TestLastRun:
    @pytest.mark.parametrize(
        ("hours", "scheduled", "late"), [(23, True, False), (25, True, True), (25, False, False), (-1, True, False)]
    )
    def test_late(self, hours: int, *, scheduled: bool, late: bool) -> None:
        """Where runs come by themselves, one that is missing for a day is a sign of trouble."""
        stamp = clock.text(NOW - timedelta(hours=hours))
        run = {"last-run-started": stamp, "last-run-finished": stamp, "last-run-counts": "{}"}
        found = overview(Inventory({}, set(), last_run=run), NOW, scheduled=scheduled)
        assert found.run_is_late is late
        assert found.well is not late

    def test_never_ran(self) -> None:
        """The first run may not be missing for a day, either, once there is a connection."""
        inventory = Inventory({"acme": connection()}, {"acme"})
        assert overview(inventory, NOW, scheduled=True).run_is_late
        assert not overview(inventory, NOW - timedelta(days=2), scheduled=True).run_is_late

    @pytest.mark.parametrize(
        "annotations",
        [
            {},
            {"last-run-started": "x", "last-run-finished": "y"},
            {
                "last-run-started": "2026-11-22T10:00:00Z",
                "last-run-finished": "2026-11-22T10:00:00Z",
                "last-run-counts": "{",
            },
        ],
    )
    def test_edited_by_hand(self, annotations: dict[str, str]) -> None:
        """What cannot be read counts as no run."""
        assert last_run(annotations) is None

    @pytest.mark.parametrize(
        ("span", "text"),
        [
            (timedelta(seconds=-5), "just now"),
            (timedelta(seconds=59), "just now"),
            (timedelta(minutes=1), "1 minute ago"),
            (timedelta(minutes=119), "119 minutes ago"),
            (timedelta(hours=47), "47 hours ago"),
            (timedelta(days=3), "3 days ago"),
        ],
    )
    def test_ago(self, span: timedelta, text: str) -> None:
        """How long ago something was is said roughly."""
        assert ago(NOW - span, NOW) == text
