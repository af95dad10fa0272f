"""Hidden names for unfinished files, next to the final name.

Most file systems allow 255 bytes. `.NAME.partial` is longer than NAME, so of a long NAME the hidden
name holds the beginning and a checksum.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

_USUAL_BYTES = 255
_CHECKSUM_DIGITS = 16


def longest_name(folder: Path) -> int:
    """Return the most bytes that a name in a folder may have; the folder need not exist yet."""
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (OSError, ValueError):
        return _USUAL_BYTES


def fitted_name(name: str, most: int) -> str:
    """Return a name, shortened and made unique by a checksum if over `most` (above 17) bytes."""
    data = os.fsencode(name)
    if len(data) <= most:
        return name
    checksum = hashlib.sha256(data).hexdigest()[:_CHECKSUM_DIGITS]
    # No part of a letter may stay.
    kept = data[: most - 1 - _CHECKSUM_DIGITS].decode("utf-8", "ignore")
    return f"{kept}-{checksum}"


def hidden_path(path: Path, ending: str) -> Path:
    """Return the hidden path `.NAME` + `ending` next to a path, always the same one."""
    most = longest_name(path.parent) - len(os.fsencode(f".{ending}"))
    return path.with_name(f".{fitted_name(path.name, most)}{ending}")
