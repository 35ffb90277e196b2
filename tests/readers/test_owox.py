"""The recipe for OWOX Data Marts: its commands, and the calls that OWOX's connector makes with what they print.

OWOX itself is not run. What its connector asks TikTok for is written down here from its published source,
`packages/connectors/src/Sources/TikTokAds` of OWOX/owox-data-marts.
"""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from command_line import Cli
from readers.internet import CONNECTION, Internet
from readers.recipe import recipe, run
from stage import APP_ID, APP_SECRET, TOKEN

MISSING = [name for name in ("gcloud", "jq") if shutil.which(name) is None]
pytestmark = [
    pytest.mark.readers,
    pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)} not installed here"),
]

READ = ("AccessSecretVersion", TOKEN + CONNECTION)
# Where the token belongs: what the recipe and the operator's command print.
PLACES = r"what owox printed|what \('config',\) prints"
FORM = {"Access Token": True, "App ID": False, "App Secret": False, "Advertiser IDs": True}
"""The connector's fields by their labels, and whether one has to be filled in."""

CONNECTOR = """\
import json, re, sys
import requests

entry = json.load(sys.stdin)
oauth, accounts = entry["AuthType"]["oauth2"], re.split("[,;]", entry["AdvertiserIDs"])

def ask(path, **parameters):
    query = {name: value if isinstance(value, str) else json.dumps(value) for name, value in parameters.items()}
    answer = requests.get(
        "https://business-api.tiktok.com/open_api/v1.3/" + path,
        params=query | {"page": "1", "page_size": "100"},
        headers={"Access-Token": oauth["AccessToken"], "Content-Type": "application/json"},
        timeout=30,
    ).json()
    if answer["code"] != 0:
        sys.exit("TikTok API error: " + answer["message"])
    return len(answer["data"]["list"])

for account in map(str.strip, accounts):
    rows = [ask(level + "/get/", advertiser_id=account, fields=[level + "_id", level + "_name", "advertiser_id"])
            for level in ("campaign", "adgroup", "ad")]
    rows.append(ask("report/integrated/get/", advertiser_id=account, report_type="BASIC", data_level="AUCTION_AD",
                    dimensions=["ad_id", "stat_time_day"], metrics=["spend", "impressions", "clicks"],
                    start_date="2026-01-05", end_date="2026-01-05"))
    print(account, *rows)
"""


def printed(internet: Internet, folder: Path) -> dict[str, str]:
    """What the first command prints, by the field that it is for. The token belongs there."""
    token = internet.token()["access_token"]
    internet.stage.canaries.keep("an access token", token, belongs_in=PLACES)
    lines = run(recipe("owox"), internet, environment=None, folder=folder).stdout.splitlines()
    return {label: value for label, _, value in (line.partition("  ") for line in lines)}


def connector(internet: Internet, folder: Path) -> subprocess.CompletedProcess[str]:
    """The calls of a run, with the stored entry."""
    return subprocess.run(
        [sys.executable, "-c", CONNECTOR],
        input=(folder / "configuration.json").read_text(),
        env=internet.environ(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_every_field_that_has_to_be_filled_in_is_printed(internet: Internet, tmp_path: Path) -> None:
    """Under the label that it has in the form; the app's secret is not among them."""
    found = {label: value.strip() for label, value in printed(internet, tmp_path).items()}
    token = internet.token()
    assert found.pop("Works until") == "it is revoked"
    assert found == {
        "Access Token": token["access_token"],
        "App ID": APP_ID,
        "Advertiser IDs": ",".join(token["advertiser_ids"]),
    }
    assert {label for label, required in FORM.items() if required} <= set(found) <= set(FORM)
    assert (set(internet.secrets_calls()), internet.refused) == ({READ}, [])


def test_a_token_that_ends_says_when(internet: Internet, tmp_path: Path) -> None:
    """So that nobody pastes one that is gone tomorrow."""
    internet.connect("acme", "expiring")
    assert printed(internet, tmp_path)["Works until"].strip() == internet.token()["expires_at"]


def test_the_connectors_calls_bring_every_account(internet: Internet, tmp_path: Path) -> None:
    """With the entry of the second command, which is for its owner's eyes only, and without the app's secret."""
    printed(internet, tmp_path)
    assert internet.holding(tmp_path) == ["configuration.json"]
    assert stat.S_IMODE((tmp_path / "configuration.json").stat().st_mode) == 0o600
    done = connector(internet, tmp_path)
    accounts = internet.token()["advertiser_ids"]
    assert done.stdout.splitlines() == [f"{account} 3 6 12 12" for account in accounts], done.stderr


def test_what_config_prints_is_that_entry_with_the_apps_secret(internet: Internet, tmp_path: Path) -> None:
    """Printed by `python -m tokenkeeper config acme --for owox`; the connector's calls go through with it."""
    internet.stage.canaries.keep("an access token", internet.token()["access_token"], belongs_in=PLACES)
    internet.stage.canaries.keep("the app secret", APP_SECRET, belongs_in=PLACES)
    done = Cli(internet.stage, tmp_path / "state")("config", "acme", "--for", "owox")
    assert done.status == 0, done.err
    (tmp_path / "configuration.json").write_text(done.out)
    assert connector(internet, tmp_path).returncode == 0
    entry = json.loads(done.out)
    assert entry["AuthType"]["oauth2"].pop("AppSecret") == APP_SECRET
    printed(internet, tmp_path)
    assert entry == json.loads((tmp_path / "configuration.json").read_text())


def test_a_replaced_token_has_to_be_pasted_again(internet: Internet, tmp_path: Path) -> None:
    """The old entry is refused by TikTok, a new one works."""
    printed(internet, tmp_path)
    internet.rotate()
    assert connector(internet, tmp_path).stderr == "TikTok API error: Access token is incorrect or has been revoked.\n"
    printed(internet, tmp_path)
    assert connector(internet, tmp_path).returncode == 0
