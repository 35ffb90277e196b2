"""make import: a token that exists already is stored as if it had been connected, if it works."""

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest

from command_line import Cli, answer, imported, sentence
from emulators.serving import Fault
from stage import REFRESH, TOKEN, Stage
from tokenkeeper import clock
from tokenkeeper.cli.importlines import Defaults, ImportRefused, read_line, read_token


class TestOne:
    def test_whole_answer(self, cli: Cli, stage: Stage) -> None:
        """TikTok's answer makes a connection with its ad accounts by name; nothing is printed."""
        grant = stage.tiktok.grant()
        done = imported(cli, "acme", grant, "--labels", "client=x")
        assert done.out == ""
        assert "acme was imported: 3 ad accounts." in done.err
        assert stage.token()["access_token"] == grant.access_token
        assert stage.token()["scope"] == list(grant.scope)
        assert {
            "family": "advertiser",
            "kind": "long-lived",
            "health": "ok",
            "client": "x",
        }.items() <= stage.labels().items()
        assert "Acme Outlet" in stage.annotations()["advertiser-names"]
        assert "lease" not in stage.annotations()
        assert REFRESH + "acme" not in stage.secrets.secrets()

    def test_bare_token(self, cli: Cli, stage: Stage) -> None:
        """Of a token alone TikTok tells the ad accounts; of an account's, the account and the scopes."""
        grant, account = stage.tiktok.grant(), stage.tiktok.grant_account()
        assert cli("import", "acme", typed=grant.access_token + "\n").status == 0
        assert stage.token()["advertiser_ids"] == list(grant.advertiser_ids)
        done = cli("import", "organic", "--family", "account", typed=account.access_token)
        assert (done.status, "without its refresh token" in done.err) == (0, True)
        token = stage.token("organic")
        assert (token["open_id"], token["scope"]) == (account.open_id, list(account.scope))

    def test_refresh_token_is_kept_and_not_used(self, cli: Cli, stage: Stage) -> None:
        """A refresh token is stored unused; the next run refreshes what may be older than it seems, and only that."""
        grant = stage.tiktok.grant("expiring")
        imported(cli, "acme", grant)
        assert stage.tiktok.token_calls == []
        assert stage.whole_grant()["refresh_token"] == grant.refresh_token
        assert stage.time("acme", "expires-at") - clock.now() < timedelta(hours=12)
        typed = answer(stage.tiktok.grant("expiring"), obtained_at=clock.text(clock.now()))
        assert cli("import", "beta", typed=typed).status == 0
        assert stage.time("beta", "expires-at") - clock.now() > timedelta(hours=23)

    def test_account(self, cli: Cli, stage: Stage) -> None:
        """A TikTok account's grant is stored with its open id and user name; what is not covered is said at once."""
        grant = stage.tiktok.grant_account(scope=["user.info.basic", "user.info.profile", "user.info.stats"])
        done = imported(cli, "organic", grant)
        assert "the TikTok account acme.shoes" in done.err
        assert "Not covered: videos (/business/video/list/)" in done.err
        token = stage.token("organic")
        assert (token["open_id"], token["username"], token["advertiser_ids"]) == (grant.open_id, "acme.shoes", [])
        assert stage.whole_grant("organic")["refresh_token"] == grant.refresh_token
        assert stage.labels("organic")["family"] == "account"

    def test_hidden_prompt(self, cli: Cli, stage: Stage) -> None:
        """In a window it is asked for and not shown, also over several lines."""
        grant = stage.tiktok.grant()
        pretty = json.dumps(json.loads(answer(grant)), indent=1)
        done = cli.on_terminal("import", "acme", typed=pretty + "\n", question=b"ends it): ")
        assert done.status == 0, done
        assert "access_token" not in done.out
        assert stage.token()["access_token"] == grant.access_token

    def test_again(self, cli: Cli, stage: Stage) -> None:
        """The same token a second time changes nothing, even after a run has refreshed it.

        Another one takes the place of the stored one, whatever the dates, and ends what was wrong.
        """
        grant = stage.tiktok.grant("expiring")
        imported(cli, "acme", grant)
        assert stage.run()[1]["refreshed"] == 1
        before = stage.token()
        assert "has this token already" in imported(cli, "acme", grant).err
        assert stage.token() == before
        stage.secrets.edit(TOKEN + "acme", labels={"health": "reauthorize"}, annotations={"last-error": "reauthorize"})
        grant = stage.tiktok.grant()
        assert "connection.recovered" in imported(cli, "acme", grant).err
        assert stage.token()["access_token"] == grant.access_token
        assert stage.token()["obtained_at"] > before["obtained_at"]
        assert stage.labels()["health"] == "ok"

    def test_again_with_what_was_missing(self, cli: Cli, stage: Stage, tmp_path: Path) -> None:
        """A refresh token that it came without is added to it, and a token whose stored payload is broken is stored."""
        account, grant = stage.tiktok.grant_account(), stage.tiktok.grant()
        assert cli("import", "organic", "--family", "account", typed=account.access_token).status == 0
        file = tmp_path / "tokens.jsonl"
        file.write_text(answer(account, connection="organic", family="account"))
        assert cli("import", "--file", str(file)).out == "1 token imported.\n"
        assert stage.whole_grant("organic")["refresh_token"] == account.refresh_token
        assert "1 was there already" in cli("import", "--file", str(file)).out
        imported(cli, "acme", grant)
        stage.secrets.add_version(TOKEN + "acme", b"broken")
        assert stage.run()[1]["failing"] == 1
        assert "has this token already" not in imported(cli, "acme", grant).err
        assert stage.token()["access_token"] == grant.access_token


TYPED = {
    "": "Nothing was given",
    "{": "It is not JSON.",
    '{"code": 40110, "message": "used"}': "has the code 40110",
    '{"code": 0, "data": {}}': 'There is no usable "access_token"',
    '{"code": 0, "data": []}': '"data" is no JSON object.',
    '["a-token"]': "It is no JSON object, and no access token either",
}
LINES: list[tuple[dict[str, object], str]] = [
    ({"connection": None}, 'The line has no "connection".'),
    ({"connection": "Acme"}, "\"connection\" is 'Acme', not a connection's name"),
    ({"family": "organic"}, '"family" is neither'),
    ({"family": ["account"]}, '"family" is neither'),
    ({"code": []}, "has the code that is no number"),
    ({"labels": {"health": "ok"}}, '"labels" sets the label health'),
    ({"labels": {"a": "b,c=d"}}, '"labels" is no JSON object of labels'),
    ({"obtained_at": "yesterday"}, '"obtained_at" is no time'),
]


class TestReading:
    def test_what_is_no_token(self) -> None:
        """Neither TikTok's answer nor a token, nor a line of a file, ends in a sentence that does not quote it."""
        for typed, reason in TYPED.items():
            with pytest.raises(ImportRefused, match=re.escape(reason)):
                read_token(typed, "acme", Defaults())
        for changes, reason in LINES:
            line = {"connection": "acme", "access_token": "canary-of-a-token", **changes}
            with pytest.raises(ImportRefused, match=re.escape(reason)) as caught:
                read_line(json.dumps(line), Defaults())
            assert "canary" not in str(caught.value)

    def test_what_programs_write(self) -> None:
        """A code may be text, and a file may begin with a byte order mark."""
        answers = ('{"code": "0", "data": {"access_token": "t"}}', '\ufeff{"access_token": "t"}', "\ufefft")
        assert {read_token(typed, "acme", Defaults()).response.access_token.reveal() for typed in answers} == {"t"}

    def test_line_over_defaults(self) -> None:
        """What a line says counts more than what the command says; the token is hidden."""
        line = {"connection": "acme", "family": "account", "data": {"access_token": "t", "open_id": "o"}}
        token = read_line(json.dumps(line | {"labels": {"team": "y"}}), Defaults(labels={"client": "x", "team": "z"}))
        assert (token.family, token.response.open_id) == ("account", "o")
        assert token.labels == {"client": "x", "team": "y"}
        assert "Secret(…)" in repr(token)


class TestRefused:
    @pytest.mark.parametrize(
        ("fault", "reason"),
        [
            (Fault("advertiser_get", do="drop", times=None), "check the network, and try again"),
            (Fault("advertiser_get", body={"code": 40105, "message": ""}, status=200, times=None), "has ended"),
            (Fault("advertiser_get", body={"code": 40101, "message": ""}, status=200), "check TIKTOK_APP_ID and"),
            (Fault("advertiser_get", body={"code": 50000, "message": ""}, status=200), "try again later"),
        ],
        ids=["TikTok away", "ended", "wrong app secret", "TikTok broken"],
    )
    def test_by_tiktok(self, cli: Cli, stage: Stage, fault: Fault, reason: str) -> None:
        """What TikTok does not accept is not stored, and it is said what to do."""
        stage.tiktok.add_fault(fault)
        assert reason in sentence(cli("import", "acme", typed=answer(stage.tiktok.grant())))
        assert stage.secrets.secrets() == {}

    def test_other_owner(self, cli: Cli, stage: Stage) -> None:
        """Neither other ad accounts nor another TikTok account or family take a connection's place, unless allowed."""
        stage.plant("acme")
        other = stage.tiktok.grant(advertisers=["7000000000000000009"])
        assert "none of the ad accounts of acme" in sentence(cli("import", "acme", typed=answer(other)))
        imported(cli, "acme", other, "--any-account")
        assert stage.token()["advertiser_ids"] == ["7000000000000000009"]
        imported(cli, "organic", stage.tiktok.grant_account())
        outlet = answer(stage.tiktok.grant_account("acme.outlet"))
        assert "another TikTok account than organic" in sentence(
            cli("import", "organic", "--family", "account", typed=outlet)
        )
        ads = cli("import", "organic", typed=answer(stage.tiktok.grant()))
        assert "organic is of the family account" in sentence(ads)

    def test_ad_accounts_are_not_known(self, cli: Cli, stage: Stage) -> None:
        """A token needs ad accounts: those that TikTok lists, or, where it may not list them, its whole answer's."""
        none = answer(stage.tiktok.grant(advertisers=[]))
        assert "lists no ad account" in sentence(cli("import", "acme", typed=none))
        grant = stage.tiktok.grant()
        stage.tiktok.fail_next("advertiser_get", 40001, times=None)
        assert "give TikTok's whole JSON answer" in sentence(cli("import", "acme", typed=grant.access_token))
        imported(cli, "acme", grant)
        assert stage.token()["advertiser_ids"] == list(grant.advertiser_ids)


class TestMany:
    def test_goes_on_after_a_bad_line(self, cli: Cli, stage: Stage, tmp_path: Path) -> None:
        """Each line is a connection; refused ones are named with a reason; it can be run again, and labels choose."""
        dead = stage.tiktok.grant()
        stage.tiktok.revoke(dead.access_token)
        account = stage.tiktok.grant_account()
        lines = [
            answer(stage.tiktok.grant(), connection="acme", labels={"client": "x"}),
            "",
            "not json",
            answer(dead, connection="dead"),
            answer(account, connection="organic", family="account"),
            answer(stage.tiktok.grant(), connection="acme"),
            json.dumps({"connection": "Bad Name", "access_token": "x"}),
        ]
        file = tmp_path / "tokens.jsonl"
        file.write_text("\n".join(lines))
        done = cli("import", "--file", str(file))
        assert done.status == 1, done
        head, *refused = done.out.splitlines()
        assert head == "2 tokens imported, 4 refused:"
        assert [line.partition(":")[0] for line in refused] == ["line 3", "line 4 (dead)", "line 6 (acme)", "line 7"]
        assert "is on line 1 already" in refused[2]
        assert stage.labels()["client"] == "x"
        assert stage.token("organic")["open_id"] == account.open_id
        assert "0 tokens imported, 2 were there already, 4 refused:" in cli("import", "--file", str(file)).out
        file.write_text(answer(stage.tiktok.grant(), connection="beta") + "\n" + lines[0])
        done = cli("import", "--file", str(file), "--label", "client=x")
        assert (done.status, done.out) == (0, "0 tokens imported, 1 was there already.\n")

    def test_leaves_alone_what_is_well(self, cli: Cli, stage: Stage, tmp_path: Path) -> None:
        """A file that is imported again never replaces a newer grant; what needs a person is replaced."""
        file = tmp_path / "tokens.jsonl"
        file.write_text(answer(stage.tiktok.grant("expiring"), connection="acme"))
        newer = stage.plant("acme")
        assert cli("import", "--file", str(file)).out == "0 tokens imported, 1 was there already.\n"
        assert stage.token() == newer
        stage.secrets.edit(TOKEN + "acme", labels={"health": "reauthorize"})
        assert cli("import", "--file", str(file)).out == "1 token imported.\n"

    def test_stops_at_what_concerns_all(self, cli: Cli, stage: Stage, tmp_path: Path) -> None:
        """What would fail for every line ends it with one sentence."""
        file = tmp_path / "tokens.jsonl"
        file.write_text(answer(stage.tiktok.grant(), connection="acme"))
        stage.secrets.deny("secretmanager.secrets.create")
        said = sentence(cli("import", "--file", str(file)))
        assert "Permission denied: cannot create secret tiktok-ads-token-acme" in said
