"""How new held-out frames are: which of them have a near copy among the frames that were seen.

A shot that comes back, or stands still, has frames that training saw all but the same elsewhere. On
those a memory is flattered; figures without them say what a network makes of something new.
"""

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from bladerunner_ae.command_line.progress import Progress
from bladerunner_ae.model.autoencoder import Pictures
from tfrecords.card import FilmCard
from tfrecords.frames import chosen_batches
from tfrecords.storage import Location

NO_COPY, NEW = "held out, no near copy", "held out, new"

COPY_DB, NEW_DB = 36.0, 26.0
"""A seen frame as near as the one is a near copy; a frame that has none as near as the other is
new."""

MOST_SEEN = 30_000
"""Seen frames of the longest film whose held-out frames are compared with all of them."""

_BATCH = 256
_PEAK = 255.0


def nearest_seen(
    records: Location, card: FilmCard, images: Pictures, seen: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Return each picture's PSNR, dB, to the most similar of the film's `seen` frames.

    `images` are uint8 [n, H, W, 3], `seen` bool [frames] with some True. Reads those frames once.
    """
    ours = _flat(images)
    nearest = np.full(len(images), np.inf, np.float32)
    squares = tf.reduce_sum(tf.square(ours), 1)[:, None]
    with Progress("compare", int(seen.sum())) as progress:
        for batch, _, _ in chosen_batches(records, card, seen, _BATCH):
            theirs = _flat(batch)
            distances = squares - 2.0 * tf.matmul(ours, theirs, transpose_b=True)
            distances += tf.reduce_sum(tf.square(theirs), 1)[None]
            nearest = np.minimum(nearest, tf.reduce_min(distances, axis=1).numpy())
            progress.update(len(batch))
    error = np.maximum(nearest / images[0].size, 1e-2)
    return np.asarray(10.0 * np.log10(_PEAK**2 / error), np.float32)


def _flat(images: Pictures) -> tf.Tensor:
    return tf.constant(images.reshape(len(images), -1).astype(np.float32) - _PEAK / 2)
