"""Takes README's pictures from the running product, and writes down what they show: `make pictures`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from browser.chromium import CHROMIUM, launch
from pictures.tour import as_text, texts
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
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = launch(playwright)
        SHOWN.write_text(as_text(texts(browser, Path(folder), take)), encoding="utf-8")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
