"""Whether a failure is one connection's own, or everybody's: what stops a run, and what does not."""

from __future__ import annotations

import pytest

from tokenkeeper.errors import Cause, GoogleReason, Kind, StoreForbidden, StoreRejected, TikTokRefused
from tokenkeeper.refresh.outcome import RunStopped, TryAgain, Why
from tokenkeeper.refresh.shared import ADDING, READING, RunContext
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


class TestTikTok:
    def test_too_many_calls_are_nobodys(self, context: RunContext) -> None:
        """They are tried again and counted against none; other refusals are the connection's own."""
        context.sort_out("acme", TikTokRefused(Kind.TRANSIENT, 50000, "R1"))
        with pytest.raises(TryAgain) as again:
            context.sort_out("acme", TikTokRefused(Kind.THROTTLED, 40100, "R1"))
        assert (again.value.why, again.value.mark) == (Why.THROTTLED, None)

    def test_the_apps_trouble_stops_the_run(self, context: RunContext) -> None:
        """The sentence names TikTok's code and what to check."""
        with pytest.raises(RunStopped, match=r"code 40113.*TIKTOK_APP_SECRET") as stopped:
            context.sort_out("acme", TikTokRefused(Kind.OPERATOR, 40113, "R1"))
        assert stopped.value.reason == "app_refused"

    def test_a_suspect_code_stops_it_at_the_second_connection(self, context: RunContext) -> None:
        """The same connection twice, or another code, is not enough."""
        context.sort_out("acme", TikTokRefused(Kind.SUSPECT, 40118, "R1"))
        context.sort_out("acme", TikTokRefused(Kind.SUSPECT, 40118, "R1"))
        context.sort_out("beta", TikTokRefused(Kind.SUSPECT, 40125, "R1"))
        with pytest.raises(RunStopped):
            context.sort_out("beta", TikTokRefused(Kind.SUSPECT, 40118, "R1"))


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

    def test_a_request_that_is_not_accepted_is_nobody_elses(self, context: RunContext) -> None:
        """It is about that secret's content."""
        for name in ("acme", "beta", "gamma"):
            context.forbidden(name, StoreRejected("Not accepted."))
        context.stop_if_shared(READING, "None allows it.")

    def test_one_that_may_not_add_is_enough(self, context: RunContext) -> None:
        """Before the first refresh token is used nobody else is asked."""
        context.troubles.met(ADDING, "acme")
        with pytest.raises(RunStopped) as stopped:
            context.stop_if_shared(ADDING, "None allows it.")
        assert stopped.value.reason == "may_not_add"
