"""How a finished folder of records gets its name: by renames, so that it is there whole or not.

A folder that is replaced waits under a hidden name until the new one is in its place.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tfrecords.card import CARD_NAME, FilmCard, load_card
from tfrecords.errors import RecordsError
from tfrecords.hidden_names import hidden_path
from tfrecords.shards import is_all_shards


def refuse_to_replace(directory: Path, overwrite: bool) -> None:
    """Raises RecordsError if a folder exists and may not be replaced.

    Args:
        directory: DATA/<film>.
        overwrite: whether a folder of records may be replaced, also one whose card is lost. Of
            another kind of folder only an empty one is ever replaced.
    """
    if not directory.exists():
        return
    if not directory.is_dir():
        raise RecordsError(f"{directory}: is a file; choose another folder")
    if not any(directory.iterdir()):
        return
    names = [path.name for path in directory.iterdir()]
    if CARD_NAME not in names and not is_all_shards(names):
        raise RecordsError(
            f"{directory}: is not empty and holds no {CARD_NAME}; choose another folder"
        )
    if not overwrite:
        raise RecordsError(f"{directory}: exists; replace it with --overwrite")


def read_back(directory: Path) -> FilmCard:
    """Returns the card in a folder; one that could not be read again must not be published.

    Raises:
        ValueError: the card contradicts itself.
    """
    try:
        return load_card(directory)
    except RecordsError as error:
        raise ValueError(f"the card contradicts itself: {error}") from error


def publish(partial: Path, directory: Path) -> None:
    """Renames a finished folder to its final name, in the place of one that is there.

    Args:
        partial: the finished folder, on the same file system.
        directory: its final name.

    Raises:
        OSError: it cannot be renamed; what was there before is there again.
    """
    _synchronise(partial)
    replaced = _replaced(directory)
    replaces = directory.exists() and any(directory.iterdir())
    if replaces:
        # No rename replaces a folder that is not empty. A run killed between these two is put
        # right by `finish_publishing`.
        os.rename(directory, replaced)
    try:
        os.rename(partial, directory)
    except OSError:
        if replaces:
            os.rename(replaced, directory)
        raise
    _synchronise(directory.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def finish_publishing(directory: Path) -> None:
    """Puts right what a run that was killed while it published has left."""
    replaced = _replaced(directory)
    if not replaced.exists():
        return
    if directory.exists():
        shutil.rmtree(replaced)
    else:  # killed between the two renames
        os.rename(replaced, directory)


def _replaced(directory: Path) -> Path:
    return hidden_path(directory, ".replaced")


def _synchronise(directory: Path) -> None:
    """Puts the names in a folder on the disk, so that a power cut cannot undo a rename."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
