"""Shards while they are written, and what a later run must know to go on after them.

A part is a shard that has no final name yet, because the number of shards depends on the number of
frames, which a damaged film tells only at its end. Beside a finished part lies a state file,
written after the part is on the disk; so a part with a state is whole, and one without is begun
again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from tfrecords.card import Shard
from tfrecords.hidden_names import hidden_path

COPY_BYTES = 1 << 20


class PartFile:
    """One part: counts and checksums what goes into it.

    Attributes:
        path: where it lies.
        first_frame: the film's number of its first record.
        bytes: how many were written.
    """

    def __init__(self, path: Path, first_frame: int) -> None:
        self.path = path
        self.first_frame = first_frame
        self.bytes = 0
        self._sha256 = hashlib.sha256()
        self._digest = ""
        self._file: BinaryIO | None = open(path, "xb", buffering=COPY_BYTES)  # noqa: SIM115

    @classmethod
    def restored(cls, path: Path, first_frame: int, size: int, digest: str) -> PartFile:
        """A part that an earlier run has finished."""
        part = cls.__new__(cls)
        part.path, part.first_frame, part.bytes = path, first_frame, size
        part._digest, part._file = digest, None
        return part

    @property
    def digest(self) -> str:
        """SHA-256 of a closed part, 64 hex digits."""
        return self._digest

    def write(self, data: bytes) -> int:
        """Appends bytes as they are and returns how many."""
        assert self._file is not None
        self._sha256.update(data)
        self.bytes += len(data)
        return self._file.write(data)

    def close(self) -> None:
        """Puts the bytes on the disk; an error of the disk may show only here. Harmless twice."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None
            self._digest = self._sha256.hexdigest()

    def finish(self, name: str, frames: int) -> Shard:
        """Closes and renames the file and returns its entry of the card."""
        self.close()
        os.rename(self.path, self.path.with_name(name))
        return Shard(name, frames, self.first_frame, self.bytes, self._digest)

    def abandon(self) -> None:
        """Closes a file that will be deleted; a full disk cannot take the rest of the buffer."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None

    def save_state(self, path: Path, record_bytes: list[int], state: Any) -> None:
        """Writes the state file of a closed part.

        Args:
            path: of the state file.
            record_bytes: size of each of the part's records.
            state: JSON values of the caller, given back when the part is restored.
        """
        values = {
            "first_frame": self.first_frame,
            "bytes": self.bytes,
            "sha256": self._digest,
            "record_bytes": record_bytes,
            "state": state,
        }
        write_json(path, values)


def apart_folder(directory: Path) -> Path:
    """Where parts of a film wait that are made apart from each other, for whoever joins them."""
    return hidden_path(directory, ".apart")


def part_name(number: int) -> str:
    """Name of a part's file."""
    return f"part-{number:05d}"


def restore_part(
    directory: Path, states: Path, number: int, first_frame: int
) -> tuple[PartFile, list[int], Any] | None:
    """A part that an earlier run has finished, if it is what its state file says.

    Args:
        directory: of the parts.
        states: folder of the state files.
        number: of the part, from 0.
        first_frame: that the part must begin with.

    Returns:
        The part, the size of each of its records, and the caller's state; None if the part is not
        there, not whole, or does not follow its predecessor.
    """
    path = directory / part_name(number)
    if not path.exists():  # killed while the parts got their final names
        renamed = list(directory.glob(f"frames-{number:05d}-of-*.tfrecord"))
        if len(renamed) == 1:
            os.rename(renamed[0], path)
    try:
        values = json.loads((states / f"{part_name(number)}.json").read_text("utf-8"))
        whole = (
            values["first_frame"] == first_frame
            and path.stat().st_size == values["bytes"] == sum(values["record_bytes"])
            and _digest(path) == values["sha256"]
        )
        found = PartFile.restored(path, first_frame, values["bytes"], values["sha256"])
        return (found, values["record_bytes"], values["state"]) if whole else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def divide_again(
    parts: list[PartFile], record_bytes: Sequence[int], ranges: list[range]
) -> list[PartFile]:
    """Cuts parts anew where the film was longer or shorter than expected.

    Only the cuts move: the records, one after the other, are the same bytes. Each old part is
    removed as soon as it is copied, so this takes the room of one part more, not of the film.

    Args:
        parts: all of the film.
        record_bytes: size of every record of the film.
        ranges: the frames of each new part.
    """
    for part in parts:
        part.close()
    pieces = _read_and_remove([part.path for part in parts])
    divided = []
    rest = b""
    for number, frames in enumerate(ranges):
        part = PartFile(parts[0].path.with_name(f"divided-{number:05d}"), frames.start)
        divided.append(part)
        wanted = sum(record_bytes[frames.start : frames.stop])
        while wanted > 0:
            piece = rest or next(pieces)
            rest = piece[wanted:]
            wanted -= part.write(piece[:wanted])
    next(pieces, None)  # no bytes are left, but the last old part is still to be removed
    return divided


def _read_and_remove(paths: list[Path]) -> Iterator[bytes]:
    """Yields the bytes of all files, one after the other, and removes each at its end."""
    for path in paths:
        with open(path, "rb") as file:
            while piece := file.read(COPY_BYTES):
                yield piece
        path.unlink()


def write_json(path: Path, values: Any) -> None:
    """Writes JSON under a temporary name, puts it on the disk and renames it."""
    temporary = path.with_name(f"{path.name}.new")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(json.dumps(values))  # `dump` encodes in Python, ten times as slowly
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, path)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
