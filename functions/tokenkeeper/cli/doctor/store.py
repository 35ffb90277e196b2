"""Checks Secret Manager: whether it answers, what this identity may do there, and the last run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from tokenkeeper import clock
from tokenkeeper.cli.context import Context
from tokenkeeper.cli.doctor.finding import CALL_SECONDS, NOT_CHECKED, Finding
from tokenkeeper.cli.overview import RUN_IS_LATE, ago, overview
from tokenkeeper.cli.show import number_of
from tokenkeeper.clock import Deadline
from tokenkeeper.connection import base_labels
from tokenkeeper.errors import (
    Cause,
    SecretExists,
    SecretMissing,
    SettingsError,
    StoreError,
    StoreForbidden,
    StoreUnavailable,
)
from tokenkeeper.settings import Needs
from tokenkeeper.store.secretmanager import SecretManager
from tokenkeeper.store.vault import Inventory, Vault

_FOR_COMMANDS = {
    "secretmanager.versions.access": "make token",
    "secretmanager.secrets.get": "make token",
    "secretmanager.secrets.update": "make disconnect",
    "secretmanager.secrets.delete": "make disconnect",
}


def secret_manager(context: Context) -> Iterator[Finding]:
    """Whether it answers, and, if it does, all else."""
    thing = "Secret Manager"
    try:
        vault = context.vault()
        inventory = vault.inventory(Deadline(CALL_SECONDS))
        text = f"answers; {number_of(len(inventory.connections), 'connection')} in project {vault.project}"
    except (StoreError, SettingsError) as error:
        lacking = isinstance(error, StoreForbidden) and error.reason.cause is Cause.ROLE
        role = " Listing takes roles/secretmanager.viewer." if lacking else ""
        yield Finding(thing, "problem", f"{error}{role}")
        return
    yield Finding(thing, "ok", text)
    if inventory.connections:
        yield _permissions(vault, min(inventory.connections))
    else:
        yield _creation(context)
    yield _runs(inventory, scheduled=context.place == "cloud")


def _permissions(vault: Vault, name: str) -> Finding:
    thing = "your permissions"
    try:
        held = vault.permissions(vault.token_id(name), list(_FOR_COMMANDS), Deadline(CALL_SECONDS))
    except StoreError as error:
        return Finding(thing, "unknown", str(error))
    missing = [f"{permission} ({command})" for permission, command in _FOR_COMMANDS.items() if permission not in held]
    if missing:
        return Finding(thing, "problem", "ask for " + ", ".join(missing))
    return Finding(thing, "ok", "secrets may be listed, read, changed and deleted")


def _creation(context: Context) -> Finding:
    """Tries whether a secret may be created, before there is a connection: creates one and deletes it."""
    thing = "a new secret"
    try:
        chosen = context.settings(Needs.STORE | Needs.CALLBACK)
    except SettingsError:
        return Finding(thing, "unknown", NOT_CHECKED)
    secrets = SecretManager(chosen.project, chosen.emulator_host, chosen.secret_locations, chosen.secret_kms_key)
    secret_id = f"{chosen.secret_prefix}-doctor"
    created = ""
    try:
        with suppress(SecretExists):  # left there by a doctor that was cut off
            secrets.create(secret_id, base_labels("doctor"), {}, Deadline(CALL_SECONDS))
        created = f"can be created, and {secret_id} could not be deleted again: "
        with suppress(SecretMissing):
            secrets.delete(secret_id, "", Deadline(CALL_SECONDS))
    except StoreError as error:
        away = isinstance(error, StoreUnavailable) and not created
        return Finding(thing, "unknown" if away else "problem", f"{created}{error}")
    text = f"can be created by you ({secret_id} was, and is deleted); connect has a role of its own"
    return Finding(thing, "ok", text)


def _runs(inventory: Inventory, *, scheduled: bool) -> Finding:
    now = clock.now()
    found = overview(inventory, now, scheduled=scheduled)
    if found.run_is_late:
        hours = f"{RUN_IS_LATE.total_seconds() / 3600:.0f} hours"
        text = f"none for more than {hours}: see the job in Cloud Scheduler, and the log of refresh"
        return Finding("runs", "problem", text)
    if found.last_run:
        return Finding("runs", "ok", f"the last one ended {ago(found.last_run.finished, now)}")
    return Finding("runs", "ok", "none yet" if scheduled else "none yet; make refresh makes one")
