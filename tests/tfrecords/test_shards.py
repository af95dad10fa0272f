"""The arithmetic of shards."""

from __future__ import annotations

import itertools

import pytest

from tfrecords.shards import shard_name, shard_ranges


def test_names() -> None:
    assert shard_name(0, 16) == "frames-00000-of-00016.tfrecord"
    assert shard_name(15, 16) == "frames-00015-of-00016.tfrecord"
    names = [shard_name(index, 12_000) for index in range(12_000)]
    assert names == sorted(names)


@pytest.mark.parametrize(("index", "count"), [(-1, 4), (4, 4), (0, 0)])
def test_there_is_no_such_shard(index: int, count: int) -> None:
    with pytest.raises(ValueError):
        shard_name(index, count)


def test_known_division() -> None:
    assert shard_ranges(10, 4) == [range(0, 3), range(3, 6), range(6, 8), range(8, 10)]
    assert shard_ranges(2, 4) == [range(0, 1), range(1, 2)]
    assert shard_ranges(0, 4) == []


def test_laws_of_division() -> None:
    for frames, shards in itertools.product(range(1, 70), range(1, 20)):
        ranges = shard_ranges(frames, shards)
        sizes = [len(part) for part in ranges]
        assert len(ranges) == min(frames, shards)
        assert list(itertools.chain(*ranges)) == list(range(frames))
        assert max(sizes) - min(sizes) <= 1
        assert min(sizes) >= 1


@pytest.mark.parametrize(("frames", "shards"), [(-1, 4), (5, 0), (5, -2)])
def test_impossible_division(frames: int, shards: int) -> None:
    with pytest.raises(ValueError, match="cannot divide"):
        shard_ranges(frames, shards)
