"""The settings, read once from the environment into one frozen object; nothing else reads the environment."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Flag, auto
from urllib.parse import urlsplit

from tokenkeeper import checks
from tokenkeeper.checks import API_URL, Invalid
from tokenkeeper.errors import SettingsError
from tokenkeeper.secret import Secret

AUTHORIZE_URL = "https://business-api.tiktok.com/portal/auth"
ACCOUNT_AUTHORIZE_URL = "https://www.tiktok.com/v2/auth/authorize"
ACCOUNT_SCOPES = "user.info.basic,user.info.profile,user.info.stats,video.list"


class Needs(Flag):
    """Which settings a program uses; the others are neither required nor looked at."""

    STORE = auto()
    """Where the secrets are: always needed."""
    APP = auto()
    """The developer app's credentials and TikTok's address."""
    LINKS = auto()
    """Signing keys and the public URL."""
    CALLBACK = auto()
    """TikTok's consent pages and the portal's own link."""
    RUN = auto()
    """Rate and budget of a run."""


CONNECT = Needs.STORE | Needs.APP | Needs.LINKS | Needs.CALLBACK
REFRESH = Needs.STORE | Needs.APP | Needs.RUN


@dataclass(frozen=True)
class Settings:
    """All settings. What a program did not ask for (see `Needs`) has its default, or is empty.

    Attributes:
        project: Project that holds the secrets; empty: the one that the credentials name.
        secret_prefix: First part of every secret's name.
        emulator_host: `host:port` of a Secret Manager endpoint without credentials, or empty: the real service.
        keep_versions: Newest versions of a secret that are not destroyed.
        app_id: The TikTok developer app's id.
        app_secret: Its secret.
        api_url: Base of TikTok's API, without a slash at the end.
        link_keys: Keys that sign links and states, newest first.
        public_url: Public URL of `connect`, without a slash at the end.
        authorize_url: TikTok's consent page for advertisers.
        account_authorize_url: TikTok's consent page for account holders.
        account_scopes: Scopes asked of account holders.
        callback_budget: Seconds that a callback may take, retries included.
        portal_connection: Connection that the portal's own link makes, or empty: that link is refused.
        portal_advertiser_ids: The only advertisers that the portal's own link may bring.
        portal_state: The state that the portal's own link carries.
        secret_locations: Regions of new secrets; empty: Google chooses.
        secret_kms_key: Full name of the key that new secrets are encrypted with, or empty: Google's own.
        max_qps: Most calls a second to TikTok.
        run_budget: Seconds after which a run starts no further connection.
        in_cloud: Whether this runs as a Cloud Run service.
    """

    project: str
    secret_prefix: str
    emulator_host: str
    keep_versions: int
    app_id: str
    app_secret: Secret
    api_url: str
    link_keys: tuple[Secret, ...]
    public_url: str
    authorize_url: str
    account_authorize_url: str
    account_scopes: tuple[str, ...]
    callback_budget: float
    portal_connection: str
    portal_advertiser_ids: frozenset[str]
    portal_state: str
    secret_locations: tuple[str, ...]
    secret_kms_key: str
    max_qps: float
    run_budget: float
    in_cloud: bool

    @property
    def public_path(self) -> str:
        """The path of `public_url`, without a slash at the end; empty for most."""
        return urlsplit(self.public_url).path

    @property
    def secure(self) -> bool:
        """Whether people reach `connect` over https."""
        return self.public_url.startswith("https:")


def read(needs: Needs, environment: Mapping[str, str] = os.environ) -> Settings:
    """Read and check the settings that `needs` names.

    Raises:
        SettingsError: one is missing or invalid.
    """
    settings = _read(_Source(environment, needs))
    _check_together(settings)
    return settings


def survey(needs: Needs, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Check every setting that `needs` names, however many are invalid.

    Returns:
        By name: what is wrong with it, as `read` would say, or an empty text.
    """
    source = _Survey(environment, needs)
    settings = _read(source)
    try:
        _check_together(settings)
    except SettingsError as error:
        name = str(error).partition(" ")[0]
        source.found[name] = source.found[name] or str(error)
    return source.found


def _read(source: _Source) -> Settings:
    return Settings(
        project=source.text("GOOGLE_CLOUD_PROJECT", Needs.STORE, checks.project, ""),
        secret_prefix=source.text("SECRET_PREFIX", Needs.STORE, checks.prefix, "tiktok-ads"),
        emulator_host=source.text("SECRET_MANAGER_EMULATOR_HOST", Needs.STORE, checks.emulator_host, ""),
        keep_versions=int(source.number("KEEP_VERSIONS", Needs.STORE, 2, 2, 10_000, whole=True)),
        app_id=source.text("TIKTOK_APP_ID", Needs.APP, checks.app_id),
        app_secret=Secret(source.text("TIKTOK_APP_SECRET", Needs.APP, checks.app_secret)),
        api_url=source.text("TIKTOK_API_URL", Needs.APP, checks.address, API_URL).rstrip("/"),
        link_keys=tuple(map(Secret, source.text("LINK_SIGNING_KEYS", Needs.LINKS, checks.link_keys).split())),
        public_url=source.text("PUBLIC_URL", Needs.LINKS, checks.public_url),
        authorize_url=source.text("TIKTOK_AUTHORIZE_URL", Needs.CALLBACK, checks.address, AUTHORIZE_URL),
        account_authorize_url=source.text(
            "TIKTOK_ACCOUNT_AUTHORIZE_URL", Needs.CALLBACK, checks.address, ACCOUNT_AUTHORIZE_URL
        ),
        account_scopes=source.list("TIKTOK_ACCOUNT_SCOPES", Needs.CALLBACK, checks.scopes, ACCOUNT_SCOPES),
        callback_budget=source.number("CALLBACK_BUDGET_SECONDS", Needs.CALLBACK, 50, 5, 3600),
        portal_connection=source.text("PORTAL_CONNECTION", Needs.CALLBACK, checks.connection, ""),
        portal_advertiser_ids=frozenset(
            source.list("PORTAL_ADVERTISER_IDS", Needs.CALLBACK, checks.advertiser_ids, "")
        ),
        portal_state=source.text("PORTAL_STATE", Needs.CALLBACK, checks.state, "your_custom_params"),
        secret_locations=source.list("SECRET_LOCATIONS", Needs.CALLBACK, checks.locations, ""),
        secret_kms_key=source.text("SECRET_KMS_KEY", Needs.CALLBACK, checks.kms_key, ""),
        max_qps=source.number("TIKTOK_MAX_QPS", Needs.RUN, 8, 0.01, 1_000_000),
        run_budget=source.number("RUN_BUDGET_SECONDS", Needs.RUN, 1500, 0, 86_400),
        in_cloud=in_cloud(source.environment),
    )


def _check_together(settings: Settings) -> None:
    if settings.portal_connection and not settings.portal_advertiser_ids:
        raise SettingsError(
            "PORTAL_ADVERTISER_IDS is missing although PORTAL_CONNECTION is set: both or neither; "
            "list the advertisers that may be connected that way, like 7000000000000000001,7000000000000000002."
        )
    if settings.portal_advertiser_ids and not settings.portal_connection:
        raise SettingsError(
            "PORTAL_CONNECTION is missing although PORTAL_ADVERTISER_IDS is set: both or neither; "
            "name the connection that the portal's link makes, like main."
        )
    if settings.secret_kms_key and len(settings.secret_locations) > 1:
        raise SettingsError(
            "SECRET_KMS_KEY is one key, and SECRET_LOCATIONS names several regions, each of which would need a key of "
            "its own; name one region, or none."
        )
    if settings.emulator_host and not settings.project:
        raise SettingsError(
            "GOOGLE_CLOUD_PROJECT is missing: with SECRET_MANAGER_EMULATOR_HOST there are no credentials that would "
            "name a project; set any project id, like my-project."
        )
    host = settings.emulator_host.rpartition(":")[0]
    if settings.emulator_host and settings.in_cloud and not checks.is_this_machine(host):
        raise SettingsError(
            "SECRET_MANAGER_EMULATOR_HOST is set in the cloud and names another machine, which tokens would reach "
            "unencrypted; remove the variable, and the real Secret Manager is used."
        )


class _Source:
    def __init__(self, environment: Mapping[str, str], needs: Needs) -> None:
        self.environment = environment
        self._needs = needs

    def text(self, name: str, need: Needs, check: Callable[[str], None], default: str | None = None) -> str:
        if need not in self._needs:
            return default or ""
        value = self.environment.get(name, "").strip()
        if not value and default is not None:
            return default
        try:
            check(value)
        except Invalid as invalid:
            raise SettingsError(f"{name} {invalid}.") from None
        return value

    def list(self, name: str, need: Needs, check: Callable[[str], None], default: str) -> tuple[str, ...]:
        return tuple(self.text(name, need, check, default).replace(",", " ").split())

    def number(
        self, name: str, need: Needs, default: float, lowest: float, highest: float, *, whole: bool = False
    ) -> float:
        def check(value: str) -> None:
            try:
                number = float(value)
            except ValueError:
                number = math.nan
            if not lowest <= number <= highest or (whole and number != int(number)):
                kind = "a whole number" if whole else "a number"
                raise Invalid(
                    f"is {value[:40]!r}, not {kind} from {lowest:g} to {highest:g}; write for example {default:g}"
                )

        return float(self.text(name, need, check, str(default)))


class _Survey(_Source):
    """Goes on after an invalid value, with the default in its place, and keeps what it found."""

    def __init__(self, environment: Mapping[str, str], needs: Needs) -> None:
        super().__init__(environment, needs)
        self.found: dict[str, str] = {}

    def text(self, name: str, need: Needs, check: Callable[[str], None], default: str | None = None) -> str:
        problem = ""
        try:
            return super().text(name, need, check, default)
        except SettingsError as error:
            problem = str(error)
            return default or ""
        finally:
            if need in self._needs:
                self.found[name] = problem


def environment() -> Mapping[str, str]:
    """The environment, for what is no setting of the functions: see `cli.context`."""
    return os.environ


def prepare_requests() -> None:
    """Have `requests`, which Google's libraries use as well, honour `SSL_CERT_FILE` and leave `.netrc` alone.

    It reads another variable for certificates than OpenSSL and curl do, and a `.netrc` would replace Google's tokens.
    """
    os.environ["NETRC"] = os.devnull
    ca_file = os.environ.get("SSL_CERT_FILE")
    if ca_file:
        os.environ.setdefault("REQUESTS_CA_BUNDLE", ca_file)


def target(environment: Mapping[str, str] = os.environ) -> str:
    """The function that functions-framework is to serve: `connect` or `refresh`."""
    return environment.get("FUNCTION_TARGET", "connect")


def in_cloud(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is a Cloud Run service."""
    return bool(environment.get("K_SERVICE"))
