"""How a film is divided into shards: arithmetic and names."""

from __future__ import annotations

from itertools import pairwise


def shard_name(index: int, count: int) -> str:
    """Returns the file name of shard `index` (from 0) of `count`.

    Names sort in film order as text, and each says how many there are.

    >>> shard_name(0, 16)
    'frames-00000-of-00016.tfrecord'
    """
    if not 0 <= index < count:
        raise ValueError(f"there is no shard {index} of {count}")
    return f"frames-{index:05d}-of-{count:05d}.tfrecord"


def shard_ranges(frames: int, shards: int) -> list[range]:
    """Returns which frames each shard holds: consecutive, in film order, none empty.

    Sizes differ by at most one, the longer shards first. A film of fewer frames than `shards` gets
    as many shards as it has frames, so the result is a function of the two numbers alone.

    Raises:
        ValueError: `frames` is negative or `shards` is not positive.
    """
    if frames < 0 or shards < 1:
        raise ValueError(f"cannot divide {frames} frames into {shards} shards")
    count = min(shards, frames)
    if count == 0:
        return []
    size, longer = divmod(frames, count)
    starts = [index * size + min(index, longer) for index in range(count + 1)]
    return [range(start, end) for start, end in pairwise(starts)]
