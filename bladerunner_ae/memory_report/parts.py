"""Into which parts films fall."""

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
