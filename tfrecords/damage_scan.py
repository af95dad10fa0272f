"""Reads a shard that may be damaged: every record that can still be reached, and what is wrong.

`framing.read_records` stops at the first damage, as everybody should who needs the records. This
goes on behind it, for those who want to know how much is lost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from tfrecords import storage
from tfrecords.framing import FOOTER, HEADER, OVERHEAD, masked_crc


@dataclass(frozen=True)
class ScannedRecord:
    """One record of a shard, or the place at which its records end too early.

    Attributes:
        number: place in the shard, from 0.
        data: the record's bytes; None where they cannot be trusted.
        problem: what is wrong, or "".
        last: whether nothing behind it can be reached, because its length is not known.
    """

    number: int
    data: bytes | None
    problem: str = ""
    last: bool = False


class ShardScan:
    """Iterates once over the records of a shard, whole and damaged ones.

    Memory is that of one record; a damaged length is never used to allocate any.

    Args:
        path: of the shard, local or remote.

    Attributes:
        bytes: size of the file, once iteration has begun.
        sha256: of the whole file, once iteration has ended; 64 hex digits.

    Raises:
        FileNotFoundError: while iterating: there is no such file.
        OSError: while iterating: it cannot be read.
    """

    def __init__(self, path: storage.AnyPath) -> None:
        self.path = path
        self.bytes = 0
        self.sha256 = ""

    def __iter__(self) -> Iterator[ScannedRecord]:
        self.bytes = left = storage.file_size(self.path)
        digest = hashlib.sha256()
        number = 0
        with storage.open_for_reading(self.path) as file:
            while header := file.read(HEADER.size):
                digest.update(header)
                problem = _header_problem(header, left)
                if problem:
                    yield ScannedRecord(number, None, problem, last=True)
                    break
                data = file.read(HEADER.unpack(header)[0])
                footer = file.read(FOOTER.size)
                digest.update(data)
                digest.update(footer)
                if len(footer) < FOOTER.size:  # the file became shorter under our hands
                    yield ScannedRecord(number, None, "cut short", last=True)
                    break
                if FOOTER.unpack(footer)[0] != masked_crc(data):
                    yield ScannedRecord(number, None, "damaged (checksum of its data)")
                else:
                    yield ScannedRecord(number, data)
                left -= len(data) + OVERHEAD
                number += 1
            while rest := file.read(1 << 20):
                digest.update(rest)
        self.sha256 = digest.hexdigest()


def _header_problem(header: bytes, bytes_left: int) -> str:
    """What is wrong with the head of a record, or ""."""
    if len(header) < HEADER.size:
        return "cut short"
    length, crc = HEADER.unpack(header)
    if crc != masked_crc(header[: HEADER.size - FOOTER.size]):
        return "damaged (checksum of its length)"
    return "cut short" if length + OVERHEAD > bytes_left else ""
