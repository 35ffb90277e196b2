"""The record of the last run: annotations of a secret that has no version, so that it costs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from tokenkeeper.clock import Deadline
from tokenkeeper.connection import base_labels
from tokenkeeper.errors import SecretChanged, SecretExists, SecretMissing

if TYPE_CHECKING:
    from tokenkeeper.store.secretmanager import SecretManager

_FINISHED = "last-run-finished"


def record_run(secrets: SecretManager, secret_id: str, facts: Mapping[str, str], deadline: Deadline) -> None:
    """Record a run in the keeper secret's annotations, in one write; a fact that is empty is removed.

    Where another run writes in the same moment, its record is as good and stays.

    Raises:
        StoreError: it could not be written.
    """
    try:
        _write(secrets, secret_id, facts, deadline)
    except (SecretExists, SecretChanged):
        # Another run wrote; or this very call was done and its answer was lost; or what was read was late.
        found = secrets.get(secret_id, deadline).annotations
        if _FINISHED not in facts or found.get(_FINISHED, "") < facts[_FINISHED]:
            with suppress(SecretChanged):
                _write(secrets, secret_id, facts, deadline)


def _write(secrets: SecretManager, secret_id: str, facts: Mapping[str, str], deadline: Deadline) -> None:
    try:
        secret = secrets.get(secret_id, deadline)
    except SecretMissing:
        secrets.create(secret_id, base_labels("keeper"), {key: text for key, text in facts.items() if text}, deadline)
        return
    annotations = {key: text for key, text in {**secret.annotations, **facts}.items() if text}
    labels = {**secret.labels, **base_labels("keeper")}
    secrets.update(replace(secret, labels=labels, annotations=annotations), deadline)
