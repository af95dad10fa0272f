"""Tensors in messages: written and read as a whole, equal to the official ways."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from bladerunner_ae.protocol import messages, tensors

RANDOM = np.random.default_rng(0)
ARRAYS = [
    RANDOM.integers(0, 256, (1, 9, 11, 3)).astype(np.uint8),
    RANDOM.normal(size=(2, 200)).astype(np.float32),
    RANDOM.normal(size=200),
    RANDOM.integers(-9, 9, 100).astype(np.int64),
    RANDOM.integers(0, 2**14, 100).astype(np.int32),
    RANDOM.integers(0, 2**30, 100).astype(np.int32),
    RANDOM.integers(-128, 128, 100).astype(np.int8),
    RANDOM.integers(0, 99, 100).astype(np.uint32),
    RANDOM.integers(0, 2, (3, 50)).astype(bool),
    np.array([[b"a"], [b"\xff\x00"]], object),
    np.array(3.0, np.float32),
    np.zeros((0, 3), np.float32),
    np.array([-1, 5], np.int32),
]


def same(found: Any, wanted: Any) -> None:
    assert found.dtype == wanted.dtype and found.shape == wanted.shape
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("content", [False, True])
@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}{a.shape}")
def test_there_and_back(array: Any, content: bool) -> None:
    data = tensors.write(array, content)
    same(tensors.read(data, 1 << 20), array)
    official = tf.make_tensor_proto(0)
    official.ParseFromString(data)
    same(tf.make_ndarray(official), array)
    if not content:  # where TensorFlow Serving's clients look for it
        assert not official.tensor_content


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}{a.shape}")
def test_tensors_of_tensorflow_are_read(array: Any) -> None:
    same(tensors.read(tf.make_tensor_proto(array).SerializeToString(), 1 << 20), array)
    field_by_field = messages.TensorProto.FromString(tensors.write(array))
    same(tensors.read(field_by_field.SerializeToString(), 1 << 20), array)


def test_too_large_shapes_are_refused() -> None:
    message = tensors.to_tensor(np.zeros(1, np.float32))
    for size in (1 << 40, -1):
        message.tensor_shape.dim[0].size = size
        with pytest.raises(ValueError):
            tensors.read(message.SerializeToString(), 1 << 20)


@pytest.mark.parametrize("data", [b"\xff", b"\x08\x01\x12\x04\x12\x02\x08\x02\x2a\x05\x00", b""])
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        tensors.read(data, 1 << 20)


def test_truncated_messages_are_refused() -> None:
    for content in (True, False):
        data = tensors.write(np.arange(100, dtype=np.uint8) + 100, content)
        for end in range(len(data) - 1, 10, -7):
            try:
                found = tensors.read(data[:end], 1 << 20)
            except ValueError:
                continue
            assert not content and len(found) == 100  # the last number counts on


def test_missing_numbers_repeat_the_last_one() -> None:
    message = messages.TensorProto.FromString(tensors.write(np.full(100, 7, np.uint8)))
    message.tensor_shape.dim[0].size = 150
    same(tensors.read(message.SerializeToString(), 1 << 20), np.full(150, 7, np.uint8))


def test_names_and_numpy_types() -> None:
    assert [tensors.type_name(n) for n in (1, 4, 7, 19)] == ["float", "uint8", "string", "half"]
    assert tensors.numpy_type(7).kind == "O"
    with pytest.raises(ValueError):
        tensors.numpy_type(8)
