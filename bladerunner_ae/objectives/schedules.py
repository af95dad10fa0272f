"""Weights that change while a run learns, as functions of how far it has come.

Progress is the part of the run's steps that has been taken, 0 to 1, so a schedule keeps its shape
when `--steps` changes. All functions take and give scalar tensors and work inside a graph.
"""

import tensorflow as tf


def ramp(progress: tf.Tensor, start: float, end: float) -> tf.Tensor:
    """Rises from 0 at `start` to 1 at `end` along a straight line.

    Args:
        progress: scalar, 0..1.
        start, end: the part of the run where it begins and where it is there; equal for a jump.

    Returns:
        float32 scalar, 0..1.
    """
    progress = tf.cast(progress, tf.float32)
    if end <= start:
        return tf.cast(progress >= start, tf.float32)
    return tf.clip_by_value((progress - start) / (end - start), 0.0, 1.0)
