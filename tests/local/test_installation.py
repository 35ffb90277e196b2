"""Setting up .venv on other people's machines, with the Makefile's own rule and one package that needs no network."""

import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from local import ROOT


def installed(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the rule in a copy of the repository whose only requirement is a wheel of ours."""
    (folder / "functions").mkdir(parents=True)
    (folder / "Makefile").write_text((ROOT / "Makefile").read_text())
    wheel = folder / "marked-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("marked.py", "")
        archive.writestr("marked-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: marked\nVersion: 1.0\n")
        archive.writestr("marked-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("marked-1.0.dist-info/RECORD", "")
    digest = subprocess.run(["sha256sum", wheel], capture_output=True, text=True, check=True).stdout.split()[0]
    (folder / "functions/requirements.txt").write_text(f"marked==1.0 --hash=sha256:{digest}\n")
    settings = {"PATH": os.environ["PATH"], "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": folder.as_uri(), **environment}
    return subprocess.run(
        ["make", ".venv/run-ready"], env=settings, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.slow  # makes an environment
def test_pips_settings(tmp_path: Path) -> None:
    """Packages go into .venv, whatever environment and pip.conf say, in a folder with a space in its name too."""
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "pip.conf").write_text(f"[install]\nuser = true\ntarget = {elsewhere}\nprefix = {elsewhere}\n")
    done = installed(
        tmp_path / "a repository",
        PIP_CONFIG_FILE=str(tmp_path / "pip.conf"),
        PIP_USER="1",
        PIP_TARGET=str(elsewhere),
        PIP_PREFIX=str(elsewhere),
    )
    assert done.returncode == 0, done
    assert len(list((tmp_path / "a repository/.venv/lib").glob("python3*/site-packages/marked.py"))) == 1
    assert not elsewhere.exists()


def test_colon(tmp_path: Path) -> None:
    """A folder with a colon is named as what is wrong."""
    done = installed(tmp_path / "a:b")
    assert "has a colon in its name" in done.stderr
    assert not (tmp_path / "a:b/.venv").exists()


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no checkout of Git's")
def test_line_ends() -> None:
    """Where Git is set to check text out with CRLF, the repository's files still have the ends that make needs."""
    words = ["git", "-c", "core.autocrlf=true", "check-attr", "text", "eol", "--", "Makefile"]
    said = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said == "Makefile: text: auto\nMakefile: eol: lf\n"
