"""The tree of errors is as it is drawn."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

from tokenkeeper import errors
from tokenkeeper.errors import KeeperError

PACKAGE = Path(str(errors.__file__)).parent


def drawn() -> dict[str, str]:
    """By error, the one above it, as the module's docstring draws it."""
    above: dict[str, str] = {}
    path: list[str] = []
    for line in re.findall(r"```\n(.*?)```", errors.__doc__ or "", re.DOTALL)[0].splitlines():
        indent, name = re.match(r"([ │├└─]*)(\w+)", line).groups()  # type: ignore[union-attr]
        path[len(indent) // 4 :] = [name]
        above[name] = path[-2] if len(path) > 1 else "Exception"
    return above


def test_the_drawn_tree_is_the_real_one() -> None:
    """Every error of the product is drawn, whichever module it is in, below the one that it derives from."""
    for file in PACKAGE.rglob("*.py"):
        if file.stem != "__main__":
            import_module(".".join(("tokenkeeper", *file.relative_to(PACKAGE).with_suffix("").parts)))
    found, new = {KeeperError: "Exception"}, [KeeperError]
    while new:
        derived = [(error, above) for above in new for error in above.__subclasses__()]
        found |= {error: above.__name__ for error, above in derived}
        new = [error for error, _ in derived]
    ours = {error.__name__: above for error, above in found.items() if error.__module__.startswith("tokenkeeper.")}
    assert drawn() == ours
