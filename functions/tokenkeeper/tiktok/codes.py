"""The meaning of TikTok's return codes. No I/O.

Source: "TikTok API for Business", Appendix, Return codes, version 1.3; for TikTok accounts, the Accounts API's errors.
"""

from __future__ import annotations

from tokenkeeper.errors import Kind

SUCCESSES = frozenset((0, 20001))  # 20001: done in part
CODE_USED = 40110
CODE_CANCELLED = 40115
SECRET_OR_CODE = 40101
ACCOUNT_CODE_OR_TOKEN = 40131

_KINDS = {
    **dict.fromkeys((40100, 40016, 40132, 40133, 61000), Kind.THROTTLED),
    **dict.fromkeys((40101, 40113, 40108, 40124, -1, 41000), Kind.OPERATOR),
    **dict.fromkeys((40118, 40119, 40125), Kind.SUSPECT),
    **dict.fromkeys((40105, 40106, 40103, 40107, ACCOUNT_CODE_OR_TOKEN), Kind.REAUTHORIZE),
    **dict.fromkeys((CODE_USED, CODE_CANCELLED), Kind.RESTART),
    **dict.fromkeys((40001, 40130), Kind.PERMISSION),
    40102: Kind.EXPIRED,
}
_OTHER_APP = "app_id is inconsistent"


def kind_of(code: int, message: str) -> Kind:
    """What a code, not one of `SUCCESSES`, asks for; two of them need TikTok's message to be understood.

    One that no list documents passes by itself, as far as anybody knows.
    """
    if code in {40000, 40113} and _OTHER_APP in message:
        return Kind.REAUTHORIZE
    return _KINDS.get(code, Kind.TRANSIENT)
