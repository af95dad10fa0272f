"""Division of a film into shards: arithmetic and names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise

MOST_SHARDS = 99_999
_NAME = re.compile(r"frames-(\d{5})-of-(\d{5})\.tfrecord")


def shard_name(index: int, count: int) -> str:
    """Return the file name of shard `index` (from 0) of `count`; names sort in film order.

    >>> shard_name(0, 16)
    'frames-00000-of-00016.tfrecord'
    """
    if not 0 <= index < count:
        raise ValueError(f"there is no shard {index} of {count}")
    return f"frames-{index:05d}-of-{count:05d}.tfrecord"


def is_shard_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def missing_shards(names: Iterable[str]) -> list[str]:
    """Return the shards that are missing according to the names of the others."""
    there = [match.groups() for name in names if (match := _NAME.fullmatch(name))]
    counts = {count for _, count in there}
    if len(counts) != 1:
        return []
    count = int(counts.pop())
    missing = set(range(count)) - {int(index) for index, _ in there}
    return [shard_name(index, count) for index in sorted(missing)]


def is_all_shards(names: Iterable[str]) -> bool:
    """Return whether all files are shards, apart from the hidden card of a killed writer."""
    left = [name for name in names if not name.startswith(".film.json.")]
    return bool(left) and all(map(is_shard_name, left))


def shard_ranges(frames: int, shards: int) -> list[range]:
    """Return the frames of each shard: consecutive, in film order, none empty.

    Sizes differ by at most one, the longer shards first. A film of fewer frames than `shards` gets
    one shard per frame, so the result is a function of the two numbers alone.
    """
    if frames < 0 or shards < 1:
        raise ValueError(f"cannot divide {frames} frames into {shards} shards")
    count = min(shards, frames)
    if count == 0:
        return []
    size, longer = divmod(frames, count)
    starts = [index * size + min(index, longer) for index in range(count + 1)]
    return [range(start, end) for start, end in pairwise(starts)]
