"""Looks whether everything is there that the token keeper needs, and says what to do where it is not."""

from __future__ import annotations

import email.utils
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Literal

import requests

from tokenkeeper import clock, log, settings
from tokenkeeper.clock import Deadline
from tokenkeeper.errors import (
    KeeperError,
    Kind,
    SettingsError,
    TikTokRefused,
    TikTokUnreachable,
    VaultError,
    VaultForbidden,
)
from tokenkeeper.secrecy import Secret
from tokenkeeper.settings import Needs
from tokenkeeper.status import RUN_IS_LATE, ago, last_run, overview
from tokenkeeper.target import Target
from tokenkeeper.tiktok import TikTok
from tokenkeeper.vault import Inventory, Vault

Verdict = Literal["ok", "problem", "unknown"]

REQUIRED = ("TIKTOK_APP_ID", "TIKTOK_APP_SECRET", "LINK_SIGNING_KEYS", "PUBLIC_URL")
_HIDDEN = {"TIKTOK_APP_SECRET", "LINK_SIGNING_KEYS"}
_ALL = Needs.STORE | Needs.APP | Needs.LINKS | Needs.CALLBACK | Needs.RUN
_FOR_COMMANDS = {
    "secretmanager.versions.access": "make token",
    "secretmanager.secrets.get": "make token",
    "secretmanager.secrets.update": "make disconnect",
    "secretmanager.secrets.delete": "make disconnect",
}
_CLOCK_IS_OFF = 60.0  # seconds
_SECONDS = 10.0
_NO_TOKEN = Secret("0" * 40)  # of the form that TikTok's tokens have, and certainly none
_ABOUT = "TikTok Ads connections"  # what connect shows at its address


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one check: what was looked at, how it is, and what there is to say or to do."""

    thing: str
    verdict: Verdict
    text: str


class Doctor:
    """All checks, for one place."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._environment = dict(target.place.environment)
        self._clock: datetime | None = None
        log.silence_libraries()

    def findings(self) -> Iterator[Finding]:
        """One after the other, as they are found."""
        yield from self._settings()
        yield from self._secret_manager()
        yield self._credentials()
        yield self._public_address()
        yield self._time()
        if self._target.refresh_url:
            yield self._refresh_is_private()

    # --- settings ---

    def _settings(self) -> Iterator[Finding]:
        unread: dict[str, str] = {}
        for name in _HIDDEN:
            if not self._environment.get(name) and self._environment.get(f"{name}_SECRET"):
                try:
                    self._environment[name] = self._target.kept_as_secret(name)
                except KeeperError as error:
                    unread[name] = f"{error} Ask for roles/secretmanager.secretAccessor on that secret."
        for name, problem in settings.survey(_ALL, self._environment).items():
            value = self._environment.get(name, "")
            if name in unread:
                yield Finding(name, "unknown", unread[name])
            elif problem:
                yield Finding(name, "problem", problem)
            elif value or name in REQUIRED:
                yield Finding(name, "ok", self._shown(name, value))

    @staticmethod
    def _shown(name: str, value: str) -> str:
        if name not in _HIDDEN:
            return value
        return "set, fingerprint " + ", ".join(Secret(part).fingerprint for part in value.split())

    # --- Secret Manager ---

    @cached_property
    def _vault(self) -> Vault:
        return self._target.vault()

    def _secret_manager(self) -> Iterator[Finding]:
        thing = "Secret Manager"
        try:
            inventory = self._vault.inventory(Deadline(_SECONDS))
            project = self._vault.secrets.project
        except VaultForbidden as error:
            project = self._environment.get("GOOGLE_CLOUD_PROJECT", "PROJECT")
            yield Finding(
                thing,
                "problem",
                f"{error} Enable it (gcloud services enable secretmanager.googleapis.com --project={project}), and ask "
                "for roles/secretmanager.viewer.",
            )
            return
        except (VaultError, SettingsError) as error:
            yield Finding(thing, "problem", str(error))
            return
        number = len(inventory.connections)
        yield Finding(thing, "ok", f"answers; {number} connection{'' if number == 1 else 's'} in project {project}")
        yield self._permissions(inventory)
        yield self._runs(inventory)

    def _permissions(self, inventory: Inventory) -> Finding:
        thing = "your permissions"
        if not inventory.connections:
            return Finding(thing, "ok", "secrets may be listed; the others are asked for once there is a connection")
        secret_id = self._vault.token_id(min(inventory.connections))
        try:
            held = self._vault.secrets.permitted(secret_id, list(_FOR_COMMANDS), Deadline(_SECONDS))
        except VaultError as error:
            return Finding(thing, "unknown", str(error))
        missing = [f"{name} ({command})" for name, command in _FOR_COMMANDS.items() if name not in held]
        if missing:
            return Finding(thing, "problem", "ask for " + ", ".join(missing))
        return Finding(thing, "ok", "secrets may be listed, read, changed and deleted")

    def _runs(self, inventory: Inventory) -> Finding:
        thing = "runs"
        now = clock.now()
        scheduled = self._target.place.name == "cloud"
        run = last_run(inventory.last_run)
        if overview(inventory, now, scheduled=scheduled).run_is_late:
            return Finding(
                thing,
                "problem",
                f"none for more than {RUN_IS_LATE.total_seconds() / 3600:.0f} hours: look at the job in Cloud "
                "Scheduler, and at the log of refresh",
            )
        if run is None:
            return Finding(thing, "ok", "none yet" if scheduled else "none yet; make refresh makes one")
        return Finding(thing, "ok", f"the last one ended {ago(run.finished, now)}")

    # --- TikTok ---

    def _credentials(self) -> Finding:
        """Asks TikTok to refresh a token that does not exist: it says whether it knows the app before it says no."""
        thing = "the app at TikTok"
        try:
            chosen = settings.read(Needs.STORE | Needs.APP, self._environment)
            TikTok(chosen.api_url, chosen.app_id, chosen.app_secret).refresh(_NO_TOKEN, _SECONDS)
        except SettingsError:
            return Finding(thing, "unknown", "not asked: the settings above come first")
        except TikTokRefused as error:
            return _judged(thing, error)
        except TikTokUnreachable as error:
            return Finding(thing, "problem", f"{error}: check the network, and TIKTOK_API_URL if it is set")
        except KeeperError as error:
            return Finding(thing, "unknown", f"{error}: try again in a minute")
        return Finding(thing, "unknown", "TikTok gave a token for none, which makes no sense")

    # --- addresses and time ---

    def _public_address(self) -> Finding:
        thing = "the redirect URL"
        try:
            url = settings.read(Needs.STORE | Needs.LINKS, self._environment).public_url
        except SettingsError:
            url = self._environment.get("PUBLIC_URL", "")
            if not url or settings.survey(Needs.LINKS, self._environment).get("PUBLIC_URL"):
                return Finding(thing, "unknown", "not asked: the settings above come first")
        answer = self._get(url)
        if answer is None:
            running = "start it with make run" if self._target.place.name == "local" else "see whether it is deployed"
            return Finding(thing, "problem", f"connect does not answer at {url}: {running}")
        if answer.is_redirect:
            return Finding(
                thing,
                "problem",
                f"{url} leads to another address: register the one it leads to, and set PUBLIC_URL to that",
            )
        if answer.status_code != 200 or _ABOUT not in answer.text[:10_000]:
            return Finding(
                thing,
                "problem",
                f"something else than connect answers at {url} (HTTP {answer.status_code}): correct PUBLIC_URL, or "
                "what stands in front of the function",
            )
        return Finding(thing, "ok", f"connect answers; with TikTok, exactly this is to be registered: {url}")

    def _time(self) -> Finding:
        thing = "the clock"
        if self._clock is None:
            self._get(self._environment.get("TIKTOK_API_URL") or settings.API_URL)
        if self._clock is None:
            return Finding(thing, "unknown", "nobody answered who would have told the time")
        off = (clock.now() - self._clock).total_seconds()
        if abs(off) <= _CLOCK_IS_OFF:
            return Finding(thing, "ok", "agrees with the others'")
        return Finding(
            thing,
            "problem",
            f"is {abs(off):.0f} seconds {'fast' if off > 0 else 'slow'}: let it be set over the network, since links "
            "and tokens have dates",
        )

    def _refresh_is_private(self) -> Finding:
        thing = "refresh"
        answer = self._get(self._target.refresh_url)
        if answer is None:
            return Finding(thing, "problem", "does not answer: see whether it is deployed, and check REFRESH_URL")
        if answer.status_code in {401, 403}:
            return Finding(thing, "ok", "answers nobody but those that IAM lets in")
        return Finding(
            thing,
            "problem",
            f"answers anybody (HTTP {answer.status_code}): take roles/run.invoker away from allUsers on its service",
        )

    def _get(self, url: str) -> requests.Response | None:
        try:
            with requests.Session() as session:
                session.trust_env = url.startswith("https:")  # no proxy between here and this machine
                answer = session.get(url, timeout=_SECONDS, allow_redirects=False)
        except requests.exceptions.RequestException:
            return None
        date = email.utils.parsedate_tz(answer.headers.get("Date", ""))
        if date:
            self._clock = clock.from_milliseconds(int(email.utils.mktime_tz(date) * 1000))
        return answer


def _judged(thing: str, error: TikTokRefused) -> Finding:
    if error.kind in {Kind.PERSON, Kind.EXPIRED, Kind.RESTART}:
        return Finding(thing, "ok", "TikTok knows the app id and the app secret")
    if error.kind is Kind.OURS:
        return Finding(thing, "problem", f"{error}: {_WRONG_APP.get(error.code, _OTHER_WRONG_APP)}")
    return Finding(thing, "unknown", f"{error}, which says nothing about the app: try again in a minute")


_OTHER_WRONG_APP = "look at the app's state in TikTok's portal"
_WRONG_APP: Mapping[int, str] = {
    40101: "TIKTOK_APP_SECRET does not belong to TIKTOK_APP_ID; copy both from the app's page in TikTok's portal again",
    -1: "TikTok does not serve callers from this country; call from elsewhere",
    41000: "TikTok does not serve callers from this country; call from elsewhere",
}
