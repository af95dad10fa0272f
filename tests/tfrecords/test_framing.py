"""The TFRecord container: TensorFlow reads it, and every damage is named by record."""

from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf

from tests.helpers.small_records import flip_byte
from tfrecords import storage
from tfrecords.framing import OVERHEAD, masked_crc, read_records, write_record
from tfrecords.record_errors import RecordsError

RECORDS = [b"first", b"", bytes(range(256)) * 40, b"last"]
CURE = "run make_tfrecords again with --overwrite"


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "frames-00000-of-00001.tfrecord"
    with open(path, "wb") as file:
        for record in RECORDS:
            assert write_record(file, record) == len(record) + OVERHEAD
    return path


def test_bytes_are_those_of_tensorflow(shard: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.tfrecord"
    with tf.io.TFRecordWriter(str(theirs)) as writer:
        for record in RECORDS:
            writer.write(record)
    assert shard.read_bytes() == theirs.read_bytes()


def test_both_readers_read_the_records(shard: Path) -> None:
    assert list(read_records(shard)) == RECORDS
    assert list(tf.data.TFRecordDataset(str(shard)).as_numpy_iterator()) == RECORDS


def test_mask_of_the_published_check_value() -> None:
    # CRC-32C of "123456789" is E3069283; rotated right by 15 bits plus A282EAD8.
    rotated = (0xE3069283 >> 15 | 0xE3069283 << 17) & 0xFFFFFFFF
    assert masked_crc(b"123456789") == (rotated + 0xA282EAD8) % 2**32


def test_empty_shard_has_no_records(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    assert list(read_records(path)) == []


def test_missing_shard_is_named(tmp_path: Path) -> None:
    path = tmp_path / "frames-00003-of-00016.tfrecord"
    with pytest.raises(RecordsError, match=f"^{path}: shard is missing; .*{CURE}$"):
        list(read_records(path))


def test_every_length_of_a_cut_shard(shard: Path) -> None:
    """Wherever the file ends, the whole records come and then the broken one is named."""
    whole = shard.read_bytes()
    ends = [0]
    for record in RECORDS:
        ends.append(ends[-1] + len(record) + OVERHEAD)
    lengths = [*range(60), ends[2] + 5000, *range(ends[3] - 20, ends[4])]
    for length in lengths:
        shard.write_bytes(whole[:length])
        complete = sum(end <= length for end in ends[1:])
        got = []
        if length in ends:
            got = list(read_records(shard))
        else:
            message = rf"^{shard}: record {complete} \(from 0\) is cut short; .*{CURE}$"
            with pytest.raises(RecordsError, match=message):
                for record in read_records(shard):
                    got.append(record)
        assert got == RECORDS[:complete]


def test_every_flipped_byte_of_a_record_is_found(shard: Path) -> None:
    start, length = len(RECORDS[0]) + OVERHEAD + OVERHEAD, len(RECORDS[2])
    positions = [
        *range(12),
        12,
        12 + length // 2,
        12 + length - 1,
        *range(12 + length, 16 + length),
    ]
    for position in positions:
        flip_byte(shard, start + position)
        part = "length" if position < 12 else "data"
        message = rf"^{shard}: record 2 \(from 0\) is damaged \(checksum of its {part}\); .*{CURE}$"
        with pytest.raises(RecordsError, match=message):
            list(read_records(shard))
        flip_byte(shard, start + position)
    assert list(read_records(shard)) == RECORDS


def test_shard_of_a_remote_file_system_is_read(shard: Path) -> None:
    remote = "memory://framing/shard.tfrecord"  # fsspec's, stands for s3:// and the others
    storage.copy_to_remote(shard, remote)
    assert list(read_records(remote)) == RECORDS
    with pytest.raises(RecordsError, match=r"^memory://framing/absent: shard is missing"):
        list(read_records("memory://framing/absent"))
