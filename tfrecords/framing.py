"""The TFRecord container: how records lie one after the other in a file.

A record is `uint64 length`, `uint32 masked CRC-32C of the length`, `length` bytes of data, `uint32
masked CRC-32C of the data`, all little-endian. Every byte is under a checksum, so damage is always
found and can be named by record.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

import google_crc32c

from tfrecords import storage
from tfrecords.errors import RecordsError

HEADER = struct.Struct("<QI")
FOOTER = struct.Struct("<I")
OVERHEAD = HEADER.size + FOOTER.size
"""Bytes that the container adds to each record."""

_LENGTH = struct.Struct("<Q")
_MASK_DELTA = 0xA282EAD8


def masked_crc(data: bytes) -> int:
    """Returns the CRC-32C of `data`, rotated and shifted as TFRecord wants it.

    The mask exists because the CRC of bytes that hold their own CRC is a poor checksum.
    """
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def frame_record(data: bytes) -> bytes:
    """Returns `data` as one record: `len(data) + OVERHEAD` bytes."""
    length = _LENGTH.pack(len(data))
    return b"".join((length, FOOTER.pack(masked_crc(length)), data, FOOTER.pack(masked_crc(data))))


def write_record(file: BinaryIO, data: bytes) -> int:
    """Appends one record to `file` and returns how many bytes that took."""
    return file.write(frame_record(data))


def read_records(path: storage.AnyPath) -> Iterator[bytes]:
    """Yields the data of each record of a shard, in order, with every checksum verified.

    Memory is that of one record.

    Raises:
        RecordsError: the shard is missing, cut short or damaged; the message names the shard and
            the number of the record in it, counted from 0.
    """
    try:
        bytes_left = storage.file_size(path)
        with storage.open_for_reading(path) as file:
            number = 0
            while header := file.read(HEADER.size):
                data = _read_rest(file, header, bytes_left, f"{path}: record {number} (from 0)")
                bytes_left -= len(data) + OVERHEAD
                number += 1
                yield data
    except FileNotFoundError as error:
        raise RecordsError(
            f"{path}: shard is missing; restore it or run make_tfrecords again with --overwrite"
        ) from error


def read_record(file: BinaryIO, bytes_left: int, where: str) -> bytes:
    """Returns the data of the record at which `file` stands, its checksums verified.

    Args:
        file: of the shard.
        bytes_left: from the record's first byte to the end of the file.
        where: shard and record, for the message.

    Raises:
        RecordsError: the record is cut short or damaged.
    """
    return _read_rest(file, file.read(HEADER.size), bytes_left, where)


def _read_rest(file: BinaryIO, header: bytes, bytes_left: int, where: str) -> bytes:
    """Returns the data of the record whose first bytes are `header`.

    Args:
        file: stands behind the header.
        header: up to `HEADER.size` bytes.
        bytes_left: from the record's first byte to the end of the file; a damaged length is never
            used to allocate memory.
        where: shard and record, for the message.
    """
    cure = "restore the shard or run make_tfrecords again with --overwrite"
    if len(header) < HEADER.size:
        raise RecordsError(f"{where} is cut short; {cure}")
    length, length_crc = HEADER.unpack(header)
    if length_crc != masked_crc(header[: _LENGTH.size]):
        raise RecordsError(f"{where} is damaged (checksum of its length); {cure}")
    if length + OVERHEAD > bytes_left:
        raise RecordsError(f"{where} is cut short; {cure}")
    data, footer = file.read(length), file.read(FOOTER.size)
    if len(footer) < FOOTER.size:  # the file has become shorter, or is shorter than its card says
        raise RecordsError(f"{where} is cut short; {cure}")
    if FOOTER.unpack(footer)[0] != masked_crc(data):
        raise RecordsError(f"{where} is damaged (checksum of its data); {cure}")
    return data
