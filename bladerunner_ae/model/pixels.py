"""The two representations of a picture, and the conversions between them.

Outside the networks: uint8 `[..., height, width, 3]`, RGB, 0..255. Inside: float32, -1..1. Black is
-1 and stays exactly black; nothing is ever stretched to a picture's own range.
"""

import tensorflow as tf


def to_float(pixels: tf.Tensor) -> tf.Tensor:
    """Convert uint8 0..255 to float32 -1..1; `to_pixels` is its exact inverse."""
    return tf.cast(pixels, tf.float32) * (2.0 / 255.0) - 1.0


def to_pixels(image: tf.Tensor) -> tf.Tensor:
    """Convert float -1..1 to uint8 0..255, rounded to the nearest and clipped."""
    scaled = tf.round((tf.cast(image, tf.float32) + 1.0) * (255.0 / 2.0))
    # Cast through int32: a direct cast of a float beyond 255 is undefined.
    return tf.cast(tf.cast(tf.clip_by_value(scaled, 0.0, 255.0), tf.int32), tf.uint8)


def to_unit(image: tf.Tensor) -> tf.Tensor:
    """Convert float -1..1 to float32 0..1, clipped; times 255 and rounded it equals `to_pixels`."""
    return tf.clip_by_value((tf.cast(image, tf.float32) + 1.0) * 0.5, 0.0, 1.0)
