"""Which frames a run learns from, and the few it is watched by."""

from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from bladerunner_ae.errors import InputError
from tfrecords import storage
from tfrecords.card import FilmCard
from tfrecords.errors import RecordsError
from tfrecords.framing import read_records
from tfrecords.reader import decode_image
from tfrecords.schema import parse
from tfrecords.wording import counted

Shots = list[tuple[int, int]]


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
    """Reads single frames, opening only the shards that hold them.

    Args:
        directory: of the records.
        card: of the film.
        indices: frame numbers, in any order.

    Returns:
        (uint8 [len(indices), height, width, 3], int64 [len(indices)]): pictures and presentation
        times in units of the card's time base, in the order of `indices`.

    Raises:
        RecordsError: a shard is damaged before or at one of the frames, or holds others.
    """
    images = np.empty((len(indices), card.height, card.width, 3), np.uint8)
    pts = np.empty(len(indices), np.int64)
    for shard in card.shards:
        places = {
            index - shard.first_frame: place
            for place, index in enumerate(indices)
            if 0 <= index - shard.first_frame < shard.frames
        }
        if places:
            records = read_records(storage.join(directory, shard.name))
            for number, record in enumerate(islice(records, max(places) + 1)):
                if number in places:
                    frame = parse(record)
                    if (frame.index, frame.film_id) != (shard.first_frame + number, card.film_id):
                        raise RecordsError(
                            f"{directory}/{shard.name}: record {number} (from 0) is frame "
                            f"{frame.index} of film {frame.film_id}, not frame "
                            f"{shard.first_frame + number} of {card.film_id}; run make_tfrecords "
                            "again with --overwrite"
                        )
                    if (frame.height, frame.width) != (card.height, card.width):
                        raise RecordsError(
                            f"{directory}/{shard.name}: record {number} (from 0) is "
                            f"{frame.height}x{frame.width} but the card says "
                            f"{card.height}x{card.width}; run make_tfrecords again with "
                            "--overwrite"
                        )
                    picture = decode_image(frame.encoded, card.height, card.width)
                    images[places[number]] = picture.numpy()
                    pts[places[number]] = frame.pts
    return images, pts


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
