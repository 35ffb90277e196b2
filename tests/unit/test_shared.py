"""Whether a failure is one connection's own, or everybody's.

That a missing role stops a run at the second connection, or not at all, is proved in `reliability`.
"""

import pytest

from tokenkeeper.errors import Cause, GoogleReason, Kind, StoreForbidden, TikTokRefused
from tokenkeeper.refresh.outcome import RunStopped
from tokenkeeper.refresh.shared import RunContext
from tokenkeeper.store.vault import Vault
from tokenkeeper.tiktok.families import TikTok
from unit import parts
from unit.parts import NOON


@pytest.fixture
def context() -> RunContext:
    """What the work on the connections of one run shares; nothing is called."""
    chosen = parts.read()
    return RunContext(chosen, Vault(chosen), TikTok(chosen), {}, due_by=NOON)


def test_a_suspect_code_stops_a_run_at_the_second_connection(context: RunContext) -> None:
    """The same connection twice, or another code, is not enough; the sentence says what to check."""
    context.raise_if_shared("acme", TikTokRefused(Kind.SUSPECT, 40118, "R1"))
    context.raise_if_shared("acme", TikTokRefused(Kind.SUSPECT, 40118, "R1"))
    context.raise_if_shared("beta", TikTokRefused(Kind.SUSPECT, 40125, "R1"))
    with pytest.raises(RunStopped, match=r"code 40118.*TIKTOK_APP_SECRET"):
        context.raise_if_shared("beta", TikTokRefused(Kind.SUSPECT, 40118, "R1"))


@pytest.mark.parametrize(
    "cause", [Cause.API_DISABLED, Cause.QUOTA_PROJECT, Cause.BILLING, Cause.LOGIN, Cause.PERIMETER]
)
def test_what_is_certain_to_be_everybodys_stops_the_run(context: RunContext, cause: Cause) -> None:
    """At the first connection, with Google's sentence."""
    with pytest.raises(RunStopped, match=r"Billing is disabled\.") as stopped:
        context.forbidden("acme", StoreForbidden("Billing is disabled.", "s", GoogleReason(cause=cause)))
    assert stopped.value.reason == "store_refuses"
