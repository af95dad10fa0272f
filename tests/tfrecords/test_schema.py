"""Records are exactly what TensorFlow itself would write, and are read back without it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from tests.helpers.small_records import FILM_ID
from tfrecords.record_errors import RecordsError
from tfrecords.schema import SPEC, Frame, example_spec, parse, serialize

FRAMES = [
    Frame(b"\xff\xd8picture", "jpeg", 72, 128, 0, 0, FILM_ID),
    Frame(b"", "png", 1, 1, 2**40, -(2**40), "ü"),
    Frame(bytes(range(256)) * 300, "jpeg", 144, 256, 167_999, -1, ""),
]


def tensorflow_example(frame: Frame) -> tf.train.Example:
    """Return the record written by hand with TensorFlow's own classes."""

    def of_bytes(value: bytes) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    def of_int(value: int) -> tf.train.Feature:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    feature = {
        "image/encoded": of_bytes(frame.encoded),
        "image/format": of_bytes(frame.format.encode()),
        "image/height": of_int(frame.height),
        "image/width": of_int(frame.width),
        "frame/index": of_int(frame.index),
        "frame/pts": of_int(frame.pts),
        "film/id": of_bytes(frame.film_id.encode()),
    }
    return tf.train.Example(features=tf.train.Features(feature=feature))


@pytest.mark.parametrize("frame", FRAMES, ids=["usual", "extreme", "large"])
def test_bytes_are_those_of_tensorflow(frame: Frame) -> None:
    assert serialize(frame) == tensorflow_example(frame).SerializeToString(deterministic=True)


@pytest.mark.parametrize("frame", FRAMES, ids=["usual", "extreme", "large"])
def test_parse_inverts_serialize(frame: Frame) -> None:
    assert parse(serialize(frame)) == frame


def test_tensorflow_parses_with_the_same_spec() -> None:
    for frame in FRAMES:
        features = tf.io.parse_single_example(serialize(frame), example_spec())
        assert set(features) == {field.key for field in SPEC}
        for field in SPEC:
            value = features[field.key].numpy()
            expected = getattr(frame, field.attribute)
            assert value == (expected.encode() if field.type is str else expected)


def test_keys_in_another_order_are_parsed() -> None:
    # A map may be serialised in any order; records of other tools need not be sorted.
    features = tensorflow_example(FRAMES[0]).features.feature
    single = [tf.train.Example(features=tf.train.Features(feature={k: v})) for k, v in
              sorted(features.items(), reverse=True)]  # fmt: skip
    whole = b"".join(example.SerializeToString() for example in single)
    assert parse(whole) == FRAMES[0]


def test_unknown_image_format_is_refused() -> None:
    with pytest.raises(ValueError, match="webp"):
        serialize(Frame(b"", "webp", 1, 1, 0, 0, FILM_ID))


def test_bytes_that_are_no_example() -> None:
    with pytest.raises(RecordsError, match=r"not a tf\.train\.Example"):
        parse(b"\xff\xff\xff")


@pytest.mark.parametrize("key", [field.key for field in SPEC])
def test_missing_feature_is_named(key: str) -> None:
    example = tensorflow_example(FRAMES[0])
    del example.features.feature[key]
    with pytest.raises(RecordsError, match=f"'{key}'"):
        parse(example.SerializeToString())


def test_feature_of_another_type_is_named() -> None:
    example = tensorflow_example(FRAMES[0])
    example.features.feature["frame/index"].bytes_list.value.append(b"7")
    with pytest.raises(RecordsError, match="int 'frame/index'"):
        parse(example.SerializeToString())


def test_writing_neither_imports_nor_disturbs_tensorflow() -> None:
    # Both sides declare messages of the same names; they must not meet in one descriptor pool.
    program = (
        "import sys, tfrecords.writer, tfrecords.card\n"
        "assert 'tensorflow' not in sys.modules and 'numpy' not in sys.modules\n"
        "import tensorflow as tf\n"
        "frame = tfrecords.schema.Frame(b'x', 'png', 1, 1, 3, 4, 'id')\n"
        "example = tf.train.Example.FromString(tfrecords.schema.serialize(frame))\n"
        "print(example.features.feature['frame/index'].int64_list.value[0])\n"
    )
    root = Path(__file__).parent.parent.parent
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(root)}
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment
    )
    assert result.stdout.strip() == "3", result.stderr
