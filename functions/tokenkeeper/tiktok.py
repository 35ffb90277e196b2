"""The TikTok Business API as far as the token keeper uses it: the calls, their answers, the meaning of its codes.

Source: "TikTok API for Business", Authentication and Appendix (return codes), version 1.3. It knows nothing of Secret
Manager.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from tokenkeeper import grant
from tokenkeeper.errors import Kind, TikTokRefused, TikTokSilent
from tokenkeeper.grant import Handout
from tokenkeeper.secrecy import Secret

if TYPE_CHECKING:
    from tokenkeeper.transport import Answer, Transport

CALL_SECONDS = 25.0  # the most that one call may take
LONGEST_NAME = 100  # characters
SUCCESSES = {0, 20001}  # 20001: done in part
PERMISSIONS = {
    "Read Ad Account Information": (100, 10, 1),
    "Read Campaigns": (200, 20, 2),
    "Read Ad Groups": (210, 21, 2),
    "Read Ads": (220, 22, 2),
    "Read Custom Audiences": (30, 3),
    "Reporting": (4, 40, 41, 42, 43, 44, 7043626160646815746, 7231011733974859777),
}
"""The permissions to ask for, each with the ids that stand for it: its own, or one that contains it."""

_KINDS = {
    **dict.fromkeys((40100, 40016, 40132, 40133, 61000), Kind.THROTTLED),
    **dict.fromkeys((40101, 40113, 40108, 40118, 40119, 40124, 40125, -1, 41000), Kind.OURS),
    **dict.fromkeys((40105, 40106, 40103, 40107), Kind.PERSON),
    **dict.fromkeys((40110, 40115), Kind.RESTART),
    40001: Kind.PERMISSION,
    40102: Kind.EXPIRED,
}
_OTHER_APP = "app_id is inconsistent"


@dataclass(frozen=True, slots=True)
class Advertiser:
    """An ad account.

    Attributes:
        id: Its id.
        name: Its name, fit to be shown in a line; empty where TikTok tells none.
    """

    id: str
    name: str


class TikTok:
    """One developer app's view of the API. One instance serves many threads.

    Every method may raise `TikTokRefused`, `TikTokUnreachable` or `TikTokSilent`.
    """

    def __init__(self, api_url: str, app_id: str, app_secret: Secret) -> None:
        """Set up; nothing is called yet.

        Args:
            api_url: Base of the API, without a slash at the end.
            app_id: The app's id.
            app_secret: Its secret. In a body wherever TikTok allows that; where it must be in an address, that
                address is in no log and no exception.
        """
        self._api_url = api_url
        self._app_id = app_id
        self._app_secret = app_secret

    @cached_property
    def _transport(self) -> Transport:
        from tokenkeeper.transport import Transport  # slow to import, and a start need not wait for it

        return Transport()

    def exchange(self, code: Secret, seconds: float = CALL_SECONDS) -> Handout:
        """Exchange an authorization code. It is sent once: TikTok takes it once."""
        body = self._app | {"auth_code": code.reveal()}
        return _handout(self._post("/oauth2/access_token/", body, seconds, fresh=True))

    def refresh(self, refresh_token: Secret, seconds: float = CALL_SECONDS) -> Handout:
        """Spend a refresh token. Access and refresh token of the answer are both new."""
        body = self._app | {"grant_type": "refresh_token", "refresh_token": refresh_token.reveal()}
        return _handout(self._post("/oauth2/refresh_token/", body, seconds))

    def revoke(self, access_token: Secret, seconds: float = CALL_SECONDS) -> None:
        """Make a token worthless, and the grant it belongs to."""
        self._post("/oauth2/revoke_token/", self._app | {"access_token": access_token.reveal()}, seconds)

    def advertisers(self, access_token: Secret, seconds: float = CALL_SECONDS) -> tuple[Advertiser, ...]:
        """The ad accounts that a token reaches now. Needs the permission Read Ad Account Information."""
        data = self._get("/oauth2/advertiser/get/", self._app, access_token, seconds)
        found = data.get("list")
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            raise TikTokSilent("TikTok's answer holds no list of advertisers")
        ids = grant.advertiser_ids([item.get("advertiser_id") for item in found])
        if ids is None:
            raise TikTokSilent("TikTok's list of advertisers holds something that is no id")
        names = {str(item["advertiser_id"]): item.get("advertiser_name") for item in found}
        return tuple(Advertiser(id_, _name(names[id_])) for id_ in ids)

    def check_alive(self, access_token: Secret, seconds: float = CALL_SECONDS) -> None:
        """Ask for the user behind a token, which needs no permission: it is refused only if the token is dead."""
        self._get("/user/info/", {}, access_token, seconds)

    @property
    def _app(self) -> dict[str, str]:
        return {"app_id": self._app_id, "secret": self._app_secret.reveal()}

    def _post(self, path: str, body: Mapping[str, str], seconds: float, *, fresh: bool = False) -> Mapping[str, Any]:
        return _data(self._transport.post(self._api_url + path, body, seconds, fresh=fresh))

    def _get(self, path: str, query: Mapping[str, str], access_token: Secret, seconds: float) -> Mapping[str, Any]:
        headers = {"Access-Token": access_token.reveal()}
        return _data(self._transport.get(self._api_url + path, query, headers, seconds))


def names_of(found: Iterable[Advertiser], ids: Sequence[str] | None) -> Mapping[str, str]:
    """The names by id of the ad accounts that have one.

    Args:
        found: What TikTok listed, in an order that may change from call to call.
        ids: Those that count, in their order; None: all, by id.
    """
    named = {advertiser.id: advertiser.name for advertiser in found if advertiser.name}
    return {id_: named[id_] for id_ in ids or sorted(named) if id_ in named}


def consent_address(authorize_url: str, app_id: str, state: str, redirect_url: str) -> str:
    """Where the approver is sent to."""
    return f"{authorize_url}?{urlencode({'app_id': app_id, 'state': state, 'redirect_uri': redirect_url})}"


def missing_permissions(scope: tuple[int, ...]) -> tuple[str, ...]:
    """The permissions that a grant lacks, by name; ids in it that no list documents do not matter."""
    return tuple(name for name, ids in PERMISSIONS.items() if not set(ids) & set(scope))


def _kind(code: int, message: str) -> Kind:
    if code == 40000 and _OTHER_APP in message:
        return Kind.PERSON
    return _KINDS.get(code, Kind.PASSING)


def _data(answer: Answer) -> Mapping[str, Any]:
    document = answer.document
    if answer.status == 429:
        raise TikTokRefused(Kind.THROTTLED, 429, _request_id(document))
    if answer.status >= 300 and (answer.status < 400 or answer.status >= 500):
        raise TikTokSilent(f"TikTok answered with HTTP {answer.status}", _request_id(document))
    code = _integer(None if document is None else document.get("code"))
    if document is None or code is None:
        raise TikTokSilent(f"TikTok's answer (HTTP {answer.status}) is not its JSON")
    if code not in SUCCESSES:
        raise TikTokRefused(_kind(code, str(document.get("message", ""))), code, _request_id(document))
    data = document.get("data")
    if not isinstance(data, dict):
        raise TikTokSilent("TikTok's answer says that all is well and holds no data", _request_id(document))
    return {**data, "request_id": _request_id(document)}


def _handout(data: Mapping[str, Any]) -> Handout:
    access_token = _token(data.get("access_token"))
    if access_token is None:
        raise TikTokSilent("TikTok's answer says that all is well and holds no usable token", data["request_id"])
    return Handout(
        access_token=access_token,
        refresh_token=_token(data.get("refresh_token")),
        expires_in=grant.lifetime(data.get("expires_in")),
        refresh_expires_in=grant.lifetime(data.get("refresh_token_expires_in")),
        advertiser_ids=grant.advertiser_ids(data.get("advertiser_ids")),
        scope=grant.permission_ids(data.get("scope")),
    )


def _token(value: object) -> Secret | None:
    usable = isinstance(value, str) and 0 < len(value) <= 4096 and value.isascii() and value.isprintable()
    return Secret(value) if usable and isinstance(value, str) and " " not in value else None


def _name(value: object) -> str:
    words = " ".join(value.split()) if isinstance(value, str) else ""
    printable = words if words.isprintable() else "".join(filter(str.isprintable, words))
    return printable[:LONGEST_NAME]


def _integer(value: object) -> int | None:
    if isinstance(value, str) and len(value) < 20 and value.lstrip("-").isascii() and value.lstrip("-").isdigit():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _request_id(document: Mapping[str, Any] | None) -> str:
    value = None if document is None else document.get("request_id")
    return value if isinstance(value, str) and value.isascii() and value.isalnum() and len(value) <= 64 else ""
