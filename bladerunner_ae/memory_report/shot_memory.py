"""Shots of films: the parts to compare, how well each is remembered, relations to motion."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.evaluation.measurement import stretches
from bladerunner_ae.memory_report.measure import FilmMemory
from tfrecords.card import FilmCard

FEW_PARTS = 6
"""Films with fewer shots, all together, are cut into stretches of equal length."""

_STRETCHES = 12
_SHORTEST_SECONDS = 1.0

FEWEST = 5
"""Fewest shots from which a relation is computed."""

_DRAWS, _SEED = 2000, 20_170_415


@dataclass(frozen=True)
class Part:
    """Frames `start` to before `end` of one shot, from 1, of one label; `film` is an index."""

    film: int
    shot: int
    start: int
    end: int
    label: str


def film_parts(cards: Sequence[FilmCard], labels: Sequence[NDArray[np.str_]]) -> list[Part]:
    """Divide films at their cuts, and where frames that were held out begin and end.

    Films that hardly have a cut would be a single row of the table, so they are divided into
    stretches of equal length, of a second at least. Labels are those of `evaluation.labels`.
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
    pieces = max(round((part.end - part.start) / length), 1)
    borders = [part.start + (part.end - part.start) * i // pieces for i in range(pieces + 1)]
    return [Part(part.film, part.shot, start, end, part.label) for start, end in pairwise(borders)]


@dataclass(frozen=True)
class ShotMemory:
    """Quality of a part's memory.

    Attributes:
        weight: how many frames of the film its measured ones stand for.
        seconds: when it begins, from the film's first frame.
        length: in seconds.
        psnr, ssim: means over its frames, dB and -1..1.
        perceptual: mean perceptual distance; None if it was measured on none of its frames.
        perceptual_weight: how many frames of the film that stands for.
        motion: mean change between frames, grey levels; None if no two neighbours were measured.
        shown: the frame that represents it: its PSNR is nearest to the mean.
    """

    part: Part
    weight: float
    seconds: float
    length: float
    psnr: float
    ssim: float
    perceptual: float | None
    perceptual_weight: float
    motion: float | None
    shown: int


def shot_memories(films: Sequence[FilmMemory], parts: Sequence[Part]) -> list[ShotMemory]:
    """Summarise each part of which a frame was measured, in the order of `parts`."""
    found = []
    for part in parts:
        film = films[part.film]
        first, after = np.searchsorted(film.frames, [part.start, part.end])
        if first == after:
            continue
        own = slice(int(first), int(after))
        weights = film.weights[own]
        psnr = film.psnr[own].astype(np.float64)
        mean = _mean(psnr, weights)
        few = film.perceptual_weights[own]
        moving = np.isfinite(film.motion[own])
        shown = int(np.abs(psnr - mean).argmin())
        found.append(
            ShotMemory(
                part=part,
                weight=float(weights.sum(dtype=np.float64)),
                seconds=float(film.seconds[first] - (film.frames[first] - part.start)
                              / float(film.card.frame_rate)),
                length=(part.end - part.start) / float(film.card.frame_rate),
                psnr=mean,
                ssim=_mean(film.ssim[own], weights),
                perceptual=_mean(film.perceptual[own], few) if few.any() else None,
                perceptual_weight=float(few.sum(dtype=np.float64)),
                motion=_mean(film.motion[own][moving], film.change_weights[own][moving])
                if moving.any() else None,
                shown=int(film.frames[first + shown]),
            )
        )  # fmt: skip
    return found


def _mean(values: NDArray[np.floating], weights: NDArray[np.float32]) -> float:
    total = weights.sum(dtype=np.float64)
    return float((values * weights).sum(dtype=np.float64) / total)


def group_means(shots: Sequence[ShotMemory]) -> dict[str, tuple[float, float, float | None]]:
    """Return label -> (PSNR, SSIM, perceptual distance or None).

    They are means over frames, each counting with those it stands for, and equal those that
    `evaluate` prints if it measures as many frames.
    """
    found = {}
    for label in dict.fromkeys(shot.part.label for shot in shots):
        own = [shot for shot in shots if shot.part.label == label]
        weights = [shot.weight for shot in own]
        few = [shot.perceptual_weight for shot in own]
        found[label] = (
            float(np.average([shot.psnr for shot in own], weights=weights)),
            float(np.average([shot.ssim for shot in own], weights=weights)),
            float(np.average([shot.perceptual or 0.0 for shot in own], weights=few))
            if any(few)
            else None,
        )
    return found


@dataclass(frozen=True)
class Relation:
    """Spearman's correlation over shots, -1..1; `low`, `high`: its 95 % bootstrap interval."""

    rho: float
    low: float
    high: float
    shots: int

    @property
    def clear(self) -> bool:
        return self.low > 0 or self.high < 0


def relation(one: Sequence[float], other: Sequence[float]) -> Relation | None:
    """Return the rank correlation of two figures of the same shots (Spearman 1904).

    None for fewer shots than `FEWEST`, or if one of the figures is the same for all.
    """
    values = np.array([one, other], np.float64)
    count = values.shape[1]
    if count < FEWEST:
        return None
    rho = spearman(*values)
    if not math.isfinite(rho):
        return None
    random = np.random.default_rng(_SEED)
    drawn = [spearman(*values[:, random.integers(0, count, count)]) for _ in range(_DRAWS)]
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Relation(rho, float(low), float(high), count)


def spearman(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Correlate the ranks (Pearson); equal values share their mean rank. NaN if undefined."""
    ranks = [_ranks(one), _ranks(other)]
    centred = [rank - rank.mean() for rank in ranks]
    scale = math.sqrt(float((centred[0] ** 2).sum() * (centred[1] ** 2).sum()))
    return float((centred[0] * centred[1]).sum()) / scale if scale > 0 else math.nan


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2.0)[inverse.reshape(-1)]
