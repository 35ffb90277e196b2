"""The way of a newcomer through the running product, as README's pictures show it: pages and a terminal."""

import html
import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import BrowserContext, Page, sync_playwright

from browser.chromium import launch
from flow.test_run import Running, free_ports
from local.launch import PORTS

_BANNER = r"(?s)\A.*\n  Stop [^\n]*\n"  # what `make run` says
_TERMINAL = """<!doctype html><meta charset="utf-8"><style>
body{{margin:0;padding:18px 22px;background:#0d1117;color:#e6edf3;font:14px/1.5 ui-monospace,Menlo,Consolas,monospace}}
pre{{margin:0;font:inherit;overflow:hidden;text-overflow:ellipsis;min-height:1.5em}}
b{{color:#79b8ff;font-weight:600}}
</style>{lines}"""

Take = Callable[[Page, str], None]


def tour(folder: Path, take: Take = lambda *_: None) -> str:
    """Go through it once.

    Args:
        folder: Where `make run` keeps everything.
        take: Called with what is shown at each stop, and its name.

    Returns:
        What can be read at each stop, without what differs each time.
    """
    found, ports = {}, free_ports()
    with sync_playwright() as playwright, Running(folder, ports, NO_COLOR="1") as running:
        context = launch(playwright).new_context(viewport={"width": 720, "height": 746}, device_scale_factor=1.25)
        banner = running.wait_for(_BANNER)[0]
        page = context.new_page()
        for name, link in zip(("start", "account"), re.findall(r"http://\S+/start\S+", banner), strict=True):
            page.goto(link)
            if name == "start":
                take(page, "start")
                found["start"] = page.inner_text("main")
            page.get_by_role("button", name="Continue to TikTok").click()
            page.get_by_role("button", name="Confirm").click()
            page.wait_for_url("**/done")
            if name == "start":
                take(page, "done")
                found["done"] = page.inner_text("main")
        running.make("refresh")
        screen = f"$ make run\n{banner.strip()}\n\n$ make status\n{running.make('status').stdout.strip()}\n"
        for option, port in ports.items():
            screen = screen.replace(f":{port}", f":{PORTS[option]}")
        found["terminal"] = screen.replace(str(folder), ".tokenkeeper")
        _show(context, found["terminal"], take)
    return "".join(f"== {name} ==\n\n{_lasting(text).strip()}\n\n" for name, text in found.items())


def _show(context: BrowserContext, screen: str, take: Take) -> None:
    """The terminal; a line that is too long for it ends in an ellipsis."""
    lines = [html.escape(line) for line in screen.splitlines()]
    marked = [f"<b>{line}</b>" if line.startswith("$ ") else line for line in lines]
    page = context.new_page()
    page.set_viewport_size({"width": 1080, "height": 480})
    page.set_content(_TERMINAL.format(lines="".join(f"<pre>{line}</pre>" for line in marked)))
    take(page, "terminal")


def _lasting(text: str) -> str:
    """Without dates and links, which differ each time."""
    text = re.sub(r"/start\?link=\S+", "/start?link=LINK", text)
    text = re.sub(r"\d{1,2} [A-Z][a-z]+ \d{4}(,? (at )?\d\d:\d\d)?|\d{4}-\d\d-\d\d( \d\d:\d\d)?", "DATE", text)
    text = re.sub(r"just now|1 minute ago|\d+ minutes ago", "AGO", text)
    return re.sub(r"DATE +", "DATE ", text)
