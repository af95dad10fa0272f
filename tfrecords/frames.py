"""Single frames of a film's records, without reading the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from tfrecords import storage
from tfrecords.card import FilmCard
from tfrecords.reader import decode_image, film_frames
from tfrecords.record_streams import chosen_records

FrameBatch = tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]


def read_images(
    directory: storage.AnyPath, card: FilmCard, indices: Sequence[int]
) -> NDArray[np.uint8]:
    """Return the pictures of `read_frames` without their times."""
    return read_frames(directory, card, indices)[0]


def read_frames(
    directory: storage.AnyPath, card: FilmCard, indices: Sequence[int]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read single frames, and little else of the shards that hold them.

    Returns:
        Pictures uint8 [n, height, width, 3] and times int64 [n] in units of the card's time base,
        in the order of `indices`.

    Raises:
        RecordsError: one of the records is damaged, or another frame than the card says.
    """
    wanted = np.asarray(indices, np.int64)
    images = np.empty((len(wanted), card.height, card.width, 3), np.uint8)
    pts = np.empty(len(wanted), np.int64)
    for frame in chosen_records(directory, card, np.unique(wanted)):
        places = wanted == frame.index
        images[places] = decode_image(frame.encoded, card.height, card.width).numpy()
        pts[places] = frame.pts
    return images, pts


def chosen_batches(
    directory: storage.AnyPath, card: FilmCard, chosen: NDArray[np.bool_], batch_size: int
) -> Iterator[FrameBatch]:
    """Yield the frames that `chosen` (bool [frames]) marks, in film order.

    Batches are (pictures uint8 [n, height, width, 3], numbers int64 [n], times int64 [n] in units
    of the card's time base); the last may be shorter. Other frames are not decoded and, unless they
    are few, not read. Memory is that of some batches.

    Raises:
        RecordsError: as `read_frames`.
        tf.errors.DataLossError, tf.errors.InvalidArgumentError: as `reader.film_frames`.
    """
    if chosen.all():
        for batch in film_frames(directory, batch_size=batch_size):
            yield batch["image"].numpy(), batch["index"].numpy(), batch["pts"].numpy()
        return
    frames = chosen_records(directory, card, np.flatnonzero(chosen))
    while batch := list(islice(frames, batch_size)):
        yield (
            np.stack([decode_image(f.encoded, card.height, card.width).numpy() for f in batch]),
            np.array([frame.index for frame in batch], np.int64),
            np.array([frame.pts for frame in batch], np.int64),
        )
