"""Which film it is: its name, and whether the file is still the one that was read before."""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bladerunner_ae.errors import InputError
from bladerunner_ae.film import images

_BLOCK_BYTES = 1 << 20


def film_name(film: Path) -> str:
    """The name of a film's folder: its file name without suffix, without awkward characters."""
    # Not `resolve`: the name of a link is the name that a person gave the film.
    path = Path(os.path.abspath(film))
    stem = path.name if path.is_dir() else path.stem
    return re.sub(r"[^\w.-]+", "_", stem).strip("._") or "film"


def source_facts(film: Path) -> dict[str, Any]:
    """What a card says of its source; reads all of it.

    Returns:
        "name"; "kind", "film" or "images"; "sha256" of the contents (of a folder of images: of all
        of them, one after the other); and `source_stamp`.

    Raises:
        InputError: the film changes meanwhile.
    """
    # Before anything is read: what changes later shows.
    stamp = source_stamp(film)
    digest = hashlib.sha256()
    for path in _files(film):
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    refuse_changed(film, stamp)
    return {
        # JSON cannot hold the bytes of a name that is no UTF-8.
        "name": os.fsencode(os.path.basename(os.path.abspath(film))).decode("utf-8", "replace"),
        "kind": "images" if film.is_dir() else "film",
        "sha256": digest.hexdigest(),
        **stamp,
    }


def refuse_changed(film: Path, stamp: Mapping[str, Any]) -> None:
    """Makes sure that a film is still the one that was looked at before.

    Args:
        film: the film.
        stamp: what `source_stamp` gave, or `source_facts`, of then.

    Raises:
        InputError: it is another, or gone.
    """
    try:
        now = source_stamp(film)
    except (OSError, InputError):
        raise InputError(f"{film}: is gone, or cannot be read any more") from None
    if any(stamp[name] != value for name, value in now.items()):
        raise InputError(
            f"{film}: changed while it was converted; nothing was written; wait until it is whole "
            "and run the same command again"
        )


def source_stamp(film: Path) -> dict[str, int]:
    """Size and time of change, "bytes" and "mtime_ns": the same stamp, the same film."""
    found = [path.stat() for path in _files(film)]
    return {
        "bytes": sum(status.st_size for status in found),
        "mtime_ns": max(status.st_mtime_ns for status in found),
    }


def _files(film: Path) -> Sequence[Path]:
    return images.list_images(film).paths if film.is_dir() else [film]
