"""What will change, on one screen and in words; and then how it goes, by name."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from gcp.deploy.programs import say, table
from gcp.deploy.terraform import Event, Plan

RESOURCES = table("resources")
STAYS_ON = "google_project_service"  # deleting it only means that Terraform forgets it
NAMES = ("account_id", "secret_id", "role_id", "repository_id", "display_name", "service", "name", "title")
# What each part may do or is for, shown where it is made.
NOTES = {
    "google_cloudfunctions2_function.connect": "public: TikTok sends approvers back to it",
    "google_cloudfunctions2_function.refresh": "private: keeps every token working",
    'google_service_account.this["connect"]': "creates and writes connections' secrets, reads no token",
    'google_service_account.this["refresh"]': "reads, renews and prunes connections' secrets",
    'google_service_account.this["scheduler"]': "calls refresh, nothing else",
    'google_service_account.this["build"]': "builds both functions",
}
COST = "A month costs some $0.39 with one connection and $6.40 with 100 (infra/gcp/README.md, What it costs)."


def summary(plan: Plan) -> str:
    """Everything that a plan would do, in at most some thirty lines."""
    done: dict[str, dict[str, list[str]]] = {}
    for change in plan.changes:
        if change["type"] == STAYS_ON and change["change"]["actions"] == ["delete"]:
            continue
        kind = _words(change["type"])
        done.setdefault(_action(change["change"]), {}).setdefault(kind, []).append(_described(change))
    order = list(dict.fromkeys(entry["words"] for entry in RESOURCES.values()))
    lines = []
    for action in ("create", "replace", "change", "take over", "delete"):
        kinds = done.get(action, {})
        if kinds:
            lines.append(f"{action}:")
        for kind in sorted(kinds, key=lambda name: order.index(name) if name in order else len(order)):
            lines += _line(kind, kinds[kind])
    if plan.outputs and not plan.changes:
        lines.append(f"change: {', '.join(plan.outputs)}")
    return "\n".join(lines)


def destroys(plan: Plan) -> set[str]:
    """Addresses of what a plan would delete or replace."""
    return {change["address"] for change in plan.changes if "delete" in change["change"]["actions"]}


class Progress:
    """Says what is being made: one line that changes on a terminal, a line for each thing elsewhere."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._live = sys.stdout.isatty() and os.environ.get("TERM", "") != "dumb"

    def __call__(self, event: Event) -> None:
        """Hear one of Terraform's events."""
        hook = event.get("hook", {})
        resource, action = hook.get("resource", {}), hook.get("action")
        kind = _words(resource.get("resource_type", ""))
        name = resource.get("addr", "").partition(".")[2]
        match event.get("type"):
            case "apply_start" if self._live and action in _PAST:
                self._show(f"{action} {kind}: {name} ...")
            case "apply_complete" if action in _PAST:
                self._done += 1
                if resource["resource_type"] == STAYS_ON and action == "delete":
                    return
                self._total = max(self._total, self._done)
                self._show(f"{_PAST[action]} {kind}: {name}")
            case "apply_errored":
                self._show(f"failed {kind}: {name}", keep=True)

    def end(self) -> None:
        """Leave the line as it was before."""
        if self._live:
            say("\r\x1b[K", end="")

    def _show(self, what: str, *, keep: bool = False) -> None:
        line = f"[{self._done}/{self._total}] {what}"
        if not self._live:
            say(line)
            return
        width = shutil.get_terminal_size().columns - 1
        say(f"\r\x1b[K{line[:width]}", end="\n" if keep else "")


_PAST = {"create": "created", "update": "changed", "delete": "deleted"}


def _words(kind: str) -> str:
    return str(RESOURCES.get(kind, {}).get("words", kind))


def _action(change: Mapping[str, Any]) -> str:
    if change.get("importing"):
        return "take over"
    return {("create",): "create", ("update",): "change", ("delete",): "delete"}.get(
        tuple(change["actions"]), "replace"
    )


def _described(change: Mapping[str, Any]) -> str:
    values = change["change"].get("after") or change["change"].get("before") or {}
    name = next((str(values[key]) for key in NAMES if isinstance(values.get(key), str)), change["address"])
    if change["change"]["actions"] == ["update"]:
        before, after = change["change"]["before"], change["change"]["after"]
        differing = sorted(key for key in after if after[key] != before.get(key))
        return f"{name} ({', '.join(_AS_WORDS.get(key, key) for key in differing) or 'computed values'})"
    note = NOTES.get(change["address"], "")
    return f"{name} ({note})" if note else name


_AS_WORDS = {"build_config": "source", "service_config": "settings"}


def _line(kind: str, names: Sequence[str]) -> list[str]:
    head = f"  {len(names):>3} {kind:<18} "
    if len(names) <= 4 and any("(" in name for name in names):
        return [f"{head}{names[0]}", *(" " * len(head) + name for name in names[1:])]
    listed = ", ".join(dict.fromkeys(names))
    room = 92
    return [f"{head}{listed if len(listed) <= room else listed[: listed.rfind(',', 0, room)] + ', …'}"]
