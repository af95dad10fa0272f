"""Range conversion: all 256 values, both ways, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from bladerunner_ae.model import pixels

ALL = np.arange(256, dtype=np.uint8)


def test_every_value_survives_the_round_trip() -> None:
    floats = pixels.to_float(ALL)
    assert floats.dtype == tf.float32
    back = pixels.to_pixels(floats)
    assert back.dtype == tf.uint8
    np.testing.assert_array_equal(back.numpy(), ALL)


def test_ends_and_steps_of_the_range() -> None:
    floats = pixels.to_float(ALL).numpy()
    assert floats[0] == -1.0
    assert floats[255] == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(floats, ALL.astype(np.float64) / 127.5 - 1, atol=1e-6)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(-1.0, 0), (-3.0, 0), (-1e9, 0), (-np.inf, 0), (0.0, 128), (1.0, 255), (1.004, 255),
     (300.0, 255), (1e9, 255), (np.inf, 255)],
)  # fmt: skip
def test_what_lies_outside_is_clipped(value: float, expected: int) -> None:
    assert pixels.to_pixels(tf.constant([value], tf.float32)).numpy().tolist() == [expected]


@pytest.mark.parametrize(("offset", "expected"), [(-0.49, 100), (0.49, 100), (0.51, 101)])
def test_rounds_to_the_nearest(offset: float, expected: int) -> None:
    value = tf.constant((100 + offset) / 127.5 - 1.0, tf.float32)
    assert int(pixels.to_pixels(value)) == expected


def test_a_dark_picture_is_not_stretched() -> None:
    dark = np.zeros((1, 2, 3, 3), np.uint8)
    dark[0, 1, 2] = (3, 0, 7)
    image = pixels.to_float(dark)
    assert float(tf.reduce_max(image)) == pytest.approx(7 / 127.5 - 1)
    np.testing.assert_array_equal(pixels.to_pixels(image).numpy(), dark)


def test_bfloat16_comes_out_as_pixels() -> None:
    image = tf.cast(pixels.to_float(ALL), tf.bfloat16)
    error = pixels.to_pixels(image).numpy().astype(int) - ALL
    assert np.abs(error).max() <= 1
