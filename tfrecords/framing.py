"""The TFRecord container.

A record is `uint64 length`, `uint32 masked CRC-32C of the length`, `length` bytes of data, `uint32
masked CRC-32C of the data`, all little-endian. Every byte is under a checksum, so damage is always
found and can be named by record.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, Protocol

import google_crc32c

from tfrecords import storage
from tfrecords.record_errors import DamagedError

HEADER = struct.Struct("<QI")
FOOTER = struct.Struct("<I")
OVERHEAD = HEADER.size + FOOTER.size
"""Bytes that the container adds to each record."""

_LENGTH = struct.Struct("<Q")
_MASK_DELTA = 0xA282EAD8
_BLOCK_BYTES = 1 << 20


def masked_crc(data: bytes) -> int:
    """Return the CRC-32C of `data`, masked as TFRecord requires.

    The mask exists because the CRC of bytes that hold their own CRC is a poor checksum.
    """
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def frame_record(data: bytes) -> bytes:
    """Return `data` as one record: `len(data) + OVERHEAD` bytes."""
    length = _LENGTH.pack(len(data))
    return b"".join((length, FOOTER.pack(masked_crc(length)), data, FOOTER.pack(masked_crc(data))))


def write_record(file: BinaryIO, data: bytes) -> int:
    """Append one record to `file` and return its size in bytes."""
    return file.write(frame_record(data))


class Readable(Protocol):
    def read(self, size: int, /) -> bytes:
        """Return `size` bytes, fewer only at the end."""


class ScannedRecord(NamedTuple):
    """One record of a shard, or the place at which its records end too early.

    Attributes:
        number: place in the shard, from 0.
        data: None if damaged.
        problem: empty if undamaged.
        last: whether nothing after it can be reached, because its length is unknown.
    """

    number: int
    data: bytes | None
    problem: str = ""
    last: bool = False


def read_records(path: storage.AnyPath) -> Iterator[bytes]:
    """Yield a shard's records in order, checksums verified; RecordsError names shard and record."""
    try:
        size = storage.file_size(path)
        with storage.open_for_reading(path) as file:
            for record in scan(file, size):
                yield _verified(record, path, record.number)
    except FileNotFoundError as error:
        raise missing_shard(path) from error


def read_record(file: BinaryIO, bytes_left: int, path: storage.AnyPath, number: int) -> bytes:
    """Return the data of the record at which `file` stands, its checksums verified.

    `bytes_left` counts from the record's first byte to the end of the file; `path` and `number`
    name the record in the RecordsError of a damaged one.
    """
    end = ScannedRecord(0, None, "cut short", last=True)
    return _verified(next(scan(file, bytes_left), end), path, number)


def _verified(record: ScannedRecord, path: storage.AnyPath, number: int) -> bytes:
    if record.data is None:
        raise DamagedError(path, f"record {number} (from 0) is {record.problem}")
    return record.data


def missing_shard(path: storage.AnyPath) -> DamagedError:
    return DamagedError(path, "shard is missing")


def scan(file: Readable, size: int) -> Iterator[ScannedRecord]:
    """Yield every record that can be reached in the `size` bytes ahead, damaged ones too.

    A damaged length is never used to allocate memory.
    """
    number = 0
    while header := file.read(HEADER.size):
        length = checked_length(header)
        if length is None:
            cut = len(header) < HEADER.size
            problem = "cut short" if cut else "damaged (checksum of its length)"
            yield ScannedRecord(number, None, problem, last=True)
            return
        size -= length + OVERHEAD
        data = file.read(length) if size >= 0 else b""
        footer = file.read(FOOTER.size) if size >= 0 else b""
        if len(footer) < FOOTER.size:
            yield ScannedRecord(number, None, "cut short", last=True)
            return
        whole = FOOTER.unpack(footer)[0] == masked_crc(data)
        problem = "" if whole else "damaged (checksum of its data)"
        yield ScannedRecord(number, data if whole else None, problem)
        number += 1


def checked_length(header: bytes) -> int | None:
    """Return the length of the record with this header, None if the header is damaged."""
    if len(header) < HEADER.size:
        return None
    length, crc = HEADER.unpack(header)
    return int(length) if crc == masked_crc(header[: _LENGTH.size]) else None


class ShardScan:
    """Iterate once over the records of a shard, damaged ones included, to learn how much is lost.

    Readers who need the records use `read_records`, which stops at the first damage. Memory is that
    of one record. Iterating raises FileNotFoundError or OSError if the shard cannot be read.

    Attributes:
        bytes: size of the file, set when iteration begins.
        sha256: of the whole file, 64 hex digits, set when iteration ends.
    """

    def __init__(self, path: storage.AnyPath) -> None:
        self.path = path
        self.bytes = 0
        self.sha256 = ""

    def __iter__(self) -> Iterator[ScannedRecord]:
        self.bytes = storage.file_size(self.path)
        with storage.open_for_reading(self.path) as file:
            hashing = _Hashing(file)
            yield from scan(hashing, self.bytes)
            while hashing.read(_BLOCK_BYTES):
                pass
        self.sha256 = hashing.digest.hexdigest()


class _Hashing:
    def __init__(self, file: BinaryIO) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        return data
