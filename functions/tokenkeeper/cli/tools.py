"""The tools that a configuration can be made for."""

from __future__ import annotations

from collections.abc import Mapping

from tokenkeeper.cli import toolformats
from tokenkeeper.cli.toolconfigs import Tool
from tokenkeeper.grant import Family

_BOTH: tuple[Family, ...] = ("advertiser", "account")

TOOLS: Mapping[str, Tool] = {
    "airbyte": Tool(
        "config of Airbyte's source-tiktok-marketing, as JSON",
        "Give it to Airbyte's API as the source's configuration, or to the connector with --config. With ONLY=7001 "
        "it is for that ad account alone: then the connector does not send the app's secret, which it prints where "
        "listing the advertisers fails.",
        toolformats.airbyte,
        needs_app_secret=True,
        one_id=True,
    ),
    "airbyte-terraform": Tool(
        "a source for Airbyte's Terraform provider, which reads the token at each apply",
        "Set airbyte_workspace_id and tiktok_app_secret; terraform apply then reads the newest token.",
        toolformats.airbyte_terraform,
        comments=True,
        one_id=True,
        holds_token=False,
    ),
    "airflow": Tool(
        "a variable, as JSON for `airflow variables import`",
        "Import it with airflow variables import FILE. With Google's secrets backend none of it is needed.",
        toolformats.airflow,
        families=_BOTH,
        needs_ids=True,
    ),
    "dlt": Tool(
        "a section of dlt's secrets.toml",
        "Add it to .dlt/secrets.toml.",
        toolformats.dlt,
        families=_BOTH,
        comments=True,
        needs_ids=True,
    ),
    "env": Tool(
        "variables for a shell: TIKTOK_ACCESS_TOKEN and more",
        'Take it over with eval "$(make -s config CONNECTION={connection} FOR=env)".',
        toolformats.env,
        families=_BOTH,
        comments=True,
        needs_ids=True,
    ),
    "ingestr": Tool(
        "address of a source for ingestr",
        "Put it into SOURCE_URI, not on a command line, which all on a machine can see. TikTok reports on five "
        "accounts at a time: with more, name those that it is about.",
        toolformats.ingestr,
        needs_ids=True,
    ),
    "json": Tool(
        "the stored token and the advertisers' names, as JSON",
        "Take from it what is needed.",
        toolformats.plain,
        families=_BOTH,
        needs_ids=True,
    ),
    "meltano": Tool(
        "the file .env of a Meltano project with tap-tiktok-ads",
        "Add it to the file .env beside meltano.yml.",
        toolformats.meltano,
        comments=True,
        needs_ids=True,
    ),
    "owox": Tool(
        "the fields of the TikTok connector of OWOX Data Marts, as JSON",
        "Paste the values into the form of the same names, or hand it to OWOX's API.",
        toolformats.owox,
        needs_app_secret=True,
        needs_ids=True,
    ),
    "tap-tiktok-ads": Tool(
        "config of singer-io's tap-tiktok-ads, as JSON",
        "Give it to the tap with --config.",
        toolformats.tap,
        needs_ids=True,
    ),
}
"""By name, as `--for` takes it."""
