"""`infra/readers/gcloud.md`, run as it stands with gcloud, jq and curl."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from command_line import Cli
from local.serving import Fault
from readers.internet import CONNECTION, Internet
from readers.recipe import recipe, run, start
from stage import TOKEN

MISSING = [name for name in ("gcloud", "jq", "curl") if shutil.which(name) is None]
pytestmark = [
    pytest.mark.readers,
    pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)} not installed here"),
]

READ = ("AccessSecretVersion", TOKEN + CONNECTION)


def used(internet: Internet) -> list[str]:
    """The tokens that campaigns were asked for with, in order."""
    return [str(request["Access-Token"]) for request in internet.stage.tiktok.requests_of("campaign_get")]


def test_the_commands_list_every_campaign(internet: Internet, tmp_path: Path) -> None:
    """Of every account; the token is neither printed nor in a file."""
    run(recipe("gcloud"), internet, environment=None, folder=tmp_path)
    found = [line.split("\t") for line in (tmp_path / "campaigns.tsv").read_text().splitlines()]
    assert sorted({account for account, _, _ in found}) == internet.token()["advertiser_ids"]
    assert all(name for _, _, name in found)
    assert (set(internet.secrets_calls()), internet.refused) == ({READ}, [])
    assert internet.holding(tmp_path) == []


def test_the_variable_holds_the_token_alone(internet: Internet, tmp_path: Path) -> None:
    """The first command, followed by a look at what it set."""
    command = recipe("gcloud").commands[0]
    script = f'{command}\n[[ "$ACCESS_TOKEN" == {internet.token()["access_token"]} ]]'
    process = start(script, internet, environment=None, folder=tmp_path)
    assert process.communicate(timeout=300) == ("", "")
    assert process.returncode == 0


def test_the_token_is_on_no_command_line(internet: Internet, tmp_path: Path) -> None:
    """While curl waits for TikTok, nobody finds the token among the processes."""
    page = recipe("gcloud")
    page.write(tmp_path)
    internet.stage.tiktok.add_fault(Fault("campaign_get", do="hold", hold="middle"))
    process = start(page.commands[-1], internet, environment=None, folder=tmp_path)
    internet.stage.tiktok.wait_held("middle", 300)
    lines = [file.read_bytes() for file in Path("/proc").glob("[0-9]*/cmdline") if file.exists()]
    internet.stage.tiktok.release("middle")
    process.communicate(timeout=300)
    assert any(line.startswith(b"curl\0") and b"business-api.tiktok.com" in line for line in lines)
    assert not [line for line in lines if internet.token()["access_token"].encode() in line]


def test_a_token_that_is_replaced_meanwhile_is_read_again(internet: Internet, tmp_path: Path) -> None:
    """Once, and kept for the accounts that follow."""
    page, old = recipe("gcloud"), internet.token()["access_token"]
    page.write(tmp_path)
    internet.stage.tiktok.add_fault(Fault("campaign_get", skip=1, do="hold", hold="middle"))
    process = start(page.commands[-1], internet, environment=None, folder=tmp_path)
    internet.stage.tiktok.wait_held("middle", 300)
    new = internet.rotate()["access_token"]
    internet.stage.tiktok.release("middle")
    assert process.communicate(timeout=300) == ("", "")
    assert process.returncode == 0
    assert used(internet) == [old, old, new, new]
    assert internet.secrets_calls() == [READ, READ]


def test_a_revoked_token_ends_it_with_a_sentence(internet: Internet, tmp_path: Path) -> None:
    """Read again once, found to be the same: status 1, and what a person has to do."""
    internet.stage.tiktok.revoke(internet.token()["access_token"])
    done = run(recipe("gcloud"), internet, environment=None, folder=tmp_path, check=False)
    said = "TikTok refuses the newest token (code 40105): make link CONNECTION=acme\n"
    assert (done.returncode, done.stderr, len(used(internet))) == (1, said, 1)


def test_the_shell_takes_what_config_prints(internet: Internet, tmp_path: Path) -> None:
    """`python -m tokenkeeper config acme --for env` sets variables with which TikTok answers."""
    token = internet.token()["access_token"]
    internet.stage.canaries.keep("an access token", token, belongs_in=r"what \('config',\) prints")
    done = Cli(internet.stage, tmp_path / "state")("config", "acme", "--for", "env")
    (tmp_path / "env.sh").write_text(done.out)
    script = """\
. ./env.sh
curl --silent --fail --get --header @<(printf 'Access-Token: %s' "$TIKTOK_ACCESS_TOKEN") \\
  --data-urlencode "advertiser_id=${TIKTOK_ADVERTISER_IDS%%,*}" https://business-api.tiktok.com/open_api/v1.3/campaign/get/
"""
    process = start(script, internet, environment=None, folder=tmp_path)
    printed, complained = process.communicate(timeout=300)
    assert json.loads(printed)["code"] == 0, complained
    assert internet.refused == []
