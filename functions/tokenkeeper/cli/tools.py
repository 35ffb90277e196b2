"""The tools that a configuration can be made for, one small function each; nothing else knows their shapes. No I/O."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import NamedTuple
from urllib.parse import urlencode

from tokenkeeper import clock
from tokenkeeper.checks import is_line
from tokenkeeper.cli.show import first_of
from tokenkeeper.errors import SettingsError
from tokenkeeper.grant import Grant
from tokenkeeper.secret import Secret

_LONGEST_NAME = 100  # characters
_MOST_LISTED = 50  # ad accounts
_TIKTOK_MARKETING = "4bfac00d-ce15-44ff-95b9-9e3c3e8fbd35"  # Airbyte's id of source-tiktok-marketing


class Material(NamedTuple):
    """What a configuration is made of."""

    grant: Grant  # the connection's newest grant, for the ad accounts that are wanted
    since: date  # the first day to be loaded, for tools that have to be told
    names: Mapping[str, str]  # advertisers' names by id, as far as they are known; they come from outside
    app_secret: Secret  # the app's secret, for the tools that need it; else empty
    project: str  # project that holds the secrets
    secret_id: str  # the token secret's name
    chosen: bool = False  # whether the ad accounts are a selection

    @property
    def ids(self) -> tuple[str, ...]:
        """The advertisers; none where they are too many to be stored."""
        return self.grant.advertiser_ids or ()

    @property
    def named(self) -> Mapping[str, str]:
        """The names of the advertisers that have one, fit for a comment and for a terminal."""
        known = {id_: self.names.get(id_, "") for id_ in self.ids}
        clean = {
            id_: "".join(letter if is_line(letter) else " " for letter in name).strip() for id_, name in known.items()
        }
        return {id_: name[:_LONGEST_NAME] for id_, name in clean.items() if name}

    def only(self, ids: Sequence[str]) -> Material:
        """The same for these ad accounts alone; raises `SettingsError` where the connection does not reach them."""
        grant = self.grant
        if grant.family == "account":
            raise SettingsError(f"{grant.connection} is a TikTok account's: there are no ad accounts to choose from.")
        known = grant.advertiser_ids
        unknown = [id_ for id_ in ids if known is not None and id_ not in known]
        if unknown:
            named = self.named
            listed = [f"{id_} {named.get(id_, '')}".strip() for id_ in known or ()]
            reached = first_of(listed, _MOST_LISTED, "; ")
            raise SettingsError(f"{grant.connection} does not reach {', '.join(unknown)}. It reaches: {reached}.")
        return self._replace(grant=grant.with_advertisers(list(dict.fromkeys(ids))), chosen=True)


Write = Callable[[Material], str]


class Tool(NamedTuple):
    """A tool that a configuration can be made for."""

    is_for: str  # what the configuration is, in a line
    use: str  # what to do with it, as a sentence; `{connection}` stands for the connection's name
    write: Write  # makes it, without the comments
    accounts: bool = False  # whether it takes the tokens of TikTok accounts, too
    needs_app_secret: bool = False  # whether the app's secret is part of it
    comments: bool = False  # whether the advertisers' names are in it
    one_id: bool = False  # whether it takes one ad account, or all of them without their ids, and no selection
    holds_token: bool = True  # whether the access token is in it

    def configuration(self, material: Material) -> str:
        """The whole configuration."""
        comments = [f"# {id_} {name}\n" for id_, name in material.named.items()] if self.comments else []
        return "".join(comments) + self.write(material)


TOOLS: dict[str, Tool] = {}
"""By name, as `--for` takes it."""


def _tool(name: str, is_for: str, use: str, **more: bool) -> Callable[[Write], Write]:
    """Make the function below a tool, see `Tool`."""

    def keep(write: Write) -> Write:
        TOOLS[name] = Tool(is_for, use, write, **more)
        return write

    return keep


@_tool(
    "airbyte",
    "config of Airbyte's source-tiktok-marketing, as JSON",
    "Give it to Airbyte's API as the source's configuration, or to the connector with --config. With ONLY=7001 "
    "it is for that ad account alone: then the connector does not send the app's secret, which it prints where "
    "listing the advertisers fails.",
    needs_app_secret=True,
    one_id=True,
)
def _airbyte(material: Material) -> str:
    """By the specification of source-tiktok-marketing: without `advertiser_id` it loads all ad accounts."""
    grant = material.grant
    credentials = {
        "auth_type": "oauth2.0",
        "app_id": grant.app_id,
        "secret": material.app_secret.reveal(),
        "access_token": grant.access_token.reveal(),
        **({"advertiser_id": material.ids[0]} if material.chosen else {}),
    }
    return _json({"credentials": credentials, "start_date": material.since.isoformat()})


@_tool(
    "airbyte-terraform",
    "a source for Airbyte's Terraform provider, which reads the token at each apply",
    "Set airbyte_workspace_id and tiktok_app_secret; terraform apply then reads the newest token.",
    comments=True,
    one_id=True,
    holds_token=False,
)
def _airbyte_terraform(material: Material) -> str:
    """For the provider airbytehq/airbyte from 1.0 on. Terraform reads the token itself, so none is in the text."""
    name, label = material.grant.connection, f"tiktok-{material.grant.connection}"  # a label begins with a letter
    one = f"\n      advertiser_id = {json.dumps(material.ids[0])}" if material.chosen else ""
    return f"""\
variable "airbyte_workspace_id" {{
  type = string
}}

variable "tiktok_app_secret" {{
  type      = string
  sensitive = true
}}

data "google_secret_manager_secret_version_access" "{label}" {{
  project = {json.dumps(material.project)}
  secret  = {json.dumps(material.secret_id)}
}}

resource "airbyte_source" "{label}" {{
  name          = "TikTok {name}"
  workspace_id  = var.airbyte_workspace_id
  definition_id = "{_TIKTOK_MARKETING}"
  configuration = jsonencode({{
    credentials = {{
      auth_type    = "oauth2.0"
      app_id       = {json.dumps(material.grant.app_id)}
      secret       = var.tiktok_app_secret
      access_token = jsondecode(data.google_secret_manager_secret_version_access.{label}.secret_data).access_token{one}
    }}
    start_date = "{material.since}"
  }})
}}
"""


@_tool("dlt", "a section of dlt's secrets.toml", "Add it to .dlt/secrets.toml.", accounts=True, comments=True)
def _dlt(material: Material) -> str:
    """TOML, for `.dlt/secrets.toml`. JSON's strings and lists are TOML's, where all is printable ASCII."""
    grant = material.grant
    token = f"access_token = {json.dumps(grant.access_token.reveal())}\n"
    if grant.family == "account":
        return f"[sources.tiktok_account]\n{token}business_id = {json.dumps(grant.open_id)}\n"
    ids = json.dumps(list(material.ids))
    return f"[sources.tiktok_ads]\n{token}advertiser_ids = {ids}\n"


@_tool(
    "env",
    "variables for a shell: TIKTOK_ACCESS_TOKEN and more",
    'Take it over with eval "$(make -s config CONNECTION={connection} FOR=env)".',
    accounts=True,
    comments=True,
)
def _env(material: Material) -> str:
    grant = material.grant
    whose = {"TIKTOK_ADVERTISER_IDS": ",".join(material.ids)}
    if grant.family == "account":
        whose = {"TIKTOK_BUSINESS_ID": grant.open_id}
    values = {
        "TIKTOK_ACCESS_TOKEN": grant.access_token.reveal(),
        **whose,
        "TIKTOK_APP_ID": grant.app_id,
        "TIKTOK_TOKEN_EXPIRES_AT": clock.text(grant.expires_at) if grant.expires_at else "",
    }
    lines = (f"export {name}={shlex.quote(value)}\n" for name, value in values.items())
    return "".join(lines)


@_tool(
    "ingestr",
    "address of a source for ingestr",
    "Put it into SOURCE_URI, not on a command line, which all on a machine can see. TikTok reports on five "
    "accounts at a time: with more, name those that it is about.",
)
def _ingestr(material: Material) -> str:
    token = material.grant.access_token.reveal()
    query = urlencode({"access_token": token, "advertiser_ids": ",".join(material.ids)}, safe=",")
    return f"tiktok://?{query}\n"


@_tool(
    "meltano",
    "the file .env of a Meltano project with tap-tiktok-ads",
    "Add it to the file .env beside meltano.yml.",
    comments=True,
)
def _meltano(material: Material) -> str:
    values = {f"TAP_TIKTOK_ADS_{key.upper()}": value for key, value in _of_tap(material).items()}
    quoted = {name: value.replace("\\", "\\\\").replace("'", "\\'") for name, value in values.items()}
    return "".join(f"{name}='{value}'\n" for name, value in quoted.items())


@_tool(
    "owox",
    "the fields of the TikTok connector of OWOX Data Marts, as JSON",
    "Paste the values into the form of the same names, or hand it to OWOX's API.",
    needs_app_secret=True,
)
def _owox(material: Material) -> str:
    oauth = {
        "AccessToken": material.grant.access_token.reveal(),
        "AppId": material.grant.app_id,
        "AppSecret": material.app_secret.reveal(),
    }
    return _json({"AuthType": {"oauth2": oauth}, "AdvertiserIDs": ",".join(material.ids)})


@_tool("tap-tiktok-ads", "config of singer-io's tap-tiktok-ads, as JSON", "Give it to the tap with --config.")
def _tap(material: Material) -> str:
    return _json(_of_tap(material))


def _of_tap(material: Material) -> Mapping[str, str]:
    """The settings of tap-tiktok-ads, which Meltano runs as well."""
    return {
        "access_token": material.grant.access_token.reveal(),
        "accounts": ",".join(material.ids),
        "start_date": f"{material.since}T00:00:00Z",
    }


def _json(document: object) -> str:
    return json.dumps(document, indent=2) + "\n"
