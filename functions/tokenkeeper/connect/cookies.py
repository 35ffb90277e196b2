"""The cookies of `connect`: one for each flow that a browser has begun, and one for each result that it may look at."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from typing import NamedTuple

from flask import Request, Response

from tokenkeeper import clock
from tokenkeeper.connect.links import STATE_LIFE, Link, Signer, State, flow_prefix
from tokenkeeper.grant import Family
from tokenkeeper.secret import Secret

_MOST_FLOWS = 8  # flows that one browser may have open; their cookies share 8 KB of header with the results
_MOST_RESULTS = 2
_LARGEST_RESULT = 2500  # characters
_SECONDS = int(STATE_LIFE.total_seconds())
_RESULT = "result-"
_FLOW = re.compile(r"[0-9a-f]{8}", re.ASCII)
_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}", re.ASCII)


class Result(NamedTuple):
    """What the result page shows of one connection."""

    connection: str
    family: Family = "advertiser"  # what was authorized
    # id and name of as many of its ad accounts as there was room for; the name may be empty
    advertisers: Sequence[tuple[str, str]] = ()
    number: int = 0  # how many there are
    username: str = ""  # the TikTok account's name, for the family `account`; empty where TikTok did not tell it
    again: bool = False  # whether the connection existed before
    missing: Sequence[str] = ()  # names of permissions that were not granted
    ends: str = ""  # the day when the access ends and cannot be renewed, or empty
    flow: str = ""  # the flow that made it; empty for the portal's own link
    at: int = 0  # when, in milliseconds since 1970


class Cookies:
    """Reads and sets them."""

    def __init__(self, signer: Signer, *, secure: bool) -> None:
        """Set up; http cannot carry the prefix and `Secure`."""
        self._signer = signer
        self._secure = secure
        self._prefix = "__Host-tk-" if secure else "tk-"

    # --- flows ---

    def begin(self, request: Request, response: Response, state: State, nonce: Secret) -> None:
        """Bind a flow to the browser; the oldest of too many flows is given up."""
        for flow in self._flows(request)[: 1 - _MOST_FLOWS]:
            self._clear(response, flow)
        self._set(response, state.flow, nonce.reveal())

    def nonce(self, request: Request, flow: str) -> str:
        """The value that binds a flow to this browser, or empty."""
        value = request.cookies.get(self._prefix + flow, "")
        return value if _NONCE.fullmatch(value) else ""

    def begun(self, request: Request, link: Link) -> str:
        """The last flow that this browser has begun with a link and not finished, or empty."""
        flows = [flow for flow in self._flows(request) if flow.startswith(flow_prefix(link))]
        return flows[-1] if flows and self.nonce(request, flows[-1]) else ""

    def _flows(self, request: Request) -> list[str]:
        """The flows that this browser has open; browsers send the oldest cookie first."""
        names = [name.removeprefix(self._prefix) for name in request.cookies if name.startswith(self._prefix)]
        return [name for name in names if _FLOW.fullmatch(name)]

    # --- results ---

    def finish(self, request: Request, response: Response, result: Result) -> None:
        """End the flow that made a result, and let the browser keep the result for a while."""
        if result.flow:
            self._clear(response, result.flow)
        for name, _ in self._kept(request)[: 1 - _MOST_RESULTS]:
            self._clear(response, name)
        kept = result._replace(at=clock.milliseconds(clock.now()))
        text = self._signer.sign_result(kept)
        while kept.advertisers and len(text) > _LARGEST_RESULT:
            kept = kept._replace(advertisers=kept.advertisers[: len(kept.advertisers) * 3 // 4])
            text = self._signer.sign_result(kept)
        self._set(response, _RESULT + secrets.token_hex(4), text)

    def results(self, request: Request) -> list[Result]:
        """The results that this browser keeps, newest first."""
        return [result for _, result in reversed(self._kept(request))]

    def finished(self, request: Request, flow: str) -> bool:
        """Whether a flow has made one of them."""
        return any(result.flow == flow for result in self.results(request))

    def _kept(self, request: Request) -> list[tuple[str, Result]]:
        """The results, oldest first, with the names of their cookies."""
        found = []
        for name, text in request.cookies.items():
            packed = self._signer.read_result(text) if name.startswith(self._prefix + _RESULT) else None
            if isinstance(packed, list) and len(packed) == len(Result._fields):
                found.append((name.removeprefix(self._prefix), Result(*packed)))  # signed by us: its parts are right
        return sorted(found, key=lambda kept: (kept[1].at, kept[0]))

    # --- setting ---

    def _set(self, response: Response, name: str, value: str, seconds: int = _SECONDS) -> None:
        name = self._prefix + name
        response.set_cookie(name, value, seconds, path="/", secure=self._secure, httponly=True, samesite="Lax")

    def _clear(self, response: Response, name: str) -> None:
        self._set(response, name, "", 0)
