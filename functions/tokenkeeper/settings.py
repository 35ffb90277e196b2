"""The settings, read once from the environment into one frozen object; nothing else reads the environment."""

from __future__ import annotations

import ipaddress
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Flag, auto
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from tokenkeeper.errors import SettingsError
from tokenkeeper.secrecy import Secret

API_URL = "https://business-api.tiktok.com/open_api/v1.3"
AUTHORIZE_URL = "https://business-api.tiktok.com/portal/auth"
SHORTEST_KEY = 32
LONGEST_PUBLIC_URL = 100  # what the field in TikTok's portal takes

CONNECTION = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
ADVERTISER_ID = re.compile(r"[0-9]{1,32}", re.ASCII)

_PREFIX = re.compile(r"[A-Za-z0-9_-]{1,100}", re.ASCII)
_PROJECT = re.compile(r"([a-z0-9.-]+:)?[a-z0-9][a-z0-9-]{0,61}", re.ASCII)
_APP_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_STATE = re.compile(r"[A-Za-z0-9._~-]{1,200}", re.ASCII)
_HOST_AND_PORT = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}", re.ASCII)


class Needs(Flag):
    """Which settings a program uses; the others are neither required nor looked at."""

    STORE = auto()
    """Where the secrets are: always needed."""
    APP = auto()
    """The developer app's credentials and TikTok's address."""
    LINKS = auto()
    """Signing keys and the public address."""
    CALLBACK = auto()
    """TikTok's consent page and the portal's own link."""
    RUN = auto()
    """Pace and budget of a run."""


CONNECT = Needs.STORE | Needs.APP | Needs.LINKS | Needs.CALLBACK
REFRESH = Needs.STORE | Needs.APP | Needs.RUN


@dataclass(frozen=True)
class Settings:
    """All settings. What a program did not ask for (see `Needs`) has its default, or is empty.

    Attributes:
        project: Project that holds the secrets; empty: the one that the credentials name.
        secret_prefix: First part of every secret's name.
        emulator_host: `host:port` of a Secret Manager endpoint without credentials, or empty: the real service.
        app_id: The TikTok developer app's id.
        app_secret: Its secret.
        link_keys: Keys that sign links and states, newest first.
        public_url: Address of `connect`, without a slash at the end.
        api_url: Base of TikTok's API, without a slash at the end.
        authorize_url: TikTok's consent page.
        max_qps: Most calls a second to TikTok.
        run_budget: Seconds after which a run starts no further connection.
        callback_budget: Seconds that a callback may take, all told.
        keep_versions: Versions of a secret that are left undestroyed.
        portal_connection: Connection that the portal's own link makes, or empty: that link is refused.
        portal_advertiser_ids: The only advertisers that the portal's own link may bring.
        portal_state: The state that the portal's own link carries.
        secret_locations: Regions that new secrets are kept in; empty: Google chooses.
        secret_kms_key: Full name of the key that new secrets are encrypted with, or empty: Google's own.
        secret_topic: Full name of the Pub/Sub topic that is told of new tokens, or empty: none.
        in_cloud: Whether this runs as a Cloud Run service.
    """

    project: str
    secret_prefix: str
    emulator_host: str
    app_id: str
    app_secret: Secret
    link_keys: tuple[Secret, ...]
    public_url: str
    api_url: str
    authorize_url: str
    max_qps: float
    run_budget: float
    callback_budget: float
    keep_versions: int
    portal_connection: str
    portal_advertiser_ids: frozenset[str]
    portal_state: str
    secret_locations: tuple[str, ...]
    secret_kms_key: str
    secret_topic: str
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
        SettingsError: one is missing or wrong.
    """
    settings = _read(_Source(environment, needs))
    _check_together(settings)
    return settings


def survey(needs: Needs, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Look at every setting that `needs` names, however many are wrong.

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
        project=source.text("GOOGLE_CLOUD_PROJECT", Needs.STORE, _project, ""),
        secret_prefix=source.text("SECRET_PREFIX", Needs.STORE, _prefix, "tiktok-ads"),
        emulator_host=source.text("SECRET_MANAGER_EMULATOR_HOST", Needs.STORE, _emulator_host, ""),
        keep_versions=int(source.number("KEEP_VERSIONS", Needs.STORE, 2, 2, 10_000, whole=True)),
        app_id=source.text("TIKTOK_APP_ID", Needs.APP, _app_id),
        app_secret=Secret(source.text("TIKTOK_APP_SECRET", Needs.APP, _app_secret)),
        api_url=source.text("TIKTOK_API_URL", Needs.APP, _address, API_URL).rstrip("/"),
        link_keys=tuple(Secret(key) for key in source.text("LINK_SIGNING_KEYS", Needs.LINKS, _link_keys).split()),
        public_url=source.text("PUBLIC_URL", Needs.LINKS, _public_url),
        authorize_url=source.text("TIKTOK_AUTHORIZE_URL", Needs.CALLBACK, _address, AUTHORIZE_URL),
        callback_budget=source.number("CALLBACK_BUDGET_SECONDS", Needs.CALLBACK, 50, 5, 3600),
        portal_connection=source.text("PORTAL_CONNECTION", Needs.CALLBACK, _connection, ""),
        portal_advertiser_ids=frozenset(
            source.text("PORTAL_ADVERTISER_IDS", Needs.CALLBACK, _advertiser_ids, "").replace(",", " ").split()
        ),
        portal_state=source.text("PORTAL_STATE", Needs.CALLBACK, _state, "your_custom_params"),
        secret_locations=tuple(
            source.text("SECRET_LOCATIONS", Needs.CALLBACK, _locations, "").replace(",", " ").split()
        ),
        secret_kms_key=source.text("SECRET_KMS_KEY", Needs.CALLBACK, _kms_key, ""),
        secret_topic=source.text("SECRET_TOPIC", Needs.CALLBACK, _topic, ""),
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
    if settings.emulator_host and settings.in_cloud and not _is_this_machine(settings.emulator_host.rpartition(":")[0]):
        raise SettingsError(
            "SECRET_MANAGER_EMULATOR_HOST is set in the cloud and names another machine, which tokens would reach "
            "unencrypted; remove the variable, and the real Secret Manager is used."
        )


class _Wrong(ValueError):
    """What is wrong with a value and what a right one looks like: the rest of a sentence that begins with its name."""


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
        except _Wrong as wrong:
            raise SettingsError(f"{name} {wrong}.") from None
        return value

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
                raise _Wrong(
                    f"is {value[:40]!r}, not {kind} from {lowest:g} to {highest:g}; write for example {default:g}"
                )

        return float(self.text(name, need, check, str(default)))


class _Survey(_Source):
    """Goes on after a wrong value, with the default in its place, and keeps what it found."""

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


def _pattern(pattern: re.Pattern[str], wrong: str) -> Callable[[str], None]:
    def check(value: str) -> None:
        if not value:
            raise _Wrong(f"is missing; {wrong.partition('; ')[2]}")
        if not pattern.fullmatch(value):
            raise _Wrong(f"is {value[:80]!r}, {wrong}")

    return check


_project = _pattern(_PROJECT, "not a Google Cloud project id; write it as the console shows it, like my-project-123")
_prefix = _pattern(_PREFIX, "not 1 to 100 letters, digits, - and _; write something like tiktok-ads")
_emulator_host = _pattern(_HOST_AND_PORT, "not host:port; write something like 127.0.0.1:8085")
_app_id = _pattern(
    _APP_ID, "not an app id; write the App ID that the app's page in TikTok's portal shows, like 7000000000000000000"
)
_connection = _pattern(
    CONNECTION, "not a connection's name (1 to 63 of a-z, 0-9 and -, no - at either end); write something like main"
)
_state = _pattern(_STATE, "not 1 to 200 of A-Z, a-z, 0-9 and . _ ~ -; write something like your_custom_params")


_kms_key = _pattern(
    re.compile(r"projects/[^/\s]+/locations/[^/\s]+/keyRings/[^/\s]+/cryptoKeys/[^/\s]+", re.ASCII),
    "not a key's full name; write it like projects/my-project/locations/global/keyRings/my-ring/cryptoKeys/my-key",
)
_topic = _pattern(
    re.compile(r"projects/[^/\s]+/topics/[^/\s]+", re.ASCII),
    "not a topic's full name; write it like projects/my-project/topics/tiktok-tokens",
)


def _locations(value: str) -> None:
    if not all(re.fullmatch(r"[a-z]+-[a-z]+[0-9]+", part.strip(), re.ASCII) for part in value.split(",")):
        raise _Wrong(f"is {value[:80]!r}, not a list of regions; write them with commas between, like europe-west1")


def _advertiser_ids(value: str) -> None:
    if not all(ADVERTISER_ID.fullmatch(part.strip()) for part in value.split(",")):
        raise _Wrong(
            f"is {value[:80]!r}, not a list of ids; write them with commas between, like "
            "7000000000000000001,7000000000000000002"
        )


def _app_secret(value: str) -> None:
    if not value:
        raise _Wrong(
            "is missing; set it to the Secret that the app's page in TikTok's portal shows, 40 letters and digits"
        )
    if not value.isascii() or not value.isprintable() or " " in value or len(value) > 256:
        raise _Wrong(
            "has spaces, line breaks or other characters that no app secret has; copy the Secret from the app's page "
            "in TikTok's portal again, 40 letters and digits"
        )


def _link_keys(value: str) -> None:
    keys = value.split()
    if not keys:
        raise _Wrong(
            f"is missing; set one random key of at least {SHORTEST_KEY} characters, as `openssl rand -hex 32` makes it"
        )
    for number, key in enumerate(keys, 1):
        if len(key) < SHORTEST_KEY:
            raise _Wrong(
                f"has {len(key)} characters in key {number} of {len(keys)}, fewer than {SHORTEST_KEY}; make a key with "
                "`openssl rand -hex 32`"
            )


def _public_url(value: str) -> None:
    example = "write the function's address as it is registered with TikTok, like https://example.com/connect"
    if not value:
        raise _Wrong(f"is missing; {example}")
    parts = _web_address(value, example)
    if len(value) > LONGEST_PUBLIC_URL:
        raise _Wrong(
            f"has {len(value)} characters, and the field in TikTok's portal takes {LONGEST_PUBLIC_URL}; use a shorter "
            "address, like https://example.com/connect"
        )
    if value.endswith("/"):
        raise _Wrong(f"ends with a slash; {example}")
    if parts.scheme == "http" and parts.hostname not in {"localhost", "127.0.0.1", "::1"}:
        raise _Wrong(f"begins with http:, which is only for localhost, 127.0.0.1 and [::1]; {example}")


def _address(value: str) -> None:
    example = f"write an address like {API_URL}"
    parts = _web_address(value, example)
    if parts.scheme == "http" and not _is_this_machine(parts.hostname or ""):
        raise _Wrong(f"begins with http: and names another machine, which would read every secret; {example}")


def _web_address(value: str, example: str) -> SplitResult:
    try:
        parts = urlsplit(value)
        port_is_fine = parts.port != 0
    except ValueError:
        raise _Wrong(f"is not a web address; {example}") from None
    if not value.startswith(("https://", "http://")) or not parts.hostname or not port_is_fine:
        raise _Wrong(f"is not an address that begins with https://; {example}")
    if parts.username is not None or parts.password is not None:
        raise _Wrong(f"has a user name or password in it; {example}")
    if "?" in value or "#" in value:
        raise _Wrong(f"has a query or a fragment; {example}")
    if not value.isascii() or not value.isprintable() or set(value) & set(" \"'<>\\;,"):
        raise _Wrong(f"has characters that no address has; {example}")
    return parts


def _is_this_machine(host: str) -> bool:
    host = host.strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def target(environment: Mapping[str, str] = os.environ) -> str:
    """The function that functions-framework is to serve: `connect` or `refresh`."""
    return environment.get("FUNCTION_TARGET", "connect")


def in_cloud(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is a Cloud Run service."""
    return bool(environment.get("K_SERVICE"))


# --- what `make run` and `make deploy` saved for the command line ---

_SAVED_IN = Path(__file__).parents[2] / ".tokenkeeper"
_SAVED_LINE = re.compile(r"([A-Z][A-Z0-9_]*)=(.*)", re.ASCII)
PLACES = ("local", "cloud")


@dataclass(frozen=True)
class Place:
    """Where the command line acts. The functions never look at this.

    Attributes:
        name: `local` (what `make run` started), `cloud` (what `make deploy` made), or empty: nothing was saved.
        environment: The environment, with the saved settings beneath it.
        replaced: Names of saved settings that the environment has another value for.
        another: Whether settings of another place are saved, too.
    """

    name: str
    environment: Mapping[str, str]
    replaced: tuple[str, ...] = ()
    another: bool = False


def place(name: str = "", environment: Mapping[str, str] = os.environ) -> Place:
    """The settings for the command line: the environment, and beneath it what is saved for a place.

    Args:
        name: `local` or `cloud`; empty: the one that was started or deployed last.
        environment: The environment. Its `TOKENKEEPER_STATE` names another folder than `.tokenkeeper` of the checkout.

    Raises:
        SettingsError: nothing is saved for the place that was named, or what is saved cannot be read.
    """
    given = {key: value for key, value in environment.items() if value.strip()}
    folder = Path(given.get("TOKENKEEPER_STATE", _SAVED_IN))
    try:
        known = [one for one in PLACES if (folder / f"{one}.env").is_file()]
        current = folder / "current"
        wanted = name or (current.read_text(encoding="utf-8").strip() if current.is_file() else "")
        lines = (folder / f"{wanted}.env").read_text(encoding="utf-8").splitlines() if wanted in known else []
    except (OSError, UnicodeDecodeError):
        raise SettingsError(
            f"The saved settings in {folder} cannot be read: remove them; `make run` and `make deploy` write them anew."
        ) from None
    if name and name not in known:
        made_by = "run" if name == "local" else "deploy"
        raise SettingsError(f"Nothing is saved for {name} yet: run `make {made_by}` first.")
    saved = {found[1]: found[2] for line in lines if (found := _SAVED_LINE.fullmatch(line))}
    if "SECRET_MANAGER_EMULATOR_HOST" in saved and "SECRET_MANAGER_EMULATOR_HOST" not in given:
        given.pop("GOOGLE_CLOUD_PROJECT", None)  # names a project at Google, and the store is not there
    return Place(
        wanted if wanted in known else "",
        {**saved, **given},
        tuple(sorted(key for key, value in saved.items() if given.get(key, value) != value)),
        another=len(known) > 1,
    )


def colour_wanted(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a terminal may be written to in colours: see no-color.org."""
    return not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"
