"""What will change, on one screen and in words; and then how it goes, by name."""

from __future__ import annotations

import re
import textwrap
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gcp.deploy.programs import LIVE, say
from gcp.deploy.terraform import Plan, Shown

RESOURCES = tomllib.loads(Path(__file__).with_name("resources.toml").read_text(encoding="utf-8"))
NAMES = ("account_id", "secret_id", "role_id", "repository_id", "display_name", "service", "name", "title")
COST = "A month costs some $0.39 with one connection and $6.40 with 100 (infra/gcp/README.md, What it costs)."
DONE = {"create": "created", "update": "changed", "delete": "deleted"}


def summary(plan: Plan) -> str:
    """Everything that a plan would do, in at most some thirty lines."""
    kinds = dict.fromkeys(map(_words, [*RESOURCES, *(change["type"] for change in plan.changes)]))
    lines = []
    for action in ("create", "replace", "change", "take over", "delete"):
        changes = [change for change in plan.changes if _action(change) == action]
        lines += [f"{action}:"] if changes else []
        for kind in kinds:
            lines += listed(kind, [_described(change) for change in changes if _words(change["type"]) == kind])
    return "\n".join(lines)


def listed(kind: str, names: Sequence[str]) -> list[str]:
    """What is of one kind: a line for each of a few with a note, else one line for all, as far as there is room."""
    head = f"  {len(names):>3} {kind:<18} "
    if len(names) <= 4 and any("(" in name for name in names):
        return [f"{head}{names[0]}", *(" " * len(head) + name for name in names[1:])]
    return [head + textwrap.shorten(", ".join(dict.fromkeys(names)), 92, placeholder=" …")] if names else []


def progress(plan: Plan) -> Callable[[Shown], None]:
    """What hears of Terraform's events and says how a plan goes: a line that changes, or lines in a pipe."""
    kinds = {change["address"]: _words(change["type"]) for change in plan.changes}
    total = sum(action in DONE for change in plan.changes for action in change["actions"])
    done = 0

    def listen(event: Shown) -> None:
        nonlocal done
        hook = event.get("hook", {})
        address, action = hook.get("resource", {}).get("addr"), hook.get("action")
        if address not in kinds or action not in DONE:
            return
        verb = {"apply_start": action, "apply_complete": DONE[action], "apply_errored": "failed"}.get(event["type"])
        done += event["type"] == "apply_complete"
        if verb and (LIVE or verb != action):
            line = f"[{done}/{total}] {verb} {kinds[address]}: {address.partition('.')[2]}"
            say(line, passing=verb != "failed")

    return listen


def _words(kind: str) -> str:
    return str(RESOURCES.get(kind, {}).get("words", kind))


def _action(change: Mapping[str, Any]) -> str:
    if change.get("importing"):
        return "take over"
    words = {"create": "create", "update": "change", "delete": "delete"}
    return words.get("".join(change["actions"]), "replace")


def _described(change: Mapping[str, Any]) -> str:
    before, after = change["before"] or {}, change["after"] or {}
    values = after or before
    name = next((str(values[key]) for key in NAMES if isinstance(values.get(key), str)), change["address"])
    about = RESOURCES.get(change["type"], {})
    note = about.get("notes", {}).get(re.split(r"\W+", change["address"].rstrip('"]'))[-1])
    if change["actions"] == ["update"]:
        differing = sorted(key for key in after if after[key] != before.get(key))
        note = ", ".join(about.get("changed", {}).get(key, key) for key in differing) or "computed values"
    return f"{name} ({note})" if note else name
