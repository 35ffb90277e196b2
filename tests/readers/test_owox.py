"""The commands of `infra/readers/owox.md`: the fields of OWOX's form, and its stored form, from the token secret."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from readers.internet import CONNECTION, Internet
from readers.recipe import recipe, run
from readers.tools import configured
from stage import APP_ID, APP_SECRET, TOKEN

pytestmark = pytest.mark.readers


@pytest.mark.parametrize("kind", ["long-lived", "expiring"])
def test_the_fields_of_the_form(internet: Internet, tmp_path: Path, kind: str) -> None:
    """The required ones are printed under their labels, and when to paste again; `config` adds the app's secret."""
    internet.connect(CONNECTION, kind)
    entry = json.loads(configured(internet, "owox", tmp_path))
    internet.forget_calls()
    lines = run(recipe("owox"), internet, environment=None, folder=tmp_path).stdout.splitlines()
    token = internet.token()
    assert {label: value.strip() for label, _, value in (line.partition("  ") for line in lines)} == {
        "Access Token": token["access_token"],
        "App ID": APP_ID,
        "Advertiser IDs": ",".join(token["advertiser_ids"]),
        "Works until": token["expires_at"] or "it is revoked",
    }
    assert entry["AuthType"]["oauth2"].pop("AppSecret") == APP_SECRET
    assert entry == json.loads((tmp_path / "configuration.json").read_text())
    assert stat.S_IMODE((tmp_path / "configuration.json").stat().st_mode) == 0o600
    assert (set(internet.secrets_calls()), internet.refused) == ({("AccessSecretVersion", TOKEN + CONNECTION)}, [])
