"""Whether a failure is one connection's own, or everybody's: what stops a run, and what does not."""

from __future__ import annotations

import pytest

from tokenkeeper.errors import Cause, GoogleReason, Kind, StoreForbidden, TikTokRefused
from tokenkeeper.refresh.outcome import RunStopped
from tokenkeeper.refresh.shared import READING, RunContext
from tokenkeeper.store.vault import Vault
from tokenkeeper.tiktok.families import TikTok
from unit import parts
from unit.parts import NOON

EVERYBODYS = [Cause.API_DISABLED, Cause.QUOTA_PROJECT, Cause.BILLING, Cause.LOGIN, Cause.PERIMETER]


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


class TestStore:
    @pytest.mark.parametrize("cause", EVERYBODYS)
    def test_what_is_certain_to_be_everybodys_stops_the_run(self, context: RunContext, cause: Cause) -> None:
        """The sentence is Google's."""
        with pytest.raises(RunStopped, match=r"Billing is disabled\.") as stopped:
            context.forbidden("acme", StoreForbidden("Billing is disabled.", "s", GoogleReason(cause=cause)))
        assert stopped.value.reason == "store_refuses"

    @pytest.mark.parametrize("cause", [Cause.ROLE, Cause.KEY, Cause.POLICY])
    def test_a_second_connection_without_permission_means_all(self, context: RunContext, cause: Cause) -> None:
        """A role, a key or a policy may be one secret's, as long as one is known that could be read."""
        error = StoreForbidden("Permission denied.", "s", GoogleReason(cause=cause))
        context.forbidden("acme", error)
        context.stop_if_shared(READING, "None allows it.")
        context.forbidden("beta", error)
        with pytest.raises(RunStopped, match="None allows it") as stopped:
            context.stop_if_shared(READING, "None allows it.")
        assert stopped.value.reason == "may_not_read"
        context.troubles.fine.add(READING)
        context.stop_if_shared(READING, "None allows it.")
