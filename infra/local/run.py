"""What `make run` starts: checks whether this Python is supported, then calls `launch`.

Nothing that needs a supported Python or an installed package is imported before that is known.
"""

import importlib.util
import sys

from local import ROOT

OLDEST, NEWEST = (3, 11), (3, 14)
PACKAGES = (
    "click",
    "cryptography",
    "flask",
    "functions_framework",
    "google.auth",
    "google_crc32c",
    "gunicorn",
    "itsdangerous",
    "jinja2",
    "requests",
    "werkzeug",
)


def unfit() -> str:
    """Why this Python cannot run the token keeper, and what to do; empty where it can."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        return "Python {}.{} is not supported: use {}.{} to {}.{}, for example with make run PYTHON=python3.13.".format(
            *sys.version_info[:2], *OLDEST, *NEWEST
        )
    for package in PACKAGES:
        try:
            found = importlib.util.find_spec(package)
        except ImportError:
            found = None
        if found is None:
            return f"The installation is broken ({package} is missing): remove the folder .venv and run make again."
    return ""


def main() -> int:
    """Run everything until it is stopped; returns the exit status."""
    problem = unfit()
    if problem:
        print(problem, file=sys.stderr)
        return 1
    sys.path[:0] = [str(ROOT / "functions"), str(ROOT / "infra")]
    from local.launch import launch

    return launch()


if __name__ == "__main__":
    sys.exit(main())
