"""Which frames a run learns from, and the few it is watched by."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from bladerunner_ae.errors import InputError
from tfrecords import storage
from tfrecords.card import FilmCard
from tfrecords.messages import counted
from tfrecords.reader import decode_image, film_frames
from tfrecords.streams import chosen_records

Shots = list[tuple[int, int]]
FrameBatch = tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]


def hold_out_shots(card: FilmCard, fraction: float, seed: int = 0) -> Shots:
    """Chooses whole shots to keep from training, never single frames: neighbours are near equal.

    Shots are taken in an order drawn from `seed` while they fit; the first that overshoots is
    taken too if that brings the sum nearer to the fraction.

    Args:
        card: of the film.
        fraction: of its frames to hold out, 0 to below 1.
        seed: the same film, fraction and seed give the same shots.

    Returns:
        [(first frame, frame after the last)], in film order; empty for fraction 0.

    Raises:
        InputError: the film has too few shots for any to be held out.
    """
    if fraction == 0:
        return []
    shots = card.shots()
    wanted = fraction * card.frames
    order = np.random.default_rng(seed).permutation(len(shots))
    held: Shots = []
    total = 0
    for start, end in (shots[i] for i in order):
        if abs(total + end - start - wanted) < abs(total - wanted):
            held.append((start, end))
            total += end - start
    if not held or len(held) == len(shots):
        runs = "add --holdout_seconds=2 to hold out runs of two seconds, or "
        raise InputError(
            f"{card.source['name']}: has too few shots ({len(shots)}) to hold out whole ones; "
            f"{runs if _runs(card, fraction, 2.0) else ''}use --holdout=0"
        )
    return sorted(held)


def hold_out_runs(card: FilmCard, fraction: float, seconds: float) -> Shots:
    """Chooses runs of equal length, evenly spread, to keep from training.

    Weaker evidence than whole shots, since a run's shot may be seen before and after it; but it
    asks about every part of a film that has few shots.

    Args:
        card: of the film.
        fraction: of its frames to hold out: the last of every round(1 / fraction) runs.
        seconds: length of a run.

    Raises:
        InputError: the film is too short for one run to be held out.
    """
    if fraction == 0:
        return []
    runs = _runs(card, fraction, seconds)
    if not runs:
        raise InputError(
            f"{card.source['name']}: {counted(card.frames, 'frame')} are too few to hold out one "
            f"of {_every(fraction)} runs of {seconds:g} s; use --holdout=0 or a smaller "
            "--holdout_seconds"
        )
    return runs


def _runs(card: FilmCard, fraction: float, seconds: float) -> Shots:
    length = max(round(seconds * float(card.frame_rate)), 1)
    every = _every(fraction)
    starts = range((every - 1) * length, card.frames, every * length)
    return [(start, min(start + length, card.frames)) for start in starts]


def _every(fraction: float) -> int:
    return max(round(1 / fraction), 2)


def in_shots(frames: int, shots: Iterable[Sequence[int]]) -> NDArray[np.bool_]:
    """Returns bool [frames]: whether each frame lies in one of `shots`."""
    inside = np.zeros(frames, bool)
    for start, end in shots:
        inside[start:end] = True
    return inside


def read_images(
    directory: storage.AnyPath, card: FilmCard, indices: Sequence[int]
) -> NDArray[np.uint8]:
    """Returns the pictures that `read_frames` does, without their times."""
    return read_frames(directory, card, indices)[0]


def read_frames(
    directory: storage.AnyPath, card: FilmCard, indices: Sequence[int]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Reads single frames, and little else of the shards that hold them.

    Args:
        directory: of the records.
        card: of the film.
        indices: frame numbers, in any order.

    Returns:
        (uint8 [len(indices), height, width, 3], int64 [len(indices)]): pictures and presentation
        times in units of the card's time base, in the order of `indices`.

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
    """Yields some frames of a film in its order; memory is that of some batches.

    What lies between them is neither decoded nor, where it is more than a few records, read.

    Args:
        directory: of the records.
        card: of the film.
        chosen: bool [frames], which.
        batch_size: frames in a batch; the last may have fewer.

    Yields:
        (pictures uint8 [n, height, width, 3], frame numbers int64 [n], times int64 [n] in units of
        the card's time base).

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
