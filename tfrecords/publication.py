"""How a finished folder of records gets its name: whole or not at all.

A folder that is new gets it by one rename. In a folder of earlier records, the new ones take the
place of the old ones file by file, so that whatever else a person keeps there stays where it is.
Its card goes first and comes last, and a process killed in between leaves what the next one
completes.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from tfrecords.card import CARD_NAME, FilmCard, is_record_file, load_card
from tfrecords.errors import RecordsError, ReplaceableError
from tfrecords.hidden_names import hidden_path
from tfrecords.lock import FileLock
from tfrecords.messages import changed_option
from tfrecords.shards import is_all_shards


def refuse_to_replace(directory: Path, overwrite: bool) -> None:
    """Raises RecordsError if a folder exists and may not be replaced.

    Args:
        directory: DATA/<film>.
        overwrite: whether records may be replaced, also those whose card is lost. Of another kind
            of folder only an empty one is ever used.
    """
    if directory.is_symlink() and not directory.exists():
        raise RecordsError(f"{directory}: is a link that leads nowhere; mend it or choose another")
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
    """Gives finished records their final name, in the place of others that are there.

    Args:
        partial: the finished folder, on the same file system.
        directory: its final name; of an existing folder only files of records are replaced.

    Raises:
        OSError: it cannot be renamed. What was there before is there again, or `partial` is gone:
            then the next call of `finish_publishing` completes it.
    """
    _synchronise(partial)
    if directory.exists() and any(directory.iterdir()):
        os.rename(partial, _ready(directory))  # from here on there is no way back
        finish_publishing(directory)
    else:
        os.rename(partial, directory)
        _synchronise(directory.parent)


def finish_publishing(directory: Path) -> None:
    """Completes what a process that was killed, or failed, while it published has left."""
    _restore_replaced(directory)
    ready = _ready(directory)
    if not ready.is_dir():
        return
    new = os.listdir(ready)
    if CARD_NAME in new:
        directory.mkdir(exist_ok=True)
        kept = {shard.name for shard in load_card(ready).shards}
        # Without its card nobody takes a mixture of old and new shards for a film.
        (directory / CARD_NAME).unlink(missing_ok=True)
        for name in new:
            if name != CARD_NAME:
                os.replace(ready / name, directory / name)
        for name in os.listdir(directory):
            if is_record_file(name) and name not in kept:
                (directory / name).unlink()
        _synchronise(directory)
        os.replace(ready / CARD_NAME, directory / CARD_NAME)
        _synchronise(directory)
    shutil.rmtree(ready)


def _restore_replaced(directory: Path) -> None:
    """Puts right what a version that replaced whole folders has left when it was killed."""
    replaced = hidden_path(directory, ".replaced")
    if not replaced.is_dir():
        return
    if not directory.exists():  # killed between its two renames
        os.rename(replaced, directory)
        return
    remove_records(replaced)
    for path in replaced.iterdir():
        target = directory / path.name
        if not os.path.lexists(target):
            os.rename(path, target)
    if not any(replaced.iterdir()):
        replaced.rmdir()


def remove_records(directory: Path) -> None:
    """Removes card and shards from a folder, and the folder itself if nothing else is in it."""
    for path in sorted(directory.iterdir(), key=lambda path: path.name != CARD_NAME):
        if is_record_file(path.name) and (path.is_symlink() or not path.is_dir()):
            path.unlink()
    if not any(directory.iterdir()):
        directory.rmdir()


def put_right(directory: Path) -> None:
    """Completes or tidies what a conversion left that was killed while its records got their name.

    Nothing happens while another process writes them, nor where nothing was left.
    """
    directory = directory.resolve()
    if not (_ready(directory).exists() or _is_done(directory)):
        return
    try:
        lock = FileLock(hidden_path(directory, ".lock"), str(directory))
    except (RecordsError, OSError):  # somebody is writing it, or nobody may
        return
    try:
        finish_publishing(directory)
        if _is_done(directory):
            shutil.rmtree(states_folder(directory), ignore_errors=True)
    finally:
        lock.release()


def _is_done(directory: Path) -> bool:
    """Whether states were left of records that have their name."""
    partial = hidden_path(directory, ".partial")
    lock = hidden_path(directory, ".lock")
    left = states_folder(directory).exists() or lock.exists()
    return left and not partial.exists() and (directory / CARD_NAME).exists()


def work_folders(directory: Path) -> list[Path]:
    """The hidden folders in which records are made, and which are removed."""
    names = ("partial", "state", "apart", "ready", "replaced")
    return [hidden_path(directory, f".{name}") for name in names]


def _ready(directory: Path) -> Path:
    return hidden_path(directory, ".ready")


def _synchronise(directory: Path) -> None:
    """Puts the names in a folder on the disk, so that a power cut cannot undo a rename."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


IDENTITY_NAME = "identity.json"
# What decides the bytes beside film and options. It is named where no option explains it.
_NO_OPTIONS = {
    "geometry": "the film's picture lies otherwise in the records",
    "tool_version": "another version of this program began it",
}


def states_folder(directory: Path) -> Path:
    """The hidden folder beside a folder of records that holds the states of an unfinished run."""
    return hidden_path(directory, ".state")


def unfinished_identity(directory: Path) -> dict[str, Any] | None:
    """The identity of an unfinished run that has left finished shards, or None.

    A run without finished shards, or whose identity cannot be read, has left nothing to go on from.
    """
    states = states_folder(directory)
    if not any(states.glob("part-*.json")):
        return None
    try:
        found = json.loads((states / IDENTITY_NAME).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def refuse_other_identity(
    directory: os.PathLike[str], before: dict[str, Any], identity: dict[str, Any]
) -> None:
    """Raises ReplaceableError if an unfinished run was not of the same identity.

    Args:
        directory: of the records, for the message.
        before: identity of the unfinished run.
        identity: JSON values of all that decides the bytes now.
    """
    now = json.loads(json.dumps(identity))
    names = [name for name in dict.fromkeys((*before, *now)) if before.get(name) != now.get(name)]
    if not names:
        return
    if "film" in names:
        what = "an unfinished run of another film, or of an earlier version of this one, is there"
        raise ReplaceableError(f"{directory}: {what}; --overwrite starts over")
    different = [
        changed_option(name, before.get(name), now.get(name))
        for name in names
        if name not in _NO_OPTIONS
    ] or [_NO_OPTIONS[name] for name in names]
    raise ReplaceableError(
        f"{directory}: an unfinished run with other options is there ({'; '.join(different)}); "
        "give its options to go on, or --overwrite, which starts over"
    )
