"""The settings, read once from the environment into one frozen object; nothing else reads the environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import Flag, auto
from typing import Any, NamedTuple

from tokenkeeper import checks
from tokenkeeper.checks import API_URL, Invalid
from tokenkeeper.errors import SettingsError
from tokenkeeper.secret import Secret

AUTHORIZE_URL = "https://business-api.tiktok.com/portal/auth"
ACCOUNT_AUTHORIZE_URL = "https://www.tiktok.com/v2/auth/authorize"
ACCOUNT_SCOPES = "user.info.basic,user.info.profile,user.info.stats,video.list"


class Needs(Flag):
    """Which settings a program uses; the others are neither required nor looked at."""

    STORE = auto()  # where the secrets are: always needed
    APP = auto()  # the developer app's credentials and TikTok's address
    LINKS = auto()  # signing keys and the public URL
    CALLBACK = auto()  # TikTok's consent pages and the portal's own link
    RUN = auto()  # rate and budget of a run


CONNECT = Needs.STORE | Needs.APP | Needs.LINKS | Needs.CALLBACK
REFRESH = Needs.STORE | Needs.APP | Needs.RUN


class Setting(NamedTuple):
    """Where a field of `Settings` comes from; `default` is None for what is required."""

    variable: str
    need: Needs
    check: Callable[[str], None]
    default: str | None
    convert: Callable[[str], object]

    def problem(self, value: str) -> str:
        """What is wrong with a value, as a sentence, or an empty text."""
        try:
            if value or self.default is None:
                self.check(value)
        except Invalid as invalid:
            return f"{self.variable} {invalid}."
        return ""


def _setting(
    variable: str,
    need: Needs,
    check: Callable[[str], None],
    default: str | None = None,
    convert: Callable[[str], object] = str,
) -> Any:
    return field(metadata={"setting": Setting(variable, need, check, default, convert)})


def _number(
    variable: str, need: Needs, default: float, lowest: float, highest: float, convert: Callable[[str], float] = float
) -> Any:
    check = checks.number(lowest, highest, default, whole=convert is not float)
    return _setting(variable, need, check, f"{default:g}", convert)


def _parts(value: str) -> tuple[str, ...]:
    return tuple(value.replace(",", " ").split())


@dataclass(frozen=True)
class Settings:
    """All settings. What a program did not ask for (see `Needs`) has its default, or is empty."""

    project: str = _setting("GOOGLE_CLOUD_PROJECT", Needs.STORE, checks.project, "")
    """Project that holds the secrets; empty: the one that the credentials name."""
    secret_prefix: str = _setting("SECRET_PREFIX", Needs.STORE, checks.prefix, "tiktok-ads")
    """First part of every secret's name."""
    emulator_host: str = _setting("SECRET_MANAGER_EMULATOR_HOST", Needs.STORE, checks.emulator_host, "")
    """`host:port` of a Secret Manager endpoint without credentials; empty: the real service."""
    keep_versions: int = _number("KEEP_VERSIONS", Needs.STORE, 2, 2, 10_000, lambda text: int(float(text)))
    """Newest versions of a secret that are not destroyed."""
    app_id: str = _setting("TIKTOK_APP_ID", Needs.APP, checks.app_id)
    """The TikTok developer app's id."""
    app_secret: Secret = _setting("TIKTOK_APP_SECRET", Needs.APP, checks.app_secret, convert=Secret)  # noqa: RUF009 - a field
    """Its secret."""
    api_url: str = _setting("TIKTOK_API_URL", Needs.APP, checks.address, API_URL, lambda text: text.rstrip("/"))
    """Base of TikTok's API, without a slash at the end."""
    link_keys: tuple[Secret, ...] = _setting(
        "LINK_SIGNING_KEYS", Needs.LINKS, checks.link_keys, convert=lambda text: tuple(map(Secret, text.split()))
    )
    """Keys that sign links and states, newest first."""
    public_url: str = _setting("PUBLIC_URL", Needs.LINKS, checks.public_url)
    """Public URL of `connect`, without a slash at the end."""
    authorize_url: str = _setting("TIKTOK_AUTHORIZE_URL", Needs.CALLBACK, checks.address, AUTHORIZE_URL)
    """TikTok's consent page for advertisers."""
    account_authorize_url: str = _setting(
        "TIKTOK_ACCOUNT_AUTHORIZE_URL", Needs.CALLBACK, checks.address, ACCOUNT_AUTHORIZE_URL
    )
    """TikTok's consent page for account holders."""
    account_scopes: tuple[str, ...] = _setting(
        "TIKTOK_ACCOUNT_SCOPES", Needs.CALLBACK, checks.scopes, ACCOUNT_SCOPES, _parts
    )
    """Scopes asked of account holders."""
    callback_budget: float = _number("CALLBACK_BUDGET_SECONDS", Needs.CALLBACK, 50, 5, 3600)
    """Seconds that a callback may take, retries included."""
    portal_connection: str = _setting("PORTAL_CONNECTION", Needs.CALLBACK, checks.connection, "")
    """Connection that the portal's own link makes; empty: that link is refused."""
    portal_advertiser_ids: frozenset[str] = _setting(
        "PORTAL_ADVERTISER_IDS", Needs.CALLBACK, checks.advertiser_ids, "", lambda text: frozenset(_parts(text))
    )
    """The only advertisers that the portal's own link may bring."""
    portal_state: str = _setting("PORTAL_STATE", Needs.CALLBACK, checks.state, "your_custom_params")
    """The state that the portal's own link carries."""
    secret_locations: tuple[str, ...] = _setting("SECRET_LOCATIONS", Needs.CALLBACK, checks.locations, "", _parts)
    """Regions of new secrets; empty: Google chooses."""
    secret_kms_key: str = _setting("SECRET_KMS_KEY", Needs.CALLBACK, checks.kms_key, "")
    """Full name of the key that new secrets are encrypted with; empty: Google's own."""
    max_qps: float = _number("TIKTOK_MAX_QPS", Needs.RUN, 8, 0.01, 1_000_000)
    """Most calls a second to TikTok."""
    run_budget: float = _number("RUN_BUDGET_SECONDS", Needs.RUN, 1500, 0, 86_400)
    """Seconds after which a run starts no further connection."""
    metadata_host: str = ""
    """Google's metadata server, where that is whose credentials count; empty: those that google-auth finds."""

    @property
    def secure(self) -> bool:
        """Whether people reach `connect` over https."""
        return self.public_url.startswith("https:")


SETTINGS: Mapping[str, Setting] = {one.name: one.metadata["setting"] for one in fields(Settings) if one.metadata}


def read(needs: Needs, environment: Mapping[str, str] = os.environ) -> Settings:
    """Read and check the settings that `needs` names; raises `SettingsError` where one is missing or invalid."""
    settings, problems = _read(needs, environment)
    for problem in filter(None, problems.values()):
        raise SettingsError(problem)
    return settings


def survey(needs: Needs, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """By variable of each setting that `needs` names: what is wrong with it, as `read` would say, or an empty text."""
    return _read(needs, environment)[1]


def _read(needs: Needs, environment: Mapping[str, str]) -> tuple[Settings, dict[str, str]]:
    values: dict[str, Any] = {"metadata_host": _metadata_host(environment)}
    problems: dict[str, str] = {}
    for name, setting in SETTINGS.items():
        value = default = setting.default or ""
        if setting.need in needs:
            value = environment.get(setting.variable, "").strip() or default
            problems[setting.variable] = setting.problem(value)
        values[name] = setting.convert(default if problems.get(setting.variable) else value)
    settings = Settings(**values)
    for sentence in _wrong_together(settings, cloud=in_cloud(environment)):
        variable = sentence.partition(" ")[0]
        problems[variable] = problems[variable] or sentence
    return settings, problems


def _wrong_together(settings: Settings, *, cloud: bool) -> Iterator[str]:
    if settings.portal_connection and not settings.portal_advertiser_ids:
        yield (
            "PORTAL_ADVERTISER_IDS is missing although PORTAL_CONNECTION is set: both or neither; "
            "list the advertisers that may be connected that way, like 7000000000000000001,7000000000000000002."
        )
    if settings.portal_advertiser_ids and not settings.portal_connection:
        yield (
            "PORTAL_CONNECTION is missing although PORTAL_ADVERTISER_IDS is set: both or neither; "
            "name the connection that the portal's link makes, like main."
        )
    if settings.secret_kms_key and len(settings.secret_locations) > 1:
        yield (
            "SECRET_KMS_KEY is one key, and SECRET_LOCATIONS names several regions, each of which would need a key of "
            "its own; name one region, or none."
        )
    if settings.emulator_host and not settings.project:
        yield (
            "GOOGLE_CLOUD_PROJECT is missing: with SECRET_MANAGER_EMULATOR_HOST there are no credentials that would "
            "name a project; set any project id, like my-project."
        )
    host = settings.emulator_host.rpartition(":")[0]
    if host and cloud and not checks.is_this_machine(host):
        yield (
            "SECRET_MANAGER_EMULATOR_HOST is set in the cloud and names another machine, which tokens would reach "
            "unencrypted; remove the variable, and the real Secret Manager is used."
        )


def environment() -> Mapping[str, str]:
    """The environment, for what is no setting of the functions: see `cli.context`."""
    return os.environ


def ca_bundle() -> str:
    """The file or folder of the CAs that `requests` would use, by the environment; empty: the usual ones."""
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or ""


def prepare_requests() -> None:
    """Have `requests`, which Google's libraries use, honour `SSL_CERT_FILE` and leave `.netrc` alone.

    It reads another variable for certificates than OpenSSL and curl do, and a `.netrc` would replace Google's tokens.
    """
    os.environ["NETRC"] = os.devnull
    ca_file = os.environ.get("SSL_CERT_FILE")
    if ca_file:
        os.environ.setdefault("REQUESTS_CA_BUNDLE", ca_file)


def target() -> str:
    """The function that functions-framework is to serve: `connect` or `refresh`."""
    return os.environ.get("FUNCTION_TARGET", "connect")


def in_cloud(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is a Cloud Run service."""
    return bool(environment.get("K_SERVICE"))


def _metadata_host(environment: Mapping[str, str]) -> str:
    """A Cloud Run service runs as a service account, unless somebody gave it other credentials."""
    if not in_cloud(environment) or environment.get("GOOGLE_APPLICATION_CREDENTIALS"):
        return ""
    return environment.get("GCE_METADATA_HOST") or "metadata.google.internal"
