"""Finding the place of a record in its shard without reading what lies before it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.small_records import FILM_ID, card_maker, flip_byte
from tfrecords import record_offsets, storage
from tfrecords.card import FilmCard, Shard
from tfrecords.framing import OVERHEAD, read_records
from tfrecords.record_errors import RecordsError
from tfrecords.record_offsets import record_offset
from tfrecords.schema import Frame
from tfrecords.writer import FilmWriter


def write_film(
    folder: Path, sizes: list[int], num_shards: int = 1, zeros: bool = False
) -> FilmCard:
    """Write frames whose pictures are random bytes, or zeros, of given sizes."""
    generator = np.random.default_rng(0)
    with FilmWriter(folder, len(sizes), num_shards) as writer:
        for index, size in enumerate(sizes):
            data = bytes(size) if zeros else generator.bytes(size)
            writer.write(Frame(data, "jpeg", 8, 8, index, index, FILM_ID))
        return writer.commit(card_maker(8, 8), overwrite=False)


def true_offsets(path: Path) -> list[int]:
    lengths = [len(record) + OVERHEAD for record in read_records(path)]
    return np.cumsum([0, *lengths]).tolist()


SIZES = {
    "even": [900] * 300,
    "rising": [10 + 8 * n for n in range(300)],
    "falling": [10 + 8 * (300 - n) for n in range(300)],
    "one giant first": [200_000] + [20] * 299,
    "one giant last": [20] * 299 + [200_000],
    "wild": [int(10 ** (1 + n * 7919 % 4)) for n in range(60)],
    "two": [50, 60],
}


@pytest.mark.parametrize("zeros", [False, True], ids=["noise", "zeros"])
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES.keys())
def test_every_record_is_found(tmp_path: Path, sizes: list[int], zeros: bool) -> None:
    card = write_film(tmp_path / "film", sizes, zeros=zeros)
    path = tmp_path / "film" / card.shards[0].name
    offsets = true_offsets(path)
    numbers = {0, 1, 2, 7, 8, 9, 10, len(sizes) // 3, len(sizes) // 2, len(sizes) - 1, len(sizes)}
    for number in sorted(number for number in numbers if number <= len(sizes)):
        assert record_offset(path, card.shards[0], number) == offsets[number], number


def test_later_shards_count_from_their_own_first_frame(tmp_path: Path) -> None:
    card = write_film(tmp_path / "film", SIZES["rising"], num_shards=3)
    for shard in card.shards:
        path = tmp_path / "film" / shard.name
        assert record_offset(path, shard, 60) == true_offsets(path)[60]


def test_little_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(1)
    card = write_film(tmp_path / "film", generator.integers(4_000, 30_000, 600).tolist())
    (shard,) = card.shards
    read = []
    look = record_offsets._next_record

    def counted(file, path, shard, start, end):  # type: ignore[no-untyped-def]
        read.append(start)
        return look(file, path, shard, start, end)

    monkeypatch.setattr(record_offsets, "_next_record", counted)
    path = tmp_path / "film" / shard.name
    offsets = true_offsets(path)
    for number in (100, 300, 550):
        read.clear()
        assert record_offset(path, shard, number) == offsets[number]
        # A look reads two records at most three times over: half a percent of the shard.
        assert len(read) <= 8


def test_damage_before_the_place_does_not_matter(tmp_path: Path) -> None:
    card = write_film(tmp_path / "film", [1000] * 400)
    (shard,) = card.shards
    path = tmp_path / "film" / shard.name
    offsets = true_offsets(path)
    for record in range(0, 150):
        flip_byte(path, offsets[record] + 100)
    assert record_offset(path, shard, 300) == offsets[300]


def test_damaged_headers_on_the_way_are_named(tmp_path: Path) -> None:
    card = write_film(tmp_path / "film", [1000] * 20)
    (shard,) = card.shards
    path = tmp_path / "film" / shard.name
    flip_byte(path, true_offsets(path)[3])
    with pytest.raises(RecordsError, match=r"record 3 \(from 0\) is damaged \(checksum of its len"):
        record_offset(path, shard, 5)


def test_another_shard_in_its_place_is_noticed(tmp_path: Path) -> None:
    card = write_film(tmp_path / "film", [1000] * 200, num_shards=2)
    path = tmp_path / "film" / card.shards[1].name
    with pytest.raises(RecordsError, match="is not of this shard"):
        record_offset(path, card.shards[0], 50)


@pytest.mark.parametrize("number", [-1, 3])
def test_records_that_do_not_exist(tmp_path: Path, number: int) -> None:
    with pytest.raises(ValueError, match=f"no record {number}"):
        record_offset(tmp_path / "film", Shard("film", 2, 0, 100, "0" * 64), number)


def test_a_remote_shard(tmp_path: Path) -> None:
    card = write_film(tmp_path / "film", SIZES["rising"])
    (shard,) = card.shards
    local = tmp_path / "film" / shard.name
    remote = storage.join("memory://seeking", shard.name)
    storage.copy_to_remote(local, remote)
    assert record_offset(remote, shard, 200) == true_offsets(local)[200]
