"""The frames that a run learns from, and those held out."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.errors import InputError
from bladerunner_ae.runs.run_config import RunConfig
from tfrecords import storage
from tfrecords.card import FilmCard, load_card
from tfrecords.mixture import FilmPart
from tfrecords.wording import counted

Shots = list[tuple[int, int]]


def hold_out_shots(card: FilmCard, fraction: float, seed: int = 0) -> Shots:
    """Choose whole shots to keep from training, never single frames: neighbours are nearly equal.

    Shots are taken in an order drawn from `seed` while they fit into `fraction`, 0 to below 1; the
    first that overshoots is taken too if that brings the sum nearer. Returns them in film order.
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
    """Choose runs of `seconds`, the last of every round(1 / fraction) runs, to keep from training.

    Weaker evidence than whole shots, since a run's shot may be seen before and after it; but it
    covers every part of a film that has few shots.
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
    """Return bool [frames]: whether each frame is in one of `shots`."""
    inside = np.zeros(frames, bool)
    for start, end in shots:
        inside[start:end] = True
    return inside


def film_parts(config: RunConfig, records: Sequence[storage.AnyPath]) -> list[FilmPart]:
    """Return a run's films for the reader; `records` are in the order of `config.films`."""
    parts = []
    for film, directory in zip(config.films, records, strict=True):
        card = load_card(directory)
        keep = ~in_shots(card.frames, film.held_out)
        parts.append(FilmPart(directory, card, keep, film.weight))
    return parts
