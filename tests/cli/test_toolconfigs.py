"""What tools are handed: each shape against what the tool itself says that it takes."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import hcl2
import pytest

from tokenkeeper import grant as grants
from tokenkeeper import payload
from tokenkeeper.cli.toolconfigs import Material, notes
from tokenkeeper.cli.tools import TOOLS
from tokenkeeper.grant import Grant, TokenResponse
from tokenkeeper.secret import Secret

APP_ID, APP_SECRET = "7000000000000000000", "canary-app-secret-0123456789abcdef01234567"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
IDS = ("7000000000000000001", "7000000000000000002")
TOKEN = "0123456789abcdef0123456789abcdef01234567"
ODD = 'it\'s \\ a "token" & $HOME `x` #% +'
NASTY = "Acme\nShoes\r\x1b[31m\u2028\u202e\u0000 =\\' <b>"
WITH_SECRET = [name for name, tool in TOOLS.items() if tool.needs_app_secret]
WITH_TOKEN = [name for name, tool in TOOLS.items() if tool.holds_token]


def granted(connection: str = "acme", **response: Any) -> Grant:
    """A grant with all permissions, as TikTok's answer made it."""
    given = TokenResponse(Secret(TOKEN), advertiser_ids=IDS, scope=(4, 10, 200, 210, 220, 30))
    return grants.first(
        replace(given, **response), connection=connection, app_id=APP_ID, family="advertiser", asked_at=NOON
    )


def expiring() -> Grant:
    """One whose token ends."""
    return granted(expires_in=86_400, refresh_token=Secret("r" * 40))


def material(access_token: str = TOKEN, grant: Grant | None = None, **changes: Any) -> Material:
    """What is known of the connection `acme`."""
    given = replace(grant or granted(), access_token=Secret(access_token))
    usual = {
        "grant": given,
        "since": date(2026, 1, 1),
        "names": {IDS[0]: "Acme Shoes", "7009": "of somebody else"},
        "app_secret": Secret(APP_SECRET),
        "project": "my-project-123",
        "secret_id": "tiktok-ads-token-acme",
    }
    return Material(**{**usual, **changes})


def many() -> Grant:
    """A grant for more ad accounts than a secret holds, as it is read again."""
    ids = tuple(str(7_000_000_000_000_000_000 + number) for number in range(5_000))
    whole = granted(advertiser_ids=ids)
    return replace(whole, advertiser_ids=None)


def written(name: str, of: Material | None = None) -> str:
    """The configuration of a tool."""
    return TOOLS[name].write(of or material())


def said(name: str, of: Material | None = None) -> str:
    """What is said about it."""
    return "\n".join(notes(TOOLS[name], of or material()))


class TestAirbyte:
    def test_what_the_connector_specifies(self) -> None:
        """The credentials are the connector's `oauth2.0`, with its required keys, and a day as it wants days."""
        config = json.loads(written("airbyte"))
        assert config["credentials"] == {
            "auth_type": "oauth2.0",
            "app_id": APP_ID,
            "secret": APP_SECRET,
            "access_token": TOKEN,
        }
        assert re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", config["start_date"])
        assert set(config) == {"credentials", "start_date"}


class TestAirbyteTerraform:
    def test_is_terraform(self) -> None:
        """It reads the newest token from the secret at each apply, and hands it to a source."""
        document = hcl2.loads(written("airbyte-terraform"))
        kinds = {kind for resource in document["data"] + document["resource"] for kind in resource}
        assert {kind.strip('"') for kind in kinds} == {"google_secret_manager_secret_version_access", "airbyte_source"}
        assert '  project = "my-project-123"\n  secret  = "tiktok-ads-token-acme"\n' in written("airbyte-terraform")

    def test_holds_nothing_secret(self) -> None:
        """It may be kept with other code."""
        text = written("airbyte-terraform")
        assert TOKEN not in text
        assert APP_SECRET not in text

    def test_labels_begin_with_a_letter(self) -> None:
        """A connection's name may begin with a digit; a label of Terraform's may not."""
        grant = granted("1-acme")
        document = hcl2.loads(written("airbyte-terraform", material(grant=grant)))
        assert '"tiktok-1-acme"' in str(document["resource"])


class TestAirflow:
    def test_is_the_payload_as_a_variable(self) -> None:
        """The variable is named like the connection and holds what Google's secrets backend would find."""
        of = material()
        assert json.loads(written("airflow", of)) == {"acme": json.loads(payload.of_token(of.grant))}


class TestDlt:
    @pytest.mark.parametrize("token", [TOKEN, ODD])
    def test_is_toml(self, token: str) -> None:
        """A section of secrets.toml with the token and the ids, whatever the token consists of."""
        (section,) = tomllib.loads(written("dlt", material(token)))["sources"].values()
        assert section == {"access_token": token, "advertiser_ids": list(IDS)}


class TestEnv:
    @pytest.mark.parametrize("token", [TOKEN, ODD])
    def test_is_shell(self, token: str) -> None:
        """A shell that evaluates it has the values, and runs nothing that stands in them."""
        names = ["ACCESS_TOKEN", "ADVERTISER_IDS", "APP_ID", "TOKEN_EXPIRES_AT"]
        show = "".join(f'printf "%s|" "$TIKTOK_{name}"\n' for name in names)
        text = written("env", material(token, names={IDS[0]: NASTY}))
        done = subprocess.run(["sh", "-eu", "-c", text + show], capture_output=True, text=True, check=True, timeout=10)
        assert done.stdout == f"{token}|{','.join(IDS)}|{APP_ID}||"

    def test_says_when_it_ends(self) -> None:
        """The end of a token is among them, where it has one."""
        assert "export TIKTOK_TOKEN_EXPIRES_AT=2026-11-23T12:00:00Z\n" in written("env", material(grant=expiring()))


class TestIngestr:
    @pytest.mark.parametrize("token", [TOKEN, ODD])
    def test_is_an_address(self, token: str) -> None:
        """The scheme, and the two parameters that it takes."""
        parts = urlsplit(written("ingestr", material(token)).removesuffix("\n"))
        assert (parts.scheme, parts.netloc, parts.path) == ("tiktok", "", "")
        assert parse_qs(parts.query) == {"access_token": [token], "advertiser_ids": [",".join(IDS)]}


class TestJson:
    def test_is_the_payload_with_names(self) -> None:
        """What is stored, and beside it the names that are known of its advertisers."""
        of = material()
        stored = json.loads(payload.of_token(of.grant))
        assert json.loads(written("json", of)) == {**stored, "advertiser_names": {IDS[0]: "Acme Shoes"}}


class TestMeltano:
    @pytest.mark.parametrize("token", [TOKEN, ODD])
    def test_is_a_file_of_variables(self, token: str) -> None:
        """Each line is a comment or one of the tap's settings, named as Meltano names them, in single quotes."""
        lines = [line for line in written("meltano", material(token)).splitlines() if not line.startswith("#")]
        quoted = dict(line.split("=", 1) for line in lines)
        assert all(re.fullmatch(r"'([^'\\]|\\.)*'", value) for value in quoted.values())
        values = {name: re.sub(r"\\(.)", r"\1", value[1:-1]) for name, value in quoted.items()}
        assert values == {
            "TAP_TIKTOK_ADS_ACCESS_TOKEN": token,
            "TAP_TIKTOK_ADS_ACCOUNTS": ",".join(IDS),
            "TAP_TIKTOK_ADS_START_DATE": "2026-01-01T00:00:00Z",
        }


class TestOwox:
    def test_fields_of_the_connector(self) -> None:
        """The connector's names, and its list with commas."""
        oauth = {"AccessToken": TOKEN, "AppId": APP_ID, "AppSecret": APP_SECRET}
        assert json.loads(written("owox")) == {"AuthType": {"oauth2": oauth}, "AdvertiserIDs": ",".join(IDS)}


class TestTap:
    def test_required_keys(self) -> None:
        """All keys that the tap requires, and accounts that it can take apart."""
        config = json.loads(written("tap-tiktok-ads"))
        assert set(config) == {"start_date", "access_token", "accounts"}
        assert [str(int(account)) for account in config["accounts"].replace(" ", "").split(",")] == list(IDS)


class TestNames:
    @pytest.mark.parametrize("name", TOOLS)
    def test_are_in_comments_or_said(self, name: str) -> None:
        """Where there are comments, a name stands in one; else it is said beside the configuration. Never of others."""
        line = f"{IDS[0]} Acme Shoes"
        assert (f"# {line}\n" in written(name)) == TOOLS[name].comments
        assert (line in said(name)) != TOOLS[name].comments
        assert "somebody else" not in written(name) + said(name)

    @pytest.mark.parametrize("name", TOOLS)
    def test_break_out_of_nothing(self, name: str) -> None:
        """A name that an advertiser chose badly, or well, stays on its line and moves no cursor."""
        of, plain = material(names={IDS[0]: NASTY, IDS[1]: "\n\t"}), material(names={})
        text = written(name, of)
        assert (text + said(name, of)).replace("\n", "").isprintable()
        assert len(text.splitlines()) - len(written(name, plain).splitlines()) == {"json": 2}.get(
            name, int(TOOLS[name].comments)
        )

    def test_are_cut(self) -> None:
        """A name as long as a page is cut."""
        assert len(written("env", material(names={IDS[0]: "x" * 10_000}))) < 500


class TestNotes:
    @pytest.mark.parametrize("name", TOOLS)
    def test_hold_nothing_secret(self, name: str) -> None:
        """Whatever is said about a configuration may be seen by everybody."""
        told = said(name, material(grant=many())) + said(name) + repr(material())
        assert TOKEN not in told
        assert APP_SECRET not in told

    @pytest.mark.parametrize("name", TOOLS)
    def test_say_what_is_in_it(self, name: str) -> None:
        """Whether the token and the app's secret are in it is said, and so."""
        assert ("the access token" in said(name)) == (TOKEN in written(name)) == (name in WITH_TOKEN)
        assert ("the app's secret:" in said(name)) == (APP_SECRET in written(name)) == (name in WITH_SECRET)

    @pytest.mark.parametrize("name", TOOLS)
    def test_of_an_expiring_token(self, name: str) -> None:
        """What goes stale says until when it is good; what does not is silent about it."""
        told = said(name, material(grant=expiring()))
        assert ("ends at 2026-11-23T12:00:00Z" in told) == (name in WITH_TOKEN)
        assert "ends at" not in said(name)

    @pytest.mark.parametrize("name", TOOLS)
    def test_of_too_many_ids(self, name: str) -> None:
        """Where ids are wanted and too many to be stored, it is said how to get them; there is text all the same."""
        of = material(grant=many())
        assert written(name, of)
        assert ("5000 ad accounts" in said(name, of)) == (not TOOLS[name].one_id)
        assert "ad accounts" not in said(name)
