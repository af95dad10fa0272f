"""Finished records go to a remote folder: shard by shard, the card last.

Records are made in a local spool folder first, with all that this guarantees; a store of objects
could neither rename them nor be locked. An upload that was stopped goes on at its first missing
shard. Until the card is there, `upload.json` says what is being sent.
"""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from bladerunner_ae.command_line.progress import Progress
from tfrecords import storage
from tfrecords.card import CARD_NAME, FilmCard, Shard, check_shards, load_card
from tfrecords.hidden_names import hidden_path
from tfrecords.lock import FileLock
from tfrecords.publication import remove_records
from tfrecords.record_errors import RecordsError, ReplaceableError
from tfrecords.shards import is_all_shards, is_shard_name
from tfrecords.storage import RemotePath

UPLOAD_NAME = "upload.json"
_NOTHING_SENT = "{}\n"


def spool_directory(remote: RemotePath, spool: str | None = None) -> Path:
    """Returns the local folder where records are made that belong under `remote`.

    Args:
        remote: the remote folder that gets a folder for each film.
        spool: a folder that the person chose, else one of the user's cache.
    """
    if spool:
        base = Path(spool)
    else:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        base = Path(cache) / "bladerunner_ae" / "spool"
    return base / hashlib.sha256(str(remote).encode()).hexdigest()[:16]


def prepare(remote: RemotePath) -> None:
    """Makes sure, before hours of work, that records can be sent to a folder.

    Raises:
        StorageError: there is no such bucket, or it may not be written or read.
    """
    if UPLOAD_NAME not in storage.names(remote):
        storage.write_text(remote / UPLOAD_NAME, _NOTHING_SENT)
    storage.read_bytes(remote / UPLOAD_NAME)


def publish(local: Path, remote: RemotePath, overwrite: bool = False) -> None:
    """Sends a folder of finished records and removes it here.

    Args:
        local: the records, DATA/<film>.
        remote: the folder that they become; it need not exist.
        overwrite: replace other records that are there.

    Raises:
        RecordsError: records are there and may not be replaced, or something else is there, or the
            local ones are not whole.
        StorageError: the remote folder cannot be written.
    """
    # The lock of whoever writes the local folder.
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
    """Sends the shards that are not `sent`, makes sure of all, and sends the card."""
    total = sum(shard.bytes for shard in card.shards)
    with Progress("upload", total >> 20, "MiB") as progress:
        count = _Mebibytes(progress)
        for shard in card.shards:
            if shard.name in sent:
                count.add(shard.bytes)
            else:
                storage.copy_to_remote(local / shard.name, remote / shard.name, count.add)
    check_shards(remote, card)
    storage.write_bytes(remote / CARD_NAME, storage.read_bytes(local / CARD_NAME))
    storage.remove(remote / UPLOAD_NAME)


def _begin(card: FilmCard, remote: RemotePath, overwrite: bool) -> set[str]:
    """Makes room for a film's shards and returns the names of those that are there already.

    At every moment the folder holds a whole film's card, or `upload.json`, whose checksums are
    those of the shards beside it as far as they were sent.
    """
    found = set(storage.names(remote))
    if CARD_NAME in found and not overwrite:
        raise ReplaceableError(f"{remote}: exists; replace it with --overwrite")
    if found and not found & {CARD_NAME, UPLOAD_NAME} and not (overwrite and is_all_shards(found)):
        raise RecordsError(
            f"{remote}: is not empty and holds no {CARD_NAME}; choose another folder"
        )
    before = _checksums(remote) if UPLOAD_NAME in found and CARD_NAME not in found else {}
    sent = {s.name for s in card.shards if s.name in found and _is_sent(s, before, remote)}
    if not before:
        storage.write_text(remote / UPLOAD_NAME, _NOTHING_SENT)
    storage.remove(remote / CARD_NAME)
    for name in found - sent - {UPLOAD_NAME, CARD_NAME}:
        if is_shard_name(name):
            storage.remove(remote / name)
    sums = {shard.name: shard.sha256 for shard in card.shards}
    storage.write_text(remote / UPLOAD_NAME, json.dumps(sums, indent=2) + "\n")
    return sent


def _checksums(remote: RemotePath) -> dict[str, Any]:
    """What an upload that was stopped was sending: SHA-256 by name of shard."""
    try:
        found = json.loads(storage.read_text(remote / UPLOAD_NAME))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_sent(shard: Shard, before: dict[str, Any], remote: RemotePath) -> bool:
    same = before.get(shard.name) == shard.sha256
    return same and storage.file_size(remote / shard.name) == shard.bytes


class _Mebibytes:
    """Tells a progress bar of bytes in whole mebibytes."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._bytes = progress, 0

    def add(self, count: int) -> None:
        before = self._bytes
        self._bytes += count
        self._progress.update((self._bytes >> 20) - (before >> 20))
