"""All checks in their order."""

from __future__ import annotations

from collections.abc import Iterator

from tokenkeeper import log
from tokenkeeper.cli.context import Context
from tokenkeeper.cli.doctor import addresses, deployment, network, setup, store, tiktok
from tokenkeeper.cli.doctor.finding import Finding


def findings(context: Context) -> Iterator[Finding]:
    """What each check finds, one after the other."""
    log.silence_libraries()
    subject = setup.subject(context)
    yield from setup.settings_found(subject)
    yield from network.ways_out(subject)
    yield from store.secret_manager(subject)
    yield tiktok.credentials(subject)
    yield from addresses.redirect_urls(subject)
    yield from tiktok.accounts(subject)
    yield network.this_clock(subject)
    yield from deployment.functions(subject)
