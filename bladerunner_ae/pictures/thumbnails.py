"""Small versions of pictures, to compare them with each other."""

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

Pictures = NDArray[np.uint8]

SMALL = 16
"""Side of the thumbnails among which nearest neighbours are found."""

_BATCH = 256


def small(images: Pictures) -> NDArray[np.float32]:
    """Scale pictures, uint8 [n, H, W, 3], to thumbnails, float32 [n, SMALL * SMALL * 3]."""
    return np.concatenate([part.numpy() for part in resized(images, SMALL)]).reshape(
        len(images), -1
    )


def resized(images: Pictures, side: int) -> list[tf.Tensor]:
    """Scale pictures, uint8 [n, H, W, 3], to float32 [m, side, side, 3] tensors, in order."""
    return [
        tf.image.resize(images[start : start + _BATCH], [side, side], antialias=True)
        for start in range(0, len(images), _BATCH)
    ]
