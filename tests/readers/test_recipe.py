"""How the pages are taken apart, and what is said where a tool is missing."""

from __future__ import annotations

import pytest

from readers.recipe import Recipe, programs

TEXT = """\
# A tool

```sh install
pip install "tool[extra]"
```

```python folder/pipeline.py
print("it ran")
```

```text
not a file, and not run
```

```sh
python folder/pipeline.py
```

1. A list
"""


def test_a_page_is_files_and_commands() -> None:
    """What has a file's name is written, what is shell without one is run, the installation is neither."""
    page = Recipe("tool", TEXT)
    assert page.files == {"folder/pipeline.py": 'print("it ran")\n'}
    assert page.commands == ["python folder/pipeline.py\n"]
    assert page.installation == 'pip install "tool[extra]"\n'
    assert page.blocks("python") == ['print("it ran")\n']


def test_a_tool_that_is_not_installed_is_told_how_to_be() -> None:
    """The failure names the command that installs it."""
    with pytest.raises(pytest.fail.Exception, match=r"run `make test-readers`"):
        programs("no-such-tool")
