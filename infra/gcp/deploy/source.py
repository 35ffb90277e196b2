"""Which source this checkout would deploy, as a hash of names and contents."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path


def source_hash(functions: Path) -> str:
    """The hash that the functions' build variable SOURCE_HASH has when they run this source.

    It is what `sha256sum` prints for the sorted files, hashed once more. In a shell:
    find main.py requirements.txt tokenkeeper -type f ! -path '*__pycache__*' |
    LC_ALL=C sort | xargs sha256sum | sha256sum

    Args:
        functions: the folder that is deployed.

    Returns:
        64 hexadecimal digits.
    """
    package = [file for file in (functions / "tokenkeeper").rglob("*") if file.is_file()]
    files = [functions / "main.py", functions / "requirements.txt", *package]
    named = sorted((file.relative_to(functions).as_posix(), file) for file in files if "__pycache__" not in file.parts)
    lines = [f"{sha256(file.read_bytes()).hexdigest()}  {name}\n" for name, file in named]
    return sha256("".join(lines).encode()).hexdigest()
