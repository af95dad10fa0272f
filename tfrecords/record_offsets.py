"""Offset of a record in its shard, found with a few small reads instead of reading up to it.

Every record's header is under a checksum and every record tells its frame's number, so wherever a
shard is opened, the next record can be found and named. Records of one film are of similar size: a
few probes, each nearer, lead to any of them, on a disk as in a remote store.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np

from tfrecords import storage
from tfrecords.card import Shard
from tfrecords.framing import HEADER, OVERHEAD, checked_length, missing_shard, read_record, scan
from tfrecords.record_errors import DamagedError
from tfrecords.schema import parse

_WALKED_RECORDS = 8
_WALKED_BETWEEN = 64  # twelve bytes of each are less to read than a single probe's kilobytes
_PROBES = 24


def record_offset(path: storage.AnyPath, shard: Shard, number: int) -> int:
    """Return the byte at which record `number` begins; for the record count, the file's size."""
    if not 0 <= number <= shard.frames:
        raise ValueError(f"{path}: has no record {number}")
    if number in (0, shard.frames):
        return 0 if number == 0 else shard.bytes
    with _unbuffered(path) as file:
        return _offset(file, path, shard, number, (0, 0))


def chosen_data(
    path: storage.AnyPath, shard: Shard, numbers: Iterable[int]
) -> Iterator[tuple[int, bytes]]:
    """Yield (number, data) of a shard's records `numbers`, ascending, without those between."""
    here = (0, 0)
    try:
        with _unbuffered(path) as file:
            for number in numbers:
                offset = _offset(file, path, shard, number, here, _WALKED_BETWEEN)
                file.seek(offset)
                data = read_record(file, shard.bytes - offset, path, number)
                yield number, data
                here = (number + 1, offset + len(data) + OVERHEAD)
    except FileNotFoundError as error:
        raise missing_shard(path) from error


@contextmanager
def _unbuffered(path: storage.AnyPath) -> Iterator[BinaryIO]:
    # A probe is of some kilobytes; the usual buffer would read a megabyte for each.
    with storage.open_for_reading(path, buffering=0) as file:
        yield file


def _offset(
    file: BinaryIO,
    path: storage.AnyPath,
    shard: Shard,
    number: int,
    low: tuple[int, int],
    walked: int = _WALKED_RECORDS,
) -> int:
    """Return the byte at which a record begins.

    `low` is (an earlier record, its offset). The last `walked` records are stepped from header to
    header.
    """
    high = (shard.frames, shard.bytes)  # (record, where it begins at the earliest)
    for _ in range(_PROBES):
        if number - low[0] <= walked:
            break
        share = (number - low[0]) / (high[0] - low[0])
        guess = low[1] + int(share * (high[1] - low[1]) * 0.99)
        found = _next_record(file, path, shard, guess, high)
        if found[0] > number:
            high = (found[0], guess)  # no record before it begins after the guess
        else:
            low = found
    offset = low[1]
    for record in range(low[0], number):
        file.seek(offset)
        length = checked_length(file.read(HEADER.size))
        if length is None:
            raise DamagedError(
                path, f"record {record} (from 0) is damaged (checksum of its length)"
            )
        offset += length + OVERHEAD
    return offset


def _next_record(
    file: BinaryIO, path: storage.AnyPath, shard: Shard, start: int, end: tuple[int, int]
) -> tuple[int, int]:
    """Return (number, offset) of the first record that begins in bytes [start, end), else `end`."""
    block = 2 * shard.bytes // shard.frames + 4096
    while start < end[1]:
        file.seek(start)
        data = file.read(min(block, end[1] + HEADER.size - start))
        for place in _plausible_headers(data):
            if checked_length(data[place : place + HEADER.size]) is None:
                continue
            offset = start + place
            file.seek(offset)
            record = next(scan(file, shard.bytes - offset))
            if record.data is not None:
                number = parse(record.data).index - shard.first_frame
                if not 0 <= number < shard.frames:
                    raise DamagedError(path, f"the record at byte {offset} is not of this shard")
                return number, offset
        start += max(len(data) - HEADER.size + 1, 1)
    return end


def _plausible_headers(data: bytes) -> list[int]:
    """Return the places in `data` where a length below 2 ** 32 may stand: four bytes of zero."""
    zero = np.frombuffer(data, np.uint8) == 0
    count = len(data) - HEADER.size + 1
    if count <= 0:
        return []
    high = zero[4 : 4 + count]
    for byte in (5, 6, 7):
        high = high & zero[byte : byte + count]
    return [int(place) for place in np.flatnonzero(high)]
