"""The settings that `make run` and `make deploy` saved for the command line. The functions never read them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tokenkeeper import settings
from tokenkeeper.errors import SettingsError

NAMES = ("local", "cloud")
_FOLDER = Path(__file__).parents[3] / ".tokenkeeper"
_LINE = re.compile(r"([A-Z][A-Z0-9_]*)=(.*)", re.ASCII)


@dataclass(frozen=True)
class Saved:
    """The environment, with saved settings beneath it.

    Attributes:
        name: `local` (what `make run` started), `cloud` (what `make deploy` made), or empty: nothing was saved.
        environment: All settings together.
        replaced: Names of saved settings that the environment has another value for.
        both: Whether settings are saved for local and for cloud.
    """

    name: str
    environment: Mapping[str, str]
    replaced: tuple[str, ...] = ()
    both: bool = False


def read(name: str = "", environment: Mapping[str, str] | None = None) -> Saved:
    """Read the saved settings.

    Args:
        name: `local` or `cloud`; empty: the one that was started or deployed last.
        environment: What to put above them; None: this process's. Its `TOKENKEEPER_STATE` names another folder than
            `.tokenkeeper` of the checkout.

    Raises:
        SettingsError: nothing is saved under that name, or what is saved cannot be read.
    """
    whole = settings.environment() if environment is None else environment
    given = {key: value for key, value in whole.items() if value.strip()}
    folder = Path(given.get("TOKENKEEPER_STATE", _FOLDER))
    try:
        known = [one for one in NAMES if (folder / f"{one}.env").is_file()]
        current = folder / "current"
        wanted = name or (current.read_text(encoding="utf-8").strip() if current.is_file() else "")
        lines = (folder / f"{wanted}.env").read_text(encoding="utf-8").splitlines() if wanted in known else []
    except (OSError, UnicodeDecodeError):
        raise SettingsError(
            f"The saved settings in {folder} cannot be read: remove them; `make run` and `make deploy` write them "
            "again."
        ) from None
    if name and name not in known:
        made_by = "run" if name == "local" else "deploy"
        raise SettingsError(f"Nothing is saved for {name} yet: run `make {made_by}` first.")
    saved = {found[1]: found[2] for line in lines if (found := _LINE.fullmatch(line))}
    if "SECRET_MANAGER_EMULATOR_HOST" in saved and "SECRET_MANAGER_EMULATOR_HOST" not in given:
        given.pop("GOOGLE_CLOUD_PROJECT", None)  # names a project at Google, and the secrets are not there
    return Saved(
        wanted if wanted in known else "",
        {**saved, **given},
        tuple(sorted(key for key, value in saved.items() if given.get(key, value) != value)),
        both=len(known) > 1,
    )
