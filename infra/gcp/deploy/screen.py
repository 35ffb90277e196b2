"""What will change, on one screen and in words; and then how it goes, by name."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gcp.deploy.programs import say
from gcp.deploy.terraform import FORGOTTEN, Event, Plan

RESOURCES = tomllib.loads(Path(__file__).with_name("resources.toml").read_text(encoding="utf-8"))
NAMES = ("account_id", "secret_id", "role_id", "repository_id", "display_name", "service", "name", "title")
COST = "A month costs some $0.39 with one connection and $6.40 with 100 (infra/gcp/README.md, What it costs)."
DONE = {"create": "created", "update": "changed", "delete": "deleted"}
ROOM = 92  # for the names of one kind


def summary(plan: Plan) -> str:
    """Everything that a plan would do, in at most some thirty lines."""
    done: dict[str, dict[str, list[str]]] = {
        action: {} for action in ("create", "replace", "change", "take over", "delete")
    }
    order = [*RESOURCES, *(change["type"] for change in plan.changes)]
    for change in sorted(plan.changes, key=lambda change: order.index(change["type"])):
        done[_action(change)].setdefault(_words(change["type"]), []).append(_described(change))
    lines = []
    for action, kinds in done.items():
        lines += [f"{action}:"] if kinds else []
        for kind, names in kinds.items():
            lines += listed(kind, names)
    return "\n".join(lines)


def listed(kind: str, names: Sequence[str]) -> list[str]:
    """What is of one kind: a line for each of a few with a note, else one line for all, as far as there is room."""
    head = f"  {len(names):>3} {kind:<18} "
    if len(names) <= 4 and any("(" in name for name in names):
        return [f"{head}{names[0]}", *(" " * len(head) + name for name in names[1:])]
    return [head + textwrap.shorten(", ".join(dict.fromkeys(names)), ROOM, placeholder=" …")]


@contextmanager
def progress(plan: Plan) -> Iterator[Callable[[Event], None]]:
    """Gives what hears of Terraform's events and says how a plan goes: a line that changes, or lines in a pipe."""
    live = sys.stdout.isatty() and os.environ.get("TERM", "") != "dumb"
    total = sum(action in DONE for change in plan.changes for action in change["actions"])
    done = 0

    def listen(event: Event) -> None:
        nonlocal done
        kind, hook = event.get("type", ""), event.get("hook", {})
        resource, action = hook.get("resource", {}), hook.get("action")
        if action not in DONE or (resource["resource_type"], action) == FORGOTTEN:
            return
        done += kind == "apply_complete"
        verbs = {"apply_start": action, "apply_complete": DONE[action], "apply_errored": "failed"}
        thing = f"{_words(resource['resource_type'])}: {resource['addr'].partition('.')[2]}"
        line = f"[{done}/{total}] {verbs.get(kind)} {thing}"
        if kind in verbs and live:
            line = line[: shutil.get_terminal_size().columns - 1]
            say(f"\r\x1b[K{line}", end="\n" if kind == "apply_errored" else "")
        elif kind in verbs and kind != "apply_start":
            say(line)

    try:
        yield listen
    finally:
        say("\r\x1b[K" if live else "", end="")


def _words(kind: str) -> str:
    return str(RESOURCES.get(kind, {}).get("words", kind))


def _action(change: Mapping[str, Any]) -> str:
    if change.get("importing"):
        return "take over"
    words = {("create",): "create", ("delete",): "delete", ("update",): "change"}
    return words.get(tuple(change["actions"]), "replace")


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
