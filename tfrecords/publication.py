"""Publication of a finished folder of records: complete or not at all.

A new folder gets its name by one rename. In a folder of earlier records, the new ones replace the
old ones file by file, so that anything else a person keeps there stays. The card is removed first
and written last, and the next process completes what a killed one leaves.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tfrecords.card import CARD_NAME, is_record_file, load_card
from tfrecords.hidden_names import hidden_path
from tfrecords.lock import FileLock
from tfrecords.record_errors import RecordsError, ReplaceableError
from tfrecords.shards import is_all_shards
from tfrecords.unfinished_parts import apart_folder, partial_folder, states_folder


def lock_path(directory: Path) -> Path:
    return hidden_path(directory, ".lock")


def work_folders(directory: Path) -> list[Path]:
    """Return the temporary hidden folders in which records are made."""
    return [
        partial_folder(directory),
        states_folder(directory),
        apart_folder(directory),
        _ready(directory),
    ]


def refuse_to_replace(directory: Path, overwrite: bool) -> None:
    """Raise RecordsError if the folder DATA/<film> exists and may not be replaced.

    `overwrite` allows to replace records, also those whose card is lost. Any other folder must be
    empty.
    """
    if directory.is_symlink() and not directory.exists():
        raise RecordsError(
            f"{directory}: is a link that leads nowhere; repair it or choose another folder"
        )
    if not directory.exists():
        return
    if not directory.is_dir():
        raise RecordsError(f"{directory}: is a file; choose another folder")
    names = os.listdir(directory)
    if not names:
        return
    if CARD_NAME not in names and not is_all_shards(names):
        raise RecordsError(
            f"{directory}: is not empty and holds no {CARD_NAME}; choose another folder"
        )
    if not overwrite:
        raise ReplaceableError(f"{directory}: exists; replace it with --overwrite")
    for name in filter(is_record_file, names):
        path = directory / name
        if path.is_dir() and not path.is_symlink():
            raise RecordsError(f"{path}: is a folder where records belong; move it elsewhere")


def publish(partial: Path, directory: Path) -> None:
    """Give finished records their final name, in place of earlier ones.

    `partial` must be on the same file system; of an existing `directory` only files of records are
    replaced. After an OSError either nothing has changed, or `partial` is gone and the next call of
    `finish_publishing` completes it.
    """
    sync_folder(partial)
    if directory.exists() and any(directory.iterdir()):
        os.rename(partial, _ready(directory))  # from here on there is no way back
        finish_publishing(directory)
    else:
        os.rename(partial, directory)
        sync_folder(directory.parent)


def finish_publishing(directory: Path) -> None:
    """Complete what a process that was killed, or failed, while publishing has left."""
    ready = _ready(directory)
    if not ready.is_dir():
        return
    new = os.listdir(ready)
    if CARD_NAME in new:
        directory.mkdir(exist_ok=True)
        kept = {shard.name for shard in load_card(ready).shards}
        # Without its card a mixture of old and new shards is not taken for a film.
        (directory / CARD_NAME).unlink(missing_ok=True)
        for name in new:
            if name != CARD_NAME:
                os.replace(ready / name, directory / name)
        for name in os.listdir(directory):
            if is_record_file(name) and name not in kept:
                (directory / name).unlink()
        sync_folder(directory)
        os.replace(ready / CARD_NAME, directory / CARD_NAME)
        sync_folder(directory)
    shutil.rmtree(ready)


def tidy(directory: Path) -> None:
    """Complete or remove what a conversion killed while publishing has left.

    Does nothing while another process writes the records.
    """
    directory = directory.resolve()
    if not (_ready(directory).exists() or _is_done(directory)):
        return
    try:
        lock = FileLock(lock_path(directory), str(directory))
    except (RecordsError, OSError):  # it is being written, or may not be
        return
    try:
        finish_publishing(directory)
        if _is_done(directory):
            shutil.rmtree(states_folder(directory), ignore_errors=True)
    finally:
        lock.release()


def _is_done(directory: Path) -> bool:
    """Return whether there are leftovers of records that already have their name."""
    left = states_folder(directory).exists() or lock_path(directory).exists()
    return left and not partial_folder(directory).exists() and (directory / CARD_NAME).exists()


def remove_records(directory: Path) -> None:
    """Remove card and shards from a folder, and the folder itself if it is empty then."""
    for path in sorted(directory.iterdir(), key=lambda path: path.name != CARD_NAME):
        if is_record_file(path.name) and (path.is_symlink() or not path.is_dir()):
            path.unlink()
    if not any(directory.iterdir()):
        directory.rmdir()


def sync_folder(directory: Path) -> None:
    """Flush a folder's entries to disk, so that a power cut cannot undo a rename."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _ready(directory: Path) -> Path:
    return hidden_path(directory, ".ready")
