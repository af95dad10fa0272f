"""Which frames a run learns from, and the few it is watched by."""

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray


def collect_images(dataset: tf.data.Dataset, count: int) -> NDArray[np.uint8]:
    """Returns the first `count` images of a training data set, uint8 [count, H, W, 3]."""
    found: list[NDArray[np.uint8]] = []
    for batch in dataset:
        found.append(batch["image"].numpy())
        if sum(map(len, found)) >= count:
            break
    return np.concatenate(found)[:count]


def is_black(images: NDArray[np.uint8]) -> bool:
    """Whether pictures, uint8 of any shape, hold nothing but black, JPEG's rounding aside."""
    return int(images.max()) <= 1


def are_black(dataset: tf.data.Dataset, count: int) -> bool:
    """Whether the first `count` images of a training data set are; reads up to the first other."""
    seen = 0
    for batch in dataset:
        if not is_black(batch["image"].numpy()):
            return False
        seen += len(batch["image"])
        if seen >= count:
            break
    return True
