"""What tools are handed: each shape against what the tool itself says that it takes."""

import json
import re
import subprocess
import tomllib
from dataclasses import replace
from datetime import date
from typing import Any
from urllib.parse import parse_qs, urlsplit

import hcl2
import pytest

from tokenkeeper.cli.config import notes
from tokenkeeper.cli.tools import TOOLS, Material
from tokenkeeper.grant import Grant
from tokenkeeper.secret import Secret
from unit import parts

APP_ID, APP_SECRET = "7000000000000000000", "canary-app-secret-0123456789abcdef01234567"
IDS = ("7000000000000000001", "7000000000000000002")
TOKEN = "0123456789abcdef0123456789abcdef01234567"
ODD = 'it\'s \\ a "token" & $HOME `x` #% +'
NASTY = "Acme\nShoes\r\x1b[31m\u2028\u202e\u0000 =\\' <b>"


def granted(connection: str = "acme", refresh_token: str | None = None, **more: Any) -> Grant:
    """A grant with all permissions, as TikTok's answer made it."""
    usual = {"advertiser_ids": IDS, "scope": (4, 10, 200, 210, 220, 30)}
    return parts.granted(parts.response(TOKEN, refresh_token, **{**usual, **more}), connection)


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


def written(name: str, of: Material | None = None) -> str:
    """The configuration of a tool."""
    return TOOLS[name].configuration(of or material())


def said(name: str, of: Material | None = None) -> str:
    """What is said about it."""
    return "\n".join(notes(TOOLS[name], of or material()))


EXPIRING = granted(refresh_token="r" * 40, expires_in=parts.DAY)


class TestShapes:
    def test_json(self) -> None:
        """The fields that each tool names, in its own form."""
        oauth = {"AccessToken": TOKEN, "AppId": APP_ID, "AppSecret": APP_SECRET}
        credentials = {"auth_type": "oauth2.0", "app_id": APP_ID, "secret": APP_SECRET, "access_token": TOKEN}
        shapes = {
            "airbyte": {"credentials": credentials, "start_date": "2026-01-01"},
            "owox": {"AuthType": {"oauth2": oauth}, "AdvertiserIDs": ",".join(IDS)},
            "tap-tiktok-ads": {"access_token": TOKEN, "accounts": ",".join(IDS), "start_date": "2026-01-01T00:00:00Z"},
        }
        assert {name: json.loads(written(name)) for name in shapes} == shapes

    @pytest.mark.slow
    def test_airbyte_terraform(self) -> None:
        """It reads the newest token from the secret at each apply, and hands it to a source."""
        text = written("airbyte-terraform", material(grant=granted("1-acme")))
        document = hcl2.loads(text)
        (data,), (resource,) = document["data"], document["resource"]
        assert '"tiktok-1-acme"' in data['"google_secret_manager_secret_version_access"']
        assert '"tiktok-1-acme"' in resource['"airbyte_source"']
        assert '  project = "my-project-123"\n  secret  = "tiktok-ads-token-acme"\n' in text

    def test_dlt(self) -> None:
        """A section of secrets.toml with the token and the ids, whatever the token consists of."""
        (section,) = tomllib.loads(written("dlt", material(ODD)))["sources"].values()
        assert section == {"access_token": ODD, "advertiser_ids": list(IDS)}

    def test_env(self) -> None:
        """A shell that evaluates it has the values, and runs nothing that stands in them."""
        names = ["ACCESS_TOKEN", "ADVERTISER_IDS", "APP_ID", "TOKEN_EXPIRES_AT"]
        show = "".join(f'printf "%s|" "$TIKTOK_{name}"\n' for name in names)
        text = written("env", material(ODD, grant=EXPIRING, names={IDS[0]: NASTY}))
        done = subprocess.run(["sh", "-eu", "-c", text + show], capture_output=True, text=True, check=True, timeout=10)
        assert done.stdout == f"{ODD}|{','.join(IDS)}|{APP_ID}|2026-11-23T12:00:00Z|"

    def test_ingestr(self) -> None:
        """The scheme, and the two parameters that it takes."""
        parts = urlsplit(written("ingestr", material(ODD)).removesuffix("\n"))
        assert (parts.scheme, parts.netloc, parts.path) == ("tiktok", "", "")
        assert parse_qs(parts.query) == {"access_token": [ODD], "advertiser_ids": [",".join(IDS)]}

    def test_meltano(self) -> None:
        """Each line is a comment or one of the tap's settings, named as Meltano names them, in single quotes."""
        lines = [line for line in written("meltano", material(ODD)).splitlines() if not line.startswith("#")]
        quoted = dict(line.split("=", 1) for line in lines)
        assert all(re.fullmatch(r"'([^'\\]|\\.)*'", value) for value in quoted.values())
        assert {name: re.sub(r"\\(.)", r"\1", value[1:-1]) for name, value in quoted.items()} == {
            "TAP_TIKTOK_ADS_ACCESS_TOKEN": ODD,
            "TAP_TIKTOK_ADS_ACCOUNTS": ",".join(IDS),
            "TAP_TIKTOK_ADS_START_DATE": "2026-01-01T00:00:00Z",
        }


@pytest.mark.parametrize("name", TOOLS)
class TestEach:
    """What holds for every tool."""

    def test_names(self, name: str) -> None:
        """Where there are comments, a name stands in one; else it is said beside the configuration. Never of others.

        One that an advertiser chose badly, or well, stays on its line and moves no cursor.
        """
        line = f"{IDS[0]} Acme Shoes"
        assert (f"# {line}\n" in written(name)) == TOOLS[name].comments
        assert (line in said(name)) != TOOLS[name].comments
        assert "somebody else" not in written(name) + said(name)
        nasty, plain = material(names={IDS[0]: NASTY, IDS[1]: "\n\t"}), material(names={})
        assert (written(name, nasty) + said(name, nasty)).replace("\n", "").isprintable()
        more = len(written(name, nasty).splitlines()) - len(written(name, plain).splitlines())
        assert more == int(TOOLS[name].comments)

    def test_notes(self, name: str) -> None:
        """It is said whether token and app's secret are in it, how long it is good, and if ids are too many for it.

        Nothing of what is said is secret.
        """
        with_token, with_secret = TOOLS[name].holds_token, TOOLS[name].needs_app_secret
        assert ("the access token" in said(name)) == (TOKEN in written(name)) == with_token
        assert ("the app's secret:" in said(name)) == (APP_SECRET in written(name)) == with_secret
        assert ("ends at 2026-11-23T12:00:00Z" in said(name, material(grant=EXPIRING))) == with_token
        assert "ends at" not in said(name)
        many = replace(granted(advertiser_ids=tuple(map(str, range(5_000)))), advertiser_ids=None)
        assert written(name, material(grant=many))
        told = said(name, material(grant=many)) + said(name) + repr(material())
        assert told.count("5000 ad accounts") == (not name.startswith("airbyte"))
        assert TOKEN not in told
        assert APP_SECRET not in told
