"""Hidden names for what is not finished yet: beside the final name, and no longer than allowed.

A name may have 255 bytes on most file systems. `.NAME.partial` is longer than NAME, so of a long
NAME the hidden name holds the beginning and a checksum.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

_USUAL_BYTES = 255
_CHECKSUM_DIGITS = 16


def longest_name(folder: Path) -> int:
    """Returns how many bytes a name in a folder may have; the folder need not exist yet."""
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (OSError, ValueError):
        return _USUAL_BYTES


def fitted_name(name: str, most: int) -> str:
    """Returns a name, shortened if it has more than `most` bytes; other names give others.

    Args:
        name: of a file or folder.
        most: bytes that it may have, more than the 17 that tell shortened names apart.
    """
    data = os.fsencode(name)
    if len(data) <= most:
        return name
    checksum = hashlib.sha256(data).hexdigest()[:_CHECKSUM_DIGITS]
    # No half of a letter may stay.
    kept = data[: most - 1 - _CHECKSUM_DIGITS].decode("utf-8", "ignore")
    return f"{kept}-{checksum}"


def hidden_path(path: Path, ending: str) -> Path:
    """Returns the hidden path `.NAME` + `ending` beside a path, always the same for it.

    Args:
        path: the final path.
        ending: what tells this hidden path from others of the same file, such as ".partial".
    """
    most = longest_name(path.parent) - len(os.fsencode(f".{ending}"))
    return path.with_name(f".{fitted_name(path.name, most)}{ending}")
