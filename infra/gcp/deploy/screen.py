"""What will change, on one screen and in words; and then how it goes, by name."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from gcp.deploy.programs import say, table
from gcp.deploy.terraform import Event, Plan

RESOURCES = table("resources")
STAYS_ON = "google_project_service"  # deleting it only means that Terraform forgets it
NAMES = ("account_id", "secret_id", "role_id", "repository_id", "display_name", "service", "name", "title")
COST = "A month costs some $0.39 with one connection and $6.40 with 100 (infra/gcp/README.md, What it costs)."
DONE = {"create": "created", "update": "changed", "delete": "deleted"}


def summary(plan: Plan) -> str:
    """Everything that a plan would do, in at most some thirty lines."""
    done: dict[str, dict[str, list[str]]] = {
        action: {} for action in ("create", "replace", "change", "take over", "delete")
    }
    order = [*RESOURCES, *(change["type"] for change in plan.changes)]
    for change in sorted(plan.changes, key=lambda change: order.index(change["type"])):
        if change["type"] != STAYS_ON or change["actions"] != ["delete"]:
            done[_action(change)].setdefault(_words(change["type"]), []).append(_described(change))
    lines = []
    for action, kinds in done.items():
        lines += [f"{action}:"] if kinds else []
        for kind, names in kinds.items():
            lines += _listed(f"  {len(names):>3} {kind:<18} ", names)
    if plan.outputs and not plan.changes:
        lines.append(f"change: {', '.join(plan.outputs)}")
    return "\n".join(lines)


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
        type_ = resource.get("resource_type", "")
        thing = f"{_words(type_)}: {resource.get('addr', '').partition('.')[2]}"
        match event.get("type"):
            case "apply_start" if self._live and action in DONE:
                self._show(f"{action} {thing} ...")
            case "apply_complete" if action in DONE:
                self._done += 1
                self._total = max(self._total, self._done)
                if (type_, action) != (STAYS_ON, "delete"):
                    self._show(f"{DONE[action]} {thing}")
            case "apply_errored":
                self._show(f"failed {thing}", end="\n")

    def end(self) -> None:
        """Leave the line as it was before."""
        if self._live:
            say("\r\x1b[K", end="")

    def _show(self, what: str, *, end: str = "") -> None:
        line = f"[{self._done}/{self._total}] {what}"
        if self._live:
            say(f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}", end=end)
        else:
            say(line)


def _words(kind: str) -> str:
    return str(RESOURCES.get(kind, {}).get("words", kind))


def _action(change: Mapping[str, Any]) -> str:
    if change.get("importing"):
        return "take over"
    match change["actions"]:
        case ["create" | "delete" as action]:
            return str(action)
        case ["update"]:
            return "change"
    return "replace"


def _described(change: Mapping[str, Any]) -> str:
    before, after = change["before"] or {}, change["after"] or {}
    values = after or before
    name = next((str(values[key]) for key in NAMES if isinstance(values.get(key), str)), change["address"])
    about = RESOURCES.get(change["type"], {})
    if change["actions"] == ["update"]:
        differing = sorted(key for key in after if after[key] != before.get(key))
        return f"{name} ({', '.join(about.get('changed', {}).get(key, key) for key in differing) or 'computed values'})"
    note = about.get("notes", {}).get(re.split(r"\W+", change["address"].rstrip('"]'))[-1])
    return f"{name} ({note})" if note else name


def _listed(head: str, names: Sequence[str]) -> list[str]:
    """What is of one kind: a line for each of a few with a note, else one line for all, as far as there is room."""
    if len(names) <= 4 and any("(" in name for name in names):
        return [f"{head}{names[0]}", *(" " * len(head) + name for name in names[1:])]
    listed = ", ".join(dict.fromkeys(names))
    room = 92
    return [f"{head}{listed if len(listed) <= room else listed[: listed.rfind(',', 0, room)] + ', …'}"]
