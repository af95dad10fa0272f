"""Upload of finished records to a remote folder: shard by shard, the card last.

They are made in a local spool folder first, with all that this guarantees; an object store could
neither rename them nor be locked. A stopped upload is resumed at its first missing shard. Until the
card is there, `upload.json` describes what is being sent.
"""

import hashlib
import json
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from bladerunner_ae.command_line.progress import Progress
from tfrecords import local_copies, storage
from tfrecords.card import CARD_NAME, FilmCard, check_shards, load_card
from tfrecords.hidden_names import hidden_path
from tfrecords.lock import FileLock
from tfrecords.publication import remove_records
from tfrecords.record_errors import RecordsError, ReplaceableError
from tfrecords.shards import is_all_shards, is_shard_name
from tfrecords.storage import RemotePath

UPLOAD_NAME = "upload.json"
_NOTHING_SENT = "{}\n"


def spool_directory(remote: RemotePath, chosen: str | None = None) -> Path:
    """Return the local folder, chosen or the user's, for making records that belong in `remote`."""
    return local_copies.folder(chosen) / hashlib.sha256(str(remote).encode()).hexdigest()[:16]


def prepare(remote: RemotePath) -> None:
    """Raise StorageError, before hours of work, if records cannot be sent to a folder."""
    if UPLOAD_NAME not in storage.names(remote):
        storage.write_text(remote / UPLOAD_NAME, _NOTHING_SENT)
    storage.read_bytes(remote / UPLOAD_NAME)


def publish(local: Path, remote: RemotePath, overwrite: bool = False) -> None:
    """Send the folder of finished records to `remote`, which need not exist, and remove it here.

    Raises:
        RecordsError: records are there and may not be replaced, or something else is there, or the
            local ones are incomplete.
        StorageError: the remote folder cannot be written.
    """
    # The lock of the local folder's writers.
    lock = FileLock(hidden_path(local, ".lock"), purpose=str(local))
    try:
        card = load_card(local)
        check_shards(local, card)
        _send(card, local, remote, _begin(card, remote, overwrite))
        remove_records(local)
    finally:
        lock.release()
    with suppress(OSError):
        local.parent.rmdir()  # unless other films are waiting there


def _send(card: FilmCard, local: Path, remote: RemotePath, sent: set[str]) -> None:
    """Send the shards that are not `sent`, then the card."""
    total = sum(shard.bytes for shard in card.shards)
    with Progress("upload", total >> 20, "MiB") as progress:
        report = _in_mebibytes(progress)
        for shard in card.shards:
            if shard.name in sent:
                report(shard.bytes)
            else:
                storage.copy_to_remote(local / shard.name, remote / shard.name, report)
    finish(card, remote, storage.read_bytes(local / CARD_NAME))


def _in_mebibytes(progress: Progress) -> Callable[[int], None]:
    done = 0

    def report(count: int) -> None:
        nonlocal done
        before, done = done, done + count
        progress.update((done >> 20) - (before >> 20))

    return report


def _begin(card: FilmCard, remote: RemotePath, overwrite: bool) -> set[str]:
    """Make room for a film's shards and return the names of those that are there already.

    At every moment the folder holds a whole film's card, or `upload.json` with the checksums of the
    shards that were sent.
    """
    sizes = storage.file_sizes(remote)
    refuse_to_replace(remote, sizes, overwrite)
    before = {} if CARD_NAME in sizes else _checksums(remote, sizes)
    sums = {shard.name: shard.sha256 for shard in card.shards}
    sent = {
        shard.name
        for shard in card.shards
        if before.get(shard.name) == shard.sha256 and sizes.get(shard.name) == shard.bytes
    }
    make_room(remote, sizes, sent)
    storage.remove_folder(storage.hidden(remote, ".apart"))  # what Beam's workers knew of it
    storage.write_text(remote / UPLOAD_NAME, json.dumps(sums, indent=2) + "\n")
    return sent


def refuse_to_replace(remote: RemotePath, found: Collection[str], overwrite: bool) -> None:
    """Raise RecordsError if the files `found` in a remote DATA/<film> may not be replaced.

    `overwrite` allows to replace records, also those whose card is lost.
    """
    if CARD_NAME in found and not overwrite:
        raise ReplaceableError(f"{remote}: exists; replace it with --overwrite")
    known = CARD_NAME in found or UPLOAD_NAME in found
    if found and not known and not (overwrite and is_all_shards(list(found))):
        raise RecordsError(
            f"{remote}: is not empty and holds no {CARD_NAME}; choose another folder"
        )


def make_room(remote: RemotePath, found: Collection[str], kept: Collection[str] = ()) -> None:
    """Remove records among the names `found` from a remote folder, card first, but those `kept`."""
    shards = [name for name in found if is_shard_name(name) and name not in kept]
    if CARD_NAME in found or shards or UPLOAD_NAME not in found:
        storage.write_text(remote / UPLOAD_NAME, _NOTHING_SENT)
    if CARD_NAME in found:
        storage.remove(remote / CARD_NAME)
    for name in shards:
        storage.remove(remote / name)


def finish(card: FilmCard, remote: RemotePath, text: bytes) -> None:
    """Check that all shards of a film arrived, and write its card (`text`)."""
    check_shards(remote, card)
    storage.write_bytes(remote / CARD_NAME, text)
    storage.remove(remote / UPLOAD_NAME)


def _checksums(remote: RemotePath, found: Collection[str]) -> dict[str, Any]:
    """SHA-256 by name of shard of the records that a stopped upload was sending."""
    if UPLOAD_NAME not in found:
        return {}
    try:
        values = json.loads(storage.read_text(remote / UPLOAD_NAME))
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}
