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


@pytest.fixture
def context() -> RunContext:
    """What the work on the connections of one run shares; nothing is called."""
    chosen = parts.read()
    return RunContext(chosen, Vault(chosen), TikTok(chosen), {}, due_by=NOON)


def refused(kind: Kind, code: int) -> TikTokRefused:
    """A refusal of TikTok's."""
    return TikTokRefused(kind, code, "R1")


class TestTikTok:
    @pytest.mark.parametrize(
        "kind", [Kind.TRANSIENT, Kind.REAUTHORIZE, Kind.PERMISSION, Kind.EXPIRED, Kind.SUSPECT, Kind.RESTART]
    )
    def test_most_refusals_are_the_connections_own(self, context: RunContext, kind: Kind) -> None:
        """Nothing is raised, so its own handling goes on."""
        context.sort_out("acme", refused(kind, 40118))

    def test_too_many_calls_are_nobodys(self, context: RunContext) -> None:
        """They are tried again and counted against none."""
        with pytest.raises(TryAgain) as again:
            context.sort_out("acme", refused(Kind.THROTTLED, 40100))
        assert (again.value.why, again.value.mark) == (Why.THROTTLED, None)

    def test_the_apps_trouble_stops_the_run(self, context: RunContext) -> None:
        """The sentence names TikTok's code and what to check."""
        with pytest.raises(RunStopped, match=r"code 40113.*TIKTOK_APP_SECRET") as stopped:
            context.sort_out("acme", refused(Kind.OPERATOR, 40113))
        assert stopped.value.reason == "app_refused"

    def test_a_suspect_code_stops_it_at_the_second_connection(self, context: RunContext) -> None:
        """The same connection twice, or another code, is not enough."""
        context.sort_out("acme", refused(Kind.SUSPECT, 40118))
        context.sort_out("acme", refused(Kind.SUSPECT, 40118))
        context.sort_out("beta", refused(Kind.SUSPECT, 40125))
        with pytest.raises(RunStopped):
            context.sort_out("beta", refused(Kind.SUSPECT, 40118))


class TestStore:
    @pytest.mark.parametrize(
        ("cause", "stops"),
        [
            (Cause.API_DISABLED, True),
            (Cause.QUOTA_PROJECT, True),
            (Cause.BILLING, True),
            (Cause.LOGIN, True),
            (Cause.PERIMETER, True),
            (Cause.ROLE, False),
            (Cause.KEY, False),
            (Cause.POLICY, False),
            (Cause.OTHER, False),
        ],
        ids=lambda value: value.name if isinstance(value, Cause) else "",
    )
    def test_what_is_certain_to_be_everybodys_stops_the_run(
        self, context: RunContext, cause: Cause, *, stops: bool
    ) -> None:
        """A role, a key or a policy may be one secret's; the sentence is Google's."""
        error = StoreForbidden("Billing is disabled.", "s", GoogleReason(cause=cause))
        if not stops:
            context.forbidden("acme", error)
            return
        with pytest.raises(RunStopped, match=r"Billing is disabled\.") as stopped:
            context.forbidden("acme", error)
        assert stopped.value.reason == "store_refuses"

    def test_a_second_connection_without_permission_means_all(self, context: RunContext) -> None:
        """As long as nobody is known whose secret could be read."""
        error = StoreForbidden("Permission denied.")
        context.forbidden("acme", error)
        context.stop_if_shared(READING, "None allows it.")
        context.forbidden("beta", error)
        with pytest.raises(RunStopped, match="None allows it") as stopped:
            context.stop_if_shared(READING, "None allows it.")
        assert stopped.value.reason == "may_not_read"

    def test_one_that_could_be_read_makes_it_their_own(self, context: RunContext) -> None:
        """Whenever in the run that was."""
        for name in ("acme", "beta", "gamma"):
            context.forbidden(name, StoreForbidden("Permission denied."))
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
