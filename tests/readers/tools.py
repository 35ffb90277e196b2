"""What the tests of single tools share: how each is prepared, and what it has brought."""

import json
import os
import subprocess
from pathlib import Path

from command_line import Cli
from readers.internet import CONNECTION, Internet
from readers.recipe import programs
from stage import APP_SECRET

Rows = list[tuple[str, ...]]
ACCOUNTS = ["7000000000000000001", "7000000000000000002", "7000000000000000003"]
CAMPAIGNS = ["Always on", "App installs", "Spring launch"]
ALL: Rows = sorted((account, name) for account in ACCOUNTS for name in CAMPAIGNS)


def configured(internet: Internet, tool: str, folder: Path) -> str:
    """What `make config CONNECTION=acme FOR=TOOL` prints. The token belongs there, and the app secret."""
    for name, secret in (("the token", internet.stage.token()["access_token"]), ("the app secret", APP_SECRET)):
        internet.stage.canaries.keep(name, secret, belongs_in=r"what \('config',\) prints|what owox printed")
    done = Cli(internet.stage, folder / "state")("config", CONNECTION, "--for", tool, "--since", "2026-01-01")
    assert done.status == 0, done.err
    return done.out


def duckdb(folder: Path, table: str, columns: str) -> Rows:
    """What is in a database of dlt's."""
    code = (
        f"import duckdb, json, glob; there = duckdb.connect(glob.glob('*.duckdb')[0], read_only=True)\n"
        f"print(json.dumps(there.sql('SELECT {columns} FROM {table} ORDER BY ALL').fetchall()))"
    )
    command = [str(programs("dlt") / "python"), "-c", code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return [tuple(map(str, row)) for row in json.loads(done.stdout)]


def airbyte(folder: Path, _: str = "") -> Rows:
    """What Airbyte's connector has read."""
    lines = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    records = [line["record"]["data"] for line in lines if line["type"] == "RECORD"]
    return sorted((str(row["advertiser_id"]), row["campaign_name"]) for row in records)


def dlt_home(folder: Path) -> dict[str, str]:
    """Keeps dlt's own files in the folder, and dlt from telling."""
    return {"DLT_DATA_DIR": str(folder / "dlt"), "RUNTIME__DLTHUB_TELEMETRY": "false"}


def meltano_project(folder: Path) -> dict[str, str]:
    """Puts the plugins where `meltano install` would, as folders of links: Meltano cannot clear the shared ones."""
    for plugin in ("extractors/tap-tiktok-ads", "loaders/target-csv"):
        venv = folder / ".meltano" / plugin / "venv"
        if not venv.exists():
            venv.mkdir(parents=True)
            for part in programs(plugin.partition("/")[2]).parent.iterdir():
                (venv / part.name).symlink_to(part)
    return {
        "PATH": f"{programs('tap-tiktok-ads')}:{os.environ['PATH']}",
        "MELTANO_CLI_DISABLE_VERSION_CHECK": "true",
        "TAP_TIKTOK_ADS_END_DATE": "2026-01-02T00:00:00Z",
    }


def trusting(folder: Path) -> dict[str, str]:
    """Airbyte's connector heeds no authority of the environment, only certifi's: so it gets another certifi."""
    (folder / "trust").mkdir(exist_ok=True)
    (folder / "trust" / "certifi.py").write_text(
        'import os\n\n\ndef where():\n    return os.environ["SSL_CERT_FILE"]\n'
    )
    return {"PYTHONPATH": str(folder / "trust")}
