"""Shards of an unfinished conversion, and the state that a later run needs to resume it.

A part is a shard that has no final name yet, because the number of shards depends on the number of
frames, which a damaged film tells only at its end. A part's state file is written once the part is
on the disk, so a part with a state file is complete, and one without is begun again.
"""

from __future__ import annotations

import hashlib
import json
import os
from array import array
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfrecords.card import Shard
from tfrecords.hidden_names import hidden_path

# Of the state files. Parts of another format are begun again.
_FORMAT = 2
_BUFFER_BYTES = 1 << 20
_IDENTITY_NAME = "identity.json"


@dataclass
class Part:
    """A complete file of consecutive records.

    Attributes:
        first_frame: the film's number of its first record.
        sizes: bytes of each record.
        state: JSON values that the caller needs to resume after it.
    """

    path: Path
    first_frame: int
    sizes: array[int] = field(default_factory=lambda: array("q"))
    sha256: str = ""
    state: Any = None

    @property
    def frames(self) -> range:
        return range(self.first_frame, self.first_frame + len(self.sizes))

    def publish(self, name: str) -> Shard:
        """Rename the file and return its entry for the card."""
        os.rename(self.path, self.path.with_name(name))
        return Shard(name, len(self.sizes), self.first_frame, sum(self.sizes), self.sha256)

    def to_json(self) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "first_frame": self.first_frame,
            "sizes": self.sizes.tolist(),
            "sha256": self.sha256,
            "state": self.state,
        }

    @classmethod
    def from_json(cls, path: Path, values: dict[str, Any]) -> Part:
        """Return a part; raise KeyError, TypeError or ValueError for another format."""
        if values["format"] != _FORMAT:
            raise ValueError(f"format {values['format']}")
        sizes = array("q", values["sizes"])
        return cls(path, values["first_frame"], sizes, values["sha256"], values["state"])


class PartWriter:
    """A context manager that writes a part and closes it in any case; `part` holds the progress."""

    def __init__(self, path: Path, first_frame: int) -> None:
        self.part = Part(path, first_frame)
        self._sha256 = hashlib.sha256()
        self._file = open(path, "xb", buffering=_BUFFER_BYTES)  # noqa: SIM115

    def write(self, record: bytes) -> None:
        self._sha256.update(record)
        self._file.write(record)
        self.part.sizes.append(len(record))

    def finish(self) -> Part:
        """Flush the bytes to disk, where an error may show only now, and return the part."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self.part.sha256 = self._sha256.hexdigest()
        return self.part

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # a full disk cannot take the rest of the buffer
            self._file.close()


def part_name(number: int) -> str:
    return f"part-{number:05d}"


def state_name(number: int) -> str:
    return f"{part_name(number)}.json"


def load_part(directory: Path, states: Path, number: int, frames: range) -> Part | None:
    """Return part `number` (from 0) of an earlier run, if finished and of `frames`, else None."""
    path = directory / part_name(number)
    if not path.exists():  # killed while the parts got their final names
        renamed = list(directory.glob(f"frames-{number:05d}-of-*.tfrecord"))
        if len(renamed) == 1:
            os.rename(renamed[0], path)
    try:
        part = Part.from_json(path, json.loads((states / state_name(number)).read_text("utf-8")))
        same = part.frames == frames and path.stat().st_size == sum(part.sizes)
        return part if same and _sha256(path) == part.sha256 else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def divide_again(parts: list[Part], ranges: list[range]) -> list[Part]:
    """Divide all parts of a film anew into `ranges`, as its length was not the expected one.

    Each old part is removed as soon as it is copied: the extra space is one part, not the film.
    """
    records = _read_and_remove(parts)
    divided = []
    for number, frames in enumerate(ranges):
        path = parts[0].path.with_name(f"divided-{number:05d}")
        with PartWriter(path, frames.start) as writer:
            for _ in frames:
                writer.write(next(records))
            divided.append(writer.finish())
    next(records, None)  # no record is left, but the last old part is still to be removed
    return divided


def _read_and_remove(parts: list[Part]) -> Iterator[bytes]:
    for part in parts:
        with part.path.open("rb", buffering=_BUFFER_BYTES) as file:
            for size in part.sizes:
                yield file.read(size)
        part.path.unlink()


def write_json(path: Path, values: Any) -> None:
    """Write JSON under a temporary name, flush it to disk and rename it."""
    temporary = path.with_name(f"{path.name}.new")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(json.dumps(values))  # `dump` encodes in Python, ten times as slowly
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, path)


def partial_folder(directory: Path) -> Path:
    return hidden_path(directory, ".partial")


def states_folder(directory: Path) -> Path:
    return hidden_path(directory, ".state")


def apart_folder(directory: Path) -> Path:
    """Return the hidden folder of parts that several processes make separately."""
    return hidden_path(directory, ".apart")


def save_identity(directory: Path, identity: dict[str, Any]) -> None:
    """Save the identity of an unfinished conversion: all that decides the bytes of its records."""
    states_folder(directory).mkdir(exist_ok=True)
    write_json(states_folder(directory) / _IDENTITY_NAME, identity)


def unfinished_identity(directory: Path) -> dict[str, Any] | None:
    """Return the identity of an unfinished run; None if it left nothing to resume."""
    states = states_folder(directory)
    if not (partial_folder(directory).exists() and any(states.glob("part-*.json"))):
        return None
    try:
        found = json.loads((states / _IDENTITY_NAME).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
