"""Frames as a camera that had moved a little would have shown them, for the fit of the memory."""

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

Floats = NDArray[np.float32]

# (right, down, nearer): shifts as parts of the width and of the height, and enlargement.
_MOVED = (
    (-0.03, 0.0, 1.0), (-0.015, 0.0, 1.0), (0.015, 0.0, 1.0), (0.03, 0.0, 1.0),
    (0.0, -0.03, 1.0), (0.0, 0.03, 1.0), (0.0, 0.0, 0.95), (0.0, 0.0, 1.05),
)  # fmt: skip

MOVES = len(_MOVED)


def moved_frames(pictures: Floats) -> Floats:
    """Return each picture, float32 [n, h, w, 3], moved in `MOVES` ways: [n, MOVES, h, w, 3].

    Bilinear; what was outside has the colour of the edge.
    """
    count, height, width, colours = pictures.shape
    found = np.empty((count, MOVES, height, width, colours), np.float32)
    for i, (right, down, nearer) in enumerate(_MOVED):
        rows, columns = _weights(height, down, nearer), _weights(width, right, nearer)
        seen = tf.matmul(rows, pictures.reshape(count, height, width * colours))
        turned = tf.transpose(tf.reshape(seen, [count, height, width, colours]), [0, 2, 1, 3])
        seen = tf.matmul(columns, tf.reshape(turned, [count, width, height * colours]))
        seen = tf.reshape(seen, [count, width, height, colours])
        found[:, i] = tf.transpose(seen, [0, 2, 1, 3]).numpy()
    return found


def _weights(size: int, shift: float, nearer: float) -> Floats:
    """Return the weights of a line's pixels in those of the moved line, float32 [size, size]."""
    pixels = np.arange(size)
    centre = (size - 1) / 2
    at = np.clip(centre + (pixels - centre) / nearer - shift * size, 0, size - 1)
    return np.maximum(1.0 - np.abs(at[:, None] - pixels), 0.0).astype(np.float32)
