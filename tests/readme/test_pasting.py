"""Every `sh` block of README, guides and recipes can be pasted into an interactive bash or zsh, in whatever way.

Line by line, all at once as if it were typed, and as terminals do that mark what is pasted: each time the same programs
are called in the same way as by a script, and the shell is ready for the next command.
"""

import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from browser.chromium import need
from readme.page import GCP, GUIDES, PAGES, README, RECIPES
from readme.terminal import MORE, PROMPT, Terminal

SECRET = "pasted-app-secret-0123456789"
BLOCKS = {page.path: page.blocks("sh") for page in (README, *GUIDES, GCP)} | {
    "infra/readers": [block for page in RECIPES for block in page.blocks("sh")]
}
LINES = [(page.path, block.splitlines()) for page in PAGES for block in page.blocks("sh")]
PROGRAMS = """
make gcloud curl jq openssl python pip bash kubectl terraform airflow meltano tap-tiktok-ads source-tiktok-marketing
"""
READS = r"; read -r"
ASKS = READS + r"|\bgcloud (auth|init)|\bmake (-s )?(run|deploy|destroy|disconnect|import CONNECTION)\b"
COMPLAINTS = r"not found|syntax error|parse error|no matches|unmatched|bad pattern|No such file|command not"


def by_line(terminal: Terminal, block: str) -> None:
    """Each line when the shell is ready for it."""
    *lines, last = block.splitlines()
    for line in lines:
        terminal.keys(line + "\n")
        terminal.wait(PROMPT, MORE)
    terminal.keys(last + "\n")


def at_once(terminal: Terminal, block: str) -> None:
    """All of it, as if somebody typed very fast."""
    terminal.keys(block)


def marked(terminal: Terminal, block: str) -> None:
    """All of it, marked as pasted; then Enter."""
    terminal.keys(f"\x1b[200~{block.rstrip()}\x1b[201~\n")


def pasted(terminal: Terminal, block: str, paste: Callable[[Terminal, str], None]) -> None:
    """Paste a block, type the secret if it asks for one, and see that the shell is ready."""
    paste(terminal, block)
    asked = re.search(rf"printf '([^']+)'.*{READS}", block)
    if asked:
        terminal.wait("\n" + asked[1])
        terminal.wait_hidden()
        terminal.keys(SECRET + "\n")
        terminal.wait(PROMPT)
    terminal.keys("printf 'end of %s\\n' block\n")
    terminal.wait(f"end of block\n{PROMPT}")


def lasting(calls: Sequence[Sequence[str]], home: Path) -> list[list[str]]:
    """Calls in an order of their own (those of a pipeline begin at once), without what differs each time."""
    hidden = re.compile(rf"/(dev|proc/self)/fd/\d+|{re.escape(str(home))}")
    return sorted([hidden.sub("HERE", word) for word in call] for call in calls)


def scripted(blocks: Sequence[str], home: Path) -> list[list[str]]:
    """The calls that a script of all blocks makes."""
    with Terminal("/bin/bash", home, PROGRAMS.split()) as terminal:
        subprocess.run(
            ["/bin/bash", "-euc", "\n".join(blocks)],
            input=SECRET + "\n" if any(re.search(READS, block) for block in blocks) else "",
            env={"PATH": str(home / "bin"), "HOME": str(home)},
            cwd=home,
            text=True,
            timeout=60,
            check=True,
            capture_output=True,
        )
        return lasting(terminal.calls(), home)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize("page", BLOCKS)
def test_blocks_do_what_a_script_would_do(page: str, shell: str, tmp_path: Path) -> None:
    """No comment, quotation mark or pattern means something else there, and nothing swallows the next line."""
    need(shell)
    wanted = scripted(BLOCKS[page], tmp_path / "script")
    asked = any(re.search(READS, block) for block in BLOCKS[page])
    assert asked == any(call[-1] == SECRET for call in wanted), "what is typed reaches a program"
    for paste in (by_line, at_once, marked):
        home = tmp_path / paste.__name__
        with Terminal(f"/bin/{shell}", home, PROGRAMS.split()) as terminal:
            for block in BLOCKS[page]:
                pasted(terminal, block, paste)
            assert lasting(terminal.calls(len(wanted)), home) == wanted, paste.__name__
            assert not re.search(COMPLAINTS, terminal.said())
            assert SECRET not in terminal.said() + terminal.history
            assert "printf" in terminal.history


def test_no_block_has_a_comment_and_what_asks_comes_last() -> None:
    """In zsh a comment is a command; whatever reads from the terminal would take the next line for its answer."""
    assert [(page, line) for page, lines in LINES for line in lines if re.search(r"(^|\s)#", line)] == []
    assert [(page, line) for page, lines in LINES for line in lines[:-1] if re.search(ASKS, line)] == []
