"""Into which parts a film falls, and which of its frames are looked at."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.evaluation.measurement import stretches
from tfrecords.card import FilmCard

FEW_PARTS = 6
"""Films of fewer shots, all together, are cut into stretches of equal length."""

_STRETCHES = 12
_SHORTEST_SECONDS = 1.0


@dataclass(frozen=True)
class Part:
    """Frames of one shot that training treated alike.

    Attributes:
        film: place of its film on the page.
        shot: number of its shot in its film, from 1.
        start, end: first frame, and frame after the last.
        label: "seen", "held out" or "unseen film".
    """

    film: int
    shot: int
    start: int
    end: int
    label: str


def film_parts(cards: Sequence[FilmCard], labels: Sequence[NDArray[np.str_]]) -> list[Part]:
    """Cuts films at their cuts, and where frames that were held out begin and end.

    Films that hardly have a cut would be a single row of the table, so they are cut into stretches
    of equal length, of a second at least.

    Args:
        cards: of the films.
        labels: str [frames] of each, of `evaluation.labels.frame_labels`.
    """
    parts = [
        Part(place, int(np.searchsorted(card.shot_starts, start, side="right")), start, end,
             str(own[start]))
        for place, (card, own) in enumerate(zip(cards, labels, strict=True))
        for start, end in stretches(card, own)
    ]  # fmt: skip
    if len(parts) >= FEW_PARTS:
        return parts
    wanted = sum(card.frames for card in cards) / _STRETCHES
    return [
        piece
        for part in parts
        for piece in _cut(part, max(wanted, _SHORTEST_SECONDS * cards[part.film].frame_rate))
    ]


def _cut(part: Part, length: float) -> list[Part]:
    """Cuts a part into equal pieces of about `length` frames."""
    pieces = max(round((part.end - part.start) / length), 1)
    borders = [part.start + (part.end - part.start) * i // pieces for i in range(pieces + 1)]
    return [Part(part.film, part.shot, start, end, part.label) for start, end in pairwise(borders)]


def choose_frames(parts: Sequence[Part], frames: int, at_most: int) -> NDArray[np.bool_]:
    """Chooses frames of one film to look at: all, or neighbours in pairs, some of every part.

    Pairs, because motion is seen between neighbours; of every part, because it is the short ones
    that are in question. A part gets one pair, and more in proportion to its length.

    Args:
        parts: of the film.
        frames: that it has.
        at_most: how many to look at, about; 0: all. Of more parts than there is room for, an even
            choice is left out altogether.

    Returns:
        bool [frames].
    """
    if not 0 < at_most < frames:
        return np.ones(frames, bool)
    chosen = np.zeros(frames, bool)
    room = max(at_most // 2, 1)
    kept = [parts[i * len(parts) // min(room, len(parts))] for i in range(min(room, len(parts)))]
    spare, total = room - len(kept), sum(part.end - part.start for part in kept)
    for part in kept:
        length = part.end - part.start
        pairs = min(1 + spare * length // total, -(-length // 2))
        second = part.start + (2 * np.arange(pairs) + 1) * length // (2 * pairs)
        chosen[second] = chosen[np.maximum(second - 1, part.start)] = True
    return chosen


def spread(numbers: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Chooses `count` of ascending frame numbers evenly, or all if there are not more."""
    if len(numbers) <= count:
        return numbers
    return numbers[(2 * np.arange(count) + 1) * len(numbers) // (2 * count)]
