"""What each of TikTok's return codes asks for: every code of TikTok's documented lists, and one that none documents."""

from tokenkeeper.errors import Kind
from tokenkeeper.tiktok.codes import SUCCESSES, kind_of

OTHER_APP = "The app_id is inconsistent with the token's app information."
KINDS = {
    Kind.THROTTLED: [40100, 40016, 40132, 40133, 61000],
    Kind.TRANSIENT: [50000, 50002, 51000, 51010, 60001, 40202, 40000, 40002, 40006, 40104, 12345],
    Kind.OPERATOR: [40101, 40113, 40108, 40124, -1, 41000],
    Kind.SUSPECT: [40118, 40119, 40125],
    Kind.REAUTHORIZE: [40105, 40106, 40103, 40107, 40131],
    Kind.EXPIRED: [40102],
    Kind.PERMISSION: [40001, 40130],
    Kind.RESTART: [40110, 40115],
}


MENTIONING_THE_APP = {40000: Kind.REAUTHORIZE, 40113: Kind.REAUTHORIZE, 50000: Kind.TRANSIENT}


def test_every_code_has_its_kind() -> None:
    """An unknown code passes by itself, as far as anybody knows; 0, and 20001 for what was done in part, are none.

    Two codes mean another app, with the message that says so; others keep their meaning whatever it is.
    """
    kinds = {code: kind for kind, listed in KINDS.items() for code in listed}
    assert {code: kind_of(code, "Parameter error") for code in kinds} == kinds
    assert {code: kind_of(code, OTHER_APP) for code in MENTIONING_THE_APP} == MENTIONING_THE_APP
    assert {0, 20001} == SUCCESSES
