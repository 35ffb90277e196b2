"""Takes README's pictures from the running product, and writes down what they show: `make pictures`."""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page

from browser.chromium import CHROMIUM
from pictures.tour import tour
from stage import ROOT

FOLDER = ROOT / "infra" / "guide" / "pictures"
SHOWN = FOLDER / "shown.txt"


def main() -> int:
    """Take them all."""
    if not CHROMIUM.exists():
        print(f"{CHROMIUM} is missing: install Debian's chromium-headless-shell to take pictures.", file=sys.stderr)
        return 1

    def take(page: Page, name: str) -> None:
        page.screenshot(path=FOLDER / f"{name}.png", full_page=True)

    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        SHOWN.write_text(tour(Path(folder), take), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
