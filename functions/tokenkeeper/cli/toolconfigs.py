"""What tools want to be handed, one small function a tool; nothing else knows their shapes. No I/O."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from urllib.parse import urlencode

from tokenkeeper import clock
from tokenkeeper.grant import Grant
from tokenkeeper.secrecy import Secret

_LONGEST_NAME = 100  # characters
_TIKTOK_MARKETING = "4bfac00d-ce15-44ff-95b9-9e3c3e8fbd35"  # Airbyte's id of source-tiktok-marketing


@dataclass(frozen=True)
class Material:
    """What a configuration is made of.

    Attributes:
        grant: The connection's newest grant.
        since: The first day to be loaded, for tools that have to be told.
        names: Advertisers' names by id, as far as they are known; they come from outside.
        app_secret: The app's secret, for the tools that need it (see `Tool`); else empty.
        project: Project that holds the secrets.
        secret_id: The token secret's name.
    """

    grant: Grant
    since: date
    names: Mapping[str, str] = field(default_factory=dict)
    app_secret: Secret = field(default_factory=lambda: Secret(""))
    project: str = ""
    secret_id: str = ""

    @property
    def ids(self) -> tuple[str, ...]:
        """The advertisers; none where they are too many to be stored."""
        return self.grant.advertiser_ids or ()

    @property
    def named(self) -> Mapping[str, str]:
        """The names of the advertisers that have one, fit for a comment and for a terminal."""
        clean = {
            id_: "".join(letter if letter.isprintable() else " " for letter in self.names[id_]).strip()
            for id_ in self.ids
            if id_ in self.names
        }
        return {id_: name[:_LONGEST_NAME] for id_, name in clean.items() if name}


@dataclass(frozen=True)
class Tool:
    """A tool that a configuration can be made for.

    Attributes:
        is_for: What the configuration is, in a line.
        use: What to do with it, as a sentence; `{connection}` stands for the connection's name.
        write: Makes it.
        needs_app_secret: Whether the app's secret is part of it.
        comments: Whether the advertisers' names are in it.
        needs_ids: Whether it is of no use without the advertisers' ids.
        holds_token: Whether the access token is in it.
    """

    is_for: str
    use: str
    write: Callable[[Material], str]
    needs_app_secret: bool = False
    comments: bool = False
    needs_ids: bool = False
    holds_token: bool = True


def notes(tool: Tool, material: Material) -> Iterator[str]:
    """What a person should know about a configuration, a line each; nothing of it is secret."""
    grant = material.grant
    yield tool.use.format(connection=grant.connection)
    if tool.holds_token:
        held = "the access token and the app's secret" if tool.needs_app_secret else "the access token"
        yield f"It holds {held}: keep it out of version control, and let nobody else read it."
    if tool.holds_token and grant.expires_at:
        yield (
            f"The token in it ends at {clock.text(grant.expires_at)}, and the keeper replaces it before: print this "
            "anew before every job."
        )
    if tool.needs_ids and grant.advertiser_ids is None:
        yield (
            f"{grant.connection} has {grant.advertiser_count} ad accounts, too many to be stored, so none is in it: "
            "fill in those that it is about. TikTok lists all of them: GET /oauth2/advertiser/get/ with app_id, secret "
            "and the token."
        )
    if not tool.comments:
        yield from (f"{id_} {name}" for id_, name in material.named.items())


# --- one function a tool ---


def _airbyte(material: Material) -> str:
    """By the specification of source-tiktok-marketing: without `advertiser_id` it loads all ad accounts."""
    grant = material.grant
    credentials = {
        "auth_type": "oauth2.0",
        "app_id": grant.app_id,
        "secret": material.app_secret.reveal(),
        "access_token": grant.access_token.reveal(),
    }
    return _json({"credentials": credentials, "start_date": material.since.isoformat()})


def _airbyte_terraform(material: Material) -> str:
    """For the provider airbytehq/airbyte from 1.0 on. Terraform reads the token itself, so none is in the text."""
    name, label = material.grant.connection, f"tiktok-{material.grant.connection}"  # a label begins with a letter
    return f"""\
{_comments(material)}variable "airbyte_workspace_id" {{
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
      access_token = jsondecode(data.google_secret_manager_secret_version_access.{label}.secret_data).access_token
    }}
    start_date = "{material.since.isoformat()}"
  }})
}}
"""


def _airflow(material: Material) -> str:
    """For `airflow variables import`: what the secrets backend of `infra/readers/airflow.md` would find."""
    return _json({material.grant.connection: json.loads(material.grant.token_payload())})


def _dlt(material: Material) -> str:
    """TOML, for `.dlt/secrets.toml`. JSON's strings and lists are TOML's, where all is printable ASCII."""
    return (
        f"{_comments(material)}[sources.tiktok_ads]\n"
        f"access_token = {json.dumps(material.grant.access_token.reveal())}\n"
        f"advertiser_ids = {json.dumps(list(material.ids))}\n"
    )


def _env(material: Material) -> str:
    """For `eval` or `source` in a POSIX shell."""
    grant = material.grant
    values = {
        "TIKTOK_ACCESS_TOKEN": grant.access_token.reveal(),
        "TIKTOK_ADVERTISER_IDS": ",".join(material.ids),
        "TIKTOK_APP_ID": grant.app_id,
        "TIKTOK_TOKEN_EXPIRES_AT": clock.text(grant.expires_at) if grant.expires_at else "",
    }
    lines = (f"export {name}={shlex.quote(value)}\n" for name, value in values.items())
    return _comments(material) + "".join(lines)


def _ingestr(material: Material) -> str:
    """The address of a source, for `--source-uri` or `SOURCE_URI`."""
    token = material.grant.access_token.reveal()
    query = urlencode({"access_token": token, "advertiser_ids": ",".join(material.ids)}, safe=",")
    return f"tiktok://?{query}\n"


def _plain(material: Material) -> str:
    """The stored payload, with the advertisers' names beside it."""
    return _json({**json.loads(material.grant.token_payload()), "advertiser_names": material.named})


def _meltano(material: Material) -> str:
    """For the file `.env` of a Meltano project with singer-io's tap-tiktok-ads."""
    values = {
        "TAP_TIKTOK_ADS_ACCESS_TOKEN": material.grant.access_token.reveal(),
        "TAP_TIKTOK_ADS_ACCOUNTS": ",".join(material.ids),
        "TAP_TIKTOK_ADS_START_DATE": _midnight(material.since),
    }
    return _comments(material) + "".join(f"{name}={_dotenv(value)}\n" for name, value in values.items())


def _owox(material: Material) -> str:
    """The fields of OWOX's connector, in the form in which it stores them."""
    oauth = {
        "AccessToken": material.grant.access_token.reveal(),
        "AppId": material.grant.app_id,
        "AppSecret": material.app_secret.reveal(),
    }
    return _json({"AuthType": {"oauth2": oauth}, "AdvertiserIDs": ",".join(material.ids)})


def _tap(material: Material) -> str:
    """The `--config` of singer-io's tap-tiktok-ads, with all the keys that it requires."""
    return _json(
        {
            "access_token": material.grant.access_token.reveal(),
            "accounts": ",".join(material.ids),
            "start_date": _midnight(material.since),
        }
    )


TOOLS: Mapping[str, Tool] = {
    "airbyte": Tool(
        "config of Airbyte's source-tiktok-marketing, as JSON",
        "Give it to Airbyte's API as the source's configuration, or to the connector with --config. Add an "
        "advertiser_id to its credentials for a source of that one alone: then the connector does not send the app's "
        "secret, which it prints where listing the advertisers fails.",
        _airbyte,
        needs_app_secret=True,
    ),
    "airbyte-terraform": Tool(
        "a source for Airbyte's Terraform provider, which reads the token at each apply",
        "Set airbyte_workspace_id and tiktok_app_secret; terraform apply then reads the newest token.",
        _airbyte_terraform,
        comments=True,
        holds_token=False,
    ),
    "airflow": Tool(
        "a variable, as JSON for `airflow variables import`",
        "Import it with airflow variables import FILE. With Google's secrets backend none of it is needed.",
        _airflow,
        needs_ids=True,
    ),
    "dlt": Tool(
        "a section of dlt's secrets.toml",
        "Add it to .dlt/secrets.toml.",
        _dlt,
        comments=True,
        needs_ids=True,
    ),
    "env": Tool(
        "variables for a shell: TIKTOK_ACCESS_TOKEN and more",
        'Take it over with eval "$(make -s config CONNECTION={connection} FOR=env)".',
        _env,
        comments=True,
        needs_ids=True,
    ),
    "ingestr": Tool(
        "address of a source for ingestr",
        "Put it into SOURCE_URI, not on a command line, which all on a machine can see. TikTok reports on five "
        "accounts at a time: with more, name those that it is about.",
        _ingestr,
        needs_ids=True,
    ),
    "json": Tool(
        "the stored token and the advertisers' names, as JSON",
        "Take from it what is needed.",
        _plain,
        needs_ids=True,
    ),
    "meltano": Tool(
        "the file .env of a Meltano project with tap-tiktok-ads",
        "Add it to the file .env beside meltano.yml.",
        _meltano,
        comments=True,
        needs_ids=True,
    ),
    "owox": Tool(
        "the fields of the TikTok connector of OWOX Data Marts, as JSON",
        "Paste the values into the form of the same names, or hand it to OWOX's API.",
        _owox,
        needs_app_secret=True,
        needs_ids=True,
    ),
    "tap-tiktok-ads": Tool(
        "config of singer-io's tap-tiktok-ads, as JSON",
        "Give it to the tap with --config.",
        _tap,
        needs_ids=True,
    ),
}
"""By name, as `--for` takes it."""


def _json(document: object) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _comments(material: Material) -> str:
    return "".join(f"# {id_} {name}\n" for id_, name in material.named.items())


def _dotenv(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _midnight(day: date) -> str:
    return f"{day.isoformat()}T00:00:00Z"
