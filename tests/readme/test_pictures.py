"""README's pictures show the product as it is: what can be read on them is compared, not their pixels."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pictures.take import FOLDER, SHOWN
from pictures.tour import tour
from readme.page import README


@pytest.mark.browser
@pytest.mark.slow
def test_they_show_what_the_product_shows(tmp_path: Path) -> None:
    """Pages, `make run` and `make status` read as they did when the pictures were taken; else: `make pictures`."""
    with ThreadPoolExecutor(1) as pool:  # the browser tests may have a Playwright of their own in this thread
        assert pool.submit(tour, tmp_path).result() == SHOWN.read_text(encoding="utf-8")


def test_they_are_small_and_all_shown() -> None:
    """All together are under 300 KB, and README shows each of them."""
    pictures = sorted(FOLDER.glob("*.png"))
    assert sum(picture.stat().st_size for picture in pictures) < 300_000
    assert sorted(link for link in README.links if link.endswith(".png")) == [
        f"infra/guide/pictures/{picture.name}" for picture in pictures
    ]
