"""Which film it is: its name, and whether the file is still the one that was read before."""

import hashlib
import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bladerunner_ae.errors import InputError
from bladerunner_ae.film.images import folder as images
from tfrecords.hidden_names import fitted_name

_BLOCK_BYTES = 1 << 20

# Bytes of a folder's name: there is room for what other files add to it.
_LONGEST_NAME = 245


def film_name(film: Path) -> str:
    """The name of a film's folder: its file name without suffix, without awkward characters.

    Letters of all scripts stay, with the marks that belong to them. However a file system spells
    accents, the name is the same.
    """
    # Not `resolve`: the name of a link is the name that a person gave the film.
    path = Path(os.path.abspath(film))
    stem = path.name if path.is_dir() else path.stem
    if images.is_pattern(path):
        stem = images.pattern_words(path)
    letters = unicodedata.normalize("NFC", stem)
    plain = "".join(letter if _is_kept(letter) else " " for letter in letters)
    name = re.sub(r" +", "_", plain).strip("._") or "film"
    return fitted_name(name, _LONGEST_NAME)


def _is_kept(letter: str) -> bool:
    return letter.isalnum() or letter in "_.-" or unicodedata.category(letter).startswith("M")


def source_facts(film: Path) -> dict[str, Any]:
    """What a card says of its source; reads all of it.

    Returns:
        "name"; "kind", see `source_kind`; "sha256" of the contents (of a folder of images: of all
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
        "kind": source_kind(film),
        "sha256": digest.hexdigest(),
        **stamp,
    }


def film_exists(film: Path) -> bool:
    """Whether there is such a file or folder; of a pattern of images: whether there is its folder.

    What is wrong with what is there shows when it is opened.
    """
    return film.exists() or (images.is_pattern(film) and film.parent.is_dir())


def source_kind(film: Path) -> str:
    """ "images" for a folder or a pattern of images, "film" for one file."""
    return "images" if images.is_folder_of_images(film) else "film"


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
    return images.list_images(film).paths if images.is_folder_of_images(film) else [film]
